"""Extraction: the article's vectors, each computed once."""

import shutil

import numpy as np
import onnx
import pytest

from helpers import extraction, sessions
from helpers.settings import TutorialError
from helpers.vector_cache import DIGEST_BYTES


@pytest.fixture
def onnx_path(onnx_files):
    return onnx_files["vgg16"]


@pytest.fixture
def build(tmp_path, monkeypatch):
    monkeypatch.setenv("BUILD_DIR", str(tmp_path / "build"))
    return tmp_path / "build"


@pytest.fixture
def counted(monkeypatch):
    """The photos that were really decoded, for the network to see."""
    passed = []
    load_pixels = extraction.load_pixels

    def count(path, *preparation):
        passed.append(path)
        return load_pixels(path, *preparation)

    monkeypatch.setattr(extraction, "load_pixels", count)
    return passed


@pytest.fixture
def photo_by_photo(monkeypatch):
    monkeypatch.setattr(extraction, "BATCH_SIZE", 1)


def test_rows_follow_paths_and_have_length_one(onnx_path, build, photos, monkeypatch):
    monkeypatch.setattr(extraction, "BATCH_SIZE", 2)
    vectors = extraction.extract(onnx_path, photos)
    assert vectors.shape == (len(photos), 512) and vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    monkeypatch.setattr(extraction, "BATCH_SIZE", 3)
    backwards = extraction.extract(onnx_path, photos[::-1])
    assert np.array_equal(backwards[::-1], vectors)


def test_batches_do_not_change_vectors(onnx_path, photos):
    together = np.concatenate(list(extraction.embed(onnx_path, photos, batch_size=8)))
    alone = np.concatenate(list(extraction.embed(onnx_path, photos, batch_size=1)))
    assert np.allclose(together, alone, atol=1e-6)


def test_only_what_changed_is_computed(onnx_path, build, photos, tmp_path, counted):
    mine = [tmp_path / f"{number}.jpg" for number in range(len(photos))]
    for source, target in zip(photos, mine, strict=True):
        shutil.copy(source, target)
    before = extraction.extract(onnx_path, mine)
    assert len(counted) == len(mine)
    renamed = mine[0].rename(tmp_path / "renamed.jpg")
    shutil.copy(photos[2], mine[1])
    after = extraction.extract(onnx_path, [renamed, *mine[1:]])
    assert len(counted) == len(mine), "a renamed photo and a known content cost nothing"
    assert np.array_equal(after[0], before[0]) and np.array_equal(after[1], before[2])


def test_a_photo_that_occurs_twice_is_computed_once(onnx_path, build, photos, counted):
    vectors = extraction.extract(onnx_path, [photos[0], photos[1], photos[0]])
    assert len(counted) == 2 and np.array_equal(vectors[0], vectors[2])


@pytest.mark.usefixtures("photo_by_photo")
def test_an_interrupted_run_goes_on_where_it_stopped(onnx_path, build, photos, counted):
    whole = extraction.extract(onnx_path, photos)
    [keys] = build.rglob("keys")
    with keys.open("r+b") as file:  # killed while the third key was being written
        file.truncate(2 * DIGEST_BYTES + 5)
    counted.clear()
    assert np.allclose(extraction.extract(onnx_path, photos), whole, atol=1e-6)
    assert len(counted) == len(photos) - 2


def test_no_photos(onnx_path, build):
    assert extraction.extract(onnx_path, []).shape == (0, 512)


@pytest.mark.usefixtures("photo_by_photo")
def test_a_broken_photo_is_named_and_the_others_are_kept(
    onnx_path, build, photos, tmp_path, counted
):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"not a photo")
    with pytest.raises(TutorialError, match="broken.jpg"):
        extraction.extract(onnx_path, [*photos, broken])
    counted.clear()
    extraction.extract(onnx_path, photos)
    assert len(counted) <= 2, "what was computed before the broken photo is kept"


def test_a_missing_photo_is_named(onnx_path, build, tmp_path):
    with pytest.raises(TutorialError, match="gone.jpg"):
        extraction.extract(onnx_path, [tmp_path / "gone.jpg"])


def test_a_model_that_does_not_say_how_to_feed_it_is_refused(onnx_path, build, photos, tmp_path):
    proto = onnx.load(onnx_path)
    del proto.metadata_props[:]
    onnx.save(proto, tmp_path / "bare.onnx")
    with pytest.raises(TutorialError, match="bare.onnx"):
        extraction.extract(tmp_path / "bare.onnx", photos)


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_a_provider_that_does_not_load_is_named_and_the_cpu_computes(
    onnx_path, build, photos, monkeypatch, capsys
):
    on_cpu = np.concatenate(list(extraction.embed(onnx_path, photos)))
    sessions._opened.cache_clear()
    available = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(sessions.onnxruntime, "get_available_providers", lambda: available)
    assert np.array_equal(np.concatenate(list(extraction.embed(onnx_path, photos))), on_cpu)
    assert sessions.provider(onnx_path) == "CPU"
    assert capsys.readouterr().out.count("CUDA is installed but does not load") == 1
