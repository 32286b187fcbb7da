"""Prints progress and errors exactly as kind does.

Source: kind pkg/internal/cli/status.go, cmd/kind/app/main.go (without a terminal).
"""

import sys
from types import TracebackType

from capk.errors import CapkError


class KindError(CapkError):
    """A failure of kind.

    output: of the failed command; shown after the message.
    exit_status: 1, or that of a failed command in a node.
    """

    def __init__(self, message: str, output: str = "", exit_status: int = 1) -> None:
        super().__init__(message)
        self.output = output
        self.exit_status = exit_status


class Console:
    """Prints to standard error, or nothing if quiet."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet

    def print(self, line: str) -> None:
        """Print a line."""
        if not self._quiet:
            print(line, file=sys.stderr, flush=True)

    def step(self, title: str) -> "Step":
        """Announce a step. As a context manager it prints the result of the step."""
        return Step(self, title)

    def error(self, failure: Exception) -> None:
        """Print an error, and the output of the failed command."""
        self.print(f"ERROR: {failure}")
        if isinstance(failure, KindError) and failure.output:
            self.print(f"\nCommand Output: {failure.output.rstrip()}")


class Step:
    """One of kind's steps."""

    def __init__(self, console: Console, title: str) -> None:
        self._console = console
        self._title = title

    def __enter__(self) -> None:
        self._console.print(f" • {self._title}  ...")

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._console.print(f" {'✗' if failure else '✓'} {self._title}")
