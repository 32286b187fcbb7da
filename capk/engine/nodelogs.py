"""Reads the logs of a node: of a running one by fixed commands in the node, of a stopped one from its output.

The result is one text of bounded length, never files.

It does not use `kind export logs`, which unpacks an archive from the node. Up to v0.33, kind writes each file to a path
that the node chooses.
"""

from typing import Final

from capk.engine.containers import Containers
from capk.engine.nodescripts import NODE_LOGS
from capk.errors import CommandError

CALL_SECONDS: Final = 20.0
"""Time limit of one command in a node; a node that has just failed may be slow."""
REASON_LENGTH: Final = 2000
"""Maximum length of a failed command's output, in characters."""


async def node_logs(containers: Containers, container: str) -> str:
    """Return the ends of a running node's logs, under headings; an unreadable log is replaced by the reason.

    container: name or id. It raises no CommandError: a failed node may have no shell, or may not answer.
    """
    return "\n".join(
        [f"==> {what} <==\n{await _printed(containers, container, NODE_LOGS[what])}" for what in NODE_LOGS]
    )


async def last_words(containers: Containers, container: str) -> str:
    """Return the last lines of a stopped container's output, or the reason if they cannot be read.

    container: its id. No command can run in it, and only its output shows why it ended.
    """
    heading = "==> the container has ended; it printed <=="
    try:
        return f"{heading}\n{await containers.printed(container, timeout_seconds=CALL_SECONDS)}"
    except CommandError as error:
        return f"{heading}\ncould not be read to its end:\n{error.output}\n"


async def _printed(containers: Containers, container: str, script: str) -> str:
    try:
        return (await containers.run(container, ["sh", "-c", script], timeout_seconds=CALL_SECONDS)).stdout
    except CommandError as error:
        return f"could not be read: {error.output[-REASON_LENGTH:]}\n"
