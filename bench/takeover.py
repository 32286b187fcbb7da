"""Time from the end of a killed leader until its successor leads and has reconciled an object."""

import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from time import monotonic, sleep

from bench.results import Row
from bench.rig import KIND_CLUSTER_PATH, Provider, Rig, kindcluster, wait_until
from capk.api.rights import LEASE
from capk.errors import NotFound
from capk.kube.lease import LEASES
from capkdev.rest import Rest

LEASE_PATH = f"/apis/{LEASES.api_version}/namespaces/default/{LEASES.plural}/{LEASE}"
FLAGS = ("--leader-elect", "--leader-election-namespace", "default")
ACQUAINTED_SECONDS = 5
"""A new replica does not know the last renewal yet."""


def takeover(rounds: int) -> Iterator[Row]:
    """Yield a row per killed leader: seconds after the kill -9."""
    with tempfile.TemporaryDirectory(prefix="bench-") as directory, Rig(Path(directory)) as rig:
        with ExitStack() as providers, rig.management.rest() as rest:

            def started(number: int) -> Provider:
                own = ["--work-dir", str(rig.directory / f"work-{number}")]
                return providers.enter_context(rig.starting_provider(*FLAGS, *own)).await_ready()

            leader = started(0)
            wait_until(lambda: _leads(rest, leader), "a leader")
            for number in range(1, rounds + 1):
                successor = started(number)
                sleep(ACQUAINTED_SECONDS)
                os.kill(leader.pid, signal.SIGKILL)
                yield {"round": number, **_succession(rest, successor, f"bench-{number}")}
                leader = successor


def _succession(rest: Rest, successor: Provider, name: str) -> dict[str, float]:
    """Apply an object that only the successor can reconcile."""
    began = monotonic()
    document = kindcluster(name)
    # Paused, because a reconcile is all that is measured.
    document["metadata"]["annotations"] = {"cluster.x-k8s.io/paused": ""}
    rest.request("POST", KIND_CLUSTER_PATH, document)
    wait_until(lambda: _leads(rest, successor), "a successor")
    leads = monotonic() - began
    wait_until(lambda: "status" in rest.request("GET", f"{KIND_CLUSTER_PATH}/{name}"), "a reconcile of the object")
    return {"leads_after_s": round(leads, 2), "acts_after_s": round(monotonic() - began, 2)}


def _leads(rest: Rest, provider: Provider) -> bool:
    try:
        holder = rest.request("GET", LEASE_PATH)["spec"].get("holderIdentity") or ""
    except NotFound:
        return False
    return bool(holder.endswith(f"_{provider.pid}"))
