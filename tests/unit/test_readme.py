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


def check_table(text, rows):
    """Each row of a table in Markdown is a measured one, and none is missing."""
    shown = re.findall(r"^\| ([A-Za-z_\d() ]+) \| ([\d ]+) \| (.+) \|$", text, re.MULTILINE)
    table = {(name, int(size.replace(" ", ""))): row.split(" | ") for name, size, row in shown}
    measured = {(row["index"], row["vectors"]): row for row in rows}
    assert table.keys() == measured.keys() and len(measured) == len(shown) > 0
    columns = ("insert_s", "build_s", "p50_ms", "p95_ms", "recall", "megabytes")
    for key, numbers in table.items():
        for column, number in zip(columns, numbers, strict=True):
            digits = len(number.partition(".")[2])
            assert number == f"{measured[key][column]:.{digits}f}", (key, column)


def test_the_page_on_scale_shows_what_was_measured():
    page = (ROOT / "docs/scale.md").read_text(encoding="utf-8")
    measured = json.loads((ROOT / "docs/scale.json").read_text(encoding="utf-8"))
    for title, numbers in ("512", "growth"), ("2 048", "growth_2048"):
        for server, is_lite in ("Milvus 2.3.5", False), ("Milvus Lite", True):
            part = page.split(f"### {server}, {title} numbers\n")[1].split("\n#")[0]
            rows = [row for row in measured[numbers] if ("milvus_lite" in row["server"]) is is_lite]
            check_table(part, rows)
    load = measured["load"]
    for number in (load["searches_per_s"], load["search_p50_ms"], load["search_p99_ms"]):
        assert f" {number} " in page
