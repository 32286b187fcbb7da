"""Whether a kind cluster has to be stopped, what of it, and who waits meanwhile."""

from dataclasses import replace
from typing import Any

import pytest

from capk.api import names
from capk.api.names import Condition, Reason
from capk.diagnosis.failures import Failure
from capk.plan import kindcluster, kindmachine
from capk.plan import observed as observed_module
from capk.plan.facts import EngineFacts, HealthFacts, NodeFacts, Workers
from capk.plan.observed import Observed
from capk.plan.plan import Goal, ReadAccess, RenewCertificates, StartNodes, StopNodes
from capk.plan.power import is_to_rest
from capk.plan.running import UNREST_SECONDS
from test.unit.plan.builders import (
    ACCESS,
    COMPLETE,
    FINALIZER,
    IDENTITY,
    NODE,
    NOW,
    UID,
    cluster_with,
    condition,
    ended,
    failed,
    joined_machine,
    message,
    node,
    observe_machine,
    running_operation,
    settled,
    worker,
)
from test.unit.plan.builders import kindcluster as an_object

OFF = {"engine": {"powerState": "Stopped"}}
PLANES = ("dev-control-plane", "dev-control-plane2", "dev-control-plane3")
BALANCER = node("dev-external-load-balancer", mark=None, container_id="lb")


def planes(*, running: bool = True, address: bool = True) -> tuple[NodeFacts, ...]:
    return tuple(
        node(name, running=running, container_id=f"c{n}", address=f"172.18.0.{n + 2}" if address else "")
        for n, name in enumerate(PLANES)
    )


def listing(*nodes: NodeFacts, **facts: Any) -> EngineFacts:
    return EngineFacts(was_listed=True, exists=True, nodes=nodes, **facts)


def asked_to_stop(*nodes: NodeFacts, spec: Any = None, **facts: Any) -> Observed:
    """A KINDCluster that was up with these nodes, and is now asked to be stopped."""
    up = settled(an_object(spec or {}, annotations=COMPLETE, finalizers=FINALIZER), engine=listing(*nodes))
    off = an_object(
        {**up.object.spec, **OFF}, status=up.object.status, annotations=up.object.annotations, finalizers=FINALIZER
    )
    return replace(up, object=off, **facts)


class TestStop:
    def test_what_runs_is_stopped_by_mark_and_the_rest_by_id(self) -> None:
        plan = kindcluster.decide(asked_to_stop(*planes(), BALANCER))
        control_planes = frozenset({"c0", "c1", "c2"})
        assert plan.operation == StopNodes("dev", frozenset({UID}), frozenset({"lb"}), control_planes)
        assert condition(plan.status or {}, Condition.READY) == ("False", "StoppingNodes")

    def test_what_is_stopped_stays_so(self) -> None:
        plan = kindcluster.decide(asked_to_stop(node(), engine=listing(node(running=False, address=""))))
        assert (plan.operation, plan.requeue_seconds) == (None, None)
        assert condition(plan.status or {}, Condition.READY) == ("False", "Stopped")

    def test_node_that_runs_again_is_stopped_with_a_growing_pause(self) -> None:
        stop = StopNodes("dev", frozenset({UID}))
        plan = kindcluster.decide(asked_to_stop(node(), goals=ended(stop, attempts=3, seconds_ago=1)))
        assert plan.operation is None
        assert plan.requeue_seconds == pytest.approx(19)

    def test_stop_that_failed_names_the_cause(self) -> None:
        stop = StopNodes("dev", frozenset({UID}))
        goals = failed(stop, Failure(Reason.COMMAND_FAILED, "docker hangs."))
        plan = kindcluster.decide(asked_to_stop(node(), goals=goals))
        assert "Could not stop dev-control-plane: docker hangs." in message(plan.status or {}, Condition.NODES_RUNNING)

    @pytest.mark.parametrize("request_", [StartNodes("dev", ("a",)), ReadAccess("dev", await_answer=True)])
    def test_what_needs_a_running_cluster_is_cut_short(self, request_: Any) -> None:
        plan = kindcluster.decide(asked_to_stop(node(), operation=running_operation(request_)))
        assert plan.cancel_operation
        assert plan.operation is None

    def test_renewal_ends_before_the_stop(self) -> None:
        renewal = RenewCertificates("dev", ("a",), NOW)
        plan = kindcluster.decide(asked_to_stop(node(), operation=running_operation(renewal)))
        assert (plan.cancel_operation, plan.operation) == (False, None)

    def test_join_ends_before_the_stop(self) -> None:
        joining = Workers(under_way=frozenset({NODE}))
        plan = kindcluster.decide(asked_to_stop(node(), workers=joining))
        assert (plan.cancel_workers, plan.operation) == (True, None)
        assert plan.requeue_seconds

    def test_beside_nodes_of_someone_else_only_marked_ones_are_named(self) -> None:
        other = node("dev-worker", mark="someone-else", container_id="w")
        unmarked = node("dev-worker2", mark=None, container_id="w2")
        plan = kindcluster.decide(asked_to_stop(node(), engine=listing(node(), other, unmarked)))
        assert plan.operation == StopNodes("dev", frozenset({UID}), control_planes=frozenset({"c1"}))
        assert "Stopping dev-control-plane, because" in message(plan.status or {}, Condition.NODES_RUNNING)


class TestCompletion:
    @pytest.mark.parametrize(
        ("identity", "spec"),
        [(IDENTITY, {}), (names.UNREAD, {"controlPlaneEndpoint": {"host": "127.0.0.1", "port": 40001}})],
        ids=["no endpoint", "no identity"],
    )
    def test_cluster_whose_kubeconfig_was_never_read_is_completed_first(self, identity: str, spec: Any) -> None:
        annotations = {**COMPLETE, names.IDENTITY_ANNOTATION: identity}
        fresh = an_object({**OFF, **spec}, annotations=annotations, finalizers=FINALIZER)
        observed = replace(asked_to_stop(node()), object=fresh)
        assert not is_to_rest(observed)
        assert isinstance(kindcluster.decide(observed).operation, ReadAccess)

    def test_cluster_that_this_plan_completes_is_looked_at_again(self) -> None:
        """Its own writes do not wake an object."""
        fresh = an_object(OFF, annotations=COMPLETE, finalizers=FINALIZER)
        plan = kindcluster.decide(replace(asked_to_stop(node()), object=fresh, access=ACCESS))
        assert plan.endpoint
        assert plan.requeue_seconds == UNREST_SECONDS
        assert kindcluster.decide(asked_to_stop(node(running=False))).requeue_seconds is None

    def test_moved_object_does_not_wake_its_stopped_cluster(self) -> None:
        """A move takes along the spec and the annotations, not the status."""
        moved = asked_to_stop(*planes(), BALANCER)
        bare = an_object(moved.object.spec, annotations=moved.object.annotations, finalizers=FINALIZER)
        stopped = tuple(replace(one, running=False, address="") for one in (*planes(), BALANCER))
        plan = kindcluster.decide(replace(moved, object=bare, engine=listing(*stopped)))
        assert plan.operation is None
        assert condition(plan.status or {}, Condition.READY) == ("False", "Stopped")


class TestRefusal:
    def test_control_planes_without_known_addresses_keep_running(self) -> None:
        seen = asked_to_stop(*planes(), BALANCER)
        nodes = [{**one, "address": ""} for one in seen.object.status["nodes"]]
        blank = an_object(
            seen.object.spec,
            status={**seen.object.status, "nodes": nodes},
            annotations=COMPLETE,
            finalizers=FINALIZER,
        )
        unknown = replace(seen, object=blank, health=HealthFacts(answers=False, reached=True))
        plan = kindcluster.decide(unknown)
        assert not isinstance(plan.operation, StopNodes)
        assert "takes effect when" in message(plan.status or {}, Condition.ENGINE_AVAILABLE)

    def test_one_control_plane_needs_no_known_address(self) -> None:
        seen = asked_to_stop(node(address=""), engine=listing(node(address=""), gives_lowest_address=False))
        assert isinstance(kindcluster.decide(seen).operation, StopNodes)

    def test_nodes_of_a_cluster_that_cannot_be_stopped_are_repaired(self) -> None:
        stopped = tuple(replace(one, running=False) for one in planes())
        seen = asked_to_stop(*planes(), engine=listing(*stopped, gives_lowest_address=False))
        start = kindcluster.decide(seen).operation
        assert isinstance(start, StartNodes)
        assert start.although_stopped


class TestStart:
    def test_nodes_start_in_the_order_of_their_addresses(self) -> None:
        seen = asked_to_stop(*planes(), BALANCER)
        nodes = {
            "dev-control-plane": "172.18.0.9",
            "dev-control-plane2": "172.18.0.10",
            "dev-control-plane3": "172.18.0.2",
        }
        listed = [{**one, "address": nodes.get(one["name"], "172.18.0.5")} for one in seen.object.status["nodes"]]
        on = an_object(status={**seen.object.status, "nodes": listed}, annotations=COMPLETE, finalizers=FINALIZER)
        stopped = tuple(replace(one, running=False, address="") for one in (*planes(), BALANCER))
        start = kindcluster.decide(replace(seen, object=on, engine=listing(*stopped))).operation
        assert isinstance(start, StartNodes)
        assert start.nodes == (
            "dev-control-plane3",
            "dev-external-load-balancer",
            "dev-control-plane",
            "dev-control-plane2",
        )
        assert not start.although_stopped

    def test_former_stop_does_not_explain_an_api_server_that_starts(self) -> None:
        off = kindcluster.decide(asked_to_stop(node(), engine=listing(node(running=False)))).status or {}
        seen = asked_to_stop(node())
        on = an_object(status=off, annotations=COMPLETE, finalizers=FINALIZER)
        plan = kindcluster.decide(replace(seen, object=on, engine=listing(node(), restarted=True)))
        assert condition(plan.status or {}, Condition.API_SERVER_AVAILABLE) == ("False", "StartingNodes")
        answered = replace(seen, object=on, access=ACCESS)
        assert condition(kindcluster.decide(answered).status or {}, Condition.READY) == ("True", "Ready")


class TestMachines:
    def infrastructure(self, *nodes: NodeFacts) -> Observed:
        seen = cluster_with(*nodes)
        off = an_object(OFF, annotations=COMPLETE, finalizers=FINALIZER, status=seen.object.status)
        return replace(seen, object=off)

    def test_no_worker_joins(self) -> None:
        """The status of the KINDCluster may still call it Ready."""
        plan = kindmachine.decide(observe_machine(infrastructure=self.infrastructure()))
        assert plan.operation is None
        assert condition(plan.status or {}, Condition.WORKER_JOINED) == ("False", "WaitingForInfrastructure")
        assert "is stopped" in message(plan.status or {}, Condition.WORKER_JOINED)

    def test_stopped_worker_is_neither_ready_nor_broken(self) -> None:
        stopped = self.infrastructure(worker(running=False))
        plan = kindmachine.decide(observe_machine(joined_machine(), infrastructure=stopped))
        assert condition(plan.status or {}, Condition.READY) == ("Unknown", "Stopped")

    def test_worker_waits_to_leave(self) -> None:
        going = joined_machine(deletionTimestamp="2030-01-01T11:00:00Z")
        plan = kindmachine.decide(observe_machine(going, infrastructure=self.infrastructure(worker(running=False))))
        assert (plan.operation, plan.remove_finalizer) == (None, False)
        assert condition(plan.status or {}, Condition.DELETING) == ("True", "WaitingForInfrastructure")


def test_patches_are_read_for_a_stop_once_in_a_decision(monkeypatch: pytest.MonkeyPatch) -> None:
    """Users write them: reading them takes up to 70 ms, in which nothing else runs."""
    read: list[Any] = []
    monkeypatch.setattr(observed_module, "passing_etcd_folder", lambda spec: read.append(spec) or "")
    observed = asked_to_stop(*planes())
    kindcluster.decide(observed)
    assert read == [observed.object.spec]


def test_goal_of_a_stop_is_its_own() -> None:
    """Its pauses must not delay the start."""
    assert StopNodes("dev", frozenset()).goal is Goal.STOPPED
