"""Measures what the provider adds to a bare `kind create cluster`: pairs of both, one after the other, on real kind.

Run it from the root of the repository: `python bench/overhead.py`. It needs a container engine and takes about a minute
a pair. The provider's own share is the time from the apply to Ready without the time of the kind call in it, so
that it does not hang on how long two creations happen to take.
"""

import os
import shlex
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

import typer
from rich.console import Console
from rich.table import Table

from capk.api.conditions import find
from capk.api.names import KIND_CLUSTERS
from capk.errors import NotFound
from capk.localkind.kindconfig import DEFAULT_IMAGE
from capk.localkind.rest import Rest
from capk.localplane.engines import EngineChoice, choose_engine
from capk.localplane.options import Options
from capk.localplane.plane import LocalPlane

POLL_SECONDS = 0.02
PATIENCE_SECONDS = 900
PATH = f"/apis/{KIND_CLUSTERS.api_version}/namespaces/default/{KIND_CLUSTERS.plural}"
TIMED_KIND = """#!/bin/sh
case "$*" in
  "create cluster"*)
    date +%s.%N >{times}
    {kind} "$@" || exit
    date +%s.%N >>{times} ;;
  *) exec {kind} "$@" ;;
esac
"""


class Pair(NamedTuple):
    """Seconds. inside: the kind call that the provider made."""

    bare: float
    ready: float
    inside: float

    @property
    def share(self) -> float:
        """What the provider added to its kind call."""
        return self.ready - self.inside


class Bench:
    """A plane with a provider, whose kind command notes when its creations begin and end."""

    def __init__(self, choice: EngineChoice, directory: Path) -> None:
        self._kind = shlex.split(choice.kind)
        self._image = choice.node_image or DEFAULT_IMAGE
        self._directory = directory
        self._times = directory / "times"
        script = directory / "kind"
        script.write_text(TIMED_KIND.format(kind=shlex.join(self._kind), times=shlex.quote(str(self._times))))
        script.chmod(stat.S_IRWXU)
        arguments = [*choice.provider_arguments, "--kind-command", str(script)]
        self.plane = LocalPlane(directory / "plane", Options(core=False, provider=arguments))

    def bare(self, name: str) -> float:
        """Return how long kind takes when a person calls it."""
        began = time.monotonic()
        self._run("create", "cluster", "--name", name, "--image", self._image, "--wait", "120s")
        took = time.monotonic() - began
        self._run("delete", "cluster", "--name", name)
        return took

    def applied(self, rest: Rest, name: str) -> tuple[float, float]:
        """Return the seconds from the apply to Ready, and those of the kind call among them."""
        document = {"apiVersion": KIND_CLUSTERS.api_version, "kind": KIND_CLUSTERS.kind, "metadata": {"name": name}}
        began = time.monotonic()
        rest.request("POST", PATH, document)
        while not self._is_ready(rest, name):
            if time.monotonic() - began > PATIENCE_SECONDS:
                raise TimeoutError(f"{name} was not Ready after {PATIENCE_SECONDS} s")
            time.sleep(POLL_SECONDS)
        took = time.monotonic() - began
        first, last = map(float, self._times.read_text().split())
        self._delete(rest, name)
        return took, last - first

    def _delete(self, rest: Rest, name: str) -> None:
        rest.request("DELETE", f"{PATH}/{name}")
        while True:
            try:
                rest.request("GET", f"{PATH}/{name}")
            except NotFound:
                return
            time.sleep(POLL_SECONDS)

    def _is_ready(self, rest: Rest, name: str) -> bool:
        status = rest.request("GET", f"{PATH}/{name}").get("status") or {}
        ready = find(status.get("conditions") or (), "Ready")
        return ready is not None and ready["status"] == "True"

    def _run(self, *arguments: str) -> None:
        command = [*self._kind, *arguments, "--kubeconfig", str(self._directory / "kubeconfig")]
        subprocess.run(command, check=True, capture_output=True)


def measure(pairs: int, bench: Bench) -> list[Pair]:
    """Return the measured pairs, told as they come."""
    found: list[Pair] = []
    with bench.plane as plane:
        rest = plane.rest()
        for number in range(1, pairs + 1):
            name = f"bench-{os.getpid()}-{number}"
            # By turns, so that neither always has the warmer caches.
            if number % 2:
                bare, applied = bench.bare(name), bench.applied(rest, name)
            else:
                applied, bare = bench.applied(rest, name), bench.bare(name)
            found.append(Pair(bare, *applied))
            typer.echo(f"pair {number}: {found[-1]}", err=True)
    return found


def table(pairs: list[Pair]) -> Table:
    """Return the pairs and their medians as a table."""
    shown = Table("pair", "bare kind create (s)", "apply → Ready (s)", "its kind call (s)", "the provider's share (s)")
    middle = Pair(*(median(column) for column in zip(*pairs, strict=True)))
    for number, pair in enumerate(pairs, start=1):
        shown.add_row(str(number), *(f"{value:.2f}" for value in (*pair, pair.share)))
    share = median(pair.share for pair in pairs)
    shown.add_row("median", *(f"{value:.2f}" for value in (*middle, share)))
    return shown


def main(pairs: int = 3) -> None:
    """Measure and print a table."""
    choice = choose_engine()
    if choice.is_stand_in:
        sys.exit(f"The overhead is measured on real kind, but {choice.why}.")
    with tempfile.TemporaryDirectory() as directory:
        Console().print(table(measure(pairs, Bench(choice, Path(directory)))))


if __name__ == "__main__":
    typer.run(main)
