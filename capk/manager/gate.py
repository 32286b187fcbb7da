"""Decides whether an object still wants an operation that was queued for it, possibly minutes ago."""

from collections.abc import Callable

from capk.api.objects import KINDCluster, KINDMachine, Object, OwnerCluster
from capk.manager.record import Record
from capk.manager.relations import Relations
from capk.plan.plan import (
    AddWorker,
    AskApiServer,
    Create,
    Delete,
    Goal,
    OperationRequest,
    RemoveWorker,
    RenewCertificates,
    RenewKubelets,
    StartNodes,
    StopNodes,
)
from capk.runtime.store import Store


class Gate:
    """Called when an operation leaves the queue, and again before each removal.

    allows: returns whether a KINDCluster may have a new kind cluster at its place; see `capk.manager.placement`.
    """

    def __init__(
        self, store: Store, relations: Relations, allows: Callable[[KINDCluster], bool] = lambda cluster: True
    ) -> None:
        self._store = store
        self._relations = relations
        self._allows = allows

    def still_wanted(self, record: Record, request: OperationRequest) -> bool:
        """Return whether the request may be carried out now."""
        raw = self._store.get(record.key)
        if raw is None or Object(raw).uid != record.uid:
            # An object that was restored from a backup carries the claim of the one that is gone.
            return record.vanished and self._is_abandoned(record, request)
        if isinstance(request, AskApiServer):
            return True
        if isinstance(request, AddWorker | RemoveWorker):
            return self._is_worker_wanted(KINDMachine(raw), request)
        cluster = KINDCluster(raw)
        if self._is_left_alone(cluster, self._relations.owner(cluster)):
            return False
        match request:
            case Create() if not self._allows(cluster):
                return False
            case Create(mark=mark):
                return not cluster.is_deleting and cluster.is_being_created and cluster.attempt == mark.attempt
            case StopNodes():
                return cluster.is_to_be_stopped and not cluster.is_deleting
            case StartNodes(although_stopped=although_stopped):
                return although_stopped or not cluster.is_to_be_stopped
            case RenewCertificates() | RenewKubelets():
                return not cluster.is_deleting
            case Delete(goal=Goal.GONE, is_of_whole=is_of_whole):
                return cluster.is_deleting and not (is_of_whole and cluster.retains)
        return True

    def _is_abandoned(self, record: Record, request: OperationRequest) -> bool:
        """Return whether a request removes what no other object has come to own."""
        match request:
            case Delete():
                return not self._relations.is_claimed(request.uids)
            case RemoveWorker():
                return not self._relations.machines.has_id(record.key, request.machine)
        return False

    def _is_worker_wanted(self, machine: KINDMachine, request: AddWorker | RemoveWorker) -> bool:
        cluster = self._relations.machines.infrastructure(machine)
        leads_there = cluster is not None and self._relations.name(cluster.key) == request.name
        is_edited = cluster is not None and not leads_there
        if is_edited:
            # The label, or the Cluster's reference, leads elsewhere: the Cluster with the container has to be paused.
            cluster = self._relations.kindcluster_named(machine.namespace, request.name) or cluster
        # The label of a standalone one may name any Cluster.
        named = None if machine.is_standalone or is_edited else self._relations.machines.owner(machine)
        owner = named or (self._relations.owner(cluster) if cluster else None)
        if self._is_left_alone(machine, owner):
            return False
        if isinstance(request, RemoveWorker):
            return machine.is_deleting or request.goal is not Goal.LEFT
        is_going = machine.is_deleting or not leads_there or cluster is None or cluster.is_deleting
        return not is_going and machine.stored_machine_id == request.machine

    def _is_left_alone(self, current: Object, owner: OwnerCluster | None) -> bool:
        """Return whether the provider must not act: a pause (C7), another manager (C6) or a move (C25)."""
        is_paused = current.is_paused or (owner is not None and owner.pauses)
        return is_paused or current.is_left_to_others
