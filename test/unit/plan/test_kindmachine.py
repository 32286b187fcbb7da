"""Decisions about a KINDMachine: what is done for one worker in each situation."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from itertools import product
from typing import Any

import pytest

from capk.api import names
from capk.api.names import Condition, Reason
from capk.diagnosis.failures import Failure
from capk.plan.deletion import SETTLE_SECONDS
from capk.plan.facts import UNLISTED_SECONDS, EngineFacts, HealthFacts
from capk.plan.joining import join_request
from capk.plan.kindmachine import decide
from capk.plan.marks import Mark
from capk.plan.observed import MachineObserved
from capk.plan.parts import CLAIM, FINALIZER, PROVIDER_ID
from capk.plan.plan import AddWorker, AskApiServer, Create, Goal, Plan, RemoveWorker
from capk.plan.policy import Policy
from test.unit.plan.builders import (
    ACCESS,
    COMPLETE,
    IDENTITY,
    JOINED,
    MACHINE_FINALIZER,
    MACHINE_UID,
    NODE,
    NOTHING_THERE,
    NOW,
    UID,
    UP,
    begun_machine,
    cluster_with,
    condition,
    control_plane,
    ended,
    failed,
    joined_machine,
    kindcluster,
    kindmachine,
    message,
    node,
    observe,
    observe_machine,
    owner_cluster,
    owner_machine,
    running_operation,
    worker,
)

FULL = Failure(Reason.OUT_OF_DISK, "the disk is full")
NO_ENGINE = Failure(Reason.ENGINE_UNREACHABLE, "docker does not answer")
DELETED = {"deletionTimestamp": NOW.isoformat()}
ALONE = {"spec": {"clusterName": "dev"}, "owned": False}
LONG_PATCH = "kind: JoinConfiguration\n---\n" * 250
RETAINING = kindcluster({"deletionPolicy": "Retain"}, annotations=COMPLETE, status=UP)


def addition(**changes: Any) -> AddWorker:
    """The request for the usual KINDMachine."""
    return replace(join_request(observe_machine()), **changes)


def removal(**facts: Any) -> RemoveWorker:
    return RemoveWorker("dev", NODE, MACHINE_UID, **{"uids": frozenset({UID}), **facts})


def verdict(plan: Plan, kind: Condition = Condition.WORKER_JOINED) -> tuple[str, str]:
    assert plan.status is not None
    return condition(plan.status, kind)


def said(plan: Plan, kind: Condition = Condition.WORKER_JOINED) -> str:
    assert plan.status is not None
    return message(plan.status, kind)


def applied(observed: MachineObserved, plan: Plan) -> MachineObserved:
    """The observation after the writes of a plan."""
    raw = {**observed.object.raw, "metadata": {**observed.object.metadata}}
    annotations = {**observed.object.annotations, **plan.annotations}
    raw["metadata"]["annotations"] = {name: value for name, value in annotations.items() if value is not None}
    if plan.add_finalizer:
        raw["metadata"]["finalizers"] = MACHINE_FINALIZER
    if plan.provider_id:
        raw["spec"] = {**observed.object.spec, "providerID": plan.provider_id}
    if plan.status is not None:
        raw["status"] = plan.status
    return replace(observed, object=type(observed.object)(raw))


def test_life_of_a_worker() -> None:
    """From the new object to the settled one, each step from what the step before has written."""
    observed = observe_machine()
    plan = decide(observed)
    assert plan.operation == addition()
    assert plan.add_finalizer
    assert plan.annotations == {
        names.MACHINE_ID_ANNOTATION: MACHINE_UID,
        names.BLOCK_MOVE_ANNOTATION: names.HELD_BY_CREATION,
    }
    observed = replace(applied(observed, plan), operation=running_operation(addition(), step=Reason.JOINING_NODE))
    plan = decide(observed)
    assert (plan.operation, verdict(plan)) == (None, ("False", "JoiningNode"))
    observed = replace(
        applied(observed, plan),
        operation=None,
        joined="w1",
        goals=ended(addition()),
        infrastructure=cluster_with(worker()),
    )
    plan = decide(observed)
    assert plan.provider_id == f"kind://docker/dev/{NODE}"
    assert plan.annotations == {names.JOINED_CONTAINER_ANNOTATION: "w1", names.BLOCK_MOVE_ANNOTATION: None}
    assert plan.status is not None
    assert plan.status["initialization"] == {"provisioned": True}
    assert plan.status["addresses"] == [
        {"type": "InternalIP", "address": "172.18.0.5"},
        {"type": "Hostname", "address": NODE},
    ]
    assert (plan.status["nodeName"], plan.status["containerID"]) == (NODE, "w1")
    assert verdict(plan, Condition.READY) == ("True", "Ready")
    observed = applied(observed, plan)
    again = decide(observed)
    assert applied(observed, again).object.raw == observed.object.raw
    assert (again.operation, again.requeue_seconds) == (None, None)


class TestLeftAlone:
    @pytest.mark.rule("C54")
    @pytest.mark.parametrize("annotation", [names.MANAGED_BY_ANNOTATION, names.DELETE_FOR_MOVE_ANNOTATION])
    @pytest.mark.parametrize("metadata", [{}, DELETED])
    def test_machine_of_another_system_or_moved_away_is_not_touched(self, annotation: str, metadata: Any) -> None:
        machine = joined_machine(annotations={**JOINED, annotation: ""}, **metadata)
        assert decide(observe_machine(machine, infrastructure=cluster_with(worker()))) == Plan()

    @pytest.mark.rule("C54")
    @pytest.mark.parametrize("metadata", [{}, DELETED])
    def test_paused_machine_only_says_so_even_when_deleted(self, metadata: Any) -> None:
        machine = begun_machine(**metadata)
        plan = decide(observe_machine(machine, owner=owner_cluster(paused=True), infrastructure=cluster_with(worker())))
        assert (plan.operation, plan.remove_finalizer, plan.annotations) == (None, False, {})
        assert plan.cancel_queued
        assert said(plan, Condition.PAUSED) == "Cluster spec.paused is set to true"

    @pytest.mark.rule("C54")
    def test_annotation_pauses_the_machine_alone(self) -> None:
        plan = decide(observe_machine(kindmachine(annotations={names.PAUSED_ANNOTATION: ""})))
        assert plan.operation is None
        assert said(plan, Condition.PAUSED) == "KINDMachine has the cluster.x-k8s.io/paused annotation"

    def test_owner_of_its_kindcluster_pauses_a_standalone_machine(self) -> None:
        observed = observe_machine(
            kindmachine(**ALONE), infrastructure=cluster_with(), owner=owner_cluster(paused=True)
        )
        assert verdict(decide(observed), Condition.PAUSED) == ("True", "Paused")

    def test_join_that_ends_during_a_pause_is_recorded_so_that_a_move_takes_it_along(self) -> None:
        held = {**begun_machine().annotations, names.BLOCK_MOVE_ANNOTATION: names.HELD_BY_CREATION}
        observed = observe_machine(
            begun_machine(annotations=held),
            owner=owner_cluster(paused=True),
            infrastructure=cluster_with(worker()),
            joined="w1",
        )
        plan = decide(observed)
        assert plan.annotations == {names.JOINED_CONTAINER_ANNOTATION: "w1", names.BLOCK_MOVE_ANNOTATION: None}

    @pytest.mark.rule("C54")
    def test_move_waits_for_a_join_even_while_it_is_paused(self) -> None:
        observed = observe_machine(begun_machine(), operation=running_operation(addition()))
        held = {names.BLOCK_MOVE_ANNOTATION: names.HELD_BY_CREATION}
        assert decide(observed).annotations == held
        assert decide(replace(observed, owner=owner_cluster(paused=True))).annotations == held

    @pytest.mark.rule("C54")
    def test_move_that_waits_for_a_refused_write_is_reported(self) -> None:
        held = {names.BLOCK_MOVE_ANNOTATION: names.HELD_BY_CREATION}
        refused = {"refusals": {CLAIM: "not today"}, "held_back": frozenset({CLAIM})}
        machine = joined_machine(annotations={**joined_machine().annotations, **held})
        joined = decide(observe_machine(machine, infrastructure=cluster_with(worker()), **refused))
        assert verdict(joined, Condition.READY) == ("True", "Ready")
        assert said(joined).startswith("`clusterctl move` waits")
        begun = begun_machine(annotations={**begun_machine().annotations, **held})
        full = Failure(Reason.OUT_OF_DISK, "The disk is full.", retry=False)
        failing = decide(observe_machine(begun, goals=failed(addition(), full), **refused))
        assert said(failing).startswith("The disk is full. `clusterctl move` waits")
        paused = decide(observe_machine(machine, owner=owner_cluster(paused=True), **refused))
        assert said(paused, Condition.PAUSED).endswith(": not today")


class TestWaiting:
    @pytest.mark.rule("C52")
    def test_no_work_before_a_machine_owns_it(self) -> None:
        plan = decide(observe_machine(kindmachine(owned=False), machine=None))
        assert (plan.operation, plan.add_finalizer) == (None, False)
        assert verdict(plan) == ("False", "WaitingForMachine")
        assert "set spec.clusterName" in said(plan)

    @pytest.mark.rule("C52")
    def test_new_machine_waits_for_its_owner_without_a_status(self) -> None:
        new = kindmachine(owned=False, creationTimestamp=(NOW - timedelta(seconds=1)).isoformat())
        plan = decide(observe_machine(new, machine=None))
        assert plan.status is None
        assert plan.requeue_seconds == pytest.approx(2.1)

    def test_object_from_a_template_waits_longer_and_is_not_to_be_deleted(self) -> None:
        """A busy core creates the Machine seconds after its KINDMachine."""
        cloned = {names.CLONED_FROM_ANNOTATION: "dev-workers"}
        new = kindmachine(owned=False, annotations=cloned, creationTimestamp=(NOW - timedelta(seconds=10)).isoformat())
        plan = decide(observe_machine(new, machine=None))
        assert (plan.status, plan.requeue_seconds) == (None, pytest.approx(20.1))
        plan = decide(observe_machine(kindmachine(owned=False, annotations=cloned), machine=None))
        assert verdict(plan) == ("False", "WaitingForMachine")
        assert "Delete this object" not in said(plan)
        assert "conditions of the MachineSet" in said(plan)

    @pytest.mark.rule("C52")
    def test_machine_that_names_its_kindcluster_needs_no_owner(self) -> None:
        plan = decide(observe_machine(kindmachine(**ALONE), infrastructure=cluster_with()))
        assert isinstance(plan.operation, AddWorker)

    @pytest.mark.parametrize(
        ("facts", "words"),
        [
            ({"machine": kindmachine(**ALONE)}, "KINDCluster dev, which spec.clusterName names, does not exist in"),
            ({}, "The KINDCluster of Cluster dev does not exist yet."),
            ({"owner": None}, "Cluster dev does not exist."),
        ],
    )
    def test_kindcluster_that_does_not_exist_is_named(self, facts: dict[str, Any], words: str) -> None:
        machine = facts.pop("machine", None)
        plan = decide(observe_machine(machine, infrastructure=None, **facts))
        assert verdict(plan) == ("False", "WaitingForInfrastructure")
        assert words in said(plan)

    def test_kind_cluster_that_is_not_ready_is_waited_for_with_its_cause(self) -> None:
        ready = {"type": "Ready", "status": "False", "reason": "PortConflict", "message": "Port 80 is taken."}
        cluster = kindcluster(annotations=COMPLETE, status={**UP, "conditions": [ready]})
        plan = decide(observe_machine(infrastructure=cluster_with(cluster=cluster)))
        assert (plan.operation, verdict(plan)) == (None, ("False", "WaitingForInfrastructure"))
        assert said(plan) == "KINDCluster dev is not ready yet: Port 80 is taken."

    @pytest.mark.parametrize("made", [None, control_plane()])
    def test_control_plane_that_is_not_initialized_is_waited_for(self, made: Any) -> None:
        owner = owner_cluster(controlPlaneRef={"kind": "KINDControlPlane", "name": "dev"})
        plan = decide(observe_machine(infrastructure=cluster_with(owner=owner, control_plane=made)))
        assert said(plan) == "KINDControlPlane dev is not initialized yet."
        initialized = control_plane(status={"initialization": {"controlPlaneInitialized": True}})
        plan = decide(observe_machine(infrastructure=cluster_with(owner=owner, control_plane=initialized)))
        assert isinstance(plan.operation, AddWorker)

    @pytest.mark.parametrize(
        ("metadata", "words"),
        [
            ({**DELETED}, "is being deleted."),
            ({"annotations": {names.PAUSED_ANNOTATION: "", **COMPLETE}}, "is paused."),
        ],
    )
    def test_nothing_joins_a_kindcluster_that_goes_or_is_paused(self, metadata: Any, words: str) -> None:
        cluster = kindcluster(status=UP, **{"annotations": COMPLETE, **metadata})
        plan = decide(observe_machine(infrastructure=cluster_with(cluster=cluster)))
        assert (plan.operation, said(plan)) == (None, f"KINDCluster dev {words}")

    def test_status_of_a_kind_cluster_that_is_gone_meanwhile_is_not_trusted(self) -> None:
        plan = decide(observe_machine(infrastructure=cluster_with(engine=NOTHING_THERE)))
        assert (plan.operation, verdict(plan)) == (None, ("False", "WaitingForInfrastructure"))

    def test_kind_cluster_of_someone_else_gets_no_worker(self) -> None:
        engine = EngineFacts(was_listed=True, exists=True, nodes=(node(mark="another"),))
        plan = decide(observe_machine(infrastructure=cluster_with(engine=engine)))
        assert plan.operation is None

    @pytest.mark.parametrize(
        ("machine", "ready"),
        [(kindmachine(), "False"), (joined_machine(), "Unknown"), (joined_machine(uid="moved", status={}), "Unknown")],
    )
    def test_engine_that_does_not_answer_is_reported(self, machine: Any, ready: str) -> None:
        """A node that has joined may well run: a MachineHealthCheck must not replace it."""
        engine = EngineFacts(was_listed=True, failure=NO_ENGINE, exists=True, nodes=(node(), worker()))
        plan = decide(observe_machine(machine, infrastructure=cluster_with(engine=engine)))
        assert plan.operation is None
        assert verdict(plan, Condition.ENGINE_AVAILABLE) == ("False", "EngineUnreachable")
        assert verdict(plan, Condition.READY) == (ready, "EngineUnreachable")
        assert said(plan, Condition.READY) == "docker does not answer"

    def test_worker_that_stops_while_the_engine_does_not_answer_has_stopped_since_it_answers(self) -> None:
        """The deadlines of a MachineHealthCheck count from the last transition."""
        silent = EngineFacts(was_listed=True, failure=NO_ENGINE, exists=True, nodes=(node(), worker()))
        observed = observe_machine(joined_machine(), infrastructure=cluster_with(engine=silent))
        observed = applied(observed, decide(observed))
        later = NOW + timedelta(minutes=10)
        plan = decide(replace(observed, infrastructure=cluster_with(worker(running=False)), now=later))
        assert plan.status is not None
        (ready,) = [one for one in plan.status["conditions"] if one["type"] == Condition.READY]
        assert (ready["status"], ready["lastTransitionTime"]) == ("False", later.strftime("%Y-%m-%dT%H:%M:%SZ"))

    def test_engine_that_was_not_asked_yet_is_waited_for_without_a_status(self) -> None:
        assert decide(observe_machine(infrastructure=cluster_with(engine=EngineFacts()))) == Plan(
            requeue_seconds=UNLISTED_SECONDS
        )

    @pytest.mark.parametrize("machine", [kindmachine(), joined_machine(), joined_machine(**DELETED)])
    def test_another_engine_changes_nothing(self, machine: Any) -> None:
        cluster = kindcluster(annotations={**COMPLETE, names.ENGINE_ANNOTATION: "one"}, status=UP)
        engine = EngineFacts(was_listed=True, id="two")
        plan = decide(observe_machine(machine, infrastructure=cluster_with(cluster=cluster, engine=engine)))
        assert (plan.operation, plan.remove_finalizer) == (None, False)
        assert verdict(plan, Condition.ENGINE_AVAILABLE) == ("False", "EngineChanged")
        is_kept = machine.is_provisioned and not machine.is_deleting
        assert verdict(plan, Condition.READY)[0] == ("Unknown" if is_kept else "False")

    def test_containers_that_are_not_listed_yet_are_asked_for(self) -> None:
        unseen = EngineFacts(was_listed=True, exists=True)
        assert decide(observe_machine(infrastructure=cluster_with(engine=unseen))).refresh
        deleted = decide(observe_machine(joined_machine(**DELETED), infrastructure=cluster_with(engine=unseen)))
        assert (deleted.refresh, deleted.remove_finalizer) == (True, False)

    def test_engine_that_cannot_list_containers_cannot_add_workers(self) -> None:
        blind = EngineFacts(was_listed=True, exists=True, lists_nodes=False)
        plan = decide(observe_machine(infrastructure=cluster_with(engine=blind)))
        assert verdict(plan) == ("False", "EngineUnsupported")
        assert "spec.nodes of the KINDCluster" in said(plan)
        gone = decide(observe_machine(begun_machine(**DELETED), infrastructure=cluster_with(engine=blind)))
        assert gone.remove_finalizer


class TestJoin:
    def test_request_holds_what_the_spec_asks_for(self) -> None:
        spec = {
            "image": "kindest/node:v1.36.3",
            "labels": {"tier": "frontend"},
            "taints": [{"key": "a", "value": "b", "effect": "NoSchedule"}, {"key": "c", "effect": "NoExecute"}],
            "extraMounts": [{"hostPath": "/srv", "containerPath": "/data"}],
            "kubeadmConfigPatches": ["kind: JoinConfiguration\n"],
        }
        request = decide(observe_machine(kindmachine(spec))).operation
        assert request == addition(
            image="kindest/node:v1.36.3",
            labels={"tier": "frontend"},
            taints=("a=b:NoSchedule", "c=:NoExecute"),
            mounts=({"hostPath": "/srv", "containerPath": "/data"},),
            patches=("kind: JoinConfiguration\n",),
        )

    def test_first_control_plane_comes_first(self) -> None:
        names_of_them = ["dev-control-plane10", "dev-control-plane2", "dev-control-plane"]
        planes = [node(name, container_id=name) for name in names_of_them]
        balancer = node("dev-external-load-balancer", mark=None, container_id="lb")
        engine = EngineFacts(was_listed=True, exists=True, nodes=(balancer, *planes))
        request = decide(observe_machine(infrastructure=cluster_with(engine=engine))).operation
        assert isinstance(request, AddWorker)
        assert request.control_planes == ("dev-control-plane", "dev-control-plane2", "dev-control-plane10")
        assert request.container_ids == frozenset(names_of_them)

    def test_worker_gets_the_mark_of_its_kind_cluster(self) -> None:
        engine = EngineFacts(was_listed=True, exists=True, nodes=(node(mark=f"{UID}.3"),))
        request = decide(observe_machine(infrastructure=cluster_with(engine=engine))).operation
        assert isinstance(request, AddWorker)
        assert request.mark == Mark(UID, 3)

    def test_worker_of_an_adopted_kind_cluster_is_marked_with_the_claim(self) -> None:
        claim = {**COMPLETE, names.CLAIM_ID_ANNOTATION: "c1"}
        cluster = kindcluster(annotations=claim, status=UP)
        engine = EngineFacts(was_listed=True, exists=True, nodes=(node(mark=None, container_id="c1"),))
        infrastructure = cluster_with(cluster=cluster, engine=engine)
        request = decide(observe_machine(infrastructure=infrastructure)).operation
        assert isinstance(request, AddWorker)
        assert request.mark == Mark("c1")
        grown = replace(engine, nodes=(*(engine.nodes or ()), worker(mark="c1")))
        joined = observe_machine(joined_machine(), infrastructure=replace(infrastructure, engine=grown))
        assert verdict(decide(joined)) == ("True", "Joined")

    @pytest.mark.parametrize(
        ("spec", "words"),
        [
            ({"image": "kindest/node:v1.35.0"}, "spec.image: kindest/node:v1.35.0 holds v1.35.0, but the kind cluster"),
            ({"extraMounts": [{"hostPath": "/etc"}]}, "spec.extraMounts[0].hostPath: /etc is outside the paths"),
            ({"kubeadmConfigPatches": ["kind: X\n"]}, "spec.kubeadmConfigPatches[0]: is not a YAML document with"),
            ({"kubeadmConfigPatches": ["a: [\n"]}, "spec.kubeadmConfigPatches[0]: is not a YAML document with"),
            ({"kubeadmConfigPatches": [LONG_PATCH] * 16}, "spec.kubeadmConfigPatches[3]: is too long, together with"),
            (
                {"kubeadmConfigPatches": ["kind: JoinConfiguration\n---\nkind: KubeletConfiguration\n"]},
                "spec.kubeadmConfigPatches[0]: is not a YAML document with",
            ),
        ],
    )
    def test_spec_that_cannot_work_is_refused_before_anything_is_made(self, spec: Any, words: str) -> None:
        policy = Policy(allowed_host_paths=("/srv",))
        plan = decide(observe_machine(kindmachine(spec), policy=policy))
        assert (plan.operation, plan.add_finalizer, verdict(plan)) == (None, False, ("False", "InvalidConfig"))
        assert words in said(plan)

    def test_other_patch_of_the_running_minor_version_may_join(self) -> None:
        plan = decide(observe_machine(kindmachine({"image": "kindest/node:v1.36.9"})))
        assert isinstance(plan.operation, AddWorker)

    def test_machine_of_another_version_does_not_join(self) -> None:
        plan = decide(observe_machine(machine=owner_machine("v1.37.0")))
        assert (plan.operation, verdict(plan)) == (None, ("False", "UnsupportedVersionChange"))
        assert "is v1.37.0, but the kind cluster runs v1.36.1" in said(plan)

    def test_moved_machine_keeps_its_id(self) -> None:
        plan = decide(observe_machine(begun_machine(uid="new-uid")))
        assert isinstance(plan.operation, AddWorker)
        assert plan.operation.machine == MACHINE_UID
        assert names.MACHINE_ID_ANNOTATION not in plan.annotations

    def test_copy_of_a_machine_gets_an_id_of_its_own(self) -> None:
        copy = kindmachine(uid="copy", name="dev-workers-copy", annotations=JOINED)
        plan = decide(observe_machine(copy, is_copy=True))
        assert isinstance(plan.operation, AddWorker)
        assert (plan.operation.machine, plan.annotations[names.MACHINE_ID_ANNOTATION]) == ("copy", "copy")

    def test_container_of_that_name_that_is_not_ours_is_never_touched(self) -> None:
        for other in (worker(machine="another"), worker(mark="another"), replace(node(), name=NODE)):
            plan = decide(observe_machine(begun_machine(), infrastructure=cluster_with(other)))
            assert (plan.operation, verdict(plan)) == (None, ("False", "NameConflict"))
            assert plan.refresh
            again = decide(applied(observe_machine(begun_machine(), infrastructure=cluster_with(other)), plan))
            assert not again.refresh

    @pytest.mark.parametrize(
        ("operation", "reason"),
        [
            (running_operation(addition(), queued=True), "Queued"),
            (running_operation(addition()), "PreparingNode"),
            (running_operation(addition(), step=Reason.JOINING_NODE), "JoiningNode"),
            (running_operation(removal(goal=Goal.JOINED)), "CleaningUp"),
        ],
    )
    def test_progress_is_reported(self, operation: Any, reason: str) -> None:
        plan = decide(observe_machine(begun_machine(), operation=operation, infrastructure=cluster_with(worker())))
        assert (plan.operation, verdict(plan)) == (None, ("False", reason))
        assert decide(observe_machine(operation=replace(operation, announced=False))).status is None

    def test_engine_that_stops_answering_during_a_join_is_shown(self) -> None:
        silent = EngineFacts(was_listed=True, failure=NO_ENGINE, exists=True, nodes=(node(), worker()))
        operation = running_operation(addition(), step=Reason.JOINING_NODE)
        plan = decide(observe_machine(begun_machine(), operation=operation, infrastructure=cluster_with(engine=silent)))
        assert verdict(plan) == ("False", Reason.JOINING_NODE)
        for kind in (Condition.ENGINE_AVAILABLE, Condition.READY):
            assert condition(plan.status, kind) == ("False", NO_ENGINE.reason)

    def test_queued_retry_keeps_why_the_last_join_failed(self) -> None:
        goals = failed(addition(), FULL)
        plan = decide(observe_machine(operation=running_operation(addition(), queued=True), goals=goals))
        assert verdict(plan) == ("False", "Queued")
        assert plan.status is not None
        cause = "The last attempt failed with OutOfDisk: the disk is full"
        assert message(plan.status, Condition.WORKER_JOINED).endswith(cause)
        assert message(plan.status, Condition.READY).endswith(cause)

    @pytest.mark.parametrize("infrastructure", [None, cluster_with(cluster=kindcluster(status=UP, **DELETED))])
    def test_join_to_a_kind_cluster_that_goes_is_cancelled(self, infrastructure: Any) -> None:
        observed = observe_machine(operation=running_operation(addition()), infrastructure=infrastructure)
        assert decide(observed).cancel_operation

    @pytest.mark.parametrize("running", [True, False])
    def test_remains_of_an_interrupted_join_are_removed_first(self, running: bool) -> None:
        infrastructure = cluster_with(worker(running=running))
        plan = decide(observe_machine(begun_machine(), infrastructure=infrastructure))
        assert plan.operation == removal(goal=Goal.JOINED)
        assert verdict(plan) == ("False", "CleaningUp")

    def test_remains_are_removed_although_the_kind_cluster_is_not_ready(self) -> None:
        cluster = kindcluster(annotations=COMPLETE)
        plan = decide(observe_machine(begun_machine(), infrastructure=cluster_with(worker(), cluster=cluster)))
        assert plan.operation == removal(goal=Goal.JOINED)

    def test_late_container_of_a_former_join_is_looked_for_before_the_next(self) -> None:
        assert decide(observe_machine(begun_machine())).refresh
        assert not decide(observe_machine()).refresh


class TestFailures:
    def test_failed_join_is_reported_and_tried_again_after_its_back_off(self) -> None:
        goals = failed(addition(), FULL, attempts=2, seconds_ago=4, logs="/logs/1")
        plan = decide(observe_machine(begun_machine(), goals=goals))
        assert (plan.operation, plan.requeue_seconds) == (None, 6)
        assert (verdict(plan), said(plan)) == (("False", "OutOfDisk"), "the disk is full")
        assert plan.status is not None
        assert plan.status["logs"] == "/logs/1"
        due = decide(observe_machine(begun_machine(), goals=failed(addition(), FULL, attempts=2, seconds_ago=11)))
        assert due.operation == addition()

    def test_failure_that_only_another_object_can_mend_is_not_tried_again(self) -> None:
        lasting = Failure(Reason.INVALID_CONFIG, "the image holds v1.35", retry=False)
        plan = decide(observe_machine(begun_machine(), goals=failed(addition(), lasting, seconds_ago=9999)))
        assert (plan.operation, plan.requeue_seconds, verdict(plan)) == (None, None, ("False", "InvalidConfig"))

    def test_recreated_kind_cluster_is_joined_without_waiting(self) -> None:
        before = addition(container_ids=frozenset({"former"}))
        plan = decide(observe_machine(begun_machine(), goals=failed(before, FULL)))
        assert plan.operation == addition()

    def test_failed_cleanup_waits_as_well(self) -> None:
        goals = failed(removal(goal=Goal.JOINED), FULL)
        for nodes in ((), (worker(),)):
            plan = decide(observe_machine(begun_machine(), goals=goals, infrastructure=cluster_with(*nodes)))
            assert (plan.operation, plan.requeue_seconds) == (None, 5)

    @pytest.mark.parametrize("health", [HealthFacts(answers=False), HealthFacts(), HealthFacts(is_watched=False)])
    def test_api_server_that_is_not_known_to_answer_is_asked_before_anything_joins(self, health: HealthFacts) -> None:
        """A provider that never reached it calls the KINDCluster Ready; each join in vain would cost a container."""
        observed = observe_machine(infrastructure=cluster_with(health=health))
        question = AskApiServer("dev", ("dev-control-plane",), frozenset({"c1"}))
        plan = decide(observed)
        assert (plan.operation, plan.annotations, plan.status) == (question, {}, None)
        assert decide(replace(observed, operation=running_operation(question))) == Plan()
        silent = Failure(Reason.NOT_ANSWERING, "The API server does not answer.")
        waiting = decide(replace(observed, goals=failed(question, silent, attempts=3, seconds_ago=5.0)))
        assert (waiting.operation, verdict(waiting)) == (None, ("False", "NotAnswering"))
        assert said(waiting) == "The API server does not answer."
        assert waiting.requeue_seconds == pytest.approx(15.0)
        again = decide(replace(observed, goals=failed(question, silent, attempts=3, seconds_ago=25.0)))
        assert again.operation == question
        found = decide(replace(observed, goals=ended(question, seconds_ago=1.0)))
        assert found.operation == addition()
        assert decide(replace(observed, goals=ended(question, seconds_ago=31.0))).operation == question

    def test_api_server_that_answered_the_read_of_the_kubeconfig_is_not_asked_again(self) -> None:
        fresh = observe_machine(infrastructure=cluster_with(health=HealthFacts(), access=ACCESS))
        assert decide(fresh).operation == addition()

    def test_refused_finalizer_stops_the_join(self) -> None:
        facts = {"refusals": {CLAIM: "denied"}, "held_back": frozenset({CLAIM})}
        plan = decide(observe_machine(**facts))
        assert (plan.operation, verdict(plan)) == (None, ("False", "WriteRefused"))
        assert "denied" in said(plan)

    @pytest.mark.rule("C48", "C49")
    def test_refused_provider_id_keeps_the_machine_unprovisioned(self) -> None:
        observed = observe_machine(begun_machine(), infrastructure=cluster_with(worker()), joined="w1")
        plan = decide(replace(observed, refusals={PROVIDER_ID: "denied"}, held_back=frozenset({PROVIDER_ID})))
        assert plan.provider_id is None
        assert plan.status is not None
        assert "initialization" not in plan.status
        assert (verdict(plan), verdict(plan, Condition.READY)) == (("False", "WriteRefused"),) * 2


class TestJoined:
    def joined(self, container: Any = None, machine: Any = None, **facts: Any) -> Plan:
        infrastructure = cluster_with(container or worker())
        return decide(observe_machine(machine or joined_machine(), infrastructure=infrastructure, **facts))

    @pytest.mark.rule("C49", "C51")
    def test_running_node_is_ready_with_an_empty_message(self) -> None:
        plan = self.joined()
        assert (verdict(plan, Condition.READY), said(plan, Condition.READY)) == (("True", "Ready"), "")
        assert (plan.operation, plan.provider_id, plan.annotations, plan.add_finalizer) == (None, None, {}, False)

    @pytest.mark.rule("C50")
    def test_addresses_follow_the_engine(self) -> None:
        plan = self.joined(worker(address="172.18.0.9"))
        assert plan.status is not None
        assert plan.status["addresses"][0] == {"type": "InternalIP", "address": "172.18.0.9"}

    @pytest.mark.rule("C50")
    @pytest.mark.parametrize(
        ("networking", "network", "expected"),
        [
            ({}, {}, ["172.18.0.5"]),
            ({"ipFamily": "ipv6"}, {}, ["fc00::5"]),
            ({"ipFamily": "dual"}, {}, ["172.18.0.5", "fc00::5"]),
            ({"ipFamily": "dual", "serviceSubnet": "fd00:2::/112,10.2.0.0/16"}, {}, ["fc00::5", "172.18.0.5"]),
            ({}, {"pods": {"cidrBlocks": ["10.1.0.0/16", "fd00:1::/56"]}}, ["172.18.0.5", "fc00::5"]),
            ({}, {"pods": {"cidrBlocks": ["fd00:1::/56"]}}, ["fc00::5"]),
            # The Cluster was edited later: kind has used the spec.
            ({"ipFamily": "ipv6"}, {"pods": {"cidrBlocks": ["10.1.0.0/16"]}}, ["fc00::5"]),
        ],
    )
    def test_addresses_are_those_of_the_families_of_the_kind_cluster(
        self, networking: dict[str, Any], network: dict[str, Any], expected: list[str]
    ) -> None:
        spec = {"networking": networking}
        own = kindcluster(spec=spec, annotations=COMPLETE, finalizers=FINALIZER, status=UP)
        owner = owner_cluster(clusterNetwork=network)
        infrastructure = cluster_with(worker(ipv6="fc00::5"), cluster=own, owner=owner)
        plan = decide(observe_machine(joined_machine(), infrastructure=infrastructure))
        assert plan.status is not None
        internal = [{"type": "InternalIP", "address": address} for address in expected]
        assert plan.status["addresses"] == [*internal, {"type": "Hostname", "address": NODE}]

    @pytest.mark.rule("C50")
    def test_address_of_an_unexpected_family_is_better_than_none(self) -> None:
        own = kindcluster(
            spec={"networking": {"ipFamily": "ipv6"}}, annotations=COMPLETE, finalizers=FINALIZER, status=UP
        )
        plan = decide(observe_machine(joined_machine(), infrastructure=cluster_with(worker(), cluster=own)))
        assert plan.status is not None
        assert plan.status["addresses"][0] == {"type": "InternalIP", "address": "172.18.0.5"}

    @pytest.mark.rule("C50")
    def test_addresses_of_a_stopped_node_are_kept(self) -> None:
        before = [{"type": "InternalIP", "address": "172.18.0.5"}]
        machine = joined_machine(status={**joined_machine().status, "addresses": before})
        plan = self.joined(worker(address="", running=False), machine)
        assert plan.status is not None
        assert plan.status["addresses"] == before

    @pytest.mark.rule("C48")
    def test_provider_id_that_was_removed_is_written_again(self) -> None:
        bare = {key: value for key, value in joined_machine().raw.items() if key != "spec"}
        assert self.joined(machine=type(joined_machine())(bare)).provider_id == f"kind://docker/dev/{NODE}"
        other = self.joined(machine=type(joined_machine())(bare), engine_name="podman")
        assert other.provider_id == f"kind://podman/dev/{NODE}"

    @pytest.mark.rule("C53")
    def test_finalizer_and_annotations_are_restored(self) -> None:
        plan = self.joined(machine=joined_machine(finalizers=[], annotations={}))
        assert plan.add_finalizer
        assert plan.annotations == JOINED

    @pytest.mark.rule("C49")
    def test_moved_machine_without_a_status_is_complete_by_its_annotation(self) -> None:
        plan = self.joined(machine=joined_machine(uid="new-uid", status={}))
        assert plan.operation is None
        assert plan.status is not None
        assert plan.status["initialization"] == {"provisioned": True}

    def test_machine_without_its_owner_is_kept(self) -> None:
        assert verdict(self.joined(machine=joined_machine(owned=False))) == ("True", "Joined")
        orphan = observe_machine(joined_machine(), machine=None, infrastructure=cluster_with(worker()))
        assert verdict(decide(orphan)) == ("True", "Joined")

    @pytest.mark.rule("C49")
    def test_stopped_node_is_started_by_its_kindcluster(self) -> None:
        plan = self.joined(worker(running=False))
        assert (plan.operation, verdict(plan)) == (None, ("False", "StartingNodes"))
        assert plan.status is not None
        assert plan.status["initialization"] == {"provisioned": True}
        assert verdict(plan, Condition.READY) == ("False", "StartingNodes")

    def test_node_that_cannot_be_started_gives_the_cause_of_its_kindcluster(self) -> None:
        stopped = {"type": "NodesRunning", "status": "False", "reason": "NodesStopped", "message": "no memory"}
        cluster = kindcluster(annotations=COMPLETE, status={**UP, "conditions": [stopped]})
        infrastructure = cluster_with(worker(running=False), cluster=cluster)
        plan = decide(observe_machine(joined_machine(), infrastructure=infrastructure))
        assert (verdict(plan), said(plan)) == (("False", "NodesStopped"), "KINDCluster dev: no memory")

    @pytest.mark.rule("C49")
    def test_node_that_was_removed_by_hand_is_missed_and_not_made_again(self) -> None:
        plan = decide(observe_machine(joined_machine()))
        assert (plan.operation, plan.refresh, verdict(plan)) == (None, True, ("False", "Missing"))
        assert "Delete the Machine, as a MachineHealthCheck does" in said(plan)
        assert plan.status is not None
        assert plan.status["initialization"] == {"provisioned": True}
        assert not decide(applied(observe_machine(joined_machine()), plan)).refresh
        alone = joined_machine({"clusterName": "dev"}, owned=False)
        plan = decide(observe_machine(alone, infrastructure=cluster_with()))
        assert said(plan).endswith("Delete this KINDMachine.")

    def test_saved_manifest_that_is_applied_again_is_a_new_worker(self) -> None:
        """Its annotations name the container of the object that was deleted."""
        saved = joined_machine(uid="new-uid", status={})
        plan = decide(observe_machine(saved, infrastructure=cluster_with()))
        assert isinstance(plan.operation, AddWorker)
        assert plan.refresh, "the listing may be old: the object may also have been moved or restored"

    def test_worker_comes_back_with_a_kind_cluster_that_is_created_again(self) -> None:
        cluster = kindcluster({"recreatePolicy": "Always"}, annotations=COMPLETE, status=UP)
        away = cluster_with(cluster=cluster, engine=NOTHING_THERE)
        plan = decide(observe_machine(joined_machine(), infrastructure=away))
        assert (plan.operation, verdict(plan)) == (None, ("False", "WaitingForInfrastructure"))
        plan = decide(observe_machine(joined_machine(), infrastructure=cluster_with(cluster=cluster)))
        assert isinstance(plan.operation, AddWorker)
        assert (plan.operation.node, plan.operation.machine) == (NODE, MACHINE_UID)

    def test_second_join_that_was_interrupted_is_not_taken_for_the_first(self) -> None:
        cluster = kindcluster({"recreatePolicy": "Always"}, annotations=COMPLETE, status=UP)
        infrastructure = cluster_with(worker(container_id="w2"), cluster=cluster)
        plan = decide(observe_machine(joined_machine(), infrastructure=infrastructure))
        assert plan.operation == removal(goal=Goal.JOINED)

    def test_join_that_the_engine_does_not_list_yet_is_looked_for(self) -> None:
        plan = decide(observe_machine(begun_machine(), joined="w1"))
        assert (plan.refresh, plan.operation) == (True, None)


class TestDeletion:
    def gone(self, machine: Any, *nodes: Any, **facts: Any) -> Plan:
        return decide(observe_machine(machine, **{"infrastructure": cluster_with(*nodes), **facts}))

    @pytest.mark.rule("C53")
    def test_container_goes_first_then_the_finalizer(self) -> None:
        machine = joined_machine(**DELETED)
        plan = self.gone(machine, worker())
        assert (plan.operation, plan.remove_finalizer) == (removal(), False)
        assert verdict(plan, Condition.DELETING) == ("True", "RemovingNode")
        assert verdict(plan, Condition.READY) == ("False", "Deleting")
        plan = self.gone(machine, worker(), operation=running_operation(removal()))
        assert (plan.cancel_operation, plan.remove_finalizer) == (False, False)
        assert self.gone(machine, goals=ended(removal())).remove_finalizer

    @pytest.mark.rule("C53")
    def test_machine_without_a_finalizer_has_nothing_to_remove(self) -> None:
        assert self.gone(kindmachine(**DELETED)) == Plan()

    @pytest.mark.rule("C53")
    def test_core_drains_the_node_of_a_machine(self) -> None:
        plan = self.gone(joined_machine(**DELETED), worker())
        assert isinstance(plan.operation, RemoveWorker)
        assert not plan.operation.drain

    @pytest.mark.parametrize(("annotations", "drains"), [({}, True), ({names.EXCLUDE_DRAINING_ANNOTATION: ""}, False)])
    def test_provider_drains_a_standalone_node(self, annotations: Mapping[str, str], drains: bool) -> None:
        annotations = {**JOINED, **annotations}
        machine = joined_machine({"clusterName": "dev"}, owned=False, annotations=annotations, **DELETED)
        assert self.gone(machine, worker()).operation == removal(drain=drains, must_delete_node=True)

    def test_standalone_node_whose_container_is_gone_is_removed_from_the_workload_cluster(self) -> None:
        machine = joined_machine({"clusterName": "dev"}, owned=False, **DELETED)
        assert self.gone(machine).operation == removal(must_delete_node=True)
        assert self.gone(machine, goals=ended(removal())).remove_finalizer
        assert self.gone(joined_machine(**DELETED)).remove_finalizer, "core removes the Node of a Machine"

    def test_node_that_cannot_be_deleted_is_left_in_the_end(self) -> None:
        """The API server may be starting, or gone for good."""
        machine = joined_machine({"clusterName": "dev"}, owned=False, **DELETED)
        refused = Failure(Reason.COMMAND_FAILED, "connection refused")

        def after(attempts: int) -> Any:
            goals = failed(removal(must_delete_node=True), refused, attempts=attempts, seconds_ago=999)
            return self.gone(machine, goals=goals).operation

        assert [after(attempts).must_delete_node for attempts in range(1, 5)] == [True, True, False, False]

    def test_control_planes_of_an_adopted_cluster_are_known_without_a_mark(self) -> None:
        """If the worker's container is gone too, nothing else proves where its Node is."""
        machine = joined_machine({"clusterName": "dev"}, owned=False, **DELETED)
        claim = {names.CLAIM_ANNOTATION: "dev", names.CLAIM_ID_ANNOTATION: "c1", names.IDENTITY_ANNOTATION: IDENTITY}
        adopted = EngineFacts(was_listed=True, exists=True, nodes=(node(mark=None),))
        infrastructure = cluster_with(cluster=kindcluster(annotations=claim, status=UP), engine=adopted)
        plan = self.gone(machine, infrastructure=infrastructure)
        assert isinstance(plan.operation, RemoveWorker)
        assert plan.operation.control_planes == {"c1"}
        foreign = replace(adopted, nodes=(node(mark="another"),))
        plan = self.gone(machine, infrastructure=cluster_with(engine=foreign))
        assert isinstance(plan.operation, RemoveWorker)
        assert plan.operation.control_planes == frozenset()

    @pytest.mark.rule("C53")
    def test_join_that_runs_is_cancelled_and_its_late_container_awaited(self) -> None:
        machine = begun_machine(**DELETED)
        plan = self.gone(machine, operation=running_operation(addition()))
        assert (plan.cancel_operation, plan.remove_finalizer) == (True, False)
        assert self.gone(machine).operation == removal(settle_seconds=SETTLE_SECONDS)
        assert self.gone(machine, worker()).operation == removal()
        assert self.gone(machine, goals=ended(removal())).remove_finalizer

    def test_second_join_that_was_interrupted_is_awaited_too(self) -> None:
        preparing = {"type": "WorkerJoined", "status": "False", "reason": "PreparingNode"}
        machine = joined_machine(status={**joined_machine().status, "conditions": [preparing]}, **DELETED)
        assert self.gone(machine).operation == removal(settle_seconds=SETTLE_SECONDS)

    @pytest.mark.rule("C53")
    @pytest.mark.parametrize("machine", [joined_machine(**DELETED), begun_machine(**DELETED)])
    @pytest.mark.parametrize(
        "facts",
        [
            {"owner": None, "infrastructure": None},
            {"infrastructure": None},
            {"owner": owner_cluster(), "infrastructure": cluster_with(worker(), cluster=kindcluster(**DELETED))},
        ],
    )
    def test_kind_cluster_that_goes_or_is_gone_takes_the_node_along(self, machine: Any, facts: Any) -> None:
        plan = decide(observe_machine(machine, **facts))
        assert (plan.operation, plan.remove_finalizer) == (None, True)

    @pytest.mark.rule("C53")
    def test_cluster_that_goes_takes_the_node_along_before_the_kindcluster_goes(self) -> None:
        owner = replace(owner_cluster(), raw={**owner_cluster().raw, "metadata": {"name": "dev", **DELETED}})
        plan = self.gone(joined_machine(**DELETED), worker(), owner=owner)
        assert (plan.operation, plan.remove_finalizer) == (None, True)

    def test_retained_kind_cluster_keeps_whole_nodes_and_no_remains(self) -> None:
        raw = {**RETAINING.raw, "metadata": {**RETAINING.metadata, **DELETED}}
        going = cluster_with(worker(), cluster=replace(RETAINING, raw=raw))
        whole = decide(observe_machine(joined_machine(**DELETED), infrastructure=going))
        assert (whole.operation, whole.remove_finalizer) == (None, True)
        half = decide(observe_machine(begun_machine(**DELETED), infrastructure=going))
        assert half.operation == removal()

    def test_retained_kind_cluster_that_stays_loses_the_node(self) -> None:
        plan = self.gone(joined_machine(**DELETED), infrastructure=cluster_with(worker(), cluster=RETAINING))
        assert plan.operation == removal()

    @pytest.mark.parametrize("other", [worker(machine="another"), worker(mark="another"), replace(node(), name=NODE)])
    @pytest.mark.parametrize("make", [joined_machine, begun_machine])
    @pytest.mark.parametrize("owned", [True, False])
    def test_container_and_node_of_someone_else_are_never_removed(self, other: Any, make: Any, owned: bool) -> None:
        machine = make({"clusterName": "dev"}, owned=owned, status={}, **DELETED)
        plan = self.gone(machine, other)
        assert (plan.operation, plan.remove_finalizer) == (None, True)

    def test_deletion_waits_for_the_engine(self) -> None:
        engine = EngineFacts(was_listed=True, failure=NO_ENGINE, exists=True, nodes=(node(), worker()))
        plan = self.gone(joined_machine(**DELETED), infrastructure=cluster_with(engine=engine))
        assert (plan.operation, plan.remove_finalizer) == (None, False)
        assert said(plan, Condition.DELETING).endswith("The deletion continues when the engine answers.")
        unasked = self.gone(joined_machine(**DELETED), infrastructure=cluster_with(engine=EngineFacts()))
        assert unasked == Plan(requeue_seconds=UNLISTED_SECONDS)

    def test_failed_removal_keeps_the_finalizer_and_is_tried_again(self) -> None:
        machine, busy = joined_machine(**DELETED), Failure(Reason.COMMAND_FAILED, "device busy")
        plan = self.gone(machine, worker(), goals=failed(removal(), busy))
        assert (plan.operation, plan.remove_finalizer, plan.requeue_seconds) == (None, False, 5)
        assert verdict(plan, Condition.DELETING) == ("True", "DeletionFailed")
        assert self.gone(machine, worker(), goals=failed(removal(), busy, seconds_ago=6)).operation == removal()

    def test_refused_removal_of_the_finalizer_is_reported(self) -> None:
        facts = {"refusals": {FINALIZER: "denied"}, "held_back": frozenset({FINALIZER})}
        plan = self.gone(joined_machine(**DELETED), **facts)
        assert not plan.remove_finalizer
        assert verdict(plan, Condition.DELETING) == ("True", "WriteRefused")


class TestEveryCombination:
    """Rules that hold in every combination of the facts."""

    MACHINES = tuple(
        make(spec, owned=not spec, **metadata)
        for make, spec, metadata in product(
            (kindmachine, begun_machine, joined_machine), ({}, {"clusterName": "dev"}), ({}, DELETED)
        )
    )
    CONTAINERS = (
        (),
        (worker(),),
        (worker(running=False),),
        (worker(container_id="w2"),),
        (worker(machine="another"),),
        (worker(machine=""),),
        (worker(mark="another"),),
        (worker(mark=None),),
    )
    CLUSTERS = (
        kindcluster(annotations=COMPLETE, status=UP),
        kindcluster({"recreatePolicy": "Always"}, annotations=COMPLETE, status=UP),
        kindcluster({"deletionPolicy": "Retain"}, annotations=COMPLETE, status=UP, **DELETED),
        kindcluster(annotations=COMPLETE, **DELETED),
        kindcluster(),
    )
    WORK: tuple[dict[str, Any], ...] = (
        {},
        {"goals": failed(addition(), FULL, seconds_ago=99)},
        {"goals": ended(removal())},
        {"operation": running_operation(addition())},
        {"operation": running_operation(removal())},
        {"is_copy": True},
    )

    def test_nothing_is_removed_without_proof_and_nothing_added_over_a_container(self) -> None:
        for machine, nodes, cluster, work in product(self.MACHINES, self.CONTAINERS, self.CLUSTERS, self.WORK):
            observed = observe_machine(machine, infrastructure=cluster_with(*nodes, cluster=cluster), **work)
            plan = decide(observed)
            assert plan.operation is None or observed.operation is None
            match plan.operation:
                case RemoveWorker(machine=of, uids=uids):
                    assert uids == {UID}
                    assert list(nodes) == [one for one in nodes if one.machine == of and one.mark == Mark(UID)]
                    # A whole node goes only with its object.
                    is_whole = machine.is_provisioned and not observed.is_copy and nodes[:1] in self.CONTAINERS[1:3]
                    assert machine.is_deleting or not is_whole
                case AddWorker():
                    assert (nodes, machine.is_deleting) == ((), False)
                    assert plan.add_finalizer or machine.has_finalizer
            if plan.remove_finalizer:
                assert machine.is_deleting
                assert observed.operation is None


def test_no_decision_concerns_the_kindclusters_own_operation() -> None:
    creating = running_operation(Create("dev", {}, None, 0, Mark(UID, 1), 1))
    plan = decide(observe_machine(infrastructure=replace(observe(), operation=creating)))
    assert (plan.operation, plan.cancel_operation) == (None, False)
