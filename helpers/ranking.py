"""Rankings by distance: what they hold, what it is worth by the labels, how far two agree.

Conventions, of `evaluation` too: photos are numbered by their row in the dataset; `labels` has one
set of categories per photo; a *ranking* is an int array [queries, k] of gallery rows, best first,
in which the query itself never occurs.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import pandas as pd
from sklearn.metrics.pairwise import euclidean_distances

from helpers.settings import TutorialError

Labels = Sequence[Collection[str]]

QUERY_BLOCK = 256  # queries ranked or judged at once: bounds the memory of [block, photos]
PERSISTENCE = 0.9  # of rank-biased overlap


def squared_distances(queries: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    """Squared Euclidean distances, as Milvus' `L2` returns them: 2 − 2·cosine of unit vectors.

    queries: [q, d], gallery: [n, d]. Returns float64 [q, n], rounded to nine decimals, far
    below float32 precision, so that identical photos are at identical distances.
    """
    distances = euclidean_distances(
        np.asarray(queries, np.float64), np.asarray(gallery, np.float64), squared=True
    )
    return np.round(distances, 9)


def rank_exact(queries: np.ndarray, gallery: np.ndarray, exclude: np.ndarray, k: int) -> np.ndarray:
    """The k nearest gallery rows of every query by exhaustive comparison.

    queries: [q, d], gallery: [n, d], unit rows; exclude: int [q], each query's own gallery row.
    Returns int64 [q, k], ordered by (distance, row), so ties have one defined order.
    Raises TutorialError when the gallery has fewer than k other photos.
    """
    require_depth(k, len(gallery) - 1)
    gallery = np.asarray(gallery, np.float64)
    rankings = np.empty((len(queries), k), np.int64)
    for start in range(0, len(queries), QUERY_BLOCK):
        block = slice(start, start + QUERY_BLOCK)
        distances = squared_distances(queries[block], gallery)  # [block, n]
        distances[np.arange(len(distances)), exclude[block]] = np.inf
        rankings[block] = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return rankings


def category_matrix(labels: Labels) -> tuple[np.ndarray, list[str]]:
    """Which photo shows which category: float32 0/1 [photos, categories], and their names.

    Categories are in alphabetical order.
    """
    names = sorted(set().union(*labels))
    matrix = np.array([[name in shown for name in names] for shown in labels], np.float32)
    return matrix.reshape(len(labels), len(names)), names


def relevance(labels: Labels, queries: np.ndarray, gain: str) -> np.ndarray:
    """What each photo is worth as an answer to each query: float32 [queries, photos].

    binary: 1 if at least one category is shared. shared: number of shared categories.
    jaccard: |shared| / |union| of the two category sets, 0 if both are empty.
    A query is worth 0 as its own answer.
    """
    return relevance_of(category_matrix(labels)[0], queries, gain)


def relevance_of(shown: np.ndarray, queries: np.ndarray, gain: str) -> np.ndarray:
    """`relevance` for the categories that the photos show, 0/1 [photos, categories]."""
    value = shown[queries] @ shown.T  # [queries, photos]: categories in common
    if gain == "binary":
        value = (value > 0).astype(np.float32)
    elif gain == "jaccard":
        counts = shown.sum(axis=1)
        union = counts[queries][:, None] + counts - value
        value /= np.maximum(union, 1)
    elif gain != "shared":
        raise ValueError(f"unknown gain {gain!r}")
    value[np.arange(len(value)), queries] = 0
    return value


def per_category(values: np.ndarray, labels: Labels, queries: np.ndarray) -> pd.DataFrame:
    """Mean of a per-query metric over the queries that show each category.

    values: [queries]. Returns one row per category with a query, most queries first, columns
    `mean` and `queries` (their count). A query counts in each of its categories.
    """
    shown, names = category_matrix([labels[row] for row in queries])
    counts = shown.sum(axis=0).astype(int)
    table = pd.DataFrame({"mean": values @ shown / counts, "queries": counts}, index=names)
    return table.rename_axis("category").sort_values("queries", ascending=False, kind="stable")


def overlap_at_k(rankings_a: np.ndarray, rankings_b: np.ndarray, k: int) -> np.ndarray:
    """Share of the first k results that two models have in common: float64 [queries].

    rankings_a, rankings_b: int [queries, ≥ k], same queries in the same order. Order within the
    first k does not matter. Raises TutorialError when the rankings are shorter than k.
    """
    return _agreement(rankings_a, rankings_b, k)[:, -1]


def rank_biased_overlap(rankings_a: np.ndarray, rankings_b: np.ndarray, k: int) -> np.ndarray:
    """How alike two models order their first k results, 0 to 1: float64 [queries].

    Chosen over Kendall's τ because two top-k lists hold different photos, where τ is undefined,
    and because the first places matter most. With A_d the share in common among the first d,
    RBO = A_k·p^k + (1 − p)/p · Σ_{d≤k} A_d·p^d, the extrapolated form of Webber, Moffat,
    Zobel, "A similarity measure for indefinite rankings", 2010; p = PERSISTENCE = 0.9 puts
    86 % of the weight on the first ten places.
    """
    agreement = _agreement(rankings_a, rankings_b, k)  # [queries, k]
    decay = PERSISTENCE ** np.arange(1, k + 1)
    return agreement[:, -1] * decay[-1] + (1 - PERSISTENCE) / PERSISTENCE * (agreement @ decay)


def require_depth(k: int, available: int) -> None:
    """Refuse a k that would give a shorter result than asked for."""
    if not 1 <= k <= available:
        raise TutorialError(
            f"k = {k} is not between 1 and the {available} photos that can be ranked here: "
            "choose a smaller k, search deeper, or set DATASET to a dataset with more photos."
        )


def _agreement(rankings_a: np.ndarray, rankings_b: np.ndarray, k: int) -> np.ndarray:
    """Share in common among the first d, for d = 1 … k: float64 [queries, k]."""
    require_depth(k, min(rankings_a.shape[1], rankings_b.shape[1]))
    same = rankings_a[:, :k, None] == rankings_b[:, None, :k]  # [queries, k, k]
    common = same.cumsum(axis=1, dtype=np.int32).cumsum(axis=2, dtype=np.int32)
    return np.diagonal(common, axis1=1, axis2=2) / np.arange(1, k + 1)
