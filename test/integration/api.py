"""A client of an API server for tests: objects in, objects out, kinds found by discovery."""

import contextlib
import itertools
import os
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import yaml

from capk.api.names import Resource
from capk.errors import NotFound, Unreachable
from capkdev.managementcluster.cluster import LocalManagementCluster
from capkdev.rest import MERGE_PATCH, Rest

CLUSTERS = Resource("cluster.x-k8s.io", "v1beta2", "clusters", "Cluster")
NODES = Resource("", "v1", "nodes", "Node")
LONGEST_INTERVAL_SECONDS = 0.2

Object = dict[str, Any]
Seen = TypeVar("Seen")


class Api:
    """Objects of one API server, as administrator."""

    def __init__(self, rest: Rest) -> None:
        self.rest = rest

    def get(self, resource: Resource, namespace: str, name: str) -> Object:
        """Return an object. Raises NotFound."""
        return self.rest.request("GET", path(resource, namespace, name))

    def find(self, resource: Resource, namespace: str, name: str) -> Object | None:
        """Return an object, or None."""
        try:
            return self.get(resource, namespace, name)
        except NotFound:
            return None

    def list(self, resource: Resource, namespace: str = "", selector: str = "") -> list[Object]:
        """Return all objects of a namespace, or of all."""
        query = f"?labelSelector={selector}" if selector else ""
        return self.rest.request("GET", path(resource, namespace) + query)["items"]

    def create(self, namespace: str, *documents: Mapping[str, Any] | str) -> Object:
        """Create objects, given as dictionaries or as YAML with several documents, and return the last one."""
        for document in _documents(documents):
            created = self.rest.request("POST", self._path_of(document, namespace), document)
        return created

    def apply(self, namespace: str, *documents: Mapping[str, Any] | str, manager: str = "test") -> Object:
        """Apply objects on the server side, as `kubectl apply --server-side`, and return the last one."""
        for document in _documents(documents):
            name = document["metadata"]["name"]
            applied = self.rest.apply(f"{self._path_of(document, namespace)}/{name}", document, manager)
        return applied

    def patch(self, resource: Resource, namespace: str, name: str, body: object, subresource: str = "") -> Object:
        """Merge a patch into an object, or into its status."""
        target = path(resource, namespace, name) + (f"/{subresource}" if subresource else "")
        return self.rest.request("PATCH", target, body, MERGE_PATCH)

    def delete(self, resource: Resource, namespace: str, name: str) -> None:
        """Request the deletion of an object, which need not exist."""
        with contextlib.suppress(NotFound):
            self.rest.request("DELETE", path(resource, namespace, name))

    def new_namespace(self) -> str:
        """Create a unique namespace and return its name."""
        name = f"test-{os.getpid()}-{next(_numbers)}"
        self.create("", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        return name

    def _path_of(self, document: Mapping[str, Any], namespace: str) -> str:
        group, _, version = document["apiVersion"].rpartition("/")
        found = self.rest.request("GET", f"/apis/{group}/{version}" if group else f"/api/{version}")["resources"]
        served = next(item for item in found if item["kind"] == document["kind"] and "/" not in item["name"])
        resource = Resource(group, version, served["name"], served["kind"])
        return path(resource, namespace if served["namespaced"] else "")


_numbers = itertools.count(1)


@contextlib.contextmanager
def connected(management: LocalManagementCluster) -> Iterator[Api]:
    """Yield the objects of a management cluster, over a separate connection."""
    rest = management.rest()
    yield Api(rest)
    rest.close()


def path(resource: Resource, namespace: str = "", name: str = "") -> str:
    """Return the path of an object, of a namespace's objects, or of all objects of a kind."""
    parts = ["/apis", resource.group] if resource.group else ["/api"]
    parts += [resource.version, *(["namespaces", namespace] if namespace else []), resource.plural]
    return "/".join([*parts, name] if name else parts)


def condition(seen: Mapping[str, Any] | None, kind: str) -> Mapping[str, Any]:
    """Return a condition of an object; an empty one if it does not exist."""
    conditions = ((seen or {}).get("status") or {}).get("conditions") or []
    return next((item for item in conditions if item["type"] == kind), {})


def eventually(look: Callable[[], Seen], seconds: float = 60, interval_seconds: float = 0.1) -> Seen:
    """Call `look` until it returns something true, and return that.

    interval_seconds: between two calls at first. It grows with the time that has passed, to LONGEST_INTERVAL_SECONDS:
    looks would otherwise be most of what the API server does in a test run.
    AssertionError, KeyError, NotFound and Unreachable lead to another call, because a new API server may still be
    setting up the storage of a kind. A timeout shows the last answer.
    """
    began = time.monotonic()
    while True:
        try:
            if seen := look():
                return seen
            last = f"last answer:\n{yaml.safe_dump(seen)}"
        except (AssertionError, KeyError, NotFound, Unreachable) as failure:
            last = f"last failure: {type(failure).__name__}: {failure}"
        passed = time.monotonic() - began
        if passed > seconds:
            raise AssertionError(f"not within {seconds} s; {last}")
        time.sleep(max(interval_seconds, min(passed / 10, LONGEST_INTERVAL_SECONDS)))


def _documents(documents: tuple[Mapping[str, Any] | str, ...]) -> list[Object]:
    parsed: list[Object] = []
    for document in documents:
        parts = yaml.load_all(document, yaml.CSafeLoader) if isinstance(document, str) else [document]
        parsed += [part for part in parts if part]
    return parsed
