"""Writes the files of a creation into its nodes: early, while kind runs, and again when kind has finished.

containerd needs them at the first pull, minutes before kind ends. Only the second write counts as a failure.
"""

import asyncio
import logging

from capk.api.names import Reason
from capk.diagnosis.failures import cause_of
from capk.engine.containers import Containers, Node
from capk.engine.progress import Step
from capk.errors import CommandError
from capk.manager.operations.listing import list_nodes
from capk.plan.marks import Mark
from capk.plan.plan import Create

log = logging.getLogger(__name__)

NO_ENGINE_COMMAND = "writing files into nodes needs a container engine command, and none is available"


class NodeFiles:
    """The files of one creation."""

    def __init__(self, containers: Containers, request: Create) -> None:
        self._containers = containers
        self._request = request
        self._early: asyncio.Task[str] | None = None

    def on_step(self, step: Step) -> None:
        """Start writing as soon as the nodes exist and nothing has been pulled yet."""
        due = step.reason is Reason.WRITING_CONFIGURATION and self._request.files
        if due and self._containers.command and self._early is None:
            self._early = asyncio.create_task(self._write(), name=f"files of {self._request.name}")

    async def end_early(self) -> None:
        """Cancel the first write if it is still running."""
        if self._early is not None:
            self._early.cancel()
            await asyncio.wait([self._early])
            if not self._early.cancelled() and (cause := self._early.result()):
                log.info("Could not write files before Kubernetes started in the nodes: %s", cause)

    async def finish(self) -> str | None:
        """Write all files into all nodes; return why some are missing, empty if none is, None without files."""
        if not self._request.files:
            return None
        return await self._write() if self._containers.command else NO_ENGINE_COMMAND

    async def _write(self) -> str:
        try:
            nodes = await self._nodes()
        except CommandError as error:
            return f"cannot list the nodes: {cause_of(error)}"
        if not nodes:
            return "the engine lists no node of this creation"
        causes = await asyncio.gather(*map(self._write_into, nodes))
        return "; ".join(filter(None, causes))

    async def _nodes(self) -> list[Node]:
        """Return this creation's nodes, without the load balancer, which has no mark."""
        nodes = await list_nodes(self._containers, self._request.name)
        return [node for node in nodes if Mark.parse(node.mark) == self._request.mark]

    async def _write_into(self, node: Node) -> str:
        try:
            for path, content in self._request.files.items():
                # By id, because another container may get the same name.
                await self._containers.write_file(node.container_id, path, content)
        except CommandError as error:
            return f"{node.name}: {cause_of(error)}"
        return ""
