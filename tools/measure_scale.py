"""Measure how cost grows with the number of vectors, and what a server bears under load.

`python tools/measure_scale.py [OUTPUT]` takes VGG16's vectors of DATASET's photos (512 numbers) and
jittered copies of them to Milvus Lite (up to 100 000 vectors) and to a real Milvus (up to 200 000),
and ResNet50's (2 048 numbers) to both (up to 30 000), and searches the real one from several
threads while rows are inserted. It writes one JSON file, `docs/scale.json` by default; notebooks 08
and 09 show it. It takes 20 to 40 minutes on 2 cores.
"""

from __future__ import annotations

import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import helpers  # noqa: F401  before pymilvus, which reads MILVUS_URI and .env when imported

# isort: split
import numpy as np
import pandas as pd
import psutil
from pymilvus import DataType, MilvusClient
from pymilvus.exceptions import MilvusException
from real_servers import MilvusServer

from helpers import results, services, vector_store
from helpers.conversion import onnx_model
from helpers.datasets import open_dataset
from helpers.extraction import extract
from helpers.files import written_whole
from helpers.settings import ROOT, exit_status
from helpers.study import indexes

LITE_SIZES = (1000, 3000, 10_000, 30_000, 100_000)
REAL_SIZES = (*LITE_SIZES, 200_000)
WIDE_SIZES = (1000, 5000, 10_000, 30_000)
WIDE_INDEXES = ("FLAT", "IVF_FLAT", "HNSW")
LOAD_ROWS = 100_000
LOAD_SECONDS = 60
SEARCHERS = 4
INSERT_ROWS = 200
HANG_SECONDS = 600  # for one call, and for calls that are still missing when time is up
COLLECTION = "load"


@exit_status
def main() -> int:
    output = Path(sys.argv[1]) if sys.argv[1:] else ROOT / "docs/scale.json"
    dataset = open_dataset()
    vectors = extract(onnx_model("vgg16"), dataset.paths)  # float32 [photos, 512]
    wide = extract(onnx_model("resnet50"), dataset.paths)  # float32 [photos, 2048]
    measured: dict[str, Any] = {
        "measured": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": results.machine(),
        "versions": {name: version(name) for name in ("pymilvus", "milvus-lite", "numpy")},
        "photos": len(vectors),
        "dimension": vectors.shape[1],
        "own_share": own_share(vectors, max(REAL_SIZES)),
        "note": "Before the real server stands a loopback forwarder.",
        "growth": [],
        "growth_2048": [],
    }

    def grow(
        client: MilvusClient, pid: int, sizes: Sequence[int], index_types: Sequence[str]
    ) -> None:
        for index_type in index_types:
            grown(measured["growth"], client, pid, index_type, vectors, sizes)
            if index_type in WIDE_INDEXES:
                grown(measured["growth_2048"], client, pid, index_type, wide, WIDE_SIZES)
            with written_whole(output) as part:
                text = json.dumps(measured, indent=1, ensure_ascii=False)
                part.write_text(text + "\n", encoding="utf-8")

    with tempfile.TemporaryDirectory() as folder:
        with running(Path(folder, "load")) as server:
            made = indexes.jittered(vectors, 2 * LOAD_ROWS)
            measured["load"] = sustained_load(server.uri, made, LOAD_ROWS, LOAD_SECONDS)
        for index_type in vector_store.INDEX_TYPES:
            if index_type == "HNSW_SQ":  # Milvus 2.3 does not know it
                continue
            with running(Path(folder, index_type)) as server:
                grow(MilvusClient(server.uri), server.pid, REAL_SIZES, [index_type])
    with services.temporary_services():
        client = services.connect_milvus()  # starts it
        pid = next(s.pid for s in services.running_services() if s.name == "milvus")
        grow(client, pid, LITE_SIZES, vector_store.INDEX_TYPES)
    return 0


@contextmanager
def running(folder: Path) -> Iterator[MilvusServer]:
    """A real Milvus while the block runs."""
    server = MilvusServer(folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def own_share(vectors: np.ndarray, count: int) -> float:
    """Mean share of copies of the same photo among the ten nearest of a jittered copy.

    1 would mean that each photo's copies are an island, and the neighbours trivial.
    """
    made = indexes.jittered(vectors, count)
    asked = np.linspace(len(vectors), count - 1, 100).astype(int)
    nearest = indexes.exact_neighbours(made, made[asked], indexes.DEPTH + 1)[:, 1:]
    photo = np.arange(count) % len(vectors)
    return float(np.mean(photo[nearest] == photo[asked][:, None]))


def grown(
    rows: list[dict[str, Any]],
    client: MilvusClient,
    pid: int,
    index_type: str,
    vectors: np.ndarray,
    sizes: Sequence[int],
) -> None:
    """Add to `rows` those of an index type on a server, and once a server those of exact search."""
    server = client.get_server_version()
    empty_mb = psutil.Process(pid).memory_info().rss / 1e6
    table = indexes.study(client, vectors, sizes, [index_type], server_pid=pid)
    table = table.assign(server=server, empty_mb=empty_mb)
    if any(row["index"] == indexes.EXACT and row["server"] == server for row in rows):
        table = table[table["index"] != indexes.EXACT]
    rows += json.loads(table.round(4).to_json(orient="records"))
    print(table.to_string(), flush=True)


def sustained_load(
    uri: str, vectors: np.ndarray, rows: int, seconds: float, least: int = 1
) -> dict[str, Any]:
    """Search from several threads while another one inserts.

    uri: of a Milvus server; vectors: float32 [n, d], of which the first `rows` are stored and
    indexed (HNSW) beforehand. The rest are inserted, 200 rows a call, call after call, while four
    threads search for one vector at a time: for `seconds`, and until each thread has made `least`
    calls; an error or a hang ends it too.

    Returns counts, rates and latencies in ms; `errors` lists what went wrong in any thread,
    `rows_expected` and `rows_found` are the rows afterwards. `found_itself` is the share of
    searches whose first result is the stored vector that was asked for, or an equal one: the
    jittered copies of the same photos are.
    """
    client = MilvusClient(uri)
    filled(client, vectors[:rows])
    load = Load(uri, vectors, rows, time.monotonic() + seconds, least)
    threads = [threading.Thread(target=load.guarded, args=(load.insert,))]
    for searcher in load.searchers:
        threads.append(threading.Thread(target=load.guarded, args=(load.search, searcher)))
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lasted = time.monotonic() - began
    client.flush(COLLECTION)
    [counted] = client.query(
        COLLECTION, filter="", output_fields=["count(*)"], consistency_level="Strong"
    )
    client.drop_collection(COLLECTION)
    return load.summary(lasted) | {"rows_found": int(counted["count(*)"])}


@dataclass
class Searcher:
    """What one searching thread has seen."""

    number: int
    latencies: list[float] = field(default_factory=list)
    found_itself: int = 0


@dataclass
class Load:
    """What the threads of `sustained_load` share; its arguments, and what they have done so far."""

    uri: str
    vectors: np.ndarray
    rows: int
    end: float
    least: int
    searchers: list[Searcher] = field(
        default_factory=lambda: [Searcher(number) for number in range(SEARCHERS)]
    )
    inserts: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    inserted: int = 0

    def over(self) -> bool:
        late = time.monotonic() - self.end
        fewest = min(len(self.inserts), *(len(s.latencies) for s in self.searchers))
        return late > 0 and (fewest >= self.least or bool(self.errors) or late > HANG_SECONDS)

    def guarded(self, work: Callable[..., None], *args: Any) -> None:
        try:
            work(*args)
        except MilvusException as error:
            self.errors.append(f"{work.__name__}: {error}")

    def insert(self) -> None:
        client = MilvusClient(self.uri)
        while not self.over() and (start := self.rows + self.inserted) < len(self.vectors):
            batch = self.vectors[start : start + INSERT_ROWS]
            rows = [{"id": start + n, "vector": vector} for n, vector in enumerate(batch)]
            began = time.perf_counter()
            answer = client.insert(COLLECTION, rows, timeout=HANG_SECONDS)
            self.inserts.append(time.perf_counter() - began)
            self.inserted += answer["insert_count"]

    def search(self, searcher: Searcher) -> None:
        client, random = MilvusClient(self.uri), np.random.default_rng(searcher.number)
        while not self.over():
            row = int(random.integers(self.rows))
            began = time.perf_counter()
            [hits] = client.search(
                COLLECTION,
                data=[self.vectors[row]],
                limit=10,
                search_params={"metric_type": "L2", "params": {"ef": 64}},
                consistency_level="Eventually",
                timeout=HANG_SECONDS,
            )
            searcher.latencies.append(time.perf_counter() - began)
            if len(hits) != 10:
                self.errors.append(f"row {row}: {len(hits)} results instead of 10")
            searcher.found_itself += hits[0]["distance"] < vector_store.SAME_DISTANCE

    def summary(self, lasted: float) -> dict[str, Any]:
        """Counts, rates and latencies after `lasted` seconds."""
        searches = np.concatenate([searcher.latencies for searcher in self.searchers]) * 1000
        itself = sum(searcher.found_itself for searcher in self.searchers)
        return {
            "seconds": round(lasted, 1),
            "rows_before": self.rows,
            "searchers": SEARCHERS,
            "searches": len(searches),
            "searches_per_s": round(len(searches) / lasted, 1),
            **{
                f"search_p{p}_ms": round(float(np.percentile(searches, p)), 2) for p in (50, 95, 99)
            },
            "found_itself": round(itself / len(searches), 4),
            "inserts_per_s": round(self.inserted / lasted, 1),
            "insert_call_p95_ms": round(float(np.percentile(self.inserts, 95)) * 1000, 1),
            "errors": self.errors,
            "rows_expected": self.rows + self.inserted,
        }


def filled(client: MilvusClient, vectors: np.ndarray) -> None:
    """The collection `load` with these vectors under ids 0, 1, …, indexed and loaded."""
    client.drop_collection(COLLECTION)
    schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=vectors.shape[1])
    client.create_collection(COLLECTION, schema=schema)
    for start in range(0, len(vectors), 2500):
        batch = vectors[start : start + 2500]
        client.insert(COLLECTION, [{"id": start + n, "vector": v} for n, v in enumerate(batch)])
    client.flush(COLLECTION)
    index = client.prepare_index_params()
    build, _ = vector_store.index_parameters("HNSW", len(vectors))
    vector_store.add_index(index, "vector", "HNSW", build)
    client.create_index(COLLECTION, index)
    while client.describe_index(COLLECTION, "vector")["indexed_rows"] < len(vectors):
        time.sleep(0.2)
    client.load_collection(COLLECTION)


if __name__ == "__main__":
    pd.set_option("display.width", 200)
    sys.exit(main())
