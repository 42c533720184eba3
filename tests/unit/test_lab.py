"""`make lab`: copies that stay the reader's, and files that hold no dead widgets."""

import json
import os
import sys

from helpers.settings import ROOT

sys.path.append(str(ROOT))
from tools import lab, saving  # noqa: E402


def test_notebooks_are_copied_once_and_edits_stay(tmp_path, capsys):
    folder = lab.copied_notebooks(tmp_path / "lab")
    originals = sorted((ROOT / "notebooks").glob("*.ipynb"))
    assert [path.name for path in sorted(folder.glob("*.ipynb"))] == [p.name for p in originals]
    assert (folder / "pipeline.svg").exists(), "what a notebook's text shows"
    assert capsys.readouterr().out == ""
    mine = folder / originals[0].name
    mine.write_text("my edit", encoding="utf-8")
    (folder / originals[1].name).unlink()
    lab.copied_notebooks(folder)
    assert mine.read_text(encoding="utf-8") == "my edit"
    assert (folder / originals[1].name).read_bytes() == originals[1].read_bytes()
    os.utime(mine, (0, 0))
    lab.copied_notebooks(folder)
    told = capsys.readouterr().out
    assert mine.name in told and "older" in told and originals[1].name not in told


def test_a_saved_notebook_keeps_the_sentence_and_not_the_live_view():
    data = {saving.WIDGET: {"model_id": "x"}, "text/plain": "needs a kernel"}
    picture = {"image/png": "…"}
    outputs = [{"data": data}, {"data": picture}, {"text": "printed"}]
    content = {"cells": [{"outputs": outputs}, {"source": "text"}]}
    saving.without_live_views({"type": "notebook", "content": content}, path="a.ipynb")
    assert outputs == [
        {"data": {"text/plain": "needs a kernel"}},
        {"data": picture},
        {"text": "printed"},
    ]
    saving.without_live_views({"type": "file", "content": "text"})


def test_the_reader_s_arrangement_stays(tmp_path):
    lab.make_workspace(tmp_path)
    [path] = tmp_path.iterdir()
    layout = json.loads(path.read_text(encoding="utf-8"))["data"]["layout-restorer:data"]
    assert layout["relativeSizes"][0] == lab.FILE_PANEL
    path.write_text("mine", encoding="utf-8")
    lab.make_workspace(tmp_path)
    assert path.read_text(encoding="utf-8") == "mine"
