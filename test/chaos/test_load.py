"""Hundreds of lives on an engine that answers immediately leave nothing behind, not even in memory."""

import os
import shutil
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from capk.api.names import KIND_CLUSTERS
from capkdev.managementcluster.cluster import LocalManagementCluster
from test.chaos.counters import Counters, memory_mib
from test.chaos.scenario import Stage
from test.integration.api import condition, eventually

ENGINE = Path(__file__).parents[2] / "bench" / "instant-engine.sh"
OBJECTS = int(os.environ.get("CAPK_CHAOS_LOAD", "300"))
ROUNDS = 4
ROUND_SECONDS = 5 * OBJECTS / ROUNDS + 120
MOST_MIB = 160
GROWTH_MIB = 15

pytestmark = pytest.mark.timeout(3600)


def test_hundreds_of_lives_leave_nothing(
    stage: Callable[..., Stage], management: LocalManagementCluster, tmp_path: Path, counters: Counters
) -> None:
    engine = tmp_path / "instant"
    for folder in ("clusters", "names"):
        (engine / folder).mkdir(parents=True)
    shutil.copy(management.kubeconfig, engine / "kubeconfig")
    commands = ("--kind-command", str(ENGINE), "--engine-command", str(ENGINE))
    place = {"BENCH_ENGINE": str(engine), "BENCH_ENGINE_SECONDS": "0"}
    stage = stage("--max-concurrent-creates", "4", *commands, environment=place)
    # The usual witness looks at the fake kind, which this provider does not use.
    stage.proxy.witness = lambda call: None
    stage.process.start()
    memory = []
    for number in range(ROUNDS):
        began = time.monotonic()
        names = [f"round{number}-{index}" for index in range(OBJECTS // ROUNDS)]
        for name in names:
            stage.create_cluster(name)
        eventually(lambda: _ready(stage) == OBJECTS // ROUNDS, ROUND_SECONDS, 1)
        full = memory_mib(stage.process.pid)
        for name in names:
            stage.end(name)
        eventually(lambda: stage.api.list(KIND_CLUSTERS, stage.namespace) == [], ROUND_SECONDS, 1)
        stage.check_residue()
        assert list((engine / "clusters").iterdir()) == []
        memory.append(memory_mib(stage.process.pid))
        print(f"round {number}: {full:.0f} MiB full, {memory[-1]:.0f} MiB empty, {time.monotonic() - began:.0f} s")
    calls = Counter((engine / "calls").read_text().splitlines())
    assert calls["create cluster"] == calls["rm --force"] == ROUNDS * (OBJECTS // ROUNDS)
    counters.add("lives under load", calls["create cluster"])
    for number, seen in enumerate(memory):
        counters.add(f"MiB after round {number + 1}", round(seen))
    assert memory[-1] < MOST_MIB
    # The first round fills connection pools and loads code that is imported on first use.
    assert memory[-1] - memory[0] < GROWTH_MIB, memory


def _ready(stage: Stage) -> int:
    seen = stage.api.list(KIND_CLUSTERS, stage.namespace)
    return sum(condition(item, "Ready").get("status") == "True" for item in seen)
