"""Evaluates the small part of Go's templates that callers of a container engine's `--format` use.

Fields (`.State.Running`), `json X`, `index X "key"`, parentheses, and `range $name, $item := X … end` with `$item.F`.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from capk.errors import CapkError

_ACTION = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_TOKEN = re.compile(r'\(|\)|"(?:[^"\\]|\\.)*"|[^\s()]+')
_RANGE = re.compile(r"range\s+\$(\w+)\s*,\s*\$(\w+)\s*:=\s*(.+)")

Scope = Mapping[str, Any]


class UnknownTemplate(CapkError):
    """The template uses something that is not supported here."""


def render(template: str, document: Mapping[str, Any]) -> str:
    """Return a template's text for one document; a missing field or key prints as Go prints it.

    Raises UnknownTemplate.
    """
    parts = _ACTION.split(template)
    tokens = iter([("action", part.strip()) if index % 2 else ("text", part) for index, part in enumerate(parts)])
    return _block(tokens, {"": document})


def _block(tokens: Iterator[tuple[str, str]], scope: Scope) -> str:
    printed = []
    for kind, text in tokens:
        if kind == "text":
            printed.append(text)
        elif text == "end":
            break
        elif match := _RANGE.fullmatch(text):
            body = _body(tokens)
            found = _evaluate(match[3], scope) or {}
            items = dict(enumerate(found)) if isinstance(found, list) else found
            printed += [_block(iter(body), {**scope, match[1]: key, match[2]: items[key]}) for key in sorted(items)]
        else:
            printed.append(_printed(_evaluate(text, scope)))
    return "".join(printed)


def _body(tokens: Iterator[tuple[str, str]]) -> list[tuple[str, str]]:
    body: list[tuple[str, str]] = []
    depth = 1
    for kind, text in tokens:
        depth += 1 if kind == "action" and text.startswith("range") else -1 if (kind, text) == ("action", "end") else 0
        if not depth:
            return body
        body.append((kind, text))
    raise UnknownTemplate("template: unexpected EOF")


def _evaluate(expression: str, scope: Scope) -> Any:
    tokens = iter(_TOKEN.findall(expression))
    return _call(list(_operands(tokens, scope)))


def _operands(tokens: Iterator[str], scope: Scope) -> Iterator[Any]:
    for token in tokens:
        if token == ")":
            return
        if token == "(":
            yield _call(list(_operands(tokens, scope)))
        elif token.startswith('"'):
            yield json.loads(token)
        elif token in _FUNCTIONS:
            yield _FUNCTIONS[token]
        elif token.startswith((".", "$")):
            name, *fields = token.removeprefix("$").split(".")
            yield _field(scope.get(name), [field for field in fields if field])
        else:
            raise UnknownTemplate(f"template: {token} is not supported by capk-local-kind")


def _call(operands: list[Any]) -> Any:
    if not operands:
        raise UnknownTemplate("template: missing value for command")
    first, *rest = operands
    return first(*rest) if callable(first) else first


def _field(value: Any, fields: list[str]) -> Any:
    for name in fields:
        value = (value or {}).get(name)
    return value


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        value = value[key] if isinstance(value, list) else (value or {}).get(key, "")
    return value


def _printed(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "<no value>" if value is None else str(value)


_FUNCTIONS = {"json": lambda value: json.dumps(value), "index": _index}
