"""A standalone KINDCluster, from the first sample to its deletion."""

from pathlib import Path

import pytest
import yaml

from capk.api.names import KIND_CLUSTERS, SECRETS
from test.e2e.conftest import USERS_KUBECONFIG, NewName, StartPlace
from test.e2e.real_kind import RealKind
from test.e2e.terminal import Terminal
from test.integration.api import Api, eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
SAMPLE = Path(__file__).parents[2] / "config" / "samples" / "standalone.yaml"
CREATE_SECONDS = 300


def test_sample_becomes_a_cluster_and_leaves_nothing_behind(
    api: Api,
    start_place: StartPlace,
    terminal: Terminal,
    kind: RealKind,
    new_name: NewName,
    users_kubeconfig: Path,
    tmp_path: Path,
) -> None:
    name, namespace = new_name("dev"), api.new_namespace()
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    sample = yaml.safe_load(SAMPLE.read_text())
    sample["metadata"]["name"] = name
    # Before the provider runs, which finds objects that were applied earlier.
    terminal.apply(namespace, yaml.safe_dump(sample))
    place = start_place(namespace=namespace, TMPDIR=str(temporary))
    place.await_condition(name, "Ready", seconds=CREATE_SECONDS)

    assert name in kind.names()
    node = f"{name}-control-plane"
    assert list(kind.containers(name)) == [node]

    workload = Terminal.of_secret(place.get(SECRETS, f"{name}-config"), "config", tmp_path)
    assert workload.ready_nodes() == [node]

    status = place.get(KIND_CLUSTERS, name)["status"]
    inspected = kind.inspect(node)
    (published,) = inspected["NetworkSettings"]["Ports"]["6443/tcp"]
    address = inspected["NetworkSettings"]["Networks"]["kind"]["IPAddress"]
    assert status["ready"] is True
    assert status["kubernetesVersion"] == kind.version
    assert status["nodes"] == [{"name": node, "role": "control-plane", "address": address, "state": "Running"}]
    assert status["endpoints"] == {
        "external": f"https://127.0.0.1:{published['HostPort']}",
        "internal": f"https://{node}:6443",
    }
    conditions = {one["type"]: (one["status"], one["message"]) for one in status["conditions"]}
    for kind_of_condition in ("Ready", "EngineAvailable", "ClusterCreated", "NodesRunning", "KubeconfigAvailable"):
        assert conditions[kind_of_condition] == ("True", "")
    steps = [entry["reason"] for entry in status["history"] if entry["type"] == "ClusterCreated"]
    assert steps[-1] == "Created"
    assert "StartingControlPlane" in steps
    eventually(lambda: "Created" in place.events(name))
    assert "127.0.0.1" in terminal.kubectl("get", "kc", name, "--namespace", namespace)

    volumes = kind.volumes(node)
    assert volumes
    # kubectl waits for the finalizer, and the finalizer for the end of the kind cluster.
    terminal.kubectl("delete", "kc", name, "--namespace", namespace)
    assert kind.containers(name) == {}
    assert not set(volumes) & set(kind.all_volumes())
    assert api.list(SECRETS, namespace) == []

    assert place.process.stop() == 0
    assert list(temporary.iterdir()) == []
    assert [path for path in (place.process.log.parent / "work").rglob("*") if path.is_file()] == []
    assert users_kubeconfig.read_bytes() == USERS_KUBECONFIG
    assert "certificate-authority-data" not in place.process.log_text()
