"""The provider's work and resources while nothing happens."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import sleep

from bench.results import Row
from bench.rig import Rig
from bench.scale import create_all
from bench.usage import resident_mib


def steady(size: int, minutes: float, creates: int) -> Iterator[Row]:
    """Yield one row: KINDClusters that are Ready, watched for so many minutes."""
    with tempfile.TemporaryDirectory(prefix="bench-") as directory, Rig(Path(directory)) as rig:
        with rig.provider("--max-concurrent-creates", str(creates)) as provider:
            create_all(rig, provider, [f"c{number}" for number in range(size)])
            provider.await_settled(size)
        # Restarted, so that the memory does not include the creations.
        with rig.provider() as provider:
            provider.await_settled(size)
            calls_before = rig.calls().count("get clusters")
            with rig.measured(provider) as usage:
                sleep(60 * minutes)
            percent = 100 / usage.seconds
            yield {
                "objects": size,
                "minutes": minutes,
                "writes": usage.writes.total(),
                "reads": usage.reads.total(),
                "inventory_calls": rig.calls().count("get clusters") - calls_before,
                "provider_cpu_percent": round(usage.provider_cpu_s * percent, 2),
                "engine_cpu_percent": round(usage.engine_cpu_s * percent, 2),
                "resident_mib": round(resident_mib(provider.pid), 1),
                "peak_mib": round(usage.peak_mib, 1),
            }
