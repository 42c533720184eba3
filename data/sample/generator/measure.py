"""How well the tutorial's two networks find photos that share a category with the query.

    python measure.py

Runs in the tutorial's own environment, not Blender's. For every photo it looks at the five
nearest others by squared L2 distance and counts those that share at least one category with it.
"""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
from pycocotools.coco import COCO

from helpers.conversion import onnx_model
from helpers.extraction import extract

SAMPLE = Path(__file__).resolve().parents[1]
NEIGHBOURS = 5
MODELS = {"resnet50": "ResNet50", "vgg16": "VGG16"}


def read_labels() -> tuple[list[Path], list[str], np.ndarray]:
    """Photo paths, category names, and which photo shows which `bool [photos, categories]`."""
    with redirect_stdout(sys.stderr):  # pycocotools talks
        coco = COCO(str(SAMPLE / "annotations" / "instances_sample.json"))
    images = coco.loadImgs(sorted(coco.getImgIds()))
    categories = coco.loadCats(sorted(coco.getCatIds()))
    column = {category["id"]: k for k, category in enumerate(categories)}
    shown = np.zeros((len(images), len(categories)), bool)
    for row, image in enumerate(images):
        for annotation in coco.loadAnns(coco.getAnnIds(imgIds=image["id"])):
            shown[row, column[annotation["category_id"]]] = True
    paths = [SAMPLE / "sample" / image["file_name"] for image in images]
    return paths, [category["name"] for category in categories], shown


def nearest(vectors: np.ndarray) -> np.ndarray:
    """Row numbers of the nearest other photos `[photos, NEIGHBOURS]` of unit vectors."""
    distance = 2 - 2 * vectors @ vectors.T
    np.fill_diagonal(distance, np.inf)
    return np.argsort(distance, axis=1, kind="stable")[:, :NEIGHBOURS]


def confusions(neighbours: np.ndarray, shown: np.ndarray, names: list[str]) -> Counter:
    """How often a photo of one category alone got a neighbour of another one alone."""
    count: Counter = Counter()
    alone = shown.sum(1) == 1
    for row in np.flatnonzero(alone):
        for other in neighbours[row][alone[neighbours[row]]]:
            pair = names[shown[row].argmax()], names[shown[other].argmax()]
            if pair[0] != pair[1]:
                count[pair] += 1
    return count


def main() -> None:
    paths, names, shown = read_labels()
    shares = (shown[:, None] & shown[None]).any(2)
    others = ~np.eye(len(paths), dtype=bool)
    found, wrong = {}, {}
    for model in MODELS:
        neighbours = nearest(extract(onnx_model(model), paths))
        found[model] = np.take_along_axis(shares, neighbours, 1).mean(1)
        wrong[model] = confusions(neighbours, shown, names)
    chance = (shares & others).sum(1) / (len(paths) - 1)
    print("| category | photos | " + " | ".join(MODELS.values()) + " | random |")
    print("| --- | --: |" + " --: |" * (len(MODELS) + 1))
    rows = [(name, shown[:, k]) for k, name in enumerate(names)]
    for name, pick in [*sorted(rows, key=lambda r: r[0]), ("**all**", np.ones(len(paths), bool))]:
        values = [*(found[m][pick].mean() for m in MODELS), chance[pick].mean()]
        print(f"| {name} | {pick.sum()} | " + " | ".join(f"{v:.0%}" for v in values) + " |")
    for model, title in MODELS.items():
        worst = ", ".join(f"{a} → {b} ({n})" for (a, b), n in wrong[model].most_common(8))
        print(f"\n{title} most often confuses: {worst}.")


if __name__ == "__main__":
    main()
