"""Query → ranked results: Milvus finds the ids, Redis knows their paths."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import redis
from pymilvus import MilvusClient

from helpers import path_store, vector_store
from helpers.conversion import ensure_onnx
from helpers.datasets import ImageDataset
from helpers.extraction import extract
from helpers.hits import Hit
from helpers.models import EmbeddingModel
from helpers.settings import relative_path


@dataclass(frozen=True)
class StoredModel:
    """One model's view of a dataset: its vectors in Milvus, its paths in Redis."""

    model: EmbeddingModel
    onnx_path: Path
    collection: str
    paths_key: str
    vectors: np.ndarray
    """float32 [photos, d], rows in the order of the dataset."""
    milvus: MilvusClient
    redis: redis.Redis


def store_dataset(
    dataset: ImageDataset,
    model: EmbeddingModel,
    *,
    milvus: MilvusClient,
    redis: redis.Redis,
    index_type: str = "FLAT",
) -> StoredModel:
    """Convert, extract and store whatever of `dataset` is not there yet, for one model.

    Afterwards the collection holds exactly the dataset's photos under the dataset's ids, and the
    Redis hash exactly their paths. Running it again changes nothing. `index_type` is one of
    `vector_store.INDEX_TYPES`. Raises TutorialError where a photo, a model or a service cannot be
    used, or the collection is there with another index.
    """
    onnx_path, collection = prepare(dataset, model, milvus, index_type)
    vectors = extract(onnx_path, dataset.paths)  # float32 [photos, d]
    paths = [relative_path(path) for path in dataset.paths]
    vector_store.store(milvus, collection, dataset.ids, vectors, paths, dataset.labels)
    key = path_store.paths_key(dataset.slug, model)
    path_store.save_paths(redis, key, dict(zip(dataset.ids, paths, strict=True)))
    return StoredModel(model, onnx_path, collection, key, vectors, milvus, redis)


def prepare(
    dataset: ImageDataset, model: EmbeddingModel, milvus: MilvusClient, index_type: str = "FLAT"
) -> tuple[Path, str]:
    """A model's ONNX file and the name of its collection for a dataset, made where missing.

    Raises TutorialError as `store_dataset` does.
    """
    onnx_path = ensure_onnx(model)
    collection = vector_store.collection_name(dataset.slug, model)
    vector_store.ensure_collection(
        milvus,
        collection,
        model.dimension,
        description=model.description(),
        index_type=index_type,
        rows=len(dataset),
    )
    return onnx_path, collection


def search_stored(
    stored: StoredModel,
    vectors: np.ndarray,
    limit: int,
    **conditions: Any,
) -> list[list[Hit]]:
    """The article's search: nearest ids from Milvus, their paths from Redis.

    `stored` is what `store_dataset` returned; `vectors` are queries, float32 [m, d]; `conditions`
    are those of `vector_store.search`: `exclude`, `filter`, `filter_params`. Returns up to `limit`
    hits per query, nearest first; `Hit.distance` is the squared L2 distance. Raises TutorialError
    where Redis has no path for an id that Milvus returned.
    """
    results = vector_store.search(stored.milvus, stored.collection, vectors, limit, **conditions)
    ids = sorted({hit.id for hits in results for hit in hits})
    paths = path_store.load_paths(stored.redis, stored.paths_key, ids)
    return [[replace(hit, path=paths[hit.id]) for hit in hits] for hits in results]


def photo_vector(stored: StoredModel, path: Path) -> np.ndarray:
    """The vector float32 [1, d] of any photo, of the dataset or your own."""
    return extract(stored.onnx_path, [Path(path)], progress=False)
