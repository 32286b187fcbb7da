"""The choice of the engine by the answers of commands."""

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from capkdev.binaries import BIN_VARIABLE, BinaryMissing
from capkdev.fakekind.kindconfig import DEFAULT_IMAGE
from capkdev.managementcluster.engines import EngineChoice, choose_engine, earlier_choice

FAKE_KIND = f"{sys.executable} -m capkdev.fakekind"


class Machine:
    """Answers commands; `fails` are the words after the engine's name that fail."""

    def __init__(self, *fails: str) -> None:
        self.fails = fails
        self.asked: list[str] = []

    def __call__(self, command: Sequence[str], seconds: float) -> bool:
        asked = " ".join(command[1:])
        self.asked.append(asked)
        return not asked.startswith(self.fails or ("\0",))


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with kind and docker, and nothing else on the PATH."""
    for name in ("kind", "docker"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv(BIN_VARIABLE, str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def choose(machine: Machine, **environment: str) -> EngineChoice:
    return choose_engine(environment, machine)


def test_the_real_kind_where_the_engine_has_the_image(installed: Path) -> None:
    machine = Machine()
    choice = choose(machine)
    assert not choice.is_fake
    assert choice.provider_arguments == ["--kind-command", str(installed / "kind"), "--engine-command", "docker"]
    assert machine.asked == ["info", f"image inspect {DEFAULT_IMAGE}"]


def test_an_image_that_is_not_there_is_pulled() -> None:
    machine = Machine("image inspect")
    assert not choose(machine).is_fake
    assert machine.asked[-1] == f"pull {DEFAULT_IMAGE}"


def test_the_chosen_node_image_is_used() -> None:
    machine = Machine()
    choice = choose(machine, KIND_NODE_IMAGE="kindest/node:mine")
    assert choice.provider_arguments[-2:] == ["--node-image", "kindest/node:mine"]
    assert machine.asked[-1] == "image inspect kindest/node:mine"


@pytest.mark.parametrize(
    ("fails", "words"),
    [(("info",), "docker does not answer"), (("image inspect", "pull"), "cannot pull kindest/node:v1")],
)
def test_the_fake_kind_where_the_engine_cannot_run_a_node(fails: tuple[str, ...], words: str) -> None:
    choice = choose(Machine(*fails))
    assert choice.is_fake
    assert words in choice.why
    assert choice.provider_arguments == ["--kind-command", FAKE_KIND, "--engine-command", f"{FAKE_KIND} engine"]


def test_the_fake_kind_where_there_is_no_engine(installed: Path) -> None:
    (installed / "docker").unlink()
    assert "no container engine" in choose(Machine()).why


@pytest.mark.parametrize("fails", [(), ("info",)])
def test_an_earlier_choice_is_found_in_the_arguments_of_the_provider(fails: tuple[str, ...]) -> None:
    choice = choose(Machine(*fails), KIND_NODE_IMAGE="kindest/node:mine")
    again = earlier_choice([*choice.provider_arguments, "--leader-elect"])
    assert again.provider_arguments == choice.provider_arguments
    assert (again.is_fake, again.node_image) == (choice.is_fake, choice.node_image)
    assert "as the last time" in again.why


def test_the_fake_kind_where_an_engine_answers_and_kind_is_missing(
    installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("capkdev.managementcluster.engines.find_binary", missing)
    assert choose(Machine()).why.startswith("docker answers, but kind is not installed, so ")


def test_engine_is_the_cause_where_kind_is_missing_too(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("capkdev.managementcluster.engines.find_binary", missing)
    assert "docker does not answer" in choose(Machine("info")).why
    (installed / "docker").unlink()
    assert "no container engine" in choose(Machine()).why


def missing(name: str) -> Path:
    raise BinaryMissing(f"{name} is not here")
