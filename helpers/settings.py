"""Everything read from the environment, in one frozen dataclass."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COCO_BASE_URL = "http://images.cocodataset.org"


class TutorialError(RuntimeError):
    """Something the reader can put right; the message names it and says how."""

    def _render_traceback_(self) -> list[str]:
        """IPython shows this instead of a traceback: the message is all there is to know."""
        return [f"{type(self).__name__}: {self}"]


class NeedsLabels(TutorialError):
    """The dataset lacks labels for what a notebook measures; `make run` goes on without it."""


@dataclass(frozen=True)
class Settings:
    """The tutorial's settings. Nothing else in the environment changes its behaviour."""

    dataset: str
    """`auto`, `coco`, `sample`, or a folder of photos."""
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
    for a `~user` that is not known here.
    """

    def read(name: str) -> str | None:
        return os.environ.get(name, "").strip() or None

    return Settings(
        dataset=read("DATASET") or "auto",
        milvus_uri=read("MILVUS_URI"),
        milvus_token=read("MILVUS_TOKEN"),
        redis_url=read("REDIS_URL"),
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


def masked(uri: str) -> str:
    """The URI without its user, password and query."""
    return re.sub(r"\?.*", "", re.sub(r"//.*@", "//***@", uri))
