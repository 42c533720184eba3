"""Fusion against values worked out by hand and against Milvus Lite's own merge operator."""

import numpy as np
import pandas as pd
import pytest
from milvus_lite.function.dataframe import DataFrame
from milvus_lite.function.ops.merge_op import MergeOp
from milvus_lite.function.ops.sort_op import SortOp
from milvus_lite.function.types import ID_FIELD, SCORE_FIELD

from helpers import TutorialError, evaluation
from helpers.study import fusion


def unit(rng, rows, dimension):
    vectors = rng.normal(size=(rows, dimension))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def two_routes(rng, queries=20, photos=50, depth=30):
    """Result lists of two routes: ids and ascending squared distances."""
    ids = rng.permutation(10_000)[:photos]
    rankings = [rng.permuted(np.tile(ids, (queries, 1)), axis=1)[:, :depth] for _ in range(2)]
    distances = [np.sort(rng.uniform(0, 2, (queries, depth)), axis=1) for _ in range(2)]
    return rankings, distances


def milvus_lite(strategy, rankings, scores, k, **settings):
    """Ids and scores [queries, k] from Milvus Lite's merge and sort operators."""
    routes = [
        DataFrame(
            [
                [{ID_FIELD: int(i), SCORE_FIELD: float(s)} for i, s in zip(*hits, strict=True)]
                for hits in zip(ids, values, strict=True)
            ]
        )
        for ids, values in zip(rankings, scores, strict=True)
    ]
    merge = MergeOp(strategy, **settings)
    merged = merge.execute_multi(None, routes)
    SortOp(SCORE_FIELD, merge.sort_descending, tie_break_col=ID_FIELD).execute(None, merged)
    hits = [merged.chunk(query)[:k] for query in range(len(rankings[0]))]
    return tuple([[hit[field] for hit in row] for row in hits] for field in (ID_FIELD, SCORE_FIELD))


def test_reciprocal_rank_fusion_by_hand():
    ids, scores = fusion.reciprocal_rank_fusion([np.array([[7, 5, 3]]), np.array([[5, 8]])], 4)
    assert ids.tolist() == [[5, 7, 8, 3]]
    assert scores[0] == pytest.approx([1 / 62 + 1 / 61, 1 / 61, 1 / 62, 1 / 63])


def test_ties_go_to_the_lower_id():
    ids, _ = fusion.reciprocal_rank_fusion([np.array([[9, 4]]), np.array([[4, 9]])], 2)
    assert ids.tolist() == [[4, 9]]


def test_reciprocal_rank_fusion_equals_milvus_lite():
    rankings, distances = two_routes(np.random.default_rng(0))
    expected_ids, expected_scores = milvus_lite("rrf", rankings, distances, 10, rrf_k=60)
    ids, scores = fusion.reciprocal_rank_fusion(rankings, 10)
    np.testing.assert_array_equal(ids, expected_ids)
    np.testing.assert_allclose(scores, expected_scores)


@pytest.mark.parametrize("metric", ["L2", "COSINE", "IP"])
def test_weighted_fusion_equals_milvus_lite(metric):
    rankings, scores = two_routes(np.random.default_rng(1))
    if metric != "L2":  # squared distances of unit vectors as cosines, descending
        scores = [1 - distances / 2 for distances in scores]
    expected_ids, expected_scores = milvus_lite(
        "weighted", rankings, scores, 10, weights=[0.3, 0.7], metric_types=[metric] * 2
    )
    ids, fused = fusion.weighted_fusion(rankings, scores, (0.3, 0.7), 10, metric)
    np.testing.assert_array_equal(ids, expected_ids)
    np.testing.assert_allclose(fused, expected_scores)


def test_weighted_fusion_by_hand():
    ids, scores = fusion.weighted_fusion(
        [np.array([[1, 2]]), np.array([[2, 3]])],
        [np.array([[0.0, 1.0]]), np.array([[0.0, 1.0]])],  # normalised: 1 and 1/2
        (0.25, 0.75),
        3,
    )
    assert ids.tolist() == [[2, 3, 1]]
    assert scores[0] == pytest.approx([0.125 + 0.75, 0.375, 0.25])


def test_too_few_results_are_refused():
    with pytest.raises(TutorialError, match="found only 3 photos together.*fetch more"):
        fusion.reciprocal_rank_fusion([np.array([[1, 2]]), np.array([[2, 3]])], 4)


@pytest.mark.parametrize("weights", [(0.5,), (0.5, 1.5), (-0.1, 1), (0, 0)])
def test_wrong_weights_are_refused(weights):
    rankings, distances = two_routes(np.random.default_rng(3))
    with pytest.raises(TutorialError, match="2 weights between 0 and 1"):
        fusion.weighted_fusion(rankings, distances, weights, 5)
    with pytest.raises(TutorialError, match="2 weights between 0 and 1"):
        fusion.concatenate([np.eye(3), np.eye(3)], weights)


def test_concatenated_cosine_is_the_weighted_mean_of_cosines():
    rng = np.random.default_rng(4)
    a, b = unit(rng, 10, 16), unit(rng, 10, 5)
    both = fusion.concatenate([a, b], (0.2, 0.6))
    assert both.shape == (10, 21)
    assert both.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(both, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(both @ both.T, 0.25 * a @ a.T + 0.75 * b @ b.T, atol=1e-6)


def test_centring_takes_away_what_all_photos_have_in_common():
    apart = unit(np.random.default_rng(8), 200, 6)
    together = apart + [0, 0, 0, 0, 0, 5]
    together /= np.linalg.norm(together, axis=1, keepdims=True)
    assert (together @ together.T).min() > 0.8
    centred = fusion.centre(together)
    assert centred.dtype == np.float32 and abs((centred @ centred.T).mean()) < 0.01
    np.testing.assert_allclose(np.linalg.norm(centred, axis=1), 1, atol=1e-6)
    assert (fusion.centre(np.ones((3, 4))) == 0).all()


def test_full_whitening_makes_photos_uncorrelated_and_none_keeps_their_cosines():
    rng = np.random.default_rng(5)
    stretched = rng.normal(size=(4000, 6)) * [9, 5, 3, 1, 1, 1] + 4
    embeddings = stretched / np.linalg.norm(stretched, axis=1, keepdims=True)
    whitened = fusion.whiten(embeddings, 4, power=1)
    assert whitened.shape == (4000, 4)
    np.testing.assert_allclose(np.linalg.norm(whitened, axis=1), 1, atol=1e-6)
    # unit vectors without a preferred direction: covariance I/4
    np.testing.assert_allclose(np.cov(whitened.T), np.eye(4) / 4, atol=0.06)
    turned, centred = fusion.whiten(embeddings[:50], 6, power=0), fusion.centre(embeddings[:50])
    np.testing.assert_allclose(turned @ turned.T, centred @ centred.T, atol=1e-5)
    spread = [np.var(fusion.whiten(embeddings, 4, power)[:, 0]) for power in (0, 0.5, 1)]
    assert spread == sorted(spread, reverse=True)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("rows", "spanned"),
    [(range(9), 8), (range(1), 0), (range(0), 0), ([0, 1, 2] * 5, 2)],
    ids=["few", "one", "none", "identical"],
)
def test_whitening_beyond_what_the_photos_span_is_refused(rows, spanned):
    embeddings = unit(np.random.default_rng(7), 20, 16)
    with pytest.raises(TutorialError, match=f"span {spanned} dimensions, not the 9 asked for"):
        fusion.whiten(embeddings[np.array(rows, int)], 9)


def test_an_expanded_query_by_hand():
    root = np.sqrt(0.5)
    gallery = np.array([[1, 0], [root, root], [0, 1], [-1, 0]])
    asked = np.array([0])
    expected = np.array([1, 0]) + root**3 * np.array([root, root])  # the others' cosine is 0, −1
    for neighbours in (1, 3):
        [found] = fusion.expand_queries(gallery, asked, neighbours)
        np.testing.assert_allclose(found, expected / np.linalg.norm(expected), atol=1e-6)


def test_shared_right_and_wrong_results_by_hand():
    binary = np.array([[1, 1, 0, 0, 0]])
    a, b = np.array([[0, 1, 2]]), np.array([[0, 3, 2]])
    assert fusion.shared_results(a, b, binary, 3) == pytest.approx((2 / 3, 2 / 3))
    assert fusion.shared_results(a, b, binary, 2) == pytest.approx((2 / 3, 0))
    assert fusion.shared_results(a, a, binary, 1) == (1, 0)


def test_the_section_names_every_model_step_and_combination():
    plain, better = np.array([0.0, 0.5, 0.5]), np.array([0.5, 0.5, 1.0])
    steps = {"A": {"as it is": plain, "centred": better}}
    added = {"A": evaluation.compare(steps["A"], "as it is")}
    ways = {"A + B": {"best alone": plain, "concatenated": better}}
    gains = evaluation.compare({"A + B": better, "A": plain}, [("A + B", "A")])
    ladder = pd.DataFrame({"mean": [0.5]}, index=["A, article"])
    found = fusion.results_section("ndcg@10", ["a"], steps, added, ways, gains, {"ladder": ladder})
    centred = found["a"]["steps"]["centred"]
    assert centred["ndcg@10"] == pytest.approx(2 / 3)
    assert centred["ndcg@10_ci"][0] < centred["ndcg@10"] < centred["ndcg@10_ci"][1]
    assert found["a"]["gain"]["centred − as it is"]["difference"] == pytest.approx(1 / 3)
    combined = found["combinations"]["A + B"]
    assert combined["ndcg@10"] == pytest.approx({"best alone": 1 / 3, "concatenated": 2 / 3})
    assert combined["ndcg@10_gain"]["difference"] == pytest.approx(1 / 3)
    assert found["ladder"] == {"A, article": {"mean": 0.5}}
