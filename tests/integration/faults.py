"""What the tests of faults share: processes to kill, disks to fill, a record of each fault."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import numpy as np
import psutil
import pytest

from helpers import services
from helpers.settings import ROOT, TutorialError, load_settings

sys.path.append(str(ROOT / "tests/unit"))
from coco_server import ARCHIVE, serve  # noqa: E402, F401

BUILD_DIR = load_settings().build_dir  # before a test changes it: the models are there
RECORD = BUILD_DIR / "faults"
SAMPLE = ROOT / "data/sample/sample"
SETTINGS = (
    "DATASET",
    "MILVUS_URI",
    "MILVUS_TOKEN",
    "REDIS_URL",
    "COCO_BASE_URL",
    "BUILD_DIR",
    "DATA_DIR",
)
HANG_SECONDS = 1200  # ends what hangs; the longest step takes half a minute on a quiet machine


@pytest.fixture(name="record_fault")
def record_fault_fixture(request) -> Callable[..., None]:
    """`record_fault(fault=…, done=…, message=…)`: a row of docs/reliability.md.

    Call it where the test has shown that nothing was lost and that running again repaired it.
    `message` is the error or sentence shown; "" where a killed process could not say anything.
    """

    def record(*, fault: str, done: str, message: object = "", lost: str = "nothing") -> None:
        module, name = request.node.path.relative_to(ROOT).as_posix(), request.node.name
        row = {"fault": fault, "done": done, "lost": lost, "message": plain(str(message))}
        RECORD.mkdir(parents=True, exist_ok=True)
        file = RECORD / f"{re.sub(r'[^A-Za-z0-9_]+', '-', name)}.json"
        file.write_text(json.dumps({"test": f"{module}::{name}", **row}, indent=1))

    return record


def plain(message: str) -> str:
    """The message without what differs from run to run."""
    message = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:PORT", message)
    message = re.sub(r"photos_[0-9a-f]{8}", "photos", message)
    message = re.sub(r"-[0-9a-f]{12}\b", "-…", message)  # of a model file, in its cache's name
    return re.sub(r"\{.*?\}", "{…}", message)  # a whole recipe


@pytest.fixture(name="build")
def build_fixture(clean_settings, tmp_path) -> Path:
    """An empty BUILD_DIR with the converted models in it, and its servers stopped afterwards."""
    models = tmp_path / "build" / "models"
    models.mkdir(parents=True)
    for file in (BUILD_DIR / "models").glob("*.onnx"):
        (models / file.name).symlink_to(file)
    return tmp_path / "build"


@pytest.fixture(name="photos")
def photos_fixture(tmp_path) -> Path:
    """A folder of 48 photos in two sub-folders."""
    folder = tmp_path / "photos"
    for number, photo in enumerate(sorted(SAMPLE.glob("*.jpg"))[:48]):
        target = folder / ("even", "odd")[number % 2] / photo.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(photo, target)
    return folder


def python(code: str, **environment: str) -> subprocess.Popen:
    """A Python process of its own that runs `code`; its output can be read."""
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent), **environment},
    )


def halting(calls: int, function: Callable) -> Callable:
    """`function`, which at its `calls`-th call has the process stopped somewhere in that call.

    Whatever the machine's speed, a process that runs it is then in the middle of its work. SIGCONT
    lets it go on.
    """
    numbers = itertools.count(1)

    def counted(*arguments, **options):
        if next(numbers) == calls:
            Thread(target=os.kill, args=(os.getpid(), signal.SIGSTOP)).start()
        return function(*arguments, **options)

    return counted


def halted(process: subprocess.Popen) -> bool:
    return psutil.Process(process.pid).status() == psutil.STATUS_STOPPED


def finish(process: subprocess.Popen) -> str:
    """The output of a process that must end well."""
    output, _ = process.communicate(timeout=HANG_SECONDS)
    assert process.returncode == 0, output
    return output


def kill(process: subprocess.Popen) -> None:
    """SIGKILL to a process that has to be running still."""
    assert process.poll() is None, process.communicate()[0]
    process.kill()
    process.communicate()


def until(condition: Callable[[], object], process: subprocess.Popen | None = None) -> None:
    """Wait until `condition()` holds; `process` must not end before."""
    deadline = time.monotonic() + HANG_SECONDS
    while not condition():
        if process and process.poll() is not None:
            raise AssertionError(f"ended too early: {process.communicate()[0]}")
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def error_of(action: Callable[[], object]) -> str:
    """The message of the TutorialError that `action` raises: one sentence of one line."""
    with pytest.raises(TutorialError) as caught:
        action()
    message = str(caught.value)
    assert "\n" not in message and "Traceback" not in message, message
    return message


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Callable[[str], None]]:
    """A tmpfs on `folder`; what is yielded remounts it: `size=9m`, `ro`, `rw`.

    Skips where this machine allows no mount.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]

    def mount(*arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run([*sudo, *arguments], capture_output=True, text=True)

    options = f"size={size},uid={os.geteuid()}"
    done = mount("mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder))
    if done.returncode:
        pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")
    try:
        yield lambda change: mount(
            "mount", "-o", f"remount,{change}", str(folder)
        ).check_returncode()
    finally:
        mount("umount", "--lazy", str(folder))


class Stores:
    """Milvus and Redis as the notebooks find them, embedded or named by the environment."""

    def __init__(self, kind: str, servers: dict):
        self.kind, self.servers = kind, servers

    @property
    def clients(self) -> dict:
        return {"milvus": services.connect_milvus(), "redis": services.connect_redis()}

    def pid(self, name: str) -> int:
        if self.servers:
            return self.servers[name].pid
        return next(s.pid for s in services.running_services() if s.name == name)

    def kill(self, name: str) -> None:
        if self.servers:
            self.servers[name].kill()
        else:
            pid = self.pid(name)
            os.kill(pid, signal.SIGKILL)
            until(lambda: not alive(pid))

    def restart(self, name: str, *, keep_data: bool = True) -> None:
        """Start a killed server. The embedded one starts by itself at the next connection."""
        if self.servers:
            self.servers[name].restart(keep_data=keep_data)
        elif not keep_data:
            shutil.rmtree(load_settings().build_dir / name)

    @contextmanager
    def frozen(self, name: str) -> Iterator[None]:
        pid = self.pid(name)
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)


def alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


@pytest.fixture(name="stores", params=["embedded", "real"])
def stores_fixture(request, build) -> Iterator[Stores]:
    """Milvus Lite and a Redis on a socket, then Milvus 2.3.5 and a Redis on TCP with a password."""
    if request.param == "embedded":
        yield Stores("embedded", {})
        return
    servers = {name: request.getfixturevalue(f"{name}_server") for name in ("milvus", "redis")}
    request.getfixturevalue("real_servers")
    yield Stores("real", servers)
    for server in servers.values():
        if server.pid is None:
            server.start()
    client = services.connect_milvus()
    for name in client.list_collections():
        client.drop_collection(name)
    services.connect_redis().flushall()


RECIPE = {"model": "random", "preset": "article", "precision": "fp32", "weights_sha256": "0"}


def rows(count: int, version: str = "new") -> tuple[list[int], np.ndarray, list[str], list[set]]:
    """Ids, unit vectors float32 [count, 64], paths that name `version`, and labels."""
    vectors = np.random.default_rng(0).normal(size=(count, 64)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ids = list(range(1, count + 1))
    return ids, vectors, [f"{version}/{id_}.jpg" for id_ in ids], [{"cat"}] * count
