"""The output of the engines' `info`: only the used fields, and no untrusted text."""

import contextlib
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capk.engine.info import EngineInfo, UnreadableInfo, read
from test.unit.characters import texts

DOCKER = {
    "ID": "XD4P:O7RC:IFC3",
    "ServerVersion": "28.2.2",
    "Name": "builder",
    "DockerRootDir": "/var/lib/docker",
    "MemTotal": 25276502016,
    "NCPU": 2,
    "ServerErrors": None,
}
"""Recorded with docker 20.10.24, without the other fields."""
PODMAN = {
    "host": {"hostname": "builder", "memFree": 12840583168, "memTotal": 25276502016},
    "store": {
        "graphRoot": "/var/lib/containers/storage",
        "graphRootAllocated": 270553174016,
        "graphRootUsed": 38033534976,
    },
    "version": {"APIVersion": "4.3.1", "Version": "4.3.1"},
}
"""Recorded with podman 4.3.1, without the other fields."""
NERDCTL = {"ID": "5d6a6d3e-6f0b", "Name": "builder", "ServerVersion": "v2.0.4", "MemTotal": 8321073152}


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        (DOCKER, EngineInfo("XD4P:O7RC:IFC3", "28.2.2", "builder", "/var/lib/docker", 25276502016)),
        (
            PODMAN,
            EngineInfo(
                *("", "4.3.1", "builder", "/var/lib/containers/storage", 25276502016, 270553174016 - 38033534976),
                is_podman=True,
            ),
        ),
        (NERDCTL, EngineInfo("5d6a6d3e-6f0b", "v2.0.4", "builder", "", 8321073152)),
        ({}, EngineInfo()),
    ],
)
def test_fields_of_each_engine_are_read(printed, expected) -> None:
    assert read(json.dumps(printed)) == expected


@pytest.mark.parametrize(
    "printed",
    [
        {**DOCKER, "ID": "a b", "Name": "x\ny", "ServerVersion": 5, "DockerRootDir": "x" * 300, "MemTotal": True},
        {**DOCKER, "ID": "x" * 200, "Name": "\x1b[31m", "ServerVersion": None, "DockerRootDir": [], "MemTotal": -1},
        {"host": {"memTotal": "many"}, "store": [], "version": None},
        {"host": {}, "store": {"graphRootAllocated": 1, "graphRootUsed": 2}},
    ],
)
def test_field_of_another_shape_is_not_known(printed) -> None:
    assert replace(read(json.dumps(printed)), is_podman=False) == EngineInfo()


def test_client_without_an_engine_is_quoted() -> None:
    with pytest.raises(UnreadableInfo) as failure:
        read(json.dumps({"ServerErrors": ["Cannot connect to the Docker daemon"]}))
    assert "Cannot connect" in failure.value.refusal


@given(texts(max_size=200) | st.recursive(st.none() | texts() | st.integers(), st.lists).map(json.dumps))
def test_whatever_is_printed_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(UnreadableInfo):
        assert isinstance(read(text), EngineInfo)
