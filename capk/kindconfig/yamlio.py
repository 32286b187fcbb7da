"""YAML texts to documents and back, by libyaml if PyYAML has it: ten times as fast. Pure."""

from typing import Any, Final

import yaml

_LOADER: Final = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
_DUMPER: Final = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_MOST_LEVELS: Final = 100
_MOST_EVENTS: Final = 5000
"""Of libyaml: one for each text, two for each mapping and list. It reads them in some 20 ms; nothing else runs then."""


def load_texts(text: str) -> Any:
    """Return the document that an untrusted YAML text holds: mappings and lists of texts.

    No scalar is converted and no `<<` is merged: with either, a few lines can take minutes and gigabytes. Raises
    yaml.YAMLError or ValueError, also for a text that nests too deep or holds too much.
    """
    # The composer recurses: libyaml's without a limit, so that a text of brackets would end the process. A text nests
    # no deeper, and holds no more, than it has signs that open something or stand between two things, which spares most
    # of them the look at their size.
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
    """Return a document as YAML, its fields in their own order."""
    return str(yaml.dump(document, Dumper=_DUMPER, sort_keys=False))
