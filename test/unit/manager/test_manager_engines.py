"""The commands that lead to the engine at a place."""

from dataclasses import replace
from pathlib import Path

import pytest

from capk.engine.workdir import WorkDir
from capk.manager.engines import Commands, commands_at, shared_place
from capk.settings import Endpoint, Settings
from test.unit.manager.places import ELSEWHERE

VARIABLES = (
    ("DOCKER_HOST", "tcp://remote:2376"),
    ("KIND_EXPERIMENTAL_PROVIDER", "podman"),
    ("KIND_EXPERIMENTAL_PODMAN_NETWORK", "theirs"),
)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    kind = tmp_path / "kind"
    kind.write_text("#!/bin/sh\necho $DOCKER_HOST\n")
    kind.chmod(0o755)
    return Settings(kind_command=(str(kind),), engine_command=("nerdctl",), work_dir=tmp_path / "work")


def commands(settings: Settings, *, elsewhere: bool) -> Commands:
    place = replace(ELSEWHERE, variables=VARIABLES) if elsewhere else shared_place(settings)
    return commands_at(settings, WorkDir(settings.work_dir), place)


async def test_place_leads_both_commands_to_its_engine(settings, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "unix:///run/docker.sock")
    kind, containers = commands(settings, elsewhere=True)
    assert await kind.clusters() == ["tcp://remote:2376"]
    assert (containers.command, containers.network) == (("podman",), "theirs")


async def test_settings_and_the_environment_choose_the_shared_engine(settings, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "unix:///run/docker.sock")
    kind, containers = commands(settings, elsewhere=False)
    assert await kind.clusters() == ["unix:///run/docker.sock"]
    assert containers.command == ("nerdctl",)


@pytest.mark.parametrize("endpoint", [Endpoint.INTERNAL, Endpoint.EXTERNAL])
def test_shared_place_has_the_endpoint_and_the_paths_of_the_settings(settings, endpoint):
    place = shared_place(replace(settings, endpoint=endpoint, allowed_host_paths=("/srv",)))
    assert (place.endpoint.value, place.host_paths) == (endpoint.value, ("/srv",))


def test_place_can_be_a_key_and_shows_no_variables() -> None:
    place = replace(ELSEWHERE, variables=VARIABLES)
    assert {place: 1}[replace(ELSEWHERE, variables=VARIABLES)] == 1
    assert "tcp://remote" not in repr(place)
