"""A small real implementation of `capk.kube.protocol.KubeApi` in memory: versions, guards, finalizers; no field owners.

It records every write in `writes`, so that tests can assert that there was none. `fail` makes the next calls raise.
"""

import copy
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import jsonpatch
from jsonpointer import JsonPointer

from capk.api.names import Resource
from capk.errors import ApiError, Conflict, NotFound
from capk.kube.protocol import Keep, Listing, whole


def merge(target: Any, patch: Any) -> Any:
    """Apply a JSON merge patch (RFC 7386)."""
    if not isinstance(patch, Mapping):
        return copy.deepcopy(patch)
    result = dict(target) if isinstance(target, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge(result.get(key), value)
    return result


def asked_for(body: Any) -> Any:
    """Return what a create or a JSON patch sets, as one document; places in lists become keys."""
    if isinstance(body, Mapping):
        return body
    document: dict[str, Any] = {}
    for operation in body:
        if operation["op"] in ("add", "replace"):
            *parents, last = JsonPointer(operation["path"]).parts
            place = document
            for parent in parents:
                place = place.setdefault(parent, {})
            place[last] = operation["value"]
    return document


class RecordingKube:
    def __init__(self) -> None:
        self.objects: dict[tuple[str, str | None, str], dict[str, Any]] = {}
        self.writes: list[tuple[str, str, str | None, str, Any]] = []
        self.fail: list[ApiError | None] = []
        self._versions = itertools.count(1)

    def put(self, resource: Resource, obj: Mapping[str, Any]) -> dict[str, Any]:
        """Store an object as if another client had written it."""
        metadata = obj["metadata"]
        key = resource.plural, metadata.get("namespace"), metadata["name"]
        version = next(self._versions)
        uid = metadata.get("uid") or f"uid-{version}"
        stored = copy.deepcopy(dict(obj))
        stored["metadata"] = {**stored["metadata"], "uid": uid, "resourceVersion": str(version)}
        self.objects[key] = {"apiVersion": resource.api_version, "kind": resource.kind, **stored}
        return copy.deepcopy(self.objects[key])

    async def get(self, resource: Resource, namespace: str | None, name: str) -> dict[str, Any]:
        self._maybe_fail()
        return copy.deepcopy(self._find("get", resource, namespace, name))

    async def list(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        label_selector: str | None = None,
        field_selector: str | None = None,
        keep: Keep = whole,
    ) -> Listing:
        self._maybe_fail()
        items = [
            keep(copy.deepcopy(obj))
            for (plural, where, _), obj in self.objects.items()
            if plural == resource.plural
            and namespace in (None, where)
            and _selects(label_selector, obj["metadata"].get("labels") or {})
            and _has_fields(field_selector, obj)
        ]
        return Listing(items, str(next(self._versions)))

    async def create(self, resource: Resource, obj: Mapping[str, Any]) -> dict[str, Any]:
        metadata = obj["metadata"]
        self._record("create", resource, metadata.get("namespace"), metadata["name"], obj)
        if (resource.plural, metadata.get("namespace"), metadata["name"]) in self.objects:
            raise Conflict("create", resource.plural, 409, "already exists")
        return self.put(resource, obj)

    async def patch(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        operations: Sequence[Mapping[str, Any]],
        *,
        subresource: str | None = None,
    ) -> dict[str, Any]:
        self._record("patch", resource, namespace, name, operations)
        seen = self._find("patch", resource, namespace, name)
        try:
            wanted = jsonpatch.apply_patch(seen, operations)
        except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException) as misfit:
            raise Conflict("patch", resource.plural, 422, str(misfit)) from misfit
        parts = ("status",) if subresource == "status" else tuple(key for key in wanted if key != "status")
        kept = {key: value for key, value in seen.items() if key not in parts}
        return self._replace(resource, seen, {**kept, **{key: wanted[key] for key in parts if key in wanted}})

    async def delete(self, resource: Resource, namespace: str | None, name: str, *, uid: str | None = None) -> None:
        self._record("delete", resource, namespace, name, uid)
        seen = self._find("delete", resource, namespace, name)
        if uid not in (None, seen["metadata"]["uid"]):
            raise Conflict("delete", resource.plural, 409, "another object has that name")
        if seen["metadata"].get("finalizers"):
            self._replace(resource, seen, merge(seen, {"metadata": {"deletionTimestamp": "2000-01-01T00:00:00Z"}}))
        else:
            del self.objects[(resource.plural, namespace, name)]

    def _find(self, verb: str, resource: Resource, namespace: str | None, name: str) -> dict[str, Any]:
        try:
            return self.objects[(resource.plural, namespace, name)]
        except KeyError:
            raise NotFound(verb, f"{resource.plural} {namespace}/{name}", 404, "not found") from None

    def _replace(self, resource: Resource, seen: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
        """Store a written object; a write without changes keeps the version (K22)."""
        if wanted == seen:
            return copy.deepcopy(seen)
        if wanted["metadata"].get("deletionTimestamp") and not wanted["metadata"].get("finalizers"):
            metadata = seen["metadata"]
            del self.objects[(resource.plural, metadata.get("namespace"), metadata["name"])]
            return copy.deepcopy(wanted)
        if wanted.get("spec") != seen.get("spec"):
            generation = (seen["metadata"].get("generation") or 0) + 1
            wanted = merge(wanted, {"metadata": {"generation": generation}})
        return self.put(resource, wanted)

    def _record(self, verb: str, resource: Resource, namespace: str | None, name: str, body: Any) -> None:
        self._maybe_fail()
        self.writes.append((verb, resource.plural, namespace, name, copy.deepcopy(body)))

    def _maybe_fail(self) -> None:
        if self.fail and (error := self.fail.pop(0)) is not None:
            raise error


def _has_fields(selector: str | None, obj: Mapping[str, Any]) -> bool:
    """Evaluate `path.to.field=value`, joined by commas."""
    for term in filter(None, (selector or "").split(",")):
        path, _, value = term.partition("=")
        if JsonPointer.from_parts(path.split(".")).resolve(obj, None) != value:
            return False
    return True


def _selects(selector: str | None, labels: Mapping[str, str]) -> bool:
    """Evaluate `key` and `key=value`, joined by commas."""
    for term in (selector or "").split(","):
        key, _, value = term.partition("=")
        if term and (key not in labels or (value and labels[key] != value)):
            return False
    return True
