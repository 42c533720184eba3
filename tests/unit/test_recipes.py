"""The committed study of recipes is whole, and the preset `recommended` is what it chose."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from helpers import TutorialError, evaluation, results
from helpers.datasets import open_dataset
from helpers.models import NETWORKS, PRESETS
from helpers.study import recipes


@pytest.fixture(scope="module")
def study():
    return recipes.load_study()


def test_the_committed_study_covers_the_grid_and_every_network(study):
    assert [tuple(each) for each in study["recipes"]] == list(map(recipes.label, recipes.RECIPES))
    assert len(set(map(tuple, study["recipes"]))) == 72
    assert list(study["networks"]) == list(NETWORKS)
    for name, network in NETWORKS.items():
        assert study["networks"][name]["weights_sha256"] == network.weights_sha256
        scores = recipes.scores(study, name)
        assert scores.shape == (study["dataset"]["queries"], 72)
        assert scores.to_numpy().min() >= 0 and scores.to_numpy().max() <= 1
    assert study["dataset"]["photos"] >= 100 and study["date"] and study["environment"]["cpus"]


@pytest.mark.parametrize("name", NETWORKS)
def test_recommended_is_what_the_choosing_half_chose(study, name):
    scores = recipes.scores(study, name)
    choose, _ = evaluation.split_queries(np.arange(len(scores)))
    chosen = recipes.cheapest(scores.loc[choose].mean())
    assert recipes.label(PRESETS["recommended"][name]) == chosen


def test_the_cheapest_recipe_near_the_best_wins():
    index = pd.MultiIndex.from_tuples(map(recipes.label, recipes.RECIPES), names=recipes.LEVELS)
    means = pd.Series(0.5, index)
    means["lanczos", "centre", 448, "max"] = 0.6
    assert recipes.cheapest(means) == ("lanczos", "centre", 448, "max")
    means["nearest", "squash", 320, "gem"] = 0.5951
    means["bicubic", "squash", 320, "gem"] = 0.5952
    means["bicubic", "squash", 224, "gem"] = 0.5949
    assert recipes.cheapest(means) == ("bicubic", "squash", 320, "gem")


def test_ones_own_study_is_shown_beside_the_committed_one(study, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("BUILD_DIR", str(tmp_path))
    dataset = open_dataset("sample")
    assert recipes.studies(dataset) == [study]
    ids = results.about(dataset)["ids_sha256"]
    about = {**study["dataset"], "name": "mine", "of_photos": 5000, "ids_sha256": ids}
    own = {**study, "dataset": about}
    path = recipes.study_path(dataset)
    path.parent.mkdir()
    path.write_text(json.dumps(own))
    assert recipes.studies(dataset) == [study, own] and capsys.readouterr().out == ""
    assert "on mine: 159 of 5000 photos, evenly spread, 159 queries" in recipes.describe(own)
    assert recipes.studies(replace(dataset, records=dataset.records[1:])) == [study]
    assert "was measured on other photos" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["", "{", "[]", json.dumps({"networks": {}})])
def test_a_damaged_study_is_one_sentence(tmp_path, text):
    path = tmp_path / "recipes.json"
    path.write_text(text)
    with pytest.raises(TutorialError, match=r"recipes.json holds no study of recipes: delete it"):
        recipes.load_study(path)


def test_a_network_that_was_not_measured_is_named(study):
    with pytest.raises(
        TutorialError, match="no network 'new', only resnet50, vgg16, efficientnet_lite0"
    ):
        recipes.scores(study, "new")
