"""Write the table of faults into docs/reliability.md, from what the last test run recorded.

`make reliability` runs the tests and then this.

Every test of a fault leaves a record in BUILD_DIR/faults once it has shown that nothing was lost
and that running again repaired it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence

from helpers.settings import ROOT, load_settings

PAGE = ROOT / "docs/reliability.md"
MODULES = ("tests/integration/test_faults.py", "tests/integration/test_notebook_faults.py")
START, END = "<!-- faults -->\n", "<!-- /faults -->\n"
HEAD = "| Fault | What was done | Lost | Message shown | Test |\n| --- | --- | --- | --- | --- |\n"


def fault_tests() -> list[str]:
    """`<module>::<function>[<parameters>]` of every test of a fault, in pytest's order."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", *MODULES]
    # Other packages' plugins have no part in it and take longer to load than all the tests.
    alone = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    ended = subprocess.run(command, cwd=ROOT, env=alone, capture_output=True, text=True)
    if ended.returncode:
        sys.exit(f"The tests of faults cannot be read:\n{ended.stdout}{ended.stderr}")
    return [line for line in ended.stdout.splitlines() if line.startswith(MODULES)]


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
