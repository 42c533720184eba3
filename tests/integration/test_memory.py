"""Searching and converting allocate no more than a laptop has to spare."""

import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.preprocessing import normalize

from helpers import evaluation, services, vector_store

ROWS, DIMENSION, QUERIES, MOST_MB = 2000, 2048, 300, 512


def peak_mb(pid):
    """The most resident memory that a process ever had."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    status = dict(line.split(":", 1) for line in lines)
    return int(status["VmHWM"].split()[0]) / 1024


pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux' /proc")


def test_a_bulk_search_of_2000_vectors_stays_within_half_a_gigabyte(clean_settings):
    client = services.connect_milvus()
    [server] = services.running_services()
    random = np.random.default_rng(0)
    vectors = normalize(random.random((ROWS, DIMENSION), dtype=np.float32))
    ids = list(range(ROWS))
    vector_store.ensure_collection(client, "many", DIMENSION, description={})
    vector_store.store(client, "many", ids, vectors, ["a.jpg"] * ROWS, [[]] * ROWS)
    before = peak_mb(server.pid)
    found = vector_store.search(client, "many", vectors[:QUERIES], 10, exclude=ids[:QUERIES])
    assert peak_mb(server.pid) - before < MOST_MB
    exact = evaluation.squared_distances(vectors[:QUERIES], vectors)
    nearest = np.sort(exact, axis=1)[:, 1:11]
    np.testing.assert_allclose(
        [[hit.distance for hit in hits] for hits in found], nearest, atol=1e-5
    )


def test_a_filter_by_label_stays_within_it_too(clean_settings):
    """With ARRAY_CONTAINS, Milvus Lite makes lists of all rows: 265 MB and more for these."""
    rows = 4 * ROWS
    client = services.connect_milvus()
    [server] = services.running_services()
    vectors = normalize(np.random.default_rng(2).random((rows, DIMENSION), dtype=np.float32))
    ids, labels = list(range(rows)), [["odd"] if row % 2 else ["even"] for row in range(rows)]
    vector_store.ensure_collection(client, "filtered", DIMENSION, description={})
    vector_store.store(client, "filtered", ids, vectors, ["a.jpg"] * rows, labels)
    before = peak_mb(server.pid)
    asked = {"filter": "ARRAY_CONTAINS(labels, {label})", "filter_params": {"label": "odd"}}
    found = vector_store.search(client, "filtered", vectors[:50], 3, **asked)
    # Nothing as a rule; 192 while Milvus Lite builds the index of what it has just compacted.
    assert peak_mb(server.pid) - before < MOST_MB / 2
    assert all(hit.id % 2 for hits in found for hit in hits)
    assert [hits[0].id for hits in found[1::2]] == list(range(1, 50, 2))


def test_rows_that_are_not_indexed_yet_are_searched_within_it_too(clean_settings):
    """Milvus Lite builds the index of rows added later in the background."""
    client = services.connect_milvus()
    [server] = services.running_services()
    random = np.random.default_rng(1)
    vectors = normalize(random.random((ROWS, DIMENSION), dtype=np.float32))
    vector_store.ensure_collection(client, "late", DIMENSION, description={})
    client.load_collection("late")
    vector_store.upsert(client, "late", list(range(ROWS)), vectors, ["a.jpg"] * ROWS, [[]] * ROWS)
    before = peak_mb(server.pid)
    found = vector_store.search(client, "late", vectors[:50], 1)
    assert [hits[0].id for hits in found] == list(range(50))
    assert peak_mb(server.pid) - before < MOST_MB


def test_resnet50_is_converted_in_less_memory_than_a_laptop_has(clean_settings):
    """tf2onnx takes 8.3 GB where it keeps a copy of the graph before each optimization."""
    code = "from helpers.conversion import onnx_model; onnx_model('resnet50')"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert 1e6 < resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 6e6  # kilobytes
