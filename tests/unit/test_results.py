"""`results.json` never mixes datasets and holds numbers."""

import json
from pathlib import Path

import numpy as np
import pytest

from helpers import results
from helpers.datasets import ImageDataset, ImageRecord
from helpers.settings import TutorialError


@pytest.fixture(autouse=True)
def build(tmp_path, monkeypatch):
    monkeypatch.setenv("BUILD_DIR", str(tmp_path))


def dataset(slug: str, *ids: int) -> ImageDataset:
    records = [ImageRecord(id_, Path(f"{id_}.jpg"), frozenset({"cat"})) for id_ in ids or (1,)]
    return ImageDataset(slug, slug, tuple(records))


def test_sections_accumulate_and_numpy_numbers_become_plain():
    results.record(dataset("a"), "search", {"overlap_at_10": np.float64(0.5)})
    results.record(dataset("a"), "store", {"vgg16": {"vectors": np.int64(3)}})
    found = json.loads(results.results_path().read_text())
    assert found["search"] == {"overlap_at_10": 0.5} and found["store"]["vgg16"]["vectors"] == 3
    about = {"name": "a", "slug": "a", "photos": 1, "categories": 1, "skipped": 0}
    about["skipped_by_reason"] = {}
    assert about.items() <= found["dataset"].items()
    assert found["environment"]["onnxruntime"]


def test_another_dataset_starts_afresh():
    results.record(dataset("a"), "search", {"overlap_at_10": 0.5})
    results.record(dataset("b"), "store", {})
    assert "search" not in results.load_results()


def test_other_photos_in_the_same_folder_start_afresh():
    for ids in ((1, 2), (1, 3)):
        results.record(dataset("a", *ids), "search", {"overlap_at_10": 0.5})
        results.record(dataset("a", *ids), "store", {})
        assert {"search", "store"} <= set(results.load_results())
    results.record(dataset("a", 1, 2), "store", {})
    assert "search" not in results.load_results()


@pytest.mark.parametrize("content", ["{", "[]"])
def test_a_damaged_file_is_named(content):
    results.results_path().write_text(content)
    with pytest.raises(TutorialError, match="results.json"):
        results.load_results()
