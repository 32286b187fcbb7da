"""The fake kind has the recorded output and exit status of the real kind, line by line."""

import io
import re
import shlex
import sys
from pathlib import Path

import pytest

from capkdev.fakekind.cli import run
from capkdev.fakekind.clusters import Home
from capkdev.fakekind.create import NOTICE

RECORDED = Path(__file__).parents[2] / "fixtures" / "kind" / "v0.33.0"
HEADER = "kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\n"
CGROUP = "cgroup v1 is deprecated"
GREETINGS = ("Have a nice day", "Thanks for using", "Not sure what to do", "Have a question")


def recorded(name: str) -> tuple[list[str], int, list[str]]:
    """Return arguments, exit status and printed lines of a recording."""
    command, status, *lines = (RECORDED / f"{name}.txt").read_text().splitlines()
    arguments = shlex.split(command.removeprefix("# command: "))[1:]
    return arguments, int(status.removeprefix("# exit status: ")), _comparable(lines)


def _comparable(lines: list[str]) -> list[str]:
    kept = [line for line in lines if line and line != NOTICE and CGROUP not in line and not line.startswith(GREETINGS)]
    return [re.sub(r"Ready after \d+s", "Ready after 0s", line) for line in kept]


def printed(
    arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, config: str = ""
) -> tuple[int, list[str]]:
    """Run the fake kind and return its exit status and all output."""
    monkeypatch.setattr(sys, "stdin", io.StringIO(HEADER + config))
    status = run(arguments)
    out, err = capsys.readouterr()
    return status, _comparable((err + out).splitlines())


NODES = {
    "create-one-node": "",
    "create-two-nodes": "nodes: [{role: control-plane}, {role: worker}]\n",
    "create-two-control-planes": "nodes: [{role: control-plane}, {role: control-plane}, {role: worker}]\n",
}


@pytest.mark.parametrize("name", NODES)
def test_create_prints_kinds_steps(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments, status, lines = recorded(name)
    assert printed(arguments, capsys, monkeypatch, NODES[name]) == (status, lines)


REFUSED = {
    "create-unknown-field": "noodles: 1\n",
    "create-unknown-version": None,
    "create-bad-yaml": None,
    "create-no-control-plane": "nodes: [{role: worker}]\n",
    "create-bad-name": "",
    "create-port-twice": (
        "nodes: [{role: control-plane, extraPortMappings: "
        "[{containerPort: 80, hostPort: 80}, {containerPort: 81, hostPort: 80}]}]\n"
    ),
    "create-invalid-values": "networking: {apiServerPort: 70000, ipFamily: ipv5, podSubnet: 10.0.0.0/99}\n",
}
DOCUMENTS = {
    "create-unknown-version": "kind: Cluster\napiVersion: kind.x-k8s.io/v9\n",
    "create-bad-yaml": HEADER + "nodes: [\n",
}


@pytest.mark.parametrize("name", REFUSED)
def test_create_refuses_a_configuration_with_kinds_words(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, home: Home
) -> None:
    arguments, status, lines = recorded(name)
    monkeypatch.setattr(sys, "stdin", io.StringIO(DOCUMENTS.get(name) or HEADER + (REFUSED[name] or "")))
    assert run(arguments) == status
    assert _comparable(capsys.readouterr().err.splitlines()) == lines
    assert home.names() == []


def test_create_says_that_an_image_cannot_be_pulled(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, home: Home
) -> None:
    arguments, status, lines = recorded("create-image-absent")
    answer, own = printed(arguments, capsys, monkeypatch)
    assert (answer, own[:-1]) == (status, lines[:-1])
    assert own[-1].startswith("Command Output: Error response from daemon: ")
    assert home.names() == []


def test_create_of_an_existing_name_is_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments, status, lines = recorded("create-name-taken")
    printed(arguments, capsys, monkeypatch)
    assert printed(arguments, capsys, monkeypatch) == (status, lines)


def test_create_with_a_taken_port_names_it_and_leaves_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, home: Home
) -> None:
    mapping = "nodes: [{role: control-plane, extraPortMappings: [{containerPort: 80, hostPort: 18080}]}]\n"
    printed(["create", "cluster", "--name=other", "--config=-"], capsys, monkeypatch, mapping)
    arguments, status, lines = recorded("create-port-taken")
    answer, own = printed(arguments, capsys, monkeypatch, mapping)
    command = re.compile(r"docker run --name rec-port-control-plane .*? failed")
    assert answer == status
    assert [command.sub("", line) for line in own[:-2]] == [command.sub("", line) for line in lines[:-3]]
    assert own[-2].endswith("listen tcp4 0.0.0.0:18080: bind: address already in use")
    assert lines[-2].endswith("listen tcp4 0.0.0.0:18080: bind: address already in use")
    assert home.names() == ["other"]


def test_create_keeps_the_cluster_where_the_kubeconfig_is_locked(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, home: Home, tmp_path: Path
) -> None:
    (tmp_path / "kubeconfig.lock").touch()
    arguments, status, lines = recorded("create-lock-held")
    answer, own = printed(arguments, capsys, monkeypatch)
    assert (answer, own[:-1]) == (status, lines[:-1])
    assert own[-1] == lines[-1].replace("/run/capk", str(tmp_path))
    assert home.names() == ["rec-lock"]


@pytest.mark.parametrize(
    "name", ["get-clusters", "get-nodes", "delete", "get-clusters-none", "get-nodes-unknown", "delete-unknown"]
)
def test_queries_and_deletions_print_what_kind_prints(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if "none" not in name:
        printed(["create", "cluster", "--name=rec-one"], capsys, monkeypatch)
    arguments, status, lines = recorded(name)
    assert printed(arguments, capsys, monkeypatch) == (status, lines)


@pytest.mark.parametrize("name", ["get-kubeconfig-unknown", "export-logs-unknown"])
def test_an_unknown_cluster_is_an_error_where_kind_says_so(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments, status, lines = recorded(name)
    assert printed(arguments, capsys, monkeypatch) == (status, lines)


def test_nodes_of_several_control_planes_are_named_as_kind_names_them(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    create, _, _ = recorded("create-two-control-planes")
    printed(create, capsys, monkeypatch, NODES["create-two-control-planes"])
    arguments, status, lines = recorded("get-nodes-two-control-planes")
    answer, own = printed(arguments, capsys, monkeypatch)
    assert (answer, sorted(own)) == (status, sorted(lines))


def test_a_half_made_cluster_is_listed_has_no_kubeconfig_and_can_be_deleted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, home: Home
) -> None:
    printed(["create", "cluster", "--name=rec-killed"], capsys, monkeypatch)
    cluster = home.find("rec-killed")
    assert cluster
    (cluster.directory / "initialized").unlink()
    arguments, status, lines = recorded("get-kubeconfig-unfinished")
    assert printed(arguments, capsys, monkeypatch) == (status, lines)
    for name in ("get-clusters-after-kill", "create-after-kill", "delete-after-kill"):
        arguments, status, lines = recorded(name)
        assert printed(arguments, capsys, monkeypatch) == (status, [line for line in lines if line != "rec-one"]), name
    assert home.names() == []


def test_quiet_prints_data_only(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(["create", "cluster", "-q"]) == 0
    assert run(["get", "clusters", "-q"]) == 0
    assert run(["get", "nodes", "--name=nosuch", "-q"]) == 0
    assert run(["get", "kubeconfig", "--name=nosuch", "-q"]) == 1
    assert run(["version", "-q"]) == 0
    assert capsys.readouterr() == ("kind\n0.33.0\n", "")


def test_version_has_kinds_form(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["version"]) == 0
    assert re.fullmatch(r"kind v0\.33\.0 \S+ \w+/\w+\n", capsys.readouterr().out)


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["create"], ["create", "cluster", "--wait=soon"], ["delete", "clusters"]]
)
def test_wrong_arguments_exit_with_1_and_an_error(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 1
    assert capsys.readouterr().err.startswith("ERROR: ")
