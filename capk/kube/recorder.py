"""Records Events: one per object, reason and message, with a count of repetitions."""

import asyncio
import hashlib
import logging
import os
import socket
from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, Literal

from capk.api.names import EVENTS
from capk.errors import ApiError, Conflict, NotFound
from capk.kube.protocol import KubeApi
from capk.redaction import one_line, redact

EventType = Literal["Normal", "Warning"]

MESSAGE_LIMIT: Final = 1024
PATIENCE_SECONDS: Final = 5.0
"""Time limit for an Event, which delays its reconcile."""
_NAME_LIMIT: Final = 200
_REMEMBERED: Final = 4096

log = logging.getLogger(__name__)


class EventRecorder:
    """Writes core/v1 Events of one component, best effort.

    The name of an Event is computed from its content, so that counting continues after a restart.
    """

    def __init__(
        self,
        client: KubeApi,
        component: str,
        *,
        clock: Callable[[], datetime] | None = None,
        remembered: int = _REMEMBERED,
    ) -> None:
        self._client = client
        self._component = component
        self._instance = f"{component}-{os.environ.get('POD_NAME') or socket.gethostname()}"
        self._clock = clock or (lambda: datetime.now(UTC))
        self._remembered = remembered
        self._counts: OrderedDict[tuple[str, str], int] = OrderedDict()

    async def record(self, obj: Mapping[str, Any], type_: EventType, reason: str, message: str) -> None:
        """Record an Event of the object; a failure is logged, never raised."""
        event = self._event(obj, type_, reason, one_line(redact(message))[:MESSAGE_LIMIT])
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._write(event)
        except (ApiError, TimeoutError) as error:
            cause = str(error) or f"it took longer than {PATIENCE_SECONDS:.0f} s"
            log.warning("Could not record Event %s of %s: %s", reason, event["involvedObject"]["name"], cause)

    async def _write(self, event: dict[str, Any]) -> None:
        metadata = event["metadata"]
        key = metadata["namespace"], metadata["name"]
        if key in self._counts:
            count = self._counts[key]
        else:
            try:
                await self._client.create(EVENTS, event)
            except Conflict:
                count = int((await self._client.get(EVENTS, *key)).get("count") or 1)
            else:
                self._remember(key, 1)
                return
        change = [
            {"op": "add", "path": "/count", "value": count + 1},
            {"op": "add", "path": "/lastTimestamp", "value": event["lastTimestamp"]},
        ]
        try:
            await self._client.patch(EVENTS, *key, change)
        except NotFound:
            # The API server deletes Events after an hour.
            count = 0
            await self._client.create(EVENTS, event)
        self._remember(key, count + 1)

    def _remember(self, key: tuple[str, str], count: int) -> None:
        self._counts[key] = count
        self._counts.move_to_end(key)
        if len(self._counts) > self._remembered:
            self._counts.popitem(last=False)

    def _event(self, obj: Mapping[str, Any], type_: EventType, reason: str, message: str) -> dict[str, Any]:
        metadata = obj["metadata"]
        identity = "\0".join((metadata["uid"], type_, reason, message, self._component))
        digest = hashlib.sha256(identity.encode(errors="replace")).hexdigest()[:16]
        now = self._clock().strftime("%Y-%m-%dT%H:%M:%SZ")
        return {
            "metadata": {
                # The API server accepts no name with a part that ends with a hyphen or is empty.
                "name": f"{metadata['name'][:_NAME_LIMIT].rstrip('-.')}.{digest}",
                # As Kubernetes does for objects that belong to no namespace.
                "namespace": metadata.get("namespace") or "default",
            },
            "involvedObject": {
                "apiVersion": obj["apiVersion"],
                "kind": obj["kind"],
                "name": metadata["name"],
                "namespace": metadata.get("namespace") or "",
                "uid": metadata["uid"],
                "resourceVersion": metadata.get("resourceVersion", ""),
            },
            "type": type_,
            "reason": reason,
            "message": message,
            "source": {"component": self._component},
            "reportingComponent": self._component,
            "reportingInstance": self._instance[:128],
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
