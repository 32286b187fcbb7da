"""A file in the control planes, which shows that their creation was completed.

An object that was restored from the middle of the creation does not know it. Without the file, what it finds would be
the rest of an interrupted creation, and would be removed.
"""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from pathlib import PurePosixPath
from typing import Final

from capk.api.names import CLAIM_MOUNT_FOLDER
from capk.engine.containers import Containers, Node
from capk.engine.enginecli import UnreadableAnswer
from capk.engine.inventory import NEVER
from capk.engine.nodescripts import READ_NOTE
from capk.errors import CommandError, CommandFailed, CommandTimedOut, UnprovenCreation
from capk.kindconfig.config import CONTROL_PLANE
from capk.plan.marks import Mark

COMPLETION_FILE: Final = "/etc/capk/complete"
"""In each control plane: the mark of the creation that has made it."""
_FILE: Final = PurePosixPath(COMPLETION_FILE)
_BESIDE: Final = PurePosixPath(CLAIM_MOUNT_FOLDER).name
"""In the same folder of every node with a mark: a listing that shows it is one of the folder."""
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

    None is proven too: each of the control planes has been read, or has never run, and none holds its mark.
    Raises CommandMissing; UnprovenCreation if one cannot be read and no other holds its mark.
    """
    unproven = None
    for node in nodes:
        if node.role != CONTROL_PLANE or not node.mark or _has_never_run(node):
            continue
        try:
            if await _held(containers, node) == node.mark:
                return Mark.parse(node.mark)
        except (CommandFailed, CommandTimedOut) as error:
            unproven = unproven or UnprovenCreation(node.cluster, node.name, node.container_id, node.mark, error)
    if unproven:
        raise unproven
    return None


def _has_never_run(node: Node) -> bool:
    return not node.running and node.started_at.startswith(NEVER)


async def _held(containers: Containers, node: Node) -> str | None:
    """Return the content of the file; None if it is proven that there is none.

    The node answers if it runs. Otherwise the engine copies the folder, and if it cannot, the node is started.
    """
    if not node.running:
        with suppress(CommandFailed, CommandTimedOut):
            return await _copied(containers, node)
        await containers.start([node.container_id])
    try:
        return await _asked(containers, node)
    except (CommandFailed, CommandTimedOut):
        with suppress(CommandFailed, CommandTimedOut):
            return await _copied(containers, node)
        raise


async def _copied(containers: Containers, node: Node) -> str | None:
    files = await containers.copied(node.container_id, str(_FILE.parent), timeout_seconds=READ_SECONDS)
    if not any(path.partition("/")[0] == _BESIDE for path in files):
        raise UnreadableAnswer(["cp", node.name], f"its folder {_FILE.parent} is not the one of a node with a mark")
    held = files.get(_FILE.name)
    return held if held is None else held.strip()


async def _asked(containers: Containers, node: Node) -> str | None:
    script = ["sh", "-c", READ_NOTE, "read-note", str(_FILE.parent), _FILE.name, _BESIDE]
    output = await containers.run(node.container_id, script, timeout_seconds=READ_SECONDS)
    verdict, _, held = output.stdout.partition("\n")
    if verdict not in ("held", "missing"):
        raise UnreadableAnswer(["exec", node.name], f"its folder {_FILE.parent} is not the one of a node with a mark")
    return held.strip() if verdict == "held" else None
