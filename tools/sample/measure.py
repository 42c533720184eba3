"""How well the tutorial's two networks find photos that share a category with the query.

    python measure.py

Runs in the tutorial's own environment, not Blender's. For every photo it looks at the five
nearest others by squared L2 distance and counts those that share at least one category with it.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from helpers.conversion import onnx_model
from helpers.datasets import open_dataset
from helpers.extraction import extract
from helpers.ranking import category_matrix, rank_exact

NEIGHBOURS = 5
MODELS = {"resnet50": "ResNet50", "vgg16": "VGG16"}


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
    dataset = open_dataset("sample")
    matrix, names = category_matrix(dataset.labels)
    shown, rows = matrix.astype(bool), np.arange(len(dataset))
    shares = (shown[:, None] & shown[None]).any(2)  # [photos, photos]
    others = ~np.eye(len(dataset), dtype=bool)
    found, wrong = {}, {}
    for model in MODELS:
        vectors = extract(onnx_model(model), dataset.paths)
        neighbours = rank_exact(vectors, vectors, rows, NEIGHBOURS)
        found[model] = np.take_along_axis(shares, neighbours, 1).mean(1)
        wrong[model] = confusions(neighbours, shown, names)
    chance = (shares & others).sum(1) / (len(dataset) - 1)
    print("| category | photos | " + " | ".join(MODELS.values()) + " | random |")
    print("| --- | --: |" + " --: |" * (len(MODELS) + 1))
    rows = [(name, shown[:, k]) for k, name in enumerate(names)]
    for name, pick in [*sorted(rows, key=lambda r: r[0]), ("**all**", np.ones(len(dataset), bool))]:
        values = [*(found[m][pick].mean() for m in MODELS), chance[pick].mean()]
        print(f"| {name} | {pick.sum()} | " + " | ".join(f"{v:.0%}" for v in values) + " |")
    for model, title in MODELS.items():
        worst = ", ".join(f"{a} → {b} ({n})" for (a, b), n in wrong[model].most_common(8))
        print(f"\n{title} most often confuses: {worst}.")


if __name__ == "__main__":
    main()
