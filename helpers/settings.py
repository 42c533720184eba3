"""Everything read from the environment, in one frozen dataclass."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[1]
COCO_BASE_URL = "http://images.cocodataset.org"
SCHEMES = {
    "MILVUS_URI": ("http", "https", "tcp", "unix"),
    "REDIS_URL": ("redis", "rediss", "unix"),
}
EXAMPLES = {
    "MILVUS_URI": "http://host:19530",
    "REDIS_URL": "redis://:password@host:6379/0",
}
# A / ? # or blank that comes before the @, so that the password is read as another part as well.
MISREAD = re.compile(r"(?s)[?#\s].*@|://[^/]+/.*@")


class TutorialError(RuntimeError):
    """Something the reader can put right; the message names it and says how."""

    def _render_traceback_(self) -> list[str]:
        """IPython shows this instead of a traceback: the message is all there is to know."""
        return [f"{type(self).__name__}: {self}"]


class NeedsLabels(TutorialError):
    """The dataset lacks labels for what a notebook measures; `make run` goes on without it."""


def exit_status(main: Callable[[], int]) -> Callable[[], int]:
    """Decorator for a program: what a reader can put right is a line on stderr, no traceback."""

    @wraps(main)
    def status() -> int:
        try:
            return main()
        except TutorialError as error:
            print(f"\n{error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("\nStopped. Run again to go on: what is done is kept.", file=sys.stderr)
            return 130

    return status


@dataclass(frozen=True)
class Settings:
    """The tutorial's settings. Nothing else in the environment changes its behaviour."""

    dataset: str
    """`auto`, `coco`, `coco-val2017`, `sample`, or a folder of photos."""
    models: tuple[str, ...]
    """Names of networks, ONNX files and folders that take part; none means the default."""
    milvus_uri: str | None
    """URI of a Milvus server; None starts the embedded Milvus Lite."""
    milvus_token: str | None
    """`user:password` or an API key for `milvus_uri`."""
    redis_url: str | None
    """URL of a Redis server; None starts an embedded one."""
    coco_base_url: str
    """Where COCO's `annotations/` and `val2017/` are served, without a trailing slash."""
    build_dir: Path
    """Absolute path of everything the tutorial produces."""
    data_dir: Path
    """Absolute path of what it reads: the sample, and what it downloads."""


def load_settings() -> Settings:
    """Read the environment now; unset and empty variables mean the default.

    Relative `BUILD_DIR` and `DATA_DIR` are relative to the repository root. Raises TutorialError
    for a `~user` that is not known here, and for a `MILVUS_URI` or `REDIS_URL` that is no address.
    """

    def read(name: str) -> str | None:
        return os.environ.get(name, "").strip() or None

    return Settings(
        dataset=read("DATASET") or "auto",
        models=tuple(filter(None, map(str.strip, (read("MODELS") or "").split(",")))),
        milvus_uri=_server("MILVUS_URI", read("MILVUS_URI")),
        milvus_token=read("MILVUS_TOKEN"),
        redis_url=_server("REDIS_URL", read("REDIS_URL")),
        coco_base_url=(read("COCO_BASE_URL") or COCO_BASE_URL).rstrip("/"),
        build_dir=typed_path(read("BUILD_DIR") or "build"),
        data_dir=typed_path(read("DATA_DIR") or "data"),
    )


def typed_path(path: str | Path) -> Path:
    """Absolute form of a path as a reader types it: `resolve`, and `~` is a home folder.

    Raises TutorialError if there is no such home folder.
    """
    try:
        return resolve(Path(path).expanduser())
    except RuntimeError as error:
        raise TutorialError(
            f"{str(path)!r} begins with a home folder that is not known here: write the path out, "
            "from / on."
        ) from error


def resolve(path: str | Path) -> Path:
    """Absolute form of a path; relative ones start at the repository root, `~` is a name."""
    return (ROOT / path).resolve()


def display_path(path: Path) -> str:
    """A path as shown to the reader: relative to the repository where it lies inside it."""
    path = Path(path)
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.name


def relative_path(path: Path) -> str:
    """A photo's path as stored in Milvus and Redis: POSIX, relative to the repository root.

    `resolve` turns it back into a file.
    """
    return Path(os.path.relpath(path, ROOT)).as_posix()


def masked(text: str) -> str:
    """An address, or a text with one, without user, password and query.

    Nothing after its scheme, where more of it can be misread as a password.
    """
    if MISREAD.search(text):
        return re.sub(r"(?s)^(.*?\w+://)?.*", r"\1***", text, count=1)
    return re.sub(r"(?s)[?#].*", "", re.sub(r"(\w+://|^)[^/?#\s]*@", r"\1***@", text))


def last_line(text: object) -> str:
    """What an error's or another program's text ends with, in at most 200 characters."""
    lines = [line.strip() for line in str(text).splitlines() if line.strip()]
    return lines[-1].rstrip(".")[-200:] if lines else type(text).__name__


def invalid_address(setting: str) -> TutorialError:
    """What to say about a `MILVUS_URI` or `REDIS_URL` that is none; its value may be a password."""
    return TutorialError(
        f"{setting} is not a valid address such as {EXAMPLES[setting]}: write it with its scheme "
        "(and / ? # @ : in its password as %2F %3F %23 %40 %3A), or unset it to use the embedded "
        "server, which keeps its data in BUILD_DIR."
    )


def _server(setting: str, uri: str | None) -> str | None:
    """The address of a server as it is set, if it can be one."""
    if uri is None or uri.startswith("unix:"):
        return uri
    try:
        parts = urlsplit(uri)
        valid = parts.scheme in SCHEMES[setting] and parts.hostname and parts.port != 0
    except ValueError:  # no number where the port should be
        valid = False
    if not valid or re.search(r"\s", uri):
        raise invalid_address(setting)
    return uri
