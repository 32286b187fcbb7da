"""The result of a check."""

from dataclasses import dataclass
from enum import StrEnum

from capk.api.names import Reason


class Status(StrEnum):
    """Outcome of a check."""

    OK = "ok"
    WARNING = "warning"
    """The provider works, but with restrictions or not for long."""
    FAILURE = "failure"
    """The provider cannot do its work."""
    SKIPPED = "skipped"
    """The check cannot be made here."""


@dataclass(frozen=True)
class Finding:
    """The result of a check.

    found: a sentence or less. remedy: what to do; empty if nothing. reason: the page of `capk explain` with more.
    """

    check: str
    status: Status
    found: str
    remedy: str = ""
    reason: Reason | None = None


def ok(check: str, found: str) -> Finding:
    """Return the finding of a successful check."""
    return Finding(check, Status.OK, found)


def skipped(check: str, found: str) -> Finding:
    """Return the finding of a check that cannot be made. found: why."""
    return Finding(check, Status.SKIPPED, found)


def warning(check: str, found: str, remedy: str, reason: Reason | None = None) -> Finding:
    """Return the finding of something that will cause trouble."""
    return Finding(check, Status.WARNING, found, remedy, reason)


def failure(check: str, found: str, remedy: str, reason: Reason | None = None) -> Finding:
    """Return the finding of something that prevents the provider from working."""
    return Finding(check, Status.FAILURE, found, remedy, reason)
