"""Which photo preparation and pooling search best: one network, many recipes."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnxruntime
from sklearn.preprocessing import normalize

from helpers.explanation import GEM_POWER, pool
from helpers.extraction import Embedder, Preparation, cached_vectors, open_session, recipe_of
from helpers.models import Recipe

POOLINGS = ("max", "average", "gem")

PREPARATIONS = [
    *(
        (224, resize, crop)
        for resize in ("nearest", "bilinear", "lanczos")
        for crop in (False, True)
    ),
    (320, "bilinear", True),
    (448, "bilinear", True),
]
"""Input size, resize and crop of the study: every resize and crop at 224, then larger inputs."""


def recipe_vectors(onnx_path: Path, paths: Sequence[Path], recipe: Recipe) -> np.ndarray:
    """Vectors of `paths` under `recipe`, from a file made for another recipe of this network.

    One pass over the network serves all three poolings: they are computed from the file's
    `feature_map` and cached together.

    Returns:
        float32 [len(paths), d], unit length.
    """
    about = recipe_of(onnx_path)
    preparation = {key: str(value).lower() for key, value in asdict(recipe).items()}
    pooling = preparation.pop("pooling")
    key = json.dumps([about["cache_key"], preparation, POOLINGS, GEM_POWER], sort_keys=True)
    dimension = int(about["dimension"])
    all_poolings = Embedder(
        stem=f"{about['model']}-{'-'.join(preparation.values())}",
        key=hashlib.sha256(key.encode()).hexdigest(),
        dimension=len(POOLINGS) * dimension,
        preparation=Preparation(recipe.input_size, recipe.resize, recipe.crop),
        load=lambda threads: functools.partial(pooled_ways, open_session(onnx_path, threads)),
    )
    [rows] = cached_vectors([all_poolings], paths)
    start = POOLINGS.index(pooling) * dimension
    return rows[:, start : start + dimension]


def pooled_ways(session: onnxruntime.InferenceSession, pixels: np.ndarray) -> np.ndarray:
    """float32 [n, 3 d]: the unit vectors of all POOLINGS, one after another."""
    [maps] = session.run(["feature_map"], {"image": pixels})
    ways = [normalize([pool(one, pooling) for one in maps]) for pooling in POOLINGS]
    return np.hstack(ways).astype(np.float32)
