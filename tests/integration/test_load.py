"""Searches from several threads while rows are inserted: no error, no row lost; no timing."""

from __future__ import annotations

import numpy as np
from measure_scale import sustained_load  # tools/, which conftest.py puts on the path

from helpers.index_study import jittered

SECONDS = 20
ROWS = 5000


def test_searches_and_inserts_at_once(milvus_server):
    vectors = np.random.default_rng(0).uniform(size=(200, 512)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found = sustained_load(milvus_server.uri, jittered(vectors, 10 * ROWS), ROWS, SECONDS)
    print(found)
    assert found["errors"] == []
    assert found["searches"] > 0 and found["rows_expected"] > ROWS
    assert found["rows_found"] == found["rows_expected"]
