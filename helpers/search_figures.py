"""The figures of notebook 4: how far apart photos are, and how far two models agree."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from helpers.plots import COLOURS, colour


def distances(nearest: Mapping[str, np.ndarray], pairs: Mapping[str, np.ndarray]) -> Figure:
    """Squared L2 distances of each model: to the nearest other photo, and between any two photos.

    nearest: float [queries] per model. pairs: float [pairs] per model.
    """
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    top = 1.05 * max(values.max() for values in pairs.values())
    bins = np.linspace(0, top, 40)
    panels = np.atleast_1d(figure.subplots(1, len(pairs), sharex=True))
    for number, (axes, title) in enumerate(zip(panels, pairs, strict=True)):
        shade = colour(title, number)
        axes.hist(pairs[title], bins, density=True, color=COLOURS["other"], label="any two photos")
        axes.hist(
            nearest[title], bins, density=True, histtype="step", lw=2, color=shade,
            label="nearest other photo",
        )  # fmt: skip
        axes.set(title=title, xlabel="squared L2 distance", ylabel="density")
        axes.legend()
    return figure


def agreement(
    overlap_by_depth: np.ndarray, per_query: np.ndarray, expected: np.ndarray, k: int
) -> Figure:
    """How far two models agree: mean overlap@n for n = 1 … N, and per query at one depth.

    overlap_by_depth: mean overlap@n, float [N]. per_query: overlap@k of each query, float
    [queries], 0 to 1. expected: overlap@n of two random rankings, float [N].
    """
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    depth = np.arange(1, len(overlap_by_depth) + 1)
    left.plot(depth, overlap_by_depth, color=COLOURS["match"], label="ResNet50 and VGG16")
    left.plot(depth, expected, color="black", ls="--", label="two random orders")
    left.set(xlabel="k", ylabel="mean overlap@k", ylim=(0, 1), title="Agreement by depth")
    left.legend()
    right.hist(per_query, (np.arange(k + 2) - 0.5) / k, color=COLOURS["match"], ec="white")
    right.set(xlabel=f"overlap@{k} of one query", ylabel="queries", title="Agreement by query")
    return figure


def thresholds(tables: Mapping[str, pd.DataFrame], chosen: Mapping[str, float]) -> Figure:
    """Precision and recall over the distance up to which two photos count as the same.

    tables: per model `study.copies.threshold_table`'s columns distance, precision, recall. chosen:
    per model the distance to mark.
    """
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(tables), sharex=True, sharey=True))
    for number, (axes, (title, table)) in enumerate(zip(panels, tables.items(), strict=True)):
        shade = colour(title, number)
        for column, line in (("precision", "--"), ("recall", "-")):
            axes.step(
                table["distance"], table[column], line, color=shade, label=column, where="post"
            )
        axes.axvline(chosen[title], color="black", lw=1, ls=":", label=f"{chosen[title]:.2f}")
        axes.set(title=title, xlabel="squared L2 distance", ylim=(0, 1.03))
        axes.legend(loc="lower right")
    return figure
