"""Runs one life from one script, with all actions registered."""

import gc

from test.simulation import expectations, faults, machines, podfaults, users
from test.simulation.invariants import CHECKS, Finisher, Watcher
from test.simulation.life import Outcome, Script, live

ACTIONS_OF = (users, machines, faults, podfaults, expectations)
"""Imported because they register actions."""


def run(one: Script, checks: frozenset[str] = CHECKS) -> Outcome:
    """Run one script without garbage collection, so that no finalizer runs at an arbitrary moment."""
    gc.disable()
    try:
        return live(one, watch=Watcher(checks), finish=Finisher(checks))
    finally:
        gc.enable()
