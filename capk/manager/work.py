"""Starts the operations that plans ask for, and remembers which request each one carries out."""

import hashlib
from collections.abc import Callable
from typing import Final

from capk.api.objects import Key, KINDCluster, Object
from capk.engine.operations import Operations
from capk.engine.progress import Step
from capk.manager.facts import operation_facts
from capk.manager.requests import LANES, Engine
from capk.plan.observed import Access, OperationFacts
from capk.plan.plan import Request
from capk.runtime.metrics import Metrics

ACCESS_SECONDS: Final = 60.0
"""How long kubeconfigs are kept in memory: until all is written; they are read again when they are needed again."""
RECHECK_SECONDS: Final = 12 * 3600.0
"""How often they are read again without need: nothing else tells of certificates that were renewed inside a node."""


class Work:
    """At most one operation an object, by its uid: an object of the same name that comes later has its own."""

    def __init__(self, engine: Engine, operations: Operations, metrics: Metrics, clock: Callable[[], float]) -> None:
        self._engine = engine
        self._operations = operations
        self._metrics = metrics
        self._clock = clock
        self._requests: dict[str, Request] = {}
        self._keys: dict[str, Key] = {}
        self._read_at: dict[str, float] = {}

    def start(self, seen: Object, request: Request) -> None:
        """Carry out the request in the background, in the lane for its kind."""
        lane = LANES[type(request)]

        async def carry_out(on_step: Callable[[Step], None]) -> Access | None:
            steps = StepTimes(self._metrics, self._clock)
            began, outcome = self._clock(), "failed"

            def report(step: Step) -> None:
                steps.began(step)
                on_step(step)

            try:
                result = await self._engine.carry_out(request, report)
                outcome = "ok"
                return result
            finally:
                steps.end()
                self._metrics.operation_seconds.labels(lane.value, outcome).observe(self._clock() - began)

        self._requests[seen.uid] = request
        self._keys[seen.uid] = seen.key
        self._operations.start(seen.uid, lane, carry_out, name=f"{type(request).__name__} {request.name}")

    def facts(self, seen: Object) -> OperationFacts | None:
        """Return the running or last operation of the object."""
        return operation_facts(self._operations.get(seen.uid), self._requests.get(seen.uid), self._clock())

    def access(self, seen: KINDCluster) -> Access | None:
        """Return how the workload cluster is reached, for a while after that was found out.

        As long as the object does not say that its kind cluster is complete, this is all that tells a whole one from a
        half-made one, so it is kept.
        """
        state = self._operations.get(seen.uid)
        if state is None or not isinstance(state.result, Access) or state.ended_at is None:
            return None
        self._read_at[seen.uid] = state.ended_at
        is_stored = seen.identity and seen.is_provisioned
        if is_stored and self._clock() - state.ended_at > ACCESS_SECONDS:
            self._operations.forget(seen.uid)
            return None
        return state.result

    def is_access_old(self, seen: Object) -> bool:
        """Tell whether the kubeconfigs are to be read again although nothing asks for them.

        The first time is taken from the uid, so that the clusters of a provider do not all have their turn at once.
        """
        share = int(hashlib.sha256(seen.uid.encode()).hexdigest()[:8], 16) / 2**32
        since = self._read_at.setdefault(seen.uid, self._clock() - share * RECHECK_SECONDS / 2)
        return self._clock() - since > RECHECK_SECONDS

    def key(self, uid: str) -> Key | None:
        """Return the object that an operation is for."""
        return self._keys.get(uid)

    async def cancel(self, seen: Object) -> None:
        """End the object's operation with its processes; return when none is left and its traces are seen."""
        await self._operations.cancel(seen.uid)
        await self._engine.inventory.refresh()

    def forget(self, seen: Object) -> None:
        """Drop what is remembered of the object's last operation, the kubeconfigs in it above all."""
        self._operations.forget(seen.uid)
        self._requests.pop(seen.uid, None)
        self._keys.pop(seen.uid, None)
        self._read_at.pop(seen.uid, None)


class StepTimes:
    """Measures how long each step of a creation takes, from one step to the next."""

    def __init__(self, metrics: Metrics, clock: Callable[[], float]) -> None:
        self._metrics = metrics
        self._clock = clock
        self._current: tuple[str, float] | None = None

    def began(self, step: Step) -> None:
        """Note that a step begins, and so that the one before has ended."""
        self.end()
        self._current = (step.reason.value, self._clock())

    def end(self) -> None:
        """Note that the last step has ended."""
        if self._current is not None:
            reason, since = self._current
            self._metrics.creation_step_seconds.labels(reason).observe(self._clock() - since)
            self._current = None
