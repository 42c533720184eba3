"""JupyterLab on a copy of the repository, and a real browser that may talk to it alone."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from helpers.settings import ROOT, load_settings

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
BUILD_DIR = load_settings().build_dir
COPIED = ("docs", "helpers", "notebooks", "tools", "data/sample")
TOKEN = "test"
HANG_SECONDS = 240  # ends what hangs; the longest step takes a minute on a quiet machine


@dataclass
class Watched:
    """A browser page, with what it must not have done."""

    page: object
    errors: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)

    def check(self) -> None:
        """No console error and no attempt to leave 127.0.0.1 since the last check."""
        errors, foreign = self.errors.copy(), self.foreign.copy()
        self.errors.clear()
        self.foreign.clear()
        assert errors == []
        assert foreign == []


@pytest.fixture(scope="session")
def browser():
    """Headless Chromium as installed on this machine."""
    executable = next(filter(None, map(shutil.which, BROWSERS)), None)
    if executable is None:
        pytest.skip(f"no browser is installed: none of {', '.join(BROWSERS)} is on PATH")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        found = driver.chromium.launch(
            executable_path=executable,
            args=["--no-sandbox", "--no-proxy-server"],
            timeout=HANG_SECONDS * 1000,
        )
        yield found
        found.close()


@contextmanager
def watching(browser) -> Iterator[Watched]:
    """A page that cannot leave 127.0.0.1."""
    context = browser.new_context(viewport={"width": 1400, "height": 1000})
    context.set_default_timeout(HANG_SECONDS * 1000)
    watched = Watched(context.new_page())

    def guard(route):
        if urlsplit(route.request.url).hostname == "127.0.0.1":
            route.continue_()
        else:
            watched.foreign.append(route.request.url)
            route.abort()

    def console(message):
        if message.type == "error":
            watched.errors.append(message.text)

    def websocket(socket):
        if urlsplit(socket.url).hostname != "127.0.0.1":
            watched.foreign.append(socket.url)

    context.route("**/*", guard)
    watched.page.on("console", console)
    watched.page.on("pageerror", lambda error: watched.errors.append(str(error)))
    watched.page.on("websocket", websocket)
    yield watched
    context.close()


@pytest.fixture(scope="session")
def watch(browser):
    """A function that opens a page, for a with statement; `Watched.check` what it did."""
    return partial(watching, browser)


@pytest.fixture
def watched(watch):
    """A page of the test's own; a console error or a request to another host fails the test."""
    with watch() as watched:
        yield watched
    watched.check()


@pytest.fixture(scope="session")
def screenshots():
    """Where pictures of the sample are kept."""
    folder = BUILD_DIR / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def environment(tmp_path_factory, browser):
    """A copy of the repository with a build folder of its own, which `make lab` runs in.

    Converted models and vectors are taken over, so that only what is tested here takes time; not
    those that a test sees being made.
    """
    copy = tmp_path_factory.mktemp("lab") / "repository"
    for name in COPIED:
        ignore = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
        shutil.copytree(ROOT / name, copy / name, ignore=ignore)
    for name in ("models", "vectors"):
        if (BUILD_DIR / name).exists():
            made_here = shutil.ignore_patterns("*-recommended-int8*")
            shutil.copytree(BUILD_DIR / name, copy / "build" / name, ignore=made_here)
    return {
        **{key: value for key, value in os.environ.items() if "proxy" not in key.lower()},
        "PYTHONPATH": str(copy),
        "DATASET": "sample",
        "BUILD_DIR": str(copy / "build"),
        "JUPYTER_CONFIG_DIR": str(copy / "jupyter"),
        "IPYTHONDIR": str(copy / "ipython"),
    }


@pytest.fixture(scope="session")
def lab(environment):
    """JupyterLab's address, on a free port of 127.0.0.1."""
    copy = Path(environment["PYTHONPATH"])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "tools/lab.py", "--no-browser", f"--port={port}", "--allow-root"]
    command += [f"--IdentityProvider.token={TOKEN}", "--LabApp.expose_app_in_browser=True"]
    log = copy / "lab.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=copy, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        wait_for(f"http://127.0.0.1:{port}/api?token={TOKEN}", process, log)
        yield f"http://127.0.0.1:{port}/lab"
    finally:
        process.terminate()
        process.wait(HANG_SECONDS)
        left = list((copy / "build/services").glob("*.json"))
        assert not left, "the servers stop with their last user"


def wait_for(address: str, process: subprocess.Popen, log: Path) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + HANG_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError), opener.open(address, timeout=5):
            return
        time.sleep(0.3)
    pytest.fail(f"JupyterLab did not start: {log.read_text()[-2000:]}")
