"""Whatever others remove, edit or break is restored; data is never lost silently."""

import base64
from collections.abc import Callable

import pytest

from capk.api.names import KIND_CLUSTERS, SECRET_CLUSTER_LABEL, SECRETS
from test.integration.api import eventually
from test.integration.provider.journeys import FINALIZERS, Place, standalone, unchanged


@pytest.mark.rule("C8", "C14", "C15", "C26", "C29")
def test_finalizer_and_secret_are_restored_whatever_was_done_to_them(quick_place: Place) -> None:
    name, secret = "tampered", "tampered-config"
    quick_place.create(standalone(name))
    quick_place.await_condition(name)
    good = quick_place.get(SECRETS, secret)

    quick_place.patch(KIND_CLUSTERS, name, {"metadata": {"finalizers": None}})
    eventually(lambda: quick_place.get(KIND_CLUSTERS, name)["metadata"].get("finalizers") == FINALIZERS, 60)

    (reference,) = good["metadata"]["ownerReferences"]
    outdated = {**reference, "apiVersion": "infrastructure.cluster.x-k8s.io/v1alpha0"}
    for damage in (
        {"metadata": {"ownerReferences": None}},
        {"metadata": {"ownerReferences": [outdated]}},
        {"metadata": {"annotations": None}},
        {"data": {"config": base64.b64encode(b"edited").decode()}},
        {"data": {"more": base64.b64encode(b"added").decode()}},
    ):
        quick_place.patch(SECRETS, secret, damage)
        eventually(lambda: _is_as(quick_place.get(SECRETS, secret), good), 60)
    quick_place.patch(SECRETS, secret, {"metadata": {"labels": {SECRET_CLUSTER_LABEL: None, "kept": "yes"}}})
    eventually(lambda: _is_as(quick_place.get(SECRETS, secret), good), 60)
    assert quick_place.get(SECRETS, secret)["metadata"]["labels"]["kept"] == "yes"

    quick_place.delete(SECRETS, secret)
    eventually(lambda: _is_as(quick_place.get(SECRETS, secret), good), 60)
    quick_place.await_condition(name)
    unchanged(lambda: quick_place.resource_versions(name), 4)
    quick_place.delete(KIND_CLUSTERS, name)


def _is_as(seen: dict, good: dict) -> bool:
    assert seen["data"] == good["data"]
    assert seen["metadata"]["ownerReferences"] == good["metadata"]["ownerReferences"]
    assert seen["metadata"]["annotations"] == good["metadata"]["annotations"]
    assert seen["metadata"]["labels"].items() >= good["metadata"]["labels"].items()
    return True


@pytest.mark.rule("C15", "K27")
def test_secret_that_went_while_the_provider_was_away_comes_back(own_place: Callable[..., Place]) -> None:
    place = own_place()
    place.create(standalone("away"))
    place.await_condition("away")
    place.process.stop()
    place.delete(SECRETS, "away-config")
    place.process.start()
    eventually(lambda: place.find(SECRETS, "away-config"), 60)


@pytest.mark.rule("C10", "C11", "C17", "C21")
def test_kind_cluster_deleted_by_hand_is_missed_and_not_made_again(quick_place: Place) -> None:
    quick_place.create(standalone("lost"))
    quick_place.await_condition("lost")
    container = quick_place.kind_cluster("lost").uid
    endpoint = quick_place.get(KIND_CLUSTERS, "lost")["spec"]["controlPlaneEndpoint"]
    quick_place.process.home.remove(quick_place.kind_cluster("lost"))
    seen = quick_place.await_condition("lost", reason="Missing")
    assert "recreatePolicy" in seen["message"]
    status = quick_place.get(KIND_CLUSTERS, "lost")["status"]
    assert status["initialization"] == {"provisioned": True}
    assert status.get("ready") is not True
    unchanged(lambda: quick_place.get(KIND_CLUSTERS, "lost")["metadata"]["resourceVersion"], 3)
    assert quick_place.kind.creations("lost") == 1
    assert eventually(lambda: quick_place.events("lost")["Missing"])["type"] == "Warning"

    quick_place.patch(KIND_CLUSTERS, "lost", {"spec": {"recreatePolicy": "Always"}})
    quick_place.await_condition("lost")
    assert quick_place.kind.creations("lost") == 2
    assert quick_place.kind_cluster("lost").uid != container
    assert quick_place.get(KIND_CLUSTERS, "lost")["spec"]["controlPlaneEndpoint"] == endpoint
    quick_place.delete(KIND_CLUSTERS, "lost")
    quick_place.await_gone("lost")


@pytest.mark.rule("C17")
def test_stopped_node_is_started_again(quick_place: Place) -> None:
    quick_place.create(standalone("tired", nodes=[{"role": "control-plane"}, {"role": "worker"}]))
    quick_place.await_condition("tired")
    quick_place.stop_node("tired-worker")
    eventually(lambda: quick_place.events("tired").get("StartingNodes"), 60)
    quick_place.await_condition("tired")
    assert all(node.running for node in quick_place.kind_cluster("tired").nodes)
    assert {node["state"] for node in quick_place.get(KIND_CLUSTERS, "tired")["status"]["nodes"]} == {"Running"}
    quick_place.delete(KIND_CLUSTERS, "tired")


@pytest.mark.rule("C17")
def test_cluster_is_stopped_and_started_by_its_power_state(quick_place: Place) -> None:
    power, nodes = {"engine": {"powerState": "Stopped"}}, [{"role": "control-plane"}, {"role": "worker"}]

    def running() -> dict[str, bool]:
        return {node.name: node.running for node in quick_place.kind_cluster("hibernates").nodes}

    quick_place.create(standalone("hibernates", nodes=nodes))
    quick_place.await_condition("hibernates")
    first = quick_place.kind_cluster("hibernates").uid
    quick_place.patch(KIND_CLUSTERS, "hibernates", {"spec": power})
    quick_place.await_condition("hibernates", reason="Stopped", status="False")
    assert set(running().values()) == {False}
    quick_place.stop_node("hibernates-worker", verb="start")
    eventually(lambda: not any(running().values()), 60)

    quick_place.patch(KIND_CLUSTERS, "hibernates", {"spec": {"engine": {"powerState": "Running"}}})
    quick_place.await_condition("hibernates")
    assert set(running().values()) == {True}
    assert (quick_place.kind_cluster("hibernates").uid, quick_place.kind.creations("hibernates")) == (first, 1)

    quick_place.patch(KIND_CLUSTERS, "hibernates", {"spec": power})
    quick_place.await_condition("hibernates", reason="Stopped")
    quick_place.delete(KIND_CLUSTERS, "hibernates")
    quick_place.await_gone("hibernates")
    assert "hibernates" not in quick_place.process.home.names()


@pytest.mark.rule("C18", "K2")
def test_burst_of_edits_ends_at_the_last_one(quick_place: Place) -> None:
    quick_place.create(standalone("restless"))
    quick_place.await_condition("restless")
    before = quick_place.get(KIND_CLUSTERS, "restless")
    for number in range(20):
        policy = "Retain" if number % 2 == 0 else "Delete"
        quick_place.patch(KIND_CLUSTERS, "restless", {"spec": {"deletionPolicy": policy}})

    def settled() -> bool:
        seen = quick_place.get(KIND_CLUSTERS, "restless")
        assert seen["metadata"]["generation"] == before["metadata"]["generation"] + 20
        return seen["status"]["observedGeneration"] == seen["metadata"]["generation"]

    eventually(settled, 60)
    ready = quick_place.condition("restless", "Ready")
    assert ready["lastTransitionTime"] == next(
        one["lastTransitionTime"] for one in before["status"]["conditions"] if one["type"] == "Ready"
    )
    assert quick_place.kind.creations("restless") == 1
    quick_place.delete(KIND_CLUSTERS, "restless")
