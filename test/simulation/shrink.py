"""Shortens a failing script: drops steps while it still fails in the same way."""

import re
import time
from collections.abc import Callable
from dataclasses import fields, replace

from test.simulation.life import Script, Step
from test.simulation.world import Options

Fails = Callable[[Script], list[str]]
"""Runs a script and returns its violations."""


def kind_of(violation: str) -> str:
    """Return the type of a violation: the beginning of its words, without names and numbers."""
    return re.sub(r"[\d']+|\b(dev|prod|edge|shared)[-\w]*\b|default/\S+", "", violation)[:30]


def shrink(script: Script, fails: Fails, *, most: int = 200, seconds: float = 40.0) -> Script:
    """Return a script that fails in the same way with as few steps as possible.

    most: runs to spend; seconds: real time to spend.
    """
    wanted = {kind_of(violation) for violation in fails(script)}
    left, end = [most], time.monotonic() + seconds

    def still_fails(steps: tuple[Step, ...], options: Options) -> bool:
        left[0] -= 1
        if left[0] < 0 or time.monotonic() > end:
            return False
        found = fails(replace(script, steps=steps, options=options))
        return bool(wanted & {kind_of(violation) for violation in found})

    steps = _fewer(script.steps, lambda steps: still_fails(steps, script.options))
    options = script.options
    for one in fields(Options):
        plainer = replace(options, **{one.name: getattr(Options(), one.name)})
        if plainer != options and still_fails(steps, plainer):
            options = plainer
    steps = _fewer(steps, lambda fewer: still_fails(fewer, options))
    return replace(script, steps=steps, options=options)


def _fewer(steps: tuple[Step, ...], fails: Callable[[tuple[Step, ...]], bool]) -> tuple[Step, ...]:
    """Delta debugging: drop large parts first, then smaller ones, until no single step can go."""
    size = max(1, len(steps) // 2)
    while True:
        start, shorter = 0, False
        while start < len(steps):
            candidate = steps[:start] + steps[start + size :]
            if candidate != steps and fails(candidate):
                steps, shorter = candidate, True
            else:
                start += size
        if size > 1:
            size = max(1, size // 2)
        elif not shorter:
            return steps
