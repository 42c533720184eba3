"""How good a ranking is, measured against the photos' category labels.

Conventions of this module: photos are numbered by their row in the dataset; `labels` has one
set of categories per photo; a *ranking* is an int array [queries, k] of gallery rows, best
first, in which the query itself never occurs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.metrics.pairwise import euclidean_distances

from helpers.settings import NeedsLabels, TutorialError

Labels = Sequence[Collection[str]]

QUERY_BLOCK = 256  # queries ranked or judged at once: bounds the memory of [block, photos]
RESAMPLES = 10_000
PERSISTENCE = 0.9  # of rank-biased overlap


class Interval(NamedTuple):
    """A mean over queries with the ends of its confidence interval."""

    mean: float
    low: float
    high: float


class PairedDifference(NamedTuple):
    """How far model A lies above model B, query by query."""

    difference: float
    """Mean of A − B over queries."""
    low: float
    high: float
    p: float
    """Two-sided p-value of "no difference", between 1/RESAMPLES and 1."""


# --- rankings ---------------------------------------------------------------------------------


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
    _require_depth(k, len(gallery) - 1)
    gallery = np.asarray(gallery, np.float64)
    rankings = np.empty((len(queries), k), np.int64)
    for start in range(0, len(queries), QUERY_BLOCK):
        block = slice(start, start + QUERY_BLOCK)
        distances = squared_distances(queries[block], gallery)
        distances[np.arange(len(distances)), exclude[block]] = np.inf
        rankings[block] = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return rankings


def random_rankings(queries: np.ndarray, photos: int, k: int) -> np.ndarray:
    """Baseline: for every query a random order of the other photos, the same ones every time.

    queries: int [q], rows among `photos`. Returns int64 [q, k].
    """
    _require_depth(k, photos - 1)
    rng = np.random.default_rng(0)
    others = np.stack([rng.permutation(photos - 1)[:k].copy() for _ in queries])
    return others + (others >= np.asarray(queries)[:, None])  # step over the query's own row


def frequency_rankings(labels: Labels, queries: np.ndarray, k: int) -> np.ndarray:
    """Baseline that never looks at the query: photos with the most frequent categories first.

    A photo's score is the number of categories it shares with all photos together, i.e. the
    sum of its categories' photo counts; ties go to the lower row. Returns int64 [q, k].
    """
    _require_depth(k, len(labels) - 1)
    shown, _ = category_matrix(labels)
    order = np.argsort(-(shown @ shown.sum(axis=0)), kind="stable")[: k + 1]
    return np.stack([order[order != query][:k] for query in queries])


# --- relevance --------------------------------------------------------------------------------


def category_matrix(labels: Labels) -> tuple[np.ndarray, list[str]]:
    """Which photo shows which category: float32 0/1 [photos, categories], and their names.

    Categories are in alphabetical order.
    """
    names = sorted(set().union(*labels))
    matrix = np.array([[name in shown for name in names] for shown in labels], np.float32)
    return matrix.reshape(len(labels), len(names)), names


def query_rows(labels: Labels) -> np.ndarray:
    """Rows of the photos that can be judged: those sharing a category with another photo.

    A photo without labels and one whose categories occur nowhere else have no right answer that
    any ranking could find, so they are not queries; they stay in the gallery. Returns int64 [q],
    ascending.
    Raises NeedsLabels when nothing is left.
    """
    shown, _ = category_matrix(labels)
    rows = np.flatnonzero(shown @ (shown.sum(axis=0) > 1))
    if not len(rows):
        raise NeedsLabels(
            "No two photos of this dataset share a category, so nothing can be evaluated: "
            "set DATASET to photos with labels (`sample`, `coco`, or folders named by category)."
        )
    return rows


def split_queries(queries: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two random halves of the queries: choose settings on one, report on the other."""
    shuffled = np.random.default_rng(seed).permutation(queries)
    return np.sort(shuffled[: len(shuffled) // 2]), np.sort(shuffled[len(shuffled) // 2 :])


def relevance(labels: Labels, queries: np.ndarray, gain: str) -> np.ndarray:
    """What each photo is worth as an answer to each query: float32 [queries, photos].

    binary: 1 if at least one category is shared. shared: number of shared categories.
    jaccard: |shared| / |union| of the two category sets, 0 if both are empty.
    A query is worth 0 as its own answer.
    """
    return _gains(category_matrix(labels)[0], queries, gain)


def _gains(shown: np.ndarray, queries: np.ndarray, gain: str) -> np.ndarray:
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


# --- metrics ----------------------------------------------------------------------------------


def precision_at_k(rankings: np.ndarray, binary: np.ndarray, k: int) -> np.ndarray:
    """P@k: share of relevant photos among the first k. Returns float64 [queries].

    P@k = (1/k) Σ_{i≤k} rel_i. Manning, Raghavan, Schütze, "Introduction to Information
    Retrieval", 2008, section 8.4.
    """
    return _ranked(rankings, binary, k).mean(axis=1)


def average_precision_at_k(rankings: np.ndarray, binary: np.ndarray, k: int) -> np.ndarray:
    """AP@k: mean of P@i over the relevant places i ≤ k. Returns float64 [queries].

    AP@k = Σ_{i≤k} rel_i·P@i / min(R, k), R the number of relevant photos in the whole gallery,
    so the best possible first k score 1; 0 where R = 0. Its mean over queries is mAP@k. With
    k = all photos it is the usual average precision (Manning et al. 2008, section 8.4;
    scikit-learn's `average_precision_score`).
    """
    hits = _ranked(rankings, binary, k)
    precision = hits.cumsum(axis=1) / np.arange(1, k + 1)
    best = np.minimum((binary > 0).sum(axis=1), k)
    return (hits * precision).sum(axis=1) / np.maximum(best, 1)


def ndcg_at_k(rankings: np.ndarray, gains: np.ndarray, k: int) -> np.ndarray:
    """nDCG@k: discounted gain of the first k over the best possible. Returns float64 [queries].

    DCG@k = Σ_{i≤k} gain_i / log2(i + 1); nDCG@k = DCG@k / (DCG@k of the whole gallery sorted by
    gain); 0 where no photo has any gain. Järvelin and Kekäläinen, "Cumulated gain-based
    evaluation of IR techniques", 2002; equal to scikit-learn's `ndcg_score`.
    """
    discounts = 1 / np.log2(np.arange(2, k + 2))
    best = -np.sort(np.partition(-gains, k - 1, axis=1)[:, :k], axis=1)
    ideal = best.astype(np.float64) @ discounts
    return np.divide(
        _ranked(rankings, gains, k) @ discounts, ideal, out=np.zeros(len(gains)), where=ideal > 0
    )


def acg_at_k(rankings: np.ndarray, shared: np.ndarray, k: int) -> np.ndarray:
    """ACG@k: mean number of categories shared with the first k. Returns float64 [queries].

    ACG@k = (1/k) Σ_{i≤k} |shared_i|: the cumulated gain of Järvelin and Kekäläinen 2002 per
    place, as usual for photos with several labels (Zhao et al., "Deep semantic ranking based
    hashing for multi-label image retrieval", 2015). Not limited to 1.
    """
    return _ranked(rankings, shared, k).mean(axis=1)


METRICS: dict[str, tuple[str, Callable[[np.ndarray, np.ndarray, int], np.ndarray]]] = {
    "p": ("binary", precision_at_k),
    "map": ("binary", average_precision_at_k),
    "ndcg": ("jaccard", ndcg_at_k),
    "acg": ("shared", acg_at_k),
}
"""Name in `build/results.json` → (gain of `relevance` it needs, function)."""

SPELLING = {"p": "P", "map": "mAP", "ndcg": "nDCG", "acg": "ACG"}
"""How they are written for readers, as the papers do."""


def per_query(
    metric: str, rankings: np.ndarray, labels: Labels, queries: np.ndarray, k: int
) -> np.ndarray:
    """One metric of METRICS for every query: float64 [queries].

    rankings: int [queries, ≥ k], row i answering photo `queries[i]`.
    Raises TutorialError when the rankings are shorter than k.
    """
    return _scores([metric], rankings, labels, queries, [k])[f"{metric}@{k}"]


def evaluate(
    rankings: np.ndarray,
    labels: Labels,
    queries: np.ndarray,
    ks: Sequence[int] = (1, 5, 10),
) -> dict[str, np.ndarray]:
    """Every metric at every k: `{"ndcg@10": float64 [queries], …}`; arguments as `per_query`."""
    return _scores(METRICS, rankings, labels, queries, ks)


def _scores(
    metrics: Collection[str],
    rankings: np.ndarray,
    labels: Labels,
    queries: np.ndarray,
    ks: Sequence[int],
) -> dict[str, np.ndarray]:
    """`evaluate` for some metrics; gains [queries, photos] never are in memory as a whole."""
    shown, _ = category_matrix(labels)
    scores = {f"{metric}@{k}": np.empty(len(queries)) for metric in metrics for k in ks}
    for start in range(0, len(queries), QUERY_BLOCK):
        block = slice(start, start + QUERY_BLOCK)
        for metric in metrics:
            gain, function = METRICS[metric]
            gains = _gains(shown, queries[block], gain)  # [block, photos]
            for k in ks:
                scores[f"{metric}@{k}"][block] = function(rankings[block], gains, k)
    return scores


def per_category(values: np.ndarray, labels: Labels, queries: np.ndarray) -> pd.DataFrame:
    """Mean of a per-query metric over the queries that show each category.

    values: [queries]. Returns one row per category with a query, most queries first, columns
    `mean` and `queries` (their count). A query counts in each of its categories.
    """
    shown, names = category_matrix([labels[row] for row in queries])
    counts = shown.sum(axis=0).astype(int)
    table = pd.DataFrame({"mean": values @ shown / counts, "queries": counts}, index=names)
    return table.rename_axis("category").sort_values("queries", ascending=False, kind="stable")


# --- uncertainty ------------------------------------------------------------------------------


def bootstrap_ci(values: np.ndarray) -> Interval:
    """Mean of a per-query metric with its 95 % percentile bootstrap interval over queries.

    values: [queries]. Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter
    13. Equal values give an interval of length 0. Raises TutorialError for fewer than two
    queries.
    """
    return _bootstrap_mean(values, 0.95)[0]


def paired_bootstrap(a: np.ndarray, b: np.ndarray, *, confidence: float = 0.95) -> PairedDifference:
    """Is A better than B? The mean of a − b over queries, resampled over queries.

    a, b: [queries], the same metric of the same queries. The p-value is twice the smaller share
    of RESAMPLES means on either side of 0, counted as (count + 1) / (RESAMPLES + 1) so that it
    is never 0 (Davison and Hinkley, "Bootstrap Methods and their Application", 1997, chapter 4).
    Raises TutorialError for fewer than two queries.
    """
    interval, means = _bootstrap_mean(np.subtract(a, b), confidence)
    smaller = min((means <= 0).sum(), (means >= 0).sum())
    return PairedDifference(
        *interval,
        p=float(min(1, 2 * (smaller + 1) / (RESAMPLES + 1))),
    )


def intervals(values: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """`bootstrap_ci` of several systems or metrics: a row each, columns `mean`, `low`, `high`."""
    found = {name: bootstrap_ci(each) for name, each in values.items()}
    return pd.DataFrame.from_dict(found, orient="index", columns=Interval._fields)


def compare(
    values: Mapping[str, np.ndarray], pairs: Sequence[tuple[str, str]] | str | None = None
) -> pd.DataFrame:
    """Which system is better than which, query by query, corrected for how many are compared.

    Args:
        values: per system one metric of the same queries, float [queries].
        pairs: which to compare, or the name of the one that all others are compared with; by
            default every two, the one with the higher mean first.

    Returns:
        One row per pair, named "A − B": `difference`, the mean of A − B; `low` and `high`, its
        interval at 1 − 0.05/m for m pairs, so that all of them hold together with 95 %
        (Bonferroni); `p`, corrected by Holm, "A simple sequentially rejective multiple test
        procedure", 1979: the i-th smallest p-value times m − i + 1, at most 1, and not below the
        one before it; `better`, the better system's name where p < 0.05, else "unclear".

    Raises:
        TutorialError: there are fewer than two queries.
    """
    if pairs is None:
        pairs = list(combinations(sorted(values, key=lambda name: -np.mean(values[name])), 2))
    elif isinstance(pairs, str):
        pairs = [(name, pairs) for name in values if name != pairs]
    rows = {}
    for a, b in pairs:
        pair = paired_bootstrap(values[a], values[b], confidence=1 - 0.05 / len(pairs))
        ahead = a if pair.difference > 0 else b
        rows[f"{a} − {b}"] = (pair.difference, pair.low, pair.high, pair.p, ahead)
    columns = ["difference", "low", "high", "p", "better"]
    table = pd.DataFrame.from_dict(rows, orient="index", columns=columns).sort_values("p")
    corrected = table["p"] * np.arange(len(table), 0, -1)
    table["p"] = corrected.cummax().clip(upper=1)
    table.loc[table["p"] >= 0.05, "better"] = "unclear"
    return table.loc[list(rows)]


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """A table to be read: three decimals, no −0.000, and a small `p` as "< 0.001"."""
    shown = table.round(3)
    numbers = shown.select_dtypes("number").columns
    shown[numbers] += 0.0
    if "p" in table:
        shown["p"] = [f"{p:.3f}" if p >= 0.001 else "< 0.001" for p in table["p"]]
    return shown.rename(index=spelled, columns=spelled)


def record(table: pd.DataFrame) -> dict[str, float | list[float]]:
    """`intervals` as results.json keeps them: `{"ndcg@10": mean, "ndcg@10_ci": [low, high]}`."""
    found = {}
    for name, mean, low, high in table.itertuples():
        found |= {name: mean, f"{name}_ci": [low, high]}
    return found


def spelled(metric: object) -> object:
    """A metric as it is written in text and figures: "ndcg@10" → "nDCG@10"; others unchanged."""
    kind, at, depth = str(metric).partition("@")
    return SPELLING[kind] + at + depth if at and kind in SPELLING else metric


def held_out(
    scores: pd.DataFrame,
    choose: Callable[[pd.Series], Hashable] = pd.Series.idxmax,
    splits: int = 20,
) -> np.ndarray:
    """What a choice among settings brings to queries that had no say in it: float64 [queries].

    The queries are split into random halves; each half is scored with the setting that the other
    half chooses, so no query is scored by a choice it took part in. The mean over `splits` splits
    is returned: repeated two-fold cross-validation (Stone, "Cross-validatory choice and
    assessment of statistical predictions", 1974).

    scores: one metric, [queries, settings]; choose: the settings' means → the one chosen.
    """
    total = np.zeros(len(scores))
    for seed in range(splits):
        first, second = split_queries(np.arange(len(scores)), seed)
        for chosen_on, reported_on in ((first, second), (second, first)):
            chosen = choose(scores.iloc[chosen_on].mean())
            total[reported_on] += scores[chosen].to_numpy()[reported_on]
    return total / splits


# --- agreement of two models ------------------------------------------------------------------


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
    agreement = _agreement(rankings_a, rankings_b, k)
    decay = PERSISTENCE ** np.arange(1, k + 1)
    return agreement[:, -1] * decay[-1] + (1 - PERSISTENCE) / PERSISTENCE * (agreement @ decay)


# --- shared -----------------------------------------------------------------------------------


def _require_depth(k: int, available: int) -> None:
    """Refuse a k that would give a shorter result than asked for."""
    if not 1 <= k <= available:
        raise TutorialError(
            f"k = {k} is not between 1 and the {available} photos that can be ranked here: "
            "choose a smaller k, search deeper, or set DATASET to a dataset with more photos."
        )


def _ranked(rankings: np.ndarray, values: np.ndarray, k: int) -> np.ndarray:
    """Values [queries, photos] in ranking order: float64 [queries, k]."""
    _require_depth(k, rankings.shape[1])
    return np.take_along_axis(values, rankings[:, :k], axis=1).astype(np.float64)


def _agreement(rankings_a: np.ndarray, rankings_b: np.ndarray, k: int) -> np.ndarray:
    """Share in common among the first d, for d = 1 … k: float64 [queries, k]."""
    _require_depth(k, min(rankings_a.shape[1], rankings_b.shape[1]))
    same = rankings_a[:, :k, None] == rankings_b[:, None, :k]
    common = same.cumsum(axis=1, dtype=np.int32).cumsum(axis=2, dtype=np.int32)
    return np.diagonal(common, axis1=1, axis2=2) / np.arange(1, k + 1)


def _bootstrap_mean(values: np.ndarray, confidence: float) -> tuple[Interval, np.ndarray]:
    """The interval of the mean, and the resampled means [RESAMPLES]."""
    if len(values) < 2:
        raise TutorialError(
            f"An interval over queries needs at least two of them, and there are {len(values)}: "
            "set DATASET to a dataset with more labelled photos."
        )
    result = stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=RESAMPLES,
        confidence_level=confidence,
        method="percentile",
        batch=500,  # bounds the memory: 500 × queries
        rng=np.random.default_rng(0),
    )
    interval = Interval(float(np.mean(values)), *map(float, result.confidence_interval))
    return interval, result.bootstrap_distribution
