"""Extraction on Ray Data: workers that each hold one ONNX session write to the same Milvus."""

from __future__ import annotations

import json
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import redis
from pymilvus import MilvusClient

from helpers import path_store, search, vector_store
from helpers.datasets import ImageDataset
from helpers.extraction import embed, open_session
from helpers.models import EmbeddingModel
from helpers.services import connect_milvus, milvus_uri
from helpers.settings import TutorialError, load_settings, relative_path, resolve

REQUIREMENTS = "requirements-scale.txt"
BATCH_PHOTOS = 32  # per call of an actor, and rows per upsert


def has_ray() -> bool:
    """Whether Ray, which is optional, is installed."""
    return find_spec("ray") is not None


def start_ray() -> str:
    """Join the cluster that `RAY_ADDRESS` names, or start Ray on this machine.

    Ray's own processes listen on every interface. Started here they ask for a token, which Ray
    makes; whether a cluster does was decided there. Start it only in a network you trust.

    Returns a sentence that says where it runs. Raises TutorialError where Ray is not installed,
    does not start or does not let this process in, and for a cluster beside an embedded Milvus,
    which its machines could not reach.
    """
    if not has_ray():
        raise TutorialError(
            f"Ray is not installed: `.venv/bin/python -m pip install -r {REQUIREMENTS} -c "
            "constraints.txt`, or skip this part."
        )
    os.environ.setdefault("RAY_raylet_start_wait_time_s", "600")  # 30 is little on a busy machine
    import ray

    address = os.environ.get("RAY_ADDRESS")
    if address and not load_settings().milvus_uri:
        raise TutorialError(
            "RAY_ADDRESS names a cluster, but Milvus is the embedded one, which only this machine "
            "can reach: set MILVUS_URI and REDIS_URL as well, or unset RAY_ADDRESS."
        )
    if not ray.is_initialized():
        local = {} if address else {"include_dashboard": False}
        try:
            ray.init(log_to_driver=False, logging_level="error", **local)
        except Exception as error:  # Ray's errors have no common class
            ray.shutdown()  # else what did start would be in the way of another try
            raise _no_ray(address, str(error).strip().partition("\n")[0]) from None
    return f"Ray {ray.__version__}, " + (f"cluster {address}" if address else "on this machine")


def _no_ray(address: str | None, reason: str) -> TutorialError:
    if address:
        return TutorialError(
            f"The Ray cluster at RAY_ADDRESS={address} does not let this notebook in ({reason}): "
            "start it with `ray start --head`, correct RAY_ADDRESS, or, if it asks for a token, "
            "restart this kernel with RAY_AUTH_MODE=token."
        )
    return TutorialError(
        f"Ray does not start on this machine ({reason}): run this again when the machine is less "
        "busy, or skip this part."
    )


class Extractor:
    """One of Ray's actors: opens the network once, then turns batches of photos into rows."""

    def __init__(self, onnx_path: str, collection: str, environment: dict[str, str]) -> None:
        os.environ.update(environment)
        self.onnx_path, self.collection = Path(onnx_path), collection
        open_session(self.onnx_path)  # once; `embed` takes up the open one
        self.milvus = connect_milvus()

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """`id` int64 [n], `path` and `labels` (JSON lists) [n] → the ids that Milvus took."""
        paths = batch["path"].tolist()
        vectors = np.concatenate(list(embed(self.onnx_path, list(map(resolve, paths)))))
        labels = [json.loads(names) for names in batch["labels"]]
        ids = batch["id"].tolist()
        return {
            "id": np.array(
                vector_store.upsert(self.milvus, self.collection, ids, vectors, paths, labels)
            )
        }


def store_with_ray(
    dataset: ImageDataset,
    model: EmbeddingModel,
    *,
    milvus: MilvusClient,
    redis: redis.Redis,
    workers: int = 1,
) -> tuple[str, int]:
    """`search.store_dataset`, the extraction and the inserts on Ray's workers.

    Each worker writes its own vectors to Milvus; what Milvus has acknowledged is written to Redis
    here, and rows of other photos are deleted. On a cluster every machine needs this checkout,
    `build/models` and the photos under the same paths; `workers` is the number of machines,
    because one session uses all of a machine's cores.

    Returns the collection's name and its number of rows. Raises TutorialError as `start_ray` and
    `store_dataset`.
    """
    start_ray()
    import ray

    ray.data.DataContext.get_current().enable_progress_bars = False
    onnx_path, collection = search.prepare(dataset, model, milvus)
    paths = {id_: relative_path(path) for id_, path in dataset.photos.items()}
    items = [
        {"id": record.id, "path": paths[record.id], "labels": json.dumps(sorted(record.labels))}
        for record in dataset
    ]
    stored = ray.data.from_items(items).map_batches(
        Extractor,
        fn_constructor_args=(str(onnx_path), collection, _worker_environment()),
        batch_size=BATCH_PHOTOS,
        compute=ray.data.ActorPoolStrategy(size=workers),
    )
    ids = [row["id"] for row in stored.iter_rows()]
    vector_store.keep_only(milvus, collection, ids)
    key = path_store.paths_key(dataset.slug, model)
    path_store.save_paths(redis, key, {id_: paths[id_] for id_ in ids})
    return collection, len(ids)


def _worker_environment() -> dict[str, str]:
    """What a worker, on this machine or another, must know of the environment here."""
    settings = load_settings()
    return {
        "MILVUS_URI": milvus_uri(),
        "MILVUS_TOKEN": settings.milvus_token or "",
        "BUILD_DIR": str(settings.build_dir),
    }
