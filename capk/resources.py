"""How many cores and how much memory this process may use: the machine's, within the limits of control groups."""

import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

Read = Callable[[str], str | None]
"""Returns the content of a file by its absolute path; None if it cannot be read."""

_NO_LIMIT_V1: Final = 2**60
"""Version 1 writes a number near 2**63 if there is no limit."""


@dataclass(frozen=True)
class Resources:
    """Processors and memory.

    cores: processors that the process may use, its limit rounded up. memory_gib: of the machine.
    limit_gib: memory that the control group of the process grants, such as a container's limit; None without a limit.
    """

    cores: int
    memory_gib: float
    limit_gib: float | None = None


def available() -> Resources:
    """Return the resources of this process."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return limited(_cores(), memory, _read)


def limited(cores: int, memory: int, read: Read) -> Resources:
    """Return the resources of a process on a machine of so many cores and bytes; `read` reads the kernel's files."""
    quota, limit = cgroup_limits(read)
    if quota is not None:
        cores = max(1, min(cores, math.ceil(quota)))
    return Resources(cores, memory / 2**30, None if limit is None or limit >= memory else limit / 2**30)


def cgroup_limits(read: Read) -> tuple[float | None, int | None]:
    """Return the cores and the bytes of memory that the control groups of the process grant; None without a limit.

    Versions 1 and 2. A group is limited by its ancestors too. Source: the kernel's admin-guide/cgroup-v1 and -v2.
    """
    quotas: list[float] = []
    limits: list[int] = []
    for controllers, path in _groups(read("/proc/self/cgroup") or ""):
        for group in (path, *path.parents):
            if not controllers:
                quotas += _quota(*(read(f"/sys/fs/cgroup{_below(group)}/cpu.max") or "").split()[:2])
                limits += _bytes(read(f"/sys/fs/cgroup{_below(group)}/memory.max"))
            if "cpu" in controllers:
                folder = f"/sys/fs/cgroup/cpu{_below(group)}"
                quotas += _quota(read(f"{folder}/cpu.cfs_quota_us") or "", read(f"{folder}/cpu.cfs_period_us") or "")
            if "memory" in controllers:
                limits += _bytes(read(f"/sys/fs/cgroup/memory{_below(group)}/memory.limit_in_bytes"))
    return min(quotas, default=None), min(limits, default=None)


def _groups(text: str) -> Iterator[tuple[set[str], PurePosixPath]]:
    """Yield the controllers, none for version 2, and the path of each group in /proc/self/cgroup.

    A container may see the path of its group outside; then only the root, an ancestor of all groups, exists inside.
    """
    for line in text.splitlines():
        number, _, rest = line.partition(":")
        controllers, colon, path = rest.partition(":")
        if number.isdecimal() and colon and path.startswith("/"):
            yield set(filter(None, controllers.split(","))), PurePosixPath(path)


def _below(group: PurePosixPath) -> str:
    return "" if group == PurePosixPath("/") else str(group)


def _quota(quota: str = "", period: str = "") -> list[float]:
    quota, period = quota.strip(), period.strip()
    if quota.isdecimal() and period.isdecimal() and int(period):
        return [int(quota) / int(period)]
    return []


def _bytes(text: str | None) -> list[int]:
    text = (text or "").strip()
    return [int(text)] if text.isdecimal() and int(text) < _NO_LIMIT_V1 else []


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
