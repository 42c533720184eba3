"""Real servers, each a process of its own on 127.0.0.1, and an environment without settings.

`milvus_server` and `redis_server` run for the whole session; a test that stops, kills or empties
one starts it again before it ends. `new_milvus` makes further ones for one test, with settings of
their own.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import pytest
from faults import SETTINGS

from helpers import services
from helpers.settings import ROOT

sys.path.append(str(ROOT / "tools"))
from real_servers import CannotRun, MilvusServer, RedisServer, Server  # noqa: E402

# How long this Milvus waits for its own parts, by default 30 s, 2 s and 0.2 s: killed and started
# again it lets its former self's sessions expire; a flush waits for segments to be given back; what
# asks for all earlier writes, as searches do, waits for the next tick.
QUICK_MILVUS = {
    "COMMON_SESSION_TTL": "5",
    "DATACOORD_SEGMENT_ASSIGNMENTEXPIRATION": "200",
    "PROXY_TIMETICKINTERVAL": "20",
}
start_seconds: dict[str, float] = {}


@pytest.fixture(scope="session")
def milvus_server(tmp_path_factory) -> Iterator[MilvusServer]:
    """A running Milvus 2.3.5; skips with the reason where it cannot run."""
    folder = tmp_path_factory.mktemp("real")
    yield from _running(MilvusServer(folder / "milvus", environment=QUICK_MILVUS))


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory) -> Iterator[RedisServer]:
    """A running Redis with a password; skips with the reason where there is none."""
    yield from _running(RedisServer(tmp_path_factory.mktemp("real") / "redis"))


@pytest.fixture
def new_milvus(tmp_path) -> Iterator[Callable[..., MilvusServer]]:
    """`new_milvus(**settings)`: another Milvus, started; stopped after the test."""
    servers = []

    def make(**settings) -> MilvusServer:
        folder = tmp_path / f"milvus{len(servers)}"
        server = MilvusServer(folder, environment=QUICK_MILVUS, **settings)
        servers.append(server)
        try:
            server.start()
        except CannotRun as error:
            pytest.skip(str(error))
        return server

    yield make
    for server in servers:
        server.kill()


@pytest.fixture
def clean_settings(monkeypatch, tmp_path) -> pytest.MonkeyPatch:
    """The environment without any of the tutorial's settings, and an empty `BUILD_DIR`.

    Embedded servers that a test starts there are stopped after it.
    """
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("BUILD_DIR", str(tmp_path / "build"))
    yield monkeypatch
    monkeypatch.setenv("BUILD_DIR", str(tmp_path / "build"))
    services.stop_services()


@pytest.fixture
def real_servers(clean_settings, milvus_server, redis_server) -> pytest.MonkeyPatch:
    """The environment in which the helpers and the notebooks use the real servers."""
    clean_settings.setenv("MILVUS_URI", milvus_server.uri)
    clean_settings.setenv("REDIS_URL", redis_server.uri)
    return clean_settings


def _running(server: Server) -> Iterator[Server]:
    try:
        start_seconds[server.name] = server.start()
    except CannotRun as error:
        pytest.skip(str(error))
    yield server
    server.kill()  # nobody needs its data, and Milvus stops slowly


def pytest_terminal_summary(terminalreporter) -> None:
    for name, seconds in start_seconds.items():
        terminalreporter.write_line(f"real {name} server: up in {seconds:.1f} s")
