"""Cluster, KINDCluster and KINDControlPlane with Cluster API's core: the journeys of `clusterctl` users."""

import base64
from pathlib import Path
from typing import Any

import pytest
import yaml

from capk.api.names import KIND_CLUSTERS, KIND_CONTROL_PLANES, SECRETS
from test.e2e.conftest import NewName, StartPlace
from test.e2e.real_kind import RealKind
from test.e2e.terminal import Terminal
from test.integration.api import CLUSTERS, eventually
from test.integration.provider.journeys import Place, kindcluster, owner

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
ROOT = Path(__file__).parents[2]
TEMPLATE = ROOT / "templates" / "cluster-template.yaml"
SAMPLE = ROOT / "config" / "samples" / "cluster.yaml"
CREATE_SECONDS = 400


def renamed(manifests: str, name: str, version: str) -> str:
    """Return the manifests of a Cluster under another name and with another version."""
    documents: list[dict[str, Any]] = list(yaml.safe_load_all(manifests))
    for document in documents:
        document["metadata"]["name"] = name
        for field in ("infrastructureRef", "controlPlaneRef"):
            if field in document["spec"]:
                document["spec"][field]["name"] = name
        if "version" in document["spec"]:
            document["spec"]["version"] = version
    return yaml.safe_dump_all(documents)


@pytest.mark.rule("C12", "C13", "C14", "C17", "C23", "C42")
def test_two_clusters_at_once_become_available_and_go_one_by_one(
    place: Place, terminal: Terminal, kind: RealKind, new_name: NewName
) -> None:
    one, two, namespace = new_name("one"), new_name("two"), place.namespace
    terminal.apply(namespace, terminal.generate(one, namespace, TEMPLATE, kind.version))
    terminal.apply(namespace, renamed(SAMPLE.read_text(), two, kind.version))
    nodes = {one: [f"{one}-control-plane"], two: [f"{two}-control-plane", f"{two}-worker"]}
    for name in (one, two):
        available = place.await_condition(name, "Available", resource=CLUSTERS, seconds=CREATE_SECONDS)
        assert available["message"] == ""
        terminal.assert_green(name, namespace)
        eventually(lambda name=name: terminal.workload(name, namespace).ready_nodes() == nodes[name], 120, 2)
        control_plane = place.get(KIND_CONTROL_PLANES, name)["status"]
        assert (control_plane["replicas"], control_plane["version"]) == (1, kind.version)

    containers = kind.containers(two)
    terminal.kubectl("delete", "cluster", one, "--namespace", namespace)
    assert kind.containers(one) == {}
    assert {secret["metadata"]["name"] for secret in place.api.list(SECRETS, namespace)} == {
        f"{two}-config",
        f"{two}-kubeconfig",
    }
    assert kind.containers(two) == containers
    assert place.condition(two, "Available", CLUSTERS)["status"] == "True"

    terminal.kubectl("delete", "cluster", two, "--namespace", namespace)
    assert kind.containers(two) == {}
    assert place.api.list(SECRETS, namespace) == []
    assert place.api.list(KIND_CLUSTERS, namespace) == []


@pytest.mark.rule("C14")
def test_internal_endpoint_works_on_the_network_of_the_containers(
    start_place: StartPlace, kind: RealKind, new_name: NewName
) -> None:
    name = new_name("inside")
    place = start_place("--endpoint", "internal")
    place.create(owner(name, with_control_plane=False), kindcluster(name))
    place.await_condition(name, "Ready", seconds=CREATE_SECONDS)
    node = f"{name}-control-plane"
    assert place.get(KIND_CLUSTERS, name)["spec"]["controlPlaneEndpoint"] == {"host": node, "port": 6443}

    kubeconfig = base64.b64decode(place.get(SECRETS, f"{name}-kubeconfig")["data"]["value"]).decode()
    assert yaml.safe_load(kubeconfig)["clusters"][0]["cluster"]["server"] == f"https://{node}:6443"
    # Another container on that network, like the node of a provider's pod.
    listed = kind.kubectl_inside(kubeconfig, "get", "nodes", "--output", "name")
    assert listed.split() == [f"node/{node}"]
    # The other Secret still has the address for the engine's machine.
    outside = base64.b64decode(place.get(SECRETS, f"{name}-config")["data"]["config"]).decode()
    assert "https://127.0.0.1:" in yaml.safe_load(outside)["clusters"][0]["cluster"]["server"]
