"""What the rest of the provider may ask of the API server: the Protocol that the client and every fake of it keep."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from capk.api.names import Resource


@dataclass(frozen=True)
class Listing:
    """What a list call answered: the state of the whole kind at one version."""

    items: Sequence[dict[str, Any]]
    resource_version: str


class KubeApi(Protocol):
    """Reads and writes objects as plain dictionaries.

    All raise the ApiErrors of `capk.errors`: Conflict, NotFound, Forbidden, Unreachable, or ApiError itself when the
    server refuses the request as such.
    """

    async def get(self, resource: Resource, namespace: str | None, name: str) -> dict[str, Any]:
        """Return one object."""
        ...

    async def list(
        self, resource: Resource, namespace: str | None = None, *, label_selector: str | None = None
    ) -> Listing:
        """Return the objects with the version at which the list was true, read from storage and never from a cache."""
        ...

    async def create(self, resource: Resource, obj: Mapping[str, Any]) -> dict[str, Any]:
        """Create an object; Conflict when one of that name is there."""
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
        """Change an object, or its status, by a JSON patch; Conflict when one of its operations does not fit."""
        ...

    async def serves(self, group: str) -> str | None:
        """Return the version of an API group that the server prefers, or None when it does not serve the group."""
        ...

    async def delete(self, resource: Resource, namespace: str | None, name: str, *, uid: str | None = None) -> None:
        """Ask for the deletion of an object; with `uid`, Conflict when another object has that name now."""
        ...
