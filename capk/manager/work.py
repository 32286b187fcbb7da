"""Starts the operations that plans ask for, and remembers which request each one carries out."""

from collections.abc import Callable

from capk.api.objects import Key, Object
from capk.engine.operations import Operations
from capk.engine.progress import Step
from capk.manager.facts import operation_facts
from capk.manager.requests import LANES, Engine
from capk.plan.observed import Access, OperationFacts
from capk.plan.plan import Request
from capk.runtime.metrics import Metrics


class Work:
    """At most one operation an object, by its uid: an object of the same name that comes later has its own."""

    def __init__(self, engine: Engine, operations: Operations, metrics: Metrics, clock: Callable[[], float]) -> None:
        self._engine = engine
        self._operations = operations
        self._metrics = metrics
        self._clock = clock
        self._requests: dict[str, Request] = {}
        self._keys: dict[str, Key] = {}

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

    def access(self, seen: Object) -> Access | None:
        """Return how the workload cluster is reached, while the operation that found out is remembered."""
        state = self._operations.get(seen.uid)
        return state.result if state and isinstance(state.result, Access) else None

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
