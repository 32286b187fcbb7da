"""Figures of a run, printed at its end."""

import os
from collections import Counter
from pathlib import Path


class Counters(Counter[str]):
    """Counts actions of a run."""

    def add(self, what: str, count: int) -> None:
        self[what] += count


def memory_mib(pid: int | None) -> float:
    """Return the resident memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
