"""Combining models: their result lists, as Milvus' rankers do, or their vectors.

A model is one *route*. Every route answers the same queries, with `depth` results each; depths
may differ between routes. Photos are named by any integer ids: Milvus' or gallery rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.preprocessing import normalize

from helpers import evaluation
from helpers.ranking import rank_exact
from helpers.settings import TutorialError

RRF_CONSTANT = 60


def normalized_score(score: np.ndarray, metric: str = "L2") -> np.ndarray:
    """Milvus' normalisation (`norm_score=True`) of a search score, higher is better.

    L2 (squared distance d ≥ 0): 1 − 2·atan(d)/π, in (0, 1]. COSINE: (1 + s)/2, in [0, 1].
    IP: 1/2 + atan(s)/π, in (0, 1). The formulas of Milvus from 2.4 on and of Milvus Lite 3
    (`milvus_lite.function.ops.merge_op`). Returns float64, the shape of `score`.
    """
    score = np.asarray(score, np.float64)
    angle = np.arctan(score) / np.pi
    return {"L2": 1 - 2 * angle, "COSINE": (1 + score) / 2, "IP": 0.5 + angle}[metric]


def reciprocal_rank_fusion(rankings: Sequence[np.ndarray], k: int) -> tuple[np.ndarray, np.ndarray]:
    """Milvus' `RRFRanker(60)`: score = Σ over routes of 1 / (60 + rank), rank from 1.

    rankings: per route int [queries, depth], best first. Returns the k best ids, int64
    [queries, k], ties to the lower id as in Milvus, and their scores, float64 [queries, k].
    A photo missing from a route gets nothing from it. Source: Cormack, Clarke, Büttcher,
    "Reciprocal rank fusion outperforms Condorcet and individual rank learning methods", 2009.
    Raises TutorialError when the routes hold fewer than k photos together.
    """
    scores = [
        np.broadcast_to(1 / (RRF_CONSTANT + np.arange(1, route.shape[1] + 1)), route.shape)
        for route in rankings
    ]
    return _best_sums(rankings, scores, k)


def weighted_fusion(
    rankings: Sequence[np.ndarray],
    scores: Sequence[np.ndarray],
    weights: Sequence[float],
    k: int,
    metric: str = "L2",
) -> tuple[np.ndarray, np.ndarray]:
    """Milvus' `WeightedRanker(*weights, norm_score=True)`: Σ of weight · normalized_score.

    rankings: per route int [queries, depth]; scores: the same shape, as Milvus returns them
    under `metric`; weights: one per route, 0 to 1. Returns ids and scores as
    `reciprocal_rank_fusion` does. A photo missing from a route counts 0 there, below any photo
    the route found: fetch several times k from every route.
    Raises TutorialError for weights outside 0 to 1, for a wrong number of them, and when the
    routes hold fewer than k photos together.
    """
    _require_weights(weights, len(rankings))
    weighted = [
        weight * normalized_score(route, metric)
        for weight, route in zip(weights, scores, strict=True)
    ]
    return _best_sums(rankings, weighted, k)


def concatenate(embeddings: Sequence[np.ndarray], weights: Sequence[float]) -> np.ndarray:
    """One unit vector per photo out of several: float32 [photos, Σ dimensions].

    embeddings: per model [photos, dimension], unit rows; weights: one per model, 0 to 1. Each
    block is scaled by √(weight / Σ weights), so the cosine of two results is the weighted mean
    of the models' cosines. Raises TutorialError for weights outside 0 to 1, a wrong number of
    them, or all 0.
    """
    _require_weights(weights, len(embeddings))
    shares = np.asarray(weights, np.float64) / np.sum(weights)
    blocks = [
        np.sqrt(share) * np.asarray(block, np.float64)
        for share, block in zip(shares, embeddings, strict=True)
    ]
    return np.hstack(blocks).astype(np.float32)


def centre(embeddings: np.ndarray) -> np.ndarray:
    """The mean of all photos' vectors subtracted, then unit length: float32 [photos, d].

    embeddings: [photos, d]. What all photos have in common says nothing about which are alike:
    Jégou and Chum (see `whiten`). A photo that equals the mean stays 0, as far from all others.
    """
    vectors = np.asarray(embeddings, np.float64)
    return normalize(vectors - vectors.mean(axis=0)).astype(np.float32)


def whiten(embeddings: np.ndarray, dimensions: int = 128, power: float = 0.5) -> np.ndarray:
    """PCA-whitened unit vectors: float32 [photos, dimensions].

    embeddings: [photos, d], all of the gallery; labels are not used. The mean is subtracted, the
    `dimensions` directions of largest variance are kept, and each is divided by its standard
    deviation to the `power`: 1 is full whitening (all directions count alike), 0 none, 0.5 half of
    it. Jégou and Chum, "Negative evidences and co-occurences in image retrieval: the benefit of
    PCA and whitening", 2012.
    Raises TutorialError when the photos do not span that many dimensions.
    """
    vectors = np.asarray(embeddings, np.float64)
    spanned = 0
    if len(vectors) > 1:
        pca = PCA(min(dimensions, *vectors.shape), random_state=0).fit(vectors)
        spanned = int((pca.singular_values_ > 1e-4).sum())  # below: float32 noise, not variance
    if spanned < dimensions:
        raise TutorialError(
            f"The {len(vectors)} photos that whitening is fitted on span {spanned} dimensions, "
            f"not the {dimensions} asked for: choose fewer dimensions, or set DATASET to a "
            "dataset with more photos."
        )
    scaled = pca.transform(vectors) / pca.explained_variance_ ** (power / 2)  # [photos, dimensions]
    return normalize(scaled).astype(np.float32)


def expand_queries(gallery: np.ndarray, rows: np.ndarray, neighbours: int = 3) -> np.ndarray:
    """Queries that ask with their nearest photos, too: float32 [q, d], unit length.

    gallery: [photos, d], unit rows; rows: int [q], the photos that ask. To each its `neighbours`
    nearest other photos are added with weight cosine³, negative cosines as 0: α-query
    expansion of Radenović, Tolias, Chum, "Fine-tuning CNN image retrieval with no human
    annotation", 2019. It costs a second search and no pass through a network.
    """
    nearest = rank_exact(gallery[rows], gallery, rows, neighbours)  # [q, neighbours]
    queries = np.asarray(gallery[rows], np.float64)
    expanded = queries.copy()
    for column in nearest.T:
        neighbour = np.asarray(gallery[column], np.float64)  # [q, d]
        weight = np.maximum((queries * neighbour).sum(axis=1, keepdims=True), 0) ** 3  # [q, 1]
        expanded += weight * neighbour
    return normalize(expanded).astype(np.float32)


def shared_results(
    ranking_a: np.ndarray, ranking_b: np.ndarray, binary: np.ndarray, k: int
) -> tuple[float, float]:
    """How far two models agree on right answers, and how far on wrong ones: 0 to 1 each.

    ranking_a, ranking_b: int [queries, ≥ k]; binary: [queries, photos], above 0 where a photo is
    relevant. Of the relevant photos among both first k, 2·|A ∩ B| / (|A| + |B|) over all queries;
    the same of the others. Fusion pays where the right answers are shared and the errors are not:
    Lee, "Analyses of multiple evidence combination", 1997. 0 where there are none.
    """
    retrieved = np.zeros((2, *binary.shape), bool)  # [models, queries, photos]
    np.put_along_axis(retrieved[0], ranking_a[:, :k], True, axis=1)
    np.put_along_axis(retrieved[1], ranking_b[:, :k], True, axis=1)
    shares = []
    for kind in (binary > 0, binary <= 0):
        of_a, of_b = retrieved & kind
        shares.append(float(2 * (of_a & of_b).sum() / max(1, of_a.sum() + of_b.sum())))
    return shares[0], shares[1]


def results_section(
    metric: str,
    names: Iterable[str],
    steps: Mapping[str, Mapping[str, np.ndarray]],
    added: Mapping[str, pd.DataFrame],
    ways: Mapping[str, Mapping[str, np.ndarray]],
    gains: pd.DataFrame,
    tables: Mapping[str, pd.DataFrame],
) -> dict:
    """Section `fusion` of results.json: per model its steps, per combination its ways, the tables.

    names: of the models, in the order of `steps`; steps: per model title and step the metric of
    every query; added: per title what `evaluation.compare` says of the steps; ways: per combination
    and way the metric of every query; gains: what it says of each combination, in their order.
    """
    found: dict = {"combinations": {}}
    for name, (title, of_steps) in zip(names, steps.items(), strict=True):
        found[name] = {"steps": {}, "gain": added[title].to_dict("index")}
        for step, mean, low, high in evaluation.intervals(of_steps).itertuples():
            found[name]["steps"][step] = {metric: mean, f"{metric}_ci": [low, high]}
    for (name, of_ways), gain in zip(ways.items(), gains.to_dict("records"), strict=True):
        means = pd.DataFrame(of_ways).mean().to_dict()
        found["combinations"][name] = {metric: means, f"{metric}_gain": gain}
    return found | {name: table.to_dict("index") for name, table in tables.items()}


def _best_sums(
    rankings: Sequence[np.ndarray], scores: Sequence[np.ndarray], k: int
) -> tuple[np.ndarray, np.ndarray]:
    """Sum the scores of each photo over the routes; the k best by (score, lower id)."""
    ids = np.hstack(rankings)  # [queries, Σ depths]
    queries = len(ids)
    asked = np.repeat(np.arange(queries), ids.shape[1])
    hits = pd.DataFrame({"query": asked, "id": ids.ravel(), "score": np.hstack(scores).ravel()})
    fused = hits.groupby(["query", "id"], as_index=False)["score"].sum()
    fewest = int(fused.groupby("query").size().min())
    if not 1 <= k <= fewest:
        raise TutorialError(
            f"k = {k} fused results were asked for, but for one query the models found only "
            f"{fewest} photos together: choose a smaller k or fetch more from each model."
        )
    fused = fused.sort_values(["query", "score", "id"], ascending=[True, False, True])
    best = fused.groupby("query").head(k)
    columns = best["id"].to_numpy(np.int64), best["score"].to_numpy()
    return columns[0].reshape(queries, k), columns[1].reshape(queries, k)


def _require_weights(weights: Sequence[float], routes: int) -> None:
    """Milvus' rules for weights, plus that not all are 0."""
    valid = len(weights) == routes and all(0 <= weight <= 1 for weight in weights)
    if not (valid and any(weights)):
        raise TutorialError(
            f"Fusing {routes} models takes {routes} weights between 0 and 1, not all 0, "
            f"but got {list(weights)}."
        )
