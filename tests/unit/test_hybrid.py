"""The formulas of `helpers.fusion` against `hybrid_search` of a real Milvus Lite server."""

import numpy as np
import pytest
from pymilvus import AnnSearchRequest, DataType, RRFRanker, WeightedRanker

from helpers import evaluation
from helpers.services import connect_milvus
from helpers.study import fusion
from helpers.vector_store import holds_several_vectors

NAME = "photos_both"
MODELS = {"resnet50": 32, "vgg16": 8}
PHOTOS, K = 60, 10
IDS = np.random.default_rng(0).permutation(10_000)[:PHOTOS]
EVEN = "kind == 0"
RANKERS = {
    "rrf": RRFRanker(60),
    "weighted": WeightedRanker(0.3, 0.7, norm_score=True),
    "default": WeightedRanker(0.3, 0.7),
}


def unit_vectors(dimension: int) -> np.ndarray:
    vectors = np.random.default_rng(dimension).uniform(size=(PHOTOS, dimension))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


VECTORS = {model: unit_vectors(dimension) for model, dimension in MODELS.items()}


@pytest.fixture(scope="module")
def milvus(services):
    """A client of a server whose collection NAME holds both models' vectors."""
    return filled(connect_milvus())


def filled(client):
    """The client, after it has made and filled the collection NAME."""
    schema, index = client.create_schema(), client.prepare_index_params()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("kind", DataType.INT64)
    for model, dimension in MODELS.items():
        schema.add_field(model, DataType.FLOAT_VECTOR, dim=dimension)
        index.add_index(model, index_type="FLAT", metric_type="L2")
    client.create_collection(NAME, schema=schema, index_params=index, consistency_level="Strong")
    rows = [
        {"id": int(id_), "kind": row % 2} | {model: VECTORS[model][row] for model in MODELS}
        for row, id_ in enumerate(IDS)
    ]
    client.insert(NAME, rows)
    client.flush(NAME)
    return client


def hybrid(client, ranker, depth, condition=""):
    """Ids and scores [photos, K]: every photo asks once."""
    requests = [
        AnnSearchRequest(
            vectors, anns_field=model, param={"metric_type": "L2"}, limit=depth, expr=condition
        )
        for model, vectors in VECTORS.items()
    ]
    found = client.hybrid_search(NAME, requests, RANKERS[ranker], limit=K)
    return (np.array([[hit[key] for hit in hits] for hits in found]) for key in ("id", "distance"))


def fused(ranker, depth, allowed):
    """The same from the exact distances to the allowed rows, by `helpers.fusion`."""
    distances = [
        evaluation.squared_distances(vectors, vectors[allowed]) for vectors in VECTORS.values()
    ]
    orders = [np.argsort(distance, axis=1)[:, :depth] for distance in distances]
    ids = [IDS[allowed][order] for order in orders]
    if ranker == "rrf":
        return fusion.reciprocal_rank_fusion(ids, K)
    distances = [
        np.take_along_axis(distance, order, axis=1)
        for distance, order in zip(distances, orders, strict=True)
    ]
    return fusion.weighted_fusion(ids, distances, (0.3, 0.7), K)


@pytest.mark.parametrize("ranker", RANKERS)
@pytest.mark.parametrize("depth", [K, PHOTOS])
@pytest.mark.parametrize("condition", ["", EVEN])
def test_python_and_milvus_fuse_alike(milvus, ranker, depth, condition):
    allowed = np.arange(0, PHOTOS, 2 if condition else 1)
    milvus_ids, milvus_scores = hybrid(milvus, ranker, depth, condition)
    ids, scores = fused(ranker, depth, allowed)
    assert set(ids.ravel()) <= set(IDS[allowed])
    np.testing.assert_allclose(milvus_scores, scores, atol=1e-6)
    np.testing.assert_array_equal(milvus_ids, ids)


@pytest.mark.parametrize(
    ("version", "several"),
    [
        ("milvus_lite-3.2.2", True),
        ("2.3.5", False),
        ("v2.4.0", True),
        ("v2.10.1-gpu", True),
        ("Zilliz Cloud Vector Database(Compatible with Milvus 2.3)", False),
        ("unknown", False),
    ],
)
def test_servers_before_2_4_hold_one_vector_per_row(version, several):
    class Server:
        def get_server_version(self) -> str:
            return version

    assert holds_several_vectors(Server()) is several


def test_the_embedded_server_holds_several_vectors(milvus):
    assert holds_several_vectors(milvus)
