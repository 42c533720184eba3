"""The notebooks as committed: executed top to bottom, clean, and linked correctly."""

import re

import nbformat
import pytest

from helpers.settings import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    return nbformat.read(request.param, as_version=4)


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_executed_top_to_bottom(notebook):
    counts = [cell.execution_count for cell in code(notebook)]
    assert counts == list(range(1, len(counts) + 1))


def test_no_error_no_warning_no_machine_path(notebook):
    for cell in code(notebook):
        for output in cell.outputs:
            assert output.output_type != "error" and output.get("name") != "stderr"
            text = str(output.get("text", "")) + str(output.get("data", {}).get("text/plain", ""))
            assert not re.search(r"(?<![\w.])/(?:home|root|tmp|work|Users)/", text)


def test_every_figure_has_a_text_alternative(notebook):
    for cell in code(notebook):
        for output in cell.outputs:
            for mime in output.get("data", {}):
                if mime.startswith("image/"):
                    assert output.metadata[mime]["alt"]


def test_cells_are_short_and_links_lead_somewhere(notebook):
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert len(cell.source.splitlines()) <= 25
        for target in re.findall(r"\]\(([^)#:]+\.ipynb)\)", cell.source):
            assert (ROOT / "notebooks" / target).exists(), target


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_size(path):
    assert path.stat().st_size < 2_000_000
