"""The explorer's logic on real embedded servers, and its widget without a browser."""

import json
import re
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
from helpers.explorer.answer import (
    METRICS,
    Choice,
    Result,
    Stores,
    answer,
    rank_line,
    score_line,
)
from helpers.explorer.embedding_map import EmbeddingMap, joined, nearest, unit_square
from helpers.explorer.photo_browser import photo_uri, thumbnail_uri
from helpers.explorer.votes import Vote, load_votes, save_vote, tally, votes_path
from helpers.explorer.widget import Explorer, _remembered
from helpers.hits import Hit
from helpers.models import all_models, embedding_model
from helpers.search import StoredModel
from helpers.settings import ROOT, TutorialError
from helpers.vector_store import ensure_collection, store

A, B = embedding_model("resnet50"), embedding_model("vgg16")
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
    monkeypatch.setattr(Stores, "made", lambda *_: True)
    _remembered.clear()
    return Stores(dataset)


def expected(dataset, seed, query, count):
    vectors = unit_vectors(seed, 16)
    distances = 2 - 2 * vectors @ vectors[query]
    order = [row for row in np.argsort(distances, kind="stable") if row != query]
    return [dataset.records[row].id for row in order[:count]], distances


def ids(row):
    return [result.hit.id for result in row]


def test_rows_are_the_exact_neighbours(dataset, stores):
    found = answer(stores, Choice(dataset.records[3], A, B, count=5))
    for row, seed in ((found.a, 8), (found.b, 5)):
        wanted, distances = expected(dataset, seed, 3, 5)
        assert ids(row) == wanted
        scores = [result.score for result in row]
        assert scores == pytest.approx([distances[i - 1] for i in wanted], abs=1e-4)
    ranks = {id_: rank for rank, id_ in enumerate(expected(dataset, 5, 3, 11)[0], start=1)}
    assert [result.elsewhere for result in found.a] == [(ranks[i],) for i in ids(found.a)]
    for result in found.combined:
        assert result.shared == result.hit.labels & dataset.records[3].labels


def test_weight_goes_from_row_a_to_row_b(dataset, stores):
    choice = Choice(dataset.records[0], A, B, count=5)
    for weight, side in ((0.0, "a"), (1.0, "b")):
        found = answer(stores, replace(choice, weight=weight))
        assert ids(found.combined) == ids(getattr(found, side))
    between = answer(stores, replace(choice, weight=0.5))
    assert ids(between.combined) not in (ids(between.a), ids(between.b))


@pytest.mark.parametrize(
    ("rank", "there", "line"),
    [(2, 2, "= same rank"), (1, 4, "▲ 3"), (4, 1, "▼ 3"), (1, 7, "new, 7 there"),
     (1, None, "new, beyond 200 there")],
)  # fmt: skip
def test_a_result_says_where_the_other_model_has_it(rank, there, line):
    result = Result(Hit(1, 0.5, rank, "", frozenset()), 0.5, (there,), frozenset())
    assert rank_line(result, "a", 6)[0] == line
    assert score_line(result, "a", "L2")[0] == f"{rank} · d² 0.500"


def test_what_is_enlarged_is_what_is_seen(dataset, stores):
    widget = Explorer(dataset)
    widget.count.value = 99
    widget.ask(dataset.records[4])  # fails, as do all searches for 99 photos
    send(widget, "enlarge", place="query", id=widget.photos.query["id"])
    assert dataset.records[0].path.name in widget.photos.enlarged["photos"][0]["path"]


def test_metrics_change_the_score_and_not_the_order(dataset, stores):
    choice = Choice(dataset.records[0], A, B, count=5)
    rows = {m: answer(stores, replace(choice, metric=m)).a for m in METRICS}
    assert ids(rows["L2"]) == ids(rows["COSINE"]) == ids(rows["IP"])
    for l2, cosine in zip(rows["L2"], rows["COSINE"], strict=True):
        assert cosine.score == pytest.approx(1 - l2.score / 2)


def test_filter_keeps_the_category_and_says_when_there_are_fewer(dataset, stores):
    choice = Choice(dataset.records[1], A, B, count=3, category="cup")
    found = answer(stores, choice)
    assert all("cup" in result.hit.labels for row in (found.a, found.b, found.combined)
               for result in row)  # fmt: skip
    assert found.notice == ""
    many = answer(stores, replace(choice, count=10))
    assert len(many.a) == len(many.combined) == 8
    assert many.notice == "Only 8 other photos show “cup”: these are all."


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"count": 12}, "12 results were asked for, and there are 11 other photos"),
        ({"count": 0}, "0 results were asked for"),
        ({"category": "zebra"}, "No other photo shows “zebra”"),
        ({"b": A}, "Both sides are ResNet50 · article · fp32"),
    ],
)
def test_what_cannot_be_shown_is_said(dataset, stores, change, sentence):
    with pytest.raises(TutorialError, match=sentence):
        answer(stores, replace(Choice(dataset.records[0], A, B), **change))


def test_the_id_0_is_a_photo_like_any_other(dataset, stores):
    records = tuple(replace(record, id=record.id - 1) for record in dataset)
    stores.dataset = ImageDataset("from 0", "from_0", records)
    found = answer(stores, Choice(records[0], A, B, count=5))
    assert ids(found.a) == expected(stores.dataset, 8, 0, 5)[0]
    assert 0 in ids(answer(stores, Choice(records[1], A, B, count=11)).a)


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
    choice = Choice(dataset.records[0], A, B)
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


def test_all_models_of_the_registry_are_offered(tmp_path, monkeypatch):
    monkeypatch.setenv("BUILD_DIR", str(tmp_path))  # where nothing was adopted
    assert len(set(all_models())) == 12
    assert {model.precision for model in all_models()} == {"fp32", "int8"}


def test_widget_answers_clicks_and_goes_on_after_errors(dataset, stores):
    widget = Explorer(dataset)
    widget.photos._handle_custom_msg({"kind": "photo", "id": "5", "place": "strip"}, [])
    assert widget.photos.query["id"] == "5" and widget.photos.explanation == {}
    shown = [int(photo["id"]) for photo in widget.photos.rows[0]["photos"]]
    assert shown == expected(dataset, 8, 4, 6)[0]
    assert all(photo["alt"] for row in widget.photos.rows for photo in row["photos"])
    message = {"kind": "file", "name": "a/notes.txt", "number": 0, "of": 1}
    widget.photos._handle_custom_msg(message, [b"no image"])
    assert widget.photos.message.startswith("'notes.txt' cannot be used as a photo")
    assert "remove the file" not in widget.photos.message
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


def send(widget, kind, **about):
    """What the browser sends, as a click or a key causes it."""
    about = {"query": widget.photos.query["id"], **about}
    widget.photos._handle_custom_msg({"kind": kind, **about}, [])


def ids_shown(widget):
    return [widget.photos.query["id"], *(one["id"] for one in widget.photos.rows[1]["photos"])]


def blind(widget, number):
    votes_path().unlink(missing_ok=True)
    widget.target.value = number
    widget.blind.value = True


def test_blind_shows_a_new_query_and_nothing_that_tells_the_models_apart(
    dataset, stores, monkeypatch
):
    monkeypatch.setattr("random.random", lambda: 0.1)  # sides swapped
    widget = Explorer(dataset)
    before = widget.photos.query["id"]
    blind(widget, 3)
    assert widget.photos.query["id"] != before
    shown = json.dumps([widget.photos.rows, widget.photos.query, widget.tally.value])
    shown = re.sub(r"base64,[^\"]*", "", shown)
    assert not any(word in shown for word in ("ResNet", "VGG", "d²", "✓", "✗", "▲", "match"))
    assert [row["name"] for row in widget.photos.rows] == ["a", "b"]
    assert ids(widget.answer.b) == [int(photo["id"]) for photo in widget.photos.rows[0]["photos"]]
    send(widget, "vote", better="a")  # row A is model B's
    assert [vote.better for vote in load_votes()] == ["b"]
    assert widget.tally.value == "1 of 3 votes"
    widget.blind.value = False
    assert f"B ({B.label}) <b>1</b>" in widget.tally.value
    assert "0 : 1, could well be chance (p = 1)" in widget.tally.value


def test_blind_votes_never_ask_twice_and_end_with_the_result(dataset, stores, monkeypatch):
    monkeypatch.setattr("random.random", lambda: 0.9)  # sides as they are
    widget = Explorer(dataset)
    blind(widget, 4)
    asked = []
    for left in (3, 2, 1, 0):
        asked.append(widget.photos.query["id"])
        send(widget, "vote", better="a")
        assert widget.blind.value == bool(left)
    assert len(set(asked)) == 4 == len(load_votes())
    assert "Blind: 4 votes" in widget.tally.value
    assert "4 : 0, could well be chance (p = 0.12)" in widget.tally.value
    blind_votes = load_votes()
    send(widget, "vote", better="b")  # an open vote on the last query is another one
    assert load_votes()[:4] == blind_votes and not load_votes()[4].blind
    assert "4 : 0" in widget.tally.value and "Open: 1 vote;" in widget.tally.value

    widget.target.value = 99
    widget.blind.value = True
    send(widget, "photo", place="strip", id=asked[0], number=0)
    assert widget.photos.message == "You have voted on this photo before: choose another one."
    assert widget.photos.query["id"] not in asked
    while widget.blind.value:
        send(widget, "vote", better="same")
    assert widget.photos.message == "No other photo is left: these are 7 votes."
    kept = [vote.query for vote in load_votes() if vote.blind]
    assert len(kept) == len(set(kept)) == 11  # of twelve: the first was seen with names


def test_a_second_click_is_no_vote_on_the_next_query(dataset, stores):
    widget = Explorer(dataset)
    blind(widget, 3)
    first = widget.photos.query["id"]
    for _ in range(2):
        send(widget, "vote", better="a", query=first)
    assert [vote.query for vote in load_votes()] == [first]


def test_the_last_blind_vote_can_be_taken_back(dataset, stores):
    widget = Explorer(dataset)
    blind(widget, 3)
    assert widget.undo.disabled
    first = widget.photos.query["id"]
    send(widget, "vote", better="a")
    widget.undo.click()
    assert load_votes() == [] and widget.tally.value == "0 of 3 votes"
    assert widget.photos.query["id"] == first and widget.undo.disabled
    send(widget, "vote", better="same")
    assert [vote.query for vote in load_votes()] == [first]


def test_votes_are_for_the_rows_on_screen(dataset, stores, monkeypatch):
    widget = Explorer(dataset)
    blind(widget, 9)
    monkeypatch.setattr("random.random", lambda: 0.1)
    widget.ask(dataset.records[4])  # sides swapped
    before = widget.photos.rows
    widget.count.value = 99
    monkeypatch.setattr("random.random", lambda: 0.9)
    widget.ask(dataset.records[2])  # fails, as do all searches for 99 photos
    assert widget.photos.rows == before
    send(widget, "vote", better="a")
    [kept] = load_votes()
    assert (kept.query, kept.better, kept.blind) == ("5", "b", True)


def test_back_and_forward_go_over_the_queries(dataset, stores):
    widget = Explorer(dataset)
    for record in dataset.records[1:4]:
        widget.ask(record)
    send(widget, "back")
    send(widget, "back")
    assert widget.photos.query["id"] == "2" and not widget.forward.disabled
    assert [photo["id"] for photo in widget.photos.trail if photo["current"]] == ["2"]
    send(widget, "forward")
    assert widget.photos.query["id"] == "3"
    send(widget, "photo", place="trail", id="1", number=0)
    assert widget.photos.query["id"] == "1" and widget.back.disabled
    widget.ask(dataset.records[8])
    assert [photo["id"] for photo in widget.photos.trail] == ["1", "9"]
    assert widget.forward.disabled


def test_any_photo_is_found_and_the_strip_says_what_it_leaves_out(dataset, stores):
    widget = Explorer(dataset)
    assert widget.photos.note == "12 of 12 photos, evenly spread"
    widget.find.value = dataset.records[7].path.stem
    assert [photo["id"] for photo in widget.photos.strip] == ["8"]
    widget.find.value = ""
    widget.order.value = "most disagreement first"
    for seeds in ((8, 5), (8, 18)):
        shares = []
        for photo in widget.photos.strip:
            row = int(photo["id"]) - 1
            lists = [set(expected(dataset, seed, row, 10)[0]) for seed in seeds]
            shares.append(len(lists[0] & lists[1]))
        assert shares == sorted(shares)
        widget.models["b"].value = embedding_model("efficientnet_lite0")  # the strip follows


def test_settings_are_remembered_in_the_kernel(dataset, stores):
    widget = Explorer(dataset)
    widget.count.value = 3
    widget.category.value = "cup"
    widget.size.value = "large"
    widget.ask(dataset.records[5])
    widget.count.value = 99  # what failed is not
    again = Explorer(dataset)
    assert (again.count.value, again.category.value) == (3, "cup")
    assert again.size.value == "large" and again.photos.size == 260
    assert again.photos.query["id"] == "6"


def test_result_and_query_are_enlarged_side_by_side(dataset, stores):
    widget = Explorer(dataset)
    third = widget.photos.rows[1]["photos"][2]["id"]
    send(widget, "enlarge", place="b", id=third)
    shown = widget.photos.enlarged
    assert shown["title"] == "3 of 6" and [len(shown["photos"]), shown["place"]] == [2, "b"]
    assert shown["photos"][1]["path"] == str(dataset.by_id[int(third)].path)
    assert shown["before"] == widget.photos.rows[1]["photos"][1]["id"]
    widget.photos.enlarged = {}
    gone = next(str(id_) for id_ in range(1, 13) if str(id_) not in ids_shown(widget))
    send(widget, "enlarge", place="b", id=gone)  # the row has changed since the click
    assert widget.photos.enlarged == {}
    blind(widget, 3)
    send(widget, "enlarge", place="a", id=widget.photos.rows[0]["photos"][0]["id"])
    assert not any(photo["path"] for photo in widget.photos.enlarged["photos"])


def test_own_photos_of_the_same_name_are_told_apart(dataset, stores, monkeypatch):
    monkeypatch.setattr(search, "photo_vector", lambda *_: unit_vectors(0, 16, 1))
    votes_path().unlink(missing_ok=True)
    widget = Explorer(dataset)
    for photo in PHOTOS[:2]:
        message = {"kind": "file", "name": "IMG_0001.jpg", "number": 0, "of": 1}
        widget.photos._handle_custom_msg(message, [photo.read_bytes()])
        assert widget.photos.message == ""
        assert widget.photos.query["src"] == photo_uri(photo, 320)
        assert widget.photos.query["lines"] == [("Your photo", "")]
        assert not any(one["classes"] for one in widget.photos.rows[0]["photos"]), "none is wrong"
        send(widget, "vote", better="same")
    assert len({vote.query for vote in load_votes()}) == 2


def test_thumbnail_is_small():
    assert thumbnail_uri(PHOTOS[0], 160).startswith("data:image/jpeg;base64,")
    assert len(thumbnail_uri(PHOTOS[0], 160)) < 20_000


def vote(query, better, a="model 1", b="model 2", blind=True):
    return Vote("d", query, a, b, better, blind)


def test_votes_count_each_query_once_and_survive(tmp_path, monkeypatch):
    monkeypatch.setenv("BUILD_DIR", str(tmp_path))
    assert load_votes() == []
    for query in range(6):
        save_vote(vote(str(query), "a"))
    save_vote(vote("0", "a", "model 2", "model 1"))  # the same question, sides swapped: replaces
    save_vote(vote("9", "same"))
    save_vote(vote("9", "a", "model 1", "model 3"))  # another pair
    save_vote(vote("1", "b", blind=False))  # not part of the test
    found = tally(load_votes(), "d", "model 1", "model 2")
    assert (found.a, found.b, found.same) == (5, 1, 1)
    assert found.p_value == pytest.approx(2 * (1 + 6) / 2**6)
    assert found.verdict == "5 : 1, could well be chance (p = 0.22)"
    assert tally(load_votes(), "d", "model 1", "model 2", blind=False).b == 1
    assert tally(load_votes(), "other", "model 1", "model 2").p_value == 1
    assert [path.name for path in tmp_path.glob(".*.part")] == []


def test_votes_that_cannot_be_written_are_said(dataset, stores, tmp_path, monkeypatch):
    widget = Explorer(dataset)
    monkeypatch.setenv("BUILD_DIR", str(tmp_path))
    save_vote(vote("1", "a"))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))  # for root, too
    try:
        send(widget, "vote", better="a")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert widget.photos.message.startswith(f"{tmp_path.name!r} cannot be written (files of that")
    assert load_votes() == [vote("1", "a")]
    assert [path.name for path in tmp_path.glob(".*.part")] == []


@pytest.mark.parametrize("content", ["no json", "{}", '[{"query": "1"}]'])
def test_damaged_votes_are_named(tmp_path, monkeypatch, content):
    monkeypatch.setenv("BUILD_DIR", str(tmp_path))
    votes_path().write_text(content)
    with pytest.raises(TutorialError, match="votes.json does not hold votes"):
        load_votes()


@pytest.fixture
def spaces(dataset):
    vectors = {"ResNet50": unit_vectors(1, 8), "VGG16": unit_vectors(2, 8)}
    return EmbeddingMap(dataset, vectors, {title: v[:, :2] for title, v in vectors.items()})


def test_map_chooses_in_both_spaces_and_joins_by_lines(spaces):
    *base, left, right = [trace for trace in spaces.figure.data if trace.showlegend is False]
    spaces.choose([3])
    wanted = {3} | {int(i) for seed in (1, 2) for i in nearest(unit_vectors(seed, 8))[3]}
    assert set(spaces.chosen) == wanted
    assert {record.id - 1 for record in spaces.chosen_photos} == wanted
    assert {int(photo["id"]) - 1 for photo in spaces.photos.strip} == wanted
    for space, trace in zip(spaces.places, (left, right), strict=True):
        assert list(zip(trace.x, trace.y, strict=True)) == [tuple(space[i]) for i in spaces.chosen]
    assert {trace.opacity for trace in base} == {0.2}
    legend = [trace for trace in spaces.figure.data if trace.name]
    assert {trace.opacity for trace in legend} == {None}, "it can be read all the time"
    assert len(spaces.figure.layout.shapes) == len(wanted)
    spaces.choose([1, 2])
    assert spaces.chosen == joined([2, 1], []) == [1, 2]
    spaces.choose([])
    assert {trace.opacity for trace in base} == {1}
    assert not len(left.x) and not len(right.x)
    assert spaces.chosen_photos == [] and not spaces.figure.layout.shapes


def test_map_has_a_legend_of_categories_and_no_upload(spaces, dataset):
    named = [trace.name for trace in spaces.figure.data if trace.name]
    assert sorted(named) == sorted({min(record.labels) for record in dataset})
    assert spaces.figure._config["showSendToCloud"] is False
    assert spaces.figure.layout.width is None, "as wide as its container"


def test_lines_go_where_the_maps_show_the_photos(spaces):
    spaces.choose([0, 1])
    spaces.figure.layout.xaxis.range = (5, 6)  # no photo in view there
    assert not spaces.figure.layout.shapes
    spaces.figure.layout.xaxis.range = (0, 1)
    [line, _] = spaces.figure.layout.shapes
    domain = spaces.figure.layout.xaxis.domain
    assert line.x0 == pytest.approx(domain[1] * spaces.places[0][0, 0])
    assert line.x1 > spaces.figure.layout.xaxis2.domain[0]


@pytest.mark.parametrize("axis", ["x", "x2"])
@pytest.mark.parametrize(
    "shape",
    [
        {"path": "M0.2,0.1L9e-1,0.1L0.9,0.8L0.2,8e-1Z"},
        {"type": "rect", "x0": 0.9, "x1": 0.2, "y0": 0.1, "y1": 0.8},
    ],
)
def test_map_chooses_what_was_drawn_around_in_the_map_it_was_drawn_on(spaces, shape, axis):
    def reported(**changes):
        spaces.figure._js2py_relayout = {"relayout_data": changes, "source_view_id": "view"}

    reported(selections=[{**shape, "xref": axis}])
    place = spaces.places[axis == "x2"]
    wanted = [row for row, (x, y) in enumerate(place) if 0.2 < x < 0.9 and 0.1 < y < 0.8]
    assert spaces.chosen == wanted and 1 < len(wanted) < len(place)
    reported(dragmode="pan")
    assert spaces.chosen == wanted
    reported(selections=[])
    assert spaces.chosen == []


def test_map_and_explorer_follow_each_other(dataset, stores):
    widget, vectors = Explorer(dataset), {"a": unit_vectors(1, 8), "b": unit_vectors(2, 8)}
    spaces = EmbeddingMap(dataset, vectors, {t: v[:, :2] for t, v in vectors.items()}, widget)
    widget.ask(dataset.records[4])
    assert 4 in spaces.chosen and len(spaces.photos.strip) == len(spaces.chosen)
    other = next(row for row in range(12) if row not in spaces.chosen)
    spaces.photos._handle_custom_msg({"kind": "photo", "id": str(other + 1)}, [])
    assert widget.photos.query["id"] == str(other + 1) and other in spaces.chosen


def test_nearest_leaves_the_photo_itself_out():
    vectors = unit_vectors(0, 8)
    order = np.argsort(2 - 2 * vectors @ vectors.T, axis=1, kind="stable")[:, 1:4]
    assert (nearest(vectors, 3) == order).all()
    square = unit_square(np.array([[2.0, 5], [4, 5]]))
    assert square.tolist() == [[0, 0], [1, 0]]
