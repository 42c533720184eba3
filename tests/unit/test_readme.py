"""README.md and every other text that is tracked: finished, and with a row for each notebook."""

import json
import re
import subprocess

import nbformat
import pytest

from helpers.settings import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
PLACEHOLDER = re.compile(
    r"[@]{2}\w*|[<{]{2}[A-Z_]+[}>]{2}|\b(?:[T]ODO|[T]BD|[F]IXME|[L]orem ipsum)\b"
)
TEXTS = {".md", ".py", ".sh", ".toml", ".txt", ".yml", ".cfg", ".css", ".js", ".html", ".ipynb", ""}


def tracked():
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, encoding="utf-8"
    )
    if listed.returncode:
        pytest.skip("not a git checkout: what is tracked is not known")
    return [ROOT / name for name in listed.stdout.split("\0") if name]


def text(path):
    """What people wrote: of a notebook its cells, without the pictures."""
    if path.suffix != ".ipynb":
        return path.read_text(encoding="utf-8")
    return "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells)


def test_no_text_holds_an_unfilled_placeholder():
    texts = [path for path in tracked() if path.suffix in TEXTS and path.is_file()]
    assert ROOT / "README.md" in texts
    found = {
        f"{path.relative_to(ROOT)}: {place[0]}"
        for path in texts
        for place in PLACEHOLDER.finditer(text(path))
    }
    assert found == set()


def test_the_readme_has_a_row_for_every_notebook():
    rows = re.findall(r"^\| \[(\d+) · .+?\]\((notebooks/.+?)\) \| \S", README, re.MULTILINE)
    notebooks = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
    assert rows == [(str(int(path.stem[:2])), f"notebooks/{path.name}") for path in notebooks]


def test_the_page_on_scale_shows_what_was_measured():
    page = (ROOT / "docs/scale.md").read_text(encoding="utf-8")
    measured = json.loads((ROOT / "docs/scale.json").read_text(encoding="utf-8"))
    shown = re.findall(r"^\| ([A-Z_\d]+) \| ([\d ]+) \| (.+) \|$", page, re.MULTILINE)
    table = {(name, int(size.replace(" ", ""))): row.split(" | ") for name, size, row in shown}
    rows = {
        (row["index"], row["vectors"]): row
        for row in measured["growth"]
        if row["index"].isupper() and "lite-3" not in row["server"]
    }
    assert table.keys() == rows.keys() and len(rows) == len(shown)
    columns = ("insert_s", "build_s", "p50_ms", "p95_ms", "recall", "megabytes")
    for key, numbers in table.items():
        for column, number in zip(columns, numbers, strict=True):
            digits = len(number.partition(".")[2])
            assert number == f"{rows[key][column]:.{digits}f}", (key, column)
    load = measured["load"]
    for number in (load["searches_per_s"], load["search_p50_ms"], load["search_p99_ms"]):
        assert f" {number} " in page
