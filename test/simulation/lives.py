"""Lives by seed: run many, shorten those that fail, and report."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from test.simulation import faults, users
from test.simulation.generate import script
from test.simulation.invariants import CHECKS, Finisher, Watcher
from test.simulation.life import Outcome, Script, live
from test.simulation.shrink import shrink

ACTIONS_OF = (users, faults)
"""Imported for what they register."""


def run(one: Script, checks: frozenset[str] = CHECKS) -> Outcome:
    """Run one script."""
    return live(one, watch=Watcher(checks), finish=Finisher(checks))


@dataclass
class Failure:
    """A life that went wrong, and the short script of it."""

    seed: int | str
    violations: list[str]
    script: Script
    steps_before: int
    logs: list[str]


@dataclass
class Report:
    """What many lives came to. hours: virtual."""

    lives: int = 0
    steps: int = 0
    hours: float = 0.0
    first: int = 0
    last: int = 0
    failures: list[Failure] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.lives} lives (seeds {self.first} to {self.last}), {self.steps} steps, {self.hours:.0f} virtual "
            f"hours, {len(self.failures)} failures"
        )


def run_for(
    seconds: float,
    first_seed: int,
    *,
    without: frozenset[str] = frozenset(),
    checks: frozenset[str] = CHECKS,
    stop_after: int = 1,
    stride: int = 1,
    shrinks: bool = True,
    most: int | None = None,
    progress: Callable[[Report], None] = lambda report: None,
) -> Report:
    """Run the lives of one seed after the other for that many real seconds.

    stop_after: failures. most: lives. stride: distance between two seeds.
    """
    report, end = Report(first=first_seed, last=first_seed), time.monotonic() + seconds
    for seed in _seeds(first_seed, stride):
        one = script(seed, without=without)
        outcome = run(one, checks)
        report.lives += 1
        report.last = seed
        report.steps += outcome.steps
        report.hours += outcome.seconds / 3600
        if outcome.violations:
            short = shrink(one, lambda tried: run(tried, checks).violations) if shrinks else one
            again = run(short, checks)
            failure = Failure(seed, again.violations or outcome.violations, short, len(one.steps), again.logs)
            report.failures.append(failure)
        progress(report)
        if len(report.failures) >= stop_after or report.lives == most or time.monotonic() > end:
            break
    return report


def _seeds(first: int, stride: int) -> Iterator[int]:
    seed = first
    while True:
        yield seed
        seed += stride
