"""Searches from several threads while rows are inserted: no error, no row lost; no timing."""

from __future__ import annotations

import numpy as np
from measure_scale import (  # tools/, which conftest.py puts on the path
    INSERT_ROWS,
    SEARCHERS,
    sustained_load,
)

from helpers.study.indexes import jittered

ROWS = 5000
CALLS = 20  # that each thread makes at least, however long they take


def test_searches_and_inserts_at_once(milvus_server):
    vectors = np.random.default_rng(0).uniform(size=(200, 512)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found = sustained_load(milvus_server.uri, jittered(vectors, 2 * ROWS), ROWS, 0, least=CALLS)
    print(found)
    assert found["errors"] == []
    assert found["searches"] >= SEARCHERS * CALLS
    assert found["rows_expected"] >= ROWS + CALLS * INSERT_ROWS
    assert found["rows_found"] == found["rows_expected"]
