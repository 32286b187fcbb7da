"""The cost of many KINDClusters, from the apply to the deletion, on an engine that creates immediately."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

from bench.results import Row
from bench.rig import KIND_CLUSTER_PATH, Object, Provider, Rig, is_ready, kindcluster, wait_until
from capkdev.rest import MERGE_PATCH, Rest

RESYNC_SECONDS = 20


def scale(sizes: list[int], creates: int) -> Iterator[Row]:
    """Yield a row per size and phase. creates: concurrent kind calls."""
    for size in sizes:
        # A separate management cluster, because etcd and its caches keep earlier objects.
        with tempfile.TemporaryDirectory(prefix="bench-") as directory, Rig(Path(directory)) as rig:
            yield from _life(rig, size, ["--max-concurrent-creates", str(creates)])


def _life(rig: Rig, size: int, flags: list[str]) -> Iterator[Row]:
    names = [f"c{number}" for number in range(size)]
    with rig.provider(*flags) as provider:
        yield _row(size, "create", create_all(rig, provider, names))
    with rig.starting_provider(*flags, "--sync-period", f"{RESYNC_SECONDS}s") as provider:
        with rig.measured(provider) as usage:
            usage.seconds = provider.await_ready().await_settled(size) - provider.began
        yield _row(size, "restart", usage.row(size))
        with rig.measured(provider) as usage:
            usage.seconds = _resync(provider, size)
        yield _row(size, "resync", usage.row(size))
    with rig.provider(*flags) as provider:
        before, _ = provider.reconciles()
        with rig.measured(provider) as usage:
            began = monotonic()
            rig.all_at_once(names, _label)
            usage.seconds = provider.await_settled(before + size) - began
        yield _row(size, "edit", usage.row(size, own_writes=size))
        yield _row(size, "delete", delete_all(rig, provider, names))


def create_all(rig: Rig, provider: Provider, names: list[str]) -> dict[str, float]:
    """Apply all KINDClusters concurrently and return the cost until all are Ready."""
    ready: set[str] = set()

    def seen(type: str, obj: Object) -> None:
        if is_ready(obj):
            ready.add(obj["metadata"]["name"])

    with rig.watching(seen), rig.measured(provider) as usage:
        rig.all_at_once(names, lambda rest, name: rest.request("POST", KIND_CLUSTER_PATH, kindcluster(name)))
        wait_until(lambda: len(ready) == len(names), f"{len(names)} Ready")
    return usage.row(len(names), own_writes=len(names))


def delete_all(rig: Rig, provider: Provider, names: list[str]) -> dict[str, float]:
    """Delete all KINDClusters concurrently and return the cost until all are gone."""
    with rig.management.rest() as rest, rig.measured(provider) as usage:
        rig.all_at_once(names, lambda rest, name: rest.request("DELETE", f"{KIND_CLUSTER_PATH}/{name}"))
        # If the API server ends a watch, for example because it reads too slowly, the last events would be missing.
        listing = f"{KIND_CLUSTER_PATH}?limit=1"
        wait_until(lambda: not rest.request("GET", listing)["items"], f"{len(names)} gone", every=0.1)
    return usage.row(len(names), own_writes=len(names))


def _label(rest: Rest, name: str) -> None:
    rest.request("PATCH", f"{KIND_CLUSTER_PATH}/{name}", {"metadata": {"labels": {"bench": "edit"}}}, MERGE_PATCH)


def _resync(provider: Provider, size: int) -> float:
    """Wait for the next resync and return the duration of its reconciles, by their own clock."""
    before, (ended, _) = _reconcile_seconds(provider), provider.reconciles()
    # Rarely, because answering takes processor time that would count.
    wait_until(lambda: provider.reconciles()[0] > ended, "a resync", 10 * RESYNC_SECONDS, every=1.0)
    provider.await_settled(ended + size)
    return _reconcile_seconds(provider) - before


def _reconcile_seconds(provider: Provider) -> float:
    return sum(value for name, value in provider.series().items() if name.startswith("capk_reconcile_seconds_sum"))


def _row(size: int, phase: str, figures: dict[str, float]) -> Row:
    return {"objects": size, "phase": phase, **figures}
