"""The calls that a provider repeats every few seconds, answered from the names of files and a list of containers.

They are most of the fake kind's calls. The imports of the other calls make a start four times as long, so this module
imports only `os` and `sys` at the top, and nothing for types.
"""

import os
import sys

HOME_VARIABLE = "CAPK_LOCAL_KIND_HOME"
"""Environment variable: directory of the clusters. Default: capk/fake-kind under XDG_STATE_HOME."""
KIND_VERSION = "0.33.0"
"""The release of kind whose calls and output the fake kind imitates."""
CLUSTER_LABEL = "io.x-k8s.kind.cluster"
ROLE_LABEL = "io.x-k8s.kind.role"
CLUSTERS = "clusters"
"""Directory in the home with one directory per cluster."""
CONTAINERS = "containers"
"""File in a cluster's directory: the ids of its node containers, one per line."""
HOSTS = "hosts"
"""Directory in the home with one home per engine that DOCKER_HOST names."""
NO_CLUSTERS = "No kind clusters found."

_VERSION = ["version"]
_CLUSTERS = ["get", "clusters"]
_INFO = ["engine", "info", "--format", "{{json .}}"]
_CONTAINERS = ["engine", "ps", "--all", "--quiet", "--no-trunc", "--filter", f"label={CLUSTER_LABEL}"]


def answer(argv: list[str], environment: dict[str, str]) -> list[str] | None:
    """Return the lines to print for a repeated call; None for any other call."""
    if argv == _VERSION:
        return [version()]
    if argv == _CLUSTERS:
        names = cluster_names(home(environment))
        if not names:
            print(NO_CLUSTERS, file=sys.stderr)
        return names
    if argv == _INFO:
        return [info(home(environment))]
    return container_ids(home(environment)) if argv == _CONTAINERS else None


def version() -> str:
    """Return what `kind version` prints."""
    machine = os.uname()
    return f"kind v{KIND_VERSION} capkdev-fake-kind {machine.sysname.lower()}/{machine.machine}"


def info(directory: str) -> str:
    """Return what the engine's `info` prints for a home: JSON, written by hand because its import takes a while."""
    import hashlib

    return f'{{"ID": "{hashlib.sha256(directory.encode()).hexdigest()}", "Name": "capkdev-fake-kind"}}'


def home(environment: dict[str, str]) -> str:
    """Return the directory in CAPK_LOCAL_KIND_HOME, otherwise the user's; below it for an engine on another machine."""
    state = environment.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    chosen = os.path.abspath(environment.get(HOME_VARIABLE) or os.path.join(state, "capk", "fake-kind"))
    scheme, _, host = environment.get("DOCKER_HOST", "").partition("://")
    is_remote = scheme == "ssh" or (scheme == "tcp" and environment.get("DOCKER_TLS_VERIFY"))
    return os.path.join(chosen, HOSTS, host) if is_remote else chosen


def cluster_names(directory: str) -> list[str]:
    """Return the names of all clusters of a home, sorted, including unfinished ones."""
    try:
        return sorted(os.listdir(os.path.join(directory, CLUSTERS)))
    except FileNotFoundError:
        return []


def container_ids(directory: str) -> list[str]:
    """Return the ids of all node containers of a home, grouped by cluster."""
    ids: list[str] = []
    for name in cluster_names(directory):
        try:
            with open(os.path.join(directory, CLUSTERS, name, CONTAINERS)) as containers:
                ids += containers.read().split()
        except (FileNotFoundError, NotADirectoryError):
            continue  # it was deleted meanwhile
    return ids
