"""One call of the engine's command, which may hang or fail."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from capk.errors import CommandError, CommandTimedOut
from test.simulation.clock import now
from test.simulation.engine import SimulatedEngine
from test.simulation.kindcommand import hang
from test.simulation.printed import failure

QUERY_DEADLINE_SECONDS: Final = 60.0

OnCall = Callable[[str, str], None]
"""Called with (what, name of the kind cluster or nothing) before each call."""


async def ask(engine: SimulatedEngine, command: Sequence[str], down: str) -> None:
    """Call the engine; raises the same errors as the real classes if it hangs or is down."""
    slow = 20.0 if engine.trouble.slow > now() else 1.0
    await asyncio.sleep(engine.rng.uniform(0.01, 0.05) * slow)
    if engine.trouble.hang > now():
        try:
            async with asyncio.timeout(QUERY_DEADLINE_SECONDS):
                await hang(engine)
        except TimeoutError:
            raise CommandTimedOut(list(command), "", QUERY_DEADLINE_SECONDS) from None
    if engine.is_down:
        raise _named(failure(down, "any"), command)


def _named(error: CommandError, command: Sequence[str]) -> CommandError:
    error.command = list(command)
    return error
