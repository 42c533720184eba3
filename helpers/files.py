"""Files that are written whole or not at all, on disks that may be full or read-only."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from helpers.settings import TutorialError, display_path, load_settings

NOT_WRITABLE = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "files of that size are not allowed there",
    errno.EROFS: "it is read-only",
    errno.EACCES: "it may not be written",
    errno.EPERM: "it may not be written",
    errno.EEXIST: "a file is in its place",
    errno.ENOTDIR: "a file is in its place",
}


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Around whatever writes below `folder`, a part of DATA_DIR or BUILD_DIR.

    Raises TutorialError, naming the folder, where it is full, read-only or forbidden; other errors
    pass.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in NOT_WRITABLE:
            raise
        build_dir = load_settings().build_dir
        setting = "BUILD_DIR" if Path(folder).is_relative_to(build_dir) else "DATA_DIR"
        raise TutorialError(
            f"{display_path(folder)!r} cannot be written ({NOT_WRITABLE[error.errno]}): put that "
            f"right, or set {setting} to a folder elsewhere, and run again."
        ) from error


@contextmanager
def written_whole(target: Path) -> Iterator[Path]:
    """A path beside `target` to write to; when the block ends well, that file becomes `target`.

    Readers never see a part of it. Raises TutorialError as `writing` does.
    """
    # Its own name, because `target`'s may be as long as a name can be.
    digest = hashlib.sha256(os.fsencode(target.name)).hexdigest()[:16]
    part = target.with_name(f".{digest}.{os.getpid()}.part")
    with writing(target.parent):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield part
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Only one at a time, of all processes and threads, is in the block; others wait for it.

    `path` is a file for this alone; it stays. Raises TutorialError as `writing` does where it
    cannot be made; errors of the block pass.
    """
    with writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.open("w", encoding="utf-8")
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def scratch(name: str) -> Path:
    """A path for a file that only this process needs, and no longer than it lives.

    Raises TutorialError as `writing` does.
    """
    folder = load_settings().build_dir / "scratch"
    own = folder / f".of.{os.getpid()}.part"
    remove_leftovers(folder)
    with writing(folder):
        own.mkdir(parents=True, exist_ok=True)
    return own / name


def remove_leftovers(folder: Path) -> None:
    """Delete what killed processes were writing in `folder`; those alive keep theirs."""
    for part in folder.glob(".*.part"):
        pid = part.name.split(".")[-2]
        if not (pid.isdecimal() and psutil.pid_exists(int(pid))):
            with suppress(OSError):  # on a read-only disk it may stay
                shutil.rmtree(part) if part.is_dir() else part.unlink()
