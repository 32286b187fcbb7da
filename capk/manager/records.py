"""One record per object: its operation, the outcome per goal, unsaved results, and its kubeconfigs.

A record survives a change of operation and is dropped with its object, however the object goes.
"""

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Protocol, TypeVar

from capk.api.objects import Key, KINDCluster, Object, OwnerMachine
from capk.diagnosis.failures import Failure
from capk.engine.lanes import Lane, Lanes
from capk.engine.place import Place
from capk.engine.progress import Step
from capk.errors import CapkError, CommandError
from capk.manager.facts import failure_of
from capk.plan.facts import Access, CreationFacts, GoalFacts, OperationFacts, Validity
from capk.plan.marks import Mark
from capk.plan.parts import SECRET
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
)
from capk.plan.policy import Policy, retry_delay
from capk.runtime.metrics import Metrics

T = TypeVar("T")

ACCESS_SECONDS: Final = 60.0
"""How long kubeconfigs stay in memory: long enough to write everything. They can be read again."""
RECHECK_SECONDS: Final = 12 * 3600.0
"""Interval between reads without another cause: only they show certificates that were renewed inside a node."""
FREE_WRITES: Final = 10
"""Number of writes of a Secret without a pause: users edit it, and each edit is reverted immediately."""
FREE_REPLIES: Final = 12
"""Number of writes of an object without a pause that each follow a write by someone else: users edit it, and Cluster
API's core sets references and labels."""
CHANGED_WRITE: Final = 5
"""Weight of a write that the API server stored differently: the next one will be stored differently too."""
FAILURES_IN_A_ROW: Final = 4
LASTING_SECONDS: Final = 30.0
"""A write or a reconcile that failed so often and for so long is worth a word. Most causes are over with the next try:
another writer was just quicker, for example."""
FORGET_SECONDS: Final = 60.0
"""The outcome of a goal is forgotten after twice its back-off plus this time without an operation."""

LANES: Final[dict[type, Lane]] = {
    Create: Lane.CREATE,
    Delete: Lane.DELETE,
    StartNodes: Lane.REPAIR,
    ReadAccess: Lane.READ,
    RenewCertificates: Lane.REPAIR,
    RenewKubelets: Lane.REPAIR,
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


@dataclass(frozen=True)
class Made:
    """The result of a creation.

    identity: the fingerprint of its certificate authority, or UNREAD.
    external: the kubeconfig that kind wrote, not parsed yet; secret.
    facts: its warnings.
    """

    identity: str
    external: str = field(repr=False)
    facts: CreationFacts = field(default_factory=CreationFacts)


@dataclass(frozen=True)
class Joined:
    """The result of a join: the id of the container whose node has joined."""

    container_id: str


Outcome = Made | Access | Joined | None
"""What an operation hands back, if anything."""


class Withdrawn(Exception):
    """The object no longer wanted the operation when it left the queue: nothing was done."""


@dataclass(frozen=True)
class _Goal:
    attempts: int
    ended_at: float
    request: OperationRequest
    failure: Failure | None = None
    """Not the exception: its traceback keeps all that the operation had read, and its output is long."""
    logs: str = ""
    left_nothing: bool = False


@dataclass(frozen=True)
class _Refusal:
    words: str
    attempts: int
    until: float


@dataclass(frozen=True)
class _Failing:
    times: int
    since: float
    latest: float


@dataclass(frozen=True)
class _Writes:
    times: int
    until: float


class Executing(Protocol):
    """Carries out requests at one place; see `capk.manager.executor`."""

    @property
    def place(self) -> Place:
        """Where it does so."""

    async def carry_out(self, record: "Record", request: OperationRequest, on_step: Callable[[Step], None]) -> Outcome:
        """Carry out a request; return what came of it."""


@dataclass
class Record:
    """The provider's memory of one object."""

    key: Key
    uid: str
    request: OperationRequest | None = None
    """Of the running or queued operation."""
    executor: Executing | None = None
    """Of the latest operation: what it has left is at that place, whatever the object asks for by now."""
    goals: dict[Goal, _Goal] = field(default_factory=dict)
    refusals: dict[str, _Refusal] = field(default_factory=dict)
    failing: dict[str, _Failing] = field(default_factory=dict)
    """Parts whose latest writes failed for a cause that mostly passes, such as a conflict."""
    writes: dict[str, _Writes] = field(default_factory=dict)
    """Secrets that were written recently."""
    version: str = ""
    """The version of the object after the last write by this process."""
    replies: _Writes | None = None
    """Writes of the object that each followed a write by someone else."""
    made: str | None = None
    """Identity of a complete kind cluster until the object holds it."""
    completed: int | None = None
    """Attempt number of the creation that this process has completed, until its kind cluster is removed."""
    external: str | None = field(default=None, repr=False)
    """The kubeconfig that kind wrote during the creation, until it is read; secret."""
    creation: CreationFacts = field(default_factory=CreationFacts)
    access: Access | None = field(default=None, repr=False)
    validity: Validity | None = None
    access_timer: asyncio.TimerHandle | None = None
    read_at: float | None = None
    unanswered_at: float | None = None
    """When the last read of the kubeconfigs ended, if the API server did not answer it."""
    unanswered_because: str = ""
    proven_at: float | None = None
    """When the last read started that verified the content of the kind cluster's etcd."""
    addresses: Mapping[str, str] = field(default_factory=dict)
    """First addresses of the control planes that this process has created, by name, until their removal."""
    kube_system_uid: str | None = None
    """The uid of kube-system in that read; empty if there is no such namespace."""
    first_kube_system_uid: tuple[str, str] | None = None
    """The first uid of kube-system that was read and that the object does not hold yet, after the fingerprint of its
    kind cluster: the etcd may lose its data before the API server stores anything."""
    unedited_kube_system_uid: str | None = None
    """What the annotation said when it was first seen, or last agreed with a read: an edit is no loss of data."""
    unfinished: Create | AddWorker | None = None
    """A creation or a join that has started and is not known to be complete or removed again."""
    never_began: Mark | None = None
    """Mark of the last creation, if it ended while it waited, and no creation before may have left anything."""
    joined: str = ""
    """Id of the container that this process has joined for a KINDMachine, until the next operation on its node."""
    machine: OwnerMachine | None = None
    """The Machine that owns a KINDMachine, as it was read once."""
    vanished: bool = False
    """Whether the object is gone and the rest of its kind cluster is being removed."""


class Records:
    """The records of all objects, by uid: a later object of the same name has its own."""

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
        self._records: dict[str, Record] = {}
        self._uids: dict[Key, set[str]] = defaultdict(set)
        self._joins: dict[str, tuple[str, AddWorker]] = {}
        """Joins that have not ended when last looked at, with the keys of their places, by uid; also those of forgotten
        objects."""
        self._removals: dict[str, tuple[str, Delete]] = {}
        self._creators: dict[tuple[str, str], set[str]] = defaultdict(set)
        """Objects by the place and the name of the kind cluster that is created for them."""
        """Removals for the deletion of an object, likewise."""
        self._leaves: dict[str, tuple[str, RemoveWorker]] = {}
        """The same of workers."""

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
        lane = Lane.WAIT if isinstance(request, ReadAccess) and request.await_answer else LANES[type(request)]
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
            record.creation = CreationFacts()
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

        # Only creations are costly for the provider. In all other lanes, an engine that hangs must not delay others.
        pool = place.pool if lane is Lane.CREATE else place.key
        self._lanes.start(record.uid, lane, work, pool=pool, name=f"{type(request).__name__} {request.name}")

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

    def refused(self, record: Record, part: str, words: str) -> None:
        """Record that the API server refuses to store a part of a plan."""
        before = record.refusals.get(part)
        attempts = before.attempts + 1 if before else 1
        record.refusals[part] = _Refusal(words, attempts, self._clock() + retry_delay(attempts, self._policy))

    def failed_again(self, record: Record, part: str) -> bool:
        """Record that a write failed for a cause that mostly passes, such as a conflict; return whether it lasts.

        If it lasts for one part of the object, the others need not find that out one after the other.
        """
        now, before = self._clock(), record.failing.get(part)
        if before is None or now - before.latest > FORGET_SECONDS + 2 * self._policy.retry_limit_seconds:
            before = _Failing(0, now, now)
        record.failing[part] = _Failing(before.times + 1, before.since, now)
        return any(
            one.times >= FAILURES_IN_A_ROW and one.latest - one.since >= LASTING_SECONDS
            for one in record.failing.values()
        )

    def accepted(self, record: Record, part: str) -> bool:
        """Record that the API server has stored a part; return whether it had been refused."""
        record.failing.pop(part, None)
        return record.refusals.pop(part, None) is not None

    def refusals(self, record: Record) -> dict[str, str]:
        """Return the parts that were refused and not accepted since, with the server's messages."""
        return {part: refusal.words for part, refusal in record.refusals.items()}

    def held_back(self, record: Record) -> frozenset[str]:
        """Return the refused parts whose back-off has not ended."""
        return frozenset(part for part, refusal in record.refusals.items() if refusal.until > self._clock())

    def next_try(self, record: Record) -> float | None:
        """Return the seconds until a held back part is retried; None if none is held back.

        A part whose back-off has ended was retried in this reconcile, or waits for something else, such as kubeconfigs.
        """
        now = self._clock()
        until = [
            *(refusal.until for refusal in record.refusals.values()),
            *(one.until for one in record.writes.values()),
        ]
        return min((moment - now for moment in until if moment > now), default=None)

    def written(self, record: Record, part: str, *, is_changed: bool = False) -> None:
        """Record that a part was written; parts that others keep changing get an increasing back-off.

        is_changed: the API server has stored something else, for example because of a mutating webhook.
        """
        now, before = self._clock(), record.writes.get(part)
        weight = CHANGED_WRITE if is_changed else 1
        times = (before.times if before and now < before.until + FORGET_SECONDS else 0) + weight
        excess = -(-max(times - FREE_WRITES, 0) // weight)
        record.writes[part] = _Writes(times, now + retry_delay(excess, self._policy))

    def is_throttled(self, record: Record, part: str) -> bool:
        """Return whether a part was written so often that its next write has to wait."""
        writes = record.writes.get(part)
        return writes is not None and writes.until > self._clock()

    def contested(self, record: Record) -> frozenset[str]:
        """Return the Secrets, as parts, that were written repeatedly because something else changes them each time."""
        since = self._clock() - FORGET_SECONDS
        often = (part for part, one in record.writes.items() if one.times > FREE_WRITES and one.until > since)
        return frozenset(part for part in often if part.startswith(SECRET))

    def object_written(self, uid: str, before: str, after: str) -> bool:
        """Record that an object was written; return whether its next reconcile has to wait, for the first time.

        before, after: its versions. Another controller that undoes each write would otherwise be undone in its turn,
        many times a second and without an end: for example a second provider, which has another container engine.
        """
        record = self._records.get(uid)
        if record is None or before == after:
            return False
        is_reply = record.version not in ("", before)
        record.version = after
        if not is_reply:
            return False
        now, last = self._clock(), record.replies
        times = (last.times if last and now < last.until + FORGET_SECONDS else 0) + 1
        excess = max(times - FREE_REPLIES, 0)
        record.replies = _Writes(times, now + retry_delay(excess, self._policy))
        return excess == 1

    def contest_wait(self, uid: str) -> float:
        """Return the seconds until the object may be reconciled; 0 unless something else changes it again and again.

        A kind cluster that has just been created does not wait: only this process knows that it is complete.
        """
        record = self._records.get(uid)
        if record is None or record.replies is None or record.made is not None:
            return 0.0
        return max(record.replies.until - self._clock(), 0.0)

    def retry_delay(self, attempts: int) -> float:
        """Return the seconds to wait after that many attempts."""
        return retry_delay(attempts, self._policy)

    def cancel(self, uid: str, *, queued_only: bool = False) -> None:
        """Cancel the object's operation; it is `done`, and announced, when its processes have ended."""
        self._lanes.cancel(uid, queued_only=queued_only)
        state, record = self._lanes.get(uid), self._records.get(uid)
        if record and (state is None or state.done):
            _note_unbegun(record, record.request)
            record.request = None

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
        if _is_cleanup(request):
            # The cleanup made room for the next attempt; the outcome of the last one still counts.
            return
        attempts = 0 if request.goal in _SETTLED_BY_SUCCESS else (latest.attempts if latest else 0) + 1
        record.goals[request.goal] = _Goal(attempts, self._clock(), request)
        if isinstance(result, Made):
            record.made, record.external, record.creation = result.identity, result.external, result.facts
            record.completed = request.mark.attempt if isinstance(request, Create) else None
            self._drop_later(record)
        if isinstance(result, Access):
            record.access, record.read_at, record.external = result, self._clock(), None
            record.unanswered_at = None if result.answered else record.read_at
            record.unanswered_because = result.said
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
        record.goals[request.goal] = _Goal(attempts, self._clock(), request, failure_of(error), logs, left_nothing)

    def _drop_later(self, record: Record) -> None:
        """Forget the kubeconfigs after a while, because they hold keys."""
        if record.access_timer:
            record.access_timer.cancel()
        record.access_timer = asyncio.get_running_loop().call_later(ACCESS_SECONDS, _forget_access, record)


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


class StepTimes:
    """Measures how long each step of a creation takes, from one step to the next."""

    def __init__(self, metrics: Metrics, clock: Callable[[], float]) -> None:
        self._metrics = metrics
        self._clock = clock
        self._current: tuple[str, float] | None = None

    def began(self, step: Step) -> None:
        """Record that a step starts, which ends the previous one."""
        self.end()
        self._current = (step.reason.value, self._clock())

    def end(self) -> None:
        """Record that the last step has ended."""
        if self._current is not None:
            reason, since = self._current
            self._metrics.creation_step_seconds.labels(reason).observe(self._clock() - since)
            self._current = None
