"""Photos in, ranked photos out, through real Milvus Lite and real Redis."""

import shutil

import numpy as np
import pytest

from helpers import path_store, plots, search, vector_store
from helpers.datasets import open_dataset
from helpers.hits import ranking_rows
from helpers.images import thumbnail
from helpers.models import embedding_model
from helpers.services import connect_milvus, connect_redis
from helpers.settings import TutorialError, resolve


@pytest.fixture(scope="module")
def folder(tmp_path_factory, photos):
    folder = tmp_path_factory.mktemp("mine")
    for number, photo in enumerate(photos):
        (folder / f"label{number % 2}").mkdir(exist_ok=True)
        shutil.copy(photo, folder / f"label{number % 2}" / f"photo {number}.jpg")
    return folder


@pytest.fixture
def clients(services):
    return {"milvus": connect_milvus(), "redis": connect_redis()}


@pytest.fixture
def stores(folder, clients, onnx_files, monkeypatch):
    """Both models' stores; the converted models come from the common build folder."""
    monkeypatch.setattr(search, "ensure_onnx", lambda model: onnx_files[model.name])
    dataset = open_dataset(folder)
    return dataset, {
        name: search.store_dataset(dataset, embedding_model(name), **clients)
        for name in ("resnet50", "vgg16")
    }


def test_a_query_is_not_its_own_answer_and_paths_lead_to_photos(stores):
    dataset, both = stores
    ids = [record.id for record in dataset]
    for store in both.values():
        found = search.search_stored(store, store.vectors, 10, exclude=ids)
        for id_, hits in zip(ids, found, strict=True):
            assert len(hits) == len(dataset) - 1 and id_ not in {hit.id for hit in hits}
            assert [hit.rank for hit in hits] == list(range(1, len(dataset)))
            assert [hit.distance for hit in hits] == sorted(hit.distance for hit in hits)
            for hit in hits:
                assert resolve(hit.path) == dataset.by_id[hit.id].path
                assert hit.labels == dataset.by_id[hit.id].labels


def test_results_are_the_exact_neighbours(stores):
    dataset, both = stores
    ids = np.array([record.id for record in dataset])
    for store in both.values():
        exact = 2 - 2 * store.vectors @ store.vectors.T
        found = search.search_stored(store, store.vectors, len(dataset))
        for row, hits in enumerate(found):
            assert [hit.id for hit in hits] == list(ids[np.argsort(exact[row])])
            assert np.allclose([hit.distance for hit in hits], np.sort(exact[row]), atol=1e-4)


def test_rankings_are_rows_of_the_dataset_and_equally_long(stores):
    dataset, both = stores
    store = both["vgg16"]
    found = search.search_stored(store, store.vectors, len(dataset))
    rows = ranking_rows(dataset, found)
    assert np.array_equal(rows[:, 0], np.arange(len(dataset)))
    with pytest.raises(TutorialError, match="fewer photos than others"):
        ranking_rows(dataset, [found[0], found[1][:-1]])


def test_storing_again_changes_nothing(stores, clients):
    dataset, both = stores
    keys = sorted(clients["redis"].keys("*"))
    for name, store in both.items():
        search.store_dataset(dataset, embedding_model(name), **clients)
        assert vector_store.count(clients["milvus"], store.collection) == len(dataset)
        assert path_store.count_paths(clients["redis"], store.paths_key) == len(dataset)
    assert sorted(clients["redis"].keys("*")) == keys


def test_lost_paths_are_reported_and_storing_repairs_them(stores, clients):
    dataset, both = stores
    store = both["vgg16"]
    clients["redis"].delete(store.paths_key)
    with pytest.raises(TutorialError, match="run notebook 03 again"):
        search.search_stored(store, store.vectors[:1], 3)
    search.store_dataset(dataset, embedding_model("vgg16"), **clients)
    assert search.search_stored(store, store.vectors[:1], 3)


def test_each_panel_shows_its_own_models_results(stores):
    """The article shows ResNet50's photos in the VGG16 panel."""
    dataset, both = stores
    query, *_ = dataset.records
    results = {
        store.model.title: search.search_stored(store, store.vectors[:1], 4, exclude=[query.id])[0]
        for store in both.values()
    }
    results["VGG16"] = results["VGG16"][::-1]  # make sure that the two rows differ
    photos = {record.id: record.path for record in dataset}
    figure = plots.side_by_side(query.path, query.labels, results, photos)
    panels = [axes for axes in figure.axes if axes.get_gid()]
    assert len(panels) == sum(map(len, results.values()))
    for title, hits in results.items():
        row = [axes for axes in panels if axes.get_gid().startswith(f"{title}/")]
        for axes, hit in zip(row, hits, strict=True):
            shown = axes.get_images()[0].get_array()
            assert np.array_equal(shown, thumbnail(photos[hit.id], (160, 120)))
            assert f"{hit.distance:.3f}" in axes.get_title()
        assert title in {text.get_text() for text in row[0].texts}


def test_marks_say_which_results_share_a_category(stores):
    dataset, both = stores
    store = both["vgg16"]
    query = dataset.records[0]
    [hits] = search.search_stored(store, store.vectors[:1], 4, exclude=[query.id])
    photos = {record.id: record.path for record in dataset}
    figure = plots.side_by_side(query.path, query.labels, {"VGG16": hits}, photos)
    titles = [axes.get_title() for axes in figure.axes if axes.get_gid()]
    assert [("✓" in title) for title in titles] == [bool(h.labels & query.labels) for h in hits]
