"""Every fault, caused for real: nothing lost, nothing doubled, one sentence, and a run repairs it."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from faults import (  # noqa: F401 (fixtures)
    BUILD_DIR,
    RECIPE,
    SAMPLE,
    Stores,
    build,
    error_of,
    finish,
    kill,
    photos,
    python,
    record_fault,
    rows,
    small_disk,
    stores,
    until,
)

from coco_server import ARCHIVE, serve
from helpers import conversion, extraction, path_store, search, vector_store
from helpers.datasets import ImageDataset, fetch_coco, open_dataset
from helpers.models import embedding_model
from helpers.services import connect_milvus

ROWS = 6000

# Downloads ------------------------------------------------------------------------------------


@pytest.fixture
def source(tmp_path) -> Path:
    """The sample as COCO's server has its photos, with an annotation file of 4 MB."""
    folder = tmp_path / "source"
    (folder / "annotations").mkdir(parents=True)
    (folder / "val2017").symlink_to(SAMPLE)
    content = json.loads((SAMPLE.parent / "annotations/instances_sample.json").read_text())
    content["info"] = np.random.default_rng(0).bytes(4_000_000).hex()
    (folder / "annotations/instances_val2017.json").write_text(json.dumps(content))
    return folder


def fetch(server, folder: Path) -> ImageDataset:
    return fetch_coco("all", base_url=server.url, folder=folder, progress=False)


def fetching(server, folder: Path):
    code = f"from helpers.datasets import *; fetch_coco('all', base_url={server.url!r}, "
    return python(f"{code} folder={str(folder)!r}, progress=False)")


def photo_names(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("val2017/*.jpg")}


def assert_fetched(dataset: ImageDataset, source: Path, folder: Path) -> None:
    assert len(dataset) == len(photo_names(source)) and dataset.skipped == ()
    for path in dataset.paths:
        assert path.read_bytes() == (source / "val2017" / path.name).read_bytes()
    assert not list(folder.rglob("*.part"))


def test_killed_in_the_middle_of_a_photo(build, source, tmp_path, record_fault):
    folder = tmp_path / "coco"
    with serve(source) as server:
        last = sorted(photo_names(source))[100]
        server.faults[f"/val2017/{last}"] = ["stalled"]
        process = fetching(server, folder)
        until(lambda: f"GET /val2017/{last}" in server.asked, process)
        until(lambda: len(photo_names(folder)) > 100 and list(folder.rglob("*.part")), process)
        kill(process)
        kept = photo_names(folder)
        assert list(folder.rglob("*.part")) and last not in kept
        server.asked.clear()
        dataset = fetch(server, folder)
        assert set(server.asked) == {f"GET /val2017/{n}" for n in photo_names(source) - kept}
    assert_fetched(dataset, source, folder)
    record_fault(
        fault="Killed while photos are downloaded",
        done="SIGKILL while one photo had half arrived; run again: only the missing ones are asked for",
    )


def test_killed_in_the_middle_of_the_annotations(build, source, tmp_path, record_fault):
    folder = tmp_path / "coco"
    with serve(source) as server:
        server.faults[ARCHIVE] = ["", "stalled"]  # the first request reads the archive's directory
        process = fetching(server, folder)
        until(lambda: any(p.stat().st_size for p in folder.rglob("*.part")), process)
        kill(process)
        assert not list(folder.rglob("*.json"))
        dataset = fetch(server, folder)
    assert_fetched(dataset, source, folder)
    record_fault(
        fault="Killed while the annotations are downloaded",
        done="SIGKILL when 1 MiB of them was on disk; run again",
    )


def test_full_disk_while_downloading(build, source, tmp_path, record_fault):
    folder = tmp_path / "coco"
    with serve(source) as server, small_disk(folder, "9m") as remount:
        message = error_of(lambda: fetch(server, folder))
        assert "'val2017' cannot be written (the disk is full)" in message
        assert 0 < len(photo_names(folder)) < len(photo_names(source))
        remount("size=40m")
        kept = photo_names(folder)
        server.asked.clear()
        dataset = fetch(server, folder)
        assert set(server.asked) == {f"GET /val2017/{n}" for n in photo_names(source) - kept}
        assert_fetched(dataset, source, folder)
    record_fault(
        fault="Disk full while photos are downloaded",
        done="a tmpfs of 9 MB as data folder, enlarged; run again: only the missing are asked for",
        message=message,
    )


def test_read_only_data_folder(build, source, tmp_path, record_fault):
    folder = tmp_path / "coco"
    with serve(source) as server, small_disk(folder, "40m") as remount:
        fetch(server, folder)
        gone = sorted(folder.glob("val2017/*.jpg"))[7]
        gone.unlink()
        remount("ro")
        message = error_of(lambda: fetch(server, folder))
        assert "'val2017' cannot be written (it is read-only)" in message
        remount("rw")
        dataset = fetch(server, folder)
        assert_fetched(dataset, source, folder)
        remount("ro")
        assert fetch(server, folder) == dataset  # complete: only read
    record_fault(
        fault="Read-only data folder",
        done="remounted read-only with one photo missing, then writable again; a complete folder "
        "needs no writing",
        message=message,
    )


# Conversion and extraction ----------------------------------------------------------------------

CONVERT = "from helpers.conversion import onnx_model; onnx_model('vgg16')"


def assert_converted(build: Path, photo: Path) -> None:
    """The file gives the vectors of the one that was converted undisturbed."""
    made = build / "models/vgg16-article-fp32.onnx"
    assert conversion.is_current(made, embedding_model("vgg16"))
    reference = BUILD_DIR / "models" / made.name
    (ours,), (theirs,) = (extraction.embed(path, [photo]) for path in (made, reference))
    assert np.allclose(ours, theirs, atol=1e-6)
    assert {path.suffix for path in made.parent.iterdir()} <= {".onnx", ".lock"}


def test_killed_in_the_middle_of_a_conversion(build, photos, record_fault):
    shutil.rmtree(build / "models")
    process = python(CONVERT)

    def tf2onnx() -> list[psutil.Process]:
        children = psutil.Process(process.pid).children(recursive=True)
        return [child for child in children if "tf2onnx.convert" in child.cmdline()]

    until(tf2onnx, process)
    (orphan,) = tf2onnx()
    kill(process)
    assert not list((build / "models").glob("*.onnx"))
    finish(python(CONVERT))
    orphan.wait(60)
    assert_converted(build, next(photos.rglob("*.jpg")))
    record_fault(
        fault="Killed in the middle of a conversion",
        done="SIGKILL while tf2onnx ran, which goes on without its parent; run again meanwhile",
    )


def test_full_disk_while_converting(build, photos, record_fault):
    shutil.rmtree(build / "models")
    with small_disk(build / "models", "40m") as remount:
        process = python(CONVERT)
        said = process.communicate(timeout=120)[0].strip().splitlines()[-1]
        assert "TutorialError" in said and "the disk is full" in said, said
        remount("size=400m")
        finish(python(CONVERT))
        assert_converted(build, next(photos.rglob("*.jpg")))
    record_fault(
        fault="Disk full while a model is converted",
        done="a tmpfs of 40 MB for the models, enlarged; run again",
        message=said.partition(": ")[2],
    )


def keys_written(build: Path) -> bytes:
    return b"".join(path.read_bytes() for path in build.glob("vectors/resnet50-*/keys"))


def undisturbed(photos: Path) -> np.ndarray:
    paths = open_dataset(photos).paths
    return np.concatenate(list(extraction.embed(BUILD_DIR / "models" / RESNET50, paths)))


RESNET50 = "resnet50-article-fp32.onnx"


def test_killed_in_the_middle_of_an_extraction(build, photos, record_fault):
    dataset, onnx_file = open_dataset(photos), build / "models" / RESNET50
    process = python(
        "from helpers.datasets import open_dataset; from helpers.extraction import extract; "
        f"from pathlib import Path; extract(Path({str(onnx_file)!r}), "
        f"open_dataset({str(photos)!r}).paths, batch_size=4)"
    )
    until(lambda: keys_written(build), process)
    kill(process)
    before = keys_written(build)
    assert 0 < len(before) < len(dataset) * extraction.DIGEST_BYTES
    vectors = extraction.extract(onnx_file, dataset.paths)
    assert np.allclose(vectors, undisturbed(photos), atol=1e-6)
    after = keys_written(build)
    assert after.startswith(before[: len(before) // 32 * 32])
    assert len(after) == len(dataset) * extraction.DIGEST_BYTES
    record_fault(
        fault="Killed in the middle of an extraction",
        done="SIGKILL after the first batches; run again: only the other photos are computed",
    )


def test_full_disk_while_extracting(build, photos, record_fault):
    dataset, onnx_file = open_dataset(photos), build / "models" / RESNET50
    with small_disk(build / "vectors", "200k") as remount:  # 24 of 48 vectors of 8 KiB
        message = error_of(lambda: extraction.extract(onnx_file, dataset.paths))
        assert "the disk is full" in message
        before = keys_written(build)
        assert 0 < len(before) < len(dataset) * extraction.DIGEST_BYTES
        remount("size=4m")
        vectors = extraction.extract(onnx_file, dataset.paths)
        assert np.allclose(vectors, undisturbed(photos), atol=1e-6)
        assert keys_written(build).startswith(before)
    record_fault(
        fault="Disk full while vectors are extracted",
        done="a tmpfs of 200 kB for the vectors, enlarged; run again: the others are computed",
        message=message,
    )
