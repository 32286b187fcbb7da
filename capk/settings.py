"""Every setting of the provider process, with its unit and the reason of its default; read once, never changed."""

import os
import shlex
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path


class Endpoint(StrEnum):
    """Which address of a workload cluster Cluster API is given."""

    AUTO = "auto"
    """Internal where the provider runs in a pod, external where it runs on the machine itself."""
    INTERNAL = "internal"
    EXTERNAL = "external"


class LogFormat(StrEnum):
    """How log lines look."""

    TEXT = "text"
    JSON = "json"


def machine() -> tuple[int, float]:
    """Return the cores and the GiB of memory of this machine."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return os.cpu_count() or 1, memory


def default_concurrent_creates(cores: int, memory_gib: float) -> int:
    """Return how many kind clusters a machine can create at once: one a core and GiB, at least two.

    A creation keeps two cores busy and needs about 0.5 GiB: more at once than cores only make each one slower, and two
    overlap well because a good part of a creation is waiting.
    """
    return max(2, min(cores, int(memory_gib)))


@dataclass(frozen=True)
class Settings:
    """How one provider process runs."""

    kubeconfig: str | None = None
    """Of the management cluster; None: the pod's own account, else KUBECONFIG, else the user's default."""
    context: str | None = None
    namespace: str | None = None
    """Watch this namespace only; None: all."""
    watch_filter: str | None = None
    """Only objects whose label `cluster.x-k8s.io/watch-filter` has this value (C9)."""
    kind_command: tuple[str, ...] = ("kind",)
    engine_command: tuple[str, ...] | None = None
    """The container engine's own command; None: the one that kind would use; empty: there is none."""
    endpoint: Endpoint = Endpoint.AUTO
    max_concurrent_creates: int = field(default_factory=lambda: default_concurrent_creates(*machine()))
    workers: int = 16
    """Objects looked at at once; they only wait for the API server, never for kind."""
    sync_period_seconds: float = 600.0
    """Look at every object that often even if nothing happened; core's own default."""
    inventory_period_seconds: float = 10.0
    """Ask the engine that often what it has; one call serves all objects."""
    create_timeout_seconds: float = 900.0
    delete_timeout_seconds: float = 300.0
    wait_for_nodes_seconds: int = 120
    """kind's own --wait: 0 calls a cluster created before its nodes are Ready. After a restart of nodes, how long the
    kind cluster's API server is waited for."""
    node_image: str | None = None
    """Node image where an object asks for no image and no version; None: kind's own default."""
    work_dir: Path = field(default_factory=lambda: Path(os.environ.get("TMPDIR", "/tmp")) / f"capk-{os.getuid()}")
    """Private files of running kind calls; nothing in it outlives its call."""
    allowed_host_paths: tuple[str, ...] | None = None
    """Paths of the engine's host that nodes may mount, with all below; None: none in a pod, all elsewhere."""
    log_format: LogFormat = LogFormat.TEXT
    log_level: str = "info"
    health_address: str = ":9440"
    """Where /healthz, /readyz and /metrics answer; empty: nowhere."""
    diagnostics_address: str = ""
    """Where else /metrics answers; it always does beside the probes."""
    leader_elect: bool = False
    leader_election_namespace: str | None = None

    @property
    def in_pod(self) -> bool:
        """Whether the provider runs in a pod of the management cluster."""
        return self.kubeconfig is None and "KUBERNETES_SERVICE_HOST" in os.environ

    @property
    def log_dir(self) -> Path:
        """Where the logs of failed creations are kept."""
        return self.work_dir / "failed"

    @property
    def host_paths(self) -> tuple[str, ...]:
        """The paths that nodes may mount. Whoever runs the provider on a machine of their own may mount all of it."""
        if self.allowed_host_paths is not None:
            return self.allowed_host_paths
        return () if self.in_pod else ("/",)

    @property
    def gives_internal_endpoint(self) -> bool:
        """Whether Cluster API is given the address on the engine's network."""
        return self.endpoint is Endpoint.INTERNAL or (self.endpoint is Endpoint.AUTO and self.in_pod)


def socket_address(text: str) -> tuple[str, int]:
    """Return host and port of `host:port` or `:port`, which means every address of the machine.

    Raises ValueError with what is accepted.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit():
        raise ValueError(f"{text!r} is no address; use for example :9440 or 127.0.0.1:9440")
    return host.strip("[]") or "0.0.0.0", int(port)


def paths(text: str) -> tuple[str, ...]:
    """Return the absolute paths of a comma-separated list.

    Raises ValueError for a relative one.
    """
    found = tuple(part.strip() for part in text.split(",") if part.strip())
    if relative := [path for path in found if not path.startswith("/")]:
        raise ValueError(f"{', '.join(relative)} is not absolute")
    return found


def command_line(text: str) -> tuple[str, ...]:
    """Return the words of a command given as one text, quoted as in a shell; no shell ever sees it."""
    return tuple(shlex.split(text))


def seconds(duration: str) -> float:
    """Return the seconds of a duration as Kubernetes tools write it: `90s`, `15m`, `1h30m`, or a bare number.

    Raises ValueError with what is accepted.
    """
    units = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
    rest, total = duration.strip(), 0.0
    try:
        return float(rest)
    except ValueError:
        pass
    while rest:
        digits = len(rest) - len(rest.lstrip("0123456789."))
        unit = next((unit for unit in units if rest[digits:].startswith(unit)), None)
        if digits == 0 or unit is None:
            raise ValueError(f"{duration!r} is no duration; use for example 90s, 15m or 1h30m")
        total += float(rest[:digits]) * units[unit]
        rest = rest[digits + len(unit) :]
    return total
