"""The local management cluster and the fake kind with a real provider: the basis of the other integration tests."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from capk.api.names import KIND_CLUSTERS, SECRETS, Resource
from capkdev import processes
from capkdev.managementcluster.cluster import LocalManagementCluster, ManagementClusterFailed
from capkdev.managementcluster.options import Options, State
from test.integration.api import CLUSTERS, Api, condition, eventually
from test.integration.provider_process import StartProvider

KIND_CLUSTER = {"apiVersion": KIND_CLUSTERS.api_version, "kind": "KINDCluster"}
CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap")
SMALL = Options(core=False, definitions=False)


def pids(management: LocalManagementCluster) -> dict[str, int]:
    found = {member.name: processes.running_pid(member.log.parent, member.name) for member in management.state.members}
    return {name: pid for name, pid in found.items() if pid is not None}


def runs(pid: int) -> bool:
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(state.strip()) and not state.startswith("Z")


def is_ready(api: Api, namespace: str, name: str) -> bool:
    return condition(api.get(KIND_CLUSTERS, namespace, name), "Ready").get("status") == "True"


def test_provider_brings_a_standalone_kindcluster_to_ready_and_leaves_nothing(
    bare_management: LocalManagementCluster, bare_api: Api, bare_namespace: str, provider: StartProvider
) -> None:
    process = provider(bare_management, bare_namespace)
    bare_api.create(bare_namespace, {**KIND_CLUSTER, "metadata": {"name": "dev"}, "spec": {}})
    eventually(lambda: is_ready(bare_api, bare_namespace, "dev"), 60)
    assert process.home.names() == ["dev"]
    assert bare_api.list(SECRETS, bare_namespace)

    bare_api.delete(KIND_CLUSTERS, bare_namespace, "dev")
    eventually(lambda: bare_api.find(KIND_CLUSTERS, bare_namespace, "dev") is None)
    assert process.home.names() == []
    assert bare_api.list(SECRETS, bare_namespace) == []


def test_core_defaults_converts_and_reconciles_clusters(api: Api, namespace: str) -> None:
    old = {
        "apiVersion": "cluster.x-k8s.io/v1beta1",
        "kind": "Cluster",
        "metadata": {"name": "dev"},
        "spec": {"infrastructureRef": {"apiVersion": KIND_CLUSTERS.api_version, "kind": "KINDCluster", "name": "dev"}},
    }
    api.create(namespace, {**KIND_CLUSTER, "metadata": {"name": "dev"}, "spec": {}}, old)
    cluster = eventually(lambda: (seen := api.get(CLUSTERS, namespace, "dev"))["status"].get("phase") and seen)
    assert cluster["spec"]["infrastructureRef"] == {
        "apiGroup": KIND_CLUSTERS.group,
        "kind": "KINDCluster",
        "name": "dev",
    }
    owned = eventually(
        lambda: (seen := api.get(KIND_CLUSTERS, namespace, "dev"))["metadata"].get("ownerReferences") and seen
    )
    assert owned["metadata"]["ownerReferences"][0]["kind"] == "Cluster"
    assert api.rest.request("GET", "/apis/cluster.x-k8s.io/v1beta1/clusters")["items"]


def test_two_management_clusters_at_once_do_not_see_each_other(
    management: LocalManagementCluster, bare_management: LocalManagementCluster
) -> None:
    assert management.kubeconfig.read_text() != bare_management.kubeconfig.read_text()
    assert set(pids(management).values()).isdisjoint(pids(bare_management).values())
    assert [file.stat().st_mode & 0o077 for file in (management.kubeconfig, bare_management.kubeconfig)] == [0, 0]


def test_a_plane_keeps_its_data_and_address_over_a_restart(tmp_path: Path) -> None:
    with LocalManagementCluster(tmp_path / "management", SMALL) as management:
        with management.rest() as rest:
            Api(rest).create("default", {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "marker"}})
        kubeconfig, before = management.kubeconfig.read_text(), pids(management)
        with pytest.raises(ManagementClusterFailed, match="already runs"):
            management.start()
    assert management.state.phase == "stopped"
    assert not [pid for pid in before.values() if runs(pid)]
    with LocalManagementCluster(tmp_path / "management", SMALL) as again:
        assert again.kubeconfig.read_text() == kubeconfig
        with again.rest() as rest:
            assert Api(rest).get(CONFIG_MAPS, "default", "marker")


def test_a_member_that_ends_is_started_again(tmp_path: Path) -> None:
    with LocalManagementCluster(tmp_path / "management", SMALL) as management:
        before = pids(management)
        os.kill(before["kube-apiserver"], signal.SIGKILL)
        after = eventually(lambda: (now := pids(management)).keys() == before.keys() and now != before and now)
        assert after["etcd"] == before["etcd"]
        assert [member.restarts for member in management.state.members] == [0, 1]


@pytest.mark.parametrize("victim", ["parent", "supervisor"])
def test_nothing_is_left_when_the_parent_or_the_supervisor_is_killed(tmp_path: Path, victim: str) -> None:
    code = (
        "import sys, time; from pathlib import Path\n"
        "from capkdev.managementcluster.cluster import LocalManagementCluster\n"
        "from capkdev.managementcluster.options import Options\n"
        "with LocalManagementCluster(Path(sys.argv[1]), Options(core=False, definitions=False)):\n"
        "  print('up', flush=True); time.sleep(600)"
    )
    management = LocalManagementCluster(tmp_path / "management")
    with subprocess.Popen([sys.executable, "-c", code, str(management.directory)], stdout=subprocess.PIPE) as parent:
        assert parent.stdout
        assert parent.stdout.readline() == b"up\n"
        supervisor = processes.running_pid(management.directory, "supervisor")
        assert supervisor
        members = pids(management)
        assert members.keys() == {"etcd", "kube-apiserver"}
        os.kill(supervisor if victim == "supervisor" else parent.pid, signal.SIGKILL)
        eventually(lambda: not [pid for pid in (supervisor, *members.values()) if runs(pid)])
        parent.kill()
    assert management.state.phase == "stopped"


def test_a_plane_that_cannot_start_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    broken = tmp_path / "bin"
    broken.mkdir()
    (broken / "kube-apiserver").write_text("#!/bin/sh\necho 'this one is broken' >&2\nexit 3\n")
    (broken / "kube-apiserver").chmod(0o755)
    management = LocalManagementCluster(tmp_path / "management", Options(core=False, binaries=str(broken)))
    with pytest.raises(ManagementClusterFailed, match="this one is broken"):
        management.start(attached=True)
    assert State.load(management.directory).phase == "failed"
    assert pids(management) == {}
    assert not management.is_running


def test_the_commands_start_show_and_end_a_management_cluster(tmp_path: Path) -> None:
    def capkdev(*arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "capkdev", *arguments, "--directory", str(tmp_path / "management")]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    up = capkdev("up", "--no-core", "--no-provider")
    try:
        assert up.returncode == 0, up.stdout + up.stderr
        assert f"KUBECONFIG={tmp_path}/management/kubeconfig" in up.stdout
        status = capkdev("status")
        assert status.returncode == 0, status.stdout
        assert "kube-apiserver" in status.stdout
        assert "is already running" in capkdev("up").stdout
        management = LocalManagementCluster(tmp_path / "management")
        with management.rest() as rest:
            Api(rest).create("default", {**KIND_CLUSTER, "metadata": {"name": "left"}, "spec": {}})
        refused = capkdev("down", "--delete-data")
        assert (refused.returncode, "default/left" in refused.stderr) == (1, True)
        assert management.is_running
    finally:
        down = capkdev("down")
    assert "default/left" in down.stdout
    assert not management.is_running
    assert capkdev("status").returncode == 1
    assert capkdev("down", "--delete-data").returncode == 0
    assert not management.directory.exists()
