"""What the cluster-autoscaler needs of our objects to scale a MachineDeployment, according to its source.

It finds the Machine of a Node by what follows the last slash of their provider ids, and fails if two Machines have the
same. Sources: kubernetes/autoscaler, cluster-autoscaler/cloudprovider/clusterapi/clusterapi_utils.go,
clusterapi_controller.go, clusterapi_nodegroup.go and clusterapi_unstructured.go.
"""

from collections.abc import Mapping
from typing import Any

import pytest
import yaml

from capk.api.names import CORE_GROUP, KIND_MACHINE_TEMPLATES
from capk.plan.machines import node_of, provider_id
from test.packaging.packaged import ROOT
from test.unit.plan.builders import kindmachine, observe_machine

BOUNDS = {f"{CORE_GROUP}/cluster-api-autoscaler-node-group-{bound}-size" for bound in ("min", "max")}
CAPACITY = {f"capacity.cluster-autoscaler.kubernetes.io/{what}" for what in ("cpu", "memory", "labels")}


@pytest.mark.parametrize("name", ["dev-workers-x7k2p", "helper", "a.b", f"dev-{'long' * 20}"])
def test_provider_id_ends_with_the_name_of_the_container(name: str) -> None:
    """An engine allows a container name once, so that no two Machines have the same."""
    observed = observe_machine(kindmachine(name=name))
    assert provider_id(observed).split("/")[-1] == node_of(observed)
    assert node_of(observed).startswith("dev-")


def deployments() -> list[Any]:
    """Return the MachineDeployments of samples and templates, each with the name of its file."""
    files = [*(ROOT / "config" / "samples").glob("*.yaml"), *(ROOT / "templates").glob("*.yaml")]
    found = [(file.name, one) for file in files for one in yaml.safe_load_all(file.read_text()) if one]
    return [pytest.param(one, id=name) for name, one in found if one["kind"] == "MachineDeployment"]


@pytest.mark.parametrize("deployment", deployments())
def test_deployment_names_its_cluster_and_template(deployment: dict[str, Any]) -> None:
    spec = deployment["spec"]
    reference = spec["template"]["spec"]["infrastructureRef"]
    assert spec["clusterName"] == spec["template"]["spec"]["clusterName"]
    assert (reference["apiGroup"], reference["kind"]) == (KIND_MACHINE_TEMPLATES.group, KIND_MACHINE_TEMPLATES.kind)
    assert spec["selector"] == {"matchLabels": {}}  # core fills it in


@pytest.mark.rule("C56")
def test_page_names_the_annotations_that_the_autoscaler_reads() -> None:
    assert [name for name in sorted(BOUNDS | CAPACITY) if not annotations_of_page().get(name)] == []


@pytest.mark.rule("C56")
@pytest.mark.parametrize("deployment", deployments())
def test_annotations_of_the_page_describe_the_labels_that_pods_select(deployment: dict[str, Any]) -> None:
    """Without them a Pod that selects its operating system would never make the autoscaler add the first node."""
    expected = labels_of_first_node(annotations_of_page())
    assert expected["kubernetes.io/os"] == "linux"
    assert expected["kubernetes.io/arch"] in ("amd64", "arm64")
    assert deployment["spec"]["template"].get("metadata", {}).get("labels", {}).items() <= expected.items()


def annotations_of_page() -> dict[str, str]:
    """Return the annotations that the page about workers gives a MachineDeployment."""
    page = (ROOT / "docs" / "workers.md").read_text()
    _, _, command = page.partition("kubectl annotate machinedeployment demo-workers")
    words = command.partition("```")[0].replace("\\\n", " ").split()
    return {name: value for name, _, value in (word.partition("=") for word in words)}


def labels_of_first_node(annotations: Mapping[str, str]) -> dict[str, str]:
    """Return the labels that the autoscaler expects of a node as long as the group has none.

    A template without `status.nodeInfo` that it may read hides its defaults: both values are empty.
    """
    of_template = {"kubernetes.io/os": "", "kubernetes.io/arch": ""}
    described = annotations["capacity.cluster-autoscaler.kubernetes.io/labels"].split(",")
    return of_template | {name: value for name, _, value in (one.partition("=") for one in described)}
