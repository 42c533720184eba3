"""What must hold for every input: ids and paths, dataset reader, metrics, cache keys."""

import itertools
import json
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pycocotools import mask as coco_mask

from helpers import conversion, datasets, evaluation, path_store, vector_store
from helpers.datasets import open_dataset
from helpers.models import PRESETS, embedding_model
from helpers.services import connect_redis, stop_services
from helpers.settings import ROOT, TutorialError, relative_path, resolve

BUSY = HealthCheck.too_slow  # drawing examples takes over a second: so it may
quick = settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[BUSY])
slow = settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    suppress_health_check=[BUSY, HealthCheck.function_scoped_fixture],
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
file_names = st.text(
    st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=60
).filter(lambda name: name not in {".", ".."})
surrogates = st.text(st.characters(), max_size=60)  # bytes that are no UTF-8 become these


@pytest.fixture(autouse=True)
def build(tmp_path, monkeypatch):
    monkeypatch.setenv("BUILD_DIR", str(tmp_path / "build"))
    yield
    stop_services()


# Ids and paths


@quick
@given(st.sets(surrogates.filter(lambda text: text.isprintable()), min_size=2, max_size=20))
def test_ids_are_positive_63_bit_and_differ_as_the_paths_do(paths):
    ids = {datasets.records.path_id(path) for path in paths}
    assert len(ids) == len(paths) and all(0 <= id_ < 2**63 for id_ in ids)


@quick
@given(st.lists(file_names, min_size=1, max_size=4))
def test_a_stored_path_leads_back_to_the_photo(parts):
    photo = Path("/photos", *parts)
    assert resolve(relative_path(photo)) == photo


@pytest.mark.parametrize("folder", ["~", "~root", "~no-such-user", "a~"])
def test_a_tilde_in_a_stored_path_is_a_letter(folder):
    photo = ROOT / folder / "a.jpg"
    assert resolve(relative_path(photo)) == photo


@quick
@given(st.text(), st.text())
def test_a_value_in_a_filter_stays_one_literal(value, other):
    filled = vector_store._with_literals("path == {a} and path != {b}", {"a": value, "b": other})
    decode = json.JSONDecoder().raw_decode
    value_read, end = decode(filled, len("path == "))
    assert value_read == value
    assert filled[end:].startswith(" and path != ")
    other_read, end = decode(filled, end + len(" and path != "))
    assert other_read == other and end == len(filled)


@slow
@given(st.dictionaries(st.integers(0, 2**63 - 1), surrogates, min_size=1, max_size=20))
def test_paths_come_back_from_redis_under_their_ids(services, paths):
    redis = connect_redis()
    known = {id_: path.encode("utf-8", "replace").decode() for id_, path in paths.items()}
    path_store.save_paths(redis, "property:paths", known)
    assert path_store.load_paths(redis, "property:paths", list(known)) == known
    assert path_store.count_paths(redis, "property:paths") == len(known)


# The dataset reader


@slow
@given(st.data())
def test_an_annotation_file_is_read_whole_or_refused_by_name(data):
    """A valid file with one value replaced by anything: no other error than a TutorialError."""
    content = {
        "images": [{"id": i, "file_name": f"{i}.jpg", "height": 9, "width": 9} for i in (1, 2)],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}],
    }
    section = data.draw(st.sampled_from(sorted(content)))
    if data.draw(st.booleans()):
        content[section] = data.draw(anything)
    else:
        entry = content[section][0]
        entry[data.draw(st.sampled_from(sorted(entry)))] = data.draw(anything)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "instances_val2017.json")
        file.write_text(json.dumps(content))
        try:
            split = datasets.annotations.read_split(file)
        except TutorialError as error:
            assert "'instances_val2017.json'" in str(error)
        else:
            assert set(split.objects) == set(split.labels) == set(split.names)
            assert not any(Path(name).is_absolute() for name in split.names.values())
            assert all(".." not in Path(name).parts for name in split.names.values())


@quick
@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=70)), st.booleans())
def test_run_lengths_give_the_mask_they_were_made_of(mask, compressed):
    """Compressed by pycocotools, and not."""
    runs = {"size": list(mask.shape), "counts": [0] * int(mask[0, 0])}
    if compressed:
        runs["counts"] = coco_mask.encode(np.asfortranarray(mask, np.uint8))["counts"].decode()
    else:
        runs["counts"] += [len(list(run)) for _, run in itertools.groupby(mask.T.ravel())]
    assert np.array_equal(datasets.masks.runs_mask(runs, mask.shape), mask)


@slow
@given(st.sets(file_names.map(lambda name: f"{name}.jpg".lower()), min_size=1, max_size=6))
def test_every_photo_of_a_folder_is_read_once_in_a_stable_order(tmp_path, photos, names):
    names = {name for name in names if len(name.encode()) <= 255 and not name.startswith(".")}
    folder = tmp_path / "p"
    shutil.rmtree(folder, ignore_errors=True)
    for name in names or {"a.jpg"}:
        (folder / name[0].encode().hex()).mkdir(parents=True, exist_ok=True)
        shutil.copy(photos[0], folder / name[0].encode().hex() / name)
    first, second = open_dataset(folder), open_dataset(folder)
    assert first == second and len(first) == len(names or {"a.jpg"})
    assert {path.name for path in first.paths} == (names or {"a.jpg"})
    relative = [path.relative_to(folder).as_posix() for path in first.paths]
    assert relative == sorted(relative)
    assert len({record.id for record in first}) == len(first)


# The metrics


@st.composite
def judged(draw):
    """Rankings of 12 photos for 4 queries, and labels."""
    labels = draw(st.lists(st.frozensets(st.sampled_from("abcd")), min_size=12, max_size=12))
    queries = np.arange(4)
    order = [draw(st.permutations([n for n in range(12) if n != query])) for query in queries]
    return np.array(order), labels, queries, draw(st.integers(1, 11))


@quick
@given(judged())
def test_metrics_lie_within_their_bounds(case):
    rankings, labels, queries, k = case
    for metric in ("p", "map", "ndcg"):
        values = evaluation.per_query(metric, rankings, labels, queries, k)
        assert ((values >= 0) & (values <= 1 + 1e-9)).all()
    shared = evaluation.per_query("acg", rankings, labels, queries, k)
    assert ((shared >= 0) & (shared <= 4)).all()


@quick
@given(judged())
def test_the_best_ranking_scores_one_and_no_ranking_scores_more(case):
    rankings, labels, queries, k = case
    for metric, (gain, function) in evaluation.METRICS.items():
        gains = evaluation.relevance(labels, queries, gain)
        own = np.where(np.arange(12) == queries[:, None], -1, gains)
        best = function(np.argsort(-own, axis=1, kind="stable")[:, :11], gains, k)
        assert (function(rankings, gains, k) <= best + 1e-9).all()
        if metric in ("map", "ndcg"):
            assert np.allclose(best[gains.max(axis=1) > 0], 1)


@quick
@given(judged(), st.integers(0, 9))
def test_moving_a_better_photo_up_never_lowers_a_metric(case, place):
    rankings, labels, queries, k = case
    for gain, function in evaluation.METRICS.values():
        gains = evaluation.relevance(labels, queries, gain)
        upper, lower = rankings[:, place], rankings[:, place + 1]
        better = gains[queries, lower] > gains[queries, upper]
        swapped = rankings.copy()
        swapped[better, place], swapped[better, place + 1] = lower[better], upper[better]
        assert (function(swapped, gains, k) >= function(rankings, gains, k) - 1e-9).all()


@quick
@given(judged(), st.permutations(range(12)))
def test_metrics_do_not_depend_on_the_numbering_of_the_photos(case, names):
    rankings, labels, queries, k = case
    names = np.array(names)
    renamed = [labels[row] for row in np.argsort(names)]
    for metric in evaluation.METRICS:
        before = evaluation.per_query(metric, rankings, labels, queries, k)
        after = evaluation.per_query(metric, names[rankings], renamed, names[queries], k)
        assert np.allclose(before, after)


@quick
@given(judged(), judged())
def test_agreement_is_symmetric_bounded_and_one_with_itself(first, second):
    a, b, k = first[0], second[0], first[3]
    for measure in (evaluation.overlap_at_k, evaluation.rank_biased_overlap):
        ab, ba = measure(a, b, k), measure(b, a, k)
        assert np.allclose(ab, ba) and ((ab >= 0) & (ab <= 1 + 1e-9)).all()
        assert np.allclose(measure(a, a, k), 1)


# The cache keys

fields = st.fixed_dictionaries(
    {
        "input_size": st.integers(32, 512),
        "resize": st.sampled_from(["nearest", "bilinear", "bicubic", "lanczos"]),
        "crop": st.booleans(),
        "pooling": st.sampled_from(["max", "average", "gem"]),
    }
)


@quick
@given(fields, fields)
def test_cache_keys_are_equal_exactly_when_the_recipes_are(one, other):
    model = embedding_model("vgg16")
    models = [replace(model, recipe=replace(model.recipe, **each)) for each in (one, other)]
    keys = [conversion.cache_key(each) for each in models]
    assert (keys[0] == keys[1]) == (one == other)
    assert all(len(key) == 64 and int(key, 16) >= 0 for key in keys)


@quick
@given(st.text("0123456789abcdef", min_size=64, max_size=64))
def test_other_weights_have_another_cache_key(digest):
    model = embedding_model("vgg16")
    other = replace(model, network=replace(model.network, weights_sha256=digest))
    same = digest == model.network.weights_sha256
    assert (conversion.cache_key(other) == conversion.cache_key(model)) == same


names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)


@quick
@given(st.lists(names, min_size=2, max_size=8, unique=True))
def test_collections_of_different_datasets_have_different_legal_names(slugs):
    """Datasets' slugs are [a-z0-9_]; where other characters come, a digest keeps names apart."""
    made = [vector_store.collection_name(slug, embedding_model("vgg16", preset))
            for slug in slugs for preset in PRESETS]  # fmt: skip
    plain = {vector_store.collection_name(slug.replace("-", "_"), embedding_model("vgg16", preset))
             for slug in slugs for preset in PRESETS}  # fmt: skip
    assert len(set(made)) == len(plain)
    assert all(name.isascii() and name.isidentifier() for name in made)
