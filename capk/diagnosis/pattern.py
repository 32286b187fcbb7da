"""How a pattern recognises output: a list of words, not an expression.

A plain search finds the words, and an expression matches only a bounded text after them, a few times. That keeps the
cost low for any output.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from capk.api.names import Reason
from capk.diagnosis.output import Output

_TRIES: Final = 8
"""Number of occurrences of the words at which the expression is tried."""


@dataclass(frozen=True)
class Words:
    """words: in lower case; the search ignores case. then: what must follow; its named groups are facts."""

    words: str
    then: re.Pattern[str] | None = None

    def find(self, folded: str, text: str, start: int = 0) -> Mapping[str, str] | None:
        """Return the facts where the words occur, which may be none; None if they do not occur from `start` on."""
        for place in self._places(folded, start):
            if self.then is None:
                return {}
            if found := self.then.match(text, place + len(self.words)):
                return {name: fact for name, fact in found.groupdict().items() if fact}
        return None

    def _places(self, folded: str, start: int) -> Iterator[int]:
        place = start - 1
        for _ in range(_TRIES):
            if (place := folded.find(self.words, place + 1)) < 0:
                return
            yield place


@dataclass(frozen=True)
class Pattern:
    """One way to fail.

    words: one of them must occur.
    reason: None for the default reason of the failed command.
    message: may hold, in braces, facts from the words, `cause` (the command's error), `kubeadm` (kubeadm's error),
    `port` and `again` (the command that repeats the creation by hand).
    retry: whether the same call may succeed later without an edit of the object; see `Failure`.
    after: one of these words must occur before.
    creating: only for a creation.
    in_log: the words are among the lines of kubeadm's log, near its end.
    """

    words: tuple[Words, ...]
    reason: Reason | None
    message: str
    retry: bool = True
    after: tuple[str, ...] = ()
    creating: bool = False
    in_log: bool = False

    def facts(self, output: Output) -> Mapping[str, str] | None:
        """Return the facts that the output holds if it fits this pattern, else None."""
        if (start := self._start(output.folded)) is None:
            return None
        folded, text, start = (output.end, output.end, 0) if self.in_log else (output.folded, output.text, start)
        found = (words.find(folded, text, start) for words in self.words)
        return next((facts for facts in found if facts is not None), None)

    def _start(self, folded: str) -> int | None:
        if not self.after:
            return 0
        places = [place for words in self.after if (place := folded.find(words)) >= 0]
        return min(places) if places else None
