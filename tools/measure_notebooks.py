"""How easy the notebooks are to read: one row of measures each, and what passes a limit.

`make test` calls this. It ends with status 1 where a notebook passes a limit.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import nbformat
import pandas as pd
from IPython.core.inputtransformer2 import TransformerManager
from nbformat import NotebookNode

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
WIDEST_LINE = 88
LIMITS = {
    "median lines": 4,
    "comprehensions / 100 lines": 4,
    "nested": 0,
    "conditional dicts": 0,
    f"lines > {WIDEST_LINE}": 0,
    "shown, not read aloud": 0,
}
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
SEARCHES = re.compile(r"\b(search|search_stored|rank_exact)\(")


def main() -> int:
    paths = sorted(NOTEBOOKS.glob("[0-9]*.ipynb"))
    notebooks = {path.stem: nbformat.read(path, as_version=4) for path in paths}
    rows = {stem: measures(notebook) for stem, notebook in notebooks.items()}
    table = pd.DataFrame({stem[:2]: row for stem, row in rows.items()})
    print(table.to_string(float_format="{:g}".format, na_rep="–"))
    complaints = [
        f"{stem}: {name} {row[name]:g}, allowed {most}"
        for stem, row in rows.items()
        for name, most in LIMITS.items()
        if row[name] > most
    ]
    print("", *complaints, sep="\n")
    return 1 if complaints else 0


def measures(notebook: NotebookNode) -> dict[str, float | None]:
    """The numbers of one notebook, under the names of its row."""
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    prose = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    lines = [line for source in code for line in code_lines(source)]
    nodes = [node for source in code for node in comprehensions(source)]
    words = sum(len(re.findall(r"\w+", source)) for source in prose)
    followed = [is_read_aloud(notebook, place) for place in shown(notebook)]
    return {
        "median lines": median(len(code_lines(source)) for source in code),
        "longest": max(len(code_lines(source)) for source in code),
        "comprehensions / 100 lines": round(100 * len(nodes) / len(lines), 1),
        "nested": sum(map(is_nested, nodes)),
        "conditional dicts": sum(map(is_conditional_dict, nodes)),
        f"lines > {WIDEST_LINE}": sum(len(line) > WIDEST_LINE for line in lines),
        "words / line": round(words / len(lines), 1),
        "figures and tables": len(followed),
        "shown, not read aloud": followed.count(False),
        "cells before the first search": first_search(notebook),
    }


def code_lines(source: str) -> list[str]:
    """The lines of a cell that are not empty."""
    return [line for line in source.splitlines() if line.strip()]


def comprehensions(source: str) -> Iterator[ast.AST]:
    """Every comprehension and generator expression of a cell, IPython's own lines allowed."""
    python = TransformerManager().transform_cell(source)
    return (node for node in ast.walk(ast.parse(python)) if isinstance(node, COMPREHENSIONS))


def is_nested(node: ast.AST) -> bool:
    """Whether it has two `for`s, or another comprehension inside."""
    inside = [part for part in ast.walk(node) if isinstance(part, COMPREHENSIONS)]
    return len(inside) > 1 or len(node.generators) > 1


def is_conditional_dict(node: ast.AST) -> bool:
    """Whether it makes a dictionary, of some of what it goes through."""
    return isinstance(node, ast.DictComp) and any(part.ifs for part in node.generators)


def shown(notebook: NotebookNode) -> Iterator[int]:
    """The places of the cells that show a figure or a table, solutions left out."""
    for place, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown" and cell.source.startswith("### Solutions"):
            return
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "<table" in data.get("text/html", "") or any("image/" in mime for mime in data):
                yield place
                break


def is_read_aloud(notebook: NotebookNode, place: int) -> bool:
    """Whether a paragraph, not a heading, follows the cell at `place`."""
    following = notebook.cells[place + 1 : place + 2]
    return any(cell.cell_type == "markdown" and cell.source[:1] != "#" for cell in following)


def first_search(notebook: NotebookNode) -> int | None:
    """How many cells stand before the first that searches."""
    for place, cell in enumerate(notebook.cells):
        if cell.cell_type == "code" and SEARCHES.search(cell.source):
            return place
    return None


if __name__ == "__main__":
    sys.exit(main())
