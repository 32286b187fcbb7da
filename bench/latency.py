"""Time from an edit to the status that the provider writes for it, while it is busy with creations."""

import itertools
import math
import statistics
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep

from bench.results import Row
from bench.rig import KIND_CLUSTER_PATH, Object, Rig, kindcluster, wait_until
from bench.scale import create_all
from capkdev.rest import MERGE_PATCH

EDITS_A_SECOND = 5
CREATIONS_A_SECOND = 10
POLICIES = ("Retain", "Delete")


def latency(size: int, edits: int, creates: int) -> Iterator[Row]:
    """Yield one row: an edit is a new spec; the answer is its status, as a watch receives it."""
    with tempfile.TemporaryDirectory(prefix="bench-") as directory, Rig(Path(directory)) as rig:
        with rig.provider("--max-concurrent-creates", str(creates)) as provider:
            names = [f"c{number}" for number in range(size)]
            create_all(rig, provider, names)
            yield {"objects": size, "edits": edits, **_edit(rig, names, edits)}


def _edit(rig: Rig, names: list[str], edits: int) -> dict[str, float]:
    answers: dict[str, list[tuple[int, float]]] = {name: [] for name in names}

    def seen(type: str, obj: Object) -> None:
        generation = (obj.get("status") or {}).get("observedGeneration", 0)
        answers.setdefault(obj["metadata"]["name"], []).append((generation, monotonic()))

    def answered(name: str, generation: int) -> float | None:
        """Return when a status for that spec, or a later one, first arrived."""
        return next((moment for made_for, moment in answers[name] if made_for >= generation), None)

    sent: dict[tuple[str, int], float] = {}
    over = threading.Event()
    load = threading.Thread(target=_create_until, args=(rig, over))
    with rig.watching(seen), rig.management.rest() as rest:
        load.start()
        try:
            for name in itertools.islice(itertools.cycle(names), edits):
                path = f"{KIND_CLUSTER_PATH}/{name}"
                change = {"spec": {"deletionPolicy": _other(rest.request("GET", path))}}
                began = monotonic()
                after = rest.request("PATCH", path, change, MERGE_PATCH)
                sent[name, after["metadata"]["generation"]] = began
                sleep(1 / EDITS_A_SECOND)
            wait_until(lambda: all(answered(*edit) for edit in sent), "a status for every edit", every=0.1)
        finally:
            over.set()
            load.join()
    waited = sorted((answered(*edit) or math.inf) - began for edit, began in sent.items())
    cuts = statistics.quantiles(waited, n=100, method="inclusive")
    return {
        "p50_ms": round(1000 * cuts[49], 1),
        "p99_ms": round(1000 * cuts[98], 1),
        "max_ms": round(1000 * waited[-1]),
    }


def _other(obj: Object) -> str:
    return next(policy for policy in POLICIES if policy != obj["spec"].get("deletionPolicy"))


def _create_until(rig: Rig, over: threading.Event) -> None:
    with rig.management.rest() as rest:
        number = 0
        while not over.wait(1 / CREATIONS_A_SECOND):
            number += 1
            rest.request("POST", KIND_CLUSTER_PATH, kindcluster(f"load{number}"))
