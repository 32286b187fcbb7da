"""A shell script replaces kind: command lines, files and environment of its calls."""

import asyncio
import json
import os
from pathlib import Path

import pytest
import yaml

from capk.api.names import Reason
from capk.engine.kind import Kind
from capk.engine.workdir import WorkDir
from capk.errors import CommandFailed, CommandMissing, CommandTimedOut, TooMuchOutput
from capk.kindconfig.kubeconfig import BadKubeconfig, parse

RECORDED = Path(__file__).parents[2] / "fixtures" / "kind" / "v0.33.0"

SCRIPT = r"""#!/bin/sh
# Notes down how it was called, then does what the file `behaviour` says.
here=${0%/*}
printf '%s\n' "$@" >"$here/arguments"
printf '%s' "$KUBECONFIG" >"$here/kubeconfig-variable"
printf '%s' "$KIND_EXPERIMENTAL_PROVIDER" >"$here/provider"
stat -c %a "${KUBECONFIG%/*}" >"$here/mode"
cat >"$here/stdin"
for argument; do case $argument in --kubeconfig=*) file=${argument#*=};; esac; done
. "$here/behaviour"
"""


class Script:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.path = directory / "kind"
        self.path.write_text(SCRIPT)
        self.path.chmod(0o700)
        self.behave(":")

    def behave(self, script: str) -> None:
        (self.directory / "behaviour").write_text(script)

    def print_recording(self, name: str) -> None:
        lines = (RECORDED / f"{name}.txt").read_text().splitlines(keepends=True)
        (self.directory / "printed").write_text("".join(lines[2:]))
        status = lines[1].rpartition(" ")[2].strip()
        self.behave(f'cat "$here/printed" >&2; [ -z "$file" ] || echo made >"$file"; exit {status}')

    def noted(self, what: str) -> str:
        return (self.directory / what).read_text()

    @property
    def arguments(self) -> list[str]:
        return self.noted("arguments").splitlines()


@pytest.fixture
def script(tmp_path):
    (tmp_path / "bin").mkdir()
    return Script(tmp_path / "bin")


@pytest.fixture
def kind(script, tmp_path):
    work_dir = WorkDir(tmp_path / "work")
    yield Kind([str(script.path)], work_dir=work_dir, environment={"KIND_EXPERIMENTAL_PROVIDER": "podman"})
    work_dir.close()
    assert list((tmp_path / "work").rglob("*")) == []


def private_file(script: Script) -> str:
    return script.noted("kubeconfig-variable")


def file_is_there(script: Script) -> bool:
    return Path(private_file(script)).exists()


async def test_create_passes_name_configuration_and_a_private_kubeconfig(kind, script):
    script.behave('printf "kubeconfig of %s" "$1" >"$file"')
    config = {"kind": "Cluster", "nodes": [{"role": "control-plane", "labels": {"on": "1.10", "ü": "\u2028"}}]}
    kubeconfig = await kind.create_cluster("dev", config, image="kindest/node:v1", wait_seconds=90)
    assert kubeconfig == "kubeconfig of create"
    assert script.arguments == [
        "create",
        "cluster",
        "--name=dev",
        "--config=-",
        "--wait=90s",
        "--image=kindest/node:v1",
        f"--kubeconfig={private_file(script)}",
    ]
    assert yaml.safe_load(script.noted("stdin")) == config
    assert script.noted("mode") == "700\n"
    assert script.noted("provider") == "podman"
    assert not file_is_there(script)


async def test_create_without_an_image_leaves_the_choice_to_kind(kind, script):
    script.behave('touch "$file"')
    await kind.create_cluster("dev", {})
    assert not [argument for argument in script.arguments if argument.startswith("--image")]
    assert "--wait=0s" in script.arguments


async def test_values_cannot_become_other_arguments(kind, script):
    script.behave('touch "$file"')
    await kind.create_cluster("--retain", {}, image="--config=/etc/passwd")
    assert script.arguments[2] == "--name=--retain"
    assert script.arguments[5] == "--image=--config=/etc/passwd"


async def test_create_reports_each_step_once(kind, script):
    script.print_recording("create-two-nodes")
    steps = []
    await kind.create_cluster("rec-two", {}, on_step=steps.append)
    assert [step.reason for step in steps] == [
        Reason.ENSURING_NODE_IMAGE,
        Reason.PREPARING_NODES,
        Reason.WRITING_CONFIGURATION,
        Reason.STARTING_CONTROL_PLANE,
        Reason.INSTALLING_CNI,
        Reason.INSTALLING_STORAGE_CLASS,
        Reason.JOINING_WORKERS,
        Reason.WAITING_FOR_READY,
    ]


async def test_create_reports_a_step_once_that_a_terminal_repeats(kind, script):
    script.behave(r'''for n in 1 2 3; do printf '\r⠈⠑ Preparing nodes 📦 ' >&2; done; touch "$file"''')
    steps = []
    await kind.create_cluster("dev", {}, on_step=steps.append)
    assert [step.reason for step in steps] == [Reason.PREPARING_NODES]


async def test_failed_create_tells_all_that_kind_printed_and_leaves_no_file(kind, script):
    script.print_recording("create-port-taken")
    with pytest.raises(CommandFailed) as failure:
        await kind.create_cluster("rec-port", {})
    assert "bind: address already in use" in failure.value.output
    assert not file_is_there(script)


async def test_create_past_its_deadline_is_ended(script, tmp_path):
    script.behave('echo " • Preparing nodes 📦  ..." >&2; exec sleep 600')
    kind = Kind([str(script.path)], work_dir=WorkDir(tmp_path / "work"), create_timeout_seconds=0.5)
    steps = []
    with pytest.raises(CommandTimedOut):
        await kind.create_cluster("dev", {}, on_step=steps.append)
    assert [step.reason for step in steps] == [Reason.PREPARING_NODES]
    assert list((tmp_path / "work").rglob("kubeconfig")) == []


async def test_cancelled_create_leaves_no_file(kind, script):
    script.behave('echo secret >"$file"; echo " • Installing CNI 🔌  ..." >&2; exec sleep 600')
    begun = asyncio.Event()
    task = asyncio.create_task(kind.create_cluster("dev", {}, on_step=lambda step: begun.set()))
    await begun.wait()
    assert file_is_there(script)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not file_is_there(script)


async def test_delete_has_its_own_kubeconfig(kind, script):
    script.behave('[ "$1" = get ] || cp "$here/arguments" "$here/kubeconfig-variable" "$here/deletion"')
    (script.directory / "deletion").mkdir()
    await kind.delete_cluster("dev")
    file = script.noted("deletion/kubeconfig-variable")
    assert script.noted("deletion/arguments").splitlines() == [
        "delete",
        "cluster",
        "--name=dev",
        f"--kubeconfig={file}",
    ]


async def test_delete_goes_on_until_no_node_is_left(kind, script, monkeypatch):
    monkeypatch.setattr("capk.engine.kind.PAUSE_SECONDS", 0.01)
    script.behave("""
        if [ "$1" = delete ]; then echo >>"$here/deletions"
        elif [ "$(wc -l <"$here/deletions")" -lt 3 ]; then echo dev-control-plane
        fi""")
    await kind.delete_cluster("dev")
    assert len(script.noted("deletions").splitlines()) == 3


async def test_nodes_that_never_go_are_a_failure(script, tmp_path, monkeypatch):
    monkeypatch.setattr("capk.engine.kind.PAUSE_SECONDS", 0.01)
    script.behave('[ "$1" = delete ] || echo dev-control-plane')
    kind = Kind([str(script.path)], work_dir=WorkDir(tmp_path / "work"), delete_timeout_seconds=1)
    with pytest.raises(CommandTimedOut) as failure:
        await kind.delete_cluster("dev")
    assert "dev-control-plane" in failure.value.output


async def test_queries(kind, script):
    script.behave("echo b; echo a")
    assert await kind.clusters() == ["a", "b"]
    assert script.arguments == ["get", "clusters"]
    assert await kind.nodes("dev") == ["a", "b"]
    assert script.arguments == ["get", "nodes", "--name=dev"]
    assert await kind.kubeconfig("dev", internal=False) == "b\na\n"
    assert script.arguments == ["get", "kubeconfig", "--name=dev"]
    await kind.kubeconfig("dev", internal=True)
    assert script.arguments == ["get", "kubeconfig", "--name=dev", "--internal"]


async def test_no_clusters_is_an_empty_list(kind, script):
    script.print_recording("get-clusters-none")
    assert await kind.clusters() == []


@pytest.mark.parametrize("printed", ["head -c 3000000 /dev/zero", "printf 'a\\377b'"])
async def test_kubeconfig_that_a_node_has_filled_is_neither_read_whole_nor_the_end_of_the_creation(
    kind, script, printed
):
    """kind passes on what is in admin.conf."""
    script.behave(f'{printed} >"$file"')
    text = await kind.create_cluster("dev", {"kind": "Cluster"})
    assert 0 < len(text) <= 1 << 20
    with pytest.raises(BadKubeconfig):
        parse(text)


@pytest.mark.parametrize("printed", ["seq 10001", "head -c 1048577 /dev/zero"])
async def test_endless_list_is_a_failed_command(kind, script, printed):
    """An engine on another machine may list anything, and each name takes many times its length."""
    script.behave(printed)
    with pytest.raises(TooMuchOutput):
        await kind.clusters()
    with pytest.raises(TooMuchOutput):
        await kind.nodes("dev")


async def test_engine_that_is_down_is_not_the_same_as_no_clusters(kind, script):
    script.print_recording("get-clusters-engine-down")
    with pytest.raises(CommandFailed, match="exit status 1"):
        await kind.clusters()


@pytest.mark.parametrize(
    ("printed", "version"), [("kind v0.32.0 go1.26.8 linux/amd64", "v0.32.0"), ("v0.33.0-alpha+1", "v0.33.0-alpha+1")]
)
async def test_version(kind, script, printed, version):
    script.behave(f"echo {printed}")
    assert await kind.version() == version


@pytest.mark.parametrize(
    ("printed", "is_fake"),
    [
        ("kind v0.33.0 go1.26.8 linux/amd64", False),
        ("kind v0.33.0 capkdev-fake-kind linux/x86_64", True),
        ("v0.33.0", False),
    ],
)
async def test_fake_kind_is_recognised_by_its_name_where_kind_has_its_toolchain(kind, script, printed, is_fake):
    script.behave(f"echo {printed}")
    build = await kind.build()
    assert (build.version, build.is_fake) == ("v0.33.0", is_fake)


@pytest.mark.parametrize("printed", ["", "docker-compose of old", "true"])
async def test_something_else_is_not_taken_for_kind(kind, script, printed):
    script.behave(f"echo {printed}")
    with pytest.raises(CommandMissing, match="is not a kind version"):
        await kind.version()


async def test_environment_of_the_provider_reaches_kind(kind, script, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "unix:///run/other.sock")
    monkeypatch.setenv("KUBECONFIG", "/home/user/.kube/config")
    script.behave('printf "[\\"%s\\",\\"%s\\"]" "$DOCKER_HOST" "$KUBECONFIG"')
    host, kubeconfig = json.loads(await kind.kubeconfig("dev", internal=False))
    assert host == "unix:///run/other.sock"
    assert kubeconfig != os.environ["KUBECONFIG"]


async def test_missing_kind_is_told(tmp_path):
    with pytest.raises(CommandMissing, match="No such file"):
        await Kind(["/no/such/kind"], work_dir=WorkDir(tmp_path)).version()
