"""Write the table of faults into docs/reliability.md, from what the last test run recorded.

`make reliability` runs the tests and then this.

Every test of a fault leaves a record in BUILD_DIR/faults once it has shown that nothing was lost
and that running again repaired it.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout

import pytest

from helpers.settings import ROOT, load_settings

PAGE = ROOT / "docs/reliability.md"
MODULES = ("tests/integration/test_faults.py", "tests/integration/test_notebook_faults.py")
START, END = "<!-- faults -->\n", "<!-- /faults -->\n"
HEAD = "| Fault | What was done | Lost | Message shown | Test |\n| --- | --- | --- | --- | --- |\n"


class Collected:
    """A plugin of pytest that keeps what was collected."""

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.tests = [item.nodeid for item in session.items]


def fault_tests() -> list[str]:
    """`<module>::<function>[<parameters>]` of every test of a fault, in pytest's order."""
    collected, said = Collected(), io.StringIO()
    command = ["--collect-only", "-q", f"--rootdir={ROOT}", "-p", "no:cacheprovider"]
    with redirect_stdout(said):
        status = pytest.main([*command, *(str(ROOT / name) for name in MODULES)], [collected])
    if status:
        sys.exit(f"The tests of faults cannot be read:\n{said.getvalue()}")
    return collected.tests


def table(records: Sequence[dict[str, str]], tests: Sequence[str]) -> str:
    """The records as a table in Markdown, in the order of the tests."""
    return HEAD + "".join(map(row, sorted(records, key=lambda record: tests.index(record["test"]))))


def row(record: dict[str, str]) -> str:
    module, _, test = record["test"].partition("::")
    name = f"[`{test}`](../{module})"
    cells = (record["fault"], record["done"], record["lost"], record["message"] or "–", name)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def main() -> None:
    """Replace the table of the page; refuses where a test of a fault left no record."""
    tests = fault_tests()
    files = sorted((load_settings().build_dir / "faults").glob("*.json"))
    records = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    known = {record["test"] for record in records}
    if missing := [test for test in tests if test not in known]:
        sys.exit("These tests left no record; run them first:\n" + "\n".join(missing))
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(START)
    after = rest.partition(END)[2]
    PAGE.write_text(f"{before}{START}{table(records, tests)}{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
