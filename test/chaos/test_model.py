"""Random sequences of all possible steps, checked against the guarantees; a failing one is shortened and shown."""

import itertools
import os
import random
import time
import traceback
from collections.abc import Callable, Sequence

import pytest

from capk.api.names import KIND_MACHINES, SECRETS
from test.chaos.counters import Counters
from test.chaos.model import Step, World, draw
from test.chaos.scenario import Stage

SEQUENCES = int(os.environ.get("CAPK_CHAOS_LIVES", "10"))
LENGTH = 15
SHRINK_SECONDS = 300

pytestmark = pytest.mark.timeout(3600)


@pytest.mark.rule("C7", "C11", "C21", "C23", "C26", "C27", "K27", "K28", "K37")
def test_random_lives_keep_every_guarantee(
    stage: Callable[..., Stage], chance: random.Random, seed: int, counters: Counters
) -> None:
    stage = stage(pods=True, create_seconds=0.3)
    stage.process.start()
    number = itertools.count(1)

    def failure(sequence: Sequence[Step]) -> str | None:
        world = World(stage, f"s{next(number)}")
        try:
            for step in sequence:
                world.take(step)
            world.settle()
        except AssertionError:
            why = traceback.format_exc(limit=-4)
            _abandon(stage)
            return why
        counters.add("random sequences", 1)
        counters.add("random steps", len(sequence))
        return None

    steps = sorted(World(stage, "none").steps)
    for _ in range(SEQUENCES):
        sequence = draw(chance, steps, LENGTH)
        print(" ".join("/".join(step) for step in sequence), flush=True)
        if broken := failure(sequence):
            shortest, why = _shortened(sequence, broken, failure)
            pytest.fail(f"CAPK_CHAOS_SEED={seed}\n{shortest}\n{why}\n\nat first: {sequence}\n{broken}")


def _shortened(
    sequence: list[Step], why: str, failure: Callable[[Sequence[Step]], str | None]
) -> tuple[list[Step], str]:
    """Drop the steps that the failure does not need, within the time limit."""
    deadline = time.monotonic() + SHRINK_SECONDS
    index = len(sequence) - 1
    while index >= 0 and time.monotonic() < deadline:
        shorter = sequence[:index] + sequence[index + 1 :]
        if still := failure(shorter):
            sequence, why = shorter, still
        index -= 1
    return sequence, why


def _abandon(stage: Stage) -> None:
    """Clear the stage for the next sequence after one that failed."""
    stage.kind.answer(True)
    stage.proxy.begin()
    stage.proxy.objections.clear()
    stage.process.kill()
    for one in stage.api.list(KIND_MACHINES, stage.namespace):
        stage.patch(KIND_MACHINES, one["metadata"]["name"], {"metadata": {"finalizers": None}})
        stage.delete(KIND_MACHINES, one["metadata"]["name"])
    stage.pods.clear()
    for secret in stage.secrets():
        stage.delete(SECRETS, secret["metadata"]["name"])
    stage.process.remove_clusters()
    stage.process.start()
