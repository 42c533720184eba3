"""Metrics against values worked out by hand and against scikit-learn; the defined edge cases."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_rel
from sklearn.metrics import average_precision_score, ndcg_score

from helpers import TutorialError
from helpers import evaluation as ev

# Five photos; photo 4 has no label, "kite" occurs once.
LABELS = [
    frozenset({"person", "dog"}),
    frozenset({"dog", "cat"}),
    frozenset({"person", "cat", "dog"}),
    frozenset({"person", "kite"}),
    frozenset(),
]


def unit(rng, rows, dimension=8):
    vectors = rng.normal(size=(rows, dimension))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def random_labels(rng, photos, categories=12):
    names = [f"c{i:02}" for i in range(categories)]
    return [
        frozenset(rng.choice(names, size=rng.integers(1, 4), replace=False)) for _ in range(photos)
    ]


# --- rankings ---


def test_rank_exact_is_the_sorted_distance_without_the_query():
    gallery = unit(np.random.default_rng(0), 600)
    rankings = ev.rank_exact(gallery, gallery, np.arange(600), 7)
    distances = ((gallery[:, None].astype(float) - gallery[None]) ** 2).sum(axis=2)
    np.fill_diagonal(distances, np.inf)
    np.testing.assert_array_equal(rankings, np.argsort(distances, axis=1)[:, :7])


def test_identical_photos_rank_in_row_order_for_every_query():
    gallery = unit(np.random.default_rng(1), 159, 512)  # a size at which BLAS rounds them apart
    same = [3, 17, 31, 100, 158]
    gallery[same] = gallery[3]
    distances = ev.squared_distances(gallery, gallery)
    assert (np.ptp(distances[:, same], axis=1) == 0).all()
    assert (distances[3, same] == 0).all()
    rankings = ev.rank_exact(gallery, gallery, np.arange(159), 158)
    assert rankings[31, :4].tolist() == [3, 17, 100, 158]
    for query, ranking in enumerate(rankings):
        assert ranking[np.isin(ranking, same)].tolist() == [row for row in same if row != query]


def test_squared_distance_of_unit_vectors_is_two_minus_two_cosines():
    a, b = unit(np.random.default_rng(2), 5), unit(np.random.default_rng(3), 6)
    np.testing.assert_allclose(ev.squared_distances(a, b), 2 - 2 * a @ b.T, atol=1e-6)


@pytest.mark.parametrize("k", [0, 5])
def test_k_beyond_the_other_photos_is_refused(k):
    gallery = unit(np.random.default_rng(0), 5)
    with pytest.raises(TutorialError, match=rf"k = {k} is not between 1 and the 4 photos"):
        ev.rank_exact(gallery, gallery, np.arange(5), k)
    with pytest.raises(TutorialError, match="choose a smaller k"):
        ev.random_rankings(np.arange(5), 5, k)
    with pytest.raises(TutorialError, match="choose a smaller k"):
        ev.frequency_rankings(LABELS, np.arange(5), k)


def test_random_rankings_hold_every_other_photo_once_and_never_change():
    rankings = ev.random_rankings(np.arange(6), 6, 5)
    for query, ranking in enumerate(rankings):
        assert sorted(ranking) == [photo for photo in range(6) if photo != query]
    np.testing.assert_array_equal(rankings, ev.random_rankings(np.arange(6), 6, 5))


def test_random_rankings_reach_the_expected_precision():
    labels = random_labels(np.random.default_rng(0), 300)
    queries = ev.query_rows(labels)
    binary = ev.relevance(labels, queries, "binary")
    values = ev.precision_at_k(ev.random_rankings(queries, 300, 10), binary, 10)
    assert values.mean() == pytest.approx(binary.sum() / (len(queries) * 299), abs=0.02)


def test_frequency_rankings_by_hand():
    # dog 3, person 3, cat 2, kite 1 -> photo scores 6, 5, 8, 4, 0
    rankings = ev.frequency_rankings(LABELS, np.array([2, 3]), 4)
    assert rankings.tolist() == [[0, 1, 3, 4], [2, 0, 1, 4]]
    # of equal scores the lower row comes first
    assert ev.frequency_rankings([{"a"}] * 4, np.array([1]), 3).tolist() == [[0, 2, 3]]


# --- relevance ---


def test_relevance_by_hand():
    queries = np.array([0, 3])
    np.testing.assert_array_equal(
        ev.relevance(LABELS, queries, "shared"), [[0, 1, 2, 1, 0], [1, 0, 1, 0, 0]]
    )
    np.testing.assert_array_equal(
        ev.relevance(LABELS, queries, "binary"), [[0, 1, 1, 1, 0], [1, 0, 1, 0, 0]]
    )
    np.testing.assert_allclose(
        ev.relevance(LABELS, queries, "jaccard"),
        [[0, 1 / 3, 2 / 3, 1 / 3, 0], [1 / 3, 0, 1 / 4, 0, 0]],
        rtol=1e-6,
    )


def test_queries_are_the_photos_that_share_a_category():
    assert ev.query_rows(LABELS).tolist() == [0, 1, 2, 3]
    alone = [{"kite"} if "kite" in shown else shown for shown in LABELS]  # no other photo has it
    assert ev.query_rows(alone).tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    "labels",
    [[frozenset()] * 4, [frozenset({"a"}), frozenset({"b"})]],
    ids=["no labels", "every category once"],
)
def test_dataset_without_queries_is_refused(labels):
    with pytest.raises(TutorialError, match="share a category.*set DATASET"):
        ev.query_rows(labels)


def test_split_halves_are_disjoint_and_complete():
    queries = np.arange(3, 104)
    choose, report = ev.split_queries(queries)
    assert len(report) - len(choose) == 1
    np.testing.assert_array_equal(np.sort(np.concatenate([choose, report])), queries)


# --- metrics ---


def test_metrics_by_hand():
    queries, rankings = np.array([0]), np.array([[4, 2, 3]])  # worth 0, 2/3, 1/3; shared 0, 2, 1
    values = {
        name: float(array[0])
        for name, array in ev.evaluate(rankings, LABELS, queries, (3,)).items()
    }
    dcg = (2 / 3) / np.log2(3) + (1 / 3) / np.log2(4)
    ideal = 2 / 3 + (1 / 3) / np.log2(3) + (1 / 3) / np.log2(4)
    assert values == pytest.approx(
        {"p@3": 2 / 3, "map@3": (1 / 2 + 2 / 3) / 3, "ndcg@3": dcg / ideal, "acg@3": 1.0}
    )


def test_perfect_top_k_scores_one():
    queries, rankings = np.array([0]), np.array([[2, 1, 3, 4]])
    values = ev.evaluate(rankings, LABELS, queries, (1, 2, 3, 4))
    for k in (1, 2, 3, 4):
        assert values[f"map@{k}"] == values[f"ndcg@{k}"] == 1


def test_metrics_equal_scikit_learn():
    rng = np.random.default_rng(5)
    labels = random_labels(rng, 60)
    queries = ev.query_rows(labels)
    rankings = ev.random_rankings(queries, 60, 59)
    for row, query in enumerate(queries):
        others = np.delete(np.arange(60), query)
        score = np.empty(60)
        score[rankings[row]] = -np.arange(59)  # the ranking as distinct scores
        binary = ev.relevance(labels, queries, "binary")[row, others]
        average_precision = ev.per_query("map", rankings, labels, queries, 59)[row]
        assert average_precision == pytest.approx(average_precision_score(binary, score[others]))
        gain = ev.relevance(labels, queries, "jaccard")[row, others]
        for k in (1, 5, 10):
            expected = ndcg_score([gain], [score[others]], k=k, ignore_ties=True)
            assert ev.per_query("ndcg", rankings, labels, queries, k)[row] == pytest.approx(
                expected
            )


def test_queries_nobody_can_answer_score_zero_not_nan():
    alone = [{"kite"} if "kite" in shown else shown for shown in LABELS]
    values = ev.evaluate(np.array([[0, 1], [0, 1]]), alone, np.array([4, 3]), (1, 2))
    assert all((array == 0).all() for array in values.values())


def test_rankings_shorter_than_k_are_refused():
    with pytest.raises(TutorialError, match="k = 3 is not between 1 and the 2 photos"):
        ev.per_query("p", np.array([[1, 2]]), LABELS, np.array([0]), 3)


def test_no_array_of_all_photos_by_all_photos_is_in_memory():
    photos = 3000
    labels = random_labels(np.random.default_rng(3), photos)
    queries = ev.query_rows(labels)
    tracemalloc.start()
    rankings = ev.random_rankings(queries, photos, 10)
    ev.evaluate(rankings, labels, queries)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < photos**2 * 4 / 2  # of float32; twenty thousand photos would need 1.6 GB


def test_per_category_by_hand():
    table = ev.per_category(np.array([1.0, 0.5, 0.0]), LABELS, np.array([0, 2, 3]))
    assert table.to_dict("index") == {
        "person": {"mean": 0.5, "queries": 3},
        "dog": {"mean": 0.75, "queries": 2},
        "cat": {"mean": 0.5, "queries": 1},
        "kite": {"mean": 0.0, "queries": 1},
    }
    assert table.index[0] == "person"


# --- uncertainty ---


def test_bootstrap_interval_is_near_the_normal_one():
    values = np.random.default_rng(0).random(400)
    mean, low, high = ev.bootstrap_ci(values)
    half = 1.96 * values.std(ddof=1) / np.sqrt(400)
    assert mean == values.mean()
    assert (low, high) == pytest.approx((mean - half, mean + half), abs=0.1 * half)
    assert ev.bootstrap_ci(values) == (mean, low, high)


@pytest.mark.filterwarnings("error")
def test_equal_values_give_a_point_not_nan():
    assert ev.bootstrap_ci(np.full(5, 0.25)) == (0.25, 0.25, 0.25)
    same = ev.paired_bootstrap(np.full(5, 0.25), np.full(5, 0.25))
    assert same == (0, 0, 0, 1)


def test_paired_bootstrap_agrees_with_the_t_test():
    rng = np.random.default_rng(1)
    b = rng.random(300)
    a = b + rng.normal(0.02, 0.2, 300)
    result = ev.paired_bootstrap(a, b)
    assert result.difference == pytest.approx(a.mean() - b.mean())
    assert result.low < result.difference < result.high
    assert result.p == pytest.approx(ttest_rel(a, b).pvalue, abs=0.02)
    swapped = ev.paired_bootstrap(b, a)
    assert swapped.p == result.p


def test_clear_winner():
    result = ev.paired_bootstrap(np.full(20, 0.9), np.full(20, 0.1))
    assert result.difference == pytest.approx(0.8)
    assert result.p == pytest.approx(2 / 10_001)


@pytest.mark.parametrize("queries", [0, 1])
def test_interval_needs_two_queries(queries):
    with pytest.raises(TutorialError, match=f"there are {queries}"):
        ev.bootstrap_ci(np.ones(queries))


def test_every_pair_is_compared_the_better_one_first():
    rng = np.random.default_rng(8)
    base = rng.uniform(size=60)
    systems = {"low": base, "high": base + 0.3, "same": base + rng.normal(0, 0.2, 60)}
    table = ev.compare(systems)
    assert [name.split(" − ")[0] for name in table.index][:2] == ["high", "high"]
    assert table["difference"].min() >= 0
    assert table.loc["high − low", "better"] == "high"
    unsure = next(name for name in table.index if "high" not in name)
    assert table.loc[unsure, "better"] == "unclear" and table.loc[unsure, "p"] > 0.05


def test_comparisons_are_corrected_for_their_number():
    rng = np.random.default_rng(9)
    values = {
        name: rng.normal(shift, 1, 80) for name, shift in zip("abc", (0, 0.2, 0.5), strict=True)
    }
    pairs = [("b", "a"), ("c", "a"), ("c", "b")]
    table = ev.compare(values, pairs)
    assert list(table.index) == ["b − a", "c − a", "c − b"]
    alone = {f"{x} − {y}": ev.paired_bootstrap(values[x], values[y]) for x, y in pairs}
    smallest, middle, largest = sorted(alone, key=lambda name: alone[name].p)
    assert table.loc[smallest, "p"] == pytest.approx(3 * alone[smallest].p)
    assert table.loc[middle, "p"] == pytest.approx(
        max(table.loc[smallest, "p"], 2 * alone[middle].p)
    )
    assert table.loc[largest, "p"] == pytest.approx(
        min(1, max(table.loc[middle, "p"], alone[largest].p))
    )
    wider = ev.paired_bootstrap(values["c"], values["a"], confidence=1 - 0.05 / 3)
    assert tuple(table.loc["c − a", ["low", "high"]]) == (wider.low, wider.high)
    assert ev.compare(values, "b").equals(ev.compare(values, [("a", "b"), ("c", "b")]))
    [only] = ev.compare(values, [("c", "a")])["p"]
    assert only == alone["c − a"].p


def test_a_single_system_has_nothing_to_compare():
    assert ev.compare({"only": np.ones(5)}).empty


def test_a_table_is_made_readable():
    table = ev.compare({"a": np.full(9, 0.5), "b": np.full(9, 0.1)})
    shown = ev.readable(table.rename(index={"a − b": "ndcg@10"}))
    assert shown.loc["nDCG@10", "p"] == "< 0.001" and table["p"].iloc[0] < 0.001
    assert str(ev.readable(pd.DataFrame({"map@5": [-0.0001]})).iloc[0, 0]) == "0.0"
    assert list(ev.readable(pd.DataFrame({"p": [np.nan, 0.2]}))["p"]) == ["nan", "0.200"]
    assert list(ev.readable(pd.DataFrame({"map@5": [1.0], "x@y": [1.0]})).columns) == [
        "mAP@5",
        "x@y",
    ]


def test_intervals_of_several_metrics_as_a_table_and_as_numbers():
    values = {"ndcg@10": np.linspace(0, 1, 9), "p@1": np.ones(9)}
    table = ev.intervals(values)
    assert table.loc["p@1"].tolist() == [1, 1, 1]
    expected = ev.bootstrap_ci(values["ndcg@10"])
    assert tuple(table.loc["ndcg@10"]) == expected
    assert ev.results_entry(table) == {
        "ndcg@10": expected.mean,
        "ndcg@10_ci": [expected.low, expected.high],
        "p@1": 1,
        "p@1_ci": [1, 1],
    }


def test_a_choice_is_judged_by_queries_that_had_no_say():
    queries = 40
    luck = np.eye(queries)  # each setting wins by one query alone: a choice among them is luck
    found = ev.held_out(pd.DataFrame(luck))
    assert luck.mean(axis=0).max() > 0 and found.tolist() == [0] * queries
    clear = pd.DataFrame({"good": np.full(queries, 0.7), "bad": np.full(queries, 0.2)})
    assert ev.held_out(clear) == pytest.approx(np.full(queries, 0.7))
    assert ev.held_out(clear, pd.Series.idxmin) == pytest.approx(np.full(queries, 0.2))


# --- agreement ---


def test_overlap_by_hand():
    a, b = np.array([[1, 2, 3], [4, 5, 6]]), np.array([[3, 2, 9], [7, 8, 9]])
    assert ev.overlap_at_k(a, b, 3) == pytest.approx([2 / 3, 0])
    assert ev.overlap_at_k(a, b, 2) == pytest.approx([1 / 2, 0])
    with pytest.raises(TutorialError, match="k = 4"):
        ev.overlap_at_k(a, b, 4)


def test_rank_biased_overlap_by_hand():
    a, b = np.array([[1, 2, 3]]), np.array([[3, 2, 9]])  # in common: 0 of 1, 1 of 2, 2 of 3
    p = 0.9
    expected = 2 / 3 * p**3 + (1 - p) / p * (1 / 2 * p**2 + 2 / 3 * p**3)
    assert ev.rank_biased_overlap(a, b, 3) == pytest.approx([expected])


def test_rank_biased_overlap_weighs_the_top():
    a = np.array([[1, 2, 3, 4]])
    assert ev.rank_biased_overlap(a, a, 4) == pytest.approx([1])
    assert ev.rank_biased_overlap(a, a + 10, 4) == [0]
    top_kept, top_lost = np.array([[1, 2, 4, 3]]), np.array([[2, 1, 3, 4]])
    assert ev.rank_biased_overlap(a, top_kept, 4) > ev.rank_biased_overlap(a, top_lost, 4)
