"""While the Cluster or the object is paused, nothing is done; afterwards everything is caught up."""

from collections.abc import Callable

import pytest

from capk.api.names import (
    BLOCK_MOVE_ANNOTATION,
    DELETE_FOR_MOVE_ANNOTATION,
    KIND_CLUSTERS,
    KIND_CONTROL_PLANES,
    PAUSED_ANNOTATION,
    SECRETS,
)
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


@pytest.mark.rule("C7")
@pytest.mark.parametrize("by_annotation", [False, True], ids=["by its Cluster", "by annotation"])
def test_paused_object_is_not_created(quick_place: Place, by_annotation: bool) -> None:
    name = "stopped" if by_annotation else "paused"
    cluster = kindcluster(name)
    if by_annotation:
        cluster["metadata"]["annotations"] = {PAUSED_ANNOTATION: ""}
    quick_place.create(owner(name, with_control_plane=False, **({} if by_annotation else {"paused": True})))
    if not by_annotation:
        # Core sets no owner on a paused Cluster's objects; clusterctl move creates them with their owner.
        uid = quick_place.get(CLUSTERS, name)["metadata"]["uid"]
        reference = {"apiVersion": CLUSTERS.api_version, "kind": "Cluster", "name": name, "uid": uid}
        cluster["metadata"]["ownerReferences"] = [reference]
    quick_place.create(cluster)
    paused = quick_place.await_condition(name, "Paused", "Paused")
    cause = "KINDCluster has the cluster.x-k8s.io/paused annotation" if by_annotation else "Cluster spec.paused is set"
    assert cause in paused["message"]
    eventually(lambda: quick_place.get(KIND_CLUSTERS, name)["metadata"].get("ownerReferences"), 60)
    unchanged(lambda: quick_place.get(KIND_CLUSTERS, name)["metadata"]["resourceVersion"], 2)
    assert quick_place.kind.creations(name) == 0

    if by_annotation:
        quick_place.patch(KIND_CLUSTERS, name, {"metadata": {"annotations": {PAUSED_ANNOTATION: None}}})
    else:
        quick_place.patch(CLUSTERS, name, {"spec": {"paused": None}})
    quick_place.await_condition(name)
    assert quick_place.condition(name, "Paused")["reason"] == "NotPaused"
    quick_place.delete(CLUSTERS, name)


@pytest.mark.rule("C7", "C8", "C15", "C26")
def test_what_was_removed_during_a_pause_comes_back_after_it(quick_place: Place) -> None:
    """As in Cluster API's test framework: finalizers and owner references of all our objects and Secrets."""
    name = "stripped"
    quick_place.create(owner(name), kindcluster(name), control_plane(name))
    quick_place.await_condition(name)
    quick_place.await_condition(name, "Available", resource=KIND_CONTROL_PLANES)
    quick_place.patch(CLUSTERS, name, {"spec": {"paused": True}})
    for resource in (KIND_CLUSTERS, KIND_CONTROL_PLANES):
        quick_place.await_condition(name, "Paused", "Paused", resource=resource)
    secrets = (f"{name}-config", f"{name}-kubeconfig")
    owners = {secret: quick_place.get(SECRETS, secret)["metadata"]["ownerReferences"] for secret in secrets}
    bare = {"metadata": {"finalizers": None, "ownerReferences": None}}
    for secret in secrets:
        quick_place.patch(SECRETS, secret, bare)
    unchanged(lambda: quick_place.resource_versions(f"{name}-"), 2)
    for resource in (KIND_CLUSTERS, KIND_CONTROL_PLANES):
        quick_place.patch(resource, name, bare)
    quick_place.patch(CLUSTERS, name, {"spec": {"paused": None}})

    def restored() -> bool:
        assert quick_place.get(KIND_CLUSTERS, name)["metadata"]["finalizers"] == FINALIZERS
        for secret, references in owners.items():
            assert quick_place.get(SECRETS, secret)["metadata"]["ownerReferences"] == references
        return True

    eventually(restored, 60)
    quick_place.await_condition(name)
    quick_place.delete(CLUSTERS, name)
    quick_place.await_gone(name, CLUSTERS)


@pytest.mark.rule("C25")
def test_object_that_was_moved_away_takes_nothing_with_it(quick_place: Place) -> None:
    """The steps of `clusterctl move` at its source, in that order."""
    quick_place.create(standalone("moved"))
    quick_place.await_condition("moved")
    container = quick_place.kind_cluster("moved").uid
    replaced = {"metadata": {"annotations": None}}
    quick_place.patch(KIND_CLUSTERS, "moved", {"metadata": {"annotations": {PAUSED_ANNOTATION: ""}}})
    quick_place.await_condition("moved", "Paused", "Paused")
    quick_place.patch(
        KIND_CLUSTERS, "moved", replaced | {"metadata": {"annotations": _only_delete_for_move(quick_place)}}
    )
    quick_place.delete(KIND_CLUSTERS, "moved")
    unchanged(lambda: quick_place.get(KIND_CLUSTERS, "moved")["metadata"]["resourceVersion"], 3)
    quick_place.patch(KIND_CLUSTERS, "moved", {"metadata": {"finalizers": None}})
    quick_place.await_gone("moved")
    assert quick_place.kind_cluster("moved").uid == container
    quick_place.process.home.remove(quick_place.kind_cluster("moved"))
    quick_place.delete(SECRETS, "moved-config")


def _only_delete_for_move(place: Place) -> dict[str, str | None]:
    annotations = place.get(KIND_CLUSTERS, "moved")["metadata"]["annotations"]
    return dict.fromkeys(annotations) | {DELETE_FOR_MOVE_ANNOTATION: ""}


@pytest.mark.rule("C7", "C30")
def test_move_waits_for_a_creation_even_while_it_is_paused(own_place: Callable[..., Place]) -> None:
    """`clusterctl move` pauses first and then waits until the annotation is removed."""
    place = own_place(**{SECONDS_VARIABLE: "4"})
    place.create(standalone("busy"))
    eventually(lambda: place.process.home.find("busy"), 60)
    assert BLOCK_MOVE_ANNOTATION in place.get(KIND_CLUSTERS, "busy")["metadata"]["annotations"]
    place.patch(KIND_CLUSTERS, "busy", {"metadata": {"annotations": {PAUSED_ANNOTATION: ""}}})
    place.await_condition("busy", "Paused", "Paused")
    assert BLOCK_MOVE_ANNOTATION in place.get(KIND_CLUSTERS, "busy")["metadata"]["annotations"]

    def released() -> bool:
        return BLOCK_MOVE_ANNOTATION not in place.get(KIND_CLUSTERS, "busy")["metadata"]["annotations"]

    eventually(released, 60)
    assert place.condition("busy", "Ready").get("status") != "True"
    container = place.kind_cluster("busy").uid
    place.patch(KIND_CLUSTERS, "busy", {"metadata": {"annotations": {PAUSED_ANNOTATION: None}}})
    place.await_condition("busy")
    assert place.kind_cluster("busy").uid == container
    assert place.kind.creations("busy") == 1
