"""Random events of a KINDCluster in any order: the invariants of decisions, and their final result.

The world is a small model: an API server that accepts every write, an engine that has at most one kind cluster of
the name, and a provider that may be killed at any moment.
"""

from dataclasses import dataclass, replace
from datetime import timedelta

from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from capk.api import names
from capk.api.names import Condition, Reason
from capk.api.objects import KINDCluster
from capk.diagnosis.failures import Failure
from capk.plan.facts import EngineFacts
from capk.plan.kindcluster import decide
from capk.plan.marks import Mark
from capk.plan.plan import Create, Delete, ReadAccess, StartNodes
from test.unit.plan.builders import (
    ACCESS,
    FINALIZER,
    UID,
    apply,
    condition,
    ended,
    failed,
    node,
    observe,
    running_operation,
    seen_as,
)

DOWN = Failure(Reason.ENGINE_UNREACHABLE, "The engine does not answer.")
BROKEN = Failure(Reason.COMMAND_FAILED, "It failed.")


@dataclass(frozen=True)
class Standing:
    """A kind cluster on the model's engine."""

    mark: str | None
    """The mark on its containers; None: someone else created it."""
    fingerprint: str
    complete: bool
    running: bool = True


class Life(RuleBasedStateMachine):
    """One KINDCluster, one name on the engine."""

    def __init__(self) -> None:
        super().__init__()
        self.made = 0
        self.standing: Standing | None = None
        self.engine_up = True
        self.was_provisioned = False
        self.gone = False
        self.seen = observe()

    # Steps of the provider.

    @rule()
    def reconcile(self) -> None:
        if self.gone:
            return
        self.look()
        plan = decide(self.seen)
        if plan.cancel_operation:
            self.interrupt()
        before = self.seen
        self.seen = apply(self.seen, plan)
        if plan.operation is not None:
            self.check_request(plan.operation)
            self.seen = replace(self.seen, operation=running_operation(plan.operation), access=None)
        if plan.delete_secrets or plan.remove_finalizer:
            assert before.object.is_deleting
        if plan.remove_finalizer and not self.seen.object.finalizers:
            self.gone = True
            assert not self.is_mine or before.object.retains
            assert not self.seen.secrets

    def look(self) -> None:
        standing = self.standing
        nodes = (node(mark=standing.mark, running=standing.running),) if standing else None
        facts = EngineFacts(
            was_listed=True,
            failure=None if self.engine_up else DOWN,
            exists=standing is not None,
            nodes=nodes,
        )
        self.seen = replace(self.seen, engine=facts, now=self.seen.now + timedelta(seconds=10))

    def check_request(self, request) -> None:
        stored = self.seen.object
        assert self.engine_up
        assert not stored.is_paused
        match request:
            case Create():
                assert self.standing is None
                assert stored.claimed_name == request.name == "dev"
                assert stored.finalizers
                assert not stored.is_deleting
            case Delete():
                assert request.uids == {UID}, "more than what bears the object's own mark is to go"
                assert not request.container_ids
            case StartNodes():
                assert self.standing is None or self.standing.mark is not None, "a stranger's cluster is touched"
            case ReadAccess():
                pass

    @precondition(lambda self: self.busy)
    @rule()
    def operation_succeeds(self) -> None:
        request = self.seen.operation.request
        if not self.engine_up:
            return
        match request:
            case Create() if self.standing is None:
                self.made += 1
                mark = request.config["nodes"][0]["extraMounts"][-1]["containerPath"].removeprefix(
                    names.CLAIM_MOUNT_FOLDER
                )
                self.standing = Standing(mark, f"sha256:{self.made}", complete=True)
                self.end(made=self.standing.fingerprint)
            case Create():
                self.end(failure=Failure(Reason.NAME_CONFLICT, "The name is taken."))
            case Delete():
                # The marks that the engine shows then decide which containers are removed.
                self.standing = None if self.is_mine else self.standing
                self.end()
            case StartNodes() if self.standing:
                self.standing = replace(self.standing, running=True)
                self.end()
            case ReadAccess() if self.standing and self.standing.complete and self.standing.running:
                self.end(access=True)
            case _:
                self.end(failure=BROKEN)

    @precondition(lambda self: self.busy)
    @rule()
    def operation_fails(self) -> None:
        # kind removes the nodes of its own failed creation.
        self.end(failure=BROKEN)

    def end(self, *, failure: Failure | None = None, access: bool = False, made: str | None = None) -> None:
        request = self.seen.operation.request
        outcome = failed(request, failure, seconds_ago=600.0) if failure else ended(request, seconds_ago=600.0)
        goals = {**self.seen.goals, **outcome}
        found = replace(ACCESS, fingerprint=self.standing.fingerprint) if access and self.standing else None
        self.seen = replace(self.seen, operation=None, goals=goals, access=found, made=made or self.seen.made)

    def interrupt(self) -> None:
        """End the operation's processes; a creation leaves its finished parts."""
        operation = self.seen.operation
        if operation and isinstance(operation.request, Create) and self.standing is None:
            self.standing = Standing(str(operation.request.mark), "sha256:half", complete=False)
        self.seen = replace(self.seen, operation=None)

    @property
    def busy(self) -> bool:
        return self.seen.operation is not None

    @property
    def is_mine(self) -> bool:
        mark = Mark.parse(self.standing.mark) if self.standing else None
        return mark is not None and mark.uid == UID

    @rule()
    def provider_is_killed(self) -> None:
        self.interrupt()
        self.seen = replace(self.seen, operation=None, access=None, goals={}, made=None)

    # Steps of the world.

    @precondition(lambda self: self.standing is None and not self.busy)
    @rule()
    def stranger_takes_the_name(self) -> None:
        self.made += 1
        self.standing = Standing(None, f"sha256:{self.made}", complete=True)

    @precondition(lambda self: self.standing is not None and self.standing.mark is None)
    @rule()
    def stranger_leaves(self) -> None:
        self.standing = None

    @precondition(lambda self: self.standing is not None and self.standing.mark is not None and not self.busy)
    @rule()
    def somebody_deletes_the_kind_cluster(self) -> None:
        self.standing = None

    @precondition(lambda self: self.standing is not None and self.standing.mark is not None)
    @rule()
    def nodes_stop(self) -> None:
        self.standing = replace(self.standing, running=False)

    @rule()
    def engine_goes_down(self) -> None:
        self.engine_up = False

    @rule()
    def engine_comes_back(self) -> None:
        self.engine_up = True

    @rule()
    def user_pauses(self) -> None:
        self.annotate(**{names.PAUSED_ANNOTATION: ""})

    @rule()
    def user_unpauses(self) -> None:
        self.annotate(**{names.PAUSED_ANNOTATION: None})

    @rule()
    def user_strips_the_annotations_and_finalizer(self) -> None:
        if not self.seen.object.is_deleting:
            raw = self.seen.object.raw
            self.store({**raw, "metadata": {**raw["metadata"], "annotations": {}, "finalizers": []}})

    @rule()
    def user_replaces_the_spec(self) -> None:
        self.store({**self.seen.object.raw, "spec": {}})

    @rule()
    def status_is_lost(self) -> None:
        if self.seen.object.claimed_name:
            self.was_provisioned = False
            self.store({key: value for key, value in self.seen.object.raw.items() if key != "status"})

    @rule()
    def secrets_are_deleted(self) -> None:
        if self.seen.object.identity:
            self.seen = replace(self.seen, secrets={})

    @precondition(lambda self: bool(self.seen.object.finalizers))
    @rule()
    def user_deletes_the_object(self) -> None:
        raw = self.seen.object.raw
        self.store({**raw, "metadata": {**raw["metadata"], "deletionTimestamp": "2030-01-02T00:00:00Z"}})

    def annotate(self, **values: str | None) -> None:
        raw = self.seen.object.raw
        merged = {**self.seen.object.annotations, **values}
        kept = {key: value for key, value in merged.items() if value is not None}
        self.store({**raw, "metadata": {**raw["metadata"], "annotations": kept}})

    def store(self, raw) -> None:
        self.seen = seen_as(self.seen, KINDCluster(raw))

    # Invariants.

    @invariant()
    def provisioned_is_one_way(self) -> None:
        if self.was_provisioned:
            assert self.seen.object.is_provisioned
        self.was_provisioned = self.seen.object.is_provisioned

    @invariant()
    def ready_is_never_said_of_a_half_made_cluster(self) -> None:
        created = [seen for seen in self.seen.object.conditions if seen["type"] == Condition.CLUSTER_CREATED]
        if created and created[0]["status"] == "True" and self.standing is not None:
            assert self.standing.complete

    def teardown(self) -> None:
        """Stop all events: everything must settle, without further writes."""
        self.engine_up = True
        self.user_unpauses()
        for _ in range(30):
            self.reconcile()
            if self.busy:
                self.operation_succeeds()
        if self.gone:
            return
        self.look()
        last = decide(self.seen)
        assert apply(self.seen, last).object.raw == self.seen.object.raw
        assert last.operation is None
        assert not self.seen.object.is_deleting
        ready = condition(self.seen.object.status, Condition.READY)
        assert ready[1] in {Reason.READY, Reason.NAME_CONFLICT, Reason.MISSING}
        if ready[1] == Reason.READY:
            assert self.standing is not None
            assert self.standing.mark is not None
            assert self.standing.running
            assert self.seen.object.finalizers == FINALIZER


TestLife = Life.TestCase
TestLife.settings = settings(stateful_step_count=40)
