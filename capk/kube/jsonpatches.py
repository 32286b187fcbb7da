"""Computes guarded JSON patches for status, finalizer, annotations, spec and Secrets. Pure.

Every patch first tests `metadata.resourceVersion` and `metadata.uid` of the object that it was computed from. If the
object has changed, or another object has its name, the patch fails with a Conflict and overwrites nothing (K21, K22).
A patch without changes is None (C19).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jsonpatch

Operation = Mapping[str, Any]
"""One operation of a JSON patch (RFC 6902)."""


def changed(metadata: Mapping[str, Any], before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Operation] | None:
    """Return the patch that changes an object's fields from `before` to `after`, guarded by its metadata."""
    if before == after:
        return None
    return [*_guard(metadata), *_operations(before, after)]


def status_patch(current: Mapping[str, Any], status: Mapping[str, Any]) -> list[Operation] | None:
    """Return the patch of the status subresource that replaces the whole status by the wanted one."""
    wanted = without_nulls(status)
    before = {"status": current["status"]} if "status" in current else {}
    return changed(current["metadata"], before, {"status": wanted} if wanted or before else {})


def metadata_patch(
    current: Mapping[str, Any],
    *,
    add_finalizer: str | None = None,
    remove_finalizer: str | None = None,
    annotations: Mapping[str, str | None] | None = None,
    spec: Mapping[str, Any] | None = None,
) -> list[Operation] | None:
    """Return one patch of the object itself; it keeps finalizers, annotations, labels and references of others (C29).

    annotations: values to set; None removes.
    spec: fields to set; None removes; other fields stay.
    """
    metadata = current["metadata"]
    before = {"metadata": _only(metadata, "finalizers", "annotations"), **_only(current, "spec")}
    finalizers = [name for name in metadata.get("finalizers") or () if name != remove_finalizer]
    if add_finalizer and add_finalizer not in finalizers:
        finalizers.append(add_finalizer)
    wanted = {"finalizers": finalizers, "annotations": _with(metadata.get("annotations"), annotations)}
    after = {"metadata": _kept(wanted, metadata), **_kept({"spec": _with(current.get("spec"), spec)}, current)}
    return changed(metadata, before, after)


def secret_patch(metadata: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[Operation]:
    """Return the patch that makes a Secret equal to the wanted one; it keeps labels, annotations and owners of others.

    metadata: of the stored Secret. The patch replaces all data, which memory does not hold: additions of others go.
    """
    target = wanted["metadata"]
    own = {reference["uid"] for reference in target["ownerReferences"]}
    others = [
        reference
        for reference in metadata.get("ownerReferences") or ()
        if not reference.get("controller") and reference["uid"] not in own
    ]
    after = {
        "labels": _with(metadata.get("labels"), target["labels"]),
        "annotations": _with(metadata.get("annotations"), target["annotations"]),
        "ownerReferences": [*target["ownerReferences"], *others],
    }
    changes = _operations({"metadata": _only(metadata, *after)}, {"metadata": _kept(after, metadata)})
    replaced = [{"op": "add", "path": f"/{part}", "value": wanted[part]} for part in ("data", "type")]
    return [*_guard(metadata), *changes, *replaced]


def without_nulls(value: Any) -> Any:
    """Return a document without nulls, which Cluster API must not get (C3)."""
    # Most values are strings, and the test for a Mapping takes ten times as long.
    if isinstance(value, str | int):
        return value
    if isinstance(value, Mapping):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return [without_nulls(item) for item in value if item is not None]
    return value


def _operations(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Operation]:
    # jsonpatch only compares the dumped values, and `repr` takes a fifth of the time of JSON, its default.
    return list(jsonpatch.JsonPatch.from_diff(before, after, dumps=repr).patch)


def _with(fields: Mapping[str, Any] | None, values: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the fields with the values set; None removes a field."""
    merged = {**(fields or {}), **(values or {})}
    return {key: value for key, value in merged.items() if value is not None}


def _only(holder: Mapping[str, Any], *fields: str) -> dict[str, Any]:
    return {field: holder[field] for field in fields if field in holder}


def _kept(wanted: Mapping[str, Any], holder: Mapping[str, Any]) -> dict[str, Any]:
    """Return the wanted fields, without empty ones that do not exist yet."""
    return {field: value for field, value in wanted.items() if value or field in holder}


def _guard(metadata: Mapping[str, Any]) -> list[Operation]:
    return [
        {"op": "test", "path": f"/metadata/{field}", "value": metadata[field]} for field in ("uid", "resourceVersion")
    ]
