"""docs/reliability.md: every row names a test, every test of a fault has a row."""

import re
import sys

from helpers.settings import ROOT

sys.path.append(str(ROOT / "tools"))
import write_reliability  # noqa: E402

PAGE = write_reliability.PAGE.read_text()
ROWS = PAGE.partition(write_reliability.START)[2].partition(write_reliability.END)[0]


def named() -> list[tuple[str, str]]:
    """(module, test with its parameters) of every row."""
    return [(module, test) for test, module in re.findall(r"\[`([^`]+)`\]\(\.\./([^)]+)\)", ROWS)]


def test_every_row_names_a_test_and_every_fault_test_has_a_row():
    rows = [f"{module}::{test}" for module, test in named()]
    assert rows == write_reliability.fault_tests()


def test_the_table_is_whole_and_no_row_is_there_twice():
    lines = ROWS.splitlines()[2:]
    assert len(lines) == len(named()) == len(set(named()))
    for line in lines:
        cells = re.split(r"(?<!\\)\|", line)[1:-1]
        assert len(cells) == 5 and all(cell.strip() for cell in cells), line


def test_no_row_tells_of_this_machine():
    assert not re.search(r"/(?:tmp|root|home|work|Users)/|127\.0\.0\.1:\d", ROWS)
