"""Builds guarded merge patches for status, finalizer, annotations, owner references and spec; pure.

Every patch carries `metadata.resourceVersion` and `metadata.uid` of the object it was computed from, so a stale view
gets a 409, and a view of another object with the same name a 422, instead of undoing the work of others (K21, K22). A
patch that would change nothing is None (C19).
"""

from collections.abc import Mapping, Sequence
from typing import Any


def status_patch(seen: Mapping[str, Any], status: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the merge patch of the status subresource that makes the whole status equal to the wanted one.

    Fields that are not wanted become null, which removes them; lists are replaced whole.
    """
    change = merge_diff(seen.get("status") or {}, without_nulls(status))
    return _guarded(seen, {"status": change}) if change else None


def metadata_patch(
    seen: Mapping[str, Any],
    *,
    add_finalizer: str | None = None,
    remove_finalizer: str | None = None,
    annotations: Mapping[str, str | None] | None = None,
    spec: Mapping[str, Any] | None = None,
) -> dict[str, Any] | None:
    """Return one merge patch of the object itself; finalizers, annotations, labels and references of others stay (C29).

    annotations: values to set, None removes.
    spec: the fields to set, None removes; fields that are not named stay.
    """
    metadata = seen.get("metadata") or {}
    changes: dict[str, Any] = {}
    finalizers = list(metadata.get("finalizers") or ())
    wanted = [name for name in finalizers if name != remove_finalizer]
    if add_finalizer and add_finalizer not in wanted:
        wanted.append(add_finalizer)
    if wanted != finalizers:
        changes["finalizers"] = wanted
    if change := _set_diff(metadata.get("annotations") or {}, annotations or {}):
        changes["annotations"] = change
    body: dict[str, Any] = {"metadata": changes} if changes else {}
    if change := _set_diff(seen.get("spec") or {}, spec or {}):
        body["spec"] = change
    return _guarded(seen, body) if body else None


def merge_diff(have: Mapping[str, Any], want: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON merge patch (RFC 7386) that turns one document into the other; empty when they are equal."""
    patch: dict[str, Any] = {key: None for key in have if key not in want}
    for key, value in want.items():
        if isinstance(value, Mapping) and isinstance(have.get(key), Mapping):
            if change := merge_diff(have[key], value):
                patch[key] = change
        elif key not in have or have[key] != value:
            patch[key] = value
    return patch


def without_nulls(value: Any) -> Any:
    """Return a document without its nulls: a merge patch cannot store them and Cluster API must not see them (C3)."""
    # Most values are texts, and to ask whether they are a Mapping takes ten times as long.
    if isinstance(value, str | int):
        return value
    if isinstance(value, Mapping):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return [without_nulls(item) for item in value if item is not None]
    return value


def _set_diff(have: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the merge patch that sets the named fields, removes those that are None, and leaves the rest."""
    patch: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and isinstance(have.get(key), Mapping):
            if change := _set_diff(have[key], value):
                patch[key] = change
        elif (value is not None or key in have) and have.get(key) != value:
            patch[key] = value
    return patch


def _guarded(seen: Mapping[str, Any], body: dict[str, Any]) -> dict[str, Any]:
    metadata = seen["metadata"]
    guard = {"resourceVersion": metadata["resourceVersion"], "uid": metadata["uid"]}
    return {**body, "metadata": {**body.get("metadata", {}), **guard}}
