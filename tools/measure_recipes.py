"""Measure every recipe on the photos of DATASET; notebook 5 then shows it. `make recipes`.

The committed study, `docs/recipes.json`, is this with `--docs` on COCO photos.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from datetime import date

from helpers import evaluation, results
from helpers.conversion import onnx_model
from helpers.datasets import ImageDataset, open_dataset
from helpers.files import written_whole
from helpers.models import NETWORKS, Recipe, embedding_model
from helpers.settings import display_path, exit_status
from helpers.study import recipes

DEPTH = 10
MOST_PHOTOS = 1000  # the whole grid on more would take days


@exit_status
def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--docs", action="store_true", help=f"write {recipes.MEASURED.name}")
    options = parser.parse_args()
    started = time.monotonic()
    dataset = open_dataset()
    target = recipes.MEASURED if options.docs else recipes.study_path(dataset)
    print(dataset.banner())
    study = measure(dataset, lambda line: print(line, flush=True))
    with written_whole(target) as part:
        part.write_text(json.dumps(study) + "\n", encoding="utf-8")
    for name in study["networks"]:
        means = recipes.scores(study, name).mean()
        chosen = {"best": means.idxmax(), "cheapest near it": recipes.cheapest(means)}
        for what, recipe in chosen.items():
            print(f"{name}, {what}: {' '.join(map(str, recipe))}, {means[recipe]:.3f}")
    print(f"{time.monotonic() - started:.0f} s; {display_path(target)}, shown by notebook 5")
    return 0


def measure(dataset: ImageDataset, report: Callable[[str], None]) -> dict:
    """nDCG@10 of every query under every recipe and network; minutes to hours.

    Vectors are cached as they are computed, so an interrupted study goes on where it stopped. Of
    more than MOST_PHOTOS photos that many are taken, evenly spread. `report` gets a line per
    network and preparation. Returns what `docs/recipes.json` holds: per network one list of scores
    over the queries for each recipe, and what they belong to. Raises NeedsLabels where no two
    photos share a category.
    """
    photos = dataset.spread(MOST_PHOTOS)
    labels, paths = photos.labels, photos.paths
    queries = evaluation.query_rows(labels)
    depth = min(DEPTH, len(photos) - 1)
    files = {name: onnx_model(name) for name in NETWORKS}

    def scores(name: str, recipe: Recipe) -> list[float]:
        vectors = recipes.recipe_vectors(files[name], paths, recipe)
        ranking = evaluation.rank_exact(vectors[queries], vectors, queries, depth)
        values = evaluation.per_query("ndcg", ranking, labels, queries, depth)
        return [round(float(value), 4) for value in values]

    rows: dict[str, list[list[float]]] = {name: [] for name in NETWORKS}
    for name, recipe, told in passes():
        if told:
            report(told)
        rows[name].append(scores(name, recipe))
    about = {"name": dataset.name, "photos": len(photos), "of_photos": len(dataset)}
    return {
        "dataset": about
        | {"queries": len(queries), "ids_sha256": results.about(dataset)["ids_sha256"]},
        "date": date.today().isoformat(),
        "environment": results.environment(),
        "metric": f"ndcg@{depth}",
        "recipes": [recipes.label(recipe) for recipe in recipes.RECIPES],
        "networks": {
            name: {"weights_sha256": NETWORKS[name].weights_sha256, "scores": rows[name]}
            for name in NETWORKS
        },
    }


def passes() -> Iterator[tuple[str, Recipe, str]]:
    """Every network with every recipe, and a line to show where a pass over the photos begins."""
    started, done = time.monotonic(), 0
    area = sum(recipe.input_size**2 for recipe in recipes.RECIPES)
    total = len(NETWORKS) * len(recipes.RECIPES) // len(recipes.POOLINGS)
    for name in NETWORKS:
        begun, seconds_before = 0, time.monotonic() - started
        for recipe in recipes.RECIPES:
            told = ""
            if recipe.pooling == recipes.POOLINGS[0]:
                done += 1
                resize, shape, size, _ = recipes.label(recipe)
                told = f"{done:3}/{total}  {embedding_model(name).title}, {size} {resize} {shape}"
                spent = time.monotonic() - started - seconds_before
                left = spent * (area - begun) / begun / 60 if begun else 0
                if left >= 1:
                    told += f"; about {left:.0f} min left for this network"
            yield name, recipe, told
            begun += recipe.input_size**2


if __name__ == "__main__":
    sys.exit(main())
