"""What an index costs and what it buys: build time, memory, latency and recall at growing sizes."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pandas as pd
import psutil
from pymilvus import DataType, MilvusClient, Status
from pymilvus.exceptions import MilvusException
from sklearn.preprocessing import normalize

from helpers.files import written_whole
from helpers.progress import track
from helpers.services import answering, running_services
from helpers.settings import TutorialError, load_settings
from helpers.vector_store import INDEX_TYPES, add_index, index_parameters

EXACT = "exact (NumPy)"
COLLECTION = f"index_study_{os.getpid()}"  # two notebooks may measure at once
INSERT_ROWS = 2500
WARM_UP = 10
INDEX_SECONDS = 1800


def jittered(vectors: np.ndarray, count: int, *, seed: int = 0) -> np.ndarray:
    """`count` unit vectors spread like `vectors`, to study sizes beyond the photos at hand.

    A jittered copy of photo a is max(0, a + b − c) for two other photos b and c, scaled to length
    1: the jitter is the difference of two photos and so has the photos' own directions, unlike
    noise drawn number by number, under which the neighbours of a copy would all be equally far.
    Copies of different photos mix: `own_share` tells how much.

    vectors: float32 [n, d], unit rows without negative values. Returns float32 [count, d]: the
    first of `vectors` unchanged, then copies.
    """
    random = np.random.default_rng(seed)
    copies = count - len(vectors)
    if copies <= 0:
        return vectors[:count]
    a = np.arange(copies) % len(vectors)
    b, c = random.integers(len(vectors), size=(2, copies))
    made = vectors[a]
    made += vectors[b]
    made -= vectors[c]
    np.maximum(made, 0, out=made)
    return np.concatenate([vectors, normalize(made, copy=False)])


def own_share(vectors: np.ndarray, count: int, *, sample: int = 100, k: int = 10) -> float:
    """Mean share of copies of the same photo among the k nearest of a jittered copy.

    1 would mean that each photo's copies are an island, and the neighbours trivial.
    """
    made = jittered(vectors, count)
    asked = np.linspace(len(vectors), count - 1, sample).astype(int)
    nearest = exact_neighbours(made, made[asked], k + 1)[:, 1:]
    photo = np.arange(count) % len(vectors)
    return float(np.mean(photo[nearest] == photo[asked][:, None]))


def exact_neighbours(stored: np.ndarray, queries: np.ndarray, k: int) -> np.ndarray:
    """Rows of the k nearest of `stored` [n, d] to each query [m, d], unit vectors: int [m, k]."""
    k = min(k, len(stored))
    cosines = queries @ stored.T
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
    queries: int = 100,
    k: int = 10,
    server_pid: int | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Build each index at each size, search it, and compare with exact search.

    Args:
        client: of the server to study; a collection of this process's own is made and dropped.
        vectors: float32 [n, d], unit rows: real photos'. Where a size exceeds n, the rest are
            jittered copies of them.
        sizes: numbers of vectors.
        index_types: some of `known_index_types(client)`.
        queries: how many further jittered copies, none of them stored, are asked one at a time.
        k: results per query.
        server_pid: the server's process on this machine; the embedded one is known.
        progress: show a bar where someone is watching.

    Returns:
        One row per size and index, and one per size for exact search in this process. Columns:
        `index`, `vectors`, `insert_s`, `build_s`, `load_s`, `p50_ms`, `p95_ms`, `recall` (share of
        results no farther than the k-th exact neighbour), `megabytes` (by `bytes_per_vector`) and
        `server_mb` (the server's resident memory once loaded; missing where its process is not
        known).

    Raises:
        TutorialError: an index type is unknown, refused by the server, or not finished; or the
            server does not answer.
    """
    if server_pid is None:
        uris = {service.name: service.pid for service in running_services()}
        server_pid = None if load_settings().milvus_uri else uris.get("milvus")
    if unknown := set(index_types) - set(INDEX_TYPES):
        raise TutorialError(
            f"No index type {', '.join(sorted(unknown))}: take some of {', '.join(INDEX_TYPES)}."
        )
    made = jittered(vectors, max(sizes) + queries)
    asked = made[max(sizes) :]
    runs = [(size, index_type) for size in sizes for index_type in (EXACT, *index_types)]
    rows = []
    bar = track(runs, total=len(runs), unit="indexes", label="study", enabled=progress)
    for size, index_type in bar:
        stored = made[:size]
        if index_type == EXACT:
            last = exact_neighbours(stored, asked, k)[:, -1]
            farthest = np.einsum("qd,qd->q", asked, stored[last])[:, None]
            found, seconds = zip(*_timed_exact(stored, asked, k), strict=True)
            costs = dict.fromkeys(("insert_s", "build_s", "load_s"), 0.0) | {"server_mb": None}
        else:
            try:
                with _collection(client, stored.shape[1]):
                    costs = _filled(client, stored, index_type) | {"server_mb": None}
                    found, seconds = zip(*_timed(client, index_type, size, asked, k), strict=True)
                    if server_pid:
                        costs["server_mb"] = psutil.Process(server_pid).memory_info().rss / 1e6
            except MilvusException as error:
                if error.code == Status.CONNECT_FAILED:
                    raise
                raise TutorialError(
                    f"This Milvus cannot build {index_type} on {size} vectors ({error.message}): "
                    f"take index types from known_index_types(client)."
                ) from error
        cosines = np.einsum("qd,qkd->qk", asked, stored[np.array(found)])
        p50, p95 = np.percentile(seconds, [50, 95]) * 1000
        size_mb = size * bytes_per_vector(index_type, stored.shape[1]) / 1e6
        rows.append(
            {"index": index_type, "vectors": size, **costs, "p50_ms": p50, "p95_ms": p95}
            | {"recall": np.mean(cosines > farthest - 1e-6), "megabytes": size_mb}
        )
    return pd.DataFrame(rows)


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


def _filled(client: MilvusClient, vectors: np.ndarray, index_type: str) -> dict[str, float]:
    """Insert, build, load; returns the seconds of each."""
    started = time.perf_counter()
    _insert(client, vectors)
    inserted = time.perf_counter()
    _build(client, index_type, len(vectors))
    built = time.perf_counter()
    client.load_collection(COLLECTION)
    loaded = time.perf_counter()
    return {
        "insert_s": inserted - started,
        "build_s": built - inserted,
        "load_s": loaded - built,
    }


def _insert(client: MilvusClient, vectors: np.ndarray) -> None:
    for start in range(0, len(vectors), INSERT_ROWS):
        batch = vectors[start : start + INSERT_ROWS]
        rows = [{"id": start + row, "vector": vector} for row, vector in enumerate(batch)]
        client.insert(COLLECTION, rows)
    client.flush(COLLECTION)


def _build(client: MilvusClient, index_type: str, rows: int) -> None:
    """Build the index and wait until it covers every row."""
    index = client.prepare_index_params()
    build, _ = index_parameters(index_type, rows)
    add_index(index, "vector", index_type, build)
    client.create_index(COLLECTION, index, sync=False)  # else it sleeps half a second
    deadline = time.monotonic() + INDEX_SECONDS
    while (state := client.describe_index(COLLECTION, "vector"))["indexed_rows"] < rows:
        if time.monotonic() > deadline:
            raise TutorialError(
                f"Milvus has indexed {state['indexed_rows']} of {rows} vectors with {index_type} "
                f"in {INDEX_SECONDS} s: try a smaller size."
            )
        time.sleep(0.05)


def _timed(
    client: MilvusClient, index_type: str, rows: int, queries: np.ndarray, k: int
) -> Iterator[tuple[list[int], float]]:
    """Ids and seconds of each query, asked alone; some are asked once before, to warm up."""
    _, search = index_parameters(index_type, rows)
    for number, query in enumerate((*queries[:WARM_UP], *queries)):
        started = time.perf_counter()
        [hits] = client.search(
            COLLECTION,
            data=[query],
            limit=k,
            search_params={"metric_type": "L2", "params": search},
            # Strong would wait for the clock tick of the write-ahead log, 0.2 s in Milvus 2.3.
            consistency_level="Eventually",
        )
        seconds = time.perf_counter() - started
        if number >= WARM_UP:
            yield [hit["id"] for hit in hits], seconds


def _timed_exact(
    stored: np.ndarray, queries: np.ndarray, k: int
) -> Iterator[tuple[list[int], float]]:
    for query in queries:
        started = time.perf_counter()
        [found] = exact_neighbours(stored, query[None], k)
        yield found.tolist(), time.perf_counter() - started
