"""Feature maps of the real network: pooled they are the vectors, split they are the similarity."""

import shutil
import sys

import numpy as np
import pytest

from helpers import extraction
from helpers.datasets import open_dataset
from helpers.models import Recipe
from helpers.settings import ROOT
from helpers.study import explanation, recipes

sys.path.append(str(ROOT / "tools"))
import measure_recipes  # noqa: E402


@pytest.fixture(scope="module")
def maps(onnx_files, photos):
    return extraction.feature_maps(onnx_files["vgg16"], photos)


def test_pooled_maps_are_the_vectors(maps, onnx_files, photos):
    vectors = np.concatenate(list(extraction.embed(onnx_files["vgg16"], photos)))
    assert maps.shape == (len(photos), 7, 7, 512) and maps.dtype == np.float32
    pooled = np.stack([explanation.pool(found, "max") for found in maps])
    pooled /= np.linalg.norm(pooled, axis=1, keepdims=True)
    np.testing.assert_allclose(pooled, vectors, atol=1e-5)


@pytest.mark.parametrize("pooling", ["max", "average", "gem"])
def test_both_splits_add_up_to_the_cosine(maps, pooling):
    a, b = (explanation.pool(found, pooling) for found in maps[:2])
    cosine = a @ b / (np.linalg.norm(a) * np.linalg.norm(b))
    for places in explanation.similarity_maps(*maps[:2], pooling):
        assert places.shape == (7, 7)
        assert places.sum() == pytest.approx(cosine, abs=1e-4)


def test_the_whole_photo_as_a_region_is_the_photo(maps, onnx_files, photos):
    [vector] = extraction.embed(onnx_files["vgg16"], photos[:1])
    everywhere = np.ones(maps.shape[1:3], bool)
    region = explanation.region_vector(maps[0], everywhere, "max")
    np.testing.assert_allclose(region, vector[0], atol=1e-5)


@pytest.mark.parametrize("pooling", recipes.POOLINGS)
def test_the_study_of_recipes_pools_as_the_models_do(
    maps, onnx_files, photos, pooling, tmp_path, monkeypatch
):
    monkeypatch.setenv("BUILD_DIR", str(tmp_path))
    recipe = Recipe(224, "nearest", False, pooling)
    found = recipes.recipe_vectors(onnx_files["vgg16"], photos, recipe)
    pooled = np.stack([explanation.pool(each, pooling) for each in maps])
    pooled /= np.linalg.norm(pooled, axis=1, keepdims=True)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, pooled, atol=1e-5)


def test_a_study_goes_on_where_it_stopped(onnx_files, photos, tmp_path, monkeypatch):
    for number, photo in enumerate((*photos, *photos)):
        folder = tmp_path / "photos" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(photo, folder / f"{number}.jpg")
    monkeypatch.setenv("BUILD_DIR", str(tmp_path / "build"))
    monkeypatch.setattr(measure_recipes, "onnx_model", onnx_files.get)
    monkeypatch.setattr(recipes, "RECIPES", recipes.RECIPES[:6])
    dataset, told = open_dataset(tmp_path / "photos"), []

    def stop_at_the_third(line):
        told.append(line)
        if len(told) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure_recipes.measure(dataset, stop_at_the_third)
    assert told[0].strip().startswith("1/6  ResNet50, 224 nearest squash")
    computed = []
    ways = recipes.unit_poolings
    monkeypatch.setattr(recipes, "unit_poolings", lambda *args: computed.append(1) or ways(*args))
    study = measure_recipes.measure(dataset, told.append)
    once = len(computed)
    assert once and measure_recipes.measure(dataset, told.append) == study and len(computed) == once
    scores = recipes.scores(study, "vgg16")
    assert scores.shape == (10, 6) and scores.notna().all().all()
    assert study["dataset"]["photos"] == study["dataset"]["of_photos"] == 10
