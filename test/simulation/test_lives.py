"""Lives of the whole provider: by hand, and by seed."""

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from test.simulation.generate import KINDS, MACHINE_KINDS, script
from test.simulation.known import UNMENDED
from test.simulation.life import ACTIONS, Script
from test.simulation.lives import run
from test.simulation.scripts_found import SCRIPTS as FOUND
from test.simulation.scripts_known import SCRIPTS as KNOWN
from test.simulation.scripts_machines import SCRIPTS as MACHINES
from test.simulation.scripts_pods import SCRIPTS as PODS
from test.simulation.shrink import shrink
from test.simulation.world import Options

ROOT = Path(__file__).parents[2]
SCRIPTS = KNOWN | FOUND | MACHINES | PODS


MOST_LIVES = 124
"""The same lives on a fast and on a slow machine. `make test-chaos` tries new seeds."""


def test_lives_by_seed(pytestconfig: pytest.Config) -> None:
    """Runs in a separate process, so that the iteration order of sets is always the same.

    Comes first, because it is the longest test.
    """
    seconds, seed = pytestconfig.getoption("--simulation-seconds"), pytestconfig.getoption("--simulation-seed")
    done = subprocess.run(
        [sys.executable, "-m", "test.simulation", f"--seconds={seconds}", f"--seed={seed}", f"--lives={MOST_LIVES}"],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    print(done.stdout)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-3000:]}"
    lives = re.search(r"simulation: (\d+) lives", done.stdout)
    assert lives
    assert int(lives[1]) > 0


@pytest.mark.parametrize("name", [name for name in SCRIPTS if name not in UNMENDED])
def test_script(name: str) -> None:
    assert run(SCRIPTS[name]).violations == []


def test_a_plain_life_has_no_violation_and_ends_at_rest() -> None:
    steps = (
        {"at": 1.0, "do": "apply", "name": "dev", "owned": True},
        {"at": 60.0, "do": "expect", "name": "dev", "ready": True},
        {"at": 100.0, "do": "delete", "name": "dev", "kind": "clusters"},
        {"at": 160.0, "do": "expect", "name": "dev", "exists": False},
    )
    outcome = run(Script(1, Options(), steps))
    assert outcome.violations == []
    assert outcome.steps == 4


@pytest.mark.parametrize("seed", range(3))
def test_a_seed_is_the_same_life_each_time(seed: int) -> None:
    one = script(seed)
    assert run(one).trace == run(one).trace


def test_a_script_survives_being_printed() -> None:
    one = script(7)
    assert Script.from_json(one.as_json()) == one


def test_generated_steps_are_actions() -> None:
    done = {step["do"] for seed in range(300) for step in script(seed).steps}
    assert done <= ACTIONS.keys()
    assert len(KINDS) > 30
    assert {"machine", "machine-move", "worker", "joins-fail"} <= done


def test_steps_of_machines_leave_the_other_steps_of_a_seed_alone() -> None:
    for seed in range(100):
        whole, plain = script(seed), script(seed, without=frozenset(MACHINE_KINDS))
        assert plain == Script(seed, whole.options, tuple(step for step in whole.steps if step in plain.steps))
        assert not any(str(step["do"]).startswith("machine") for step in plain.steps)


def test_a_script_that_fails_is_made_short() -> None:
    """The script itself is wrong: its expectation is impossible."""
    noise = tuple({"at": float(at), "do": "wait"} for at in range(5, 25))
    wrong = {"at": 12.5, "do": "expect", "name": "nobody", "exists": True}
    long = Script(1, Options(creates=1, workers=16), (*noise, wrong))
    short = shrink(long, lambda tried: run(tried).violations)
    assert short == replace(long, steps=(wrong,), options=Options())
