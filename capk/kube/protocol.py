"""The Protocol of the API server's client, which its fakes implement too."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from capk.api.names import Resource


@dataclass(frozen=True)
class Listing:
    """The result of a list call: the state of a whole kind at one version."""

    items: Sequence[dict[str, Any]]
    resource_version: str


Keep = Callable[[dict[str, Any]], dict[str, Any]]
"""Returns what a list keeps of an object, as soon as its page arrives."""


def whole(obj: dict[str, Any]) -> dict[str, Any]:
    """Keep all of an object."""
    return obj


def uid_only(obj: dict[str, Any]) -> dict[str, Any]:
    """Keep no more of an object than its uid: a second copy of all objects would take as much memory as the first."""
    return {"metadata": {"uid": obj["metadata"].get("uid", "")}}


class Change(NamedTuple):
    """One event of a watch. type: ADDED, MODIFIED, DELETED, or BOOKMARK for one that only has a newer version."""

    type: str
    object: dict[str, Any]

    @property
    def version(self) -> str:
        """The version from which a later watch continues."""
        return str(self.object["metadata"]["resourceVersion"])


class KubeApi(Protocol):
    """Reads and writes objects as plain dictionaries.

    All raise the ApiErrors of `capk.errors`: Conflict, NotFound, Forbidden, Unreachable, or ApiError itself if the
    server refuses the request for another reason.
    """

    async def get(self, resource: Resource, namespace: str | None, name: str) -> dict[str, Any]:
        """Return one object."""
        ...

    async def list(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        label_selector: str | None = None,
        field_selector: str | None = None,
        keep: Keep = whole,
    ) -> Listing:
        """Return the objects and the resource version of the list, read from storage and never from a cache.

        keep: reduces each object, so that a long list takes less memory.
        """
        ...

    async def create(self, resource: Resource, obj: Mapping[str, Any]) -> dict[str, Any]:
        """Create an object; raises Conflict if the name exists."""
        ...

    async def patch(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        operations: Sequence[Mapping[str, Any]],
        *,
        subresource: str | None = None,
    ) -> dict[str, Any]:
        """Change an object, or its status, by a JSON patch; raises Conflict if an operation does not apply."""
        ...

    async def serves(self, group: str) -> str | None:
        """Return the server's preferred version of an API group, or None if it does not serve the group."""
        ...

    async def delete(self, resource: Resource, namespace: str | None, name: str, *, uid: str | None = None) -> None:
        """Request the deletion of an object; with `uid`, raises Conflict if another object has that name now."""
        ...

    def watch(self, resource: Resource, namespace: str, *, label_selector: str, version: str) -> AsyncIterator[Change]:
        """Yield the changes after a version, until the server ends the watch; an ApiError with 410 needs a new list."""
        ...
