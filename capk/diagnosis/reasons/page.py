"""The parts of a page about a reason. Pure."""

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
    """Explains a reason to people, in Markdown with nothing but code between backticks.

    meaning: what it means, in one line. cause: what leads to it. remedy: what to do.
    see: reasons that explain more.
    """

    reason: Reason
    meaning: str
    cause: str
    remedy: str
    see: tuple[Reason, ...] = ()
