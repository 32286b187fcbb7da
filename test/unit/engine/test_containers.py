"""A shell script in the place of docker."""

import json
from pathlib import Path

import pytest

from capk.api.names import CLAIM_MOUNT_FOLDER
from capk.engine.containers import Containers, Node, engine_command
from capk.errors import CommandFailed

SCRIPT = r"""#!/bin/sh
here=$(dirname "$0")
echo "$*" >>"$here/calls"
case $1 in
  ps) [ -e "$here/down" ] && { echo 'Cannot connect to the Docker daemon' >&2; exit 1; }
      cat "$here/ids"; [ -e "$here/next-ids" ] && mv "$here/next-ids" "$here/ids"; :;;
  inspect) cat "$here/inspected"; [ ! -e "$here/error" ] || { cat "$here/error" >&2; exit 1; };;
  start) :;;
esac
"""


class Docker:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.path = directory / "docker"
        self.path.write_text(SCRIPT)
        self.path.chmod(0o700)
        self.write("ids", "")

    def write(self, name: str, content: str = "") -> None:
        (self.directory / name).write_text(content)

    @property
    def calls(self) -> list[list[str]]:
        return [line.split() for line in (self.directory / "calls").read_text().splitlines()]


MOUNTS = ("/var", '/my "odd" path\\', f"{CLAIM_MOUNT_FOLDER}abc")


def inspected(name: str, *, id: str, role: str = "worker", addresses: str = "kind=172.18.0.3 kind= ") -> str:
    started = "2025-01-01T00:00:00Z"
    return json.dumps([id, f"/{name}", "dev", role, True, started, addresses, "kindest/node:v1", [*MOUNTS, ""]]) + "\n"


@pytest.fixture
def docker(tmp_path):
    return Docker(tmp_path)


@pytest.fixture
def containers(docker):
    return Containers([str(docker.path)])


async def test_nodes_of_all_clusters_take_two_calls(docker, containers):
    docker.write("ids", "11\n22\n")
    docker.write(
        "inspected",
        inspected("dev-worker", id="11")
        + '["22","other-control-plane","other","control-plane",false,"0001-01-01T00:00:00Z","kind= kind= ","",[""]]\n',
    )
    assert await containers.nodes() == [
        Node(
            "dev-worker",
            "dev",
            "worker",
            True,
            "11",
            "172.18.0.3",
            "2025-01-01T00:00:00Z",
            "kindest/node:v1",
            "abc",
        ),
        Node("other-control-plane", "other", "control-plane", False, "22", "", "0001-01-01T00:00:00Z"),
    ]
    assert [call[0] for call in docker.calls] == ["ps", "inspect"]
    assert docker.calls[0] == ["ps", "--all", "--quiet", "--no-trunc", "--filter", "label=io.x-k8s.kind.cluster"]
    assert docker.calls[1][-2:] == ["11", "22"]


async def test_no_nodes_take_one_call(docker, containers):
    assert await containers.nodes() == []
    assert len(docker.calls) == 1


@pytest.mark.parametrize(
    ("addresses", "address"),
    [
        ("kind=172.18.0.3 kind=fc00::3 ", "172.18.0.3"),
        ("kind= kind=fc00::3 ", "fc00::3"),
        ("bridge=172.17.0.9 bridge= kind=172.18.0.3 kind= ", "172.18.0.3"),
        ("custom=10.0.0.3 custom= ", "10.0.0.3"),
        ("", ""),
    ],
)
async def test_address_on_kinds_network_comes_first(docker, containers, addresses, address):
    docker.write("ids", "11\n")
    docker.write("inspected", inspected("dev-worker", id="11", addresses=addresses))
    assert [node.address for node in await containers.nodes()] == [address]


async def test_container_that_goes_away_in_between_is_left_out(docker, containers):
    docker.write("ids", "11\n22\n")
    docker.write("next-ids", "11\n")
    docker.write("inspected", inspected("dev-worker", id="11"))
    docker.write("error", "Error response from daemon: No such container: 22\n")
    assert [node.name for node in await containers.nodes()] == ["dev-worker"]


@pytest.mark.parametrize(
    "printed", ["Error response from daemon: No such container: 22\n", 'Error: no such object: "22"\n']
)
async def test_container_that_is_still_listed_while_it_is_removed_is_left_out(docker, containers, printed):
    docker.write("ids", "11\n22\n")
    docker.write("inspected", inspected("dev-worker", id="11"))
    docker.write("error", printed)
    assert [node.name for node in await containers.nodes()] == ["dev-worker"]


async def test_vanished_container_does_not_explain_the_failure_of_another(docker, containers):
    docker.write("ids", "11\n22\n33\n")
    docker.write("inspected", inspected("dev-worker", id="11"))
    docker.write("error", "Error response from daemon: No such container: 22\nsomething broke\n")
    with pytest.raises(CommandFailed):
        await containers.nodes()


async def test_failure_that_no_vanished_container_explains_is_one(docker, containers):
    docker.write("ids", "11\n22\n")
    docker.write("inspected", inspected("dev-worker", id="11"))
    docker.write("error", "something broke\n")
    with pytest.raises(CommandFailed) as failure:
        await containers.nodes()
    assert failure.value.output == "something broke\n"


async def test_engine_that_is_down_is_a_failure(docker, containers):
    docker.write("down")
    with pytest.raises(CommandFailed):
        await containers.nodes()


async def test_start_names_all_containers_in_one_call(docker, containers):
    await containers.start(["dev-control-plane", "dev-worker"])
    await containers.start([])
    assert docker.calls == [["start", "dev-control-plane", "dev-worker"]]


async def test_without_an_engine_nothing_is_known():
    nothing = Containers(None)
    assert await nothing.nodes() is None
    await nothing.start(["dev-control-plane"])


@pytest.mark.parametrize(
    ("chosen", "installed", "expected"),
    [
        (None, {"docker", "podman"}, ("docker",)),
        (None, {"nerdctl", "podman"}, ("nerdctl",)),
        (None, {"podman"}, ("podman",)),
        (None, set(), None),
        ("podman", {"docker", "podman"}, ("podman",)),
        ("podman", {"docker"}, None),
        ("finch", {"finch"}, ("finch",)),
        ("nonsense", {"docker"}, ("docker",)),
    ],
)
def test_engine_command_is_the_one_that_kind_uses(chosen, installed, expected):
    environment = {"KIND_EXPERIMENTAL_PROVIDER": chosen} if chosen else {}
    assert engine_command(environment, lambda name: name if name in installed else None) == expected
