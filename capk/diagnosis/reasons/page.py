"""What a page about a reason consists of. Pure."""

from dataclasses import dataclass
from enum import StrEnum

from capk.api.names import Reason


class Group(StrEnum):
    """What a reason reports; the value is the heading in the documentation."""

    WAITING = "Waiting"
    IN_PROGRESS = "In progress"
    FAILED = "Failed"
    WELL = "All is well"


@dataclass(frozen=True)
class Page:
    """What a person needs to know about a reason. Markdown, of which only code between backticks is used.

    meaning: what it means, in one line. cause: why it comes about. remedy: what to do.
    see: reasons that explain more.
    """

    reason: Reason
    meaning: str
    cause: str
    remedy: str
    see: tuple[Reason, ...] = ()
