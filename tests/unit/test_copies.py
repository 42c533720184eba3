"""Copies of photos, and the threshold that tells them from other photos."""

import numpy as np
import pytest
from PIL import Image

from helpers.images import open_photo
from helpers.study import copies


@pytest.fixture(autouse=True)
def build(tmp_path, monkeypatch):
    monkeypatch.setenv("BUILD_DIR", str(tmp_path / "build"))


def test_every_photo_gets_every_copy_and_each_is_what_it_says(tmp_path):
    ramp = np.linspace(0, 180, 100).astype(np.uint8)
    grey = np.broadcast_to(ramp[None, :, None], (50, 100, 3))
    for name in ("a.png", "b.png"):
        Image.fromarray(grey).save(tmp_path / name)
    paths = copies.write_copies([tmp_path / "a.png", tmp_path / "b.png"])
    assert len(set(paths)) == len(paths) == 2 * len(copies.COPIES)
    for start in (0, len(copies.COPIES)):
        mine = dict(zip(copies.COPIES, paths[start : start + len(copies.COPIES)], strict=True))
        half, rough, crop, mirrored, bright = map(open_photo, mine.values())
        assert (half.size, crop.size, mirrored.size) == ((50, 25), (80, 40), (100, 50))
        assert np.abs(np.asarray(mirrored)[:, ::-1].astype(int) - grey).max() < 12
        assert np.abs(np.asarray(crop).astype(int) - grey[5:45, 10:90]).max() < 12
        assert np.asarray(bright).mean() == pytest.approx(1.4 * grey.mean(), rel=0.02)
        assert 0 < np.abs(np.asarray(rough).astype(int) - grey).max() < 40


def test_a_photo_of_one_pixel_has_copies(tmp_path):
    Image.new("RGB", (1, 1)).save(tmp_path / "dot.png")
    assert {open_photo(path).size for path in copies.write_copies([tmp_path / "dot.png"])} == {
        (1, 1)
    }


def test_precision_and_recall_at_every_threshold():
    same, different = np.array([0.1, 0.1, 0.4]), np.array([0.2, 0.45, 0.9, 2.0])
    table = copies.threshold_table(same, different).round(3)
    assert table["distance"].tolist() == [0.1, 0.2, 0.4, 0.45]
    assert table["precision"].tolist() == [1, 0.667, 0.75, 0.6]
    assert table["recall"].tolist() == [0.667, 0.667, 1, 1]
    harmonic = 2 * table["precision"] * table["recall"] / (table["precision"] + table["recall"])
    assert np.allclose(table["f1"], harmonic, atol=1e-3)


def test_where_copies_and_others_are_apart_the_best_threshold_is_the_farthest_copy():
    table = copies.threshold_table(np.array([0.3, 0.1]), np.array([0.31, 0.5]))
    assert table["distance"][table["f1"].idxmax()] == 0.3
