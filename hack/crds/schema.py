"""Building blocks of a structural OpenAPI schema, independent of kind and Cluster API.

Every list declares its type and no field has a default, so server-side apply by several managers is predictable (C32).
"""

from collections.abc import Mapping, Sequence
from inspect import cleandoc
from typing import Any

Schema = dict[str, Any]


def text(doc: str, *, max_length: int, rules: Sequence[Schema] = (), **limits: Any) -> Schema:
    """Return the schema of a string; the length limit keeps the cost of CEL rules bounded."""
    return {
        "description": _prose(doc),
        "type": "string",
        "minLength": 1,
        "maxLength": max_length,
        **limits,
        **_rules(rules),
    }


def report(doc: str, *, max_length: int = 512) -> Schema:
    """Return the schema of a string that the provider reports; it may be empty."""
    return {"description": _prose(doc), "type": "string", "maxLength": max_length}


def choice(doc: str, *values: str) -> Schema:
    """Return the schema of a string that is one of the given values."""
    return {"description": _prose(doc), "type": "string", "enum": list(values)}


def instant(doc: str) -> Schema:
    """Return the schema of a point in time in RFC 3339."""
    return {"description": _prose(doc), "type": "string", "format": "date-time"}


def integer(doc: str, *, minimum: int, maximum: int | None = None, size: str = "int32") -> Schema:
    """Return the schema of a whole number."""
    upper = {} if maximum is None else {"maximum": maximum}
    return {"description": _prose(doc), "type": "integer", "format": size, "minimum": minimum, **upper}


def flag(doc: str) -> Schema:
    """Return the schema of a boolean."""
    return {"description": _prose(doc), "type": "boolean"}


def record(
    doc: str, properties: Mapping[str, Schema], *, required: Sequence[str] = (), rules: Sequence[Schema] = ()
) -> Schema:
    """Return the schema of an object with the given properties and no others.

    The API server does not store an empty map. A CRD with one would differ from what is stored, and so a second
    server-side apply of the same file, under another name, would be a conflict.
    """
    demanded = {"required": list(required)} if required else {}
    allowed = {"properties": dict(properties)} if properties else {}
    return {
        "description": _prose(doc),
        "type": "object",
        **demanded,
        **allowed,
        **_rules(rules),
    }


def listing(
    doc: str,
    items: Schema,
    *,
    max_items: int,
    min_items: int = 0,
    keys: Sequence[str] = (),
    rules: Sequence[Schema] = (),
) -> Schema:
    """Return the schema of a list: merged by `keys` on server-side apply, or replaced as a whole without them."""
    merge = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)} if keys else {}
    return {
        "description": _prose(doc),
        "type": "array",
        "items": items,
        **({"minItems": min_items} if min_items else {}),
        "maxItems": max_items,
        **(merge or {"x-kubernetes-list-type": "atomic"}),
        **_rules(rules),
    }


def mapping(doc: str, values: Schema, *, max_properties: int, rules: Sequence[Schema] = ()) -> Schema:
    """Return the schema of a map from strings to `values`."""
    return {
        "description": _prose(doc),
        "type": "object",
        "additionalProperties": values,
        "maxProperties": max_properties,
        **_rules(rules),
    }


def rule(expression: str, message: str, *, at: str = "", reason: str = "") -> Schema:
    """Return a CEL rule.

    message: what is accepted and what to do instead; the API server puts the field in front of it.
    at: the field to name if it is not the one with the rule, as in `.spec.image`.
    reason: FieldValueForbidden, FieldValueInvalid …; the API server's default is FieldValueInvalid.
    """
    optional = {"fieldPath": at, "reason": reason}
    return {
        "rule": cleandoc(expression),
        "message": _prose(message),
        **{k: v for k, v in optional.items() if v},
    }


def _prose(doc: str) -> str:
    return " ".join(doc.split())


def _rules(rules: Sequence[Schema]) -> Schema:
    return {"x-kubernetes-validations": list(rules)} if rules else {}
