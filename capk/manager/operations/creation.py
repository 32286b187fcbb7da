"""The operation `Create`: create a kind cluster, or remove what a failed creation has left and keep its logs."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from capk.api.names import UNREAD, Reason
from capk.diagnosis.byhand import unmarked
from capk.engine.containers import Containers
from capk.engine.failurelogs import FailureLogs
from capk.engine.inventory import Inventory
from capk.engine.kind import Kind
from capk.engine.nodelogs import last_words, node_logs
from capk.engine.progress import Step
from capk.errors import CapkError, CommandError, NamesNotResolved
from capk.kindconfig import yamlio
from capk.kindconfig.config import LOAD_BALANCER
from capk.kindconfig.kubeconfig import BadKubeconfig, parse
from capk.kindconfig.ports import with_ports
from capk.manager.operations.listing import list_nodes
from capk.manager.operations.nodefiles import NodeFiles
from capk.manager.operations.removal import Removal, of_attempt
from capk.manager.outcome import Made
from capk.plan.facts import CreationFacts
from capk.plan.plan import Create

FAILED_SETTLE_SECONDS: Final = 3.0
"""How long no container may appear after kind has failed.

kind ends at the first container that fails, while the engine still creates the others: up to 2 s later, measured with
docker and a missing load balancer image. The next inventory finds anything later.
"""
LOGS_SECONDS: Final = 60.0
"""Time limit for the logs of all nodes of a failed creation; logs that were read by then are kept."""

log = logging.getLogger(__name__)


class Creation:
    """Creates kind clusters."""

    def __init__(
        self, kind: Kind, containers: Containers, inventory: Inventory, logs: FailureLogs, removal: Removal
    ) -> None:
        self._kind = kind
        self._containers = containers
        self._inventory = inventory
        self._logs = logs
        self._removal = removal

    async def run(self, request: Create, on_step: Callable[[Step], None]) -> Made:
        """Create a kind cluster with its files, and return what was made.

        Raises CommandError, NamesNotResolved; with `left_nothing` where that is proven.
        """
        steps = list[Step]()

        def report(step: Step) -> None:
            steps.append(step)
            on_step(step)

        try:
            return await self._run(request, report)
        except CapkError as error:
            error.left_nothing = await self._has_left_nothing(request, steps)
            raise

    async def _run(self, request: Create, on_step: Callable[[Step], None]) -> Made:
        await self._check_names(request)
        files, warnings = NodeFiles(self._containers, request), [""]

        def report(step: Step) -> None:
            if step.warning:
                warnings.append(step.message)
            files.on_step(step)
            on_step(step)

        try:
            external = await self._make(request, report)
        finally:
            await files.end_early()
        facts = CreationFacts(await files.finish(), not_ready=warnings[-1])
        self._inventory.created(request.name)
        self._logs.drop(request.name)
        return Made(_fingerprint(external), external, facts)

    async def _check_names(self, request: Create) -> None:
        """Raise NamesNotResolved now if kind would fail minutes later, when the second node joins."""
        if len(request.config.get("nodes") or ()) > 1 and await self._containers.resolves_names() is False:
            raise NamesNotResolved(self._containers.network)

    async def _make(self, request: Create, on_step: Callable[[Step], None]) -> str:
        """Run `kind create cluster` and return the kubeconfig that it wrote; clean up after a failure."""
        try:
            return await self._kind.create_cluster(
                request.name,
                self._with_ports(request),
                wait_seconds=request.wait_seconds,
                retain=True,
                on_step=on_step,
            )
        except CommandError as error:
            await self._keep_logs(request, error)
            with suppress(CommandError):
                await self._removal.remove(
                    request.name,
                    lambda nodes: of_attempt(nodes, request.mark),
                    settle_seconds=FAILED_SETTLE_SECONDS,
                )
            raise

    async def _has_left_nothing(self, request: Create, steps: list[Step]) -> bool:
        """Return whether the engine of a failed creation lists nothing of that name: another one may answer by now."""
        if self._containers.command is None:
            has_no_node = bool(steps) and steps[-1].reason is Reason.ENSURING_NODE_IMAGE
            return has_no_node or await self._is_unlisted(request.name)
        if not request.engine:
            return False
        snapshot = await self._inventory.refresh()
        is_of_engine = snapshot.error is None and snapshot.engine_id == request.engine
        return is_of_engine and request.name not in snapshot.clusters

    async def _is_unlisted(self, name: str) -> bool:
        """Return whether kind lists no node after a failed creation: without marks, later ones are someone else's."""
        await asyncio.sleep(FAILED_SETTLE_SECONDS)
        with suppress(CommandError):
            return not await self._kind.nodes(name)
        return False

    def _with_ports(self, request: Create) -> Mapping[str, Any]:
        """Return the configuration with the ports that it leaves open, if kind cannot choose them."""
        if request.ports is None:
            return request.config
        latest = self._inventory.latest
        nodes = [node for entry in (latest.clusters.values() if latest else ()) for node in entry.nodes or ()]
        # One that is stopped needs its own again, and nothing occupies them meanwhile.
        taken = {port for node in nodes for port in node.host_ports}
        taken |= {node.api_port[1] for node in nodes if node.api_port}
        return with_ports(request.config, request.ports, seed=str(request.mark), taken=taken)

    async def _keep_logs(self, request: Create, error: CommandError) -> None:
        """Keep the logs of a failed creation; an error here never stops the cleanup."""
        place = self._logs.begin(request.name, error.output, yamlio.dump(unmarked(request.config)))
        error.logs, error.config = str(place or ""), self._logs.config_file(place)
        if place is None:
            return
        try:
            async with asyncio.timeout(LOGS_SECONDS):
                await self._keep_node_logs(place, request)
        except (CommandError, TimeoutError) as late:
            log.info("The logs in %s are incomplete: %s", place, str(late) or f"time limit of {LOGS_SECONDS:.0f} s")
        except Exception:
            # The user has to learn of the failed creation, whatever is wrong with the logs.
            log.exception("Cannot keep the logs of the nodes in %s", place)
        self._logs.end(place)

    async def _keep_node_logs(self, place: Path, request: Create) -> None:
        for node in of_attempt(await list_nodes(self._containers, request.name), request.mark):
            if node.running and node.role == LOAD_BALANCER:
                continue
            read = node_logs if node.running else last_words
            # By id, because another container may get the same name.
            text = await read(self._containers, node.container_id)
            if not self._logs.add(place, f"{node.name}.log", text):
                break


def _fingerprint(kubeconfig: str) -> str:
    """Return the identity of a new cluster, or UNREAD if its kubeconfig is not valid.

    The cluster is up all the same. Reading the kubeconfig is a separate step, which reports its own failure.
    """
    try:
        return parse(kubeconfig).fingerprint
    except BadKubeconfig:
        return UNREAD
