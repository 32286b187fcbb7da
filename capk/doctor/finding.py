"""What a check found."""

from dataclasses import dataclass
from enum import StrEnum

from capk.api.names import Reason


class Status(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    """The provider works, but not with everything or not for long."""
    FAILURE = "failure"
    """The provider cannot do its work."""
    SKIPPED = "skipped"
    """The check cannot be made here."""


@dataclass(frozen=True)
class Finding:
    """The result of a check.

    found: in a sentence or less. remedy: what to do; empty if nothing. reason: `capk explain` has more about it.
    """

    check: str
    status: Status
    found: str
    remedy: str = ""
    reason: Reason | None = None


def ok(check: str, found: str) -> Finding:
    """Return that everything is fine."""
    return Finding(check, Status.OK, found)


def skipped(check: str, found: str) -> Finding:
    """Return why a check cannot be made."""
    return Finding(check, Status.SKIPPED, found)


def warning(check: str, found: str, remedy: str, reason: Reason | None = None) -> Finding:
    """Return that something will cause trouble."""
    return Finding(check, Status.WARNING, found, remedy, reason)


def failure(check: str, found: str, remedy: str, reason: Reason | None = None) -> Finding:
    """Return that the provider cannot do its work."""
    return Finding(check, Status.FAILURE, found, remedy, reason)
