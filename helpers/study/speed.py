"""Ways to turn photos into vectors, raced against each other, and how near to the CPU's limit."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import joblib
import numpy as np
import onnx
import onnxruntime
import pandas as pd

from helpers.conversion import ensure_onnx, load_onnx, onnx_model
from helpers.extraction import BATCH_SIZE, embed, extract_many, file_recipe, open_session
from helpers.images import load_pixels
from helpers.models import PRECISIONS, PRESETS, EmbeddingModel, embedding_model
from helpers.progress import track

Way = Callable[[Sequence[Path]], np.ndarray]
"""From photos to their vectors, float32 [n, d], without any cache."""

ARTICLE = "the article's loop"
ROOF_SECONDS = 1.0


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
    found = [
        session.run(["embedding"], {"image": load_pixels(path, *preparation)[np.newaxis]})[0]
        for path in paths
    ]
    return np.concatenate(found)


def variants(name: str) -> dict[str, EmbeddingModel]:
    """A network under each preset that it has and at each precision, as `article fp32`.

    INT8 only where there is a feature map: it is the network up to there that is quantized.
    """
    found = {}
    for preset in PRESETS:
        for precision in PRECISIONS:
            if name not in PRESETS[preset]:
                continue
            model = embedding_model(name, preset, precision)
            if precision == "fp32" or model.recipe.pooling != "none":
                found[f"{preset} {precision}"] = model
    return found


def ladder(name: str) -> dict[str, Way]:
    """From the article's loop to batches on all CPUs, and these for every variant.

    The loop and the single session run the same file as the first of the variants.
    """
    files = {kind: ensure_onnx(model) for kind, model in variants(name).items()}
    first = next(iter(files.values()))
    ways = {
        ARTICLE: partial(article_loop, first),
        "one session": partial(one_session, first),
    }
    return ways | {kind: partial(batches, file) for kind, file in files.items()}


def batches(onnx_path: Path, paths: Sequence[Path]) -> np.ndarray:
    """Small batches on all CPUs, decoded and computed at once: what `extraction.extract` does."""
    return np.concatenate(list(embed(onnx_path, paths)))


def all_models(onnx_paths: Sequence[Path]) -> Way:
    """`extraction.extract_many` from nothing, writing its cache to a folder that is then removed.

    Returns one array [n, all models' numbers]. A photo given twice is computed once, so give each
    once.
    """

    def way(paths: Sequence[Path]) -> np.ndarray:
        with TemporaryDirectory() as folder:
            found = extract_many(onnx_paths, paths, folder=Path(folder), progress=False)
            return np.concatenate(found, axis=1)

    return way


def ladder_of_all(names: Sequence[str]) -> dict[str, Way]:
    """Several models over the same photos: the article's loop for each, then one pass for all."""
    fp32 = [onnx_model(name) for name in names]
    int8 = [onnx_model(name, precision="int8") for name in names]

    def loops(paths: Sequence[Path]) -> np.ndarray:
        return np.concatenate([article_loop(file, paths) for file in fp32], axis=1)

    return {
        ARTICLE: loops,
        "one pass, fp32": all_models(fp32),
        "one pass, INT8": all_models(int8),
    }


def race(
    ways: Mapping[str, Way],
    paths: Sequence[Path],
    *,
    rounds: int = 3,
    seconds: float = 2.0,
) -> pd.DataFrame:
    """Photos per second of each way, warmed up, taking turns.

    Taking turns, a busy machine disturbs all alike: compare the ratios within a round.

    Args:
        ways: by name, or by model and name; the first of each is what `summary` compares with.
        paths: photos; a way gets as many of them as it handles in about `seconds`, all at most,
            in numbers that keep every CPU busy to the end.
        rounds: how often each way has its turn.
        seconds: length of a turn.

    Returns:
        float64 [rounds, ways]: photos per second, decoding included.
    """
    counts, unit = {}, BATCH_SIZE * joblib.cpu_count()
    for name, way in ways.items():
        few = paths[:unit]
        took = duration(way, few)
        if took < seconds:  # the first time is the slowest: by it, a turn would be too short
            took = duration(way, few)
        counts[name] = unit * max(1, round(seconds * len(few) / took / unit))
    turns = [(row, name) for row in range(rounds) for name in ways]
    measured = pd.DataFrame(index=range(rounds), columns=pd.Index(list(ways)), dtype=float)
    for row, name in track(turns, total=len(turns), unit="turns", label="race"):
        some = paths[: counts[name]]
        measured.loc[row, name] = len(some) / duration(ways[name], some)
    return measured


def duration(way: Way, paths: Sequence[Path]) -> float:
    """Seconds that `way` takes for these photos."""
    start = perf_counter()
    way(paths)
    return perf_counter() - start


def summary(measured: pd.DataFrame) -> pd.DataFrame:
    """Medians and spread of a race, and how many times as fast as the first way.

    Args:
        measured: from `race`.

    Returns:
        One row per way: `photos_per_s` (median of the rounds), `low` and `high` (slowest and
        fastest round), `ratio` (median of the rounds' ratios to the first way).
    """
    return pd.DataFrame(
        {
            "photos_per_s": measured.median(),
            "low": measured.min(),
            "high": measured.max(),
            "ratio": measured.div(measured.iloc[:, 0], axis=0).median(),
        }
    )


def gflop_per_photo(onnx_path: Path, input_size: int | None = None) -> float:
    """Floating-point operations of convolutions and matrix products for a photo, in units of 10⁹.

    A multiplication and an addition count as two. All but a thousandth of the work lies there.
    Shapes are those of a photo sent through, since not every graph states them. `input_size` in
    pixels is by default the one that the file's recipe wants.
    """
    proto, size = load_onnx(onnx_path), input_size or file_recipe(onnx_path).input_size
    photo = np.zeros((1, size, size, 3), np.uint8)
    if [node.op_type for node in proto.graph.node] == ["Scan"]:  # adopted, one photo at a time
        body = next(each.g for each in proto.graph.node[0].attribute if each.name == "body")
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


def peak_gflops(precision: str) -> float:
    """10⁹ operations per second of one large convolution in ONNX Runtime on all CPUs.

    3 × 3, from 512 channels to 512, over four maps of 28 × 28: the layer that suits the CPU best
    among those tried, also better than a matrix product. A whole network cannot be much faster, so
    this is the roof of the roofline (Williams, Waterman, Patterson, "Roofline: An Insightful
    Visual Performance Model", 2009) as far as arithmetic is the limit.

    precision: `fp32` or `int8`. The best of a second's runs counts, since this is the roof.
    """
    photos, side, channels = 4, 28, 512
    random = np.random.default_rng(0)
    maps = random.integers(0, 100, (photos, channels, side, side))
    weights = random.integers(0, 100, (channels, channels, 3, 3))
    if precision == "int8":
        one, zero = np.float32(1), np.uint8(0)
        maps = maps.astype(np.uint8)
        constants = [one, zero, weights.astype(np.int8), one, np.int8(0), one, zero]
        operator, output = "QLinearConv", onnx.TensorProto.UINT8
    else:
        maps, constants = maps.astype(np.float32), [weights.astype(np.float32)]
        operator, output = "Conv", onnx.TensorProto.FLOAT
    session = one_node(operator, maps, constants, output)
    session.run(None, {"maps": maps})
    times = []
    while sum(times) < ROOF_SECONDS:
        start = perf_counter()
        session.run(None, {"maps": maps})
        times.append(perf_counter() - start)
    operations = 2 * photos * side**2 * channels**2 * 9
    return operations / min(times) / 1e9


def one_node(
    operator: str, maps: np.ndarray, constants: Sequence[np.ndarray], output: int
) -> onnxruntime.InferenceSession:
    """A session, on all CPUs, that runs one convolution of `maps` with padding 1."""
    names = [f"constant{number}" for number in range(len(constants))]
    node = onnx.helper.make_node(operator, ["maps", *names], ["out"], pads=[1] * 4)
    kind = onnx.helper.np_dtype_to_tensor_dtype(maps.dtype)
    graph = onnx.helper.make_graph(
        [node],
        "yardstick",
        [onnx.helper.make_tensor_value_info("maps", kind, maps.shape)],
        [onnx.helper.make_tensor_value_info("out", output, None)],
        [
            onnx.numpy_helper.from_array(np.asarray(value), name)
            for name, value in zip(names, constants, strict=True)
        ],
    )
    opsets = [onnx.helper.make_opsetid("", 18)]
    proto = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=9)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = joblib.cpu_count()
    return onnxruntime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
