"""The cost of a period: seconds, requests as the API server counts them, processor time, memory."""

import os
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

WRITES = frozenset({"POST", "PUT", "PATCH", "APPLY", "DELETE"})
READS = frozenset({"GET", "LIST"})
OURS = frozenset({"kindclusters", "kindcontrolplanes", "secrets", "events"})
"""Resources that the provider writes. Requests that the API server makes for itself do not count."""
_TICKS = os.sysconf("SC_CLK_TCK")
_WATCHES = re.compile(r'^apiserver_longrunning_requests\{.*?verb="WATCH".*?\} (\S+)$', re.MULTILINE)
_SERIES = re.compile(r'^apiserver_request_total\{.*?resource="([^"]*)".*?verb="([^"]*)".*?\} (\S+)$', re.MULTILINE)


@dataclass(frozen=True)
class Cpu:
    """Processor seconds: of the process itself, and of its children that have ended."""

    own: float
    children: float


@dataclass
class Usage:
    """The cost of a period; filled in at its end.

    writes, reads: of all clients, by resource. server_cpu_s: kube-apiserver and etcd. peak_mib: of the provider.
    """

    seconds: float = 0.0
    writes: Counter[str] = field(default_factory=Counter)
    reads: Counter[str] = field(default_factory=Counter)
    provider_cpu_s: float = 0.0
    engine_cpu_s: float = 0.0
    server_cpu_s: float = 0.0
    peak_mib: float = 0.0

    def row(self, objects: int, own_writes: int = 0) -> dict[str, float]:
        """Return the columns of a table; own_writes: those of the bench, which do not count."""
        writes = self.writes.total() - own_writes
        return {
            "seconds": round(self.seconds, 3),
            "per_s": round(objects / self.seconds, 1) if self.seconds else 0.0,
            "writes": writes,
            "writes_each": round(writes / objects, 2),
            "reads_each": round(self.reads.total() / objects, 2),
            "provider_cpu_s": round(self.provider_cpu_s, 2),
            "engine_cpu_s": round(self.engine_cpu_s, 2),
            "server_cpu_s": round(self.server_cpu_s, 2),
            "peak_mib": round(self.peak_mib, 1),
        }


@contextmanager
def measured(
    exposed: Callable[[], str], provider: int, servers: list[int], counted: Collection[str] = OURS
) -> Iterator[Usage]:
    """Measure the body of the `with`.

    exposed: returns the API server's metrics. provider, servers: process ids. counted: resources whose requests count.
    """
    usage = Usage()
    forget_peak(provider)
    before, cpu, server = requests(exposed()), cpu_of(provider), sum(cpu_of(pid).own for pid in servers)
    began = monotonic()
    yield usage
    usage.seconds = usage.seconds or monotonic() - began
    after = cpu_of(provider)
    usage.provider_cpu_s, usage.engine_cpu_s = after.own - cpu.own, after.children - cpu.children
    usage.server_cpu_s = sum(cpu_of(pid).own for pid in servers) - server
    usage.peak_mib = peak_mib(provider)
    for (resource, verb), count in (requests(exposed()) - before).items():
        if resource in counted and verb in WRITES:
            usage.writes[resource] += count
        if resource in counted and verb in READS:
            usage.reads[resource] += count


def requests(exposed: str) -> Counter[tuple[str, str]]:
    """Return the number of requests that an API server has answered, by resource and verb."""
    counted: Counter[tuple[str, str]] = Counter()
    for resource, verb, count in _SERIES.findall(exposed):
        counted[resource, verb] += int(float(count))
    return counted


def watches(exposed: str) -> int:
    """Return the number of watches that an API server serves, including its own."""
    return int(sum(map(float, _WATCHES.findall(exposed))))


def series(exposed: str) -> Mapping[str, float]:
    """Return all series of an exposition by name and labels."""
    pairs = (line.rsplit(" ", 1) for line in exposed.splitlines() if line and not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


def cpu_of(pid: int) -> Cpu:
    """Return the processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    user, system, children_user, children_system = (int(fields[position]) / _TICKS for position in range(11, 15))
    return Cpu(user + system, children_user + children_system)


def forget_peak(pid: int) -> None:
    """Reset the peak of a process's memory."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def peak_mib(pid: int) -> float:
    """Return the peak resident memory of a process since its start, or since `forget_peak`."""
    return _kib(pid, "VmHWM") / 1024


def resident_mib(pid: int) -> float:
    """Return the current resident memory of a process."""
    return _kib(pid, "VmRSS") / 1024


def connections(pid: int) -> int:
    """Return the number of sockets that a process has open, those of its watches and requests included."""
    found = 0
    for file in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            found += os.readlink(file).startswith("socket:")
    return found


def _kib(pid: int, name: str) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(f"{name}:"))
