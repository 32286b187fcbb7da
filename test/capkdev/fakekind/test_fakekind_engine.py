"""The fake kind's container engine, used through the provider's own class for engines."""

import json
import sys
from pathlib import Path

import pytest

from capk.engine.containers import Containers
from capk.engine.nodelogs import node_logs
from capk.engine.nodescripts import READ_KUBELET
from capk.engine.worker import READY_COMMAND
from capk.errors import CommandFailed
from capkdev.fakekind.cli import run
from capkdev.fakekind.clusters import CONTROL_PLANE, Home, Node
from capkdev.fakekind.listing import HOME_VARIABLE

ENGINE = [sys.executable, "-m", "capkdev.fakekind", "engine"]
TWO_NODES = (
    "kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\nnodes:\n- role: control-plane\n"
    '- {role: worker, image: "kindest/node:v1.34.0", extraMounts: [{hostPath: /dev/null, containerPath: \'/a"b\'}]}\n'
)


@pytest.fixture
def two_nodes(tmp_path_factory: pytest.TempPathFactory) -> None:
    config = tmp_path_factory.mktemp("config") / "kind.yaml"
    config.write_text(TWO_NODES)
    assert run(["create", "cluster", "--name=dev", f"--config={config}", "-q"]) == 0


@pytest.mark.usefixtures("two_nodes")
async def test_nodes_are_seen_with_role_image_address_and_state() -> None:
    control_plane, worker = await Containers(ENGINE).nodes() or []
    assert (control_plane.name, control_plane.cluster, control_plane.role) == (
        "dev-control-plane",
        "dev",
        "control-plane",
    )
    assert (worker.name, worker.role, worker.image) == ("dev-worker", "worker", "kindest/node:v1.34.0")
    assert control_plane.running
    assert worker.running
    assert control_plane.address.startswith("127.")
    assert control_plane.addresses == (control_plane.address,)
    assert control_plane.address != worker.address
    assert control_plane.container_id != worker.container_id


@pytest.mark.usefixtures("two_nodes")
async def test_nodes_answer_what_the_provider_asks_about_api_server_and_kubelet() -> None:
    containers = Containers(ENGINE)
    assert (await containers.run("dev-control-plane", READY_COMMAND)).stdout.strip() == "ok"
    assert (await containers.run("dev-worker", ["sh", "-c", READ_KUBELET])).stdout == ""


async def test_no_cluster_means_no_nodes() -> None:
    assert await Containers(ENGINE).nodes() == []


@pytest.mark.usefixtures("two_nodes")
async def test_a_stopped_node_is_seen_and_started_again() -> None:
    containers = Containers(ENGINE)
    _, before = await containers.nodes() or []
    assert run(["engine", "stop", "dev-worker"]) == 0
    _, stopped = await containers.nodes() or []
    assert not stopped.running
    assert stopped.address == ""
    await containers.start(["dev-worker"])
    _, after = await containers.nodes() or []
    assert after.running
    assert after.started_at != before.started_at
    assert after.container_id == before.container_id


async def test_starting_an_unknown_container_fails_with_dockers_words() -> None:
    with pytest.raises(CommandFailed) as failure:
        await Containers(ENGINE).start(["rec-nosuch"])
    assert "Error response from daemon: No such container: rec-nosuch" in failure.value.output


@pytest.mark.usefixtures("two_nodes")
async def test_published_port_of_the_api_server_is_seen(home: Home) -> None:
    control_plane, worker = await Containers(ENGINE).nodes() or []
    cluster = home.find("dev")
    assert cluster
    assert control_plane.api_port == ("127.0.0.1", cluster.control_plane.settings.port)
    assert worker.api_port is None


async def test_half_made_cluster_publishes_no_port(home: Home) -> None:
    ports = [{"listenAddress": "127.0.0.1", "hostPort": -1, "containerPort": 6443}]
    assert home.claim("half", [Node("half-control-plane", CONTROL_PLANE, "kindest/node", ports=ports)], instant=True)
    (node,) = await Containers(ENGINE).nodes() or []
    assert (node.running, node.api_port) == (True, None)


@pytest.mark.usefixtures("two_nodes")
def test_inspect_shows_mounts_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["engine", "inspect", "dev-worker"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["Mounts"] == [{"Destination": '/a"b'}]


@pytest.mark.usefixtures("two_nodes")
def test_ps_lists_by_label_and_hides_stopped_containers(capsys: pytest.CaptureFixture[str]) -> None:
    label = "label=io.x-k8s.kind.role=worker"
    assert run(["engine", "ps", "--filter", label]) == 0
    assert capsys.readouterr().out.split()[-1] == "dev-worker"
    assert run(["engine", "stop", "-t", "10", "dev-worker"]) == 0
    capsys.readouterr()
    assert run(["engine", "ps", "--filter", label, "-q"]) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.usefixtures("two_nodes")
async def test_occupants_are_the_running_nodes() -> None:
    containers = Containers(ENGINE)
    control_plane, worker = await containers.nodes() or []
    assert await containers.occupants() == {control_plane.address: control_plane.name, worker.address: worker.name}
    await containers.stop([worker.name])
    assert await containers.occupants() == {control_plane.address: control_plane.name}


@pytest.mark.usefixtures("two_nodes")
async def test_removed_node_is_gone_and_the_last_one_takes_the_cluster_with_it(home: Home) -> None:
    containers = Containers(ENGINE)
    control_plane, worker = await containers.nodes() or []
    await containers.remove([control_plane.container_id])
    assert await containers.nodes() == [worker]
    await containers.remove([control_plane.container_id, worker.container_id])
    assert await containers.nodes() == []
    assert home.names() == []
    await containers.remove([worker.container_id])


@pytest.mark.usefixtures("two_nodes")
def test_running_container_is_removed_by_force_only(capsys: pytest.CaptureFixture[str], home: Home) -> None:
    assert run(["engine", "rm", "dev-worker"]) == 1
    assert "container is running" in capsys.readouterr().err
    assert run(["engine", "stop", "dev-worker"]) == 0
    assert run(["engine", "rm", "dev-worker"]) == 0
    assert [node.name for cluster in home.clusters() for node in cluster.nodes] == ["dev-control-plane"]


@pytest.mark.usefixtures("two_nodes")
async def test_files_that_are_written_into_a_node_can_be_read_there_and_nowhere_else(home: Home) -> None:
    containers = Containers(ENGINE)
    await containers.write_file("dev-worker", "/etc/app/../a file", "töp\n", mode="0600")
    assert (await containers.run("dev-worker", ["cat", "/etc/app/../a file"])).stdout == "töp\n"
    with pytest.raises(CommandFailed, match="exit status 1"):
        await containers.run("dev-control-plane", ["cat", "/etc/app/../a file"])
    (file,) = (home.directory / "clusters" / "dev" / "files").rglob("a file")
    assert file.is_relative_to(home.directory / "clusters" / "dev" / "files" / "dev-worker")
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.usefixtures("two_nodes")
async def test_logs_of_a_node_are_those_of_what_runs_for_it(home: Home) -> None:
    (home.directory / "clusters" / "dev" / "etcd.log").write_text("raft: elected")
    containers = Containers(ENGINE)
    text = await node_logs(containers, "dev-control-plane")
    assert "--- /var/log/containers/etcd.log\nraft: elected" in text
    assert "could not be read" not in text
    assert "etcd" not in await node_logs(containers, "dev-worker")


@pytest.mark.usefixtures("two_nodes")
@pytest.mark.parametrize("command", [["nonsense", "--help"], ["sh", "-c", "echo x"]])
async def test_unknown_command_in_a_node_fails_as_with_docker(command: list[str]) -> None:
    with pytest.raises(CommandFailed) as failure:
        await Containers(ENGINE).run("dev-worker", command)
    assert failure.value.exit_status == 127
    assert "not found" in failure.value.output


@pytest.mark.usefixtures("two_nodes")
async def test_nothing_runs_in_a_stopped_node() -> None:
    containers = Containers(ENGINE)
    await containers.stop(["dev-worker"])
    with pytest.raises(CommandFailed) as failure:
        await containers.run("dev-worker", ["true"])
    assert "is not running" in failure.value.output


async def test_engine_has_an_id_that_another_one_does_not_have(tmp_path: Path) -> None:
    containers = Containers(ENGINE)
    other = Containers(ENGINE, environment={HOME_VARIABLE: str(tmp_path / "other")})
    assert await containers.engine_id()
    assert await containers.engine_id() == await containers.engine_id()
    assert await containers.engine_id() != await other.engine_id()


@pytest.mark.usefixtures("two_nodes")
def test_kubeconfig_of_a_stopped_control_plane_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["engine", "stop", "dev-control-plane"]) == 0
    assert run(["get", "kubeconfig", "--name=dev"]) == 1
    assert "is not running" in capsys.readouterr().err
