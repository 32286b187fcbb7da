"""Reads and writes YAML, with libyaml if PyYAML has it, which is ten times as fast. Pure."""

from typing import Any, Final

import yaml

_LOADER: Final = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
_DUMPER: Final = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_MOST_LEVELS: Final = 100
_MOST_EVENTS: Final = 5000
"""libyaml's events: one per text, two per mapping or list. Reading so many blocks the process for about 20 ms."""
_MOST_TAGS: Final = 16
"""`%TAG` directives, each of which libyaml compares with all before it. Neither kubeadm nor people use any."""
_MOST_REPEATED: Final = 64 * 1024
"""Characters that aliases repeat."""


def load_texts(text: str) -> Any:
    """Parse an untrusted YAML text into mappings and lists of texts.

    Scalars are not converted and `<<` is not merged: with either, a few lines can take minutes and gigabytes. Raises
    yaml.YAMLError or ValueError, also for a text that is too deep or too large. What an alias repeats counts each time:
    in memory it is there once, but all work on the document would meet it again.
    """
    if text.count("%TAG") > _MOST_TAGS:
        raise yaml.YAMLError(f"it has more than {_MOST_TAGS} directives")
    # The composer recurses, libyaml's without a limit, so that a text of brackets would end the process. The number of
    # opening and separating characters bounds depth and size, so most texts need no further check.
    if "*" in text or signs(text) > _MOST_LEVELS:
        _refuse_size(text)
    return yaml.load(text, Loader=_LOADER)


def signs(text: str) -> int:
    """Return how many characters of a YAML text open or separate values: reading it takes the longer, the more."""
    return sum(map(text.count, "[{:-?,"))


def _refuse_size(text: str) -> None:
    size = _Size()
    for event in yaml.parse(text, Loader=_LOADER):
        size.add(event)
        if size.events > _MOST_EVENTS:
            raise yaml.YAMLError(f"it holds more than {_MOST_EVENTS} texts, lists and mappings")
        if size.repeated > _MOST_REPEATED:
            raise yaml.YAMLError(f"its aliases repeat more than {_MOST_REPEATED} characters")
        if size.levels > _MOST_LEVELS:
            raise yaml.YAMLError(f"it nests more than {_MOST_LEVELS} levels deep")


class _Size:
    """The size of a document so far, with what its aliases repeat.

    events, characters: of all values, also repeated ones. repeated: characters of the repeated ones alone.
    """

    def __init__(self) -> None:
        self.events = self.characters = self.repeated = 0
        self._open: list[tuple[str | None, int, int]] = []
        """Anchor of each open mapping or list, with events and characters before it."""
        self._anchors: dict[str, tuple[int, int]] = {}

    @property
    def levels(self) -> int:
        """How deep the last value is nested."""
        return len(self._open)

    def add(self, event: yaml.Event) -> None:
        """Count an event. Raises yaml.YAMLError for an alias of what contains it, or of nothing."""
        if isinstance(event, yaml.AliasEvent):
            self._repeat(event.anchor)
            return
        before = self.events, self.characters
        self.events += 1
        match event:
            case yaml.ScalarEvent():
                self.characters += len(event.value)
                self._note(event.anchor, *before)
            case yaml.CollectionStartEvent():
                self._open.append((event.anchor, *before))
            case yaml.CollectionEndEvent():
                self._note(*self._open.pop())

    def _repeat(self, anchor: str | None) -> None:
        if anchor is None or anchor not in self._anchors:
            raise yaml.YAMLError("it has an alias without a complete value")
        events, characters = self._anchors[anchor]
        self.events += events
        self.characters += characters
        self.repeated += characters

    def _note(self, anchor: str | None, events: int, characters: int) -> None:
        if anchor is not None:
            self._anchors[anchor] = self.events - events, self.characters - characters


def dump(document: object) -> str:
    """Return a document as YAML, with its fields in their order."""
    return str(yaml.dump(document, Dumper=_DUMPER, sort_keys=False))
