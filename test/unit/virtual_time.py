"""An event loop whose time jumps to the next timer when nothing else is left to do: exact, without sleeping."""

import asyncio
from collections.abc import Coroutine
from typing import Any

MOMENT = 1e-9
"""Much shorter than any wait, and longer than rounding errors of sums of seconds."""


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Runs code that awaits only timers and other coroutines; it does not notice sockets and threads."""

    def __init__(self) -> None:
        self._virtual = 0.0
        super().__init__()

    def time(self) -> float:
        return self._virtual

    def _run_once(self) -> None:
        if not self._ready:
            due = [handle.when() for handle in self._scheduled if not handle.cancelled()]
            if not due:
                raise RuntimeError("everybody waits and no timer is set: this would hang for ever")
            # As on a real clock, a little time passes before a timer that is already due.
            self._virtual = max(self._virtual + MOMENT, min(due))
        super()._run_once()


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine in virtual time that begins at 0."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(coroutine)


def now() -> float:
    return asyncio.get_running_loop().time()
