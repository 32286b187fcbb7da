"""Lives with a provider that is killed at a given write or call, or at a random moment."""

import random
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from capk.api.names import KIND_CLUSTERS
from test.chaos.proxy import Call, Fault
from test.chaos.scenario import Stage

Moment = Literal["before", "in flight", "after"]
MOMENTS: tuple[Moment, ...] = ("before", "in flight", "after")
"""The write is never sent; it is on its way when the provider dies; it was answered, and the provider never hears.

The same holds for a call: its command never begins, ends with the provider, or has ended.
"""
DOWN_SECONDS = 0.05


@dataclass(frozen=True)
class Life:
    """The result of one life with faults."""

    outcome: Any
    writes: int
    creations: int
    kills: int


class KillAtWrite:
    """Kills the provider once, at its n-th write; `done` is set afterwards."""

    def __init__(self, stage: Stage, number: int, moment: Moment) -> None:
        self._stage, self._number, self._moment = stage, number, moment
        self.done = False

    def __call__(self, call: Call) -> Fault | None:
        if self.done or call.write != self._number:
            return None
        self.done = True
        kill = self._stage.process.kill
        if self._moment == "after":
            return Fault(after=kill, cut=True)
        return Fault(before=kill, forwarded=self._moment == "in flight", cut=True)


class KillAtCall:
    """Kills the provider once, at the n-th call that its stage counts; `done` is set afterwards."""

    def __init__(self, stage: Stage, number: int, moment: Moment) -> None:
        self._stage, self._number, self._moment = stage, number, moment
        self._ended = threading.Event()
        self.done = False

    def __enter__(self) -> Self:
        assert self._stage.calls, "a stage that counts no calls"
        reached = self._stage.calls.begin(self._number, self._moment)
        self._thread = threading.Thread(target=self._look, args=[reached], daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self, reached: Path) -> None:
        while not self._ended.wait(0.01):
            if reached.exists():
                self.done = True
                self._stage.process.kill()
                return


def live(stage: Stage, name: str, trouble: KillAtWrite | None = None, **spec: Any) -> Life:
    """Create and delete a workload cluster, and check what is left; restart a killed provider.

    The provider runs before and afterwards.
    """
    kills = stage.process.kills
    stage.proxy.begin(trouble or (lambda call: None))
    stage.create_cluster(name, **spec)
    with restarting(stage):
        stage.await_ready(name)
        outcome = stage.outcome(name)
        stage.check_residue(name)
        uid = stage.get(KIND_CLUSTERS, name)["metadata"]["uid"]
        stage.end(name)
        stage.await_end(name)
    stage.check_residue()
    writes, creations = len(stage.proxy.writes), stage.kind.creations(name)
    life = Life(outcome, writes, creations, stage.process.kills - kills)
    assert creations <= 1 + life.kills, f"{creations} creations with {life.kills} kills"
    assert not stage.engines or stage.engines.pods_of(uid) == 1, "a second Pod"
    return life


class restarting:
    """Restarts the provider a moment after it has ended, during the block."""

    def __init__(self, stage: Stage) -> None:
        self._stage, self._ended = stage, threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(DOWN_SECONDS):
            if self._stage.process.pid is None:
                self._stage.process.start()


def kill_at_random(stage: Stage, chance: random.Random, shortest: float, longest: float) -> None:
    """Kill the provider after a random while and start it again."""
    time.sleep(chance.uniform(shortest, longest))
    stage.process.kill()
    stage.process.start()
