"""The calls that are answered without further imports have the same output as the full command."""

import os
import subprocess
import sys

import pytest

from capkdev.fakekind import listing
from capkdev.fakekind.cli import run

PS = ["engine", "ps", "--all", "--quiet", "--no-trunc", "--filter", f"label={listing.CLUSTER_LABEL}"]
INFO = ["engine", "info", "--format", "{{json .}}"]
REPEATED = [["version"], ["get", "clusters"], PS, INFO]


@pytest.mark.parametrize("names", [[], ["dev", "another"]])
@pytest.mark.parametrize("call", REPEATED, ids=" ".join)
def test_repeated_call_is_answered_alike_both_ways(
    names: list[str], call: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for name in names:
        assert run(["create", "cluster", f"--name={name}", "-q"]) == 0
    lines = listing.answer(call, dict(os.environ)) or []
    quick = ("".join(f"{line}\n" for line in lines), capsys.readouterr().err)
    assert run(call) == 0
    assert quick == capsys.readouterr()


@pytest.mark.parametrize("call", [[], ["get", "nodes"], ["version", "-q"], [*PS, "--format", "x"], ["engine", "ps"]])
def test_other_call_is_left_to_the_rest(call: list[str]) -> None:
    assert listing.answer(call, dict(os.environ)) is None


def test_repeated_call_loads_nothing_that_takes_time() -> None:
    code = "import sys; before = set(sys.modules); import capkdev.fakekind.listing; print(*set(sys.modules) - before)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert set(loaded) <= {"capkdev", "capkdev.fakekind", "capkdev.fakekind.listing"}


def test_calls_of_the_engine_load_neither_yaml_nor_asyncio() -> None:
    """A worker that joins takes about ten calls, each of which is a new process."""
    code = "import sys; from capkdev.fakekind import cli, engine, execution; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"asyncio", "yaml", "tomllib"} & set(loaded)


def test_most_frequent_call_of_the_engine_loads_no_dataclasses() -> None:
    code = "import sys; from capkdev.fakekind import cli, engine; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"dataclasses", "inspect"} & set(loaded)


@pytest.mark.parametrize(
    ("variables", "is_elsewhere"),
    [
        ({}, False),
        ({"DOCKER_HOST": "unix:///run/docker.sock"}, False),
        ({"DOCKER_HOST": "tcp://10.0.0.7:2376"}, False),
        ({"DOCKER_HOST": "tcp://10.0.0.7:2376", "DOCKER_TLS_VERIFY": "1"}, True),
        ({"DOCKER_HOST": "ssh://kind@10.0.0.7"}, True),
    ],
)
def test_engine_on_another_machine_has_clusters_of_its_own(variables: dict[str, str], is_elsewhere: bool) -> None:
    own = listing.home({listing.HOME_VARIABLE: "/home"})
    assert (listing.home({listing.HOME_VARIABLE: "/home", **variables}) != own) is is_elsewhere
