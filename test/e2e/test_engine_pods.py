"""Engines in Pods: a management cluster of the real kind with two nodes for engines, and a provider without a socket.

All tests share the management cluster. The node image comes from a mirror that the class names, as docs/engines.md
recommends, so that no test needs the internet.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import yaml

from test.e2e import images
from test.e2e.corerelease import with_certificate
from test.e2e.imagemirror import ImageMirror
from test.e2e.management import NAMESPACE, ManagementCluster
from test.e2e.podengines import (
    CONFIGURATION,
    ENGINES,
    PodEngine,
    engine_objects,
    processes,
    provider_seconds,
    seconds_of_steps,
    traces,
)
from test.e2e.real_kind import RealKind
from test.e2e.terminal import Terminal
from test.integration.api import Object, eventually
from test.integration.provider.journeys import control_plane, kindcluster, owner, standalone
from test.integration.provider_process import FAILED
from test.integration.repository import MANIFESTS, Repository

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1500)]
VERSION = "v0.1.0"
CREATE_TIMEOUT = "--timeout=600s"
GONE_TIMEOUT = "--timeout=180s"
PATIENCE_SECONDS = 300
PORT = 30080
HOSTNAME = "kubernetes.io/hostname"
KUBELET_PORT = 10250
"""Of a node; without a certificate, it answers 401."""

Figures = dict[str, float]


@pytest.fixture(scope="module")
def figures(request: pytest.FixtureRequest) -> Iterator[Figures]:
    """Measurements, printed at the end; no test depends on them."""
    measured: Figures = {}
    yield measured
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print("\nengines in Pods: " + ", ".join(f"{what} {value:.1f}" for what, value in measured.items()))


@contextmanager
def timed(figures: Figures, what: str) -> Iterator[None]:
    """Measure how long the body takes, in seconds."""
    began = time.monotonic()
    yield
    figures[f"{what} [s]"] = time.monotonic() - began


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """A release of the provider, of which the file without an engine of its own is installed, and core's."""
    core = with_certificate((MANIFESTS / "cluster-api-components.yaml").read_text())
    settings = {"images": {"cluster-api": {"repository": images.CORE_REPOSITORY, "tag": images.CORE_TAG}}}
    components = "infrastructure-components-pods.yaml"
    one = Repository(tmp_path_factory.mktemp("repository"), images.PROVIDER_IMAGE, core, settings, components)
    one.write(VERSION)
    return one


@pytest.fixture(scope="module")
def mirror(kind: RealKind, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ImageMirror]:
    """A mirror of docker.io with the node image of these tests, already saved."""
    with ImageMirror(kind, tmp_path_factory.mktemp("mirror")).running() as running:
        running.manifest(*kind.image.rsplit(":", 1))
        yield running


@pytest.fixture(scope="module")
def installed(
    kind: RealKind,
    repository: Repository,
    mirror: ImageMirror,
    figures: Figures,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[ManagementCluster]:
    """A management cluster after `clusterctl init`, with two nodes for engines and two classes."""
    if not kind.is_docker:
        pytest.skip("engines in Pods are Docker's, and this engine is another one")
    began = time.monotonic()
    with timed(figures, "images"):
        images.require(kind, images.ENGINE_IMAGE, "ENGINE_IMAGE", "an image like docker:dind")
        loaded = [images.build_core(kind, tmp_path_factory.mktemp("core")), images.build_provider(kind, VERSION)]
    name = f"e2e-{os.getpid()}-engines"
    try:
        with timed(figures, "kind create cluster"):
            cluster = ManagementCluster(
                kind, name, Terminal(kind.create(name, CONFIGURATION), repository.configuration)
            )
        engine_nodes = [f"{name}-worker", f"{name}-worker2"]
        with timed(figures, "kind load"):
            kind.load(name, *loaded, nodes=[f"{name}-control-plane"])
            kind.load(name, images.ENGINE_IMAGE, nodes=engine_nodes)
        with timed(figures, "clusterctl init"):
            install(cluster, repository, engine_nodes)
        cluster.terminal.apply("default", yaml.safe_dump_all(classes(mirror, engine_nodes[0])))
        yield cluster
    finally:
        kind.delete(name)
        figures["all [s]"] = time.monotonic() - began


def install(cluster: ManagementCluster, repository: Repository, engine_nodes: list[str]) -> None:
    """Take the steps of docs/engines.md: nodes for engines, their namespace, and the provider beside them."""
    kubectl = cluster.terminal.kubectl
    # Everything but the engines runs on the control plane.
    kubectl("taint", "node", f"{cluster.name}-control-plane", "node-role.kubernetes.io/control-plane-")
    kubectl("label", "node", *engine_nodes, "kind-engines=true")
    kubectl("taint", "node", *engine_nodes, "kind-engines=true:NoSchedule")
    namespace = repository.folder / "infrastructure-kind" / VERSION / "engine-namespace.yaml"
    kubectl("apply", "--server-side", "--filename", str(namespace))
    try:
        cluster.init("--core", "cluster-api", "--bootstrap", "-", "--control-plane", "-", "--infrastructure", "kind")
    except AssertionError as failure:
        raise AssertionError(f"{failure}\n{cluster.explain()}") from None


def classes(mirror: ImageMirror, node: str) -> list[Object]:
    """Return a class whose engines keep their data on their node, and one with a volume for each engine, on one node.

    Not every provisioner says on which node a volume is.
    """

    def pods(**labels: str) -> dict[str, Any]:
        tolerations = [{"key": "kind-engines", "operator": "Exists"}]
        template = {"nodeSelector": {"kind-engines": "true", **labels}, "tolerations": tolerations}
        return {"image": images.ENGINE_IMAGE, "images": {"mirrors": [mirror.url]}, "podTemplate": {"spec": template}}

    kept = {"storage": {"claim": {"size": "8Gi"}}}
    return [engine_class("pods", pods()), engine_class("kept", {**pods(**{HOSTNAME: node}), **kept})]


def engine_class(name: str, pods: dict[str, Any]) -> Object:
    return {
        "apiVersion": "infrastructure.cluster.x-k8s.io/v1alpha1",
        "kind": "KINDEngineClass",
        "metadata": {"name": name},
        "spec": {"namespaceSelector": {}, "pods": pods},
    }


@pytest.fixture
def management(installed: ManagementCluster, request: pytest.FixtureRequest) -> Iterator[ManagementCluster]:
    """The management cluster. A failed test shows its state; no test may reveal a missing right."""
    yield installed
    if request.node.stash.get(FAILED, False):
        print(installed.explain())
        print(installed.terminal.kubectl("get", "kindclusters", "--all-namespaces", "--output", "yaml"))
        print(installed.terminal.kubectl("get", "pods", "--namespace", ENGINES, "--output", "yaml"))
    assert "orbidden" not in installed.logs()


@pytest.fixture(scope="module")
def pair(installed: ManagementCluster, kind: RealKind, figures: Figures) -> tuple[PodEngine, PodEngine]:
    """Two Clusters, applied together, with a worker each: of a MachineDeployment, and of kind with a mapped port."""
    terminal, before = installed.terminal, provider_seconds(installed)
    words = ("--flavor", "pods", "--kubernetes-version", kind.version, "--worker-machine-count", "1")
    generated = terminal.clusterctl("generate", "cluster", "one", *words)
    ports = [{"containerPort": KUBELET_PORT, "hostPort": PORT}]
    nodes = [{"role": "control-plane"}, {"role": "worker", "extraPortMappings": ports}]
    spec = {"engine": {"className": "pods"}, "image": kind.image, "nodes": nodes}
    two = [owner("two"), control_plane("two", kind.version), kindcluster("two", **spec)]
    terminal.apply("default", "---\n".join([generated, yaml.safe_dump_all(two)]))
    engines = PodEngine(installed, "one"), PodEngine(installed, "two")
    with timed(figures, "two Clusters Available"):
        terminal.kubectl("wait", "cluster", "one", "two", "--for=condition=Available", CREATE_TIMEOUT)
    figures["the provider's processor time for each [s]"] = (provider_seconds(installed) - before) / 2
    for engine in engines:
        figures.update(seconds_of_steps(engine))
    return engines


def await_reason(engine: PodEngine, kind: str, reason: str) -> dict[str, Any]:
    """Wait until a condition of the KINDCluster has a reason, and return it."""

    def seen() -> dict[str, Any]:
        found = engine.condition(kind)
        assert found.get("reason") == reason, found
        return found

    return eventually(seen, PATIENCE_SECONDS, 0.5)


def test_provider_has_no_engine_of_its_own_and_no_power_over_its_node(management: ManagementCluster) -> None:
    terminal = management.terminal
    namespace = terminal.get("namespace", NAMESPACE)
    assert "privileged" not in namespace["metadata"].get("labels", {}).values()
    (pod,) = management.pods().values()
    assert not [volume for volume in pod["spec"]["volumes"] if "hostPath" in volume]
    assert management.shell(pod["metadata"]["name"], "ls /var/run/docker.sock 2>&1 || true").endswith(
        "No such file or directory\n"
    )

    terminal.apply("default", yaml.safe_dump(standalone("alone", nodes=[{"role": "control-plane"}])))
    assert (
        "no container engine of its own"
        in await_reason(PodEngine(management, "alone"), "Ready", "EngineClassNotFound")["message"]
    )
    terminal.kubectl("delete", "kindcluster", "alone", GONE_TIMEOUT)


def test_two_clusters_come_up_together_each_on_a_node_of_its_own(
    management: ManagementCluster, pair: tuple[PodEngine, PodEngine], mirror: ImageMirror, kind: RealKind
) -> None:
    one, two = pair
    assert {one.node, two.node} == {f"{management.name}-worker", f"{management.name}-worker2"}
    assert [engine.kindcluster["status"]["engine"]["node"] for engine in pair] == [one.node, two.node]
    for engine in pair:
        management.terminal.assert_green(engine.cluster, "default")
        host = engine.kindcluster["spec"]["controlPlaneEndpoint"]
        assert host == {"host": f"{engine.name}.{ENGINES}.svc", "port": 6443}
        names = eventually(lambda engine=engine: nodes if len(nodes := engine.ready_nodes()) == 2 else [], 120, 2)
        assert names[0] == f"{engine.cluster}-control-plane"
    assert kind.image in mirror.pulls
    # The kubelet of the worker, whose port kind publishes in the Pod, and the Service outside of it.
    assert two.status_of_https(PORT) == 401


def test_killed_docker_comes_back_with_its_cluster(
    management: ManagementCluster, pair: tuple[PodEngine, PodEngine], figures: Figures
) -> None:
    one, _ = pair
    one.kubectl("create", "configmap", "kept", "--namespace", "default")
    before, restarts = one.containers(), one.restarts
    one.shell("kill -9 $(cat /var/run/docker.pid)")
    with timed(figures, "Ready after kill -9 of dockerd"):
        eventually(lambda: one.kindcluster["status"]["engine"]["restarts"] == restarts + 1, PATIENCE_SECONDS, 0.5)
        management.terminal.kubectl("wait", "kindcluster", "one", "--for=condition=Ready", CREATE_TIMEOUT)
    assert one.containers() == before
    eventually(lambda: one.kubectl("get", "configmap", "kept", "--namespace", "default"), PATIENCE_SECONDS, 2)
    eventually(lambda: len(one.ready_nodes()) == 2, PATIENCE_SECONDS, 2)
    management.terminal.kubectl("wait", "cluster", "one", "--for=condition=Available", CREATE_TIMEOUT)


def test_drained_node_takes_its_cluster_along_and_the_object_reports_it(
    management: ManagementCluster, pair: tuple[PodEngine, PodEngine]
) -> None:
    one, two = pair
    kubectl, node, name = management.terminal.kubectl, two.node, two.name
    with pytest.raises(AssertionError, match="declare no controller"):
        kubectl("drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=60s")
    kubectl("drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=120s")
    try:
        message = await_reason(two, "Ready", "Missing")["message"]
        assert f"{ENGINES}/{name}" in message
        # The API server of the other one may have just been restarted.
        eventually(lambda: one.condition("Ready")["status"] == "True", PATIENCE_SECONDS, 1)
        assert "Pod" not in {line.split()[0] for line in engine_objects(management.terminal) if name in line}
    finally:
        kubectl("uncordon", node)


def test_deletion_leaves_nothing_in_the_namespace_and_on_the_nodes(
    management: ManagementCluster, pair: tuple[PodEngine, PodEngine], figures: Figures
) -> None:
    one, _ = pair
    node, uid, terminal = one.node, one.pod["metadata"]["uid"], management.terminal
    assert "dockerd" in processes(management, node)
    assert uid in traces(management, node, uid)
    with timed(figures, "two Clusters gone"):
        terminal.kubectl("delete", "cluster", "one", "two", GONE_TIMEOUT)
    assert engine_objects(terminal) == []
    kinds = "secrets,kindclusters,kindcontrolplanes,kindmachines,machines,clusters"
    assert terminal.get(kinds, "--namespace", "default")["items"] == []
    eventually(lambda: traces(management, node, uid) == "", 60, 1)
    for node in (f"{management.name}-worker", f"{management.name}-worker2"):
        assert "dockerd" not in processes(management, node)


def test_cluster_on_a_volume_is_stopped_and_continues(
    management: ManagementCluster, kind: RealKind, figures: Figures
) -> None:
    terminal, engine = management.terminal, PodEngine(management, "kept")
    # On some clusters of kind, volumes are in memory, and count for the Pod that writes to them.
    in_pod = {"className": "kept", "resources": {"memory": "4Gi"}}
    cluster = standalone("kept", engine=in_pod, image=kind.image, nodes=[{"role": "control-plane"}])
    terminal.apply("default", yaml.safe_dump(cluster))
    with timed(figures, "on a volume, Ready"):
        terminal.kubectl("wait", "kindcluster", "kept", "--for=condition=Ready", CREATE_TIMEOUT)
    engine.kubectl("create", "configmap", "kept", "--namespace", "default")
    before, name = engine.containers(), engine.name

    power(terminal, "Stopped")
    with timed(figures, "stopped"):
        await_reason(engine, "EngineAvailable", "Stopped")
        eventually(lambda: f"Pod {name}" not in engine_objects(terminal), PATIENCE_SECONDS, 0.5)
    assert set(engine_objects(terminal)) == {
        f"{what} {name}" for what in ("Service", "Secret", "PersistentVolumeClaim")
    }

    power(terminal, "Running")
    with timed(figures, "continued, Ready"):
        await_reason(engine, "EngineAvailable", "EngineAnswers")
        terminal.kubectl("wait", "kindcluster", "kept", "--for=condition=Ready", CREATE_TIMEOUT)
    assert engine.containers() == before
    assert eventually(lambda: engine.kubectl("get", "configmap", "kept", "--namespace", "default"), PATIENCE_SECONDS, 2)

    terminal.kubectl("delete", "kindcluster", "kept", GONE_TIMEOUT)
    eventually(lambda: engine_objects(terminal) == [], 60, 1)
    eventually(lambda: terminal.get("persistentvolumes")["items"] == [], 120, 1)


def power(terminal: Terminal, state: str) -> None:
    """Set the power state of the KINDCluster "kept"."""
    patch = yaml.safe_dump({"spec": {"engine": {"powerState": state}}})
    terminal.kubectl("patch", "kindcluster", "kept", "--type", "merge", "--patch", patch)


def test_highly_available_cluster_is_in_one_pod(
    management: ManagementCluster, mirror: ImageMirror, kind: RealKind, figures: Figures
) -> None:
    terminal, engine = management.terminal, PodEngine(management, "large")
    nodes = [{"role": role} for role in ("control-plane", "control-plane", "control-plane", "worker")]
    spec = {"engine": {"className": "pods"}, "image": kind.image, "nodes": nodes}
    terminal.apply("default", yaml.safe_dump(standalone("large", **spec)))
    with timed(figures, "three control planes and a worker, Ready"):
        terminal.kubectl("wait", "kindcluster", "large", "--for=condition=Ready", CREATE_TIMEOUT)
    eventually(lambda: len(engine.ready_nodes()) == 4, PATIENCE_SECONDS, 2)
    assert len(engine.containers()) == 5
    assert any(image.startswith("envoyproxy/envoy:") for image in mirror.pulls)
    terminal.kubectl("delete", "kindcluster", "large", GONE_TIMEOUT)
    eventually(lambda: engine_objects(terminal) == [], 60, 1)
