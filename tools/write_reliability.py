"""Write the table of faults into docs/reliability.md, from what the last test run recorded.

    BUILD_DIR=build/test python -m pytest tests/integration/test_faults.py \\
        tests/integration/test_notebook_faults.py
    BUILD_DIR=build/test python tools/write_reliability.py

Every test of a fault leaves a record in BUILD_DIR/faults once it has shown that nothing was lost
and that running again repaired it.
"""

from __future__ import annotations

import ast
import json
import sys

from helpers.settings import ROOT, load_settings

PAGE = ROOT / "docs/reliability.md"
MODULES = ("tests/integration/test_faults.py", "tests/integration/test_notebook_faults.py")
START, END = "<!-- faults -->\n", "<!-- /faults -->\n"
HEAD = "| Fault | What was done | Lost | Message shown | Test |\n| --- | --- | --- | --- | --- |\n"


def fault_tests() -> list[str]:
    """`<module>::<function>` of every test that records a fault, in the order of the files."""
    return [
        f"{module}::{node.name}"
        for module in MODULES
        for node in ast.parse((ROOT / module).read_text()).body
        if isinstance(node, ast.FunctionDef) and "record_fault" in [a.arg for a in node.args.args]
    ]


def table(records: list[dict[str, str]]) -> str:
    """The records as a table in Markdown, in the order of the tests."""
    order = fault_tests()
    records = sorted(records, key=lambda r: (order.index(r["test"].partition("[")[0]), r["test"]))
    return HEAD + "".join(map(row, records))


def row(record: dict[str, str]) -> str:
    module, _, test = record["test"].partition("::")
    name = f"[`{test}`](../{module})"
    cells = (record["fault"], record["done"], record["lost"], record["message"] or "–", name)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def main() -> None:
    """Replace the table of the page; refuses where a test of a fault left no record."""
    files = sorted((load_settings().build_dir / "faults").glob("*.json"))
    records = [json.loads(file.read_text()) for file in files]
    known = {record["test"].partition("[")[0] for record in records}
    if missing := [test for test in fault_tests() if test not in known]:
        sys.exit("These tests left no record; run them first:\n" + "\n".join(missing))
    page = PAGE.read_text()
    before, _, rest = page.partition(START)
    after = rest.partition(END)[2]
    PAGE.write_text(f"{before}{START}{table(records)}{END}{after}")


if __name__ == "__main__":
    main()
