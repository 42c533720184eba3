"""The bar shows to someone who watches and leaves an executed notebook alone."""

import os
import subprocess
import sys

import nbformat
import pytest
from nbclient import NotebookClient

from helpers.progress import track

LOOP = """
import time
from helpers.progress import track
for _ in track(range(6), total=6, unit="photos", label="toy"):
    time.sleep(0.1)
print("done")
"""


def test_items_pass_unchanged_in_order():
    assert list(track(iter("abc"), total=3, unit="letters", label="x")) == ["a", "b", "c"]


def test_an_executed_notebook_holds_only_its_own_output():
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(LOOP)])
    NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
    assert notebook.cells[0].outputs == [
        {"output_type": "stream", "name": "stdout", "text": "done\n"}
    ]


def test_a_pipe_gets_no_bar():
    run = subprocess.run([sys.executable, "-c", LOOP], capture_output=True, text=True)
    assert (run.stdout, run.stderr) == ("done\n", "")


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_a_terminal_gets_a_bar_that_goes_away():
    import termios

    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    run = subprocess.run([sys.executable, "-c", LOOP], stdout=subprocess.PIPE, stderr=theirs)
    os.close(theirs)
    shown = os.read(ours, 65536).decode()
    os.close(ours)
    assert run.stdout == b"done\n"
    assert "toy:" in shown
    assert "photos/s" in shown
    assert shown.rstrip("\r").split("\r")[-1].strip() == ""
