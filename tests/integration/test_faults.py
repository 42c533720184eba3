"""Faults, caused for real: nothing lost, nothing doubled, one sentence, a run repairs it."""

from __future__ import annotations

import json
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import onnx
import psutil
import pytest
from faults import (  # noqa: F401 (fixtures)
    ARCHIVE,
    BUILD_DIR,
    HANG_SECONDS,
    RECIPE,
    SAMPLE,
    Stores,
    build_fixture,
    error_of,
    finish,
    halted,
    halting,
    kill,
    photos_fixture,
    python,
    record_fault_fixture,
    rows,
    serve,
    small_disk,
    stores_fixture,
    until,
)
from redis import RedisError

from helpers import conversion, extraction, models, path_store, search, services, vector_store
from helpers.datasets import ImageDataset, open_dataset
from helpers.datasets.download import fetch_coco
from helpers.models import embedding_model
from helpers.services import connect_milvus, connect_redis, running_services, stop_services
from helpers.settings import TutorialError
from helpers.vector_cache import DIGEST_BYTES

Result = TypeVar("Result")
ROWS = 3000
# What a real Milvus takes minutes for and shows nothing that the embedded one does not.
EMBEDDED = pytest.mark.parametrize("stores", ["embedded"], indirect=True)
ALSO_REAL_IF_KEPT = pytest.mark.parametrize(
    "stores, keep_data",
    [("embedded", True), ("embedded", False), ("real", True)],
    indirect=["stores"],
    ids=["embedded-data_kept", "embedded-data_lost", "real-data_kept"],
)
KEPT = {True: "kept", False: "lost"}
LOST = {True: "nothing", False: "the server's data, which running again restored"}

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
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("COCO_BASE_URL", server.url)
        environment.setenv("DATA_DIR", str(folder.parent))
        return fetch_coco(everything=True)


def fetching(server, folder: Path):
    settings = {"COCO_BASE_URL": server.url, "DATA_DIR": str(folder.parent)}
    code = f"import os; os.environ.update({settings!r}); "
    return python(
        f"{code}from helpers.datasets.download import fetch_coco; fetch_coco(everything=True)"
    )


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
        done="SIGKILL while half a photo had arrived; run again: only the missing are asked for",
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
    orphan.wait(HANG_SECONDS)
    assert_converted(build, next(photos.rglob("*.jpg")))
    record_fault(
        fault="Killed in the middle of a conversion",
        done="SIGKILL while tf2onnx ran, which goes on without its parent; run again meanwhile",
    )


def test_full_disk_while_converting(build, photos, record_fault):
    shutil.rmtree(build / "models")
    with small_disk(build / "models", "40m") as remount:
        process = python(CONVERT)
        said = process.communicate(timeout=HANG_SECONDS)[0].strip().splitlines()[-1]
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
        "from helpers.datasets import open_dataset; from helpers import extraction as e; "
        "from pathlib import Path; from faults import halting; "
        "e.VectorCache.append = halting(3, e.VectorCache.append); "
        f"e.extract(Path({str(onnx_file)!r}), open_dataset({str(photos)!r}).paths)"
    )
    until(lambda: halted(process), process)
    kill(process)
    before = keys_written(build)
    assert 0 < len(before) < len(dataset) * DIGEST_BYTES
    vectors = extraction.extract(onnx_file, dataset.paths)
    assert np.allclose(vectors, undisturbed(photos), atol=1e-6)
    after = keys_written(build)
    assert after.startswith(before[: len(before) // 32 * 32])
    assert len(after) == len(dataset) * DIGEST_BYTES
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
        assert 0 < len(before) < len(dataset) * DIGEST_BYTES
        remount("size=4m")
        vectors = extraction.extract(onnx_file, dataset.paths)
        assert np.allclose(vectors, undisturbed(photos), atol=1e-6)
        assert keys_written(build).startswith(before)
    record_fault(
        fault="Disk full while vectors are extracted",
        done="a tmpfs of 200 kB for the vectors, enlarged; run again: the others are computed",
        message=message,
    )


# Milvus and Redis -------------------------------------------------------------------------------


@pytest.fixture
def known_vectors(build) -> None:
    """The sample's vectors as extracted before, so that storing does not wait for the network."""
    for folder in (BUILD_DIR / "vectors").glob("resnet50-article-*"):
        shutil.copytree(folder, build / "vectors" / folder.name)


def stored(stores: Stores, dataset: ImageDataset) -> search.StoredModel:
    return search.store_dataset(dataset, embedding_model("resnet50"), **stores.clients)


def again(stores: Stores, action: Callable[[], Result]) -> Result:
    """Run again what failed, and that again where a real server refuses.

    A Milvus that was killed waits for its former self's session to end and may refuse to flush
    until then.
    """
    deadline = time.monotonic() + HANG_SECONDS
    while True:
        try:
            return action()
        except TutorialError:
            if stores.kind == "embedded" or time.monotonic() > deadline:
                raise
        time.sleep(0.5)


def assert_whole(store: search.StoredModel, dataset: ImageDataset) -> None:
    """Every photo once in both stores, found by its vector under its path."""
    ids = [record.id for record in dataset]
    assert vector_store.count(store.milvus, store.collection) == len(dataset)
    assert path_store.count_paths(store.redis, store.paths_key) == len(dataset)
    assert vector_store.check_self_first(store.milvus, store.collection, ids, store.vectors)
    found = search.search_stored(store, store.vectors, len(dataset))
    for hits in found:
        assert sorted(hit.id for hit in hits) == sorted(ids)
        assert all(search.relative_path(dataset.by_id[hit.id].path) == hit.path for hit in hits)


def store_rows(client, version: str = "new") -> None:
    vector_store.ensure_collection(client, "rows", 64, description=RECIPE)
    vector_store.store(client, "rows", *rows(ROWS, version))


def storing_rows():
    """A process that replaces the rows, ten a call, and stops itself in one of these calls."""
    process = python(
        "import test_faults; from helpers import vector_store as v; v.BATCH_ROWS = 10; "
        "from helpers.services import MilvusClient as c, connect_milvus; "
        "c.upsert = test_faults.halting(100, c.upsert); "
        "test_faults.store_rows(connect_milvus(), 'new')"
    )
    until(lambda: halted(process), process)
    return process


def assert_rows(client, version: str = "new") -> None:
    ids, vectors, paths, _ = rows(ROWS, version)
    assert vector_store.count(client, "rows") == ROWS
    assert vector_store.check_self_first(client, "rows", ids[::20], vectors[::20])
    for hits in vector_store.search(client, "rows", vectors[::20], 1):
        assert hits[0].path == paths[hits[0].id - 1]


def count_rows(client, version: str = "") -> int:
    if not client.has_collection("rows"):
        return 0
    found = client.query(
        "rows", filter=f'path like "{version}%"', output_fields=["count(*)"],
        consistency_level="Strong",
    )  # fmt: skip
    return found[0]["count(*)"]


def test_killed_in_the_middle_of_an_insert(stores, record_fault):
    client = connect_milvus()
    store_rows(client, "old")
    process = storing_rows()
    kill(process)
    changed = count_rows(client, "new")
    assert 0 < changed < ROWS and vector_store.count(client, "rows") == ROWS
    store_rows(client)
    assert_rows(client)
    client.drop_collection("rows")
    record_fault(
        fault=f"Killed in the middle of an insert ({stores.kind} Milvus)",
        done=f"{ROWS} rows stored, SIGKILL while they were replaced; no row is missing; run again",
    )


DIES_BETWEEN = """
import os, signal
from helpers import path_store, search, services
from helpers.datasets import open_dataset
from helpers.models import embedding_model
path_store.save_paths = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
clients = {{"milvus": services.connect_milvus(), "redis": services.connect_redis()}}
search.store_dataset(open_dataset({folder!r}), embedding_model("resnet50"), **clients)
"""


def die_between_the_stores(folder: Path) -> None:
    process = python(DIES_BETWEEN.format(folder=str(folder)))
    output, _ = process.communicate(timeout=HANG_SECONDS)
    assert process.returncode == -signal.SIGKILL, output


def test_killed_between_the_stores_a_vector_without_a_path(
    stores, photos, known_vectors, record_fault
):
    dataset = open_dataset(photos)
    first = stored(stores, replace(dataset, records=dataset.records[:40]))
    die_between_the_stores(photos)
    assert vector_store.count(first.milvus, first.collection) == 48
    assert path_store.count_paths(first.redis, first.paths_key) == 40
    message = error_of(lambda: search.search_stored(first, first.vectors, 48))
    assert "Redis has no path" in message and "run notebook 03 again" in message
    assert_whole(stored(stores, dataset), dataset)
    record_fault(
        fault=f"Killed between the stores: vectors without paths ({stores.kind})",
        done="SIGKILL after Milvus had 8 more photos and before Redis had; run again",
        message=message,
    )


def test_killed_between_the_stores_a_path_without_a_vector(
    stores, photos, known_vectors, record_fault
):
    before = stored(stores, open_dataset(photos))
    for photo in sorted(photos.rglob("*.jpg"))[:8]:
        photo.unlink()
    dataset = open_dataset(photos)
    die_between_the_stores(photos)
    assert vector_store.count(before.milvus, before.collection) == 40
    assert path_store.count_paths(before.redis, before.paths_key) == 48
    ids = {record.id for record in dataset}
    found = search.search_stored(before, before.vectors, 48)
    assert all({hit.id for hit in hits} == ids for hits in found)  # no removed photo is found
    assert_whole(stored(stores, dataset), dataset)
    record_fault(
        fault=f"Killed between the stores: paths without vectors ({stores.kind})",
        done="8 photos removed, SIGKILL after Milvus had forgotten them and before Redis had; "
        "searches find only what is there; run again",
    )


def test_killed_in_the_middle_of_the_mapping(stores, record_fault):
    redis = stores.clients["redis"]
    old = {id_: f"old/{id_}.jpg" for id_ in range(1000)}
    path_store.save_paths(redis, "rows:paths", old)
    new = "{id_: 'new/' + 'x' * 200 + str(id_) for id_ in range(50_000)}"
    others = {client["id"] for client in redis.client_list()}
    process = python(
        "from helpers import path_store, services; redis = services.connect_redis(); "
        f"print('connected', flush=True); path_store.save_paths(redis, 'rows:paths', {new})"
    )
    assert process.stdout.readline() == "connected\n"
    with stores.frozen("redis"):
        until(lambda: waits(process), process)  # 10 MB do not fit into the connection's buffers
        kill(process)
    until(lambda: {client["id"] for client in redis.client_list()} <= others)
    assert redis.hgetall("rows:paths") == {str(id_): path for id_, path in old.items()}
    path_store.save_paths(redis, "rows:paths", {1: "new/1.jpg"})
    assert redis.hgetall("rows:paths") == {"1": "new/1.jpg"}
    redis.delete("rows:paths")
    record_fault(
        fault=f"Killed in the middle of the Redis mapping ({stores.kind})",
        done="SIGKILL while 50 000 paths were sent to replace 1 000: one transaction, so the "
        "1 000 are all there; run again",
    )


def waits(process) -> bool:
    """Whether the process sleeps and has used no CPU time for 0.3 s."""
    observed = psutil.Process(process.pid)
    before = observed.cpu_times()
    time.sleep(0.3)
    return observed.status() == psutil.STATUS_SLEEPING and observed.cpu_times() == before


@pytest.mark.parametrize("keep_data", [True, False], ids=["data_kept", "data_lost"])
def test_milvus_stops_during_an_insert(stores, keep_data, record_fault):
    client = connect_milvus()
    store_rows(client, "old")
    process = storing_rows()
    assert 0 < count_rows(client, "new") < ROWS
    stores.kill("milvus")
    process.send_signal(signal.SIGCONT)
    said = process.communicate(timeout=HANG_SECONDS)[0].strip().splitlines()
    assert process.returncode == 1 and "TutorialError" in said[-1], "\n".join(said)
    assert not [line for line in said if "MilvusException" in line]
    stores.restart("milvus", keep_data=keep_data)
    client = connect_milvus()
    if keep_data:
        client.load_collection("rows")
        assert vector_store.count(client, "rows") == ROWS
    else:
        assert not client.has_collection("rows")
    again(stores, lambda: store_rows(client))
    assert_rows(client)
    client.drop_collection("rows")
    record_fault(
        fault=f"Milvus stops during an insert ({stores.kind}, data {KEPT[keep_data]})",
        lost=LOST[keep_data],
        done=f"SIGKILL to the server while {ROWS} rows were replaced; restarted; run again",
        message=said[-1].partition("TutorialError: ")[2],
    )


@ALSO_REAL_IF_KEPT
@pytest.mark.parametrize("name", ["milvus", "redis"])
def test_a_server_stops_during_a_search(
    stores, name, keep_data, photos, known_vectors, record_fault
):
    dataset = open_dataset(photos)
    store = stored(stores, dataset)
    stores.kill(name)
    message = error_of(lambda: search.search_stored(store, store.vectors, 10))
    assert name in message.lower() and "run the notebook again" in message
    assert ("memory runs out" in message) == (stores.kind == "embedded")
    stores.restart(name, keep_data=keep_data)
    assert_whole(again(stores, lambda: stored(stores, dataset)), dataset)
    record_fault(
        fault=f"{name.capitalize()} stops during a search ({stores.kind}, data {KEPT[keep_data]})",
        lost=LOST[keep_data],
        done="SIGKILL to the server between two searches; restarted; run again",
        message=message,
    )


@pytest.mark.parametrize("name", ["milvus", "redis"])
def test_a_server_freezes_during_a_search(
    stores, name, photos, known_vectors, monkeypatch, record_fault
):
    """The clients give up after a minute or two; here after seconds."""
    dataset = open_dataset(photos)
    with monkeypatch.context() as impatient:
        impatient.setattr(services, "CONNECT_SECONDS", 5)
        impatient.setattr(services, "ANSWER_SECONDS", 5)
        impatient.setenv("MILVUS_TOKEN", "any:one")  # else pymilvus takes an earlier connection
        store = stored(stores, dataset)
    with stores.frozen(name):
        message = error_of(lambda: search.search_stored(store, store.vectors, 10))
    assert name in message.lower() and "run the notebook again" in message
    assert "memory" not in message  # a server that is there but does not answer is another thing
    thawed = "SIGCONT after the message"
    if stores.kind == "real" and name == "milvus":  # has dropped out of its own register by then
        stores.kill(name)
        stores.restart(name)
        thawed = "after the message killed and restarted"
    assert_whole(again(stores, lambda: stored(stores, dataset)), dataset)
    record_fault(
        fault=f"{name.capitalize()} freezes during a search ({stores.kind})",
        done=f"SIGSTOP to the server, {thawed}; run again",
        message=message,
    )


@ALSO_REAL_IF_KEPT
def test_redis_stops_during_an_insert(
    stores, keep_data, photos, known_vectors, monkeypatch, record_fault
):
    dataset = open_dataset(photos)
    save_paths = path_store.save_paths

    def killed_before(*arguments) -> None:
        stores.kill("redis")
        save_paths(*arguments)

    with monkeypatch.context() as insert:
        insert.setattr(path_store, "save_paths", killed_before)
        message = error_of(lambda: stored(stores, dataset))
    assert "redis" in message.lower() and "run the notebook again" in message
    stores.restart("redis", keep_data=keep_data)
    assert_whole(stored(stores, dataset), dataset)
    record_fault(
        fault=f"Redis stops during an insert ({stores.kind}, data {KEPT[keep_data]})",
        lost=LOST[keep_data],
        done="SIGKILL to the server after Milvus had the vectors and before it had the paths; "
        "restarted; run again",
        message=message,
    )


def test_redis_is_flushed_while_milvus_keeps_its_rows(stores, photos, known_vectors, record_fault):
    dataset = open_dataset(photos)
    store = stored(stores, dataset)
    store.redis.flushall()
    message = error_of(lambda: search.search_stored(store, store.vectors, 10))
    assert "Redis has no path" in message and "run notebook 03 again" in message
    assert_whole(stored(stores, dataset), dataset)
    record_fault(
        fault=f"Redis flushed while Milvus keeps its rows ({stores.kind})",
        done="FLUSHALL; run again",
        message=message,
    )


@EMBEDDED
def test_full_disk_while_inserting(stores, build, monkeypatch, record_fault):
    monkeypatch.setattr(vector_store, "BATCH_ROWS", 100)
    with small_disk(build / "milvus", "2m") as remount:
        message = error_of(lambda: store_rows(connect_milvus()))
        remount("size=200m")
        store_rows(connect_milvus())
        assert_rows(connect_milvus())
        stop_services()
        client = connect_milvus()  # what was written survives a restart
        client.load_collection("rows")
        assert_rows(client)
        stop_services()
    record_fault(
        fault="Disk full while Milvus inserts",
        done=f"a tmpfs of 2 MB for Milvus Lite's data, enlarged; {ROWS} rows stored; restarted",
        message=message,
    )


@EMBEDDED
def test_full_disk_while_mapping(stores, build, record_fault):
    old = {id_: f"old/{id_}.jpg" for id_ in range(100)}
    new = {id_: f"new/{'x' * 200}{id_}.jpg" for id_ in range(10_000)}
    with small_disk(build / "redis", "1m") as remount:
        path_store.save_paths(connect_redis(), "rows:paths", old)
        redis = connect_redis()

        def write_until_full() -> None:
            deadline = time.monotonic() + HANG_SECONDS
            while time.monotonic() < deadline:  # Redis notices when it writes its file
                path_store.save_paths(redis, "rows:paths", new)
                time.sleep(0.1)

        message = error_of(write_until_full)
        remount("size=100m")
        until(lambda: accepts(redis))
        path_store.save_paths(connect_redis(), "rows:paths", new)
        stores.kill("redis")
        assert connect_redis().hlen("rows:paths") == len(new)
        stop_services()
    record_fault(
        fault="Disk full while Redis maps ids to paths",
        done="a tmpfs of 1 MB for Redis' data, enlarged; 10 000 paths saved again; restarted",
        message=message,
    )


def accepts(redis) -> bool:
    try:
        return redis.set("probe", 1)
    except RedisError:
        return False


STORE = """
import sys
from helpers import search, services
from helpers.datasets import open_dataset
from helpers.models import embedding_model
clients = {{"milvus": services.connect_milvus(), "redis": services.connect_redis()}}
print("connected", flush=True)
sys.stdin.readline()
search.store_dataset(open_dataset({folder!r}), embedding_model("resnet50"), **clients)
"""


DIES_STARTING = """
import os, signal
from helpers import embedded, services
embedded.time.sleep = lambda _: os.kill(os.getpid(), signal.SIGKILL)
services.connect_{name}()
"""


def servers_on(folder: Path) -> list[int]:
    """The pids of the embedded servers whose data lie there."""
    found = psutil.process_iter(["cmdline"])
    return [one.pid for one in found if str(folder) in " ".join(one.info["cmdline"] or [])]


@pytest.mark.parametrize("name", ["milvus", "redis"])
def test_killed_while_an_embedded_server_starts(build, name, record_fault):
    connect = {"milvus": connect_milvus, "redis": connect_redis}[name]
    if name == "milvus":
        store_rows(connect())
    else:
        path_store.save_paths(connect(), "rows:paths", {1: "1.jpg"})

    def orphan() -> int:
        stop_services()
        process = python(DIES_STARTING.format(name=name))
        output, _ = process.communicate(timeout=HANG_SECONDS)
        assert process.returncode == -signal.SIGKILL, output
        (left,) = servers_on(build / name)
        return left

    left = orphan()
    assert running_services() == []
    client = connect()
    (service,) = running_services()
    assert servers_on(build / name) == [service.pid] != [left]
    if name == "milvus":
        client.load_collection("rows")
        assert_rows(client)
    else:
        assert client.hgetall("rows:paths") == {"1": "1.jpg"}
    orphan()
    assert stop_services() == [name] and servers_on(build / name) == []
    record_fault(
        fault=f"Killed while an embedded server starts ({name.capitalize()})",
        done="SIGKILL to the process that had just started the server; run again: the server left "
        "behind is stopped and another one serves the same data; `make stop` ends it too",
    )


def test_two_notebooks_insert_at_once(stores, photos, known_vectors, record_fault):
    dataset = open_dataset(photos)
    both = [python(STORE.format(folder=str(photos))) for _ in range(2)]
    for process in both:
        assert process.stdout.readline() == "connected\n"
    for process in both:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in both:
        finish(process)
    keys = stores.clients["redis"].keys("*")
    assert_whole(stored(stores, dataset), dataset)
    assert stores.clients["redis"].keys("*") == keys and len(keys) == 1
    record_fault(
        fault=f"Two notebooks insert at once ({stores.kind})",
        done="two processes store the same dataset at the same moment; every photo is there once",
    )


@EMBEDDED
def test_changed_recipe_is_not_mixed(
    stores, build, photos, known_vectors, monkeypatch, record_fault
):
    """The ONNX file is rewritten for another pooling; the collection refuses its vectors."""
    dataset = open_dataset(photos)
    store = stored(stores, dataset)
    changed = replace(store.model, recipe=replace(store.model.recipe, pooling="average"))
    monkeypatch.setitem(models.PRESETS["article"], "resnet50", changed.recipe)
    proto = onnx.load(store.onnx_path)
    onnx.helper.set_model_props(proto, conversion.properties(changed))
    store.onnx_path.unlink()  # it is a link
    onnx.save(proto, store.onnx_path)
    message = error_of(lambda: stored(stores, dataset))
    assert "pooling" in message and "average" in message and "drop_collection" in message
    assert_whole(store, dataset)  # untouched
    store.milvus.drop_collection(store.collection)
    again = stored(stores, dataset)
    assert again.collection == store.collection
    assert_whole(again, dataset)
    record_fault(
        fault="Preset changed after vectors were stored",
        done="the preset's pooling changed from max to average: the collection refuses the new "
        "vectors and keeps the old ones; dropped as the message says; run again",
        message=message,
    )


@EMBEDDED
def test_changed_weights_are_not_mixed(stores, photos, known_vectors, record_fault):
    dataset = open_dataset(photos)
    store = stored(stores, dataset)
    network = replace(store.model.network, weights_sha256="0" * 64)
    other = replace(store.model, network=network)
    message = error_of(
        lambda: vector_store.ensure_collection(
            store.milvus, store.collection, 2048, description=other.description()
        )
    )
    assert "0" * 64 in message and "drop_collection" in message
    assert not conversion.is_current(store.onnx_path, other)
    assert_whole(store, dataset)
    record_fault(
        fault="Other weights than those of the stored vectors",
        done="the same network with another digest: the ONNX file counts as stale, the collection "
        "refuses its vectors and keeps the old ones",
        message=message,
    )
