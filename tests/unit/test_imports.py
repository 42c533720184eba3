"""What opening a notebook imports of the helpers stays small, and follows one direction."""

import ast
import json
import re
from graphlib import TopologicalSorter

import pytest

from helpers.settings import ROOT


def file_of(module):
    path = ROOT / module.replace(".", "/")
    return next((p for p in (path.with_suffix(".py"), path / "__init__.py") if p.is_file()), None)


def imported(tree):
    """The modules that code imports when it is imported itself: functions come later."""
    for node in tree.body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def reached(modules):
    """The helpers' modules that these import, directly or not, and the packages of others."""
    ours, others, waiting = {}, set(), {"helpers", *modules}
    while waiting:
        module = waiting.pop()
        if module.split(".")[0] != "helpers":
            others.add(module.split(".")[0])
        elif (file := file_of(module)) and module not in ours:
            ours[module] = file.read_text(encoding="utf-8")
            waiting |= {*imported(ast.parse(ours[module])), module.rpartition(".")[0] or module}
    return ours, others


def of_notebook(number):
    [path] = ROOT.glob(f"notebooks/{number}_*.ipynb")
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    lines = re.findall(r"^(?:from|import) .*helpers.*", "\n".join(code), re.MULTILINE)
    return reached(imported(ast.parse("\n".join(lines))))


@pytest.mark.parametrize(("number", "most"), [("01", 3000), ("04", 4800)])
def test_the_helpers_of_a_notebook_can_be_read(number, most):
    ours, _ = of_notebook(number)
    assert "helpers.conversion" in ours
    assert sum(len(text.splitlines()) for text in ours.values()) <= most


@pytest.mark.parametrize("number", ["00", "01", "02"])
def test_before_vectors_are_stored_no_database_client_is_imported(number):
    _, others = of_notebook(number)
    assert "onnx" in others and not others & {"pymilvus", "redis", "grpc"}


def test_the_helpers_import_each_other_in_one_direction():
    needs = {}
    for path in (ROOT / "helpers").rglob("*.py"):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        names = imported(ast.parse(path.read_text(encoding="utf-8")))
        needs[name] = {module for module in names if file_of(module)} - {name, "helpers"}
    order = list(TopologicalSorter(needs).static_order())  # raises CycleError
    assert order.index("helpers.settings") < order.index("helpers.explorer.widget")
