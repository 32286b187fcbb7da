"""Hundreds of lives on the lightest form of the stand-in: nothing is left of them, in memory either."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from api import condition, eventually
from lives import Stage
from tally import Tally

from capk.api.names import KIND_CLUSTERS

OBJECTS = int(os.environ.get("CAPK_CHAOS_LOAD", "300"))
ROUNDS = 3
ROUND_SECONDS = 5 * OBJECTS / ROUNDS + 120
MOST_MIB = 160
GROWTH_MIB = 15

pytestmark = pytest.mark.timeout(3600)


def memory_mib(pid: int | None) -> float:
    """Return the resident memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def test_hundreds_of_lives_leave_nothing(stage: Callable[..., Stage], tally: Tally) -> None:
    stage = stage("--max-concurrent-creates", "4", create_seconds=0)
    stage.process.start()
    memory = []
    for number in range(ROUNDS):
        began = time.monotonic()
        names = [f"round{number}-{index}" for index in range(OBJECTS // ROUNDS)]
        for name in names:
            stage.give_birth(name)
        eventually(lambda: _ready(stage) == OBJECTS // ROUNDS, ROUND_SECONDS, 1)
        full = memory_mib(stage.process.pid)
        for name in names:
            stage.end(name)
        eventually(lambda: stage.api.list(KIND_CLUSTERS, stage.namespace) == [], ROUND_SECONDS, 1)
        stage.check_residue()
        memory.append(memory_mib(stage.process.pid))
        print(f"round {number}: {full:.0f} MiB full, {memory[-1]:.0f} MiB empty, {time.monotonic() - began:.0f} s")
        assert all(stage.kind.creations(name) == 1 for name in names[:10])
    tally.add("lives under load", ROUNDS * (OBJECTS // ROUNDS))
    for number, seen in enumerate(memory):
        tally.add(f"MiB after round {number + 1}", round(seen))
    assert memory[-1] < MOST_MIB
    assert memory[-1] - memory[0] < GROWTH_MIB, memory


def _ready(stage: Stage) -> int:
    seen = stage.api.list(KIND_CLUSTERS, stage.namespace)
    return sum(condition(item, "Ready").get("status") == "True" for item in seen)
