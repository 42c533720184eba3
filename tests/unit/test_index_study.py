import numpy as np
import pytest

from helpers import TutorialError, vector_store
from helpers.ranking import squared_distances
from helpers.services import connect_milvus, stop_services
from helpers.study import indexes

random = np.random.default_rng(0).uniform(size=(60, 16)).astype(np.float32)
REAL = random / np.linalg.norm(random, axis=1, keepdims=True)


def test_copies_are_unit_vectors_after_the_real_ones():
    made = indexes.jittered(REAL, 300)
    assert made.shape == (300, 16) and made.dtype == np.float32 and (made >= 0).all()
    np.testing.assert_array_equal(made[:60], REAL)
    np.testing.assert_allclose(np.linalg.norm(made, axis=1), 1, atol=1e-5)
    assert len(np.unique(made, axis=0)) == 300
    np.testing.assert_array_equal(indexes.jittered(REAL, 30), REAL[:30])


def test_exact_neighbours_agree_with_the_distances():
    found = indexes.exact_neighbours(REAL, REAL, 5)
    expected = np.argsort(squared_distances(REAL, REAL), axis=1, kind="stable")[:, :5]
    np.testing.assert_array_equal(found, expected)


def test_every_index_is_built_and_finds_the_neighbours(services):
    client = connect_milvus()
    types = indexes.known_index_types(client)
    assert types == list(vector_store.INDEX_TYPES)
    table = indexes.study(client, REAL, [200], types)
    assert table["index"].tolist() == [indexes.EXACT, *types]
    exact = table[table["index"].isin([indexes.EXACT, "FLAT"])]
    assert exact["recall"].tolist() == [1.0, 1.0]
    assert (table["recall"] > 0.5).all() and (table["p95_ms"] >= table["p50_ms"]).all()
    assert table["server_mb"].notna().sum() == len(types)
    assert not client.has_collection(indexes.COLLECTION)


def test_a_server_that_went_away_is_not_taken_for_one_without_indexes(monkeypatch, tmp_path):
    monkeypatch.setenv("BUILD_DIR", str(tmp_path))
    client = connect_milvus()
    stop_services()
    for ask in (
        lambda: indexes.known_index_types(client),
        lambda: indexes.study(client, REAL, [50], ["FLAT"]),
    ):
        with pytest.raises(TutorialError, match="The embedded milvus failed"):
            ask()


def test_an_index_the_server_does_not_take_is_named(services):
    with pytest.raises(TutorialError, match="NO_SUCH"):
        indexes.study(connect_milvus(), REAL, [50], ["NO_SUCH"])
