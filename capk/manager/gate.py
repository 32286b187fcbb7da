"""Decides whether an object still wants an operation that was queued for it, possibly minutes ago."""

from capk.api.objects import KINDCluster
from capk.manager.records import Record
from capk.manager.relations import Relations
from capk.plan.plan import Create, Delete, Goal, OperationRequest, RenewCertificates
from capk.runtime.store import Store


class Gate:
    """Called when an operation leaves the queue, and again before each removal."""

    def __init__(self, store: Store, relations: Relations) -> None:
        self._store = store
        self._relations = relations

    def still_wanted(self, record: Record, request: OperationRequest) -> bool:
        """Return whether the request may be carried out now."""
        if record.vanished:
            # An object that was restored from a backup carries the claim of the one that is gone.
            return isinstance(request, Delete) and not self._relations.is_claimed(request.uids)
        raw = self._store.get(record.key)
        if raw is None:
            return False
        cluster = KINDCluster(raw)
        if cluster.uid != record.uid or self._is_left_alone(cluster):
            return False
        match request:
            case Create(mark=mark):
                return not cluster.is_deleting and cluster.is_being_created and cluster.attempt == mark.attempt
            case RenewCertificates():
                return not cluster.is_deleting
            case Delete(goal=Goal.GONE, is_of_whole=is_of_whole):
                return cluster.is_deleting and not (is_of_whole and cluster.retains)
        return True

    def _is_left_alone(self, cluster: KINDCluster) -> bool:
        """Return whether the provider must not act: a pause (C7), another manager (C6) or a move (C25)."""
        owner = self._relations.owner(cluster)
        is_paused = cluster.is_paused or (owner is not None and owner.pauses)
        return is_paused or cluster.is_externally_managed or cluster.is_deleted_for_move
