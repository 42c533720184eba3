"""Which photo preparation and pooling search best: one network, many recipes.

The study is measured once, by `tools/measure_recipes.py`, and read by notebook 5: on COCO photos
for `docs/recipes.json`, on a reader's own for `BUILD_DIR/recipes/`.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
from sklearn.preprocessing import normalize

from helpers import results
from helpers.datasets import ImageDataset
from helpers.extraction import Encoder, cached_vectors, contract, open_session
from helpers.images import RESIZE
from helpers.models import NETWORKS, Recipe
from helpers.settings import ROOT, TutorialError, display_path, load_settings
from helpers.study.explanation import GEM_POWER, pool

POOLINGS = ("max", "average", "gem")
INPUT_SIZES = (224, 320, 448)
RECIPES = [
    Recipe(size, resize, crop, pooling)
    for size in INPUT_SIZES
    for resize in RESIZE
    for crop in (False, True)
    for pooling in POOLINGS
]
"""The grid of the study."""

LEVELS = ["resize", "shape", "size", "pooling"]
MEASURED = ROOT / "docs/recipes.json"
NEARLY_BEST = 0.005


def recipe_vectors(onnx_path: Path, paths: Sequence[Path], recipe: Recipe) -> np.ndarray:
    """Vectors of `paths` under `recipe`, from a file made for another recipe of this network.

    One pass over the network serves all three poolings: they are computed from the file's
    `feature_map` and cached together. Returns float32 [len(paths), d], unit length.
    """
    about = contract(onnx_path)
    preparation = recipe.description()
    pooling = preparation.pop("pooling")
    key = json.dumps([about["cache_key"], preparation, POOLINGS, GEM_POWER], sort_keys=True)
    dimension = int(about["dimension"])
    all_poolings = Encoder(
        stem=f"{about['model']}-{'-'.join(preparation.values())}",
        key=hashlib.sha256(key.encode()).hexdigest(),
        dimension=len(POOLINGS) * dimension,
        preparation=recipe.preparation,
        load=lambda threads: functools.partial(unit_poolings, open_session(onnx_path, threads)),
    )
    [rows] = cached_vectors([all_poolings], paths)
    start = POOLINGS.index(pooling) * dimension
    return rows[:, start : start + dimension]


def unit_poolings(session: onnxruntime.InferenceSession, pixels: np.ndarray) -> np.ndarray:
    """float32 [n, 3 d]: the unit vectors of all POOLINGS, one after another."""
    [maps] = session.run(["feature_map"], {"image": pixels})  # [n, h, w, d]
    poolings = [normalize([pool(cells, pooling) for cells in maps]) for pooling in POOLINGS]
    return np.hstack(poolings).astype(np.float32)


def label(recipe: Recipe) -> tuple[str, str, int, str]:
    """A recipe as the study's tables name it: resize, shape, input size, pooling."""
    shape = "centre" if recipe.crop else "squash"
    return recipe.resize, shape, recipe.input_size, recipe.pooling


def study_path(dataset: ImageDataset) -> Path:
    """Where the study of a reader's own dataset is kept."""
    return load_settings().build_dir / "recipes" / f"{dataset.slug}.json"


def load_study(path: Path = MEASURED) -> dict:
    """A study as `measure` in `tools/measure_recipes.py` made it; the committed one by default.

    Raises TutorialError where there is no such file, or it holds something else.
    """
    try:
        study = json.loads(path.read_text(encoding="utf-8"))
        study["networks"], study["recipes"], study["dataset"]["photos"]
    except (OSError, ValueError, KeyError, TypeError):
        way_out = "restore it from the repository" if path == MEASURED else "delete it"
        raise TutorialError(f"{display_path(path)} holds no study of recipes: {way_out}.") from None
    return study


def studies(dataset: ImageDataset) -> list[dict]:
    """The committed study, then the one of this dataset where `make recipes` measured it.

    One that was measured on other photos or weights than there are now is left out, with a line
    that says so.
    """
    committed, path = load_study(), study_path(dataset)
    if not path.exists():
        return [committed]
    own = load_study(path)
    measured = {name: network["weights_sha256"] for name, network in own["networks"].items()}
    same_photos = own["dataset"].get("ids_sha256") == results.about(dataset)["ids_sha256"]
    if same_photos and measured == {name: net.weights_sha256 for name, net in NETWORKS.items()}:
        return [committed, own]
    print(
        f"{display_path(path)} was measured on other photos or networks than these: "
        "`make recipes` measures it again."
    )
    return [committed]


def describe(study: dict) -> str:
    """One line: which photos, how many queries, when."""
    about = study["dataset"]
    count = f"{about['photos']} photos"
    if about["of_photos"] > about["photos"]:
        count = f"{about['photos']} of {about['of_photos']} photos, evenly spread"
    return f"Study of {study['date']} on {about['name']}: {count}, {about['queries']} queries."


def scores(study: dict, name: str) -> pd.DataFrame:
    """A network's scores: float64 [queries, recipes], columns as `label` names the recipes.

    Raises TutorialError where the study has no such network.
    """
    if name not in study["networks"]:
        raise TutorialError(
            f"The study of {study['dataset']['name']} has no network {name!r}, only "
            f"{', '.join(study['networks'])}: take one of these."
        )
    columns = pd.MultiIndex.from_tuples(map(tuple, study["recipes"]), names=LEVELS)
    return pd.DataFrame(np.transpose(study["networks"][name]["scores"]), columns=columns)


def cheapest(means: pd.Series) -> tuple[str, str, int, str]:
    """The best recipe of the smallest input size that comes within NEARLY_BEST of the best.

    Operations grow with the area of the input; resize, shape and pooling cost next to nothing.

    means: one score per recipe, as a row of `scores`.
    """
    good = means[means >= means.max() - NEARLY_BEST]
    smallest = good.index.get_level_values("size").min()
    return good.xs(smallest, level="size", drop_level=False).idxmax()
