"""Workers of a running kind cluster with the real kind: one joins, one leaves, and several together."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

from bench.results import Row
from bench.rig import KIND_CLUSTER_PATH, Object, Rig, kindcluster, wait_until
from capk.api.names import KIND_MACHINES
from capkdev.managementcluster.engines import EngineChoice

MACHINE_PATH = f"/apis/{KIND_MACHINES.api_version}/namespaces/default/{KIND_MACHINES.plural}"
AT_ONCE = (1, 3)


def workers(rounds: int, choice: EngineChoice | None) -> Iterator[Row]:
    """Yield a row per number of workers and round; none without the real kind."""
    if choice is None:
        return
    image = ["--node-image", choice.node_image] if choice.node_image else []
    name = f"bench-{os.getpid()}-workers"
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as directory,
        Rig(Path(directory)) as rig,
        rig.provider(*image, kind=choice.kind, engine=choice.engine),
        _cluster(rig, name),
    ):
        for number in range(1, rounds + 1):
            for count in AT_ONCE:
                joined, left = _life(rig, name, [f"{name}-r{number}-{count}-{one}" for one in range(count)])
                yield {"workers": count, "round": number, "joined_s": round(joined, 2), "left_s": round(left, 2)}


@contextmanager
def _cluster(rig: Rig, name: str) -> Iterator[None]:
    """A kind cluster with one control-plane node, during the block."""
    with rig.lives() as (ready, _):
        with rig.management.rest() as rest:
            rest.request("POST", KIND_CLUSTER_PATH, kindcluster(name, standalone=True))
        wait_until(lambda: ready, f"{name} Ready")
    try:
        yield
    finally:
        with rig.lives() as (_, gone):
            with rig.management.rest() as rest:
                rest.request("DELETE", f"{KIND_CLUSTER_PATH}/{name}")
            wait_until(lambda: gone, f"{name} gone")


def _life(rig: Rig, cluster: str, names: list[str]) -> tuple[float, float]:
    """Add workers and remove them; return the seconds until the last is Ready, and until the last is gone.

    A removal includes the drain, because nothing else drains a node without Cluster API.
    """
    with rig.lives(MACHINE_PATH) as (ready, gone):
        began = monotonic()
        rig.all_at_once(names, lambda rest, name: rest.request("POST", MACHINE_PATH, _machine(name, cluster)))
        wait_until(lambda: ready.issuperset(names), f"{len(names)} joined")
        joined, began = monotonic() - began, monotonic()
        rig.all_at_once(names, lambda rest, name: rest.request("DELETE", f"{MACHINE_PATH}/{name}"))
        wait_until(lambda: gone.issuperset(names), f"{len(names)} gone")
        return joined, monotonic() - began


def _machine(name: str, cluster: str) -> Object:
    return {
        "apiVersion": KIND_MACHINES.api_version,
        "kind": KIND_MACHINES.kind,
        "metadata": {"name": name},
        "spec": {"clusterName": cluster},
    }
