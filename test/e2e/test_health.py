"""The API server of a kind cluster with running containers: it dies and recovers, or loses its data."""

import re

import pytest

from capk.api.names import KIND_CLUSTERS
from test.e2e.conftest import NewName, StartPlace
from test.e2e.real_kind import RealKind
from test.integration.api import eventually
from test.integration.provider.journeys import Place, standalone, unchanged

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
CREATE_SECONDS = 300
PERIOD = ("--health-period", "5s")
UID = "[0-9a-f-]{36}"
MANIFEST = "/etc/kubernetes/manifests/kube-apiserver.yaml"


def test_dead_api_server_is_seen_and_comes_back_without_a_repair(
    start_place: StartPlace, kind: RealKind, new_name: NewName
) -> None:
    name = new_name("dead")
    node, place = f"{name}-control-plane", start_place(*PERIOD)
    # On every address: its certificate does not have the one at which it is asked.
    everywhere = {"apiServerAddress": "0.0.0.0"}
    mirrors = [{"host": "docker.io", "endpoints": ["http://cache:5000"]}]
    place.create(standalone(name, networking=everywhere, registries={"mirrors": mirrors}))
    place.await_condition(name, "Ready", seconds=CREATE_SECONDS)
    hosts = kind.engine("exec", node, "cat", "/etc/containerd/certs.d/docker.io/hosts.toml")
    assert '[host."http://cache:5000"]' in hosts
    place.await_condition(name, "APIServerAvailable", seconds=30)
    started = kind.inspect(node)["State"]["StartedAt"]

    kind.engine("exec", node, "mv", MANIFEST, "/root/")
    # The kubelet needs some time to end it; the verdict follows two requests later.
    dead = place.await_condition(name, "Ready", reason="NotAnswering", seconds=60)
    assert dead["status"] == "False"
    assert "does not answer" in dead["message"]

    kind.engine("exec", node, "mv", "/root/kube-apiserver.yaml", MANIFEST)
    place.await_condition(name, "Ready", seconds=120)
    assert kind.inspect(node)["State"]["StartedAt"] == started
    assert "StartingNodes" not in reasons(place, name)


@pytest.mark.long
def test_etcd_that_came_back_empty_is_told_and_a_new_cluster_comes_only_when_asked(
    start_place: StartPlace, kind: RealKind, new_name: NewName
) -> None:
    name = new_name("empty")
    node, place = f"{name}-control-plane", start_place(*PERIOD)
    place.create(standalone(name))
    place.await_condition(name, "Ready", seconds=CREATE_SECONDS)
    first = kind.containers(name)

    kind.engine("exec", node, "rm", "-r", "/var/lib/etcd/member")
    kind.engine("stop", "-t", "2", node)
    lost = place.await_condition(name, "Ready", reason="DataLost", seconds=180)
    assert "recreatePolicy" in lost["message"]
    assert kind.containers(name) == first

    place.patch(KIND_CLUSTERS, name, {"spec": {"recreatePolicy": "Always"}})
    place.await_condition(name, "Ready", seconds=CREATE_SECONDS)
    eventually(lambda: set(kind.containers(name).values()).isdisjoint(first.values()))


@pytest.mark.parametrize("restarts", [True, False], ids=["with its container", "in its container"])
def test_etcd_that_came_back_empty_while_no_provider_ran_is_data_loss(
    start_place: StartPlace, kind: RealKind, new_name: NewName, *, restarts: bool
) -> None:
    name = new_name("unseen")
    node, place = f"{name}-control-plane", start_place(*PERIOD)
    place.create(standalone(name))
    place.await_condition(name, "Ready", seconds=CREATE_SECONDS)
    first = kind.containers(name)
    place.process.stop()
    empty_etcd(kind, node, restarts=restarts)
    assert place.condition(name, "Ready")["status"] == "True"

    place.process.start()
    lost = place.await_condition(name, "Ready", reason="DataLost", seconds=30)
    assert lost["status"] == "False"
    assert kind.containers(name) == first
    # The verdict survives another restart without a write.
    version = place.get(KIND_CLUSTERS, name)["metadata"]["resourceVersion"]
    place.process.stop()
    place.process.start()
    unchanged(lambda: place.get(KIND_CLUSTERS, name)["metadata"]["resourceVersion"], 15)
    assert place.get(KIND_CLUSTERS, name)["metadata"]["resourceVersion"] == version


def test_etcd_that_is_emptied_in_a_container_that_runs_on_is_data_loss(
    start_place: StartPlace, kind: RealKind, new_name: NewName
) -> None:
    name = new_name("inside")
    node, place = f"{name}-control-plane", start_place(*PERIOD)
    place.create(standalone(name))
    place.await_condition(name, "APIServerAvailable", seconds=CREATE_SECONDS)
    started = kind.inspect(node)["State"]["StartedAt"]
    empty_etcd(kind, node, restarts=False)
    place.await_condition(name, "Ready", reason="DataLost", seconds=60)
    assert kind.inspect(node)["State"]["StartedAt"] == started


def empty_etcd(kind: RealKind, node: str, *, restarts: bool) -> None:
    """Restart etcd without its data; return when the API server answers from the new one.

    An API server that keeps running does not create kube-system again.
    """
    before = kube_system(kind, node)
    assert re.fullmatch(UID, before)
    kind.engine("exec", node, "rm", "-r", "/var/lib/etcd/member")
    if restarts:
        kind.engine("restart", "-t", "2", node)
    else:
        kind.engine("exec", node, "pkill", "-KILL", "-x", "etcd")
    wanted = UID if restarts else '.*namespaces "kube-system" not found'
    eventually(lambda: (found := kube_system(kind, node)) != before and re.fullmatch(wanted, found), 180, 1)


def kube_system(kind: RealKind, node: str) -> str:
    """Return the uid of kube-system, or the error, with credentials that need no data in etcd."""
    kubectl = "kubectl --kubeconfig=/etc/kubernetes/super-admin.conf --request-timeout=5s"
    ask = f"{kubectl} get namespace kube-system --output=jsonpath={{.metadata.uid}} 2>&1 || true"
    return kind.engine("exec", node, "sh", "-c", ask).strip()


def reasons(place: Place, name: str) -> list[str]:
    return [entry["reason"] for entry in place.get(KIND_CLUSTERS, name)["status"]["history"]]
