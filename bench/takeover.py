"""Measures how long a killed leader goes without a successor: two real providers, kill -9 of the one that leads.

Run it from the root of the repository: `python bench/takeover.py`. It needs no container engine: what is measured ends
with the first object that the successor has looked at.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import NamedTuple

import typer
from rich.console import Console
from rich.table import Table

from capk.api.names import KIND_CLUSTERS
from capk.errors import ApiError, NotFound
from capk.kube.lease import LEASES
from capk.localkind.ports import free_port
from capk.localkind.rest import Rest
from capk.localplane.engines import stand_in
from capk.localplane.options import Options
from capk.localplane.plane import LocalPlane
from capk.manager.process import LEASE

POLL_SECONDS = 0.02
PATIENCE_SECONDS = 120
OBJECTS = f"/apis/{KIND_CLUSTERS.api_version}/namespaces/default/{KIND_CLUSTERS.plural}"
LEASE_PATH = f"/apis/{LEASES.api_version}/namespaces/default/{LEASES.plural}/{LEASE}"


class TakeOver(NamedTuple):
    """Seconds after the kill."""

    leads: float
    acts: float


class Replica:
    """One provider of a plane."""

    def __init__(self, plane: LocalPlane, directory: Path) -> None:
        command = [sys.executable, "-m", "capk", "run", "--kubeconfig", str(plane.kubeconfig), "--leader-elect"]
        self._health = f"127.0.0.1:{free_port()}"
        own = ["--leader-election-namespace", "default", "--health-addr", self._health, "--work-dir", str(directory)]
        with (directory.parent / "providers.log").open("ab") as log:
            arguments = [*command, *own, *stand_in("").provider_arguments]
            self.process = subprocess.Popen(arguments, stdout=log, stderr=log, start_new_session=True)

    def is_ready(self) -> bool:
        with Rest(f"http://{self._health}") as health:
            try:
                return bool(health.request("GET", "/readyz"))
            except ApiError:
                return False

    def leads(self, rest: Rest) -> bool:
        return holder(rest).endswith(f"_{self.process.pid}")

    def end(self, number: int) -> None:
        self.process.send_signal(number)
        self.process.wait()


def holder(rest: Rest) -> str:
    """Return who has the Lease."""
    try:
        return str(rest.request("GET", LEASE_PATH)["spec"].get("holderIdentity") or "")
    except NotFound:
        return ""


def until(answer: Callable[[], object]) -> float:
    """Wait until the answer is true, and return when that was."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not answer():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {PATIENCE_SECONDS} s")
        time.sleep(POLL_SECONDS)
    return time.monotonic()


def take_over(rest: Rest, leader: Replica, standby: Replica, name: str) -> TakeOver:
    """Kill the leader and apply an object that only its successor can look at."""
    leader.end(signal.SIGKILL)
    killed_at = time.monotonic()
    document = {"apiVersion": KIND_CLUSTERS.api_version, "kind": KIND_CLUSTERS.kind, "metadata": {"name": name}}
    # Paused: that it was looked at is all that is asked for.
    document["metadata"]["annotations"] = {"cluster.x-k8s.io/paused": ""}
    rest.request("POST", OBJECTS, document)
    leads = until(lambda: standby.leads(rest))
    acts = until(lambda: rest.request("GET", f"{OBJECTS}/{name}").get("status"))
    return TakeOver(leads - killed_at, acts - killed_at)


def measure(count: int, directory: Path) -> list[TakeOver]:
    """Return the measured successions, told as they come."""
    found: list[TakeOver] = []
    places = (directory / f"provider-{number}" for number in range(count + 1))
    with LocalPlane(directory / "plane", Options(core=False)) as plane, plane.rest() as rest:
        replicas: list[Replica] = []
        try:
            for number in range(count + 1):
                replicas.append(started(plane, next(places)))
                until(replicas[-1].is_ready)
                until(lambda: holder(rest))
                if number:
                    # One that has just come does not know the last renewal yet.
                    time.sleep(5)
                    found.append(take_over(rest, replicas[-2], replicas[-1], f"bench-{os.getpid()}-{number}"))
                    typer.echo(f"succession {number}: {found[-1]}", err=True)
        finally:
            for replica in replicas:
                replica.end(signal.SIGKILL)
    return found


def started(plane: LocalPlane, directory: Path) -> Replica:
    """Return a new provider with a directory of its own."""
    directory.mkdir()
    return Replica(plane, directory)


def main(count: int = 5) -> None:
    """Measure and print a table."""
    with tempfile.TemporaryDirectory() as directory:
        found = measure(count, Path(directory))
    shown = Table("succession", "leads after (s)", "has looked at an object after (s)")
    for number, one in enumerate(found, start=1):
        shown.add_row(str(number), *(f"{value:.1f}" for value in one))
    shown.add_row("median", *(f"{median(column):.1f}" for column in zip(*found, strict=True)))
    shown.add_row("longest", *(f"{max(column):.1f}" for column in zip(*found, strict=True)))
    Console().print(shown)


if __name__ == "__main__":
    typer.run(main)
