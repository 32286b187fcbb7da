"""The errors of the installer: each says what failed and what to do about it."""

from __future__ import annotations


class ToolError(Exception):
    """Nothing more can be tried; remedy tells the user what would help."""

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.remedy = remedy


class CommandFailed(Exception):
    """A command ended with another status than 0; output holds what it printed on standard error."""

    def __init__(self, argv: list[str], status: int, output: str) -> None:
        super().__init__(f"{' '.join(argv[:3])} … ended with status {status}")
        self.output = output


class Unavailable(Exception):
    """A publisher's binary cannot be had here; the next way may be tried."""
