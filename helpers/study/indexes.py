"""What an index costs and what it buys: build time, memory, latency and recall at growing sizes."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pandas as pd
import psutil
from numpy.typing import ArrayLike
from pymilvus import DataType, MilvusClient, Status
from pymilvus.exceptions import MilvusException
from sklearn.preprocessing import normalize

from helpers.files import written_whole
from helpers.progress import track
from helpers.services import answering, running_services
from helpers.settings import TutorialError, load_settings
from helpers.vector_store import INDEX_TYPES, create_index, index_parameters

EXACT = "exact (NumPy)"
COLLECTION = f"index_study_{os.getpid()}"  # two notebooks may measure at once
INSERT_ROWS = 2500
WARM_UP = 10
QUERIES = 100
DEPTH = 10  # results per query
INDEX_SECONDS = 1800


def jittered(vectors: np.ndarray, count: int) -> np.ndarray:
    """`count` unit vectors spread like `vectors`, to study sizes beyond the photos at hand.

    A jittered copy of photo a is max(0, a + b − c) for two other photos b and c, scaled to length
    1: the jitter is the difference of two photos and so has the photos' own directions, unlike
    noise drawn number by number, under which the neighbours of a copy would all be equally far.

    vectors: float32 [n, d], unit rows without negative values. Returns float32 [count, d]: the
    first of `vectors` unchanged, then copies.
    """
    random = np.random.default_rng(0)
    copies = count - len(vectors)
    if copies <= 0:
        return vectors[:count]
    a = np.arange(copies) % len(vectors)
    b, c = random.integers(len(vectors), size=(2, copies))
    made = vectors[a]  # [copies, d]
    made += vectors[b]
    made -= vectors[c]
    np.maximum(made, 0, out=made)
    return np.concatenate([vectors, normalize(made, copy=False)])


def exact_neighbours(stored: np.ndarray, queries: np.ndarray, k: int) -> np.ndarray:
    """Rows of the k nearest of `stored` [n, d] to each query [m, d], unit vectors: int [m, k]."""
    k = min(k, len(stored))
    cosines = queries @ stored.T  # [m, n]
    best = np.argpartition(-cosines, k - 1, axis=1)[:, :k]
    order = np.argsort(-np.take_along_axis(cosines, best, axis=1), axis=1, kind="stable")
    return np.take_along_axis(best, order, axis=1)


def bytes_per_vector(index_type: str, dimension: int) -> int:
    """Bytes an index needs for one vector, by its construction: the vector, and HNSW's links.

    float32 takes 4 bytes a number, SQ8 one. HNSW with M = 16 has 2·M links of 4 bytes in its
    lowest layer; the layers above add 1/M of that.
    """
    vector = dimension if index_type.endswith(("SQ", "SQ8")) else 4 * dimension
    return vector + (2 * 16 * 4 + 8 if index_type.startswith("HNSW") else 0)


@answering("milvus")
def known_index_types(client: MilvusClient) -> list[str]:
    """Those of INDEX_TYPES that the server takes; Milvus 2.3 knows no HNSW_SQ.

    Milvus Lite takes any name at first, but does know these five. Raises TutorialError where the
    server does not answer.
    """
    known = []
    for index_type in INDEX_TYPES:
        with _collection(client, 16):
            try:
                _build(client, index_type, 0)
            except MilvusException as error:
                if error.code == Status.CONNECT_FAILED:
                    raise
            else:
                known.append(index_type)
    return known


@answering("milvus")
def study(
    client: MilvusClient,
    vectors: np.ndarray,
    sizes: Sequence[int],
    index_types: Sequence[str],
    *,
    server_pid: int | None = None,
) -> pd.DataFrame:
    """Build each index at each size, search it, and compare with exact search.

    In a collection of this process's own, dropped at the end. vectors: float32 [n, d], unit rows;
    where a size exceeds n, the rest are jittered copies. 100 more of these, none of them stored,
    are asked one at a time. index_types: some of `known_index_types(client)`; server_pid: the
    server's process on this machine; the embedded one is known.

    Returns one row per size and index, and one per size for exact search in this process. Columns:
    `index`, `vectors`, `insert_s`, `build_s`, `load_s`, `p50_ms`, `p95_ms`, `recall` (share of
    results no farther than the last exact neighbour), `megabytes` (by `bytes_per_vector`) and
    `server_mb` (its resident memory once loaded; missing where its process is not known). Raises
    TutorialError where the server refuses an index or does not answer.
    """
    if server_pid is None and not load_settings().milvus_uri:
        server_pid = {service.name: service.pid for service in running_services()}.get("milvus")
    made = jittered(vectors, max(sizes) + QUERIES)  # [max(sizes) + QUERIES, d]
    asked = made[max(sizes) :]
    runs = [(size, index_type) for size in sizes for index_type in (EXACT, *index_types)]
    bar = track(runs, total=len(runs), unit="indexes", label="study")
    rows = [_row(client, made[:size], index_type, asked, server_pid) for size, index_type in bar]
    return pd.DataFrame(rows)


def _row(
    client: MilvusClient,
    stored: np.ndarray,
    index_type: str,
    queries: np.ndarray,
    server_pid: int | None,
) -> dict:
    """One row of `study`."""
    row = {"index": index_type, "vectors": len(stored)}
    if index_type == EXACT:
        row |= {"insert_s": 0.0, "build_s": 0.0, "load_s": 0.0, "server_mb": None}
        nearest, seconds = _timed(lambda query: exact_neighbours(stored, query, DEPTH), queries)
    else:
        costs, nearest, seconds = _measured(client, stored, index_type, queries, server_pid)
        row |= costs
    last = exact_neighbours(stored, queries, DEPTH)[:, -1]
    farthest = np.einsum("qd,qd->q", queries, stored[last])  # [q], cosines
    cosines = np.einsum("qd,qkd->qk", queries, stored[nearest])  # [q, k]
    row["p50_ms"], row["p95_ms"] = np.percentile(seconds, [50, 95]) * 1000
    row["recall"] = np.mean(cosines > farthest[:, None] - 1e-6)
    row["megabytes"] = len(stored) * bytes_per_vector(index_type, stored.shape[1]) / 1e6
    return row


def _measured(
    client: MilvusClient,
    stored: np.ndarray,
    index_type: str,
    queries: np.ndarray,
    server_pid: int | None,
) -> tuple[dict, np.ndarray, list[float]]:
    """What an index costs to build, and the results and seconds of each query."""
    _, parameters = index_parameters(index_type, len(stored))
    options = {
        "limit": DEPTH,
        "search_params": {"metric_type": "L2", "params": parameters},
        # Strong would wait for the clock tick of the write-ahead log, 0.2 s in Milvus 2.3.
        "consistency_level": "Eventually",
    }

    def ask(query: np.ndarray) -> list[list[int]]:
        results = client.search(COLLECTION, data=query, **options)
        return [[hit["id"] for hit in hits] for hits in results]

    try:
        with _collection(client, stored.shape[1]):
            costs = _build_costs(client, stored, index_type)
            nearest, seconds = _timed(ask, queries)
            memory = psutil.Process(server_pid).memory_info().rss / 1e6 if server_pid else None
            return costs | {"server_mb": memory}, nearest, seconds
    except MilvusException as error:
        if error.code == Status.CONNECT_FAILED:
            raise
        raise TutorialError(
            f"This Milvus cannot build {index_type} on {len(stored)} vectors ({error.message}): "
            f"take index types from known_index_types(client)."
        ) from error


def _timed(
    ask: Callable[[np.ndarray], ArrayLike], queries: np.ndarray
) -> tuple[np.ndarray, list[float]]:
    """Ids [q, k] and seconds of each query, asked alone; some are asked once before, to warm up."""
    for query in queries[:WARM_UP]:
        ask(query[np.newaxis])
    nearest, seconds = [], []
    for query in queries:
        started = time.perf_counter()
        nearest.append(ask(query[np.newaxis]))  # [1, d] → [1, k]
        seconds.append(time.perf_counter() - started)
    return np.concatenate(nearest), seconds


def cached_study(
    client: MilvusClient, vectors: np.ndarray, sizes: Sequence[int], index_types: Sequence[str]
) -> pd.DataFrame:
    """`study`, or what it measured before with this server version, vectors and parameters.

    Kept in `BUILD_DIR/index_study/`; delete that folder to measure again.
    """
    parameters = [
        index_parameters(index_type, size) for index_type in index_types for size in sizes
    ]
    asked = json.dumps([client.get_server_version(), sizes, index_types, parameters])
    digest = hashlib.sha256(asked.encode() + vectors.tobytes()).hexdigest()[:12]
    path = load_settings().build_dir / "index_study" / f"{digest}.json"
    if not path.exists():
        measured = study(client, vectors, sizes, index_types)
        with written_whole(path) as part:
            part.write_text(measured.to_json(orient="records", indent=1), encoding="utf-8")
    return pd.DataFrame(json.loads(path.read_text(encoding="utf-8")))


@contextmanager
def _collection(client: MilvusClient, dimension: int) -> Iterator[None]:
    """COLLECTION, empty and without an index; dropped afterwards."""
    client.drop_collection(COLLECTION)
    schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dimension)
    client.create_collection(COLLECTION, schema=schema, consistency_level="Strong")
    try:
        yield
    finally:
        client.drop_collection(COLLECTION)


def _build_costs(client: MilvusClient, vectors: np.ndarray, index_type: str) -> dict[str, float]:
    """Insert, build, load; returns the seconds of each."""
    clock = [time.perf_counter()]
    for start in range(0, len(vectors), INSERT_ROWS):
        batch = vectors[start : start + INSERT_ROWS]
        rows = [{"id": start + row, "vector": vector} for row, vector in enumerate(batch)]
        client.insert(COLLECTION, rows)
    client.flush(COLLECTION)
    clock.append(time.perf_counter())
    _build(client, index_type, len(vectors))
    clock.append(time.perf_counter())
    client.load_collection(COLLECTION)
    clock.append(time.perf_counter())
    return dict(zip(("insert_s", "build_s", "load_s"), np.diff(clock).tolist(), strict=True))


def _build(client: MilvusClient, index_type: str, rows: int) -> None:
    """Build the index and wait until it covers every row."""
    build, _ = index_parameters(index_type, rows)
    create_index(client, COLLECTION, index_type, build)
    deadline = time.monotonic() + INDEX_SECONDS
    while (state := client.describe_index(COLLECTION, "vector"))["indexed_rows"] < rows:
        if time.monotonic() > deadline:
            raise TutorialError(
                f"Milvus has indexed {state['indexed_rows']} of {rows} vectors with {index_type} "
                f"in {INDEX_SECONDS} s: try a smaller size."
            )
        time.sleep(0.05)
