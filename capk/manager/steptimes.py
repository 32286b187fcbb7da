"""Measures the steps of creations."""

from collections.abc import Callable

from capk.engine.progress import Step
from capk.runtime.metrics import Metrics


class StepTimes:
    """Measures how long each step of a creation takes, from one step to the next."""

    def __init__(self, metrics: Metrics, clock: Callable[[], float]) -> None:
        self._metrics = metrics
        self._clock = clock
        self._current: tuple[str, float] | None = None

    def began(self, step: Step) -> None:
        """Record that a step starts, which ends the previous one."""
        self.end()
        self._current = (step.reason.value, self._clock())

    def end(self) -> None:
        """Record that the last step has ended."""
        if self._current is not None:
            reason, since = self._current
            self._metrics.creation_step_seconds.labels(reason).observe(self._clock() - since)
            self._current = None
