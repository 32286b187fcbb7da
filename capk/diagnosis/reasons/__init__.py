"""Every reason of a condition, explained for people: `capk explain` and docs/troubleshooting.md print these pages."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Final

from capk.api.names import Reason
from capk.diagnosis.reasons import engine, failed, progress, waiting, well
from capk.diagnosis.reasons.page import Group, Page

__all__ = ["BY_REASON", "PAGES", "Group", "Page", "find", "nearest"]

PAGES: Final[Mapping[Group, Sequence[Page]]] = {
    Group.WAITING: waiting.PAGES,
    Group.IN_PROGRESS: progress.PAGES,
    Group.FAILED: (*failed.PAGES, *engine.PAGES),
    Group.WELL: well.PAGES,
}
BY_REASON: Final[Mapping[Reason, Page]] = {page.reason: page for pages in PAGES.values() for page in pages}
_MOST_GUESSES: Final = 3


def find(name: str) -> Page | None:
    """Return the page of a reason; None if there is none. The case of the name does not matter."""
    wanted = name.casefold()
    return next((page for reason, page in BY_REASON.items() if reason.casefold() == wanted), None)


def nearest(name: str) -> list[str]:
    """Return the reasons with names similar to an unknown one, nearest first; none if nothing is similar."""
    known = {reason.casefold(): str(reason) for reason in BY_REASON}
    wanted = name.casefold()
    similar = difflib.get_close_matches(wanted, known, n=_MOST_GUESSES)
    parts = [folded for folded in known if len(wanted) > 2 and wanted in folded and folded not in similar]
    return [known[folded] for folded in (*similar, *parts)][:_MOST_GUESSES]
