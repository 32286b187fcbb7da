"""spec.replicas of a KINDControlPlane: how many control-plane nodes are made, and what users are told of it."""

from collections.abc import Mapping
from typing import Any

import pytest

from capk.api.names import Condition, Reason
from capk.diagnosis.failures import Failure
from capk.plan import controlplane
from capk.plan.facts import EngineFacts
from capk.plan.kindcluster import decide
from capk.plan.observed import ControlPlaneObserved
from capk.plan.parts import REPLICAS
from capk.plan.plan import Create
from test.unit.plan.builders import (
    ACCESS,
    COMPLETE,
    FINALIZER,
    NOW,
    condition,
    control_plane,
    failed,
    kindcluster,
    message,
    node,
    observe,
    owner_cluster,
    settled,
)

OWNER = owner_cluster(
    infrastructureRef={"kind": "KINDCluster", "name": "dev"},
    controlPlaneRef={"kind": "KINDControlPlane", "name": "dev"},
)
THREE = [{"role": "control-plane"}] * 3
NO_IMAGE = Failure(Reason.IMAGE_NOT_FOUND, "no such image")
INITIALIZED = {"initialization": {"controlPlaneInitialized": True}}


def asking(replicas: int | None, spec: Mapping[str, Any] | None = None, **facts: Any) -> Any:
    """A KINDCluster that is about to be created, and a KINDControlPlane that asks for so many replicas."""
    cluster = kindcluster(spec, owner="dev")
    return observe(cluster, owner=OWNER, control_plane=control_plane(replicas=replicas), **facts)


def roles(operation: Any) -> list[str]:
    assert isinstance(operation, Create)
    return [node.get("role", "control-plane") for node in operation.config["nodes"]]


class TestCreation:
    @pytest.mark.rule("C46")
    @pytest.mark.parametrize("replicas", [1, 3])
    def test_as_many_control_planes_as_asked_for_are_made(self, replicas: int) -> None:
        plan = decide(asking(replicas, {"nodes": [{"role": "control-plane"}, {"role": "worker"}]}))
        assert sorted(roles(plan.operation)) == ["control-plane"] * replicas + ["worker"]

    @pytest.mark.rule("C46")
    @pytest.mark.parametrize(("spec", "made"), [({}, 1), ({"nodes": THREE}, 3)])
    def test_without_replicas_the_list_of_nodes_decides(self, spec: Any, made: int) -> None:
        assert roles(decide(asking(None, spec)).operation) == ["control-plane"] * made

    def test_added_control_planes_carry_the_mark_and_the_image(self) -> None:
        nodes = decide(asking(3)).operation.config["nodes"]
        assert {node["image"] for node in nodes} == {"kindest/node:v1.36.1"}
        assert all(len(node["extraMounts"]) == 1 for node in nodes)

    @pytest.mark.rule("C46")
    def test_fewer_replicas_than_listed_are_refused_until_one_of_them_changes(self) -> None:
        plan = decide(asking(1, {"nodes": THREE}))
        assert plan.operation is None
        assert condition(plan.status, Condition.CLUSTER_CREATED) == ("False", Reason.INVALID_CONFIG)
        said = message(plan.status, Condition.READY)
        assert said.startswith("spec.nodes: lists 3 control-plane nodes, but the KINDControlPlane's spec.replicas is 1")

    def test_name_must_leave_room_for_the_load_balancer_that_replicas_bring(self) -> None:
        name = {"clusterName": "n" * 45}
        assert decide(asking(1, name)).operation
        plan = decide(asking(3, name))
        assert condition(plan.status, Condition.CLUSTER_CREATED) == ("False", Reason.INVALID_CONFIG)
        assert "at most 40" in message(plan.status, Condition.CLUSTER_CREATED)

    def test_another_number_after_a_failure_is_tried_at_once(self) -> None:
        tried = decide(asking(3)).operation
        goals = failed(tried, NO_IMAGE, attempts=9)
        assert decide(asking(3, goals=goals)).operation is None
        assert roles(decide(asking(1, goals=goals)).operation) == ["control-plane"]

    def test_standalone_cluster_is_made_as_listed(self) -> None:
        assert roles(decide(observe(kindcluster({"nodes": THREE}))).operation) == ["control-plane"] * 3


class TestRunning:
    def said(self, replicas: int | None, made: int) -> str:
        names = ["dev-control-plane", *(f"dev-control-plane{number}" for number in range(2, made + 1))]
        names += ["dev-external-load-balancer"] if made > 1 else []
        nodes = [node(name, container_id=name) for name in names]
        cluster = kindcluster(annotations=COMPLETE, finalizers=FINALIZER, owner="dev")
        engine = EngineFacts(was_listed=True, exists=True, nodes=tuple(nodes))
        asking = control_plane(replicas=replicas)
        status = settled(cluster, owner=OWNER, control_plane=asking, engine=engine).object.status
        assert condition(status, Condition.READY) == ("True", Reason.READY)
        assert condition(status, Condition.CLUSTER_CREATED) == ("True", Reason.CREATED)
        return message(status, Condition.CLUSTER_CREATED)

    @pytest.mark.rule("C46")
    @pytest.mark.parametrize(("replicas", "made"), [(None, 1), (None, 2), (1, 1), (3, 3)])
    def test_number_that_fits_is_not_worth_a_word(self, replicas: int | None, made: int) -> None:
        assert self.said(replicas, made) == ""

    @pytest.mark.rule("C46")
    def test_number_that_an_older_release_ignored_is_named_and_costs_no_readiness(self) -> None:
        said = self.said(3, 1)
        assert "spec.replicas is 3, but the kind cluster has 1 control-plane node(s)" in said
        assert "Set it to 1" in said

    def test_even_number_is_warned_of(self) -> None:
        assert "an even number survives the loss of no more nodes than 1" in self.said(2, 2)


def seen(
    *, replicas: int | None = None, status: Mapping[str, Any] | None = None, made: int = 1, **facts: Any
) -> ControlPlaneObserved:
    """What is known of a KINDControlPlane whose kind cluster is up."""
    nodes = [{"name": f"n{number}", "role": "control-plane", "state": "Running"} for number in range(made)]
    created = {"type": Condition.CLUSTER_CREATED, "status": "True", "reason": Reason.CREATED}
    infrastructure = {"nodes": [*nodes, {"name": "w", "role": "worker"}], "conditions": [created]}
    return ControlPlaneObserved(
        **{
            "object": control_plane(replicas=replicas, status=status),
            "now": NOW,
            "owner": OWNER,
            "infrastructure": kindcluster(status=infrastructure, owner="dev"),
            "cluster_name": "dev",
            "access": ACCESS,
            **facts,
        }
    )


class TestNumberThatWasMade:
    @pytest.mark.rule("C46")
    @pytest.mark.parametrize("made", [1, 3])
    def test_it_is_written_where_the_spec_leaves_it_open(self, made: int) -> None:
        plan = controlplane.decide(seen(made=made))
        assert plan.replicas == plan.status["replicas"] == made
        assert plan.status["selector"] == "node-role.kubernetes.io/control-plane"

    def test_it_is_written_for_a_control_plane_of_an_older_release(self) -> None:
        assert controlplane.decide(seen(made=3, status={**INITIALIZED, "replicas": 3})).replicas == 3

    @pytest.mark.rule("C46")
    @pytest.mark.parametrize("replicas", [1, 3])
    def test_number_of_the_user_stays(self, replicas: int) -> None:
        plan = controlplane.decide(seen(replicas=replicas, made=1))
        assert plan.replicas is None
        assert plan.status["replicas"] == 1

    @pytest.mark.parametrize(
        "facts",
        [
            {"access": None},
            {"made": 0},
            {"made": 10},
            {"held_back": frozenset({REPLICAS})},
            {"made": 2, "status": {**INITIALIZED, "replicas": 3}},
        ],
        ids=["not up yet", "nodes gone", "more than can be asked for", "refused lately", "admission wants the stored"],
    )
    def test_number_that_is_not_known_for_sure_or_would_be_refused_is_not_written(self, facts: Any) -> None:
        assert controlplane.decide(seen(**facts)).replicas is None

    def test_refused_number_costs_no_availability(self) -> None:
        ready = {"type": Condition.READY, "status": "True", "reason": Reason.READY}
        created = {"type": Condition.CLUSTER_CREATED, "status": "True", "reason": Reason.CREATED}
        up = kindcluster(status={"conditions": [ready, created]}, owner="dev")
        plan = controlplane.decide(seen(infrastructure=up, refusals={REPLICAS: "forbidden"}))
        assert condition(plan.status, Condition.AVAILABLE) == ("True", Reason.AVAILABLE)
