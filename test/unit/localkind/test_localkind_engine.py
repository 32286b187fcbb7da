"""The stand-in's container engine, seen through the provider's own door to an engine."""

import sys

import pytest

from capk.engine.containers import Containers
from capk.errors import CommandFailed
from capk.localkind.cli import run
from capk.localkind.clusters import Home

ENGINE = [sys.executable, "-m", "capk.localkind", "engine"]
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
    assert control_plane.address == "127.0.0.1"
    assert control_plane.container_id != worker.container_id


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
def test_inspect_without_a_format_shows_mounts_and_the_published_port(
    capsys: pytest.CaptureFixture[str], home: Home
) -> None:
    assert run(["engine", "inspect", "dev-control-plane", "--format", "{{json .NetworkSettings.Ports}}"]) == 0
    cluster = home.find("dev")
    assert cluster
    assert f'"HostPort": "{cluster.control_plane.settings.port}"' in capsys.readouterr().out
    assert run(["engine", "inspect", "dev-worker"]) == 0
    assert '"Destination": "/a\\"b"' in capsys.readouterr().out


@pytest.mark.usefixtures("two_nodes")
def test_ps_lists_by_label_and_hides_stopped_containers(capsys: pytest.CaptureFixture[str]) -> None:
    label = "label=io.x-k8s.kind.role=worker"
    assert run(["engine", "ps", "--filter", label, "--format", "{{.Names}}"]) == 0
    assert capsys.readouterr().out == "dev-worker\n"
    assert run(["engine", "stop", "dev-worker"]) == 0
    capsys.readouterr()
    assert run(["engine", "ps", "--filter", label, "-q"]) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.usefixtures("two_nodes")
def test_kubeconfig_of_a_stopped_control_plane_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["engine", "stop", "dev-control-plane"]) == 0
    assert run(["get", "kubeconfig", "--name=dev"]) == 1
    assert "is not running" in capsys.readouterr().err
