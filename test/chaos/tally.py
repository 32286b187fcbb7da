"""Figures of a run, printed at its end."""

from collections import Counter


class Tally(Counter[str]):
    """What was done how often."""

    def add(self, what: str, count: int) -> None:
        self[what] += count
