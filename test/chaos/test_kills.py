"""The provider is killed at every write and at random moments: every life ends as without kills."""

import os
import random
from collections.abc import Callable, Sequence

import pytest

from capk.api.names import KIND_CLUSTERS
from test.chaos.counters import Counters
from test.chaos.kills import MOMENTS, KillAtCall, KillAtWrite, Moment, kill_at_random, live, restarting
from test.chaos.scenario import Stage

RANDOM_KILLS = int(os.environ.get("CAPK_CHAOS_KILLS", "60"))
ALL_MOMENTS = "CAPK_CHAOS_KILLS" in os.environ
"""Lives with a Cluster or a Pod take much longer, so by default each of their writes has one moment."""

pytestmark = pytest.mark.timeout(3600)


@pytest.mark.rule("C21", "C23", "K37")
@pytest.mark.parametrize(
    "kind",
    [{}, {"owned": True}, {"pods": True}, {"staffed": True}],
    ids=["standalone", "owned", "in-a-pod", "with-a-worker"],
)
def test_life_is_the_same_with_a_kill_at_any_write(
    stage: Callable[..., Stage], kind: dict[str, bool], counters: Counters
) -> None:
    stage = stage(**kind)
    stage.process.start()
    undisturbed = live(stage, "peace")
    assert undisturbed.creations == 1
    number, done = 0, True
    while done:
        number, done = number + 1, False
        for moment in MOMENTS if not kind else moments_of(number):
            done |= _killed_once(stage, number, moment, undisturbed.outcome)
    assert number > 8, "a life without writes"
    counters.add("kills at a write", stage.process.kills)


@pytest.mark.rule("C21", "C23", "C53", "K37")
@pytest.mark.parametrize("kind", [{"pods": True}, {"staffed": True}], ids=["in-a-pod", "with-a-worker"])
def test_life_is_the_same_with_a_kill_at_any_call_of_its_engine(
    stage: Callable[..., Stage], kind: dict[str, bool], counters: Counters
) -> None:
    stage = stage(**kind)
    stage.process.start()
    undisturbed = live(stage, "peace")
    number, done = 0, True
    while done:
        number, done = number + 1, False
        for moment in moments_of(number):
            with KillAtCall(stage, number, moment) as trouble:
                life = live(stage, f"c{number}-{moment.replace(' ', '-')}")
            assert life.outcome == undisturbed.outcome, f"killed {moment} call {number}"
            done |= trouble.done
    assert number > 4, "a life without calls"
    counters.add("kills at a call of an engine", stage.process.kills)


def moments_of(number: int) -> Sequence[Moment]:
    """Return the moments of a write or call at which a provider is killed whose lives take long."""
    return MOMENTS if ALL_MOMENTS else [MOMENTS[number % len(MOMENTS)]]


def _killed_once(stage: Stage, number: int, moment: Moment, wanted: object) -> bool:
    trouble = KillAtWrite(stage, number, moment)
    life = live(stage, f"w{number}-{moment.replace(' ', '-')}", trouble)
    assert life.outcome == wanted, f"killed {moment} write {number}"
    return trouble.done


@pytest.mark.rule("C21", "C23", "K37")
def test_lives_survive_kills_at_random_moments(
    stage: Callable[..., Stage], chance: random.Random, counters: Counters
) -> None:
    """Several concurrent lives, each at another step, while the provider is killed again and again."""
    stage = stage("--max-concurrent-creates", "3", create_seconds=0.4)
    stage.process.start()
    living: set[str] = set()
    born = 0
    while stage.process.kills < RANDOM_KILLS:
        while len(living) < 4:
            born += 1
            living.add(f"life{born}")
            stage.create_cluster(f"life{born}")
        kill_at_random(stage, chance, 0.1, 3.0)
        for name in sorted(living):
            seen = stage.find(KIND_CLUSTERS, name)
            if seen is None:
                living.discard(name)
            elif chance.random() < 0.25 and "deletionTimestamp" not in seen["metadata"]:
                stage.end(name)
    ends = {
        name for name in living if "deletionTimestamp" in (stage.find(KIND_CLUSTERS, name) or {}).get("metadata", {})
    }
    stays = {name for name in living - ends if stage.find(KIND_CLUSTERS, name)}
    with restarting(stage):
        for name in ends:
            stage.await_end(name)
        for name in stays:
            stage.await_ready(name)
        stage.check_residue(*stays)
        for name in stays:
            stage.end(name)
        for name in stays:
            stage.await_end(name)
        stage.check_residue()
    counters.add("kills at random moments", stage.process.kills)
    counters.add("lives through them", born)
