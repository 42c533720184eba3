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


def dataset(slug: str) -> ImageDataset:
    return ImageDataset(slug, slug, (ImageRecord(1, Path("a.jpg"), frozenset({"cat"})),))


def test_sections_accumulate_and_numpy_numbers_become_plain():
    results.record(dataset("a"), "search", {"overlap_at_10": np.float64(0.5)})
    results.record(dataset("a"), "store", {"vgg16": {"vectors": np.int64(3)}})
    found = json.loads(results.results_path().read_text())
    assert found["search"] == {"overlap_at_10": 0.5} and found["store"]["vgg16"]["vectors"] == 3
    assert found["dataset"] == {
        "name": "a", "slug": "a", "photos": 1, "categories": 1, "skipped": 0,
    }  # fmt: skip
    assert found["environment"]["onnxruntime"]


def test_another_dataset_starts_afresh():
    results.record(dataset("a"), "search", {"overlap_at_10": 0.5})
    results.record(dataset("b"), "store", {})
    assert "search" not in results.load_results()


def test_a_damaged_file_is_named():
    results.results_path().write_text("{")
    with pytest.raises(TutorialError, match="results.json"):
        results.load_results()
