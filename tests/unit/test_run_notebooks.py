"""`make run`: pages for every notebook, a clear end where one cannot go on."""

import shutil

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from helpers.settings import ROOT

KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}


@pytest.fixture(scope="module")
def runner():
    with pytest.MonkeyPatch.context() as environment:
        environment.syspath_prepend(str(ROOT / "tools"))
        return __import__("run_notebooks")


@pytest.fixture
def folder(tmp_path, photos, monkeypatch):
    for photo in photos:
        (tmp_path / "photos").mkdir(exist_ok=True)
        shutil.copy(photo, tmp_path / "photos")
    monkeypatch.setenv("DATASET", str(tmp_path / "photos"))
    monkeypatch.setenv("BUILD_DIR", str(tmp_path / "build"))
    return tmp_path


def notebook(path, code):
    cells = [new_markdown_cell(f"# 1 · About {path.stem}"), new_code_cell(code)]
    nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": KERNEL}), path)
    return path


def test_a_notebook_that_needs_labels_does_not_stop_the_others(runner, folder, capsys):
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


def test_an_error_stops_the_run_with_its_message(runner, folder, capsys):
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


def test_update_writes_executed_notebooks_without_traces(runner, folder):
    path = notebook(folder / "a.ipynb", "print(6 * 7)")
    assert runner.run([path], update=True) == 0
    written = nbformat.read(path, as_version=4)
    assert written.cells[1].outputs[0].text == "42\n" and written.cells[1].execution_count == 1
    assert set(written.metadata) == {"kernelspec", "language_info"}
    assert "execution" not in written.cells[1].metadata
