"""spec.replicas of a KINDControlPlane with the real core manager: what is made, and what users see of it."""

import re
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from capk.api.names import FIELD_MANAGER, KIND_CLUSTERS, KIND_CONTROL_PLANES
from capk.errors import ApiError
from capkdev.binaries import find_binary
from test.integration.api import CLUSTERS, Object, condition, eventually
from test.integration.provider.journeys import Place, clusterctl, control_plane, kindcluster, owner, unchanged

ASKED, OPEN = "asked", "open"
CONTROL_PLANE_AND_WORKER = [{"role": "control-plane"}, {"role": "worker"}]


def asking(name: str, version: str, **spec: Any) -> Object:
    asked = control_plane(name, version)
    return {**asked, "spec": {**asked["spec"], **spec}}


@pytest.fixture(scope="module")
def counted(place: Place) -> Iterator[Place]:
    """A Cluster whose control plane asks for three nodes, and one whose control plane leaves that open."""
    place.create(
        owner(ASKED), kindcluster(ASKED, nodes=CONTROL_PLANE_AND_WORKER), asking(ASKED, place.version, replicas=3)
    )
    place.create(owner(OPEN), kindcluster(OPEN, nodes=CONTROL_PLANE_AND_WORKER), asking(OPEN, place.version))
    for name in (ASKED, OPEN):
        place.await_condition(name, "Available", resource=CLUSTERS, seconds=120)
        # Written with the first status that counts the nodes, which core does not wait for.
        eventually(lambda name=name: place.get(KIND_CONTROL_PLANES, name)["spec"]["replicas"], 30)
    yield place
    for name in (ASKED, OPEN):
        place.delete(CLUSTERS, name)


def roles(place: Place, name: str) -> list[str]:
    return sorted(node["role"] for node in place.get(KIND_CLUSTERS, name)["status"]["nodes"])


@pytest.mark.rule("C46")
@pytest.mark.parametrize(("name", "count"), [(ASKED, 3), (OPEN, 1)])
def test_as_many_control_planes_as_asked_for_are_made_and_counted(counted: Place, name: str, count: int) -> None:
    assert roles(counted, name).count("control-plane") == count
    assert roles(counted, name).count("worker") == 1
    seen = counted.get(KIND_CONTROL_PLANES, name)
    assert seen["spec"]["replicas"] == count
    counts = [seen["status"][f"{part}eplicas"] for part in ("r", "readyR", "availableR", "upToDateR")]
    assert counts == [count] * 4
    assert condition(counted.get(KIND_CLUSTERS, name), "ClusterCreated").get("message", "") == ""


@pytest.mark.rule("C46")
@pytest.mark.parametrize(("name", "count"), [(ASKED, 3), (OPEN, 1)])
def test_clusterctl_and_kubectl_show_the_wanted_number_beside_the_one_there_is(
    counted: Place, name: str, count: int
) -> None:
    tree = clusterctl(counted, "describe", "cluster", name)
    for kind in ("Cluster", "KINDControlPlane"):
        assert re.search(rf"{kind} {counted.namespace}/{name}.* {count}/{count} ", tree), tree

    def desired() -> str:
        command = [find_binary("kubectl"), "--kubeconfig", counted.management.kubeconfig, "-n", counted.namespace]
        arguments = ["get", "cluster", name, "-o", "jsonpath={.status.controlPlane.desiredReplicas}"]
        return subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=30, check=True).stdout

    assert eventually(desired, 30) == str(count)


@pytest.mark.rule("C29", "C46")
def test_number_that_was_filled_in_is_the_providers_and_no_other_field(counted: Place) -> None:
    fields = {
        entry["manager"]: entry["fieldsV1"].get("f:spec", {})
        for entry in counted.get(KIND_CONTROL_PLANES, OPEN)["metadata"]["managedFields"]
        if entry.get("subresource") != "status"
    }
    assert fields[FIELD_MANAGER] == {"f:replicas": {}}


@pytest.mark.rule("C46")
def test_number_that_is_taken_away_comes_back(counted: Place) -> None:
    counted.patch(KIND_CONTROL_PLANES, ASKED, {"spec": {"replicas": None}})
    eventually(lambda: counted.get(KIND_CONTROL_PLANES, ASKED)["spec"].get("replicas") == 3, 30)


@pytest.mark.rule("C46")
@pytest.mark.parametrize("subresource", ["", "scale"])
def test_change_is_refused_in_plain_words(counted: Place, subresource: str) -> None:
    with pytest.raises(ApiError, match="kind creates the control-plane nodes of a cluster once"):
        counted.patch(KIND_CONTROL_PLANES, ASKED, {"spec": {"replicas": 5}}, subresource)


@pytest.mark.rule("C19", "C46")
def test_nothing_is_written_while_nothing_changes(counted: Place) -> None:
    unchanged(lambda: counted.resource_versions(ASKED) | counted.resource_versions(OPEN), 6)


@pytest.mark.rule("C46")
def test_fewer_than_listed_are_refused_until_the_number_is_put_right(counted: Place) -> None:
    name = "contradiction"
    nodes = [{"role": "control-plane"}] * 3
    counted.create(owner(name), kindcluster(name, nodes=nodes), asking(name, counted.version, replicas=1))
    said = counted.await_condition(name, reason="InvalidConfig", status="False")["message"]
    assert "lists 3 control-plane nodes, but the KINDControlPlane's spec.replicas is 1" in said
    eventually(lambda: said in counted.condition(name, "Available", KIND_CONTROL_PLANES).get("message", ""), 30)
    counted.patch(KIND_CONTROL_PLANES, name, {"spec": {"replicas": 3}})
    counted.await_condition(name, "Available", resource=CLUSTERS, seconds=120)
    counted.delete(CLUSTERS, name)
