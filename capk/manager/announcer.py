"""Announces transitions of conditions as log lines, Events and metrics."""

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from capk.api.conditions import find
from capk.api.names import Condition
from capk.kube.recorder import EventRecorder
from capk.plan.events import Event, event_of, warning_of
from capk.plan.status import UNEVENTFUL, transitions
from capk.runtime.metrics import Metrics

log = logging.getLogger(__name__)


class Announcer:
    """Compares a written status with the one before it."""

    def __init__(self, recorder: EventRecorder, metrics: Metrics) -> None:
        self._recorder = recorder
        self._metrics = metrics

    async def announce(
        self,
        raw: Mapping[str, Any],
        previous: Mapping[str, Any],
        status: Mapping[str, Any],
        events: Iterable[Event] = (),
    ) -> None:
        """Announce the transitions from a previous object to a status, and the warnings of that status.

        raw: the object as it is stored now. events: what the status reports beside its conditions.
        """
        before = (previous.get("status") or {}).get("conditions") or ()
        after = status.get("conditions") or ()
        for condition in transitions(before, after):
            await self._announce(raw, condition)
        for condition in after:
            if warning := warning_of(find(before, condition["type"]), condition):
                await self._recorder.record(raw, *warning)
        for event in events:
            await self.report(raw, event)

    async def report(self, raw: Mapping[str, Any], event: Event) -> None:
        """Log and record what no condition shows. raw: the object as it is stored now."""
        log.log(logging.WARNING if event.type == "Warning" else logging.INFO, "%s: %s", event.reason, event.message)
        await self._recorder.record(raw, *event)

    async def _announce(self, raw: Mapping[str, Any], condition: Mapping[str, Any]) -> None:
        """Log a change of a condition, and record an Event if it is worth one."""
        event = event_of(condition)
        if condition["type"] != Condition.READY and condition["reason"] not in UNEVENTFUL:
            text = f": {condition['message']}" if condition.get("message") else ""
            level = logging.WARNING if event and event.type == "Warning" else logging.INFO
            log.log(level, "%s %s%s", condition["type"], condition["reason"], text)
        if event is not None:
            if event.type == "Warning":
                self._metrics.failures.labels(event.reason).inc()
            await self._recorder.record(raw, *event)
