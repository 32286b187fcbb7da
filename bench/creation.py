"""Options of creations with the real kind: waiting for nodes, and the number of concurrent creations."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.parallel import life
from bench.results import Row
from bench.rig import Rig
from capkdev.managementcluster.engines import EngineChoice

WAITS = ("2m", "0")
AT_ONCE = (1, 2, 4)
OBJECTS = 4


def creation(rounds: int, choice: EngineChoice | None) -> Iterator[Row]:
    """Yield a row per setting and round; none without the real kind."""
    if choice is None:
        return
    settings = [(1, "--wait-for-nodes", value) for value in WAITS]
    settings += [(OBJECTS, "--max-concurrent-creates", str(limit)) for limit in AT_ONCE]
    image = ["--node-image", choice.node_image] if choice.node_image else []
    with tempfile.TemporaryDirectory(prefix="bench-") as directory, Rig(Path(directory)) as rig:
        # In alternating order, so that no setting always has the warmer caches.
        for number in range(1, rounds + 1):
            for objects, flag, value in settings:
                with rig.provider(flag, value, *image, kind=choice.kind, engine=choice.engine):
                    seconds = life(rig, objects, f"r{number}")
                yield {"setting": f"{flag} {value}", "objects": objects, "round": number, "seconds": round(seconds, 2)}
