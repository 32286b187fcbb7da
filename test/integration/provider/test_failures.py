"""Failures are reported with a reason and a sentence, and end as soon as the cause is removed."""

from collections.abc import Callable

import pytest

from capk.api.names import ADOPT_ANNOTATION, KIND_CLUSTERS, SECRETS
from capkdev.controlplane import free_port
from capkdev.fakekind.clusters import CONTROL_PLANE, Node
from test.integration.api import eventually
from test.integration.provider.journeys import Place, standalone, unchanged


@pytest.mark.rule("C17", "C20")
def test_absent_image_is_named_and_a_corrected_one_is_tried_at_once(quick_place: Place) -> None:
    quick_place.create(standalone("typo", image="kindest/node:v9.9.9"))
    seen = quick_place.await_condition("typo", reason="ImageNotFound")
    assert seen["status"] == "False"
    assert "kindest/node:v9.9.9" in seen["message"]
    assert "Check spec.image" in seen["message"]
    assert quick_place.condition("typo", "ClusterCreated")["reason"] == "ImageNotFound"
    assert eventually(lambda: quick_place.events("typo")["ImageNotFound"])["type"] == "Warning"
    assert quick_place.process.home.find("typo") is None
    assert not quick_place.get(KIND_CLUSTERS, "typo")["status"].get("ready")

    quick_place.patch(KIND_CLUSTERS, "typo", {"spec": {"image": "kindest/node:v1.36.1"}})
    quick_place.await_condition("typo", seconds=20)
    assert "ImageNotFound" in [entry["reason"] for entry in quick_place.get(KIND_CLUSTERS, "typo")["status"]["history"]]
    quick_place.delete(KIND_CLUSTERS, "typo")


@pytest.mark.rule("C18", "C20")
def test_taken_port_is_named_and_freed_it_is_used(quick_place: Place) -> None:
    port = free_port()
    nodes = [{"role": "control-plane", "extraPortMappings": [{"containerPort": 80, "hostPort": port}]}]
    quick_place.create(standalone("holder", nodes=nodes))
    quick_place.await_condition("holder")
    quick_place.create(standalone("claimant", nodes=nodes))
    seen = quick_place.await_condition("claimant", reason="PortConflict")
    assert f"Host port {port} is taken" in seen["message"]
    assert quick_place.process.home.find("claimant") is None

    quick_place.delete(KIND_CLUSTERS, "holder")
    quick_place.await_condition("claimant")
    again = [entry["reason"] for entry in quick_place.get(KIND_CLUSTERS, "claimant")["status"]["history"]]
    assert again.count("PortConflict") == 1, again
    quick_place.delete(KIND_CLUSTERS, "claimant")


@pytest.mark.rule("C21", "C23")
def test_strangers_kind_cluster_is_not_touched_and_can_be_adopted(quick_place: Place) -> None:
    home = quick_place.process.home
    stranger = home.claim("stranger", [Node("stranger-control-plane", CONTROL_PLANE, "kindest/node")], instant=True)
    assert stranger is not None
    looks = len(quick_place.kind.calls("get", "clusters"))
    eventually(lambda: len(quick_place.kind.calls("get", "clusters")) > looks + 2, 60)
    quick_place.create(standalone("greedy", clusterName="stranger"))
    seen = quick_place.await_condition("greedy", reason="NameConflict")
    assert ADOPT_ANNOTATION in seen["message"]
    unchanged(lambda: quick_place.get(KIND_CLUSTERS, "greedy")["metadata"]["resourceVersion"], 2)
    quick_place.delete(KIND_CLUSTERS, "greedy")
    quick_place.await_gone("greedy")
    assert quick_place.kind_cluster("stranger").uid == stranger.uid
    assert quick_place.find(SECRETS, "stranger-config") is None
    assert not quick_place.kind.calls("--name=stranger")
    home.remove(stranger)


@pytest.mark.rule("C21")
def test_name_that_was_freed_since_the_last_look_at_the_engine_is_no_conflict(own_place: Callable[..., Place]) -> None:
    place = own_place("--inventory-period", "1h")
    node = Node("freed-control-plane", CONTROL_PLANE, "kindest/node")
    stranger = place.process.home.claim("freed", [node], instant=True)
    assert stranger is not None
    # The end of its creation is the last inventory of the engine.
    place.create(standalone("before"))
    place.await_condition("before")
    place.process.home.remove(stranger)
    place.create(standalone("late", clusterName="freed"))
    place.await_condition("late")
    assert "NameConflict" not in {entry["reason"] for entry in place.get(KIND_CLUSTERS, "late")["status"]["history"]}


@pytest.mark.rule("C21", "C23")
def test_kind_cluster_is_adopted_when_the_user_says_so(quick_place: Place) -> None:
    """A cluster that an earlier object has left behind has its mark, which the user must name."""
    quick_place.create(standalone("former", clusterName="heirloom", deletionPolicy="Retain"))
    quick_place.await_condition("former")
    quick_place.delete(KIND_CLUSTERS, "former")
    quick_place.await_gone("former")
    container = quick_place.kind_cluster("heirloom").uid

    quick_place.create(standalone("heir", clusterName="heirloom"))
    message = quick_place.await_condition("heir", reason="NameConflict")["message"]
    quick_place.patch(KIND_CLUSTERS, "heir", {"metadata": {"annotations": {ADOPT_ANNOTATION: "true"}}})
    unchanged(lambda: quick_place.condition("heir", "Ready")["reason"], 2)
    mark = message.partition(f'{ADOPT_ANNOTATION}: "')[2].partition('"')[0]
    quick_place.patch(KIND_CLUSTERS, "heir", {"metadata": {"annotations": {ADOPT_ANNOTATION: mark}}})
    quick_place.await_condition("heir")
    assert quick_place.kind_cluster("heirloom").uid == container
    assert quick_place.kind.creations("heirloom") == 1
    assert quick_place.get(SECRETS, "heirloom-config")["metadata"]["ownerReferences"][0]["name"] == "heir"
    unchanged(lambda: quick_place.resource_versions("heir"), 4)

    quick_place.delete(KIND_CLUSTERS, "heir")
    quick_place.await_gone("heir")
    assert quick_place.process.home.find("heirloom") is None


@pytest.mark.rule("C21")
def test_second_object_waits_for_the_name_and_gets_it_when_it_is_free(quick_place: Place) -> None:
    quick_place.create(standalone("elder", clusterName="shared-name"))
    quick_place.await_condition("elder")
    container = quick_place.kind_cluster("shared-name").uid
    quick_place.create(standalone("younger", clusterName="shared-name"))
    seen = quick_place.await_condition("younger", reason="NameConflict")
    assert f"{quick_place.namespace}/elder" in seen["message"]
    assert quick_place.kind_cluster("shared-name").uid == container

    quick_place.delete(KIND_CLUSTERS, "elder")
    quick_place.await_gone("elder")
    quick_place.await_condition("younger")
    assert quick_place.kind_cluster("shared-name").uid != container
    quick_place.delete(KIND_CLUSTERS, "younger")
    quick_place.await_gone("younger")


@pytest.mark.rule("C15", "C20")
def test_somebody_elses_secret_is_not_overwritten(quick_place: Place) -> None:
    foreign = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "guest-config"},
        "stringData": {"config": "not yours"},
    }
    before = quick_place.create(foreign)
    quick_place.create(standalone("guest"))
    seen = quick_place.await_condition("guest", "KubeconfigAvailable", "NameConflict")
    assert "guest-config" in seen["message"]
    assert quick_place.condition("guest", "Ready")["reason"] == "NameConflict"
    assert quick_place.get(SECRETS, "guest-config") == before

    quick_place.delete(SECRETS, "guest-config")
    quick_place.await_condition("guest")
    assert eventually(lambda: quick_place.get(SECRETS, "guest-config")["data"]["config"]) != before["data"]["config"]
    quick_place.delete(KIND_CLUSTERS, "guest")
