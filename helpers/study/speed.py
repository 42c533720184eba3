"""Pipelines from photos to vectors, timed side by side, and what each step costs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TypeVar

import joblib
import numpy as np
import onnx
import onnxruntime
import pandas as pd

from helpers.conversion import ensure_onnx, load_onnx
from helpers.evaluation import compare
from helpers.extraction import BATCH_SIZE, embed, file_recipe, open_session
from helpers.images import load_pixels
from helpers.models import EmbeddingModel, all_models
from helpers.progress import track
from helpers.quantization import int8_instructions

T = TypeVar("T")
Pipeline = Callable[[Sequence[Path]], np.ndarray]
"""From photos to their vectors, float32 [n, d], without any cache."""

ARTICLE = "the article's loop"
STEPS = (
    ("article int8", "article fp32"),
    ("recommended int8", "recommended fp32"),
    ("recommended fp32", "article fp32"),
)
"""What is compared in pairs: after, before."""


def article_loop(onnx_path: Path, paths: Sequence[Path]) -> np.ndarray:
    """What the article does: for every photo a new session, one photo per call, a list of floats.

    Kept for comparison only; float64 [n, d].
    """
    vectors, preparation = [], file_recipe(onnx_path).preparation
    for path in paths:
        session = onnxruntime.InferenceSession(str(onnx_path))
        pixels = load_pixels(path, *preparation)[np.newaxis]
        vector = session.run(["embedding"], {"image": pixels})[0][0]
        vectors.append([number.item() for number in vector])
    return np.array(vectors)


def one_session(onnx_path: Path, paths: Sequence[Path]) -> np.ndarray:
    """The article's loop with one session for all photos."""
    session, preparation = open_session(onnx_path), file_recipe(onnx_path).preparation
    vectors = []
    for path in paths:
        pixels = load_pixels(path, *preparation)[np.newaxis]  # [1, H, W, 3]
        vectors += session.run(["embedding"], {"image": pixels})  # [1, d]
    return np.concatenate(vectors)


def parallel_batches(onnx_path: Path, paths: Sequence[Path]) -> np.ndarray:
    """Small batches on all CPUs, decoded and computed at once: what `extraction.extract` does."""
    return np.concatenate(list(embed(onnx_path, paths)))


def variants(name: str) -> dict[str, EmbeddingModel]:
    """A network under each preset and at each precision that it has, as `article fp32`."""
    models = [model for model in all_models() if model.name == name]
    return {f"{model.preset} {model.precision}": model for model in models}


def pipelines(name: str) -> dict[str, Pipeline]:
    """From the article's loop to batches on all CPUs, and these for every variant.

    The loop and the single session run the same file as the first of the variants.
    """
    files = {variant: ensure_onnx(model) for variant, model in variants(name).items()}
    first = next(iter(files.values()))
    loops = {ARTICLE: partial(article_loop, first), "one session": partial(one_session, first)}
    return loops | {variant: partial(parallel_batches, file) for variant, file in files.items()}


def throughput(
    pipelines: Mapping[str, Pipeline],
    paths: Sequence[Path],
    *,
    rounds: int = 3,
    seconds: float = 2.0,
) -> pd.DataFrame:
    """Photos per second of each pipeline, decoding included: float64 [rounds, pipelines].

    Warmed up, they take turns, so that a busy machine disturbs all alike: compare the ratios within
    a round. pipelines: by name, or by model and name; `summary` compares with the first of each
    model. paths: photos; a turn has as many of them as the pipeline handles in about `seconds`, all
    at most, in numbers that keep every CPU busy to the end.
    """
    counts, unit = {}, BATCH_SIZE * joblib.cpu_count()
    for name, pipeline in pipelines.items():
        few = paths[:unit]
        took = duration(pipeline, few)
        if took < seconds:  # the first time is the slowest: by it, a turn would be too short
            took = duration(pipeline, few)
        counts[name] = unit * max(1, round(seconds * len(few) / took / unit))
    turns = [(row, name) for row in range(rounds) for name in pipelines]
    measured = pd.DataFrame(index=range(rounds), columns=pd.Index(list(pipelines)), dtype=float)
    for row, name in track(turns, total=len(turns), unit="turns", label="throughput"):
        some = paths[: counts[name]]
        measured.loc[row, name] = len(some) / duration(pipelines[name], some)
    return measured


def duration(pipeline: Pipeline, paths: Sequence[Path]) -> float:
    """Seconds that a pipeline takes for these photos."""
    start = perf_counter()
    pipeline(paths)
    return perf_counter() - start


def summary(measured: pd.DataFrame) -> pd.DataFrame:
    """Medians and spread of what `throughput` measured, one row per pipeline.

    `photos_per_s` is the median of the rounds, `low` and `high` the slowest and fastest round,
    `ratio` the median of the rounds' ratios to the first pipeline.
    """
    return pd.DataFrame(
        {
            "photos_per_s": measured.median(),
            "low": measured.min(),
            "high": measured.max(),
            "ratio": measured.div(measured.iloc[:, 0], axis=0).median(),
        }
    )


def one_by_one_over_at_once(do: Callable[[slice], object], count: int) -> float:
    """How many times as long `count` calls for one item each take as one call for all of them.

    `do` is given the slice of the items; the median of three ratios.
    """
    ratios = []
    for _ in range(3):
        start = perf_counter()
        for at in range(count):
            do(slice(at, at + 1))
        singly = perf_counter()
        do(slice(0, count))
        ratios.append((singly - start) / (perf_counter() - singly))
    return float(np.median(ratios))


def gflop_per_photo(onnx_path: Path, input_size: int | None = None) -> float:
    """Floating-point operations of convolutions and matrix products for a photo, in units of 10⁹.

    A multiplication and an addition count as two. All but a thousandth of the work lies there.
    Shapes are those of a photo sent through, since not every graph states them. `input_size` in
    pixels is by default the one that the file's recipe wants.
    """
    proto, size = load_onnx(onnx_path), input_size or file_recipe(onnx_path).input_size
    photo = np.zeros((1, size, size, 3), np.uint8)
    if [node.op_type for node in proto.graph.node] == ["Scan"]:  # adopted, one photo at a time
        body = next(part.g for part in proto.graph.node[0].attribute if part.name == "body")
        proto, photo = onnx.helper.make_model(body, opset_imports=proto.opset_import), photo[0]
    graph = proto.graph
    shapes = {tensor.name: tensor.dims for tensor in graph.initializer}
    layers = [node for node in graph.node if node.op_type in ("Conv", "Gemm", "MatMul")]
    tensors = {name for node in layers for name in (*node.input[:2], node.output[0])}
    names = sorted(tensors - shapes.keys())
    given = graph.input[0].name
    del graph.output[:]
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    arrays = session.run(names, {given: photo}) if names else []
    shapes |= {name: array.shape for name, array in zip(names, arrays, strict=True)}
    products = 0
    for node in layers:
        first, second = (shapes[name] for name in node.input[:2])
        inner = math.prod(second[1:]) if node.op_type == "Conv" else first[-1]
        products += math.prod(shapes[node.output[0]]) * inner
    return 2 * products / 1e9


def work(files: Mapping[tuple[str, str], Path]) -> dict[tuple[str, str], float]:
    """`gflop_per_photo` of every file, by title and variant; INT8 has as many as its fp32 file."""
    fp32 = {key: gflop_per_photo(file) for key, file in files.items() if key[1].endswith("fp32")}
    return {
        (title, variant): fp32[title, variant.replace("int8", "fp32")] for title, variant in files
    }


def paired_losses(scores: Mapping[tuple[str, str], np.ndarray]) -> dict[str, pd.DataFrame]:
    """What INT8 and the recommended recipe change, query by query: per title a row for each step.

    scores: per title and variant (`article int8`) a metric of the same queries, float [queries].
    Rows as `evaluation.compare` gives them, nan for a variant that a model does not have.
    """
    losses = {}
    for title in dict.fromkeys(title for title, _ in scores):
        mine = _of(title, scores)
        pairs = [(after, before) for after, before in STEPS if {after, before} <= set(mine)]
        if pairs:
            rows = [f"{after} − {before}" for after, before in STEPS]
            losses[title] = compare(mine, pairs).reindex(rows)
    return losses


def results_section(
    models: Sequence[EmbeddingModel],
    timings: pd.DataFrame,
    cost: Mapping[str, Mapping[str, float]],
    scores: Mapping[tuple[str, str], np.ndarray],
    gflop: Mapping[tuple[str, str], float],
    one_by_one: Mapping[str, float],
    provider: str,
) -> dict:
    """Section `speed` of results.json, one entry per model.

    timings: `summary` of every model, indexed by title and pipeline; cost: per title and measure
    what INT8 changes; scores: nDCG@10 of every query, by title and variant, as is gflop, of `work`.
    """
    losses, means = paired_losses(scores), {key: float(np.mean(v)) for key, v in scores.items()}
    section: dict = {}
    for model in models:
        table, title = timings.loc[model.title], model.title
        section[model.name] = {
            "photos_per_second": table["photos_per_s"].to_dict(),
            "ratio_to_article_loop": table["ratio"].to_dict(),
            "gflop_per_photo": _of(title, gflop),
            "ndcg@10": _of(title, means),
        }
        if title in cost:
            section[model.name]["int8"] = dict(cost[title])
        if title in losses:
            differences = losses[title]["difference"].dropna()
            section[model.name]["ndcg@10_difference"] = differences.to_dict()
    return section | {
        "one_by_one_over_at_once": dict(one_by_one),
        "int8_instructions": int8_instructions() or "none",
        "execution_provider": provider,
    }


def _of(title: str, values: Mapping[tuple[str, str], T]) -> dict[str, T]:
    """One model's values by variant, of those by title and variant."""
    return {variant: value for (name, variant), value in values.items() if name == title}
