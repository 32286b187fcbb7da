"""One life from one script, with everything registered that a script may ask for."""

import gc

from test.simulation import expectations, faults, users
from test.simulation.invariants import CHECKS, Finisher, Watcher
from test.simulation.life import Outcome, Script, live

ACTIONS_OF = (users, faults, expectations)
"""Imported for what they register."""


def run(one: Script, checks: frozenset[str] = CHECKS) -> Outcome:
    """Run one script; nothing is collected meanwhile, so that no finalizer runs at an arbitrary moment."""
    gc.disable()
    try:
        return live(one, watch=Watcher(checks), finish=Finisher(checks))
    finally:
        gc.enable()
