"""Copies a cluster's logs into a directory with the layout of kind's `export logs`."""

import json
import shutil
import tempfile
from pathlib import Path

from capkdev.controlplane import API_SERVER, ETCD
from capkdev.fakekind.clusters import Cluster
from capkdev.fakekind.engine import document
from capkdev.fakekind.steps import Console


def export_logs(cluster: Cluster, directory: str, console: Console) -> None:
    """Copy the logs and print the directory.

    directory: empty for a new temporary one.
    """
    target = Path(directory or tempfile.mkdtemp())
    console.print(f'Exporting logs for cluster "{cluster.name}" to:')
    print(target)
    for node in cluster.nodes:
        place = target / node.name
        place.mkdir(parents=True, exist_ok=True)
        (place / "inspect.json").write_text(json.dumps([document(cluster, node)], indent=4))
    for name in (ETCD, API_SERVER):
        log, first = cluster.directory / f"{name}.log", cluster.first_control_plane
        if first and log.exists():
            shutil.copyfile(log, target / first.name / log.name)
