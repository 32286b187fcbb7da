"""The first steps of a user: `clusterctl init` on a kind management cluster, with the provider in a pod.

One management cluster for all tests, created as in docs/install.md. cert-manager is not available everywhere: its
definitions are installed, so that clusterctl considers it installed, and the webhook certificate of core comes with
core's release.
"""

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from capkdev.binaries import find_binary
from test.e2e import images
from test.e2e.conftest import NewName
from test.e2e.corerelease import with_certificate
from test.e2e.management import NAMESPACE, ManagementCluster, documented_configuration
from test.e2e.real_kind import RealKind
from test.e2e.terminal import OFFLINE, Terminal
from test.integration.api import eventually
from test.integration.provider_process import FAILED
from test.integration.repository import MANIFESTS, Repository

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1500)]
VERSIONS = ("v0.1.0", "v0.2.0")
CREATE_TIMEOUT = "--timeout=400s"
GONE_TIMEOUT = "--timeout=120s"

Figures = dict[str, float]


@pytest.fixture(scope="module")
def figures(request: pytest.FixtureRequest) -> Iterator[Figures]:
    """Measurements, printed at the end; no test depends on them."""
    measured: Figures = {}
    yield measured
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print("\ninstallation: " + ", ".join(f"{what} {value:.1f}" for what, value in measured.items()))


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """The first release of the provider, and core's; with CLUSTER_TOPOLOGY as in docs/install.md."""
    core = with_certificate((MANIFESTS / "cluster-api-components.yaml").read_text())
    mirror = {"cluster-api": {"repository": images.CORE_REPOSITORY, "tag": images.CORE_TAG}}
    settings = {"images": mirror, "CLUSTER_TOPOLOGY": "true"}
    one = Repository(tmp_path_factory.mktemp("repository"), images.PROVIDER_IMAGE, core, settings)
    one.write(VERSIONS[0])
    return one


@pytest.fixture(scope="module")
def installed(
    kind: RealKind, repository: Repository, figures: Figures, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ManagementCluster]:
    """A management cluster after `clusterctl init`; it and all clusters of these tests are deleted at the end."""
    if not kind.is_docker:
        pytest.skip("the provider's image holds Docker's client, and this engine is another one")
    began = time.monotonic()
    with timed(figures, "building the images [s]"):
        loaded = [images.build_core(kind, tmp_path_factory.mktemp("core"))]
        loaded += [images.build_provider(kind, version) for version in VERSIONS]
    figures["the provider's image [MB]"] = images.size(kind, loaded[-1]) / 1e6
    prefix = f"e2e-{os.getpid()}-"
    name = f"{prefix}management"
    try:
        with timed(figures, "kind create cluster [s]"):
            kubeconfig = kind.create(name, documented_configuration())
        with timed(figures, "kind load [s]"):
            kind.load(name, *loaded)
        cluster = ManagementCluster(kind, name, Terminal(kubeconfig, repository.configuration))
        with timed(figures, "clusterctl init [s]"):
            core, none = ("--core", "cluster-api"), ("--bootstrap", "-", "--control-plane", "-")
            try:
                cluster.init(*core, *none, "--infrastructure", "kind")
            except AssertionError as failure:
                raise AssertionError(f"{failure}\n{cluster.explain()}") from None
        yield cluster
    finally:
        kind.delete(name)
        for left in kind.names():
            if left.startswith(prefix):
                kind.delete(left)
        figures["all [s]"] = time.monotonic() - began


@pytest.fixture
def management(installed: ManagementCluster, request: pytest.FixtureRequest) -> Iterator[ManagementCluster]:
    """The management cluster. A failed test shows its logs; no test may reveal a missing right."""
    yield installed
    if request.node.stash.get(FAILED, False):
        print(installed.explain())
    assert "orbidden" not in installed.logs()


@contextmanager
def timed(figures: Figures, what: str) -> Iterator[None]:
    """Measure how long the body takes."""
    began = time.monotonic()
    yield
    figures[what] = time.monotonic() - began


@pytest.mark.rule("C34")
def test_pod_has_no_more_than_it_needs_and_is_healthy(management: ManagementCluster) -> None:
    (name,) = management.pods()
    assert "Read-only file system" in management.shell(name, "touch /touched 2>&1 || true")
    assert management.shell(name, "grep CapEff /proc/self/status").split() == ["CapEff:", "0" * 16]
    # The first process of a container has to reap all orphans.
    management.shell(name, "(sleep 1 &)")
    eventually(lambda: "sleep" not in management.shell(name, "cat /proc/[0-9]*/comm"), 30, 1)
    (status,) = management.pods()[name]["status"]["containerStatuses"]
    assert (status["ready"], status["restartCount"]) == (True, 0)


@pytest.mark.rule("C12", "C13", "C14", "C17", "C23", "C34", "C36", "C37")
def test_cluster_lives_from_generate_over_an_upgrade_of_the_provider_to_its_deletion(
    management: ManagementCluster,
    repository: Repository,
    kind: RealKind,
    new_name: NewName,
    figures: Figures,
    tmp_path: Path,
) -> None:
    name, terminal = new_name("life"), management.terminal
    manifests = terminal.clusterctl("generate", "cluster", name, "--kubernetes-version", kind.version)
    with timed(figures, "until the Cluster is Available [s]"):
        terminal.apply("default", manifests)
        # Core knows only after it has reached the workload cluster's API server from its pod.
        terminal.kubectl("wait", "cluster", name, "--for=condition=Available", CREATE_TIMEOUT)
    terminal.assert_green(name, "default")
    nodes = [f"{name}-control-plane"]

    inside = terminal.clusterctl("get", "kubeconfig", name)
    assert yaml.safe_load(inside)["clusters"][0]["cluster"]["server"] == f"https://{nodes[0]}:6443"
    assert kind.kubectl_inside(inside, "get", "nodes", "--output", "name").split() == [f"node/{nodes[0]}"]
    outside = Terminal.of_secret(terminal.get("secret", f"{name}-config"), "config", tmp_path)
    eventually(lambda: outside.ready_nodes() == nodes, 120, 2)

    containers = kind.containers(name)
    repository.write(*VERSIONS)
    plan = terminal.clusterctl("upgrade", "plan")
    assert plan.split("infrastructure-kind")[1].split()[:4] == [NAMESPACE, "InfrastructureProvider", *VERSIONS]
    with timed(figures, "clusterctl upgrade apply [s]"):
        terminal.clusterctl("upgrade", "apply", "--contract", "v1beta2", "--wait-providers")
        management.await_rollout()
    pod = management.pods()[management.await_leader()]
    assert pod["spec"]["containers"][0]["image"] == images.PROVIDER_IMAGE.format(version=VERSIONS[1])
    terminal.kubectl("annotate", "kindcluster", name, "test=looked-at-by-the-new-one")
    terminal.kubectl("wait", "cluster", name, "--for=condition=Available", GONE_TIMEOUT)
    assert kind.containers(name) == containers

    terminal.kubectl("delete", "cluster", name, GONE_TIMEOUT)
    assert kind.containers(name) == {}
    left = terminal.get("secrets,kindclusters,kindcontrolplanes,clusters", "--namespace", "default")["items"]
    assert [one["metadata"]["name"] for one in left] == []


@pytest.mark.rule("K41")
def test_second_replica_finishes_what_a_killed_leader_began(
    management: ManagementCluster, kind: RealKind, new_name: NewName, figures: Figures
) -> None:
    name, terminal = new_name("taken"), management.terminal
    management.scale(2)
    leader = management.await_leader()
    standalone = ("--flavor", "standalone", "--kubernetes-version", kind.version)
    terminal.apply("default", terminal.clusterctl("generate", "cluster", name, *standalone))
    half_made = eventually(lambda: kind.containers(name), 120, 0.5)

    management.kill(leader)
    with timed(figures, "until another replica leads [s]"):
        # Either the standby, or the replacement of the killed one.
        assert management.await_leader() != leader
    terminal.kubectl("wait", "kindcluster", name, "--for=condition=Ready", CREATE_TIMEOUT)
    whole = kind.containers(name)
    assert list(whole) == [f"{name}-control-plane"]
    assert not set(whole.values()) & set(half_made.values())

    terminal.kubectl("delete", "kindcluster", name, GONE_TIMEOUT)
    assert kind.containers(name) == {}
    management.scale(1)


def test_pod_that_is_told_to_end_while_it_creates_ends_by_itself(
    management: ManagementCluster, kind: RealKind, new_name: NewName, figures: Figures
) -> None:
    name, terminal = new_name("ended"), management.terminal
    pod = management.await_leader()
    standalone = ("--flavor", "standalone", "--kubernetes-version", kind.version)
    terminal.apply("default", terminal.clusterctl("generate", "cluster", name, *standalone))
    eventually(lambda: kind.containers(name), 120, 0.5)
    with watched(terminal, pod) as states:
        terminal.kubectl("delete", "pod", pod, "--namespace", NAMESPACE, GONE_TIMEOUT)
        ended = eventually(lambda: [state["terminated"] for state in states() if "terminated" in state], 30, 0.5)
    assert {one["exitCode"] for one in ended} == {0}
    with timed(figures, "until the next pod leads [s]"):
        management.await_leader()
    terminal.kubectl("wait", "kindcluster", name, "--for=condition=Ready", CREATE_TIMEOUT)
    terminal.kubectl("delete", "kindcluster", name, GONE_TIMEOUT)
    assert kind.containers(name) == {}


@contextmanager
def watched(terminal: Terminal, pod: str) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Watch a pod of the provider; yields a function that returns the container's states so far."""
    log = terminal.kubeconfig.with_name(f"{pod}.states")
    path = "{.status.containerStatuses[0].state}"
    watch = [str(find_binary("kubectl")), "get", "pod", pod, "--namespace", NAMESPACE, "--watch"]
    with log.open("w") as output:
        process = subprocess.Popen(
            [*watch, "--output", f"jsonpath={path}{{'\\n'}}"],
            env={**os.environ, **OFFLINE, "KUBECONFIG": str(terminal.kubeconfig)},
            stdout=output,
        )
        try:
            eventually(log.read_text, 30)
            yield lambda: [json.loads(line) for line in log.read_text().splitlines() if line.endswith("}")]
        finally:
            process.kill()
            process.wait()


@pytest.mark.rule("C34", "C36")
def test_delete_removes_the_provider_and_its_kinds(management: ManagementCluster) -> None:
    """Runs last, because no provider is left afterwards."""
    terminal = management.terminal
    terminal.clusterctl("delete", "--infrastructure", "kind", "--include-crd")
    kinds = "deployments,serviceaccounts,roles,rolebindings,clusterroles,clusterrolebindings,customresourcedefinitions"

    def left() -> list[str]:
        found = terminal.get(kinds, "--all-namespaces", "--selector", "cluster.x-k8s.io/provider=infrastructure-kind")
        return [one["metadata"]["name"] for one in found["items"]]

    # The API server removes the objects of a kind before the kind itself, and clusterctl does not wait for that.
    eventually(lambda: left() == [], 60, 1)
    eventually(lambda: management.pods() == {}, 60, 1)
