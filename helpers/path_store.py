"""The Redis id → path map: one hash per dataset and model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import redis

from helpers.models import EmbeddingModel
from helpers.services import answering
from helpers.settings import TutorialError


def paths_key(dataset_slug: str, model: EmbeddingModel) -> str:
    """Name of the hash that holds the paths of one dataset as stored for one model."""
    return f"image-search:{dataset_slug}:{model.slug}:paths"


@answering("redis")
def save_paths(client: redis.Redis, key: str, paths: Mapping[int, str]) -> None:
    """Replace the hash `key` by `paths` (id → path) in one transaction."""
    with client.pipeline(transaction=True) as pipeline:
        pipeline.delete(key)
        if paths:
            pipeline.hset(key, mapping={str(id_): path for id_, path in paths.items()})
        pipeline.execute()


@answering("redis")
def load_paths(client: redis.Redis, key: str, ids: Sequence[int]) -> dict[int, str]:
    """Paths of `ids`, in their order.

    Raises TutorialError where an id has none.
    """
    if not len(ids):
        return {}
    ids = [int(id_) for id_ in ids]
    paths = dict(zip(ids, client.hmget(key, [str(id_) for id_ in ids]), strict=True))
    missing = [id_ for id_, path in paths.items() if path is None]
    if missing:
        raise TutorialError(
            f"Redis has no path under {key!r} for {len(missing)} of {len(paths)} ids "
            f"({missing[0]} is the first): run notebook 03 again."
        )
    return paths


@answering("redis")
def count_paths(client: redis.Redis, key: str) -> int:
    """Number of paths in the hash `key`; 0 where there is none."""
    return client.hlen(key)
