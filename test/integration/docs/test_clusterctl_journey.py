"""The commands of README for clusterctl, run exactly as written. Deployments create no pods here."""

import contextlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from capk.api.names import Resource
from capkdev import processes
from capkdev.managementcluster.cluster import LocalManagementCluster
from capkdev.managementcluster.coremanager import CoreManager
from capkdev.managementcluster.options import CORE_MANAGER
from test.integration.api import connected, eventually
from test.integration.clusterctl import OFFLINE, ManagementCluster, empty
from test.integration.documented import commands, run_commands
from test.integration.provider_process import StartProvider

DEFINITIONS = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition")


@pytest.fixture
def empty_cluster(tmp_path: Path) -> Iterator[ManagementCluster]:
    """A management cluster without Cluster API."""
    with empty(tmp_path) as one:
        yield one


@pytest.mark.rule("C34", "C35")
def test_journey_of_the_readme_works_word_for_word(
    empty_cluster: ManagementCluster, provider: StartProvider, tmp_path: Path
) -> None:
    """Local processes replace the Deployments of core and of the provider."""
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
