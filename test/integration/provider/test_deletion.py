"""Deletion in every order removes everything that the provider created and nothing else, completely."""

from collections.abc import Callable

import pytest

from capk.api.names import KIND_CLUSTERS, KIND_CONTROL_PLANES, PAUSED_ANNOTATION, SECRETS
from capkdev.fakekind.create import SECONDS_VARIABLE
from test.integration.api import CLUSTERS, eventually
from test.integration.provider.journeys import (
    FINALIZERS,
    Place,
    control_plane,
    kindcluster,
    owner,
    standalone,
    unchanged,
)


def create_owned(place: Place, name: str) -> None:
    place.create(owner(name), kindcluster(name), control_plane(name))
    place.await_condition(name)
    place.await_condition(name, "Available", resource=KIND_CONTROL_PLANES)
    place.await_condition(name, "InfrastructureReady", resource=CLUSTERS)


def nothing_left(place: Place, name: str) -> None:
    assert place.process.home.find(name) is None
    assert place.resource_versions(name) == {}


@pytest.mark.rule("C7", "C23", "C25", "C45")
def test_cluster_takes_all_with_it_the_control_plane_first(quick_place: Place) -> None:
    """A paused KINDCluster stays, and so does its kind cluster; the KINDControlPlane does not wait for them."""
    create_owned(quick_place, "whole")
    quick_place.patch(KIND_CLUSTERS, "whole", {"metadata": {"annotations": {PAUSED_ANNOTATION: ""}}})
    quick_place.await_condition("whole", "Paused")
    quick_place.delete(CLUSTERS, "whole")
    quick_place.await_gone("whole", KIND_CONTROL_PLANES)
    eventually(lambda: quick_place.get(KIND_CLUSTERS, "whole")["metadata"].get("deletionTimestamp"), 60)
    unchanged(lambda: quick_place.get(KIND_CLUSTERS, "whole")["metadata"]["finalizers"], 2)
    assert not quick_place.kind.removals(quick_place.kind_cluster("whole"))

    quick_place.patch(KIND_CLUSTERS, "whole", {"metadata": {"annotations": {PAUSED_ANNOTATION: None}}})
    quick_place.await_gone("whole", CLUSTERS)
    nothing_left(quick_place, "whole")


@pytest.mark.rule("C23")
def test_kindcluster_may_go_before_its_cluster(quick_place: Place) -> None:
    create_owned(quick_place, "first")
    quick_place.delete(KIND_CLUSTERS, "first")
    quick_place.await_gone("first")
    assert quick_place.process.home.find("first") is None
    quick_place.await_condition("first", "InfrastructureReady", "ObjectDeleted", resource=CLUSTERS)
    quick_place.await_condition("first", "Available", "WaitingForInfrastructure", resource=KIND_CONTROL_PLANES)
    quick_place.delete(CLUSTERS, "first")
    quick_place.await_gone("first", CLUSTERS)
    nothing_left(quick_place, "first")


@pytest.mark.rule("C23", "C24")
def test_kindcluster_goes_although_its_cluster_is_gone_already(quick_place: Place) -> None:
    create_owned(quick_place, "orphan")
    quick_place.patch(CLUSTERS, "orphan", {"spec": {"paused": True}})
    quick_place.delete(CLUSTERS, "orphan")
    quick_place.patch(CLUSTERS, "orphan", {"metadata": {"finalizers": None}})
    quick_place.await_gone("orphan", CLUSTERS)
    quick_place.delete(KIND_CONTROL_PLANES, "orphan")
    quick_place.delete(KIND_CLUSTERS, "orphan")
    quick_place.await_gone("orphan")
    nothing_left(quick_place, "orphan")


@pytest.mark.rule("C23")
def test_everything_deleted_at_once_goes_as_with_its_namespace(quick_place: Place) -> None:
    create_owned(quick_place, "swept")
    quick_place.delete(SECRETS, "swept-config")
    quick_place.delete(SECRETS, "swept-kubeconfig")
    for resource in (KIND_CLUSTERS, KIND_CONTROL_PLANES, CLUSTERS):
        quick_place.delete(resource, "swept")
    quick_place.await_gone("swept", CLUSTERS)
    quick_place.await_gone("swept")
    nothing_left(quick_place, "swept")


@pytest.mark.rule("C23")
def test_retained_kind_cluster_outlives_its_object_and_can_be_adopted(quick_place: Place) -> None:
    quick_place.create(standalone("kept", deletionPolicy="Retain"))
    quick_place.await_condition("kept")
    container = quick_place.kind_cluster("kept").uid
    quick_place.delete(KIND_CLUSTERS, "kept")
    quick_place.await_gone("kept")
    assert quick_place.resource_versions("kept") == {}
    assert quick_place.kind_cluster("kept").uid == container


@pytest.mark.rule("C23")
def test_deletion_ends_a_creation_that_is_under_way(own_place: Callable[..., Place]) -> None:
    place = own_place(**{SECONDS_VARIABLE: "60"})
    place.create(standalone("hasty"))
    eventually(lambda: place.process.home.find("hasty"), 60)
    place.delete(KIND_CLUSTERS, "hasty")
    place.await_gone("hasty", seconds=30)
    nothing_left(place, "hasty")


@pytest.mark.rule("C8", "C17", "C20", "C23")
def test_deletion_waits_for_an_engine_that_does_not_answer(own_place: Callable[..., Place]) -> None:
    place = own_place()
    place.create(standalone("cut-off"))
    place.await_condition("cut-off")
    place.kind.answer(False)
    seen = place.await_condition("cut-off", reason="EngineUnreachable")
    assert seen["status"] == "False"
    assert "Start it" in seen["message"]
    assert eventually(lambda: place.events("cut-off")["EngineUnreachable"])["type"] == "Warning"

    place.delete(KIND_CLUSTERS, "cut-off")
    deleting = place.await_condition("cut-off", "Deleting", "EngineUnreachable")
    assert deleting["status"] == "True"
    assert "continues when the engine answers" in deleting["message"]
    unchanged(lambda: place.get(KIND_CLUSTERS, "cut-off")["metadata"]["resourceVersion"], 3)
    assert place.get(KIND_CLUSTERS, "cut-off")["metadata"]["finalizers"] == FINALIZERS

    place.kind.answer(True)
    place.await_gone("cut-off")
    nothing_left(place, "cut-off")
