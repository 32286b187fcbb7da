"""docs/regressions.md: every row names the tests that fail without the fix, and each of them exists."""

import ast
import re
from functools import cache

import pytest

from test.packaging.packaged import ROOT

PAGE = ROOT / "docs" / "regressions.md"
HEADING = "| What went wrong | Now | Test |"
TEST = re.compile(r"`(test/[\w/]+\.py)::(?:Test\w+::)?(test_\w+)`")


def rows() -> list[list[str]]:
    """Return the cells of all tables of the page."""
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| ") and line != HEADING]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


@cache
def names_in(file: str) -> frozenset[str]:
    """Return the names of the tests of a file, also those in classes; none if there is no such file."""
    path = ROOT / file
    parsed = ast.parse(path.read_text()) if path.is_file() else ast.Module([], [])
    functions = (one for one in ast.walk(parsed) if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef))
    return frozenset(one.name for one in functions)


def test_every_table_has_the_same_columns() -> None:
    headings = re.findall(r"^(\|.*)\n\|---", PAGE.read_text(), re.MULTILINE)
    assert set(headings) == {HEADING}


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0][:60])
def test_row_names_tests_that_exist(row: list[str]) -> None:
    wrong, now, named = row
    assert wrong
    assert now
    found = TEST.findall(named)
    assert found
    assert TEST.sub("", named).strip(", ") == ""
    assert [f"{file}::{name}" for file, name in found if name not in names_in(file)] == []


def test_no_defect_is_listed_twice() -> None:
    defects = [row[0] for row in rows()]
    assert len(defects) == len(set(defects))
