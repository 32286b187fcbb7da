"""Some of the kills of `make test-chaos`: at every second of the first writes of a life, and in that of a worker."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from capk.api.names import CLAIM_ANNOTATION
from capkdev.managementcluster.cluster import LocalManagementCluster
from test.chaos.kills import MOMENTS, KillAtCall, KillAtWrite, live
from test.chaos.proxy import Call, Fault
from test.chaos.scenario import Stage, staged
from test.integration.provider.journeys import FINALIZERS
from test.unit.recording_kube import asked_for

WRITES = range(1, 11, 2)
JOIN = 12
"""Which call of the engine in the life of a worker is `kubeadm join`."""


@pytest.fixture
def stage(management: LocalManagementCluster, tmp_path: Path) -> Iterator[Stage]:
    with staged(management, tmp_path / "stage", create_seconds=0) as stage:
        stage.process.start()
        yield stage


@pytest.mark.rule("C8", "C21")
def test_nothing_is_made_before_finalizer_and_claim_are_stored(stage: Stage) -> None:
    made: list[int] = []

    def slow(call: Call) -> Fault | None:
        if call.write != 1:
            return None
        # Time for code that would not wait for the answer.
        return Fault(delay_seconds=1.5, after=lambda: made.append(stage.kind.creations("patient")))

    stage.proxy.begin(slow)
    stage.create_cluster("patient")
    stage.await_ready("patient")
    assert made == [0]
    first = asked_for(stage.proxy.writes[0].body)["metadata"]
    assert first["finalizers"] == FINALIZERS
    assert first["annotations"][CLAIM_ANNOTATION] == "patient"
    stage.end("patient")
    stage.await_end("patient")


@pytest.mark.rule("C21", "C23", "K37")
def test_life_is_the_same_with_kills_all_along_it(stage: Stage) -> None:
    undisturbed = live(stage, "peace")
    for number in WRITES:
        moment = MOMENTS[number % len(MOMENTS)]
        life = live(stage, f"killed{number}", KillAtWrite(stage, number, moment))
        assert life.outcome == undisturbed.outcome, f"killed {moment} write {number}"
    assert stage.process.kills > len(WRITES) / 2


@pytest.mark.rule("C48", "C53", "K37")
def test_worker_joins_though_the_provider_is_killed_meanwhile(
    management: LocalManagementCluster, tmp_path: Path
) -> None:
    with staged(management, tmp_path / "stage", create_seconds=0, staffed=True) as stage:
        stage.process.start()
        undisturbed = live(stage, "peace")
        with KillAtCall(stage, JOIN, "in flight") as trouble:
            life = live(stage, "killed")
        assert trouble.done
        assert life.outcome == undisturbed.outcome
