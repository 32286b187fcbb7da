"""The table of rules and tests: every rule has a test or a reason, every mark a rule."""

from pathlib import Path

import yaml

from hack.rules.__main__ import RULES, find_problems, render
from hack.rules.marks import proofs

MARKED = """
import pytest

pytestmark = [pytest.mark.rule("C1")]

@pytest.mark.rule("C2", "K3")
async def test_one(): ...

class TestMany:
    @pytest.mark.rule("C2")
    def test_two(self): ...

def not_a_test(): ...
"""


def collected(directory: Path) -> dict[str, list[str]]:
    tests = directory / "test"
    tests.mkdir()
    (tests / "test_marked.py").write_text(MARKED)
    return proofs(tests)


def test_marks_of_functions_classes_and_modules_are_found(tmp_path: Path) -> None:
    one, two = "test/test_marked.py::test_one", "test/test_marked.py::test_two"
    assert collected(tmp_path) == {"C1": [one, two], "C2": [one, two], "K3": [one]}


def test_rule_needs_a_test_or_a_reason_and_a_mark_needs_a_rule(tmp_path: Path) -> None:
    rules = {"contract": {"C1": "one", "C4": "four", "C5": {"text": "five", "reason": "no machines"}}, "kopf": {}}
    unproven, *unknown = find_problems(rules, collected(tmp_path))
    assert unproven.startswith("C4 has neither")
    assert [line.rpartition(": ")[2] for line in unknown] == ["C2 is not in rules.yaml", "K3 is not in rules.yaml"]


def test_table_links_each_rule_to_its_tests(tmp_path: Path) -> None:
    rules = {"contract": {"C1": "one", "C5": {"text": "five", "reason": "no machines"}}, "kopf": {}}
    table = render(rules, collected(tmp_path))
    link = "`test_one` ([test_marked.py](../test/test_marked.py))"
    assert f"| C1 | one | {link}<br>" in table
    assert "| C5 | five | no machines |" in table


def test_all_rules_of_the_contract_are_listed() -> None:
    assert list(yaml.safe_load(RULES.read_text())["contract"]) == [f"C{number}" for number in range(1, 59)]
