"""`python -m test.simulation --seconds 60`: lives by seed, and a short script of each that fails."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from test.simulation.batches import Failure, Plan, Report, run_batches
from test.simulation.invariants import CHECKS
from test.simulation.known import NOT_YET, SILENT
from test.simulation.life import Script
from test.simulation.lives import run

HASH_SEED = "0"
"""Python varies the hashes of texts, and so the iteration order of sets, from process to process."""


def main(
    seconds: Annotated[float, typer.Option(help="Real time to spend.")] = 60.0,
    seed: Annotated[int, typer.Option(help="The first seed; the others follow.")] = 1,
    lives: Annotated[int, typer.Option(help="End after that many lives; 0: only time counts.")] = 0,
    failures: Annotated[int, typer.Option(help="End after that many failures.")] = 1,
    everything: Annotated[bool, typer.Option("--everything", help="Also what is known not to work yet.")] = False,
    without: Annotated[str, typer.Option(help="Kinds of steps to leave out, comma-separated.")] = "",
    stride: Annotated[int, typer.Option(help="Distance between two seeds, for several runs beside each other.")] = 1,
    shrink: Annotated[bool, typer.Option(help="Shorten what fails.")] = True,
    script: Annotated[Path | None, typer.Option(help="Run one script from a file instead, and show its trace.")] = None,
) -> None:
    """Run lives of the provider in virtual time and report failures."""
    console = Console(stderr=True, highlight=False)
    if script:
        raise typer.Exit(_replay(Script.from_json(script.read_text(encoding="utf-8"))))
    left_out = (frozenset() if everything else NOT_YET) | frozenset(filter(None, without.split(",")))
    checks_left_out = frozenset() if everything else SILENT
    shown = [0]
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("starting")

        def progress(report: Report) -> None:
            bar.update(task, description=str(report))
            for failure in report.failures[shown[0] :]:
                _show(failure)
            shown[0] = len(report.failures)

        plan = Plan(
            seconds,
            seed,
            stride,
            without=left_out,
            checks=CHECKS - checks_left_out,
            most=lives,
            stop_after=failures,
            shrinks=shrink,
        )
        report = run_batches(plan, progress)
    print(f"simulation: {report}")
    raise typer.Exit(bool(report.failures))


def _show(failure: Failure) -> None:
    print(f"seed {failure.seed} ({failure.steps_before} steps, {len(failure.script.steps)} of them needed):")
    for violation in failure.violations:
        print(f"  {violation}")
    print(f"{failure.script.as_json()}\n", flush=True)


def _replay(one: Script) -> int:
    outcome = run(one)
    print("\n".join([*outcome.trace, "", *outcome.logs, "", *outcome.violations]))
    return bool(outcome.violations)


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != HASH_SEED:
        os.execve(
            sys.executable,
            [sys.executable, "-m", "test.simulation", *sys.argv[1:]],
            {**os.environ, "PYTHONHASHSEED": HASH_SEED},
        )
    typer.run(main)
