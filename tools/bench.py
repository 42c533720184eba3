"""`make bench`: every pipeline from photos to vectors, timed in one run. Writes bench.json."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from datetime import date
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from helpers.conversion import keras_embedder, onnx_model
from helpers.datasets import open_dataset
from helpers.extraction import (
    BATCH_SIZE,
    ahead,
    extract_many,
    file_recipe,
    open_session,
    share_cpus,
)
from helpers.files import written_whole
from helpers.images import load_pixels
from helpers.models import NETWORKS, embedding_model
from helpers.progress import say
from helpers.quantization import int8_advice, int8_instructions
from helpers.results import environment
from helpers.sessions import provider
from helpers.settings import TutorialError, display_path, exit_status, load_settings
from helpers.study import speed

LEAST_PHOTOS = 64  # the fast methods need some to have a turn of a second or so
KERAS_BATCH = 32


def network_only(onnx_path: Path, paths: Sequence[Path]) -> speed.Pipeline:
    """ONNX Runtime over pixels decoded beforehand: what no pipeline can be faster than.

    The photos it is then given are only counted; those of `paths` are used, again and again.
    """
    preparation = file_recipe(onnx_path).preparation
    pixels = np.stack([load_pixels(path, *preparation) for path in paths])
    batches = [pixels[start : start + BATCH_SIZE] for start in range(0, len(pixels), BATCH_SIZE)]

    def vectors(paths: Sequence[Path]) -> np.ndarray:
        count = math.ceil(len(paths) / BATCH_SIZE)
        workers, threads = share_cpus(count)
        session = open_session(onnx_path, threads)

        def compute(batch: np.ndarray) -> np.ndarray:
            return session.run(["embedding"], {"image": batch})[0]

        computed = ahead(compute, islice(cycle(batches), count), workers)
        return np.concatenate(list(computed))[: len(paths)]

    return vectors


def keras_predict(name: str) -> speed.Pipeline:
    """Keras' own `predict` in batches of 32, photos decoded batch by batch."""
    model = embedding_model(name)
    network, preparation = keras_embedder(model), model.recipe.preparation

    def vectors(paths: Sequence[Path]) -> np.ndarray:
        batches = []
        for start in range(0, len(paths), KERAS_BATCH):
            chunk = paths[start : start + KERAS_BATCH]
            pixels = np.stack([load_pixels(path, *preparation) for path in chunk])
            batches.append(network.predict(pixels, verbose=0)["embedding"])
        return np.concatenate(batches)

    return vectors


def one_pass(onnx_paths: Sequence[Path]) -> speed.Pipeline:
    """`extraction.extract_many` from nothing, writing its cache to a folder that is then removed.

    Returns one array [n, all models' numbers]. A photo given twice is computed once, so give each
    once.
    """

    def vectors(paths: Sequence[Path]) -> np.ndarray:
        with TemporaryDirectory() as folder:
            by_model = extract_many(onnx_paths, paths, folder=Path(folder), progress=False)
            return np.concatenate(by_model, axis=1)

    return vectors


def all_models_together(names: Sequence[str]) -> dict[str, speed.Pipeline]:
    """Several models over the same photos: the article's loop for each, then one pass for all."""
    fp32 = [onnx_model(name) for name in names]
    int8 = [onnx_model(name, precision="int8") for name in names]

    def loops(paths: Sequence[Path]) -> np.ndarray:
        return np.concatenate([speed.article_loop(file, paths) for file in fp32], axis=1)

    return {
        speed.ARTICLE: loops,
        "one pass, fp32": one_pass(fp32),
        "one pass, INT8": one_pass(int8),
    }


def all_pipelines(name: str, paths: list[Path]) -> dict[str, speed.Pipeline]:
    """Everything that turns photos into vectors of one model here."""
    fp32, int8 = onnx_model(name), onnx_model(name, precision="int8")
    return {
        **speed.pipelines(name),
        "Keras predict": keras_predict(name),
        "network alone, fp32": network_only(fp32, paths[:LEAST_PHOTOS]),
        "network alone, INT8": network_only(int8, paths[:LEAST_PHOTOS]),
    }


def timed(
    title: str, pipelines: Mapping[str, speed.Pipeline], paths: Sequence[Path], **turns: float
) -> dict[str, dict[str, float]]:
    """Run some pipelines and print what `speed.summary` says of each, which is returned."""
    say(f"{title}: warming up …")
    table = speed.summary(speed.throughput(pipelines, paths, **turns))
    print(f"\n{title}\n{'':24}{'photos/s':>10}{'slowest–fastest':>18}{'× the loop':>12}")
    for name, row in table.iterrows():
        spread = f"{row['low']:.1f}–{row['high']:.1f}"
        print(f"{name:24}{row['photos_per_s']:>10.1f}{spread:>18}{row['ratio']:>12.1f}", flush=True)
    return table.to_dict(orient="index")


@exit_status
def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="turns of each pipeline (default 5)")
    parser.add_argument("--seconds", type=float, default=2, help="length of a turn (default 2)")
    options = parser.parse_args()
    dataset = open_dataset()
    if len(dataset) < LEAST_PHOTOS:
        raise TutorialError(
            f"{dataset.name} has {len(dataset)} photos, too few to time: set DATASET to a folder "
            f"with at least {LEAST_PHOTOS}."
        )
    names = list(NETWORKS)
    about = {
        "date": date.today().isoformat(),
        "int8_instructions": int8_instructions(),
        "provider": provider(onnx_model(names[0])),
        "dataset": dataset.name,
        **environment(),
    }
    print(dataset.banner())
    print(*(f"{key}: {value}" for key, value in about.items()), int8_advice(), sep="\n")
    turns = {"rounds": options.rounds, "seconds": options.seconds}
    # A photo may come twice where nothing is kept: what is fast needs more than a small dataset.
    many = list(islice(cycle(dataset.paths), 1024))
    numbers = {}
    for name in names:
        alone = all_pipelines(name, dataset.paths)
        numbers[name] = timed(NETWORKS[name].title, alone, many, **turns)
    title, together = "All models over the same photos", all_models_together(names)
    numbers["together"] = timed(title, together, dataset.paths, **turns)
    path = load_settings().build_dir / "bench.json"
    with written_whole(path) as part:
        text = json.dumps({**about, **turns, **numbers}, indent=1)
        part.write_text(text + "\n", encoding="utf-8")
    print(f"\nWritten to {display_path(path)}. Decoding is included but for the network alone.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
