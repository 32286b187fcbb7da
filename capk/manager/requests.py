"""What each request of a plan does to the engine; each function is one operation, run outside the reconcile workers."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from capk.api.names import Reason
from capk.diagnosis.byhand import unmarked
from capk.diagnosis.failures import classify
from capk.engine.containers import Containers
from capk.engine.failurelogs import FailureLogs
from capk.engine.inventory import Entry, Inventory
from capk.engine.kind import Kind
from capk.engine.operations import Lane
from capk.engine.progress import Step
from capk.errors import CommandError
from capk.kindcfg import documents
from capk.kindcfg.images import image_version
from capk.kindcfg.kubeconfig import read_kubeconfig
from capk.kube.workload import server_version
from capk.plan.observed import Access, EndpointMode
from capk.plan.plan import Create, Delete, ReadAccess, Request, StartNodes

LANES: dict[type, Lane] = {
    Create: Lane.CREATE,
    Delete: Lane.DELETE,
    StartNodes: Lane.REPAIR,
    ReadAccess: Lane.READ,
}
"""Lanes have their own bounds, so that a deletion never waits behind creations."""


class Engine:
    """Carries out requests with the kind command and the container engine behind it."""

    def __init__(
        self,
        kind: Kind,
        containers: Containers,
        inventory: Inventory,
        logs: FailureLogs,
        endpoint: EndpointMode,
        wait_seconds: float,
    ) -> None:
        """Take the doors to the world; wait_seconds: how long a kind cluster may need to answer after a restart."""
        self.kind = kind
        self.containers = containers
        self.inventory = inventory
        self.logs = logs
        self._endpoint = endpoint
        self._wait_seconds = wait_seconds

    async def carry_out(self, request: Request, on_step: Callable[[Step], None]) -> Access | None:
        """Do what the request says; return how the workload cluster is reached where that was found out.

        Raises CommandError.
        """
        match request:
            case Create():
                return await self._create(request, on_step)
            case Delete():
                await self.kind.delete_cluster(request.name)
                self.inventory.deleted(request.name)
                self.logs.drop(request.name)
            case StartNodes():
                await self.containers.start(request.nodes)
                await self.inventory.refresh()
                await self._await_api_server(request.name)
                self.inventory.answered(request.name)
                # Addresses and certificates may be others now.
                return await self._access(request.name, await self.kind.kubeconfig(request.name, internal=False))
            case ReadAccess():
                return await self._access(request.name, await self.kind.kubeconfig(request.name, internal=False))
        return None

    async def _create(self, request: Create, on_step: Callable[[Step], None]) -> Access:
        try:
            external = await self.kind.create_cluster(
                request.name,
                request.config,
                wait_seconds=request.wait_seconds,
                retain=True,
                on_step=on_step,
            )
        except CommandError as error:
            await self._clean_up(request, error)
            raise
        self.inventory.created(request.name)
        self.logs.drop(request.name)
        access, _ = await asyncio.gather(self._access(request.name, external, request.image), self.inventory.refresh())
        return access

    async def _await_api_server(self, name: str) -> None:
        """Wait until the API server of a kind cluster answers, for a bounded time: it may be out of reach from here."""
        internal = self._endpoint is EndpointMode.INTERNAL
        reachable = read_kubeconfig(await self.kind.kubeconfig(name, internal=internal))
        with suppress(TimeoutError):
            async with asyncio.timeout(self._wait_seconds):
                while True:
                    if await server_version(reachable.server, reachable.authority):
                        return
                    await asyncio.sleep(1)

    async def _clean_up(self, request: Create, error: CommandError) -> None:
        """Keep the logs of a failed creation and remove its nodes, unless they are those of somebody quicker."""
        snapshot = await self.inventory.refresh()
        entry = snapshot.clusters.get(request.name)
        place = self.logs.begin(request.name, error.output, documents.dump(unmarked(request.config)))
        error.logs, error.config = str(place or ""), self.logs.config_file(place)
        if entry is not None and snapshot.error is None and self._is_ours(request, entry, error):
            if place:
                with suppress(CommandError, OSError):
                    await self.logs.bounded(place, self.kind.export_logs(request.name, place))
            await self.kind.delete_cluster(request.name)
            self.inventory.deleted(request.name)
        self.logs.end(place)

    @staticmethod
    def _is_ours(request: Create, entry: Entry, error: CommandError) -> bool:
        if entry.nodes is None:
            return classify(error).reason is not Reason.NAME_CONFLICT
        return any(node.claim_id == request.claim_id for node in entry.nodes)

    async def _access(self, name: str, external: str, image: str | None = None) -> Access:
        internal = await self.kind.kubeconfig(name, internal=True)
        outside, inside = read_kubeconfig(external), read_kubeconfig(internal)
        reachable = inside if self._endpoint is EndpointMode.INTERNAL else outside
        answered = await server_version(reachable.server, reachable.authority)
        nodes = () if self.containers.command else tuple(await self.kind.nodes(name))
        return Access(
            external=external,
            internal=internal,
            fingerprint=outside.fingerprint,
            external_endpoint=(outside.host, outside.port),
            internal_endpoint=(inside.host, inside.port),
            version=answered or (image_version(image) if image else None),
            nodes=nodes,
        )
