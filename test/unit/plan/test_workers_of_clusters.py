"""What the workers that were added to a kind cluster mean for its KINDCluster."""

from dataclasses import replace
from typing import Any

import pytest

from capk.api import names
from capk.api.names import Condition
from capk.plan.facts import EngineFacts, HealthFacts, Workers
from capk.plan.kindcluster import decide
from capk.plan.observed import Observed
from capk.plan.ownership import Ownership, adoptable_as, made_by, ownership
from capk.plan.plan import Create, Delete, StartNodes
from test.unit.plan.builders import (
    ACCESS,
    COMPLETE,
    FINALIZER,
    IDENTITY,
    NODE,
    NOTHING_THERE,
    NOW,
    UP,
    cluster_with,
    condition,
    kindcluster,
    node,
    observe,
    settled,
    worker,
)

JOINING = Workers(joining=frozenset({NODE}), under_way=frozenset({NODE}))
OTHER = "dev-workers-other"
ADOPTABLE = node(mark=None, container_id="c1")
DELETED = {"deletionTimestamp": NOW.isoformat()}


def running(*nodes: Any, workers: Workers = Workers()) -> Observed:
    """A settled KINDCluster with a control plane and these nodes."""
    engine = EngineFacts(was_listed=True, exists=True, nodes=(node(), *nodes))
    return replace(settled(), engine=engine, workers=workers)


class TestJoining:
    @pytest.mark.parametrize("is_running", [True, False])
    def test_container_of_a_worker_that_joins_is_not_taken_for_a_node(self, is_running: bool) -> None:
        plan = decide(running(worker(running=is_running), workers=JOINING))
        assert plan.operation is None
        assert plan.status is not None
        assert condition(plan.status, Condition.NODES_RUNNING) == ("True", "Running")
        assert condition(plan.status, Condition.READY) == ("True", "Ready")
        assert [one["name"] for one in plan.status["nodes"]] == ["dev-control-plane"]

    def test_stopped_worker_that_has_joined_is_started_without_the_one_that_joins(self) -> None:
        joined = worker(OTHER, running=False, container_id="w2")
        plan = decide(running(worker(running=False), joined, workers=JOINING))
        assert isinstance(plan.operation, StartNodes)
        assert (plan.operation.nodes, plan.operation.container_ids) == ((OTHER,), frozenset({"w2"}))

    def test_status_names_the_machine_of_a_node(self) -> None:
        own = node("dev-worker", container_id="w2", address="172.18.0.3")
        plan = decide(running(own, worker(), workers=Workers(names={NODE: "workers-x7k2p", "dev-worker": "worker"})))
        assert plan.status is not None
        nodes = {one["name"]: one for one in plan.status["nodes"]}
        assert nodes[NODE] == {
            "name": NODE,
            "role": "worker",
            "address": "172.18.0.5",
            "state": "Running",
            "machine": "workers-x7k2p",
        }
        assert not any("machine" in nodes[name] for name in ("dev-control-plane", "dev-worker"))


class TestRemoval:
    """Whatever removes the whole kind cluster waits for the joins: their containers would appear afterwards."""

    @pytest.mark.parametrize("spec", [{}, {"deletionPolicy": "Retain"}])
    def test_deletion_cancels_the_joins_and_waits_for_them(self, spec: dict[str, str]) -> None:
        cluster = kindcluster(spec, annotations=COMPLETE, status=UP, finalizers=FINALIZER, **DELETED)
        plan = decide(cluster_with(worker(), cluster=cluster, workers=JOINING))
        assert (plan.cancel_workers, plan.operation, plan.remove_finalizer) == (True, None, False)
        assert plan.requeue_seconds
        after = decide(cluster_with(cluster=cluster))
        assert not after.cancel_workers
        assert after.remove_finalizer if spec else isinstance(after.operation, Delete)

    def test_cleanup_after_an_interrupted_creation_waits_for_them(self) -> None:
        cluster = kindcluster(annotations={**COMPLETE, names.IDENTITY_ANNOTATION: ""}, finalizers=FINALIZER)
        plan = decide(cluster_with(worker(), cluster=cluster, workers=JOINING))
        assert (plan.cancel_workers, plan.operation) == (True, None)
        assert isinstance(decide(cluster_with(worker(), cluster=cluster)).operation, Delete)

    def test_new_kind_cluster_waits_for_joins_to_the_former(self) -> None:
        cluster = kindcluster({"recreatePolicy": "Always"}, annotations=COMPLETE, status=UP, finalizers=FINALIZER)
        plan = decide(cluster_with(cluster=cluster, engine=NOTHING_THERE, workers=JOINING))
        assert (plan.cancel_workers, plan.operation) == (True, None)
        assert isinstance(decide(cluster_with(cluster=cluster, engine=NOTHING_THERE)).operation, Create)

    def test_kind_cluster_that_lost_its_data_is_replaced_after_the_joins(self) -> None:
        status = {"etcd": {"authority": IDENTITY, "kubeSystemUID": "former"}}
        cluster = kindcluster({"recreatePolicy": "Always"}, annotations=COMPLETE, finalizers=FINALIZER, status=status)
        lost = cluster_with(cluster=cluster, access=ACCESS, workers=JOINING, health=HealthFacts(answers=True))
        plan = decide(lost)
        assert (plan.cancel_workers, plan.operation) == (True, None)
        assert isinstance(decide(replace(lost, workers=Workers())).operation, Delete)


class TestOwnership:
    def test_adopted_kind_cluster_with_added_workers_stays_ours(self) -> None:
        adopted = kindcluster(annotations={**COMPLETE, names.CLAIM_ID_ANNOTATION: "c1"}, status=UP)
        engine = EngineFacts(was_listed=True, exists=True, nodes=(ADOPTABLE, worker(mark="c1")))
        assert ownership(observe(adopted, engine=engine)) is Ownership.OURS

    def test_added_worker_proves_the_rest_of_an_adopted_kind_cluster(self) -> None:
        adopted = kindcluster(annotations={**COMPLETE, names.CLAIM_ID_ANNOTATION: "gone"}, status=UP)
        engine = EngineFacts(was_listed=True, exists=True, nodes=(ADOPTABLE, worker(mark="gone")))
        assert ownership(observe(adopted, engine=engine)) is Ownership.OURS

    @pytest.mark.parametrize("attempt", ["", ".1"])
    def test_added_worker_of_a_kind_cluster_that_was_made_proves_no_other_node(self, attempt: str) -> None:
        own = kindcluster(annotations=COMPLETE, status=UP)
        engine = EngineFacts(was_listed=True, exists=True, nodes=(ADOPTABLE, worker(mark=f"{own.uid}{attempt}")))
        assert ownership(observe(own, engine=engine)) is Ownership.MIXED

    def test_mark_that_is_not_the_claims_makes_an_adopted_kind_cluster_foreign(self) -> None:
        adopted = kindcluster(annotations={**COMPLETE, names.CLAIM_ID_ANNOTATION: "c1"}, status=UP)
        for other in (worker(mark="another"), worker(mark="c1", machine="")):
            engine = EngineFacts(was_listed=True, exists=True, nodes=(ADOPTABLE, other))
            assert ownership(observe(adopted, engine=engine)) is not Ownership.OURS

    def test_added_workers_do_not_hinder_an_adoption(self) -> None:
        willing = kindcluster(annotations={names.ADOPT_ANNOTATION: "true"})
        engine = EngineFacts(was_listed=True, exists=True, nodes=(ADOPTABLE, worker(mark="c1")))
        assert adoptable_as(observe(willing, engine=engine)) == "c1"

    def test_added_workers_prove_nothing_about_the_creation(self) -> None:
        own = kindcluster(annotations=COMPLETE, status=UP)
        nodes = (node(mark=f"{own.uid}.2"), worker(mark=f"{own.uid}.1"))
        engine = EngineFacts(was_listed=True, exists=True, nodes=nodes)
        assert made_by(observe(own, engine=engine)) == 2
