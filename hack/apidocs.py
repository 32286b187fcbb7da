"""Writes docs/api.md from the CRDs, or with --check reports that it is out of date.

`python -m hack.apidocs [--check]`
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hack.crds.definition import all_definitions
from hack.generated import keep

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "api.md"
HEAD = """# The API, field by field

Written by `make generate` from the CRDs in `config/crd`; `make verify` checks it.
`kubectl explain kindcluster.spec --recursive` shows the same.
The API server refuses invalid objects when they are applied, without a webhook.
"""
LIMITS = {
    "minimum": "at least {}",
    "maximum": "at most {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
    "maxProperties": "at most {} entries",
    "pattern": "pattern `{}`",
    "format": "format {}",
    "default": "default `{}`",
}
Schema = Mapping[str, Any]


def main(arguments: Sequence[str]) -> int:
    return keep({PAGE: render(all_definitions())}, ROOT, check="--check" in arguments)


def render(definitions: Sequence[Schema]) -> str:
    """Return the page."""
    specs = {one["spec"]["names"]["kind"]: one["spec"] for one in definitions}
    return "\n".join([HEAD, *(line for kind in sorted(specs) for line in _kind(specs[kind]))])


def _kind(spec: Schema) -> Iterator[str]:
    names, (version,) = spec["names"], spec["versions"]
    short = "".join(f", short name `{name}`" for name in names.get("shortNames", ()))
    schema = version["schema"]["openAPIV3Schema"]
    yield f"## {names['kind']}\n"
    yield f"`{spec['group']}/{version['name']}`, `{names['plural']}`{short}. {schema.get('description', '')}".rstrip()
    yield ""
    if columns := version.get("additionalPrinterColumns"):
        wide = [column["name"] for column in columns if column.get("priority")]
        plain = [column["name"] for column in columns if not column.get("priority")]
        yield f"Columns: {', '.join(plain)}" + (f"; with `-o wide` also {', '.join(wide)}" if wide else "") + ".\n"
    if names["kind"].endswith("Template"):
        base = names["kind"].removesuffix("Template")
        yield f"`spec.template.spec` is the `spec` of a [{base}](#{base.lower()}). `spec.template.metadata` holds"
        yield "labels and annotations for the objects that Cluster API creates from the template.\n"
        yield from _rules(_without(schema, "spec"))
        return
    for part in ("spec", "status"):
        if part in schema["properties"]:
            yield f"### {names['kind']} {part}\n\n| Field | Type | Meaning |\n|---|---|---|"
            yield from (_row(path, field) for path, field in _fields(schema["properties"][part]))
            yield ""
    yield from _rules(schema)


def _without(schema: Schema, name: str) -> Schema:
    spec = schema["properties"][name]
    return {key: value for key, value in spec.items() if key == "x-kubernetes-validations"}


def _fields(schema: Schema, path: str = "") -> Iterator[tuple[str, Schema]]:
    """Yield each field of an object with its path, parents first: `path[]` for list items, `path.*` for map values."""
    for name, field in (schema.get("properties") or {}).items():
        inner = f"{path}.{name}".lstrip(".")
        yield inner, field
        while field.get("type") == "array":
            inner, field = f"{inner}[]", field["items"]
        yield from _fields(field, inner)


def _row(path: str, field: Schema) -> str:
    meaning = [str(field.get("description") or "").strip()]
    if values := field.get("enum"):
        meaning.append(f"One of {', '.join(f'`{value}`' for value in values)}.")
    if limits := ", ".join(_limits(field)):
        meaning.append(f"{limits[:1].upper()}{limits[1:]}.")
    return f"| `{path}` | {_type(field)} | {_cell(' '.join(filter(None, meaning)))} |"


def _limits(field: Schema) -> Iterator[str]:
    for key, text in LIMITS.items():
        if key == "minLength" and field.get(key) == 1:
            yield "not empty"
        elif key in field and not (key == "format" and field["type"] == "integer"):
            yield text.format(_value(field[key]))


def _type(field: Schema) -> str:
    if field.get("x-kubernetes-int-or-string"):
        return "integer or string"
    match field.get("type"):
        case "array":
            return f"list of {_type(field['items'])}"
        case "object" if isinstance(field.get("additionalProperties"), Mapping):
            return f"map of {_type(field['additionalProperties'])}"
        case other:
            return str(other or "any")


def _rules(schema: Schema) -> Iterator[str]:
    """Yield the messages with which the API server rejects an object."""
    if messages := sorted(set(_messages(schema))):
        yield "The API server refuses an object with one of these messages:\n"
        yield from (f"- {_cell(message)}" for message in messages)
        yield ""


def _messages(schema: Schema) -> Iterator[str]:
    for rule in schema.get("x-kubernetes-validations") or ():
        if "message" in rule:
            yield rule["message"]
    children = [*(schema.get("properties") or {}).values(), schema.get("items"), schema.get("additionalProperties")]
    for child in children:
        if isinstance(child, Mapping):
            yield from _messages(child)


def _value(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
