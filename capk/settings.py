"""Every setting of the provider process, with its unit and the reason of its default; read once, never changed."""

import math
import os
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final, TypeVar

import durationpy

from capk.kube.credentials import Credentials
from capk.resources import Resources, available

T = TypeVar("T")

PROVIDER_MIB: Final = 192
"""Memory of the provider itself: 143 MiB with 1,000 objects (docs/performance.md), and files in a work directory that
is in memory."""
CREATION_MIB: Final = 40
"""Memory of one creation in the provider's container: the kind command and the engine's command that it runs."""
MOST_POD_CREATES: Final = 32
LONGEST_SECONDS: Final = 366 * 86400.0
"""Longer durations are mistakes."""
_NAMESPACE: Final = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_POD_NAMESPACE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


class InvalidSetting(ValueError):
    """A setting has an invalid value; the message names its flag."""

    def __init__(self, flag: str, message: str) -> None:
        super().__init__(f"{flag}: {message}")


class Endpoint(StrEnum):
    """Which address of a workload cluster Cluster API gets."""

    AUTO = "auto"
    """Internal if the provider runs in a pod, external if it runs on the machine itself."""
    INTERNAL = "internal"
    EXTERNAL = "external"


class LogFormat(StrEnum):
    """Format of log lines."""

    TEXT = "text"
    JSON = "json"


class LogLevel(StrEnum):
    """Minimum severity of the messages to log."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def default_concurrent_creates(resources: Resources) -> int:
    """Return how many kind clusters to create in parallel: one per core and per GiB of the machine, at least two.

    A creation keeps two cores busy and needs about 0.5 GiB of the machine: more creations than cores only slow each
    other down, while two overlap well because a good part of a creation is waiting. In a container with a memory
    limit, the commands of all creations must fit into what the provider leaves.
    """
    by_machine = max(2, min(resources.cores, int(resources.memory_gib)))
    if resources.limit_gib is None:
        return by_machine
    by_limit = int((resources.limit_gib * 1024 - PROVIDER_MIB) / CREATION_MIB)
    return max(1, min(by_machine, by_limit))


def default_concurrent_pod_creates(resources: Resources) -> int:
    """Return how many creations on engines in Pods may run concurrently: what is left of the memory limit decides.

    Measured: such a creation costs the provider about a second of processor time and 26 MiB.
    """
    if resources.limit_gib is None:
        return MOST_POD_CREATES
    return max(1, min(MOST_POD_CREATES, int((resources.limit_gib * 1024 - PROVIDER_MIB) / CREATION_MIB)))


def default_work_dir() -> Path:
    """Return the work directory of this user, in the directory for temporary files."""
    return Path(os.environ.get("TMPDIR") or "/tmp") / f"capk-{os.getuid()}"


@dataclass(frozen=True)
class Settings:
    """How one provider process runs. Raises InvalidSetting for invalid values."""

    kubeconfig: str | None = None
    """Of the management cluster; None: KUBECONFIG, otherwise the pod's own account, otherwise the user's default."""
    context: str | None = None
    namespace: str | None = None
    """Watch this namespace only; None: all."""
    watch_filter: str | None = None
    """Only objects whose label `cluster.x-k8s.io/watch-filter` has this value (C9)."""
    kind_command: tuple[str, ...] = ("kind",)
    engine_command: tuple[str, ...] | None = None
    """The container engine's command; None: the one that kind would use; empty: only kind."""
    shared_engine: bool = True
    """Whether the provider has an engine of its own, for KINDClusters without a KINDEngineClass."""
    engine_namespace: str = "capkind-engines"
    """Namespace of the management cluster for engines in Pods."""
    endpoint: Endpoint = Endpoint.AUTO
    max_concurrent_creates: int = field(default_factory=lambda: default_concurrent_creates(available()))
    max_concurrent_pod_creates: int = field(default_factory=lambda: default_concurrent_pod_creates(available()))
    """How many kind clusters on engines in Pods are created in parallel: the work is done in the Pods."""
    max_concurrent_workers: int = 4
    """How many nodes of KINDMachines join in parallel; kubeadm keeps the machine busy for a few seconds."""
    workers: int = 16
    """Objects reconciled in parallel; a worker only waits for the API server, never for kind."""
    sync_period_seconds: float = 600.0
    """Interval between full resyncs; core's own default."""
    inventory_period_seconds: float = 10.0
    """Interval between inventories of the container engine; one inventory serves all objects."""
    health_period_seconds: float = 30.0
    """Interval between two requests to the API server of each workload cluster, which decide whether it is Ready."""
    create_timeout_seconds: float = 900.0
    delete_timeout_seconds: float = 300.0
    wait_for_nodes_seconds: int = 120
    """kind's --wait: with 0, a creation ends before the nodes are Ready. Also how long the provider waits for the API
    server after a restart of nodes."""
    node_image: str | None = None
    """Node image for objects that name neither image nor version; None: kind's own default."""
    work_dir: Path = field(default_factory=default_work_dir)
    """Private files of kind calls that run; no file outlives its call."""
    allowed_host_paths: tuple[str, ...] | None = None
    """Paths of the engine's machine that nodes may mount, and all below them; None: none in a pod, otherwise all."""
    log_format: LogFormat = LogFormat.TEXT
    log_level: str = LogLevel.INFO
    health_address: str = ":9440"
    """Address of /healthz, /readyz and /metrics; empty disables them."""
    diagnostics_address: str = ""
    """Additional address of /metrics; empty: none."""
    leader_elect: bool = False
    leader_election_namespace: str | None = None

    def __post_init__(self) -> None:
        for flag, count in (
            ("--workers", self.workers),
            ("--max-concurrent-creates", self.max_concurrent_creates),
            ("--max-concurrent-pod-creates", self.max_concurrent_pod_creates),
            ("--max-concurrent-workers", self.max_concurrent_workers),
        ):
            _require(count >= 1, flag, f"{count} is too few; use at least 1")
        for flag, period in (
            ("--sync-period", self.sync_period_seconds),
            ("--inventory-period", self.inventory_period_seconds),
            ("--health-period", self.health_period_seconds),
            ("--create-timeout", self.create_timeout_seconds),
            ("--delete-timeout", self.delete_timeout_seconds),
        ):
            problem = f"{period:g} s is out of range; use more than 0 s and at most a year"
            _require(0 < period <= LONGEST_SECONDS, flag, problem)
        waits = self.wait_for_nodes_seconds
        _require(0 <= waits <= LONGEST_SECONDS, "--wait-for-nodes", f"{waits} s is out of range; use 0 s to a year")
        _require(bool(self.kind_command), "--kind-command", "is empty")
        is_name = re.fullmatch(_NAMESPACE, self.engine_namespace) is not None
        _require(is_name, "--engine-namespace", f"{self.engine_namespace!r} is not the name of a namespace")
        for flag, address in (
            ("--health-addr", self.health_address),
            ("--diagnostics-address", self.diagnostics_address),
        ):
            if address:
                checked(flag, socket_address, address)
        levels = [level.value for level in LogLevel]
        _require(self.log_level in levels, "--log-level", f"{self.log_level!r} is not one of {', '.join(levels)}")

    @property
    def in_pod(self) -> bool:
        """Whether the provider runs in a pod of the management cluster, as its service account."""
        return Credentials(self.kubeconfig, self.context).use_service_account()

    @property
    def lease_namespace(self) -> str:
        """The namespace of the Lease: the chosen one, that of the pod, otherwise `default`."""
        if self.leader_election_namespace:
            return self.leader_election_namespace
        # With a kubeconfig, the pod may be one of another cluster.
        is_known = self.in_pod and _POD_NAMESPACE.is_file()
        return _POD_NAMESPACE.read_text(encoding="utf-8").strip() if is_known else "default"

    @property
    def names_work_dir(self) -> bool:
        """Whether a work directory was chosen. Another user of the machine may prepare the default one."""
        return self.work_dir != default_work_dir()

    @property
    def log_dir(self) -> Path:
        """Where the logs of failed creations are kept."""
        return self.work_dir / "failed"

    @property
    def host_paths(self) -> tuple[str, ...]:
        """The paths that nodes may mount. A person who runs the provider on their own machine may mount all of it."""
        if self.allowed_host_paths is not None:
            return self.allowed_host_paths
        return () if self.in_pod else ("/",)

    @property
    def gives_internal_endpoint(self) -> bool:
        """Whether Cluster API is given the address on the engine's network."""
        return self.endpoint is Endpoint.INTERNAL or (self.endpoint is Endpoint.AUTO and self.in_pod)


def checked(flag: str, parse: Callable[[str], T], text: str) -> T:
    """Return the parsed value of a flag; raises InvalidSetting, with the message of the parser's ValueError."""
    try:
        return parse(text)
    except ValueError as error:
        raise InvalidSetting(flag, str(error)) from None


def socket_address(text: str) -> tuple[str, int]:
    """Return host and port of `host:port`, `[IPv6]:port`, or `:port`: an empty host is every address of the machine.

    Raises ValueError; its message gives the accepted forms.
    """
    match = re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[^\s:\[\]]*):([0-9]{1,5})", text, re.ASCII)
    if match is None or int(match[2]) > 65535:
        raise ValueError(f"{text!r} is not a valid address; use for example :9440 or 127.0.0.1:9440")
    return match[1].strip("[]"), int(match[2])


def paths(text: str) -> tuple[str, ...]:
    """Return the absolute paths of a comma-separated list.

    Raises ValueError for a relative one.
    """
    found = tuple(part.strip() for part in text.split(",") if part.strip())
    if relative := [path for path in found if not path.startswith("/")]:
        raise ValueError(f"use absolute paths, not {', '.join(relative)}")
    return found


def command_line(text: str) -> tuple[str, ...]:
    """Split the text of a command into words, with a shell's rules of quoting but without a shell.

    Raises ValueError if a quotation mark is not closed.
    """
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise ValueError(f"{text!r} is not a valid command: {str(error).lower()}") from None


def seconds(duration: str) -> float:
    """Return the seconds of a duration as Kubernetes tools write it: `90s`, `15m`, `1h30m`, or a bare number.

    Raises ValueError, also for negative durations; its message gives the accepted forms.
    """
    text, number = duration.strip(), r"[0-9]+(?:\.[0-9]+)?"
    text = f"{text}s" if re.fullmatch(number, text) else text
    try:
        # durationpy also reads days, signs and the digits of other scripts, which Kubernetes tools refuse.
        if re.fullmatch(rf"(?:{number}(?:ms|s|m|h))+", text):
            return durationpy.from_str(text).total_seconds()
    except durationpy.DurationError:
        pass
    raise ValueError(f"{duration!r} is not a valid duration; use for example 90s, 15m or 1h30m")


def as_duration(number: float) -> str:
    """Format seconds as a duration that `seconds` reads: `15m`, `30s`, `0.5s`."""
    return f"{number / 60:g}m" if number and number % 60 == 0 else f"{number:g}s"


def whole_seconds(duration: str) -> int:
    """Return a duration in seconds, rounded up, for commands that accept whole seconds only."""
    return math.ceil(seconds(duration))


def _require(is_valid: bool, flag: str, problem: str) -> None:
    if not is_valid:
        raise InvalidSetting(flag, problem)
