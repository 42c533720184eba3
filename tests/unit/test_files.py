"""Files are whole or not there; what killed processes left goes."""

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from helpers import TutorialError, files


@pytest.fixture(autouse=True)
def build(tmp_path, monkeypatch):
    monkeypatch.setenv("BUILD_DIR", str(tmp_path / "build"))


def test_a_file_is_whole_or_as_before(tmp_path):
    target = tmp_path / "new" / ("x" * 255)
    with files.written_whole(target) as part:
        part.write_text("one")
    with pytest.raises(ZeroDivisionError), files.written_whole(target) as part:
        part.write_text("half of two")
        raise ZeroDivisionError
    assert target.read_text() == "one" and list(target.parent.iterdir()) == [target]


def test_leftovers_of_ended_processes_go_and_those_of_others_stay(tmp_path):
    ended = subprocess.Popen(["true"])
    ended.wait()
    with files.written_whole(tmp_path / "a") as mine:
        mine.write_text("half")
        gone = mine.with_name(f".abc.{ended.pid}.part")
        gone.write_text("half")
        (tmp_path / f".folder.{ended.pid}.part").mkdir()
        (tmp_path / "a.part").write_text("somebody else's")
        files.remove_leftovers(tmp_path)
        assert {path.name for path in tmp_path.iterdir()} == {mine.name, "a.part"}


@pytest.mark.parametrize(
    ("number", "words"), [(errno.ENOSPC, "disk is full"), (errno.EROFS, "read-only")]
)
@pytest.mark.parametrize(("place", "setting"), [("build/x", "BUILD_DIR"), ("y", "DATA_DIR")])
def test_a_folder_that_cannot_be_written_is_named(tmp_path, number, words, place, setting):
    message = f"'{place[-1]}' cannot.*{words}.*set {setting}"
    with pytest.raises(TutorialError, match=message), files.writing(tmp_path / place):
        raise OSError(number, os.strerror(number))


def test_one_at_a_time_is_behind_a_lock(tmp_path):
    path = tmp_path / "new/lock"

    def is_free():
        with path.open() as other:
            try:
                fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
        return True

    with files.locked(path):
        assert not is_free()
    assert is_free()
    full = OSError(errno.ENOSPC, "the block's own")
    with pytest.raises(OSError, match="the block's own"), files.locked(path):
        raise full
    assert is_free()


def test_a_lock_that_cannot_be_made_is_named(tmp_path, monkeypatch):
    def read_only(*_arguments, **_options):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(type(tmp_path), "open", read_only)
    with pytest.raises(TutorialError, match="read-only"), files.locked(tmp_path / "build/lock"):
        pytest.fail("without the lock")


@pytest.mark.parametrize("place", ["build", "build/models"])
def test_a_file_in_the_place_of_a_folder_is_named(tmp_path, place):
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).write_text("")
    message = "cannot be written .a file is in its place.: .* or set BUILD_DIR to"
    with (
        pytest.raises(TutorialError, match=message),
        files.written_whole(tmp_path / "build/models/a.onnx"),
    ):
        pass


def test_other_errors_pass(tmp_path):
    with pytest.raises(FileNotFoundError), files.writing(tmp_path):
        (tmp_path / "none").read_text()


def test_a_scratch_file_is_this_process_own_and_goes_with_it(tmp_path, monkeypatch):
    monkeypatch.setenv("BUILD_DIR", str(tmp_path))
    mine = files.scratch("a.png")
    mine.write_text("mine")
    code = "from helpers import files; p = files.scratch('a.png'); p.write_text('theirs'); print(p)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    theirs = Path(done.stdout.strip())
    assert theirs != mine and theirs.read_text() == "theirs"
    assert files.scratch("b.png").parent == mine.parent and mine.read_text() == "mine"
    assert not theirs.exists(), "its process has ended"
