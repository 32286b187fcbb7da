"""Shows in an object why its reconciles keep failing: otherwise only the log of the provider would."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final

from capk.api.names import Reason, Resource
from capk.api.objects import Key, Object
from capk.errors import ApiError
from capk.kube.recorder import EventRecorder
from capk.manager.facts import now
from capk.manager.objectwriter import ObjectWriter
from capk.manager.writebackoff import FAILURES_IN_A_ROW, LASTING_SECONDS
from capk.plan.status import unreconciled_message, unreconciled_status

AGAIN_SECONDS: Final = 60.0
"""How long a word about it lasts. The reconcile may write another status before it fails, which wakes related objects,
and these wake the object: without a pause, the two statuses would alternate in a hot loop."""

Find = Callable[[Key], Mapping[str, Any] | None]
"""Returns the object with that key as the cache has it."""


@dataclass(frozen=True)
class _Trouble:
    times: int
    since: float
    shown_at: float = float("-inf")


class Troubles:
    """The objects whose last reconciles have failed."""

    def __init__(
        self,
        resources: Mapping[str, Resource],
        *,
        find: Find,
        objects: ObjectWriter,
        recorder: EventRecorder,
        clock: Callable[[], float],
    ) -> None:
        """Take the parts; resources: those that are reconciled, by kind."""
        self._resources = resources
        self._find = find
        self._objects = objects
        self._recorder = recorder
        self._clock = clock
        self._known: dict[Key, _Trouble] = {}

    def over(self, key: Key) -> None:
        """Forget that the reconciles of an object have failed."""
        self._known.pop(key, None)

    async def failed(self, key: Key, error: Exception) -> None:
        """Record that a reconcile failed; if that lasts, show the cause in the object, or in an Event."""
        time = self._clock()
        before = self._known.get(key, _Trouble(0, time))
        self._known[key] = trouble = replace(before, times=before.times + 1)
        is_lasting = trouble.times >= FAILURES_IN_A_ROW and time - trouble.since >= LASTING_SECONDS
        if not is_lasting or time - trouble.shown_at < AGAIN_SECONDS:
            return
        self._known[key] = replace(trouble, shown_at=time)
        raw = self._find(key)
        if raw is None:
            self.over(key)
        elif not _is_left_alone(Object(raw)):
            await self._show(key, raw, _cause(error))

    async def _show(self, key: Key, raw: Mapping[str, Any], cause: str) -> None:
        resource = self._resources[key.kind]
        status = unreconciled_status(resource, Object(raw), cause, now())
        try:
            await self._objects.write_status(resource, raw, status)
        except ApiError:
            # It is the status that cannot be written: an Event is what is left.
            with suppress(ApiError):
                await self._recorder.record(raw, "Warning", Reason.NOT_RECONCILED, unreconciled_message(cause))


def _cause(error: Exception) -> str:
    """Return what people need; the text of any other error is for the log alone."""
    if isinstance(error, ApiError):
        return f"{error}"
    return f"an internal error ({type(error).__name__}), with its traceback in the log of the provider"


def _is_left_alone(current: Object) -> bool:
    return current.is_paused or current.is_left_to_others
