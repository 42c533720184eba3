"""`make run`: pages for every notebook, a clear end where one cannot go on."""

import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import termios
import textwrap
import time

import nbformat
import psutil
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from helpers import results, services
from helpers.datasets import open_dataset
from helpers.settings import ROOT

sys.path.append(str(ROOT / "tools"))
import run_notebooks as runner  # noqa: E402

KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}


@pytest.fixture
def folder(tmp_path, photos, monkeypatch):
    for photo in photos:
        (tmp_path / "photos").mkdir(exist_ok=True)
        shutil.copy(photo, tmp_path / "photos")
    monkeypatch.setenv("DATASET", str(tmp_path / "photos"))
    monkeypatch.setenv("BUILD_DIR", str(tmp_path / "build"))
    return tmp_path


def notebook(path, *code):
    cells = [new_markdown_cell(f"# 1 · About {path.stem}"), *map(new_code_cell, code)]
    nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": KERNEL}), path)
    return path


def test_a_notebook_that_needs_labels_does_not_stop_the_others(folder, capsys):
    stops = notebook(
        folder / "a.ipynb",
        "from helpers.settings import NeedsLabels\nraise NeedsLabels('no labels here')",
    )
    works = notebook(folder / "b.ipynb", "print(6 * 7)")
    assert runner.run([stops, works], update=False) == 0
    assert "stopped early. no labels here" in capsys.readouterr().out
    pages = folder / "build/html"
    assert "no labels here" in (pages / "a.html").read_text()
    assert "42" in (pages / "b.html").read_text()
    assert 'href="b.html">About b<' in (pages / "index.html").read_text()
    assert '<a rel="next" href="b.html">' in (pages / "a.html").read_text()


def test_pages_and_index_are_there_after_the_first_notebook(folder, monkeypatch, capsys):
    monkeypatch.setenv("MODELS", "efficientnet_lite0,vgg16")
    monkeypatch.setattr(runner.weights, "load_weights", lambda name: print("weights of", name))
    other = open_dataset("sample")
    results.record(other, "store", {"vgg16": {"vectors": 123456}})
    first = notebook(folder / "00_quick_start.ipynb", "print(6 * 7)")
    look = """
        from helpers.settings import load_settings
        html = load_settings().build_dir / "html"
        index, page = (html / "index.html").read_text(), (html / "00_quick_start.html").read_text()
        print('href="00_quick_start.html"' in index, "01_look" in page, 'href="02' in index)
        print("running now" in index, "not run yet" in index, "123456" in index)
    """
    second = notebook(folder / "01_look.ipynb", textwrap.dedent(look))
    third = notebook(folder / "02_end.ipynb", "print('end')")
    assert runner.run([first, second, third], update=False) == 0
    lines = capsys.readouterr().out.splitlines()
    seen = [re.sub(r" +\d+ s$", " 0 s", line) for line in lines]
    place = runner.located(folder / "build/html/index.html")
    start = seen.index("weights of resnet50")
    assert seen[start : start + 7] == [
        "weights of resnet50",
        "weights of vgg16",
        "00_quick_start 0 s",
        f"Pages so far: {place}",
        "weights of efficientnet_lite0",
        "01_look 0 s",
        "02_end 0 s",
    ]
    pages = folder / "build/html"
    said = (pages / "01_look.html").read_text()
    assert "True False False\nTrue True False" in said
    end = (pages / "index.html").read_text()
    assert "running" not in end and "not run yet" not in end and "123456" not in end
    for page, following in (("00_quick_start", "01_look"), ("01_look", "02_end")):
        assert f'<a rel="next" href="{following}.html">' in (pages / f"{page}.html").read_text()


def test_the_gallery_is_written_after_a_notebook_that_exists():
    for stem in (runner.QUICK_START, runner.GALLERY_AFTER):
        assert (ROOT / f"notebooks/{stem}.ipynb").exists()


def test_an_error_stops_the_run_with_its_message(folder, capsys):
    fails = notebook(
        folder / "a.ipynb",
        "from helpers import TutorialError\nraise TutorialError('do this instead')",
    )
    never = notebook(folder / "b.ipynb", "print(6 * 7)")
    assert runner.run([fails, never], update=False) == 1
    shown = capsys.readouterr().out
    assert "TutorialError: do this instead" in shown and "build/html" in shown
    assert not (folder / "build/html/b.html").exists()
    assert "b.html" not in (folder / "build/html/a.html").read_text()
    index = (folder / "build/html/index.html").read_text()
    assert "stopped with an error" in index and "not run yet" in index
    assert 'href="a.html"' in index and "b.html" not in index and "still running" not in index


def test_update_writes_executed_notebooks_without_traces(folder):
    path = notebook(folder / "a.ipynb", "print(6 * 7)")
    assert runner.run([path], update=True) == 0
    written = nbformat.read(path, as_version=4)
    assert written.cells[1].outputs[0].text == "42\n" and written.cells[1].execution_count == 1
    assert set(written.metadata) == {"kernelspec", "language_info"}
    assert "execution" not in written.cells[1].metadata


@pytest.mark.parametrize(
    "code, message",
    [
        ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "died .* most often .* memory"),
        ("import time\ntime.sleep(600)", "still ran after .* and was stopped: run again"),
    ],
)
def test_a_kernel_that_dies_or_takes_too_long_ends_the_run_in_one_sentence(
    folder, monkeypatch, capsys, code, message
):
    def impatient(*args, timeout, **options):
        assert timeout == runner.CELL_SECONDS
        seconds = {code: 1}  # for this cell; the others have the time that they need
        return NotebookClient(
            *args, timeout_func=lambda cell: seconds.get(cell.source, timeout), **options
        )

    if "sleep" in code:
        monkeypatch.setattr(runner, "NotebookClient", impatient)
    fails = notebook(folder / "a.ipynb", "print(6 * 7)", code, "print('never')")
    assert runner.run([fails], update=False) == 1
    shown = capsys.readouterr()
    assert re.search(f"\n.*{message}.* DATASET.*\nThe page up to there: ", shown.out)
    assert shown.err == "" and "42" in (folder / "build/html/a.html").read_text()
    assert not [
        child for child in psutil.Process().children() if "ipykernel" in str(child.cmdline())
    ]


def test_a_kernel_that_dies_before_it_is_ready_is_told_like_one_that_dies_later(
    folder, monkeypatch
):
    environment = runner.kernel_environment(folder / "build")
    (folder / "modules").mkdir()
    (folder / "modules/ipykernel_launcher.py").write_text("raise SystemExit(1)")
    environment["PYTHONPATH"] = str(folder / "modules")
    monkeypatch.setattr(runner, "kernel_environment", lambda _: environment)
    path = notebook(folder / "a.ipynb", "print(6 * 7)")
    said = runner.execute(nbformat.read(path, as_version=4), folder)
    assert re.search(r"did not start \(Kernel died before .*\), most often .* run again", said)


def test_ctrl_c_ends_in_one_line_and_leaves_no_process(folder):
    pid = folder / "pid"
    path = notebook(
        folder / "a.ipynb",
        "import os, time\nfrom pathlib import Path\nfrom helpers.embedded import embedded_uri\n"
        f"embedded_uri('redis')\nPath({str(pid)!r}).write_text(f'{{os.getpid()}}.')\n"
        "time.sleep(600)",
    )
    first = notebook(folder / "00_quick_start.ipynb")
    command = [sys.executable, ROOT / "tools/run_notebooks.py", first, path]
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        while not (pid.exists() and pid.read_text().endswith(".")):
            assert run.poll() is None, run.communicate()
            time.sleep(0.05)
        assert [service.name for service in services.running_services()] == ["redis"]
        run.send_signal(signal.SIGINT)
        _, said = run.communicate(timeout=600)
    finally:
        run.kill()
    assert (run.returncode, said) == (130, "\nStopped. Run again to go on: what is done is kept.\n")
    assert not psutil.pid_exists(int(pid.read_text()[:-1]))
    assert services.running_services() == []
    index = (folder / "build/html/index.html").read_text()
    assert 'href="00_quick_start.html"' in index and "not run yet" in index
    assert "still running" not in index


def test_a_terminal_shows_a_bar_that_gives_way_to_the_seconds(folder, monkeypatch):
    path = notebook(folder / "a.ipynb", "import time; time.sleep(0.2)", "time.sleep(0.2)")
    screen, terminal_end = pty.openpty()
    termios.tcsetwinsize(terminal_end, (24, 100))
    with monkeypatch.context() as streams, os.fdopen(terminal_end, "w") as terminal:
        streams.setattr(sys, "stdout", terminal)
        streams.setattr(sys, "stderr", terminal)
        assert runner.run([path], update=False) == 0
        (line,) = [
            line for line in os.read(screen, 4096).decode().split("\r\n") if line.startswith("\ra ")
        ]
    os.close(screen)
    assert re.search(r"\ra {23}:  50%\|█+ +\| 1/2 \[", line)
    seen = ""
    for part in line.split("\r"):  # each overwrites what stood there
        seen = part + seen[len(part) :]
    assert re.fullmatch(r"a +\d+ s *", seen)
