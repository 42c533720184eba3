import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from pymilvus import DataType

from helpers import TutorialError, path_store, vector_store
from helpers.models import embedding_model
from helpers.services import connect_milvus, connect_redis

RECIPE = {"model": "resnet50", "preset": "article", "precision": "fp32", "weights": "abc"}
IDS = list(range(7, 207))
PATHS = [f"photos/{id_}.jpg" for id_ in IDS]
LABELS = [{"dog", "cat"} if id_ % 2 else {"car"} for id_ in IDS]
ODD = "사진/a b\\c'\"{x}\n.jpg"


def unit_vectors(count: int, dim: int = 16) -> np.ndarray:
    vectors = np.random.default_rng(0).normal(size=(count, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


VECTORS = unit_vectors(len(IDS))


@pytest.fixture(scope="module")
def milvus(services):
    return connect_milvus()


@pytest.fixture(params=["FLAT", "HNSW"])
def name(request, milvus):
    """A collection that holds exactly IDS, whatever the test before did to it."""
    name, index = f"photos_{request.param}", request.param
    vector_store.ensure_collection(milvus, name, 16, description=RECIPE, index_type=index)
    assert vector_store.store(milvus, name, IDS, VECTORS, PATHS, LABELS) == IDS
    return name


def test_the_collection_name_keeps_datasets_apart():
    name, vgg16 = vector_store.collection_name, embedding_model("vgg16")
    assert name("coco-val2017", vgg16) == "coco_val2017_vgg16_article_fp32"
    assert name("사진", vgg16) != name("그림", vgg16)
    assert name("2024", vgg16).isidentifier()


def test_storing_twice_changes_nothing(milvus, name):
    vector_store.store(milvus, name, IDS, VECTORS, PATHS, LABELS)
    assert vector_store.count(milvus, name) == len(IDS)
    assert vector_store.check_self_first(milvus, name, IDS, VECTORS) == len(IDS)


def test_a_removed_photo_disappears(milvus, name):
    vector_store.store(milvus, name, IDS[1:], VECTORS[1:], PATHS[1:], LABELS[1:])
    assert vector_store.count(milvus, name) == len(IDS) - 1
    found = vector_store.search(milvus, name, VECTORS[:1], limit=len(IDS))
    assert IDS[0] not in {hit.id for hit in found[0]}


def test_a_copy_holds_the_same_rows_and_the_same_recipe(milvus, name):
    odd = [*PATHS[1:], ODD]
    vector_store.store(milvus, name, IDS, VECTORS, odd, LABELS)
    copied = f"{name}_copied"
    for _ in range(2):
        assert vector_store.copy(milvus, name, milvus, copied) == len(IDS)
    there = [vector_store.search(milvus, one, VECTORS[::9], len(IDS)) for one in (name, copied)]
    assert there[0] == there[1]
    assert ODD in {hit.path for hit in there[1][0]}
    with pytest.raises(TutorialError, match="holds vectors of the recipe"):
        vector_store.ensure_collection(milvus, copied, 16, description={**RECIPE, "model": "vgg16"})
    milvus.drop_collection(copied)


def test_no_search_is_empty_while_an_alias_moves_to_another_model(milvus, name):
    """As notebook 9 does it: ask what the alias stands for, then search that by its own name."""
    other, alias, wide = f"{name}_other", f"{name}_alias", unit_vectors(len(IDS), 24)
    vector_store.ensure_collection(milvus, other, 24, description={**RECIPE, "model": "vgg16"})
    vector_store.store(milvus, other, IDS, wide, PATHS, LABELS)
    queries = {"resnet50": VECTORS[:1], "vgg16": wide[:1]}
    milvus.create_alias(name, alias)
    answers, over = [], threading.Event()

    def ask_on_and_on():
        client = connect_milvus()
        while not over.is_set():
            behind = client.describe_collection(alias)
            model = json.loads(behind["properties"]["recipe"])["model"]
            [hits] = client.search(behind["collection_name"], data=queries[model], limit=3)
            answers.append((model, [hit["id"] for hit in hits]))

    with ThreadPoolExecutor() as pool:
        asking = pool.submit(ask_on_and_on)
        for target in (other, name) * 10:
            before = len(answers)
            milvus.alter_alias(target, alias)
            while len(answers) < before + 2 and not asking.done():
                time.sleep(0.001)
        over.set()
        asking.result()
    assert {model for model, _ in answers} == {"resnet50", "vgg16"}
    assert all(len(found) == 3 and found[0] == IDS[0] for _, found in answers)
    milvus.drop_alias(alias)
    milvus.drop_collection(other)


def test_search_agrees_with_numpy(milvus, name):
    found = vector_store.search(milvus, name, VECTORS, limit=5, exclude=IDS)
    distances = ((VECTORS[:, None] - VECTORS) ** 2).sum(axis=2)
    np.fill_diagonal(distances, np.inf)
    for row, hits in enumerate(found):
        nearest = np.argsort(distances[row])[:5]
        assert [hit.id for hit in hits] == [IDS[column] for column in nearest]
        assert [hit.distance for hit in hits] == pytest.approx(distances[row][nearest], abs=1e-5)
        assert [hit.rank for hit in hits] == [1, 2, 3, 4, 5]
        assert hits[0].path == PATHS[nearest[0]] and hits[0].labels == LABELS[nearest[0]]


def test_a_limit_beyond_the_collection_gives_all_of_it(milvus, name):
    (hits,) = vector_store.search(milvus, name, VECTORS[:1], limit=1000, exclude=IDS[:1])
    assert sorted(hit.id for hit in hits) == IDS[1:]


def test_a_vector_that_does_not_find_itself_is_reported(milvus, name):
    with pytest.raises(TutorialError, match="2 of 200 vectors.*id 7 is the first"):
        swapped = VECTORS[[1, 0, *range(2, len(IDS))]]
        vector_store.check_self_first(milvus, name, IDS, swapped)


def test_queries_of_another_dimension_are_refused_in_one_sentence(milvus, name):
    with pytest.raises(TutorialError, match=f"dimension 8, .*{name}.* dimension 16: ask with"):
        vector_store.search(milvus, name, unit_vectors(1, dim=8), limit=3)


@pytest.fixture
def one(milvus):
    """An empty FLAT collection."""
    vector_store.ensure_collection(milvus, "one", 16, description=RECIPE)
    vector_store.store(milvus, "one", [], VECTORS[:0], [], [])
    return "one"


def test_copies_of_a_photo_tie_in_the_order_of_their_ids(milvus, one):
    vectors = np.repeat(VECTORS[:1], 30, axis=0)
    vector_store.store(milvus, one, IDS[:30], vectors, PATHS[:30], LABELS[:30])
    assert vector_store.check_self_first(milvus, one, IDS[:30], vectors) == 30
    (hits,) = vector_store.search(milvus, one, vectors[:1], limit=30)
    assert [hit.id for hit in hits] == IDS[:30]


def test_odd_paths_and_labels_survive_and_can_be_filtered(milvus, one):
    labels = [{ODD}, {"dog"}, set()]
    vector_store.store(milvus, one, IDS[:3], VECTORS[:3], [ODD, *PATHS[1:3]], labels)
    (hits,) = vector_store.search(
        milvus,
        one,
        VECTORS[:1],
        limit=3,
        filter="ARRAY_CONTAINS(labels, {label}) and id in {ids}",
        filter_params={"label": ODD, "ids": np.array(IDS)},
    )
    assert [(hit.id, hit.path, hit.labels) for hit in hits] == [(IDS[0], ODD, {ODD})]


@pytest.mark.parametrize(
    "change, message",
    [
        ({"dim": 8}, "dimension 16, not 8"),
        ({"description": RECIPE | {"weights": "other"}}, "recipe .*abc.*, not .*other"),
        ({"index_type": "HNSW"}, "type FLAT, not HNSW"),
    ],
)
def test_a_collection_made_otherwise_is_refused(milvus, one, change, message):
    wanted = {"dim": 16, "description": RECIPE} | change
    with pytest.raises(TutorialError, match=f"'one' .*{message}.*drop_collection"):
        vector_store.ensure_collection(milvus, one, **wanted)


@pytest.mark.parametrize(("path", "label"), [("a\udcff.jpg", "cat"), ("a.jpg", "\ud800")])
def test_a_name_that_is_no_utf8_is_refused_before_anything_is_stored(milvus, one, path, label):
    with pytest.raises(TutorialError, match=r"The name '.*\\ud.* is not valid UTF-8: rename it"):
        vector_store.store(milvus, one, IDS[:1], VECTORS[:1], [path], [{label}])
    assert vector_store.count(milvus, one) == 0


def test_what_the_server_refuses_is_one_sentence(milvus):
    with pytest.raises(TutorialError, match="ilvus.* failed "):
        vector_store.upsert(milvus, "nowhere", IDS[:1], VECTORS[:1], PATHS[:1], LABELS[:1])


def test_a_collection_of_an_earlier_version_is_made_again(milvus):
    """It had no digests; and FLAT by L2 costs Milvus Lite queries × rows × dimension of memory."""
    schema, index = milvus.create_schema(), milvus.prepare_index_params()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=16)
    index.add_index("vector", index_type="FLAT", metric_type="L2")
    milvus.create_collection(
        "earlier", schema=schema, index_params=index, properties={vector_store.RECIPE: "{}"}
    )
    vector_store.ensure_collection(milvus, "earlier", 16, description=RECIPE)
    vector_store.store(milvus, "earlier", IDS, VECTORS, PATHS, LABELS)
    there = "IVF_FLAT" if vector_store.is_lite(milvus) else "FLAT"
    assert milvus.describe_index("earlier", "vector")["index_type"] == there
    assert vector_store.index_of(milvus, "earlier") == "FLAT"
    assert vector_store.check_self_first(milvus, "earlier", IDS, VECTORS) == len(IDS)


def test_labels_can_be_negated_and_combined_in_a_filter(milvus, one):
    labels = [["x"], ["x", "y"], ["y"], []]
    vector_store.store(milvus, one, IDS[:4], VECTORS[:4], PATHS[:4], labels)
    for condition, rows in (
        ("ARRAY_CONTAINS(labels, {x}) and not ARRAY_CONTAINS(labels, {y})", [0]),
        ("ARRAY_CONTAINS(labels, {none}) or not ARRAY_CONTAINS(labels, {x})", [2, 3]),
    ):
        names = {"x": "x", "y": "y", "none": "nobody's"}
        [hits] = vector_store.search(
            milvus, one, VECTORS[:1], 4, filter=condition, filter_params=names
        )
        assert sorted(hit.id for hit in hits) == [IDS[row] for row in rows]


def test_only_what_changed_is_sent(milvus, name, monkeypatch):
    sent = []
    upsert = milvus.upsert

    def count(name, rows):
        sent.extend(row["id"] for row in rows)
        return upsert(name, rows)

    monkeypatch.setattr(milvus, "upsert", count)
    vector_store.store(milvus, name, IDS, VECTORS, PATHS, LABELS)
    assert sent == []
    vectors, paths = VECTORS.copy(), PATHS.copy()
    vectors[3], paths[5] = VECTORS[4], "elsewhere.jpg"
    vector_store.store(milvus, name, IDS, vectors, paths, LABELS)
    assert sent == [IDS[3], IDS[5]]
    hits = vector_store.search(milvus, name, vectors[[5]], 1)[0]
    assert [hit.path for hit in hits] == ["elsewhere.jpg"]


@pytest.mark.parametrize(("index_type", "key"), [("IVF_FLAT", "nlist"), ("HNSW", "M")])
def test_the_server_gets_the_parameters_of_the_index(milvus, index_type, key):
    name, rows = f"parameters_{index_type}", 400
    wanted, _ = vector_store.index_parameters(index_type, rows)
    vector_store.ensure_collection(
        milvus, name, 16, description=RECIPE, index_type=index_type, rows=rows
    )
    there = milvus.describe_index(name, "vector")["params"]
    assert there == wanted and there[key] > 1


def test_an_unknown_index_type_is_refused(milvus):
    with pytest.raises(TutorialError, match="'DISKANN' .*FLAT, IVF_FLAT, IVF_SQ8, HNSW"):
        vector_store.ensure_collection(
            milvus, "unknown", 16, description=RECIPE, index_type="DISKANN"
        )
    assert not milvus.has_collection("unknown")


def test_a_vector_that_is_not_finite_is_refused_before_anything_is_stored(milvus, one):
    with pytest.raises(TutorialError, match="NaN"):
        vector_store.store(milvus, one, [7], VECTORS[:1] * np.nan, ["a"], [set()])
    assert vector_store.count(milvus, one) == 0


@pytest.fixture(scope="module")
def redis(services):
    return connect_redis()


def test_paths_round_trip_in_the_order_asked(redis):
    key = path_store.paths_key("coco", embedding_model("vgg16"))
    paths = dict(zip(IDS, [ODD, *PATHS[1:]], strict=True))
    path_store.save_paths(redis, key, paths)
    asked = [9, 7, 8]
    assert list(path_store.load_paths(redis, key, asked).items()) == [(i, paths[i]) for i in asked]
    assert path_store.load_paths(redis, key, np.array(asked)) == {i: paths[i] for i in asked}
    assert path_store.load_paths(redis, key, []) == {}
    assert path_store.count_paths(redis, key) == len(IDS)


def test_saving_paths_replaces_those_of_before(redis):
    redis.flushdb()
    path_store.save_paths(redis, "a:paths", {1: "x", 2: "y"})
    path_store.save_paths(redis, "a:paths", {2: "z"})
    assert redis.keys() == ["a:paths"] and redis.hgetall("a:paths") == {"2": "z"}
    path_store.save_paths(redis, "a:paths", {})
    assert redis.keys() == []


def test_a_missing_path_says_how_to_repair(redis):
    path_store.save_paths(redis, "a:paths", {1: "x"})
    with pytest.raises(TutorialError, match="'a:paths' for 1 of 2 ids.*notebook 03"):
        path_store.load_paths(redis, "a:paths", [1, 5])
