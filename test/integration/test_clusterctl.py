"""The real clusterctl with a local management cluster and a repository from hack/release.py. No network.

It has only an API server: no pod runs, and deleted namespaces stay Terminating.
"""

import contextlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from capk.api.names import Resource
from capkdev import processes
from capkdev.managementcluster.cluster import LocalManagementCluster
from capkdev.managementcluster.coremanager import CoreManager
from capkdev.managementcluster.options import CORE_MANAGER, Options
from test.integration.api import connected, eventually
from test.integration.documented import commands, run_commands
from test.integration.provider_process import StartProvider
from test.integration.repository import CORE, Repository

ROOT = Path(__file__).parents[2]
BIN = ROOT / "bin"
DEFINITIONS = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition")
FLAVORS = ["", "development", "ha", "ports", "registry", "standalone", "topology"]
OFFLINE = {"CLUSTERCTL_DISABLE_VERSIONCHECK": "true", "GOPROXY": "off"}
INIT = ["init", "--core", f"cluster-api:{CORE}", "--bootstrap", "-", "--control-plane", "-"]


@dataclass(frozen=True)
class ManagementCluster:
    """A management cluster and the repository that clusterctl uses with it."""

    kubeconfig: Path
    repository: Repository

    def clusterctl(self, *arguments: str, **variables: str) -> str:
        """Run clusterctl and return its output; variables go into its environment."""
        return self.attempt("clusterctl", "--config", str(self.repository.configuration), *arguments, **variables)

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        return self.attempt("kubectl", *arguments, stdin=stdin)

    def get(self, *arguments: str) -> dict[str, Any]:
        return json.loads(self.kubectl("get", "-o", "json", *arguments))

    def attempt(self, command: str, *arguments: str, stdin: str | None = None, **variables: str) -> str:
        environment = {**os.environ, **OFFLINE, "KUBECONFIG": str(self.kubeconfig), **variables}
        return run(BIN / command, *arguments, input=stdin, env=environment)


def run(*command: str | Path, **options: Any) -> str:
    """Run a command and return its standard output; an AssertionError has all its output.

    options: those of subprocess.run; `input` is a text.
    """
    words = [str(word) for word in command]
    result = subprocess.run(words, capture_output=True, text=True, timeout=180, **options)
    assert result.returncode == 0, f"{command[0]} failed:\n{result.stdout}\n{result.stderr}"
    return result.stdout


@pytest.fixture
def empty_cluster(tmp_path: Path) -> Iterator[ManagementCluster]:
    """A management cluster without Cluster API."""
    yield from managements(tmp_path)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ManagementCluster]:
    """A management cluster after `clusterctl init`."""
    for one in managements(tmp_path_factory.mktemp("initialised")):
        initialise(one)
        yield one


def managements(folder: Path) -> Iterator[ManagementCluster]:
    repository = Repository(folder / "repository")
    repository.folder.mkdir()
    repository.write("v0.1.0", "v0.2.0")
    with LocalManagementCluster(folder / "management", Options(core=False, definitions=False)) as management:
        one = ManagementCluster(management.kubeconfig, repository)
        # clusterctl considers cert-manager installed if its kinds are served.
        one.kubectl("apply", "--server-side", "-f", str(BIN / "manifests" / "cert-manager-crds.yaml"))
        yield one


def initialise(cluster: ManagementCluster) -> None:
    cluster.clusterctl(*INIT, "--infrastructure", "kind:v0.1.0", CLUSTER_TOPOLOGY="true")
    # No process serves core's webhooks here.
    for kind in ("mutatingwebhookconfigurations", "validatingwebhookconfigurations"):
        cluster.kubectl("delete", kind, "--all")


def generate(cluster: ManagementCluster, flavor: str, *arguments: str, name: str = "dev") -> str:
    chosen = ["--flavor", flavor] if flavor else []
    version = ["--kubernetes-version", "v1.37.0"]
    return cluster.clusterctl("generate", "cluster", name, *version, *chosen, *arguments)


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
        "KINDMachine",
        "KINDMachineTemplate",
    }


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


@pytest.mark.rule("C37", "C46")
@pytest.mark.parametrize(("flavor", "asked", "made"), [("", None, 1), ("", 3, 3), ("ha", None, 3), ("ha", 5, 5)])
def test_count_of_control_planes_becomes_the_replicas(
    cluster: ManagementCluster, flavor: str, asked: int | None, made: int
) -> None:
    counts = ["--control-plane-machine-count", str(asked)] if asked else []
    objects = {one["kind"]: one for one in yaml.load_all(generate(cluster, flavor, *counts), yaml.CSafeLoader)}
    assert objects["KINDControlPlane"]["spec"]["replicas"] == made


@pytest.mark.rule("C37")
@pytest.mark.parametrize(
    ("flavor", "asked", "made"), [("", None, 0), ("", 3, 3), ("ha", None, 1), ("ha", 3, 3), ("ha", 10, 10)]
)
def test_count_of_workers_becomes_the_replicas_of_their_deployment(
    cluster: ManagementCluster, flavor: str, asked: int | None, made: int
) -> None:
    counts = ["--worker-machine-count", str(asked)] if asked else []
    objects = {one["kind"]: one for one in yaml.safe_load_all(generate(cluster, flavor, *counts))}
    assert objects["MachineDeployment"]["spec"]["replicas"] == made


def test_describe_shows_infrastructure_and_control_plane(cluster: ManagementCluster) -> None:
    cluster.kubectl("apply", "-f", "-", stdin=generate(cluster, "", name="shown"))
    tree = cluster.clusterctl("describe", "cluster", "shown")
    assert "KINDCluster default/shown" in tree
    assert "KINDControlPlane default/shown, v1.37.0" in tree


@pytest.mark.rule("C34", "C36")
def test_upgrade_keeps_clusters_and_delete_removes_all_but_them(empty_cluster: ManagementCluster) -> None:
    initialise(empty_cluster)
    empty_cluster.kubectl("apply", "-f", "-", stdin=generate(empty_cluster, "standalone"))
    before = empty_cluster.get("kindcluster", "dev")["metadata"]["uid"]

    plan = empty_cluster.clusterctl("upgrade", "plan")
    assert re.search(r"infrastructure-kind +capkind-system +InfrastructureProvider +v0\.1\.0 +v0\.2\.0", plan)
    empty_cluster.clusterctl("upgrade", "apply", "--infrastructure", "kind:v0.2.0")
    manager = empty_cluster.get("deployment", "capkind-controller-manager", "-n", "capkind-system")
    assert manager["spec"]["template"]["spec"]["containers"][0]["image"].endswith(":v0.2.0")
    assert empty_cluster.get("kindcluster", "dev")["metadata"]["uid"] == before

    empty_cluster.clusterctl("delete", "--infrastructure", "kind")
    assert empty_cluster.get("kindcluster", "dev")["metadata"]["uid"] == before
    kinds = "deployments,serviceaccounts,roles,rolebindings,clusterroles,clusterrolebindings,providers"
    left = empty_cluster.get(kinds, "-A", "-l", "cluster.x-k8s.io/provider=infrastructure-kind")
    assert left["items"] == []


@pytest.mark.rule("C34", "C35")
def test_journey_of_the_readme_works_word_for_word(
    empty_cluster: ManagementCluster, provider: StartProvider, tmp_path: Path
) -> None:
    """Deployments create no pods here, so local processes replace core's and the provider's."""
    configuration = tmp_path / "config" / "cluster-api" / "clusterctl.yaml"
    configuration.parent.mkdir(parents=True)
    shutil.copy(empty_cluster.repository.configuration, configuration)
    variables = {**OFFLINE, "XDG_CONFIG_HOME": str(tmp_path / "config"), "CLUSTER_TOPOLOGY": "true"}
    [script] = commands("clusterctl")
    init, _, rest = script.partition("\n")
    run_commands(init, empty_cluster.kubeconfig, tmp_path, **variables)

    management = LocalManagementCluster(empty_cluster.kubeconfig.parent)
    with core_of(management), connected(management) as api:
        process = provider(management, "default")
        # The fake kind has only one version, for any node image.
        version = api.rest.request("GET", "/version")["gitVersion"]
        printed = run_commands(rest.replace("v1.37.0", version), management.kubeconfig, tmp_path, **variables)
    assert "cluster.cluster.x-k8s.io/dev condition met" in printed
    assert re.search(r"^Cluster default/dev .* True +Available", printed, re.MULTILINE), printed
    assert re.search(r"^dev-control-plane +Ready", printed, re.MULTILINE), printed
    assert process.home.names() == []

    # No garbage collector runs here; elsewhere it deletes what the Cluster owns.
    empty_cluster.kubectl("delete", "kindmachinetemplates", "--all")
    empty_cluster.clusterctl("delete", "--infrastructure", "kind", "--include-crd")
    ours = ["crd,clusterroles,providers", "-A", "-l", "cluster.x-k8s.io/provider=infrastructure-kind"]
    eventually(lambda: empty_cluster.get(*ours)["items"] == [])


@contextlib.contextmanager
def core_of(management: LocalManagementCluster) -> Iterator[None]:
    """Run the core manager of a Deployment, and send conversions and webhooks to it."""
    core = CoreManager(management.directory)
    with connected(management) as api:
        for kind in ("validatingwebhookconfigurations", "mutatingwebhookconfigurations"):
            api.rest.request("DELETE", f"/apis/admissionregistration.k8s.io/v1/{kind}")
        # A conversion webhook with a Service must not have a URL too.
        for definition in api.list(DEFINITIONS, selector="cluster.x-k8s.io/provider%3Dcluster-api"):
            api.patch(DEFINITIONS, "", definition["metadata"]["name"], {"spec": {"conversion": None}})
        core.prepare(api.rest)
    child = processes.start(management.directory, CORE_MANAGER, core.command())
    try:
        core.await_ready()
        yield
    finally:
        processes.end(management.directory, CORE_MANAGER)
        child.wait()
