"""Chooses the module of `capk.manager.operations` that carries out a request, if the object still wants it.

Each request is one operation and runs outside the reconcile workers, perhaps minutes after the decision.
"""

from collections.abc import Callable

from capk.engine.containers import Containers
from capk.engine.failurelogs import FailureLogs
from capk.engine.inventory import Inventory
from capk.engine.kind import Kind
from capk.engine.place import Place
from capk.engine.progress import Step
from capk.manager.operations.access import AccessReader
from capk.manager.operations.creation import Creation
from capk.manager.operations.deletion import Deletion
from capk.manager.operations.kubelets import Kubelets
from capk.manager.operations.kubesystem import Ask
from capk.manager.operations.removal import Removal
from capk.manager.operations.renewal import Renewal
from capk.manager.operations.repair import NeededByOthers, Repair
from capk.manager.operations.stopping import Stopping
from capk.manager.operations.workers import Workers
from capk.manager.outcome import Outcome, Withdrawn
from capk.manager.record import Record
from capk.plan.plan import (
    AddWorker,
    AskApiServer,
    Create,
    Delete,
    OperationRequest,
    ReadAccess,
    RemoveWorker,
    RenewCertificates,
    RenewKubelets,
    StartNodes,
    StopNodes,
)

StillWanted = Callable[[Record, OperationRequest], bool]
"""Returns whether the object still wants the request that was queued for it."""


class Executor:
    """Carries out requests at one place, with the kind command and the container engine behind it."""

    def __init__(
        self,
        place: Place,
        kind: Kind,
        containers: Containers,
        inventory: Inventory,
        logs: FailureLogs,
        ask: Ask,
        *,
        wait_seconds: float,
        delete_seconds: float,
        still_wanted: StillWanted,
        needed_by_others: NeededByOthers = lambda name: frozenset(),
    ) -> None:
        """Take the parts that do input and output.

        wait_seconds: time limit for a kind cluster to answer after a restart.
        delete_seconds: time limit for the removal of a kind cluster.
        """
        self.place = place
        removal = Removal(kind, containers, delete_seconds=delete_seconds)
        self._still_wanted = still_wanted
        self._creation = Creation(kind, containers, inventory, logs, removal)
        self._deletion = Deletion(kind, containers, inventory, logs, removal)
        self._stopping = Stopping(containers, inventory)
        self._repair = Repair(containers, inventory, needed_by_others)
        self._access = AccessReader(
            kind,
            containers,
            inventory,
            ask,
            endpoint=place.endpoint,
            endpoint_host=place.endpoint_host,
            wait_seconds=wait_seconds,
        )
        self._workers = Workers(containers, inventory, logs)
        self._renewal = Renewal(containers, inventory, self._access.run)
        self._kubelets = Kubelets(containers, inventory)

    async def carry_out(self, record: Record, request: OperationRequest, on_step: Callable[[Step], None]) -> Outcome:
        """Carry out the request; return what a creation or a join has made, or how to reach the workload
        cluster. A removal that finds a complete creation in place of the rest of one returns that.

        Raises CommandError, AddressTaken, NamesNotResolved, NoApiServer, UnsupportedEngine, InvalidSpec, BadKubeconfig;
        Withdrawn if the object no longer wants it.
        """
        if not self._still_wanted(record, request):
            raise Withdrawn
        match request:
            case Create():
                return await self._creation.run(request, on_step)
            case Delete():
                return await self._deletion.run(request, lambda: self._still_wanted(record, request))
            case StartNodes():
                await self._repair.run(request)
            case StopNodes():
                await self._stopping.run(request, lambda: self._still_wanted(record, request))
            case ReadAccess():
                return await self._access.run(record, request)
            case RenewCertificates():
                return await self._renewal.run(record, request)
            case RenewKubelets():
                await self._kubelets.run(request)
            case AskApiServer():
                await self._workers.ask(request)
            case AddWorker():
                return await self._workers.add(request, on_step)
            case RemoveWorker():
                await self._workers.remove(request, on_step, still_wanted=lambda: self._still_wanted(record, request))
        return None
