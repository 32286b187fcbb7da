"""A file in the control planes, which shows that their creation was completed.

An object that was restored from the middle of the creation does not know it. Without the file, what it finds would be
the rest of an interrupted creation, and would be removed.
"""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

from capk.engine.containers import Containers, Node
from capk.errors import CommandError, CommandFailed
from capk.kindconfig.config import CONTROL_PLANE
from capk.plan.marks import Mark

COMPLETION_FILE: Final = "/etc/capk/complete"
"""In each control plane: the mark of the creation that has made it."""
READ_SECONDS: Final = 15.0
"""Time limit for a look at it, also for one that writes it."""


async def note_completion(containers: Containers, nodes: Iterable[Node], mark: Mark) -> None:
    """Write the file in the control planes with that mark; an error changes nothing else."""
    planes = [node for node in nodes if node.role == CONTROL_PLANE and Mark.parse(node.mark) == mark]

    async def write(plane: Node) -> None:
        with suppress(CommandError, TimeoutError):
            async with asyncio.timeout(READ_SECONDS):
                await containers.write_file(plane.container_id, COMPLETION_FILE, str(mark))

    await asyncio.gather(*map(write, planes))


async def completed_creation(containers: Containers, nodes: Iterable[Node]) -> Mark | None:
    """Return the mark of the creation that has completed these nodes, by what one of their control planes holds.

    A stopped one is started for that. Raises CommandTimedOut and CommandMissing.
    """
    for node in nodes:
        if node.role == CONTROL_PLANE and node.mark and await _holds(containers, node, node.mark):
            return Mark.parse(node.mark)
    return None


async def _holds(containers: Containers, node: Node, mark: str) -> bool:
    try:
        if not node.running:
            await containers.start([node.container_id])
        output = await containers.run(node.container_id, ["cat", COMPLETION_FILE], timeout_seconds=READ_SECONDS)
    except CommandFailed:
        # There is no such file, or no such container any more.
        return False
    return output.stdout.strip() == mark
