"""One record per object: its operation, the outcome per goal, unsaved results, and its kubeconfigs.

A record survives a change of operation and is dropped with its object, however the object goes.
"""

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Final, TypeVar

from capk.api.objects import Key, KINDCluster, Object
from capk.engine.lanes import Lane, Lanes
from capk.engine.progress import Step
from capk.errors import CapkError, CommandError
from capk.manager.facts import failure_of
from capk.manager.outcome import Joined, Made, Outcome, Withdrawn
from capk.manager.record import FORGET_SECONDS, Executing, GoalOutcome, Record
from capk.manager.steptimes import StepTimes
from capk.manager.writebackoff import WriteBackoff
from capk.plan.facts import Access, CreationFacts, GoalFacts, OperationFacts, Validity
from capk.plan.plan import (
    AddWorker,
    AskApiServer,
    Create,
    Delete,
    Goal,
    OperationRequest,
    ReadAccess,
    RemoveWorker,
    RenewCertificates,
    RenewKubelets,
    StartNodes,
    StopNodes,
)
from capk.plan.policy import Policy, retry_delay
from capk.runtime.metrics import Metrics

T = TypeVar("T")

ACCESS_SECONDS: Final = 60.0
"""How long kubeconfigs stay in memory: long enough to write everything. They can be read again."""
RECHECK_SECONDS: Final = 12 * 3600.0
"""Interval between reads without another cause: only they show certificates that were renewed inside a node."""

LANES: Final[dict[type, Lane]] = {
    Create: Lane.CREATE,
    Delete: Lane.DELETE,
    StartNodes: Lane.REPAIR,
    StopNodes: Lane.ASK,
    ReadAccess: Lane.READ,
    RenewCertificates: Lane.RENEW,
    RenewKubelets: Lane.RENEW,
    AskApiServer: Lane.READ,
    AddWorker: Lane.WORKER,
    RemoveWorker: Lane.LEAVE,
}
"""Lanes have their own bounds, so that a deletion never waits for creations."""

_SETTLED_BY_SUCCESS: Final = frozenset({Goal.UP, Goal.GONE, Goal.ANSWERED, Goal.JOINED, Goal.LEFT})
"""Goals that one success reaches permanently. The others may be lost a moment later, so a success counts as an
attempt."""


_KEPT: Final = frozenset({Goal.GONE, Goal.RENEWED, Goal.KUBELETS})
"""Goals whose success is not forgotten after a while."""


class Records:
    """The records of all objects, by uid: a later object of the same name has its own.

    backoff: of writes of these objects.
    """

    def __init__(
        self,
        lanes: Lanes,
        metrics: Metrics,
        policy: Policy,
        clock: Callable[[], float],
    ) -> None:
        self._lanes = lanes
        self._metrics = metrics
        self._policy = policy
        self._clock = clock
        self.backoff = WriteBackoff(self.find, policy, clock)
        self._records: dict[str, Record] = {}
        self._uids: dict[Key, set[str]] = defaultdict(set)
        self._joins: dict[str, tuple[str, AddWorker]] = {}
        """Joins that have not ended when last looked at, with the keys of their places, by uid; also those of forgotten
        objects."""
        self._removals: dict[str, tuple[str, Delete]] = {}
        """Removals for the deletion of an object, likewise."""
        self._leaves: dict[str, tuple[str, RemoveWorker]] = {}
        """The same of workers."""
        self._creators: dict[tuple[str, str], set[str]] = defaultdict(set)
        """Objects by the place and the name of the kind cluster that is created for them."""

    def of(self, current: Object) -> Record:
        """Return the record of an object, creating it if there is none."""
        if current.uid not in self._records:
            self._records[current.uid] = Record(current.key, current.uid)
            self._uids[current.key].add(current.uid)
        return self._records[current.uid]

    def find(self, uid: str) -> Record | None:
        """Return the record of that uid."""
        return self._records.get(uid)

    def of_key(self, key: Key) -> list[Record]:
        """Return the records of the objects that have, or had, that key."""
        return [self._records[uid] for uid in sorted(self._uids.get(key, ()))]

    def __len__(self) -> int:
        return len(self._records)

    def start(self, record: Record, request: OperationRequest, executor: Executing) -> None:
        """Carry out the request in the background, in its lane; do nothing if the object has an operation.

        executor: at the place of the kind cluster; the operation stays there, whatever becomes of the object.
        """
        latest = self._lanes.get(record.uid)
        if latest is not None and not latest.done:
            return
        lane = _lane(record, request)
        record.request, record.executor = request, executor
        place = executor.place
        if isinstance(request, Create | Delete):
            record.completed, record.addresses = None, {}
        if isinstance(request, Delete) and request.goal is Goal.GONE:
            self._removals[record.uid] = place.key, request
        if isinstance(request, AddWorker | RemoveWorker):
            record.joined = ""
        # The lane of a join whose object has vanished goes on with the removal of its remains.
        self._joins.pop(record.uid, None)
        if isinstance(request, RemoveWorker):
            self._leaves[record.uid] = place.key, request
        if isinstance(request, AddWorker):
            self._joins[record.uid] = place.key, request
        if isinstance(request, Create):
            self._creators[place.key, request.name].add(record.uid)
            # Facts about a previous kind cluster do not apply to the new one.
            record.made = record.external = record.validity = None
            record.kube_system_uid = record.unedited_kube_system_uid = record.first_kube_system_uid = None
            record.creation, record.refused = CreationFacts(), ""
            _forget_access(record)

        async def work(on_step: Callable[[Step], None]) -> None:
            steps = StepTimes(self._metrics, self._clock)
            began, outcome = self._clock(), "failed"

            def report(step: Step) -> None:
                steps.began(step)
                on_step(step)

            before = record.unfinished
            if isinstance(request, Create | AddWorker):
                # Not before: while it waits, a kind cluster of that name is someone else's.
                record.unfinished, record.never_began = request, None
            try:
                result = await executor.carry_out(record, request, report)
                outcome = "ok"
                self._succeeded(record, request, result, began)
            except Withdrawn:
                outcome = "withdrawn"
                record.unfinished = before
                _note_unbegun(record, request)
                if record.vanished:
                    # What is left of it is another object's by now.
                    record.unfinished = None
                    record.goals.pop(Goal.GONE, None)
                    record.goals.pop(Goal.LEFT, None)
            except CapkError as error:
                self._failed(record, request, error)
            except Exception as error:
                self._failed(record, request, error)
                # Nobody expected it, so the lanes log it with its traceback.
                raise
            finally:
                steps.end()
                record.request = None
                self._metrics.operation_seconds.labels(lane.value, outcome).observe(self._clock() - began)

        def drop() -> None:
            _note_unbegun(record, request)
            record.request = None

        # Only creations are costly for the provider. In all other lanes, an engine that hangs must not delay others.
        pool = place.pool if lane is Lane.CREATE else place.key
        name = f"{type(request).__name__} {request.name}"
        self._lanes.start(record.uid, lane, work, pool=pool, name=name, on_dropped=drop)

    def operation(self, uid: str) -> OperationFacts | None:
        """Return the running or queued operation."""
        state, record = self._lanes.get(uid), self._records.get(uid)
        if state is None or state.done or record is None or record.request is None:
            return None
        return OperationFacts(record.request, state.queued, state.announced, state.step.reason if state.step else None)

    def joining(
        self, place: str, cluster_name: str, is_wanted: Callable[[AddWorker], bool] = lambda join: True
    ) -> dict[str, str]:
        """Return the nodes that join that kind cluster, or wait for it: name of the node -> uid of its KINDMachine.

        place: the key of its place. is_wanted: leaves out joins of another KINDCluster that wants the same name.
        """
        self._joins = self._unfinished(self._joins)
        at_place = {uid: join for uid, (key, join) in self._joins.items() if key == place}
        return {join.node: uid for uid, join in at_place.items() if join.name == cluster_name and is_wanted(join)}

    def leaving(self, place: str, cluster_name: str) -> frozenset[str]:
        """Return the names of the nodes that are being removed from that kind cluster, or wait for it.

        place: the key of its place.
        """
        self._leaves = self._unfinished(self._leaves)
        return frozenset(one.node for key, one in self._leaves.values() if (key, one.name) == (place, cluster_name))

    def cancel_joins(self, place: str, cluster_name: str, nodes: Collection[str]) -> None:
        """Cancel the joins of these nodes of a kind cluster, queued or running."""
        for node, uid in self.joining(place, cluster_name).items():
            if node in nodes:
                self.cancel(uid)

    def is_being_removed(self, claimed: str, place: str, name: str) -> bool:
        """Return whether a removal is queued, or runs, of the kind cluster of that name that was made for a uid.

        claimed: the uid in the marks, or the id of an adopted container. place: the key of its place.
        """
        self._removals = self._unfinished(self._removals)
        return any(
            (key, one.name) == (place, name) and claimed in one.uids | one.container_ids
            for key, one in self._removals.values()
        )

    def creators(self, place: str, name: str) -> list[Record]:
        """Return the records of the objects for which a kind cluster of that name is being created, or is to be.

        An object may be gone: its creation takes a moment to end. place: the key of its place.
        """
        if (place, name) not in self._creators:
            return []
        under_way = {uid for uid in self._creators[place, name] if self._creates(uid)}
        if under_way:
            self._creators[place, name] = under_way
        else:
            del self._creators[place, name]
        return [self._records[uid] for uid in under_way]

    def _creates(self, uid: str) -> bool:
        """Return whether a creation for the object is queued, or runs."""
        operation = self.operation(uid)
        return operation is not None and isinstance(operation.request, Create)

    def kept_place(self, uid: str) -> str | None:
        """Return the key of the place of the creation that this process has queued for an object, started or completed.

        None if there was none. Annotations of the object may be edited meanwhile.
        """
        record = self._records.get(uid)
        if record is None or record.executor is None:
            return None
        is_under_way = any(isinstance(one, Create) for one in (record.request, record.unfinished))
        has_begun = record.made is not None or record.completed is not None or is_under_way
        return record.executor.place.key if has_begun else None

    def places(self) -> set[str]:
        """Return the keys of the places that running and queued operations are for."""
        return {one.executor.place.key for one in self._records.values() if one.request and one.executor}

    def goals(self, record: Record) -> dict[Goal, GoalFacts]:
        """Return the outcome per goal; forget those that have been quiet for long enough.

        A removal that succeeded is kept: it alone proves that nothing is left, if another engine answers later. A
        renewal is kept because certificates may expire soon after it too, and kubelets rarely explain an outage.
        """
        now = self._clock()
        for goal, latest in list(record.goals.items()):
            quiet = FORGET_SECONDS + 2 * retry_delay(latest.attempts, self._policy)
            if latest.failure is None and goal not in _KEPT and now - latest.ended_at > quiet:
                del record.goals[goal]
        return {
            goal: GoalFacts(
                attempts=latest.attempts,
                seconds_ago=now - latest.ended_at,
                failure=latest.failure,
                request=latest.request,
                logs=latest.logs,
                left_nothing=latest.left_nothing,
            )
            for goal, latest in record.goals.items()
        }

    def is_access_old(self, current: Object) -> bool:
        """Return whether the kubeconfigs are due to be read again without another cause.

        The uid determines the first time, so that a provider does not read those of all clusters concurrently.
        """
        record = self.of(current)
        if record.read_at is None:
            share = int(hashlib.sha256(current.uid.encode()).hexdigest()[:8], 16) / 2**32
            record.read_at = self._clock() - share * RECHECK_SECONDS / 2
        return self._clock() - record.read_at > RECHECK_SECONDS

    def stored(self, current: KINDCluster) -> None:
        """Note what the object holds: the identity of a created cluster need not be remembered any more."""
        record = self.find(current.uid)
        if record is None:
            return
        if record.made is not None and record.made == current.identity:
            record.made = None
        uid = current.kube_system_uid
        if uid is None or uid in (record.kube_system_uid, current.kube_system_uid_of(current.identity)):
            record.unedited_kube_system_uid = uid
        elif record.unedited_kube_system_uid is None:
            # Every read comes after a look at the object: what was read before this annotation came is what it said.
            first = record.first_kube_system_uid
            record.unedited_kube_system_uid = (first and first[1]) or record.kube_system_uid or uid
        if uid is not None:
            record.first_kube_system_uid = None

    def answered(self, record: Record) -> None:
        """Record that the workload cluster's API server answers: it is no longer starting."""
        record.creation = replace(record.creation, not_ready="")

    def retry_delay(self, attempts: int) -> float:
        """Return the seconds to wait after that many attempts."""
        return retry_delay(attempts, self._policy)

    def cancel(self, uid: str, *, queued_only: bool = False) -> None:
        """Cancel the object's operation; it is `done`, and announced, when its processes have ended."""
        self._lanes.cancel(uid, queued_only=queued_only)

    def forget(self, uid: str) -> None:
        """Drop the record of an object and cancel its operation."""
        record = self._records.pop(uid, None)
        if record:
            self._uids[record.key].discard(uid)
            if not self._uids[record.key]:
                del self._uids[record.key]
        if record:
            _forget_access(record)
        self._lanes.cancel(uid)
        self._lanes.forget(uid)
        for wanted in [wanted for wanted, uids in self._creators.items() if uids <= {uid}]:
            del self._creators[wanted]

    def _unfinished(self, operations: Mapping[str, T]) -> dict[str, T]:
        """Return the operations, by uid, that have not ended."""
        states = {uid: self._lanes.get(uid) for uid in operations}
        return {uid: one for uid, one in operations.items() if (state := states[uid]) and not state.done}

    def _succeeded(self, record: Record, request: OperationRequest, result: Outcome, began: float) -> None:
        latest = record.goals.get(request.goal)
        if isinstance(request, Create | Delete | AddWorker | RemoveWorker):
            record.unfinished = None
        if isinstance(result, Joined):
            record.joined = result.container_id
        if isinstance(request, Delete) and isinstance(result, Made):
            # It has removed nothing, and the goal is as far away as before.
            record.made, record.completed = result.identity, result.attempt
            return
        if _is_cleanup(request):
            # The cleanup made room for the next attempt; the outcome of the last one still counts.
            return
        attempts = 0 if request.goal in _SETTLED_BY_SUCCESS else (latest.attempts if latest else 0) + 1
        record.goals[request.goal] = GoalOutcome(attempts, self._clock(), request)
        if isinstance(result, Made):
            record.made, record.external, record.creation = result.identity, result.external, result.facts
            record.completed = request.mark.attempt if isinstance(request, Create) else None
            self._drop_later(record)
        if isinstance(result, Access):
            record.access, record.read_at, record.external = result, self._clock(), None
            record.unanswered_at = None if result.answered else record.read_at
            record.unanswered_because = result.said
            record.refused = result.refused
            if result.kube_system_uid is not None:
                record.proven_at, record.kube_system_uid = began, result.kube_system_uid
                first = record.first_kube_system_uid
                if result.kube_system_uid and (first is None or first[0] != result.fingerprint):
                    record.first_kube_system_uid = result.fingerprint, result.kube_system_uid
            record.validity = Validity(result.not_after, result.lifetime) if result.not_after else None
            self._drop_later(record)

    def _failed(self, record: Record, request: OperationRequest, error: Exception) -> None:
        latest = record.goals.get(request.goal)
        attempts = (latest.attempts if latest and not _asks_for_other(request, latest.request) else 0) + 1
        logs = error.logs if isinstance(error, CommandError) else ""
        left_nothing = isinstance(error, CapkError) and error.left_nothing
        failure = failure_of(error)
        record.goals[request.goal] = GoalOutcome(attempts, self._clock(), request, failure, logs, left_nothing)

    def _drop_later(self, record: Record) -> None:
        """Forget the kubeconfigs after a while, because they hold keys; not before they can be written."""
        if record.access_timer:
            record.access_timer.cancel()
        seconds = self.backoff.contest_wait(record.uid) + ACCESS_SECONDS
        record.access_timer = asyncio.get_running_loop().call_later(seconds, _forget_access, record)


def _lane(record: Record, request: OperationRequest) -> Lane:
    """Return the lane of a request.

    The first read after a creation has the kubeconfig already. It does not wait for those of kind clusters in whose
    nodes commands hang, and there are no more of them than creations.
    """
    if isinstance(request, ReadAccess) and (request.await_answer or record.external is not None):
        return Lane.WAIT
    if isinstance(request, Delete) and request.unless_complete:
        return Lane.ASK
    return LANES[type(request)]


def _is_cleanup(request: OperationRequest) -> bool:
    """Return whether the request removes what an attempt towards another goal has left."""
    is_of_creation = isinstance(request, Delete) and request.goal is Goal.UP
    return is_of_creation or (isinstance(request, RemoveWorker) and request.goal is Goal.JOINED)


def _note_unbegun(record: Record, request: OperationRequest | None) -> None:
    """Note that kind was never started for a request that ended in the queue."""
    if isinstance(request, Create) and record.unfinished is None:
        record.never_began = request.mark


def _asks_for_other(request: OperationRequest, latest: OperationRequest) -> bool:
    """Return whether two requests towards one goal want something else: the user has changed the spec."""
    match request, latest:
        case Create(), Create():
            return not request.is_like(latest)
        case AddWorker(), AddWorker():
            return request != latest
    return False


def _forget_access(record: Record) -> None:
    if record.access_timer:
        record.access_timer.cancel()
    record.access = record.external = record.access_timer = None
