"""Tells people what is being done and for how long: a ticking line on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO

_CLEAR = "\r\033[K"


def seconds_text(seconds: float) -> str:
    """Write a duration the way people read it: 0.4 s, 35 s, 5 min 02 s."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


class Progress:
    """The one place that prints; quiet_seconds is the pause between two lines when there is no terminal."""

    def __init__(self, stream: TextIO, quiet_seconds: float = 20.0) -> None:
        self._stream = stream
        self._ticking = stream.isatty()
        self._pause = 0.5 if self._ticking else quiet_seconds
        self._task = ""
        self._started = self._printed = time.monotonic()

    def say(self, text: str) -> None:
        """Print a line that stays."""
        self._stream.write(f"{_CLEAR if self._ticking else ''}{text}\n")
        self._stream.flush()

    @contextmanager
    def doing(self, task: str) -> Iterator[None]:
        """Name what ticks tell about until the block ends."""
        self._task = task
        self._started = self._printed = time.monotonic()
        self._show(f"  {task} ...")
        try:
            yield
        finally:
            if self._ticking:
                self._show("")

    def tick(self, detail: str = "") -> None:
        """Show that the task goes on; may be called as often as one likes."""
        now = time.monotonic()
        if now - self._printed >= self._pause:
            self._printed = now
            words = [seconds_text(now - self._started), detail]
            self._show(f"  {self._task} ... {', '.join(filter(None, words))}")

    def _show(self, line: str) -> None:
        if self._ticking:
            width = shutil.get_terminal_size().columns - 1
            self._stream.write(f"{_CLEAR}{line[:width]}")
            self._stream.flush()
        else:
            self.say(line)

    def table(self, rows: Sequence[Sequence[str]]) -> None:
        """Print rows in columns; the first row is the heading."""
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        for row in rows:
            self.say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
