"""Reads and writes YAML, with libyaml if PyYAML has it, which is ten times as fast. Pure."""

from typing import Any, Final

import yaml

_LOADER: Final = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
_DUMPER: Final = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_MOST_LEVELS: Final = 100
_MOST_EVENTS: Final = 5000
"""libyaml's events: one per text, two per mapping or list. Reading so many blocks the process for about 20 ms."""


def load_texts(text: str) -> Any:
    """Parse an untrusted YAML text into mappings and lists of texts.

    Scalars are not converted and `<<` is not merged: with either, a few lines can take minutes and gigabytes. Raises
    yaml.YAMLError or ValueError, also for a text that is too deep or too large.
    """
    # The composer recurses, libyaml's without a limit, so that a text of brackets would end the process. The number of
    # opening and separating characters bounds depth and size, so most texts need no further check.
    if sum(map(text.count, "[{:-?,")) > _MOST_LEVELS:
        _refuse_size(text)
    return yaml.load(text, Loader=_LOADER)


def _refuse_size(text: str) -> None:
    level = 0
    for count, event in enumerate(yaml.parse(text, Loader=_LOADER)):
        if count > _MOST_EVENTS:
            raise yaml.YAMLError(f"it holds more than {_MOST_EVENTS} texts, lists and mappings")
        if isinstance(event, yaml.CollectionStartEvent):
            level += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            level -= 1
        if level > _MOST_LEVELS:
            raise yaml.YAMLError(f"it nests more than {_MOST_LEVELS} levels deep")


def dump(document: object) -> str:
    """Return a document as YAML, with its fields in their order."""
    return str(yaml.dump(document, Dumper=_DUMPER, sort_keys=False))
