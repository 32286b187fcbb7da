"""Writes docs/contract.md, or with --check reports what is missing: `python -m hack.rules [--check]`."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from hack.generated import keep
from hack.rules.marks import proofs

ROOT = Path(__file__).resolve().parents[2]
RULES = Path(__file__).parent / "rules.yaml"
TABLE = ROOT / "docs" / "contract.md"
HEAD = """# What Cluster API requires, and the tests that prove it

Written by `make generate` from `hack/rules/rules.yaml` and from the marks of the tests; `make verify` checks it.
`make test-integration TESTS="-k <test>"` runs one of them against a real API server with Cluster API's real core.
"""
SECTIONS = {"contract": "Rules of the contract", "kopf": "Traps of kopf"}


def main(arguments: Sequence[str]) -> int:
    rules = yaml.safe_load(RULES.read_text(encoding="utf-8"))
    tests = proofs(ROOT / "test")
    problems = find_problems(rules, tests)
    for problem in problems:
        print(problem, file=sys.stderr)
    stale = keep({TABLE: render(rules, tests)}, ROOT, check="--check" in arguments)
    return 1 if problems or stale else 0


def find_problems(rules: Mapping[str, Mapping[str, Any]], tests: Mapping[str, Sequence[str]]) -> list[str]:
    """Return a line for each rule without a test or a reason, and for each mark that names no rule."""
    known = {rule: entry for section in rules.values() for rule, entry in section.items()}
    unproven = [rule for rule, entry in known.items() if rule not in tests and not _reason(entry)]
    return [
        *(f"{rule} has neither a test with its mark nor a reason in {RULES.name}" for rule in unproven),
        *(f"{', '.join(tests[rule])}: {rule} is not in {RULES.name}" for rule in sorted(tests.keys() - known.keys())),
    ]


def render(rules: Mapping[str, Mapping[str, Any]], tests: Mapping[str, Sequence[str]]) -> str:
    """Return the document."""
    parts = [HEAD]
    for section, title in SECTIONS.items():
        rows = [_row(rule, entry, tests.get(rule, ())) for rule, entry in rules[section].items()]
        parts.append("\n".join([f"\n## {title}\n", "| Rule | What it requires | Proof |", "|---|---|---|", *rows, ""]))
    return "".join(parts)


def _row(rule: str, entry: Any, tests: Sequence[str]) -> str:
    reason = _reason(entry)
    proof = [
        f"`{name}` ([{path.removeprefix('test/')}](../{path}))"
        for path, _, name in (one.partition("::") for one in tests)
    ]
    return f"| {rule} | {_text(entry)} | {'<br>'.join([*([reason] if reason else []), *proof])} |"


def _text(entry: Any) -> str:
    return str(entry["text"] if isinstance(entry, Mapping) else entry)


def _reason(entry: Any) -> str:
    return str(entry.get("reason", "")) if isinstance(entry, Mapping) else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
