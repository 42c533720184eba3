"""How good a ranking is, measured against the photos' category labels.

Conventions are those of `ranking`, whose functions can be had from here as well.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from itertools import combinations, product
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from helpers.ranking import (  # noqa: F401  whoever evaluates has all of it here
    QUERY_BLOCK,
    Labels,
    category_matrix,
    overlap_at_k,
    per_category,
    rank_biased_overlap,
    rank_exact,
    relevance,
    relevance_of,
    require_depth,
    squared_distances,
)
from helpers.settings import NeedsLabels, TutorialError

RESAMPLES = 10_000
SPLITS = 20


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


# --- baselines and queries --------------------------------------------------------------------


def random_rankings(queries: np.ndarray, photos: int, k: int) -> np.ndarray:
    """Baseline: for every query a random order of the other photos, the same ones every time.

    queries: int [q], rows among `photos`. Returns int64 [q, k].
    """
    require_depth(k, photos - 1)
    rng = np.random.default_rng(0)
    others = np.stack([rng.permutation(photos - 1)[:k].copy() for _ in queries])  # [q, k]
    return others + (others >= np.asarray(queries)[:, None])  # step over the query's own row


def frequency_rankings(labels: Labels, queries: np.ndarray, k: int) -> np.ndarray:
    """Baseline that never looks at the query: photos with the most frequent categories first.

    A photo's score is the number of categories it shares with all photos together, i.e. the
    sum of its categories' photo counts; ties go to the lower row. Returns int64 [q, k].
    """
    require_depth(k, len(labels) - 1)
    shown, _ = category_matrix(labels)  # [photos, categories]
    order = np.argsort(-(shown @ shown.sum(axis=0)), kind="stable")[: k + 1]
    return np.stack([order[order != query][:k] for query in queries])


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
    hits = _ranked(rankings, binary, k)  # [queries, k], 0 or 1
    precision = hits.cumsum(axis=1) / np.arange(1, k + 1)  # P@1 … P@k of every query
    best = np.minimum((binary > 0).sum(axis=1), k)
    return (hits * precision).sum(axis=1) / np.maximum(best, 1)


def ndcg_at_k(rankings: np.ndarray, gains: np.ndarray, k: int) -> np.ndarray:
    """nDCG@k: discounted gain of the first k over the best possible. Returns float64 [queries].

    DCG@k = Σ_{i≤k} gain_i / log2(i + 1); nDCG@k = DCG@k / (DCG@k of the whole gallery sorted by
    gain); 0 where no photo has any gain. Järvelin and Kekäläinen, "Cumulated gain-based
    evaluation of IR techniques", 2002; equal to scikit-learn's `ndcg_score`.
    """
    discounts = 1 / np.log2(np.arange(2, k + 2))
    best = -np.sort(np.partition(-gains, k - 1, axis=1)[:, :k], axis=1)  # [queries, k]
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
        for kind in {METRICS[metric][0] for metric in metrics}:
            gains = relevance_of(shown, queries[block], kind)  # [block, photos]
            for metric, k in product(metrics, ks):
                gain, function = METRICS[metric]
                if gain == kind:
                    scores[f"{metric}@{k}"][block] = function(rankings[block], gains, k)
    return scores


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
    return PairedDifference(*interval, p=float(min(1, 2 * (smaller + 1) / (RESAMPLES + 1))))


def intervals(values: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """`bootstrap_ci` of several systems or metrics: a row each, columns `mean`, `low`, `high`."""
    rows = {name: bootstrap_ci(system) for name, system in values.items()}
    return pd.DataFrame.from_dict(rows, orient="index", columns=Interval._fields)


def compare(
    values: Mapping[str, np.ndarray], pairs: Sequence[tuple[str, str]] | str | None = None
) -> pd.DataFrame:
    """Which system is better than which, query by query, corrected for how many are compared.

    values: per system one metric of the same queries, float [queries]. pairs: which to compare, or
    the name of the one that all others are compared with; by default every two, the one with the
    higher mean first.

    Returns one row per pair, named "A − B": `difference`, the mean of A − B; `low` and `high`, its
    interval at 1 − 0.05/m for m pairs, so that all of them hold together with 95 % (Bonferroni);
    `p`, corrected by Holm, "A simple sequentially rejective multiple test procedure", 1979: the
    i-th smallest p-value times m − i + 1, at most 1, and not below the one before it; `better`, the
    better system's name where p < 0.05, else "unclear". Raises TutorialError for fewer than two
    queries.
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
        shown["p"] = ["< 0.001" if p < 0.001 else f"{p:.3f}" for p in table["p"]]
    return shown.rename(index=spelled, columns=spelled)


def results_entry(table: pd.DataFrame) -> dict[str, float | list[float]]:
    """`intervals` as results.json keeps them: `{"ndcg@10": mean, "ndcg@10_ci": [low, high]}`."""
    kept = {}
    for name, mean, low, high in table.itertuples():
        kept |= {name: mean, f"{name}_ci": [low, high]}
    return kept


def spelled(metric: object) -> object:
    """A metric as it is written in text and figures: "ndcg@10" → "nDCG@10"; others unchanged."""
    kind, at, depth = str(metric).partition("@")
    return SPELLING[kind] + at + depth if at and kind in SPELLING else metric


def held_out(
    scores: pd.DataFrame,
    choose: Callable[[pd.Series], Hashable] = pd.Series.idxmax,
) -> np.ndarray:
    """What a choice among settings brings to queries that had no say in it: float64 [queries].

    The queries are split into random halves; each half is scored with the setting that the other
    half chooses, so no query is scored by a choice it took part in. The mean over SPLITS splits
    is returned: repeated two-fold cross-validation (Stone, "Cross-validatory choice and
    assessment of statistical predictions", 1974).

    scores: one metric, [queries, settings]; choose: the settings' means → the one chosen.
    """
    total = np.zeros(len(scores))
    for seed in range(SPLITS):
        first, second = split_queries(np.arange(len(scores)), seed)
        for chosen_on, reported_on in ((first, second), (second, first)):
            chosen = choose(scores.iloc[chosen_on].mean())
            total[reported_on] += scores[chosen].to_numpy()[reported_on]
    return total / SPLITS


# --- shared -----------------------------------------------------------------------------------


def _ranked(rankings: np.ndarray, values: np.ndarray, k: int) -> np.ndarray:
    """Values [queries, photos] in ranking order: float64 [queries, k]."""
    require_depth(k, rankings.shape[1])
    return np.take_along_axis(values, rankings[:, :k], axis=1).astype(np.float64)


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
