"""The explorer's logic on real embedded servers, and its widget without a browser."""

import json
import resource
from dataclasses import replace

import grpc
import numpy as np
import pytest
import redis
from pymilvus.client.types import Status
from pymilvus.exceptions import MilvusException

from helpers import search
from helpers import services as running
from helpers.datasets import ImageDataset, ImageRecord
from helpers.explorer.answer import METRICS, Choice, Stores, answer, offered_models
from helpers.explorer.embedding_map import EmbeddingMap, joined, nearest, unit_square
from helpers.explorer.votes import Vote, load_votes, save_vote, tally, votes_path
from helpers.explorer.widget import Explorer, thumbnail_uri
from helpers.models import embedding_model
from helpers.search import StoredModel
from helpers.settings import ROOT, TutorialError
from helpers.vector_store import ensure_collection, store

LEFT, RIGHT = embedding_model("resnet50"), embedding_model("vgg16")
PHOTOS = sorted((ROOT / "data/sample/sample").glob("*.jpg"))[:12]
LABELS = [frozenset({"cup"}), frozenset({"clock"}), frozenset({"bench", "cup"})]


@pytest.fixture(scope="module")
def dataset():
    records = [ImageRecord(i + 1, PHOTOS[i], LABELS[i % 3]) for i in range(12)]
    return ImageDataset("twelve", "twelve", tuple(records))


def unit_vectors(seed, dimension, count=12):
    vectors = np.random.default_rng(seed).random((count, dimension), np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture
def stores(dataset, services, monkeypatch):
    """Real collections and paths; only the vectors are random instead of extracted."""

    def store_random(dataset, model, *, milvus, redis):
        name = model.name
        vectors = unit_vectors(len(name), 16)
        collection, key = f"explorer_{name}", f"explorer-{name}"
        ensure_collection(milvus, collection, 16, description={})
        paths = [search.relative_path(path) for path in dataset.paths]
        ids = [record.id for record in dataset]
        labels = [record.labels for record in dataset]
        store(milvus, collection, ids, vectors, paths, labels)
        search.path_store.save_paths(redis, key, dict(zip(ids, paths, strict=True)))
        return StoredModel(model, PHOTOS[0], collection, key, vectors, milvus, redis)

    monkeypatch.setattr(search, "store_dataset", store_random)
    return Stores(dataset)


def expected(dataset, seed, query, count):
    vectors = unit_vectors(seed, 16)
    distances = 2 - 2 * vectors @ vectors[query]
    order = [row for row in np.argsort(distances, kind="stable") if row != query]
    return [dataset.records[row].id for row in order[:count]], distances


def ids(row):
    return [result.hit.id for result in row]


def test_rows_are_the_exact_neighbours(dataset, stores):
    found = answer(stores, Choice(dataset.records[3], LEFT, RIGHT, count=5))
    for row, seed in ((found.left, 8), (found.right, 5)):
        wanted, distances = expected(dataset, seed, 3, 5)
        assert ids(row) == wanted
        scores = [result.score for result in row]
        assert scores == pytest.approx([distances[i - 1] for i in wanted], abs=1e-4)
    ranks = {id_: rank for rank, id_ in enumerate(expected(dataset, 5, 3, 11)[0], start=1)}
    assert [result.elsewhere for result in found.left] == [(ranks[i],) for i in ids(found.left)]
    for result in found.combined:
        assert result.shared == result.hit.labels & dataset.records[3].labels


def test_weight_goes_from_the_left_row_to_the_right_one(dataset, stores):
    choice = Choice(dataset.records[0], LEFT, RIGHT, count=5)
    for weight, side in ((0.0, "left"), (1.0, "right")):
        found = answer(stores, replace(choice, weight=weight))
        assert ids(found.combined) == ids(getattr(found, side))
    between = answer(stores, replace(choice, weight=0.5))
    assert ids(between.combined) not in (ids(between.left), ids(between.right))


def test_metrics_change_the_score_and_not_the_order(dataset, stores):
    choice = Choice(dataset.records[0], LEFT, RIGHT, count=5)
    rows = {m: answer(stores, replace(choice, metric=m)).left for m in METRICS}
    assert ids(rows["L2"]) == ids(rows["COSINE"]) == ids(rows["IP"])
    for l2, cosine in zip(rows["L2"], rows["COSINE"], strict=True):
        assert cosine.score == pytest.approx(1 - l2.score / 2)


def test_filter_keeps_the_category_and_says_when_there_are_fewer(dataset, stores):
    choice = Choice(dataset.records[1], LEFT, RIGHT, count=3, category="cup")
    found = answer(stores, choice)
    assert all("cup" in result.hit.labels for row in (found.left, found.right, found.combined)
               for result in row)  # fmt: skip
    assert found.notice == ""
    many = answer(stores, replace(choice, count=10))
    assert len(many.left) == len(many.combined) == 8
    assert many.notice == "Only 8 other photos show “cup”: these are all."


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"count": 12}, "12 results were asked for, and there are 11 other photos"),
        ({"count": 0}, "0 results were asked for"),
        ({"category": "zebra"}, "No other photo shows “zebra”"),
        ({"right": LEFT}, "Both sides are ResNet50 · article · fp32"),
    ],
)
def test_what_cannot_be_shown_is_said(dataset, stores, change, sentence):
    with pytest.raises(TutorialError, match=sentence):
        answer(stores, replace(Choice(dataset.records[0], LEFT, RIGHT), **change))


def test_the_id_0_is_a_photo_like_any_other(dataset, stores):
    records = tuple(replace(record, id=record.id - 1) for record in dataset)
    stores.dataset = ImageDataset("from 0", "from_0", records)
    found = answer(stores, Choice(records[0], LEFT, RIGHT, count=5))
    assert ids(found.left) == expected(stores.dataset, 8, 0, 5)[0]
    assert 0 in ids(answer(stores, Choice(records[1], LEFT, RIGHT, count=11)).left)


@pytest.mark.parametrize(
    ("server", "error", "sentence"),
    [
        ("milvus", MilvusException(Status.CONNECT_FAILED, "gone"), "Milvus does not answer any"),
        ("milvus", MilvusException(grpc.StatusCode.UNAVAILABLE, "x"), "Milvus does not answer any"),
        ("redis", redis.ConnectionError("gone"), "Redis does not answer any more"),
        ("redis", redis.TimeoutError("slow"), "Redis does not answer any more"),
        ("milvus", MilvusException(5, "No space left on device"), "make room for BUILD_DIR"),
        ("milvus", MilvusException(65535, "bad plan"), r"embedded milvus failed \(bad plan\)"),
        ("redis", redis.ResponseError("OOM"), r"embedded redis failed \(OOM\)"),
    ],
    ids=["connect", "unavailable", "connection", "timeout", "full", "refusal", "out_of_memory"],
)
def test_what_a_server_refuses_is_said_as_it_is(
    dataset, stores, monkeypatch, server, error, sentence
):
    choice = Choice(dataset.records[0], LEFT, RIGHT)
    answer(stores, choice)

    @running.answering(server)
    def fail(*_arguments, **_options):
        raise error

    monkeypatch.setattr(search, "search_stored", fail)
    with pytest.raises(TutorialError, match=sentence):
        answer(stores, choice)
    assert stores.known == {}, "the next search connects anew"


def test_a_server_that_never_answered_is_named(dataset, stores, monkeypatch):
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1")
    with pytest.raises(TutorialError, match="No Redis answers at REDIS_URL=redis://127.0.0.1:1"):
        Explorer(dataset)


def test_all_models_of_the_registry_are_offered():
    assert len(set(offered_models())) == 12
    assert {model.precision for model in offered_models()} == {"fp32", "int8"}


def test_widget_answers_clicks_and_goes_on_after_errors(dataset, stores):
    widget = Explorer(dataset)
    widget._on_photo(widget.photos, {"kind": "photo", "id": "5", "place": "strip"}, [])
    assert widget.photos.query["id"] == "5"
    shown = [int(photo["id"]) for photo in widget.photos.rows[0]["photos"]]
    assert shown == expected(dataset, 8, 4, 6)[0]
    assert all(photo["alt"] for row in widget.photos.rows for photo in row["photos"])
    message = {"kind": "file", "name": "a/notes.txt"}
    widget._on_photo(widget.photos, message, [b"no image"])
    assert widget.photos.message.startswith("'notes.txt' cannot be used as a photo")
    widget.count.value = 99
    assert "there are 11 other photos" in widget.photos.message
    widget.count.value = 2
    assert widget.photos.message == ""
    assert [len(row["photos"]) for row in widget.photos.rows] == [2, 2, 2]


def test_widget_survives_the_end_of_the_servers(dataset, stores):
    widget = Explorer(dataset)
    running.stop_services()
    widget.ask(dataset.records[2])
    assert widget.photos.message.startswith("Milvus does not answer any more")
    widget.ask(dataset.records[2])
    assert widget.photos.message == ""
    assert widget.photos.query["id"] == "3"


def test_blind_mode_hides_names_scores_and_whose_votes(dataset, stores, monkeypatch):
    monkeypatch.setattr("random.random", lambda: 0.1)  # sides swapped
    votes_path().unlink(missing_ok=True)
    widget = Explorer(dataset)
    widget.blind.value = True
    shown = json.dumps([widget.photos.rows, widget.photos.query, widget.tally.value])
    assert not any(word in shown for word in ("ResNet", "VGG", "d²"))
    first_row = [int(photo["id"]) for photo in widget.photos.rows[0]["photos"]]
    assert first_row == ids(widget.answer.right)
    widget.voting.children[0].click()  # the left row is the right model's
    assert [vote.better for vote in load_votes()] == ["right"]
    widget.blind.value = False
    assert "VGG16 · article · fp32 <b>1</b>" in widget.tally.value


def test_votes_are_for_the_rows_on_screen(dataset, stores, monkeypatch):
    monkeypatch.setattr("random.choice", lambda records: records[7])  # after a blind vote
    votes_path().unlink(missing_ok=True)
    widget = Explorer(dataset)
    left_is_better = widget.voting.children[0]
    widget.blind.value = True
    monkeypatch.setattr("random.random", lambda: 0.1)
    widget.ask(dataset.records[4])  # sides swapped
    before = widget.photos.rows
    widget.count.value = 99
    monkeypatch.setattr("random.random", lambda: 0.9)
    widget.ask(dataset.records[2])  # fails, as do all searches for 99 photos
    left_is_better.click()
    [kept] = load_votes()
    assert (kept.query, kept.better, kept.blind) == ("5", "right", True)
    widget.blind.value = False
    assert widget.photos.message and widget.photos.rows == before
    left_is_better.click()
    assert load_votes() == [kept]
    assert widget.tally.value.startswith("1 votes so far")

    widget.count.value = 5
    widget.right.value = LEFT
    assert widget.photos.message.startswith("Both sides are")
    left_is_better.click()
    kept = load_votes()[-1]
    query = widget.photos.query["id"]
    assert kept == Vote("twelve", query, LEFT.label, RIGHT.label, "left", False)
    assert "VGG16 · article · fp32 <b>1</b>" in widget.tally.value


def test_own_photos_of_the_same_name_are_told_apart(dataset, stores, monkeypatch):
    monkeypatch.setattr(search, "photo_vector", lambda *_: unit_vectors(0, 16, 1))
    votes_path().unlink(missing_ok=True)
    widget = Explorer(dataset)
    for photo in PHOTOS[:2]:
        message = {"kind": "file", "name": "IMG_0001.jpg"}
        widget._on_photo(widget.photos, message, [photo.read_bytes()])
        assert widget.photos.message == ""
        assert widget.photos.query["src"] == thumbnail_uri(photo)
        assert widget.photos.query["lines"] == ["Your photo"]
        widget.voting.children[2].click()
    assert len({vote.query for vote in load_votes()}) == 2


def test_thumbnail_is_small():
    assert thumbnail_uri(PHOTOS[0]).startswith("data:image/jpeg;base64,")
    assert len(thumbnail_uri(PHOTOS[0])) < 20_000


def vote(query, better, left="a", right="b"):
    return Vote("d", query, left, right, better, False)


def test_votes_count_each_query_once_and_survive(tmp_path, monkeypatch):
    monkeypatch.setenv("BUILD_DIR", str(tmp_path))
    assert load_votes() == []
    for query in range(6):
        save_vote(vote(str(query), "left"))
    save_vote(vote("0", "left", "b", "a"))  # the same question, sides swapped: replaces
    save_vote(vote("9", "same"))
    save_vote(vote("9", "left", "a", "c"))  # another pair
    found = tally(load_votes(), "d", "a", "b")
    assert (found.first, found.second, found.same) == (5, 1, 1)
    assert found.p_value == pytest.approx(2 * (1 + 6) / 2**6)
    assert tally(load_votes(), "other", "a", "b").p_value == 1
    assert [path.name for path in tmp_path.glob(".*.part")] == []


def test_a_model_is_not_voted_on_against_itself(tmp_path, monkeypatch):
    monkeypatch.setenv("BUILD_DIR", str(tmp_path))
    with pytest.raises(TutorialError, match="Both sides are a: vote on two different models"):
        save_vote(vote("1", "left", "a", "a"))
    assert load_votes() == []


def test_votes_that_cannot_be_written_are_said(dataset, stores, tmp_path, monkeypatch):
    widget = Explorer(dataset)
    monkeypatch.setenv("BUILD_DIR", str(tmp_path))
    save_vote(vote("1", "left"))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))  # for root, too
    try:
        widget.voting.children[0].click()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert widget.photos.message.startswith(f"{tmp_path.name!r} cannot be written (files of that")
    assert load_votes() == [vote("1", "left")]
    assert [path.name for path in tmp_path.glob(".*.part")] == []


@pytest.mark.parametrize("content", ["no json", "{}", '[{"query": "1"}]'])
def test_damaged_votes_are_named(tmp_path, monkeypatch, content):
    monkeypatch.setenv("BUILD_DIR", str(tmp_path))
    votes_path().write_text(content)
    with pytest.raises(TutorialError, match="votes.json does not hold votes"):
        load_votes()


def test_map_chooses_in_both_spaces_and_joins_by_lines(dataset):
    vectors = {"ResNet50": unit_vectors(1, 8), "VGG16": unit_vectors(2, 8)}
    found = EmbeddingMap(dataset, vectors, {title: v[:, :2] for title, v in vectors.items()})
    found.choose([3])
    wanted = {3} | {int(i) for v in vectors.values() for i in nearest(v)[3]}
    assert set(found.chosen) == wanted
    for space, trace in zip(found.places, found.figure.data[3:], strict=True):
        assert list(zip(trace.x, trace.y, strict=True)) == [tuple(space[i]) for i in found.chosen]
    assert [trace.marker.opacity for trace in found.figure.data[:2]] == [0.25, 0.25]
    assert len(found.figure.data[2].x) == 3 * len(wanted)
    found.choose([1, 2])
    assert found.chosen == joined([2, 1], []) == [1, 2]
    found.choose([])
    assert [trace.marker.opacity for trace in found.figure.data[:2]] == [1, 1]
    assert all(len(trace.x) == 0 for trace in found.figure.data[3:])
    assert found.chosen == [] and len(found.figure.data[2].x) == 0


@pytest.mark.parametrize(
    "shape",
    [
        {"path": "M0.2,0.1L1.9e0,0.1L1.9,0.8L0.2,8e-1Z"},
        {"type": "rect", "x0": 1.9, "x1": 0.2, "y0": 0.1, "y1": 0.8},
    ],
)
def test_map_chooses_what_was_drawn_around_in_either_map(dataset, shape):
    vectors = {"ResNet50": unit_vectors(1, 8), "VGG16": unit_vectors(2, 8)}
    found = EmbeddingMap(dataset, vectors, {title: v[:, :2] for title, v in vectors.items()})

    def reported(**changes):
        found.figure._js2py_relayout = {"relayout_data": changes, "source_view_id": "view"}

    reported(selections=[shape])
    wanted = [
        row
        for row in range(len(dataset))
        if any(0.2 < s[row][0] < 1.9 and 0.1 < s[row][1] < 0.8 for s in found.places)
    ]
    assert found.chosen == wanted and 1 < len(wanted) < len(dataset)
    reported(dragmode="pan")
    assert found.chosen == wanted
    reported(selections=[])
    assert found.chosen == []


def test_nearest_leaves_the_photo_itself_out():
    vectors = unit_vectors(0, 8)
    order = np.argsort(2 - 2 * vectors @ vectors.T, axis=1, kind="stable")[:, 1:4]
    assert (nearest(vectors, 3) == order).all()
    square = unit_square(np.array([[2.0, 5], [4, 5]]))
    assert square.tolist() == [[0, 0], [1, 0]]
