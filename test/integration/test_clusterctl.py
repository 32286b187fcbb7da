"""What clusterctl does with a release of the provider, on one management cluster."""

import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from test.integration.clusterctl import ManagementCluster, empty, generate, initialise

ROOT = Path(__file__).parents[2]
BASES = ROOT / "config" / "crd" / "bases"
FLAVORS = ["", "development", "ha", "pods", "ports", "registry", "standalone", "topology"]

Generate = Callable[..., str]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ManagementCluster]:
    """A management cluster after `clusterctl init`."""
    with empty(tmp_path_factory.mktemp("initialised")) as one:
        initialise(one)
        yield one


@pytest.fixture(scope="module")
def generated(cluster: ManagementCluster) -> Generate:
    """Returns the output of `generate` for a flavor and arguments; several tests look at the same one."""
    return cache(lambda flavor, *arguments: generate(cluster, flavor, *arguments))


def deployment(documents: str) -> dict[str, Any]:
    (one,) = (one for one in yaml.load_all(documents, yaml.CSafeLoader) if one and one["kind"] == "Deployment")
    return one


@pytest.mark.rule("C34", "C35", "C36", "C38")
def test_init_installs_the_provider(cluster: ManagementCluster) -> None:
    provider = cluster.get("provider", "infrastructure-kind", "-n", "capkind-system")
    assert (provider["type"], provider["version"]) == ("InfrastructureProvider", "v0.1.0")
    manager = cluster.get("deployment", "capkind-controller-manager", "-n", "capkind-system")
    (container,) = manager["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "localhost/cluster-api-provider-kind:v0.1.0"
    assert "--endpoint=auto" in container["args"]
    assert "--leader-election-namespace=$(POD_NAMESPACE)" in container["args"]


@pytest.mark.rule("C34")
def test_init_labels_the_kinds_that_a_move_looks_for(cluster: ManagementCluster) -> None:
    crds = cluster.get("crd", "-l", "clusterctl.cluster.x-k8s.io,cluster.x-k8s.io/provider=infrastructure-kind")
    assert {one["spec"]["names"]["kind"] for one in crds["items"]} == {
        "KINDCluster",
        "KINDClusterTemplate",
        "KINDConfig",
        "KINDConfigTemplate",
        "KINDControlPlane",
        "KINDControlPlaneTemplate",
        "KINDEngineClass",
        "KINDMachine",
        "KINDMachineTemplate",
    }


@pytest.mark.parametrize("crd", sorted(BASES.glob("*.yaml")), ids=lambda path: path.stem.partition("_")[2])
def test_kubectl_explains_the_kind_and_its_spec(cluster: ManagementCluster, crd: Path) -> None:
    definition = yaml.load(crd.read_text(), yaml.CSafeLoader)["spec"]
    (version,) = definition["versions"]
    schema = version["schema"]["openAPIV3Schema"]
    for path, described in ((), schema), (("spec",), schema["properties"]["spec"]):
        name = ".".join([definition["names"]["plural"], *path])
        printed = cluster.kubectl("explain", name, f"--api-version={definition['group']}/{version['name']}")
        description = printed.partition("DESCRIPTION:")[2].partition("FIELDS:")[0]
        assert description.split() == described["description"].split()
        assert "<empty>" not in printed
        for field in described.get("properties", {}).keys() - {"metadata"}:
            assert f"  {field}\t<" in printed


@pytest.mark.rule("C34")
def test_components_follow_the_variables(cluster: ManagementCluster) -> None:
    components = cluster.clusterctl(
        *("generate", "provider", "--infrastructure", "kind:v0.1.0", "--target-namespace", "elsewhere"),
        CAPKIND_RUN_AS_USER="65532",
        CAPKIND_DOCKER_GROUP="998",
        CAPKIND_DOCKER_SOCKET="/run/docker.sock",
        CAPKIND_ENDPOINT="internal",
    )
    one = deployment(components)
    pod = one["spec"]["template"]["spec"]
    assert one["metadata"]["namespace"] == "elsewhere"
    assert (pod["securityContext"]["runAsUser"], pod["securityContext"]["supplementalGroups"]) == (65532, [998])
    assert {"path": "/run/docker.sock", "type": "Socket"} in [volume.get("hostPath") for volume in pod["volumes"]]
    assert "--endpoint=internal" in pod["containers"][0]["args"]
    binding = next(one for one in yaml.load_all(components, yaml.CSafeLoader) if one["kind"] == "ClusterRoleBinding")
    assert binding["subjects"][0]["namespace"] == "elsewhere"


def test_image_can_come_from_a_mirror(cluster: ManagementCluster, tmp_path: Path) -> None:
    configuration = yaml.safe_load(cluster.repository.configuration.read_text())
    configuration["images"] = {"infrastructure-kind": {"repository": "registry.example/mirror"}}
    path = tmp_path / "clusterctl.yaml"
    path.write_text(yaml.safe_dump(configuration))
    components = cluster.clusterctl("generate", "provider", "--infrastructure", "kind:v0.1.0", "--config", str(path))
    (container,) = deployment(components)["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "registry.example/mirror/cluster-api-provider-kind:v0.1.0"


@pytest.mark.rule("C34")
@pytest.mark.parametrize("overlay", ["podman", "remote"])
def test_other_overlays_are_accepted(cluster: ManagementCluster, tmp_path: Path, overlay: str) -> None:
    """The file name in the URL selects the overlay."""
    configuration = yaml.safe_load(cluster.repository.configuration.read_text())
    provider = next(one for one in configuration["providers"] if one["name"] == "kind")
    provider["url"] = provider["url"].replace("components.yaml", f"components-{overlay}.yaml")
    path = tmp_path / "clusterctl.yaml"
    path.write_text(yaml.safe_dump(configuration))
    components = cluster.clusterctl(
        *("generate", "provider", "--infrastructure", "kind:v0.1.0", "--config", str(path)),
        CAPKIND_DOCKER_HOST="tcp://engine.example:2376",
    )
    applied = cluster.kubectl(
        *("apply", "--server-side", "--force-conflicts", "--dry-run=server", "-f", "-"), stdin=components
    )
    assert "deployment.apps/capkind-controller-manager serverside-applied" in applied


def test_plain_installation_is_accepted(cluster: ManagementCluster) -> None:
    install = cluster.repository.folder / "infrastructure-kind" / "v0.1.0" / "install.yaml"
    applied = cluster.kubectl("apply", "--server-side", "--force-conflicts", "--dry-run=server", "-f", str(install))
    assert "deployment.apps/capkind-controller-manager serverside-applied" in applied


@pytest.mark.rule("C37")
@pytest.mark.parametrize("flavor", FLAVORS)
def test_every_flavor_is_accepted(cluster: ManagementCluster, flavor: str) -> None:
    manifests = generate(cluster, flavor, "--target-namespace", "default")
    applied = cluster.kubectl("apply", "--server-side", "--dry-run=server", "-f", "-", stdin=manifests)
    assert len(applied.splitlines()) == len(list(yaml.load_all(manifests, yaml.CSafeLoader)))


@pytest.mark.rule("C37")
@pytest.mark.parametrize("flavor", FLAVORS)
def test_kubernetes_version_is_the_only_variable_to_give(cluster: ManagementCluster, flavor: str) -> None:
    chosen = ["--flavor", flavor] if flavor else []
    listing = cluster.clusterctl("generate", "cluster", "dev", "--list-variables", *chosen)
    required = re.search(r"Required Variables:\n((?:  - .*\n)*)", listing)
    assert required is not None
    assert required[1].split() == ["-", "KUBERNETES_VERSION"]


@pytest.mark.rule("C31", "C37", "C44")
def test_topology_brings_its_class_and_honours_the_counts(cluster: ManagementCluster) -> None:
    counts = ["--control-plane-machine-count", "3", "--worker-machine-count", "2"]
    objects = {one["kind"]: one for one in yaml.load_all(generate(cluster, "topology", *counts), yaml.CSafeLoader)}
    templates = {"KINDClusterTemplate", "KINDControlPlaneTemplate", "KINDMachineTemplate", "KINDConfigTemplate"}
    assert set(objects) == {"Cluster", "ClusterClass", *templates}
    assert objects["ClusterClass"]["metadata"]["name"] == objects["Cluster"]["spec"]["topology"]["classRef"]["name"]
    topology = objects["Cluster"]["spec"]["topology"]
    assert topology["controlPlane"] == {"replicas": 3}
    assert topology["workers"] == {"machineDeployments": [{"class": "worker", "name": "workers", "replicas": 2}]}
    # A template of the class must survive clusterctl's substitution.
    source = next(yaml.safe_load_all((ROOT / "templates" / "clusterclass-kind.yaml").read_text()))
    assert objects["ClusterClass"]["spec"] == source["spec"]


def counts(control_planes: int | None, workers: int | None) -> list[str]:
    options = {"--control-plane-machine-count": control_planes, "--worker-machine-count": workers}
    return [word for option, count in options.items() if count is not None for word in (option, str(count))]


THREE_OF_EACH = counts(3, 3)
FIVE_AND_TEN = counts(5, 10)


@pytest.mark.rule("C37", "C46")
@pytest.mark.parametrize(
    ("flavor", "asked", "made"), [("", [], 1), ("", THREE_OF_EACH, 3), ("ha", [], 3), ("ha", FIVE_AND_TEN, 5)]
)
def test_count_of_control_planes_becomes_the_replicas(
    generated: Generate, flavor: str, asked: list[str], made: int
) -> None:
    objects = {one["kind"]: one for one in yaml.load_all(generated(flavor, *asked), yaml.CSafeLoader)}
    assert objects["KINDControlPlane"]["spec"]["replicas"] == made


@pytest.mark.rule("C37")
@pytest.mark.parametrize(
    ("flavor", "asked", "made"),
    [("", [], 0), ("", THREE_OF_EACH, 3), ("ha", [], 1), ("ha", counts(None, 3), 3), ("ha", FIVE_AND_TEN, 10)],
)
def test_count_of_workers_becomes_the_replicas_of_their_deployment(
    generated: Generate, flavor: str, asked: list[str], made: int
) -> None:
    objects = {one["kind"]: one for one in yaml.load_all(generated(flavor, *asked), yaml.CSafeLoader)}
    assert objects["MachineDeployment"]["spec"]["replicas"] == made


def test_describe_shows_infrastructure_and_control_plane(cluster: ManagementCluster) -> None:
    cluster.kubectl("apply", "-f", "-", stdin=generate(cluster, "", name="shown"))
    tree = cluster.clusterctl("describe", "cluster", "shown")
    assert "KINDCluster default/shown" in tree
    assert "KINDControlPlane default/shown, v1.37.0" in tree


@pytest.mark.rule("C34", "C36")
def test_upgrade_keeps_clusters_and_delete_removes_all_but_them(cluster: ManagementCluster) -> None:
    """Comes last: the other tests need the version that it replaces, and then removes."""
    cluster.kubectl("apply", "-f", "-", stdin=generate(cluster, "standalone"))
    before = cluster.get("kindcluster", "dev")["metadata"]["uid"]

    plan = cluster.clusterctl("upgrade", "plan")
    assert re.search(r"infrastructure-kind +capkind-system +InfrastructureProvider +v0\.1\.0 +v0\.2\.0", plan)
    cluster.clusterctl("upgrade", "apply", "--infrastructure", "kind:v0.2.0")
    manager = cluster.get("deployment", "capkind-controller-manager", "-n", "capkind-system")
    assert manager["spec"]["template"]["spec"]["containers"][0]["image"].endswith(":v0.2.0")
    assert cluster.get("kindcluster", "dev")["metadata"]["uid"] == before

    cluster.clusterctl("delete", "--infrastructure", "kind")
    assert cluster.get("kindcluster", "dev")["metadata"]["uid"] == before
    kinds = "deployments,serviceaccounts,roles,rolebindings,clusterroles,clusterrolebindings,providers"
    left = cluster.get(kinds, "-A", "-l", "cluster.x-k8s.io/provider=infrastructure-kind")
    assert left["items"] == []
