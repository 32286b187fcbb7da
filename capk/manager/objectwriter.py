"""Writes finalizers, annotations, spec and status of an object, guarded by its version; nothing if nothing differs."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Final

from capk.api import names
from capk.api.names import Resource
from capk.api.objects import Key, Object
from capk.errors import ApiError, NotFound
from capk.kube.jsonpatches import metadata_patch, status_patch
from capk.kube.protocol import KubeApi
from capk.manager.announcer import Announcer
from capk.plan.events import Event

_DECISIVE: Final = (
    names.CLAIM_ANNOTATION,
    names.CLAIM_ID_ANNOTATION,
    names.ATTEMPT_ANNOTATION,
    names.IDENTITY_ANNOTATION,
    names.MACHINE_ID_ANNOTATION,
    names.JOINED_CONTAINER_ANNOTATION,
)
"""Annotations that decisions depend on: if one is not stored, the next decision is the same again."""

_CONTESTED: Final = (
    "Something else changes this object each time the provider has written it, so the provider waits ever longer "
    "between its writes. Does a second provider manage it, perhaps with another container engine? Run providers with "
    "--leader-elect, or give each its own --namespace or --watch-filter."
)

Written = Callable[[Resource, Mapping[str, Any], Key], None]
"""Called with every object after it was written, and with the key of the object that it was written for."""

Count = Callable[[str, str, str], bool]
"""Called with uid, version before and version after each write; returns whether to warn of a contest."""


class ObjectWriter:
    """Writes objects, reports each written one to the cache, and announces its transitions."""

    def __init__(self, client: KubeApi, announcer: Announcer, on_written: Written, count: Count) -> None:
        self._client = client
        self._announcer = announcer
        self._on_written = on_written
        self._count = count

    async def patch(self, resource: Resource, raw: Mapping[str, Any], **changes: Any) -> Mapping[str, Any]:
        """Write finalizer, annotations or spec if they differ; return the updated object.

        Raises ApiError, also if the API server dropped what decisions depend on.
        """
        patch = metadata_patch(raw, **changes)
        if patch is None:
            return raw
        metadata = raw["metadata"]
        answer = await self._client.patch(resource, metadata.get("namespace"), metadata["name"], patch)
        await self._written(resource, metadata, answer)
        if dropped := _dropped(Object(answer), **changes):
            message = f"it dropped {', '.join(dropped)} without an error; a mutating webhook may be the cause"
            raise ApiError("patch", resource.plural, HTTPStatus.UNPROCESSABLE_ENTITY, message)
        return answer

    async def remove_finalizer(self, resource: Resource, raw: Mapping[str, Any], finalizer: str) -> Mapping[str, Any]:
        """Remove the finalizer; return the updated object, or the given one if it is gone already.

        Raises ApiError, also if the API server kept the finalizer.
        """
        with suppress(NotFound):
            raw = await self.patch(resource, raw, remove_finalizer=finalizer)
            if finalizer in Object(raw).finalizers:
                message = "it kept the finalizer without an error; a mutating webhook may be the cause"
                raise ApiError("patch", resource.plural, HTTPStatus.UNPROCESSABLE_ENTITY, message)
        return raw

    async def write_status(
        self, resource: Resource, raw: Mapping[str, Any], status: Mapping[str, Any], events: Iterable[Event] = ()
    ) -> Mapping[str, Any]:
        """Write the whole status if it differs, and record these Events with it; return the updated object."""
        patch = status_patch(raw, status)
        if patch is None:
            return raw
        metadata = raw["metadata"]
        answer = await self._client.patch(
            resource, metadata.get("namespace"), metadata["name"], patch, subresource="status"
        )
        await self._written(resource, metadata, answer)
        await self._announcer.announce(answer, raw, status, events)
        return answer

    async def _written(self, resource: Resource, before: Mapping[str, Any], answer: Mapping[str, Any]) -> None:
        self._on_written(resource, answer, Object(answer).key)
        if self._count(before["uid"], before["resourceVersion"], answer["metadata"]["resourceVersion"]):
            # A condition would be one more write that something else undoes.
            await self._announcer.report(answer, Event("Warning", names.Reason.CONTESTED, _CONTESTED))


def _dropped(
    stored: Object,
    *,
    annotations: Mapping[str, str | None] | None = None,
    add_finalizer: str | None = None,
    spec: Mapping[str, Any] | None = None,
    **_: Any,
) -> list[str]:
    """Return what decisions depend on and was written but not stored."""
    wanted = {name: value for name in _DECISIVE if (value := (annotations or {}).get(name)) is not None}
    dropped = [name for name, value in wanted.items() if stored.annotations.get(name) != value]
    if add_finalizer and add_finalizer not in stored.finalizers:
        dropped.append(f"the finalizer {add_finalizer}")
    return [*dropped, *(f"spec.{field}" for field in spec or () if not stored.spec.get(field))]
