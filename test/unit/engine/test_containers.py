"""A shell script replaces the engine's command, and prints the output of the real ones.

Hundreds of calls would start more than a thousand processes, so all but a few are answered in the script's place.
"""

import io
import json
import re
import tarfile
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from capk.api.names import CLAIM_MOUNT_FOLDER
from capk.engine import command, inspection
from capk.engine.containers import Containers, Node
from capk.engine.enginecli import EngineCli, UnreadableAnswer, chosen_engine, engine_command
from capk.engine.nodescripts import WRITE_FILE
from capk.errors import CommandFailed, CommandMissing, CommandTimedOut, TooMuchOutput

SCRIPT = r"""#!/bin/sh
# Prints the files of the sub-command: VERB.out, VERB.err; exits with VERB.status. VERB-2.* comes with the second call.
here=${0%/*}
echo "$*" >>"$here/calls"
verb=$1
[ "$2" = --interactive ] && cat >"$here/stdin"
[ -e "$here/$verb.called" ] && [ -e "$here/$verb-2.out" ] && verb=$verb-2
: >"$here/$1.called"
[ -s "$here/$verb.out" ] && cat "$here/$verb.out"
[ -s "$here/$verb.err" ] && cat "$here/$verb.err" >&2
status=0
[ -e "$here/$verb.status" ] && read -r status <"$here/$verb.status"
exit "$status"
"""
ENGINES = Path(__file__).parents[2] / "fixtures" / "engines"
RECORDINGS = sorted(file.stem for file in ENGINES.glob("*.json"))
SEVERAL = ENGINES / "highly-available"
ADDRESSES = {
    "docker-20.10": ("172.18.0.3", "fc00:f853:ccd:e793::3"),
    "podman-4.3": ("10.89.0.3", "fc00:8866:27d0:bd7e::3"),
}
"""Recording -> the control plane's addresses, for recordings of an engine."""
A, B, C = ("a" * 64, "b" * 64, "c" * 64)
MARK = "5d6a6d3e-6f0b-4c1c-9d50-2f3c5b1d7c11"


VERBOSE = r"""#!/bin/sh
# Prints three fifths of what is read of a command, with each container that is inspected.
here=${0%/*}
echo "$*" >>"$here/calls"
[ "$1" = ps ] && cat "$here/ps.out"
[ "$1" = inspect ] || exit 0
shift 2
for id; do
  cat "$here/$id.json"
  head -c 5000000 /dev/zero | tr '\0' ' '
done
"""
BRIEF = r"""#!/bin/sh
# Prints all of the containers, or what is asked for.
here=${0%/*}
echo "$*" >>"$here/calls"
[ "$1" = ps ] && exec cat "$here/ps.out"
[ "$1" = inspect ] || exit 0
[ "$3" = --format ] && exec cat "$here/brief.out"
exec cat "$here/inspect.out"
"""


class Engine:
    """The script and its output."""

    def __init__(self, directory: Path, name: str = "docker") -> None:
        self.directory = directory
        self.path = directory / name
        self.path.write_text(SCRIPT)
        self.path.chmod(0o700)

    def says(self, verb: str, out: str = "", err: str = "", status: int = 0) -> None:
        for ending, content in (("out", out), ("err", err), ("status", f"{status}\n")):
            (self.directory / f"{verb}.{ending}").write_text(content)

    def has(self, *documents: dict[str, Any], listed: tuple[str, ...] = ()) -> None:
        ids = listed or tuple(document["Id"] for document in documents)
        self.says("ps", "".join(f"{container}\n" for container in ids))
        self.says("inspect", json.dumps(documents, indent=4))

    @property
    def containers(self) -> Containers:
        return Containers([str(self.path)])

    @property
    def calls(self) -> list[list[str]]:
        calls = self.directory / "calls"
        return [line.split() for line in calls.read_text().splitlines()] if calls.exists() else []


def inspected(name: str = "dev-worker", *, id: str = A, role: str = "worker", **more: Any) -> dict[str, Any]:
    return {
        "Id": id,
        "Name": f"/{name}",
        "Image": "sha256:0",
        "State": {"Running": True, "StartedAt": "2025-01-01T00:00:00Z"},
        "Config": {
            "Image": "kindest/node:v1",
            "Labels": {"io.x-k8s.kind.cluster": "dev", "io.x-k8s.kind.role": role},
        },
        "Mounts": [{"Destination": path} for path in ("/var", '/my "odd" path\\', f"{CLAIM_MOUNT_FOLDER}abc")],
        "NetworkSettings": {"Networks": {"kind": {"IPAddress": "172.18.0.3", "GlobalIPv6Address": ""}}, "Ports": {}},
        **more,
    }


async def recorded(docker: Engine, printed: str) -> list[Node]:
    """Return the nodes in a recording."""
    docker.says("ps", "\n".join(container["Id"] for container in json.loads(printed)))
    docker.says("inspect", printed)
    return await docker.containers.nodes() or []


async def answer(argv: Sequence[str], *, check: bool) -> command.Output:
    """Answer a call as SCRIPT does, with the same files, but without a process."""
    folder, verb = Path(argv[0]).parent, argv[1]
    with (folder / "calls").open("a") as calls:
        calls.write(f"{' '.join(argv[1:])}\n")
    turn = f"{verb}-2" if (folder / f"{verb}.called").exists() and (folder / f"{verb}-2.out").exists() else verb
    (folder / f"{verb}.called").touch()
    out, err, status = (_content(folder / f"{turn}.{ending}") for ending in ("out", "err", "status"))
    if check and int(status or 0):
        raise CommandFailed(argv, f"{out}{err}"[-command.MAX_TAIL :], int(status))
    return command.Output(out, err[-command.MAX_TAIL :], int(status or 0))


def _content(file: Path) -> str:
    return file.read_text() if file.exists() else ""


@pytest.fixture(autouse=True)
def answered(monkeypatch):
    """Answer the calls of SCRIPT that have no input."""
    start = command.run

    async def run(argv, *, stdin=None, check=True, **options):
        if stdin is None and _content(Path(argv[0])) == SCRIPT:
            return await answer(argv, check=check)
        return await start(argv, stdin=stdin, check=check, **options)

    monkeypatch.setattr(command, "run", run)
    return start


@pytest.fixture
def docker(tmp_path):
    return Engine(tmp_path)


@pytest.mark.parametrize("check", [True, False])
async def test_script_and_what_answers_in_its_place_are_alike(docker, answered, check):
    async def heard(*arguments: str, of_script: bool) -> tuple[object, ...]:
        argv = [str(docker.path), *arguments]
        try:
            ended = await (answered(argv, timeout_seconds=60, check=check) if of_script else answer(argv, check=check))
        except CommandFailed as failure:
            return (failure.output, failure.exit_status, failure.command)
        return (ended.stdout, ended.stderr, ended.exit_status)

    docker.says("ps", f"{A}\n", "Warning: tö\n")
    docker.says("inspect", "[]", status=3)
    docker.says("rm", "first\n")
    docker.says("rm-2", "second", "no\n", status=125)
    calls = (("ps", "--all"), ("ps", "--all"), ("inspect", "x y"), ("rm", "a"), ("rm", "b"), ("rm", "c"), ("version",))
    script = [await heard(*call, of_script=True) for call in calls]
    printed = docker.calls
    for file in docker.directory.glob("*.called"):
        file.unlink()
    assert [await heard(*call, of_script=False) for call in calls] == script
    assert docker.calls == printed * 2


@pytest.fixture
def containers(docker):
    return docker.containers


class TestNodes:
    @pytest.mark.parametrize("recording", RECORDINGS)
    async def test_what_each_engine_prints_is_understood(self, docker, containers, recording):
        printed = (ENGINES / f"{recording}.json").read_text()
        ids = [line.split('"')[3] for line in printed.splitlines() if line.strip().startswith('"Id":')]
        docker.says("ps", "\n".join(ids))
        docker.says("inspect", printed)
        control_plane, worker = await containers.nodes()
        assert (control_plane.name, worker.name) == ("dev-control-plane", "dev-worker")
        assert (control_plane.cluster, control_plane.role, worker.role) == ("dev", "control-plane", "worker")
        assert (control_plane.running, worker.running) == (True, False)
        assert {control_plane.container_id, worker.container_id} == set(ids)
        assert re.fullmatch(r"(docker\.io/)?kindest/node:v1\.36\.[13]", control_plane.image)
        assert control_plane.mark == worker.mark == MARK
        built = (control_plane.address, "fc00:f853:ccd:e793::2")
        assert control_plane.addresses == ADDRESSES.get(recording, built)
        assert control_plane.address in ("172.18.0.2", "172.18.0.3", "10.89.0.2", "10.89.0.3", "10.4.0.2")
        assert (worker.address, worker.addresses) == ("", ())
        assert control_plane.api_port == ("127.0.0.1", 41235)
        assert worker.api_port is None
        assert re.match(r"2026-[0-9]{2}-[0-9]{2}.[0-9]{2}:", control_plane.started_at) or recording == "nerdctl-1.7"

    @pytest.mark.parametrize("engine", sorted({file.stem.rpartition("-")[0] for file in SEVERAL.glob("*.json")}))
    async def test_several_control_planes_and_their_balancer_are_understood_running_and_stopped(
        self, docker, containers, engine
    ):
        texts = [(SEVERAL / f"{engine}-{state}.json").read_text() for state in ("running", "stopped")]
        running, stopped = [await recorded(docker, text) for text in texts]
        balancer = running[-1]
        assert [node.role for node in running] == ["control-plane"] * 3 + ["external-load-balancer"]
        assert all(node.running and node.address and node.api_port for node in running)
        assert len({node.address for node in running}) == len({node.api_port for node in running}) == 4
        assert (balancer.name, balancer.mark) == ("dev-external-load-balancer", None)
        assert [node.container_id for node in stopped] == [node.container_id for node in running]
        assert {(node.running, node.address, node.addresses, node.api_port) for node in stopped} == {
            (False, "", (), None)
        }
        assert [node.host_ports for node in stopped] == [{node.api_port[1]} for node in running]

    async def test_ports_of_anyone_hide_no_node(self, docker, containers):
        odd = {"80/tcp": [{"HostPort": "8080"}, {"HostPort": ""}, {"HostPort": 1}, {}], "81/tcp": None}
        many = {f"{port}/tcp": [{"HostPort": str(port)}] for port in range(1, 60000)}
        docker.has(
            inspected(HostConfig={"PortBindings": odd}),
            inspected("other-worker", id=B, HostConfig={"PortBindings": many}),
        )
        first, second = await containers.nodes()
        assert first.host_ports == {8080}
        assert len(second.host_ports) == 256

    async def test_nodes_of_all_clusters_take_two_calls(self, docker, containers):
        stopped = inspected("other-control-plane", id=B, role="control-plane", Mounts=None, NetworkSettings=None)
        stopped |= {"State": {"Running": False, "StartedAt": "0001-01-01T00:00:00Z"}}
        stopped["Config"] = {"Labels": {"io.x-k8s.kind.cluster": "other", "io.x-k8s.kind.role": "control-plane"}}
        docker.has(stopped, inspected())
        assert await containers.nodes() == [
            Node(
                "dev-worker",
                "dev",
                "worker",
                True,
                A,
                "172.18.0.3",
                "2025-01-01T00:00:00Z",
                "kindest/node:v1",
                mark="abc",
                addresses=("172.18.0.3",),
            ),
            Node("other-control-plane", "other", "control-plane", False, B, "", "0001-01-01T00:00:00Z"),
        ]
        assert docker.calls == [
            ["ps", "--all", "--quiet", "--no-trunc", "--filter", "label=io.x-k8s.kind.cluster"],
            ["inspect", "--type=container", A, B],
        ]

    async def test_nodes_of_one_cluster_are_all_that_is_inspected(self, docker, containers):
        docker.has(inspected())
        assert [node.name for node in await containers.nodes("dev")] == ["dev-worker"]
        assert docker.calls == [
            ["ps", "--all", "--quiet", "--no-trunc", "--filter", "label=io.x-k8s.kind.cluster=dev"],
            ["inspect", "--type=container", A],
        ]

    async def test_engine_that_ignores_the_filter_shows_no_nodes_of_other_clusters(self, docker, containers):
        docker.has(inspected(), changed(Id=B, Name="/other", Config__Labels={"io.x-k8s.kind.cluster": "other"}))
        assert [node.name for node in await containers.nodes("dev")] == ["dev-worker"]

    async def test_environment_is_copied_for_each_call_not_for_each_container(self, docker, containers, monkeypatch):
        docker.has(*(inspected(f"n{number}", id=f"{number:064x}") for number in range(9)))
        copies: list[EngineCli] = []
        monkeypatch.setattr(EngineCli, "env", property(lambda cli: copies.append(cli) or {}))
        assert len(await containers.nodes()) == 9
        assert len(copies) == len(docker.calls) == 2

    async def test_no_nodes_take_one_call(self, docker, containers):
        assert await containers.nodes() == []
        assert len(docker.calls) == 1

    async def test_many_containers_are_inspected_in_several_calls(self, docker, containers):
        ids = [f"{number:064x}" for number in range(251)]
        docker.has(*(inspected(f"n{number}", id=container) for number, container in enumerate(ids)))
        assert len(await containers.nodes()) == 251
        assert [len(call) for call in docker.calls] == [6, 252, 3]

    async def test_containers_that_fill_more_than_is_read_are_inspected_in_smaller_parts(self, docker, containers):
        """As hundreds of nodes with dozens of mounts do."""
        docker.path.write_text(VERBOSE)
        documents = [inspected(f"dev-worker{number}", id=id) for number, id in enumerate((A, B, C))]
        docker.has(*documents)
        for document in documents:
            (docker.directory / f"{document['Id']}.json").write_text(json.dumps([document]))
        assert [node.container_id for node in await containers.nodes() or []] == [A, B, C]
        assert len(docker.calls) < 12

    async def test_container_that_podman_is_stopping_still_runs(self, docker, containers):
        """podman reports it as not running for as long as its processes take to end."""
        ending = {"State": {"Running": False, "Status": "stopping", "StartedAt": "2025-01-01T00:00:00Z"}}
        ended = {"State": {"Running": False, "Status": "exited", "StartedAt": "2025-01-01T00:00:00Z"}}
        docker.has(inspected("a", id=A, **ending), inspected("b", id=B, **ended))
        assert {node.name: node.running for node in await containers.nodes() or []} == {"a": True, "b": False}

    @pytest.mark.parametrize("filling", [",", "x"])
    async def test_container_that_is_too_much_hides_no_other(self, docker, containers, filling):
        """Its image chooses its labels."""
        much, briefly = inspected("much-control-plane", id=B), inspected("much-control-plane", id=B)
        much["Config"]["Labels"]["a"] = filling * 9_000_000
        docker.path.write_text(BRIEF)
        docker.has(inspected(), much)
        (docker.directory / "brief.out").write_text(f"[{json.dumps(inspected())}]\n[{json.dumps(briefly)}]\n")
        assert [node.name for node in await containers.nodes() or []] == ["dev-worker", "much-control-plane"]
        assert len(docker.calls) == 3

    @pytest.mark.parametrize("recording", ["docker-20.10", "docker-28", "podman-4.3"])
    async def test_brief_description_has_all_that_is_read_of_a_node(self, recording):
        """Printed by docker 28.2 and podman 4.3 for `inspection.BRIEF` and the containers of the recording.

        It leaves out the ports to publish: anyone may publish thousands.
        """
        files = (ENGINES / f"{recording}.json", ENGINES / "brief" / f"{recording}.json")
        whole, brief = (inspection.documents(file.read_text()) for file in files)
        assert brief.keys() == whole.keys()
        for container, document in whole.items():
            node = inspection.node(document, "kind")
            assert node is not None
            assert inspection.node(brief[container], "kind") == replace(node, host_ports=frozenset())
            assert brief[container]["State"].items() <= document["State"].items()
            assert brief[container]["State"].keys() == {"Running", "Status", "StartedAt"}
            assert inspection.addresses_on(brief[container], "kind") == inspection.addresses_on(document, "kind")
            assert inspection.holds_address_for(brief[container]) == ""
            assert inspection.var_volume(brief[container]) == inspection.var_volume(document)

    async def test_of_each_description_only_what_is_needed_is_kept(self, docker, containers, monkeypatch):
        """An engine on another machine may print 8 MiB for each of its calls."""
        ids, calls = [f"{number:064x}" for number in range(501)], list[int]()
        docker.has(*(inspected(f"n{number}", id=container) for number, container in enumerate(ids)))
        read = inspection.node

        def noting(document: dict[str, Any], network: str) -> Node | None:
            calls.append(len(docker.calls))
            return read(document, network)

        monkeypatch.setattr(inspection, "node", noting)
        assert len(await containers.nodes()) == 501
        assert calls == [2] * 250 + [3] * 250 + [4]

    async def test_engine_that_lists_more_containers_than_any_machine_runs_is_a_failed_command(
        self, docker, containers
    ):
        docker.says("ps", "".join(f"{number:064x}\n" for number in range(10_001)))
        with pytest.raises(UnreadableAnswer, match="it lists more than 10000 containers"):
            await containers.nodes()
        assert len(docker.calls) == 1

    @pytest.mark.parametrize("filling", [[[]], [{}], [1]])
    async def test_description_of_many_small_values_is_not_read(self, docker, containers, filling, monkeypatch):
        """In memory they would take more than twenty times as much as in the output."""
        docker.has(inspected(Filling=filling * 300_000))
        monkeypatch.setattr(inspection, "documents", lambda printed: pytest.fail("it was read"))
        with pytest.raises(TooMuchOutput, match="exit status 0"):
            await containers.nodes()

    async def test_endless_description_of_the_engine_is_not_read(self, docker, containers):
        docker.path.write_text("#!/bin/sh\nhead -c 1048577 /dev/zero\n")
        with pytest.raises(TooMuchOutput):
            await containers.info()

    async def test_container_of_an_empty_cluster_name_is_no_node(self, docker, containers):
        docker.has(inspected(Config={"Labels": {"io.x-k8s.kind.cluster": ""}}))
        assert await containers.nodes() == []

    @pytest.mark.parametrize(
        ("networks", "addresses"),
        [
            ({"kind": ("172.18.0.3", "fc00::3")}, ("172.18.0.3", "fc00::3")),
            ({"kind": ("", "fc00::3")}, ("fc00::3",)),
            ({"bridge": ("172.17.0.9", ""), "kind": ("172.18.0.3", "")}, ("172.18.0.3",)),
            ({"custom": ("10.0.0.3", "")}, ("10.0.0.3",)),
            ({"unknown-eth0": ("10.4.0.3", "")}, ("10.4.0.3",)),
            ({}, ()),
        ],
    )
    async def test_addresses_on_kinds_network_come_first(self, docker, containers, networks, addresses):
        ends = {name: {"IPAddress": v4, "GlobalIPv6Address": v6} for name, (v4, v6) in networks.items()}
        docker.has(inspected(NetworkSettings={"Networks": ends}))
        (node,) = await containers.nodes()
        assert node.addresses == addresses
        assert node.address == (addresses[0] if addresses else "")

    @pytest.mark.parametrize(
        ("engine", "variable"),
        [
            ("docker", "KIND_EXPERIMENTAL_DOCKER_NETWORK"),
            ("podman", "KIND_EXPERIMENTAL_PODMAN_NETWORK"),
        ],
    )
    async def test_network_is_the_one_that_kind_was_told(self, tmp_path, monkeypatch, engine, variable):
        monkeypatch.setenv(variable, "mine")
        ends = {"kind": {"IPAddress": "172.18.0.3"}, "mine": {"IPAddress": "10.9.0.3"}}
        script = Engine(tmp_path, engine)
        script.has(inspected(NetworkSettings={"Networks": ends}))
        (node,) = await script.containers.nodes()
        assert node.address == "10.9.0.3"
        (given,) = await Containers([str(script.path)], environment={variable: "kind"}).nodes()
        assert given.address == "172.18.0.3"

    @pytest.mark.parametrize("engine", ["nerdctl", "finch", "nerdctl.lima"])
    def test_network_of_nerdctl_is_always_kind(self, monkeypatch, engine):
        monkeypatch.setenv("KIND_EXPERIMENTAL_DOCKER_NETWORK", "mine")
        monkeypatch.setenv("KIND_EXPERIMENTAL_NERDCTL_NETWORK", "mine")
        assert Containers([engine]).network == "kind"

    @pytest.mark.parametrize("image", ["a\x1b[2J", "a\nb", "\ud800", "\u202ea"])
    async def test_image_whose_name_would_control_a_terminal_has_none(self, docker, containers, image):
        """An engine on another machine may print anything, and `kubectl get` shows the image."""
        docker.has(inspected(Config={"Labels": {"io.x-k8s.kind.cluster": "dev"}, "Image": image}))
        (node,) = await containers.nodes()
        assert node.image == ""

    async def test_of_several_marks_the_first_in_order_of_text_counts(self, docker, containers):
        paths = ["zzz", "bbb", "", "x" * 300, "ccc"]
        docker.has(inspected(Mounts=[{"Destination": f"{CLAIM_MOUNT_FOLDER}{path}"} for path in paths]))
        (node,) = await containers.nodes()
        assert node.mark == "bbb"

    async def test_volume_that_an_image_declares_is_not_a_mark(self, docker, containers):
        own = {"Type": "bind", "Source": "/dev/null", "Destination": f"{CLAIM_MOUNT_FOLDER}own.1"}
        docker.has(inspected(Mounts=[{"Type": "volume", "Destination": f"{CLAIM_MOUNT_FOLDER}another.1"}, own]))
        (node,) = await containers.nodes()
        assert node.mark == "own.1"

    async def test_long_path_of_a_users_mount_hides_nothing(self, docker, containers):
        docker.has(inspected(Mounts=[{"Destination": "/" + "x" * 5000}]))
        (node,) = await containers.nodes()
        assert node.mark is None


class TestApiPort:
    async def port(self, docker: Engine, ports: Any, *, role: str = "control-plane", **more: Any) -> Any:
        docker.has(inspected(role=role, NetworkSettings={"Ports": ports}, **more))
        (node,) = await docker.containers.nodes()
        return node.api_port

    @pytest.mark.parametrize("role", ["control-plane", "external-load-balancer"])
    async def test_published_port_is_told(self, docker, role):
        ports = {"80/tcp": [{"HostIp": "", "HostPort": "80"}], "6443/tcp": [{"HostIp": "::1", "HostPort": "6443"}]}
        assert await self.port(docker, ports, role=role) == ("::1", 6443)

    async def test_port_without_an_address_is_on_all(self, docker):
        assert await self.port(docker, {"6443/tcp": [{"HostIp": "", "HostPort": "1"}]}) == ("0.0.0.0", 1)

    async def test_address_that_docker_desktop_names_wins_as_with_kind(self, docker):
        labels = {"io.x-k8s.kind.cluster": "dev", "io.x-k8s.kind.role": "control-plane"}
        labels["desktop.docker.io/ports/6443/tcp"] = "10.0.1.7:6443"
        ports = {"6443/tcp": [{"HostIp": "127.0.0.1", "HostPort": "1"}]}
        assert await self.port(docker, ports, Config={"Labels": labels}) == ("10.0.1.7", 6443)

    @pytest.mark.parametrize(
        "label",
        ["x" * 300 + ":6443", {"a": "b"}, "10.0.1.7", ":", "x\0y:6443", "x y:6443", "u@x:6443", "x/y:6443", "[x]:6443"],
    )
    async def test_label_of_an_image_that_makes_no_sense_hides_no_node(self, docker, label):
        labels = {"io.x-k8s.kind.cluster": "dev", "io.x-k8s.kind.role": "control-plane"}
        labels["desktop.docker.io/ports/6443/tcp"] = label
        ports = {"6443/tcp": [{"HostIp": "127.0.0.1", "HostPort": "1"}]}
        assert await self.port(docker, ports, Config={"Labels": labels}) == ("127.0.0.1", 1)

    async def test_worker_and_stopped_control_plane_have_none(self, docker):
        ports = {"6443/tcp": [{"HostIp": "127.0.0.1", "HostPort": "1"}]}
        assert await self.port(docker, ports, role="worker") is None
        assert await self.port(docker, ports, State={"Running": False}) is None
        assert await self.port(docker, {"6443/tcp": None}) is None

    @pytest.mark.parametrize("port", ["", "0"])
    async def test_port_that_the_engine_has_not_chosen_yet_is_none(self, docker, port):
        assert await self.port(docker, {"6443/tcp": [{"HostIp": "127.0.0.1", "HostPort": port}]}) is None


def changed(**paths: Any) -> dict[str, Any]:
    """Return a container with another value at a path, as in State__Running."""
    document = deepcopy(inspected(role="control-plane"))
    for path, value in paths.items():
        place, (*above, last) = document, path.split("__")
        for key in above:
            place = place[key]
        place[last] = value
    return document


LONG = "x" * 2000


class TestUnreadable:
    @pytest.mark.parametrize(
        "printed",
        [
            "[",
            '[{"Id": "',
            "WARNING: something\n[]",
            "{}",
            '"text"',
            "7",
            "[7]",
            "[[]]",
            "[" * 100_000,
            "1" * 5000,
            "null " * 20_000,
            "[{}]",
            '[{"Id": null}]',
            '[{"Id": "dev-worker"}]',
            # What nerdctl prints for a template with a field that it does not have: the text before it twice.
            f'["["{A}","dev-control-plane","dev","control-plane",true,["/etc/capk/claim/u-1",""]]',
        ],
        ids=lambda text: text[:20],
    )
    async def test_answer_that_is_no_list_of_containers_is_a_failed_command(self, docker, containers, printed):
        docker.says("ps", f"{A}\n")
        docker.says("inspect", printed)
        with pytest.raises(UnreadableAnswer, match="cannot be read"):
            await containers.nodes()

    @pytest.mark.parametrize(
        "document",
        [
            changed(Name=None),
            changed(Name="/"),
            changed(Name="--all"),
            changed(Name=["x"]),
            changed(State=None),
            changed(State="running"),
            changed(State__Running=None),
            changed(State__Running="true"),
            changed(State__StartedAt=5),
            changed(State__StartedAt=LONG),
            changed(Config=[]),
            changed(Config__Labels=["x"]),
            changed(Config__Labels={"io.x-k8s.kind.cluster": 5}),
            changed(Config__Labels={"io.x-k8s.kind.cluster": "dev", "io.x-k8s.kind.role": []}),
            changed(Config__Image=LONG),
            changed(Config__Image={}),
            changed(Mounts={}),
            changed(Mounts=["/var"]),
            changed(Mounts=[{}]),
            changed(Mounts=[{"Destination": 5}]),
            changed(NetworkSettings="x"),
            changed(NetworkSettings__Networks=[]),
            changed(NetworkSettings__Networks={"kind": "172.18.0.2"}),
            changed(NetworkSettings__Networks={"kind": {"IPAddress": "nonsense"}}),
            changed(NetworkSettings__Networks={"kind": {"IPAddress": 5}}),
            changed(NetworkSettings__Ports=[]),
            changed(NetworkSettings__Ports={"6443/tcp": {}}),
            changed(NetworkSettings__Ports={"6443/tcp": ["1"]}),
            changed(NetworkSettings__Ports={"6443/tcp": [{"HostPort": 6443}]}),
            changed(NetworkSettings__Ports={"6443/tcp": [{"HostPort": "-1"}]}),
            changed(NetworkSettings__Ports={"6443/tcp": [{"HostPort": "70000"}]}),
            changed(NetworkSettings__Ports={"6443/tcp": [{"HostPort": "²"}]}),
        ],
    )
    async def test_container_of_another_shape_is_a_failed_command(self, docker, containers, document):
        docker.has(document)
        with pytest.raises(UnreadableAnswer, match="cannot be read") as failure:
            await containers.nodes()
        assert len(failure.value.output) < 200

    @pytest.mark.parametrize("name", [LONG, "-x", "../x", "a b", "x\n", "X", "\x1b[2J"])
    async def test_container_labelled_with_a_name_that_no_object_can_have_hides_no_node(self, docker, containers, name):
        labelled = changed(Id=B, Name="/strange", Config__Labels={"io.x-k8s.kind.cluster": name})
        docker.has(inspected(), labelled)
        assert [node.name for node in await containers.nodes()] == ["dev-worker"]

    @pytest.mark.parametrize("role", [LONG, "\ud800", "a b", "\x1b[2J", "x\n"])
    async def test_container_labelled_with_an_odd_role_hides_no_node(self, docker, containers, role):
        labels = {"io.x-k8s.kind.cluster": "dev", "io.x-k8s.kind.role": role}
        docker.has(inspected(), changed(Id=B, Name="/strange", Config__Labels=labels))
        assert {node.name: node.role for node in await containers.nodes()} == {"dev-worker": "worker", "strange": ""}

    async def test_container_of_a_name_that_is_too_long_goes_by_its_id(self, docker, containers):
        docker.has(inspected(), changed(Id=B, Name=f"/{LONG}"))
        assert [node.name for node in await containers.nodes()] == [B, "dev-worker"]
        assert await containers.occupants() == {"172.18.0.3": B}

    async def test_message_repeats_nothing_that_the_engine_printed(self, docker, containers):
        docker.says("ps", f"{A}\n")
        docker.says("inspect", '[{"Config": {"Env": ["TOKEN=secret"')
        with pytest.raises(CommandFailed) as failure:
            await containers.nodes()
        assert "secret" not in str(failure.value) + failure.value.output

    @pytest.mark.parametrize("printed", ["abc\n", "Warning: x\n", "--help\n", f"{A[:-1]}\n"])
    async def test_listing_of_something_else_is_a_failed_command(self, docker, containers, printed):
        docker.says("ps", printed)
        with pytest.raises(UnreadableAnswer, match="container ids"):
            await containers.nodes()

    async def test_silence_about_a_container_that_is_still_there_is_a_failed_command(self, docker, containers):
        docker.has(inspected(), listed=(A, B))
        with pytest.raises(CommandFailed, match="inspect"):
            await containers.nodes()


DOCKER_GONE = f"Error response from daemon: No such container: {B}\n"
GONE = [
    DOCKER_GONE,
    f'Error: no such object: "{B}"\n',
    f"Error: inspecting object: no such container {B}\n",
    f'Error: no such container "{B}"\n',
    f"Error: no container with name or ID {B} found: no such container\n",
]


class TestContainersThatGoAway:
    async def test_container_that_goes_away_in_between_is_left_out(self, docker, containers):
        docker.has(inspected(), listed=(A, B))
        docker.says("ps-2", f"{A}\n")
        docker.says("inspect", json.dumps([inspected()]), status=1)
        assert [node.name for node in await containers.nodes()] == ["dev-worker"]

    @pytest.mark.parametrize("printed", GONE)
    async def test_container_that_is_still_listed_while_it_is_removed_is_left_out(self, docker, containers, printed):
        docker.has(inspected(), listed=(A, B))
        docker.says("inspect", json.dumps([inspected()]), printed, 1)
        assert [node.name for node in await containers.nodes()] == ["dev-worker"]

    async def test_rest_is_asked_for_again_where_one_that_is_gone_hides_all_others(self, docker, containers):
        docker.has(inspected(), listed=(A, B))
        docker.says("inspect", "", f'time="now" level=fatal msg="1 errors: [no such object {B}]"\n', 1)
        docker.says("inspect-2", json.dumps([inspected()]))
        assert [node.name for node in await containers.nodes()] == ["dev-worker"]
        assert docker.calls[-1] == ["inspect", "--type=container", A]

    async def test_when_all_go_away_nothing_is_left(self, docker, containers):
        docker.says("ps", f"{B}\n")
        docker.says("inspect", "null\n", DOCKER_GONE, 1)
        assert await containers.nodes() == []

    async def test_vanished_container_does_not_explain_the_failure_of_another(self, docker, containers):
        docker.has(inspected(), listed=(A, B, C))
        docker.says("inspect", json.dumps([inspected()]), f"{DOCKER_GONE}something broke\n", 1)
        with pytest.raises(CommandFailed):
            await containers.nodes()

    async def test_failure_that_no_vanished_container_explains_is_one(self, docker, containers):
        docker.has(inspected(), listed=(A, B))
        docker.says("inspect", json.dumps([inspected()]), "something broke\n", 1)
        with pytest.raises(CommandFailed) as failure:
            await containers.nodes()
        assert failure.value.output == "something broke\n"

    async def test_failure_of_a_complete_answer_is_one(self, docker, containers):
        docker.has(inspected())
        docker.says("inspect", json.dumps([inspected()]), "something broke\n", 1)
        with pytest.raises(CommandFailed):
            await containers.nodes()

    async def test_failure_with_half_an_answer_says_what_the_engine_says(self, docker, containers):
        docker.has(inspected())
        docker.says("inspect", "[{", "something broke\n", 1)
        with pytest.raises(CommandFailed) as failure:
            await containers.nodes()
        assert failure.value.output == "something broke\n"

    async def test_engine_that_is_down_is_a_failure(self, docker, containers):
        docker.says("ps", err="Cannot connect to the Docker daemon\n", status=1)
        with pytest.raises(CommandFailed):
            await containers.nodes()


class TestStartAndStop:
    async def test_containers_are_started_one_after_the_other_in_the_order_given(self, docker, containers):
        await containers.start(["dev-worker", "dev-control-plane"])
        await containers.start([])
        assert docker.calls == [["start", "dev-worker"], ["start", "dev-control-plane"]]

    async def test_start_that_fails_is_not_followed_by_others_which_would_get_its_address(self, docker, containers):
        docker.says("start", err="Error: no\n", status=1)
        with pytest.raises(CommandFailed):
            await containers.start(["dev-worker", "dev-control-plane"])
        assert len(docker.calls) == 1

    async def test_stop_names_all_containers_in_one_call(self, docker, containers):
        await containers.stop(["dev-worker", "dev-control-plane"])
        await containers.stop([])
        assert docker.calls == [["stop", "-t", "10", "dev-worker", "dev-control-plane"]]


class TestHalt:
    async def test_containers_are_stopped_by_their_ids(self, docker, containers):
        docker.says("stop", f"{A}\n{B}\n")
        await containers.halt([A, B])
        await containers.halt([])
        assert docker.calls == [["stop", "-t", "10", A, B]]

    @pytest.mark.parametrize("printed", GONE)
    async def test_container_that_is_gone_is_fine(self, docker, containers, printed):
        docker.says("stop", f"{A}\n", printed, 1)
        await containers.halt([A, B])

    async def test_other_failure_is_one_even_beside_a_container_that_is_gone(self, docker, containers):
        docker.says("stop", f"{A}\n", f"{DOCKER_GONE}Error: cannot stop {C}: device or resource busy\n", 1)
        with pytest.raises(CommandFailed) as failure:
            await containers.halt([A, B, C])
        assert "resource busy" in failure.value.output

    @pytest.mark.parametrize("word", ["dev-worker", A[:12], "", "--all"])
    async def test_nothing_is_stopped_by_anything_but_a_whole_id(self, docker, containers, word):
        with pytest.raises(CommandFailed):
            await containers.halt([A, word])
        assert docker.calls == []

    async def test_without_an_engine_nothing_happens(self):
        await Containers(None).halt([A])


BALANCER = "mkdir -p /home/envoy && echo -en 'x' > /home/envoy/envoy.yaml && {} && while true; do envoy -c x; done"


@pytest.mark.parametrize(
    ("cmd", "forgets"),
    [
        (["bash", "-c", BALANCER.format("echo -en 'resources: []' > /home/envoy/lds.yaml")], True),
        (["bash", "-c", BALANCER.format("{ [ ! -f /home/envoy/lds.yaml ] && echo > /home/envoy/lds.yaml; }")], False),
        (["haproxy", "-f", "/usr/local/etc/haproxy/haproxy.cfg"], False),
        (None, False),
        ("bash", False),
        ([1, None], False),
    ],
    ids=["kind v0.32", "kind v0.33", "haproxy", "none", "text", "no texts"],
)
async def test_load_balancer_that_loses_its_configuration_is_known_by_its_command(docker, containers, cmd, forgets):
    document = inspected("dev-external-load-balancer", role="external-load-balancer")
    document["Config"]["Cmd"] = cmd
    same_of_worker = inspected("dev-worker", id=B)
    same_of_worker["Config"]["Cmd"] = cmd
    docker.has(document, same_of_worker)
    found = {node.name: node.forgets for node in await containers.nodes()}
    assert found == {"dev-external-load-balancer": forgets, "dev-worker": False}


class TestRemove:
    async def test_containers_go_with_their_volumes(self, docker, containers):
        docker.says("rm", f"{A}\n{B}\n")
        await containers.remove([A, B])
        await containers.remove([])
        assert docker.calls == [["rm", "--force", "--volumes", A, B]]

    @pytest.mark.parametrize(
        "printed",
        [
            *GONE,
            f"Error response from daemon: removal of container {B} is already in progress\n",
        ],
    )
    async def test_container_that_is_gone_or_goes_already_is_fine(self, docker, containers, printed):
        docker.says("rm", f"{A}\n", printed, 1)
        await containers.remove([A, B])

    async def test_other_failure_is_one_even_beside_a_container_that_is_gone(self, docker, containers):
        docker.says("rm", f"{A}\n", f"{DOCKER_GONE}Error: cannot remove {C}: device or resource busy\n", 1)
        with pytest.raises(CommandFailed) as failure:
            await containers.remove([A, B, C])
        assert "resource busy" in failure.value.output

    @pytest.mark.parametrize("word", ["dev-worker", A[:12], "", "--all"])
    async def test_nothing_is_removed_by_anything_but_a_whole_id(self, docker, containers, word):
        with pytest.raises(CommandFailed):
            await containers.remove([A, word])
        assert docker.calls == []

    async def test_podmans_volumes_with_names_are_removed_as_well(self, tmp_path):
        podman = Engine(tmp_path, "podman")
        volume = {"Type": "volume", "Name": "v1", "Destination": "/var"}
        foreign = {"Type": "volume", "Name": "mine", "Destination": "/data"}
        podman.says("inspect", json.dumps([inspected(Mounts=[volume, foreign])]))
        podman.says("rm", f"{A}\n")
        await podman.containers.remove([A])
        assert podman.calls == [
            ["inspect", "--type=container", A],
            ["rm", "--force", "--volumes", A],
            ["volume", "rm", "v1"],
        ]
        podman.says("volume", err='Error: no volume with name "v1" found: no such volume\n', status=1)
        await podman.containers.remove([A])
        podman.says("volume", err="Error: volume v1 is being used by a container\n", status=2)
        with pytest.raises(CommandFailed):
            await podman.containers.remove([A])

    async def test_podman_that_is_called_docker_leaves_no_volumes(self, tmp_path):
        """The package podman-docker has a command of that name. kind looks at what it is, not at its name."""
        shim = Engine(tmp_path, "docker")
        containers = shim.containers
        assert containers.engine == "docker"
        shim.says("info", json.dumps({"host": {"hostname": "laptop"}, "version": {"Version": "5.4.0"}}))
        assert await containers.engine_id() is None
        assert (containers.engine, containers.gives_lowest_address) == ("podman", False)
        shim.says("inspect", json.dumps([inspected(Mounts=[{"Type": "volume", "Name": "v1", "Destination": "/var"}])]))
        shim.says("rm", f"{A}\n")
        await containers.remove([A])
        assert shim.calls[-1] == ["volume", "rm", "v1"]

    async def test_volumes_of_a_container_that_is_too_much_go_with_it(self, tmp_path):
        """Its image chooses its labels."""
        podman = Engine(tmp_path, "podman")
        podman.path.write_text(BRIEF)
        much = inspected(Mounts=[{"Type": "volume", "Name": "v1", "Destination": "/var"}])
        podman.has(much | {"Much": "," * 300_000})
        (podman.directory / "brief.out").write_text(json.dumps([much]))
        await podman.containers.remove([A])
        assert [call[0] for call in podman.calls] == ["inspect", "inspect", "rm", "volume"]
        assert podman.calls[-1] == ["volume", "rm", "v1"]

    async def test_podman_has_no_volume_to_remove_of_a_container_that_is_gone(self, tmp_path):
        podman = Engine(tmp_path, "podman")
        podman.says("inspect", "[]\n", f"Error: inspecting object: no such container {A}\n", 125)
        await podman.containers.remove([A])
        assert [call[0] for call in podman.calls] == ["inspect", "rm"]

    async def test_nerdctl_is_kept_from_restarting_what_is_removed(self, tmp_path):
        nerdctl = Engine(tmp_path, "nerdctl")
        nerdctl.says("update", err="no such container\n", status=1)
        nerdctl.says("rm", f"{A}\n")
        await nerdctl.containers.remove([A])
        assert nerdctl.calls == [
            ["update", "--restart=no", A],
            ["stop", A],
            ["rm", "--force", "--volumes", A],
        ]

    async def test_nerdctl_that_hides_a_failure_is_found_out(self, tmp_path):
        nerdctl = Engine(tmp_path, "nerdctl")
        nerdctl.says("rm", f"{A}\n", f'level=error msg="1 errors:\\nno such container: {B}"\n')
        await nerdctl.containers.remove([A, B])
        nerdctl.says("rm", f"{A}\n", 'level=error msg="1 errors:\\nfailed to delete task"\n')
        with pytest.raises(CommandFailed):
            await nerdctl.containers.remove([A, B])


class TestCopy:
    """A script prints a real archive; all that is not text arrives as it is."""

    def engine(self, tmp_path: Path, name: str = "docker", *, cut: int = 0) -> Engine:
        engine = Engine(tmp_path, name)
        folder = tmp_path / "capk"
        (folder / "claim").mkdir(parents=True)
        (folder / "complete").write_text("u1.2")
        whole = io.BytesIO()
        with tarfile.open(fileobj=whole, mode="w") as archive:
            archive.add(folder, "capk")
            entry = tarfile.TarInfo("capk/theirs")
            entry.uid = 2**31 + 5  # in bytes that are not ASCII
            archive.addfile(entry)
        (tmp_path / "archive.tar").write_bytes(whole.getvalue()[: len(whole.getvalue()) - cut])
        engine.path.write_text(f'#!/bin/sh\necho "$*" >>{tmp_path}/calls\ncat {tmp_path}/archive.tar\n')
        return engine

    @pytest.mark.parametrize("name", ["docker", "podman"])
    async def test_folder_of_a_container_is_read(self, tmp_path, name):
        engine = self.engine(tmp_path, name)
        found = await engine.containers.copied(A, "/etc/capk")
        assert found == {"": "", "claim": "", "complete": "u1.2", "theirs": ""}
        assert engine.calls == [["cp", f"{A}:/etc/capk", "-"]]

    async def test_folder_that_arrives_in_part_is_no_answer(self, tmp_path):
        with pytest.raises(UnreadableAnswer):
            await self.engine(tmp_path, cut=tarfile.RECORDSIZE).containers.copied(A, "/etc/capk")

    async def test_nerdctl_is_not_asked(self, tmp_path):
        """An older one would copy the folder to where the provider runs."""
        nerdctl = self.engine(tmp_path, "nerdctl")
        with pytest.raises(CommandFailed):
            await nerdctl.containers.copied(A, "/etc/capk")
        assert nerdctl.calls == []

    async def test_without_a_command_there_is_no_answer(self):
        with pytest.raises(CommandMissing):
            await Containers(None).copied(A, "/etc/capk")


class TestExec:
    async def test_command_runs_in_the_node(self, docker, containers):
        docker.says("exec", "yes\n")
        assert (await containers.run("dev-worker", ["test", "-e", "/x"])).stdout == "yes\n"
        assert docker.calls == [["exec", "dev-worker", "test", "-e", "/x"]]

    async def test_input_is_handed_on(self, docker, containers):
        await containers.run("dev-worker", ["cat"], stdin="a\nb")
        assert docker.calls == [["exec", "--interactive", "dev-worker", "cat"]]
        assert (docker.directory / "stdin").read_text() == "a\nb"

    async def test_command_that_fails_is_a_failed_command(self, docker, containers):
        docker.says("exec", err="no\n", status=127)
        with pytest.raises(CommandFailed) as failure:
            await containers.run("dev-worker", ["nonsense"])
        assert (failure.value.exit_status, failure.value.output) == (127, "no\n")

    async def test_error_of_a_command_that_prints_secrets_holds_none(self, docker, containers):
        docker.says("exec", "certSANs: [private.example]\n", "cat: /kind/version: No such file\n", 1)
        with pytest.raises(CommandFailed) as failure:
            await containers.read("dev-worker", ["cat", "/kind/kubeadm.conf", "/kind/version"])
        assert failure.value.output == "cat: /kind/version: No such file\n"

    @pytest.mark.parametrize(
        "error", [TooMuchOutput([], "private.example", 1), CommandTimedOut([], "private.example", 9)]
    )
    async def test_error_of_an_unfinished_command_that_prints_secrets_holds_none(self, containers, monkeypatch, error):
        async def fail(*_: Any, **options: Any) -> None:
            raise error

        monkeypatch.setattr(command, "run", fail)
        with pytest.raises(type(error)) as failure:
            await containers.read("dev-worker", ["cat", "/kind/kubeadm.conf"])
        assert "private" not in failure.value.output

    async def test_file_is_written_by_the_shell_from_its_input(self, docker, containers):
        await containers.write_file("dev-worker", '/a "b"/$(c)', "töp", mode="0600")
        assert (docker.directory / "stdin").read_text() == "töp"
        written = (docker.directory / "calls").read_text()
        assert written == (f'exec --interactive dev-worker sh -c {WRITE_FILE} write-file /a "b"/$(c) 0600 4\n')

    @pytest.fixture
    def shell(self, tmp_path):
        """An engine whose nodes are this machine."""
        path = tmp_path / "docker"
        path.write_text('#!/bin/sh\nshift 3\n[ -z "$CUT" ] || exec "$@" <"$CUT"\nexec "$@"\n')
        path.chmod(0o700)
        return path

    async def test_file_appears_with_its_folders_content_and_mode(self, tmp_path, shell):
        file = tmp_path / 'new "folder"' / "-deep $(false)" / "a'file"
        await Containers([str(shell)]).write_file("node", str(file), "töp\n", mode="0640")
        assert file.read_text() == "töp\n"
        assert file.stat().st_mode & 0o777 == 0o640
        await Containers([str(shell)]).write_file("node", str(file), "")
        assert file.read_text() == ""
        assert file.stat().st_mode & 0o777 == 0o644
        assert [other.name for other in file.parent.iterdir()] == ["a'file"]

    async def test_content_that_was_cut_short_does_not_replace_a_file(self, tmp_path, shell):
        file, cut = tmp_path / "file", tmp_path / "cut"
        file.write_text("before")
        cut.write_text("aft")
        containers = Containers([str(shell)], environment={"CUT": str(cut)})
        with pytest.raises(CommandFailed, match="exit status 1") as failure:
            await containers.write_file("node", str(file), "afterwards")
        assert "did not arrive whole" in failure.value.output
        assert file.read_text() == "before"
        assert {other.name for other in tmp_path.iterdir()} == {"docker", "file", "cut"}


class TestPlaceholders:
    def held(self, cluster: str = "dev", **labels: str) -> dict[str, Any]:
        mine = {"infrastructure.cluster.x-k8s.io/holds-address-for": cluster, **labels}
        return inspected("dev-address-placeholder", Config={"Image": "kindest/node:v1", "Labels": mine})

    async def test_placeholder_is_short_lived_and_no_node(self, docker, containers):
        docker.has(self.held())
        docker.says("run", f"{A}\n")
        assert await containers.hold_address("dev", "kindest/node:v1") == (A, "172.18.0.3")
        run, inspect = docker.calls
        assert run[:4] == ["run", "--detach", "--rm", "--pull=never"]
        assert re.fullmatch(r"--name=dev-address-placeholder-[0-9a-f]{8}", run[4])
        assert run[5:] == [
            "--label=infrastructure.cluster.x-k8s.io/holds-address-for=dev",
            *["--network=kind", "--stop-signal=SIGKILL", "--entrypoint=sleep", "kindest/node:v1", "300"],
        ]
        assert inspect == ["inspect", "--type=container", A]
        assert await containers.nodes() == []

    @pytest.mark.parametrize("image", ["", "--privileged"])
    async def test_nothing_runs_without_an_image(self, docker, containers, image):
        with pytest.raises(CommandFailed) as refused:
            await containers.hold_address("dev", image)
        assert "no image" in refused.value.output
        assert docker.calls == []

    @pytest.mark.parametrize("printed", ["", "abc", f"{A}\n{B}"])
    async def test_id_of_another_shape_is_a_failed_command(self, docker, containers, printed):
        docker.says("run", printed)
        with pytest.raises(UnreadableAnswer):
            await containers.hold_address("dev", "kindest/node:v1")

    async def test_placeholder_without_an_address_is_a_failed_command(self, docker, containers):
        docker.has(self.held() | {"NetworkSettings": {"Networks": {}}})
        docker.says("run", A)
        with pytest.raises(UnreadableAnswer):
            await containers.hold_address("dev", "kindest/node:v1")

    async def test_only_placeholders_of_the_kind_cluster_are_removed(self, docker, containers):
        """Regardless of the engine's filter."""
        docker.has(
            self.held() | {"Id": A},
            self.held("other") | {"Id": B},
            self.held(**{"io.x-k8s.kind.cluster": "dev"}) | {"Id": C},
            inspected(id="d" * 64),
        )
        docker.says("rm", A)
        await containers.release_addresses("dev")
        label = "label=infrastructure.cluster.x-k8s.io/holds-address-for=dev"
        assert docker.calls[0] == ["ps", "--all", "--quiet", "--no-trunc", "--filter", label]
        assert docker.calls[-1] == ["rm", "--force", "--volumes", A]

    async def test_nothing_is_removed_where_there_is_none(self, docker, containers):
        docker.has()
        await containers.release_addresses("dev")
        assert [call[0] for call in docker.calls] == ["ps"]

    @pytest.mark.parametrize(("name", "gives"), [("docker", True), ("podman", False), ("nerdctl", False)])
    def test_engines_differ_in_which_address_they_give_next(self, name, gives):
        assert Containers([name]).gives_lowest_address is gives


class TestOccupants:
    async def test_all_containers_of_the_network_are_told_with_their_addresses(self, docker, containers):
        registry = {
            "kind": {"IPAddress": "172.18.0.9", "GlobalIPv6Address": "fc00::9"},
            "other": {"IPAddress": "10.0.0.1"},
        }
        stranger = {"Id": B, "Name": "/registry", "NetworkSettings": {"Networks": registry}}
        docker.has(inspected(), stranger)
        assert await containers.occupants() == {
            "172.18.0.3": "dev-worker",
            "172.18.0.9": "registry",
            "fc00::9": "registry",
        }
        assert docker.calls[0] == ["ps", "--quiet", "--no-trunc", "--filter", "network=kind"]

    async def test_nerdctls_networks_have_other_names(self, tmp_path):
        nerdctl = Engine(tmp_path, "nerdctl")
        nerdctl.has(inspected(NetworkSettings={"Networks": {"unknown-eth0": {"IPAddress": "10.4.0.3"}}}))
        assert await nerdctl.containers.occupants() == {"10.4.0.3": "dev-worker"}

    async def test_answer_of_another_shape_is_a_failed_command(self, docker, containers):
        docker.has(inspected(Name=5))
        with pytest.raises(UnreadableAnswer):
            await containers.occupants()


class TestEngineId:
    @pytest.mark.parametrize(
        ("facts", "expected"),
        [
            ({"ID": "TZKX:5F2A:ABCD"}, "TZKX:5F2A:ABCD"),
            (
                {"ID": "5d6a6d3e-6f0b-4c1c-9d50-2f3c5b1d7c11", "ServerErrors": None},
                "5d6a6d3e-6f0b-4c1c-9d50-2f3c5b1d7c11",
            ),
            ({"host": {"hostname": "podman"}}, None),
            ({"ID": "5d6a6d3e-6f0b-4c1c-9d50-2f3c5b1d7c11", "ProductLicense": "Apache-2.0"}, None),
            ({"ID": "TZKX:5F2A:ABCD", "ProductLicense": "Community Engine"}, "TZKX:5F2A:ABCD"),
            ({"ID": ""}, None),
            ({"ID": 5}, None),
            ({"ID": "a b"}, None),
            ({"ID": "x" * 200}, None),
        ],
    )
    async def test_id_is_what_the_engine_calls_itself(self, docker, containers, facts, expected):
        docker.says("info", json.dumps(facts))
        assert await containers.engine_id() == expected

    @pytest.mark.parametrize("printed", ["", "[", "[]", "5"])
    async def test_answer_of_another_shape_is_a_failed_command(self, docker, containers, printed):
        docker.says("info", printed)
        with pytest.raises(CommandFailed):
            await containers.engine_id()

    async def test_client_that_succeeds_without_an_engine_is_a_failed_command(self, docker, containers):
        docker.says("info", json.dumps({"ID": "", "ServerErrors": ["Cannot connect to the Docker daemon"]}))
        with pytest.raises(CommandFailed) as failure:
            await containers.engine_id()
        assert "Cannot connect" in failure.value.output


class TestImages:
    async def test_image_is_looked_for_on_the_engine_and_never_pulled(self, docker, containers):
        docker.says("image", status=0)
        assert await containers.has_image("kindest/node:v1.37.0") is True
        docker.says("image", err="Error: No such image", status=1)
        assert await containers.has_image("kindest/node:v1.37.0") is False
        assert (docker.directory / "calls").read_text().splitlines() == ["image inspect kindest/node:v1.37.0"] * 2

    async def test_registry_is_asked_for_the_manifest_alone(self, docker, containers):
        docker.says("manifest", status=0)
        assert await containers.can_pull("kindest/node:v1.37.0") is True
        docker.says("manifest", err="manifest unknown", status=1)
        assert await containers.can_pull("kindest/node:v1.37.0") is False
        assert (docker.directory / "calls").read_text().splitlines() == ["manifest inspect kindest/node:v1.37.0"] * 2

    async def test_image_that_looks_like_an_option_is_not_asked_for(self, docker, containers):
        assert await containers.has_image("--help") is False
        assert not (docker.directory / "calls").exists()


@pytest.mark.parametrize(
    ("chosen", "expected"), [(("podman", "--remote"), ("podman", "--remote")), ((), ()), (None, None)]
)
def test_engine_that_a_person_chose_wins_and_none_is_a_choice(chosen, expected, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert chosen_engine(chosen, {}) == expected


async def test_without_an_engine_nothing_is_known_and_nothing_is_done():
    nothing = Containers(None)
    assert await nothing.info() is None
    assert await nothing.has_image("kindest/node") is False
    assert await nothing.nodes() is None
    assert await nothing.engine_id() is None
    assert await nothing.occupants() == {}
    await nothing.start(["dev-control-plane"])
    await nothing.stop(["dev-control-plane"])
    await nothing.remove([A])
    await nothing.release_addresses("dev")
    with pytest.raises(CommandMissing):
        await nothing.run("dev-control-plane", ["true"])
    with pytest.raises(CommandMissing):
        await nothing.write_file("dev-control-plane", "/x", "")


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


class TestNames:
    @pytest.mark.parametrize(
        ("printed", "expected"),
        [
            ([{"name": "kind", "dns_enabled": True}], True),
            ([{"name": "kind", "dns_enabled": False}], False),
            ([{"name": "kind", "plugins": [{"type": "bridge"}, {"type": "dnsname"}]}], True),
            ([{"name": "kind", "plugins": [{"type": "bridge"}, {"type": "portmap"}]}], False),
            ([{"name": "kind", "dns_enabled": "yes"}], None),
            ([{"name": "kind", "plugins": []}], None),
            ([{"name": "kind", "plugins": {"type": "bridge"}}], None),
            ([], None),
            ({}, None),
            (["kind"], None),
        ],
    )
    async def test_podman_shows_whether_its_network_has_dns(self, tmp_path, printed, expected):
        podman = Engine(tmp_path, "podman")
        podman.says("network", json.dumps(printed))
        assert await podman.containers.resolves_names() is expected
        assert podman.calls[0] == ["network", "inspect", "kind"]

    @pytest.mark.parametrize("status", [0, 125])
    @pytest.mark.parametrize(
        ("backend", "is_missing"),
        [
            ({"backend": "netavark", "path": "/x/netavark", "dns": {"package": "Unknown"}}, True),
            ({"backend": "netavark", "dns": {"package": "x", "path": "/x/aardvark-dns"}}, False),
            ({"backend": "netavark"}, False),
            ({"backend": "netavark", "dns": "x"}, False),
            # CNI's description of the network is correct, but packages often do not contain its plugins.
            ({"backend": "cni", "dns": {}}, False),
            (None, False),
            ([], False),
        ],
    )
    async def test_network_that_promises_names_does_not_hide_that_the_server_for_them_is_missing(
        self, tmp_path, status, backend, is_missing
    ):
        podman = Engine(tmp_path, "podman")
        podman.says("network", json.dumps([{"name": "kind", "dns_enabled": True}]), status=status)
        podman.says("info", json.dumps({"host": {"networkBackend": "netavark", "networkBackendInfo": backend}}))
        assert await podman.containers.resolves_names() is (False if is_missing else None if status else True)

    @pytest.mark.parametrize("printed", ["", "[", "[]", '{"host": []}'])
    async def test_engine_that_describes_itself_in_another_way_lacks_nothing(self, tmp_path, printed):
        podman = Engine(tmp_path, "podman")
        podman.says("network", json.dumps([{"name": "kind", "dns_enabled": True}]))
        podman.says("info", printed)
        assert await podman.containers.resolves_names() is True

    async def test_network_that_is_not_there_yet_shows_nothing(self, tmp_path):
        podman = Engine(tmp_path, "podman")
        podman.says("network", "[]", "Error: no such network", status=125)
        assert await podman.containers.resolves_names() is None
        podman.says("network", "[")
        assert await podman.containers.resolves_names() is None

    async def test_other_engines_are_not_asked(self, docker, containers):
        assert await containers.resolves_names() is None
        assert await Containers(None).resolves_names() is None
        assert docker.calls == []


class TestWorkers:
    async def test_label_of_a_machine_is_read_and_bounded(self, docker, containers):
        document = inspected()
        document["Config"]["Labels"]["kind.infrastructure.cluster.x-k8s.io/machine"] = "m-1"
        docker.has(document, inspected("dev-other", id=B))
        assert [(node.name, node.machine) for node in await containers.nodes()] == [
            ("dev-other", ""),
            ("dev-worker", "m-1"),
        ]
        document["Config"]["Labels"]["kind.infrastructure.cluster.x-k8s.io/machine"] = "m" * 256
        docker.has(document)
        # An image can declare it too, and must not hide the other nodes.
        assert [len(node.machine) for node in await containers.nodes()] == [255]

    @pytest.mark.parametrize("recording", RECORDINGS)
    async def test_nodes_that_kind_made_have_no_machine(self, docker, recording):
        found = (
            await recorded(docker, (ENGINES / f"{recording}.json").read_text()) if "nerdctl" not in recording else []
        )
        assert [node for node in found if node.machine] == []

    async def environment(self, docker: Engine, variables: dict[str, str]) -> list[str]:
        """Run a node and return the variables of the engine's command."""
        docker.path.write_text(
            f'#!/bin/sh\necho "$*" >{docker.directory}/calls\nenv >{docker.directory}/env\necho {A}\n'
        )
        flags = [word for name in variables for word in ("-e", name)]
        assert await docker.containers.run_node([*flags, "image"], variables) == A
        return (docker.directory / "env").read_text().splitlines()

    async def test_variables_of_the_provider_are_passed_on_by_name_and_never_by_value(self, docker, monkeypatch):
        monkeypatch.setenv("KIND_EXPERIMENTAL_CONTAINERD_SNAPSHOTTER", "ours")
        monkeypatch.setenv("HTTP_PROXY", "http://secret@p")
        found = await self.environment(docker, {"HTTP_PROXY": "http://secret@p"})
        assert docker.calls == [["run", "-e", "HTTP_PROXY", "image"]]
        assert "HTTP_PROXY=http://secret@p" in found
        assert not [line for line in found if line.startswith("KIND_EXPERIMENTAL_CONTAINERD_SNAPSHOTTER")]

    async def test_command_does_not_use_the_proxies_that_the_image_of_a_node_declares(self, docker, monkeypatch):
        """docker's client would send its requests for an engine on another machine there."""
        monkeypatch.setenv("HTTP_PROXY", "http://ours")
        monkeypatch.delenv("https_proxy", raising=False)
        snapshotter = "KIND_EXPERIMENTAL_CONTAINERD_SNAPSHOTTER"
        declared = {"HTTP_PROXY": "http://evil", "https_proxy": "http://evil", snapshotter: "native"}
        found = await self.environment(docker, declared)
        given = ["-e", "HTTP_PROXY=http://evil", "-e", "https_proxy=http://evil", "-e", snapshotter]
        assert docker.calls == [["run", *given, "image"]]
        assert "HTTP_PROXY=http://ours" in found
        assert not [line for line in found if "evil" in line]
        assert f"{snapshotter}=native" in found

    async def test_answer_that_is_no_container_id_is_refused(self, docker, containers):
        docker.says("run", "hello")
        with pytest.raises(UnreadableAnswer, match="not a container id"):
            await containers.run_node(["image"], {})

    async def test_sibling_is_the_container_that_was_asked_for(self, docker, containers):
        docker.has(inspected())
        assert (await containers.sibling(A)).image == "kindest/node:v1"
        with pytest.raises(UnreadableAnswer, match="does not describe"):
            await containers.sibling(B)

    async def test_failed_pull_names_the_image(self, docker, containers):
        docker.says("pull", err="manifest unknown", status=1)
        with pytest.raises(CommandFailed) as failure:
            await containers.pull("kindest/node:v9")
        assert failure.value.output.startswith('failed to pull image "kindest/node:v9": manifest unknown')
        with pytest.raises(CommandFailed):
            await containers.pull("--all-tags")
        assert docker.calls == [["pull", "kindest/node:v9"]]

    async def test_volume_is_removed_by_the_id_of_its_machine_and_not_by_the_name_of_a_node(self, tmp_path):
        """Volumes of someone else may be labelled with any name, and hold what nobody can restore."""
        podman = Engine(tmp_path, "podman")
        podman.says("volume", "a-volume\n")
        assert await podman.containers.create_volume("dev-w1", "m-1") == "a-volume"
        await podman.containers.remove_volumes("m-1")
        machine = "kind.infrastructure.cluster.x-k8s.io/machine=m-1"
        assert podman.calls == [
            ["volume", "create", "--label", "dev-w1=true", "--label", machine],
            ["volume", "ls", "--filter", f"label={machine}", "--filter", "dangling=true", "--quiet"],
            ["volume", "rm", "a-volume"],
        ]

    async def test_volume_without_a_usable_name_is_refused(self, docker, containers):
        docker.says("volume", "--force\n")
        with pytest.raises(UnreadableAnswer, match="name of a volume"):
            await containers.create_volume("dev-w1", "m-1")
