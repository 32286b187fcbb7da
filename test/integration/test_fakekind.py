"""The fake kind with its real processes: what survives, what is found again, and that nothing is left."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from capkdev import processes
from capkdev.controlplane import API_SERVER, ETCD
from capkdev.fakekind.cli import run
from capkdev.fakekind.clusters import Cluster, Home
from capkdev.fakekind.listing import HOME_VARIABLE
from capkdev.rest import Rest
from test.integration.api import eventually

FAKE_KIND = [sys.executable, "-m", "capkdev.fakekind"]
THREE_NODES = """
kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
networking: {serviceSubnet: 10.97.0.0/16}
nodes:
- role: control-plane
- role: worker
  labels: {tier: front}
- role: worker
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "kind"))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    home = Home(tmp_path / "kind")
    yield home
    for cluster in home.clusters():
        home.remove(cluster)


def kind(*arguments: str, config: str = "") -> "subprocess.CompletedProcess[str]":
    given = ["--config=-"] if config else []
    return subprocess.run([*FAKE_KIND, *arguments, *given], input=config, capture_output=True, text=True, check=False)


def created(home: Home, name: str, config: str = "") -> Cluster:
    answer = kind("create", "cluster", f"--name={name}", "--wait=1m", config=config)
    assert answer.returncode == 0, answer.stderr
    cluster = home.find(name)
    assert cluster
    return cluster


def pids(cluster: Cluster) -> list[int]:
    found = [processes.running_pid(cluster.directory, name) for name in (ETCD, API_SERVER)]
    return [pid for pid in found if pid is not None]


def runs(pid: int) -> bool:
    """Return whether a process runs; a zombie does not."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(state.strip()) and not state.startswith("Z")


def nodes(rest: Rest) -> dict[str, dict[str, str]]:
    """Return the labels of the Ready nodes, by name."""
    found = rest.request("GET", "/api/v1/nodes")["items"]
    return {
        node["metadata"]["name"]: node["metadata"]["labels"]
        for node in found
        if {"type": "Ready", "status": "True"}.items() <= node["status"]["conditions"][-1].items()
    }


def test_a_cluster_outlives_its_creation_and_goes_without_a_trace(home: Home, tmp_path: Path) -> None:
    cluster = created(home, "dev", THREE_NODES)
    rest = cluster.control_plane.rest()
    labels = nodes(rest)
    assert set(labels) == {"dev-control-plane", "dev-worker", "dev-worker2"}
    assert labels["dev-worker"]["tier"] == "front"
    assert "node-role.kubernetes.io/control-plane" in labels["dev-control-plane"]
    service = rest.request("GET", "/api/v1/namespaces/default/services/kubernetes")
    assert service["spec"]["clusterIP"] == "10.97.0.1"
    rest.close()

    kubeconfig = yaml.safe_load(kind("get", "kubeconfig", "--name=dev").stdout)
    assert kubeconfig == yaml.safe_load((tmp_path / "kubeconfig").read_text())
    assert kubeconfig["clusters"][0]["cluster"]["server"] == cluster.control_plane.server

    were_running = pids(cluster)
    assert len(were_running) == 2
    assert kind("delete", "cluster", "--name=dev").returncode == 0
    assert not [pid for pid in were_running if runs(pid)]
    assert kind("get", "clusters").stdout == ""
    assert not [path for path in (tmp_path / "kind").rglob("*") if path.is_file()]


def test_a_stopped_control_plane_starts_again_on_its_port_with_its_data(home: Home) -> None:
    cluster = created(home, "dev")
    before = cluster.control_plane.server
    marker = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "marker"}}
    with cluster.control_plane.rest() as rest:
        rest.request("POST", "/api/v1/namespaces/default/configmaps", marker)

    assert run(["engine", "stop", "dev-control-plane"]) == 0
    assert pids(cluster) == []
    assert kind("get", "kubeconfig", "--name=dev").returncode == 1
    assert run(["engine", "start", "dev-control-plane"]) == 0
    assert cluster.control_plane.server == before
    with cluster.control_plane.rest() as rest:
        rest.request("GET", "/api/v1/namespaces/default/configmaps/marker")

    os.kill(pids(cluster)[0], signal.SIGKILL)
    assert eventually(lambda: not is_running("dev-control-plane"))
    assert run(["engine", "start", "dev-control-plane"]) == 0
    assert is_running("dev-control-plane")


def is_running(name: str) -> bool:
    (container,) = json.loads(kind("engine", "inspect", name).stdout)
    running: bool = container["State"]["Running"]
    return running


def test_a_removed_control_plane_takes_its_processes_with_it(home: Home) -> None:
    cluster = created(home, "dev", THREE_NODES)
    assert pids(cluster)
    assert run(["engine", "rm", "-f", cluster.container_id(cluster.primary)]) == 0
    assert pids(cluster) == []
    assert kind("get", "nodes", "--name=dev").stdout.split() == ["dev-worker", "dev-worker2"]
    assert "could not locate any control plane nodes" in kind("get", "kubeconfig", "--name=dev").stderr
    assert run(["engine", "rm", "-f", "dev-worker", "dev-worker2"]) == 0
    assert home.names() == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_creation_that_is_ended_leaves_a_cluster_that_delete_removes(home: Home, number: signal.Signals) -> None:
    creation = subprocess.Popen([*FAKE_KIND, "create", "cluster", "--name=dev"], stderr=subprocess.PIPE, text=True)
    assert creation.stderr
    for line in creation.stderr:
        if "Starting control-plane" in line:
            break
    eventually(lambda: (cluster := home.find("dev")) and len(pids(cluster)) == 2, interval_seconds=0.01)
    creation.send_signal(number)
    assert creation.wait() == -number
    creation.stderr.close()

    assert kind("get", "clusters").stdout == "dev\n"
    assert "already exist" in kind("create", "cluster", "--name=dev").stderr
    cluster = home.find("dev")
    assert cluster
    were_running = pids(cluster)
    assert kind("delete", "cluster", "--name=dev").returncode == 0
    assert not [pid for pid in were_running if runs(pid)]
    assert home.names() == []


def test_delete_during_create_wins_and_leaves_nothing(home: Home) -> None:
    creation = subprocess.Popen([*FAKE_KIND, "create", "cluster", "--name=dev"], stderr=subprocess.PIPE, text=True)
    eventually(lambda: (cluster := home.find("dev")) and pids(cluster), interval_seconds=0.01)
    cluster = home.find("dev")
    assert cluster
    assert kind("delete", "cluster", "--name=dev").returncode == 0
    _, printed = creation.communicate()
    assert creation.returncode == 1
    assert "failed to init node with kubeadm" in printed
    assert home.names() == []
    assert pids(cluster) == []


def test_of_two_creations_of_one_name_one_wins_and_keeps_its_cluster(home: Home) -> None:
    both = [
        subprocess.Popen([*FAKE_KIND, "create", "cluster", "--name=dev"], stderr=subprocess.PIPE, text=True)
        for _ in "ab"
    ]
    printed = [creation.communicate()[1] for creation in both]
    assert sorted(creation.returncode for creation in both) == [0, 1], printed
    assert sum("node(s) already exist" in text for text in printed) == 1
    cluster = home.find("dev")
    assert cluster
    with cluster.control_plane.rest() as rest:
        assert list(nodes(rest)) == ["dev-control-plane"]


def test_a_feature_gate_that_is_not_known_fails_as_kubeadm_does_and_leaves_nothing(home: Home) -> None:
    config = "kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\nfeatureGates: {NoSuchGate: true}\n"
    answer = kind("create", "cluster", "--name=dev", config=config)
    assert answer.returncode == 1
    assert "failed to init node with kubeadm" in answer.stderr
    assert "unrecognized feature gate: NoSuchGate" in answer.stderr
    assert home.names() == []


def test_a_retained_failure_stays_with_its_logs(home: Home, tmp_path: Path) -> None:
    config = "kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\nfeatureGates: {NoSuchGate: true}\n"
    assert kind("create", "cluster", "--name=dev", "--retain", config=config).returncode == 1
    assert home.names() == ["dev"]
    assert kind("export", "logs", str(tmp_path / "logs"), "--name=dev").stdout == f"{tmp_path / 'logs'}\n"
    assert "NoSuchGate" in (tmp_path / "logs" / "dev-control-plane" / "kube-apiserver.log").read_text()


def test_a_creation_takes_at_least_the_time_it_is_told_to(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAPK_LOCAL_KIND_MODE", "instant")
    monkeypatch.setenv("CAPK_LOCAL_KIND_CREATE_SECONDS", "1")
    began = time.monotonic()
    cluster = created(home, "dev")
    assert time.monotonic() - began >= 1
    assert pids(cluster) == []
