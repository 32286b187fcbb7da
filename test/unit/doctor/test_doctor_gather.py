"""Gathering, with scripts that answer like kind and the engine: facts, no exception, and no change."""

import json
import os
import socket
from pathlib import Path

import pytest

from capk.api.names import Reason
from capk.doctor import gather as gathering
from capk.doctor.gather import free_memory, gather
from capk.doctor.place import Facts
from capk.kindconfig.images import default_image, kind_release
from capk.settings import Settings

ENGINE = """#!/bin/sh
here=${0%/*}
echo "$*" >>"$here/calls"
case "$1" in
  info) cat "$here/info" ;;
  image) [ -e "$here/image" ] ;;
  manifest) [ -e "$here/manifest" ] ;;
  *) exit 9 ;;
esac
"""


class Machine:
    """Scripts that answer like kind and docker."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.work_dir = directory / "work"
        self.script("kind", f"#!/bin/sh\necho kind {kind_release()} go1.26.8 linux/amd64\n")
        self.script("docker", ENGINE)
        self.has("info", json.dumps({"Name": socket.gethostname(), "ServerVersion": "28.2.2", "MemTotal": 2**34}))

    def script(self, name: str, text: str) -> str:
        path = self.directory / name
        path.write_text(text)
        path.chmod(0o700)
        return str(path)

    def has(self, name: str, text: str = "") -> None:
        (self.directory / name).write_text(text)

    @property
    def calls(self) -> list[str]:
        path = self.directory / "calls"
        return path.read_text().splitlines() if path.exists() else []

    async def facts(self, machine_only: bool = True, **settings: object) -> Facts:
        chosen = {
            "kind_command": (str(self.directory / "kind"),),
            "engine_command": (str(self.directory / "docker"),),
            "work_dir": self.work_dir,
            "kubeconfig": str(self.directory / "kubeconfig"),
            **settings,
        }
        return await gather(Settings(**chosen), machine_only=machine_only)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


async def test_kind_and_engine_are_asked_and_nothing_is_made(machine: Machine) -> None:
    machine.has("image")
    facts = await machine.facts()
    assert facts.kind.build == (kind_release(), "go1.26.8")
    assert facts.engine.info is not None
    assert facts.engine.info.version == "28.2.2"
    assert facts.engine_is_here
    assert (facts.image.image, facts.image.present) == (default_image(), True)
    assert machine.calls == ["info --format {{json .}}", f"image inspect {default_image()}"]
    assert not machine.work_dir.exists()
    assert (facts.work_dir.exists, facts.work_dir.flaw) == (False, "")
    assert facts.management is None


@pytest.mark.parametrize("pullable", [True, False])
async def test_image_that_is_not_there_is_asked_for_without_being_pulled(machine: Machine, pullable: bool) -> None:
    if pullable:
        machine.has("manifest")
    facts = await machine.facts(node_image="kindest/node:v1.30.0")
    assert (facts.image.present, facts.image.pullable) == (False, pullable)
    assert machine.calls[1:] == ["image inspect kindest/node:v1.30.0", "manifest inspect kindest/node:v1.30.0"]


async def test_image_is_not_asked_for_where_another_kind_chooses_it(machine: Machine) -> None:
    machine.script("kind", "#!/bin/sh\necho kind v0.31.0 go1.26.8 linux/amd64\n")
    facts = await machine.facts()
    assert facts.image.image == ""
    assert len(machine.calls) == 1


async def test_command_that_is_not_there_is_a_fact_without_the_hint_at_this_very_command(machine: Machine) -> None:
    facts = await machine.facts(kind_command=("/nonexistent/kind",), engine_command=("/nonexistent/docker",))
    assert facts.kind.failure is not None
    assert facts.kind.failure.reason is Reason.KIND_COMMAND_MISSING
    assert facts.engine.failure is not None
    assert facts.engine.failure.reason is Reason.ENGINE_UNREACHABLE
    assert "capk doctor" not in facts.kind.failure.message + facts.engine.failure.message


async def test_engine_that_is_down_is_a_fact(machine: Machine) -> None:
    machine.has("info", json.dumps({"ServerErrors": ["Cannot connect to the Docker daemon. Is it running?"]}))
    facts = await machine.facts()
    assert facts.engine.info is None
    assert facts.engine.failure is not None
    assert facts.engine.failure.reason is Reason.ENGINE_UNREACHABLE
    assert facts.image.present is None


async def test_fake_kind_needs_no_engine(machine: Machine) -> None:
    machine.script("kind", f"#!/bin/sh\necho kind {kind_release()} capkdev-fake-kind linux/x86_64\n")
    facts = await machine.facts()
    assert facts.kind.is_fake
    assert machine.calls == []


async def test_provider_without_an_engine_asks_none(machine: Machine) -> None:
    facts = await machine.facts(shared_engine=False)
    assert not facts.shared_engine
    assert machine.calls == []


async def test_command_that_hangs_is_ended(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "COMMAND_SECONDS", 0.05)
    machine.script("kind", "#!/bin/sh\nexec sleep 60\n")
    facts = await machine.facts()
    assert facts.kind.failure is not None
    assert "did not answer within" in facts.kind.failure.message


async def test_flaw_of_the_work_directory_is_a_fact_and_it_stays(machine: Machine) -> None:
    machine.work_dir.mkdir(mode=0o755)
    facts = await machine.facts()
    assert "others may use it" in facts.work_dir.flaw
    assert facts.work_dir.explicit
    assert os.listdir(machine.work_dir) == []


async def test_management_cluster_without_a_kubeconfig_is_a_fact(machine: Machine) -> None:
    facts = await machine.facts(machine_only=False)
    assert facts.management is not None
    assert "there is no such file" in facts.management.failure


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("MemTotal:  100 kB\nMemAvailable:   2048 kB\n", 2 * 2**20),
        ("MemTotal: 100 kB\n", None),
        ("MemAvailable: many kB\n", None),
        ("MemAvailable:\n", None),
        ("", None),
    ],
)
def test_free_memory_is_what_the_kernel_calls_available(text: str, expected: int | None) -> None:
    assert free_memory(text) == expected
