"""Runs lives in child processes that are replaced periodically, because killed providers leave objects in memory."""

import gc
import os
import pickle
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from test.simulation.generate import script
from test.simulation.invariants import CHECKS
from test.simulation.life import Script
from test.simulation.lives import run
from test.simulation.shrink import shrink

LIVES_OF_A_PROCESS: Final = 60


@dataclass
class Failure:
    """A failed life, and its shortened script."""

    seed: int | str
    violations: list[str]
    script: Script
    steps_before: int
    logs: list[str]


@dataclass
class Report:
    """The results of many lives. hours: virtual."""

    first: int
    last: int
    lives: int = 0
    steps: int = 0
    hours: float = 0.0
    failures: tuple[Failure, ...] = ()

    def __add__(self, later: "Report") -> "Report":
        return Report(
            self.first,
            later.last,
            self.lives + later.lives,
            self.steps + later.steps,
            self.hours + later.hours,
            (*self.failures, *later.failures),
        )

    def __str__(self) -> str:
        return (
            f"{self.lives} lives (seeds {self.first} to {self.last}), {self.steps} steps, {self.hours:.0f} virtual "
            f"hours, {len(self.failures)} failures"
        )


@dataclass(frozen=True)
class Plan:
    """Options of a run.

    seconds: real time. first: seed, stride: distance to the next one. without: kinds of steps and worlds to leave out.
    most: lives, 0 for no limit. stop_after: failures. shrinks: whether failing scripts are shortened.
    """

    seconds: float
    first: int
    stride: int = 1
    without: frozenset[str] = frozenset()
    checks: frozenset[str] = CHECKS
    most: int = 0
    stop_after: int = 1
    shrinks: bool = True


def run_batches(plan: Plan, progress: Callable[[Report], None] = lambda report: None) -> Report:
    """Run the lives of one seed after the other until the time is up, or so many have failed."""
    end, report = time.monotonic() + plan.seconds, Report(plan.first, plan.first)
    while True:
        first = plan.first + report.lives * plan.stride
        left = plan.most - report.lives if plan.most else LIVES_OF_A_PROCESS
        batch = replace(
            plan,
            seconds=end - time.monotonic(),
            first=first,
            most=min(left, LIVES_OF_A_PROCESS),
            stop_after=1,
        )
        report += _in_child(batch)
        progress(report)
        is_over = time.monotonic() > end or report.lives == plan.most
        if is_over or len(report.failures) >= plan.stop_after:
            return report


def _in_child(plan: Plan) -> Report:
    reading, writing = os.pipe()
    if not (child := os.fork()):
        status = 1
        try:
            os.close(reading)
            with open(writing, "wb") as pipe:
                pickle.dump(_run(plan), pipe)
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    with open(reading, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    report: Report = pickle.loads(answer)
    return report


def _run(plan: Plan) -> Report:
    end, report = time.monotonic() + plan.seconds, Report(plan.first, plan.first)
    gc.freeze()
    for number in range(plan.most):
        seed = plan.first + number * plan.stride
        report.last = seed
        one = script(seed, without=plan.without)
        outcome = run(one, plan.checks)
        report.lives += 1
        report.steps += outcome.steps
        report.hours += outcome.seconds / 3600
        if outcome.violations:
            report.failures = (*report.failures, _failure(one, outcome.violations, plan))
        if len(report.failures) >= plan.stop_after or time.monotonic() > end:
            break
    return report


def _failure(one: Script, violations: list[str], plan: Plan) -> Failure:
    short = shrink(one, lambda tried: run(tried, plan.checks).violations) if plan.shrinks else one
    again = run(short, plan.checks)
    return Failure(one.seed, again.violations or violations, short, len(one.steps), again.logs)
