"""Several KINDClusters created concurrently, compared with a blocking controller."""

import os
import shlex
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from time import monotonic

from bench.blocking import BlockingController
from bench.results import Row
from bench.rig import ENGINE, KIND_CLUSTER_PATH, Rig, kindcluster, wait_until
from capkdev.fakekind.kindconfig import DEFAULT_IMAGE
from capkdev.managementcluster.engines import EngineChoice

FIXED_SECONDS = 2


def parallel(sizes: list[int], choice: EngineChoice | None, real_sizes: list[int]) -> Iterator[Row]:
    """Yield a row per engine, controller and number. choice: the real kind; None omits it."""
    fixed = EngineChoice(str(ENGINE), str(ENGINE), "", True, "")
    yield from _both(f"{FIXED_SECONDS} s", fixed, sizes, ["--max-concurrent-creates", str(max(sizes))])
    if choice and real_sizes:
        # As many concurrent creations as the provider chooses for this machine.
        yield from _both("real kind", choice, real_sizes, [])


def _both(engine: str, choice: EngineChoice, sizes: list[int], flags: list[str]) -> Iterator[Row]:
    image = ["--node-image", choice.node_image] if choice.node_image else []
    with tempfile.TemporaryDirectory(prefix="bench-") as directory, Rig(Path(directory), seconds=FIXED_SECONDS) as rig:
        with rig.provider(*flags, *image, kind=choice.kind, engine=choice.engine):
            yield from _rows(rig, engine, "provider", sizes)
        # A deletion with kind edits a kubeconfig, which must not be the user's.
        scratch = {"KUBECONFIG": str(rig.directory / "kubeconfig")}
        rest, environment = rig.management.rest(), {**os.environ, **rig.environment, **scratch}
        with closing(rest):
            blocking = BlockingController(
                rest, shlex.split(choice.kind), choice.node_image or DEFAULT_IMAGE, environment
            )
            blocking.start()
            yield from _rows(rig, engine, "blocking", sizes)
            blocking.stop()


def _rows(rig: Rig, engine: str, controller: str, sizes: list[int]) -> Iterator[Row]:
    for size in sizes:
        seconds = life(rig, size, controller[:1])
        yield {"engine": engine, "controller": controller, "objects": size, "seconds": round(seconds, 2)}


def life(rig: Rig, size: int, mark: str) -> float:
    """Create, await and delete so many; return the seconds from apply to the last Ready. mark: part of the names."""
    names = [f"bench-{os.getpid()}-{mark}{size}-{number}" for number in range(size)]
    with rig.lives() as (ready, gone):
        began = monotonic()
        rig.all_at_once(names, lambda rest, name: rest.request("POST", KIND_CLUSTER_PATH, kindcluster(name)))
        wait_until(lambda: ready.issuperset(names), f"{len(names)} Ready")
        took = monotonic() - began
        rig.all_at_once(names, lambda rest, name: rest.request("DELETE", f"{KIND_CLUSTER_PATH}/{name}"))
        wait_until(lambda: gone.issuperset(names), f"{len(names)} gone")
    return took
