"""Finds the marks `@pytest.mark.rule("C14")` in test files, without importing them."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path


def proofs(directory: Path) -> dict[str, list[str]]:
    """Return the tests with the mark of each rule, as `path::test` below `directory`, sorted.

    Marks on a class and `pytestmark` of a module count for all tests in it.
    """
    found: dict[str, set[str]] = defaultdict(set)
    for file in sorted(directory.rglob("test_*.py")):
        where = file.relative_to(directory.parent).as_posix()
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for name, rules in _tests(tree.body, _of_module(tree)):
            for rule in rules:
                found[rule].add(f"{where}::{name}")
    return {rule: sorted(tests) for rule, tests in found.items()}


def _tests(body: list[ast.stmt], inherited: set[str]) -> Iterator[tuple[str, set[str]]]:
    for statement in body:
        match statement:
            case ast.FunctionDef() | ast.AsyncFunctionDef() if statement.name.startswith("test"):
                yield statement.name, inherited | _rules(statement.decorator_list)
            case ast.ClassDef():
                yield from _tests(statement.body, inherited | _rules(statement.decorator_list))


def _of_module(tree: ast.Module) -> set[str]:
    assigned = [node for node in tree.body if isinstance(node, ast.Assign)]
    marks = [
        node.value
        for node in assigned
        if any(isinstance(name, ast.Name) and name.id == "pytestmark" for name in node.targets)
    ]
    return _rules([item for mark in marks for item in (mark.elts if isinstance(mark, ast.List) else [mark])])


def _rules(decorators: list[ast.expr]) -> set[str]:
    calls = [node for node in decorators if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.rule"]
    return {ast.literal_eval(argument) for call in calls for argument in call.args}
