"""Reads what a node has logged, by fixed commands in the node, and what one that has ended has printed.

The answer is one text of bounded length, never files.

`kind export logs` is not used: it unpacks an archive that the node writes, and its releases up to v0.33 write each file
to the path that the node names.
"""

from collections.abc import Mapping
from typing import Final

from capk.engine.containers import Containers
from capk.errors import CommandError

CALL_SECONDS: Final = 20.0
"""How long one command in a node may take; a node that has just failed may be slow."""
REASON_LENGTH: Final = 2000
"""Characters that are kept of the output of a command that failed."""

PODS_SCRIPT: Final = """ls -t /var/log/containers/*.log 2>/dev/null | head -n 16 | while read -r file; do
  echo "--- $file"
  tail -c 16384 -- "$file"
done | tail -c 262144
"""
"""The latest of the containers, each with its end."""

NODE_LOGS: Final[Mapping[str, str]] = {
    "kubelet": "journalctl --no-pager --lines=2000 --unit=kubelet 2>&1 | tail -c 131072",
    "containerd": "journalctl --no-pager --lines=1000 --unit=containerd 2>&1 | tail -c 65536",
    "the whole journal": "journalctl --no-pager --lines=500 2>&1 | tail -c 65536",
    "pods": PODS_SCRIPT,
}
"""What is read -> shell script. An honest node prints half a MiB at most; `Containers.run` bounds any other."""


async def node_logs(containers: Containers, container: str) -> str:
    """Return the ends of a running node's logs, under headings; what cannot be read is replaced by the reason.

    container: name or id. Raises nothing of its own: a node that has failed may have no shell, or may not answer.
    """
    return "\n".join(
        [f"==> {what} <==\n{await _printed(containers, container, NODE_LOGS[what])}" for what in NODE_LOGS]
    )


async def last_words(containers: Containers, container: str) -> str:
    """Return the last lines that a container which has ended has printed; the reason where they cannot be read.

    container: its id. No command runs in it any more, and the cause of its end is nowhere else.
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
