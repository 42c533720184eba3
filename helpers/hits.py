"""Search results: hits, and the way between hits and rows of a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from helpers.datasets import ImageDataset
from helpers.settings import TutorialError, relative_path


@dataclass(frozen=True)
class Hit:
    """One search result; `distance` is the squared L2 distance, `rank` starts at 1."""

    id: int
    distance: float
    rank: int
    path: str
    labels: frozenset[str]


def hit_arrays(results: Sequence[Sequence[Hit]]) -> tuple[np.ndarray, np.ndarray]:
    """Results as arrays [queries, limit]: ids int64, squared distances float64.

    Raises TutorialError where some queries have fewer results than others.
    """
    if len({len(hits) for hits in results}) > 1:
        raise TutorialError(
            "Some queries found fewer photos than others: search with the index FLAT, which misses "
            "none, or for fewer results."
        )
    ids = np.array([[hit.id for hit in hits] for hits in results], np.int64)
    return ids, np.array([[hit.distance for hit in hits] for hits in results], np.float64)


def ranking_rows(dataset: ImageDataset, results: Sequence[Sequence[Hit]]) -> np.ndarray:
    """Results as rows of the dataset, int64 [queries, limit], as `evaluation` takes them.

    Raises TutorialError as `hit_arrays` does.
    """
    ids, _ = hit_arrays(results)
    return np.array([[dataset.row_of[id_] for id_ in row] for row in ids.tolist()], np.int64)


def ranked_hits(
    dataset: ImageDataset, vectors: np.ndarray, query: int, ranking: np.ndarray
) -> list[Hit]:
    """A ranking computed without Milvus, rows of the results, in the form the plots take.

    vectors: float32 [photos, d], unit length, rows in the order of the dataset; query: its row.
    """
    distances = 2 - 2 * vectors[ranking] @ vectors[query]  # float32 [results]
    records = [dataset.records[row] for row in ranking]
    return [
        Hit(record.id, float(distance), rank, relative_path(record.path), record.labels)
        for rank, (record, distance) in enumerate(zip(records, distances, strict=True), start=1)
    ]
