"""Reads from the error output of an engine which containers and volumes are gone already. Pure.

The output is read once, whatever it is about: an engine on another machine chooses it, and hundreds of containers may
be looked for in it.
"""

import re
from typing import Final

_QUOTE: Final = r"\\{0,3}[\"'`]?"
_NAME: Final = r"[A-Za-z0-9][A-Za-z0-9_.-]*"
_GONE: Final = re.compile(
    # docker and nerdctl; podman
    rf"no such (?:container|object|volume)[: ]{{0,8}}{_QUOTE}(?P<one>{_NAME})"
    rf"|no (?:container|volume) with (?:name or id|name|id)[: ]{{1,8}}{_QUOTE}(?P<other>{_NAME})",
    re.IGNORECASE,
)
_GOING: Final = re.compile(r"removal of container (?P<one>[0-9a-f]{1,64}) is already in progress", re.IGNORECASE)


def gone(printed: str) -> frozenset[str]:
    """Return the containers, objects and volumes that do not exist, by the name or id with which they were named."""
    found = (match["one"] or match["other"] for match in _GONE.finditer(printed))
    # The end of a sentence looks like a part of the name.
    return frozenset(form for name in found for form in (name, name.rstrip(".-_")))


def going(printed: str) -> frozenset[str]:
    """Return the ids of the containers that are being removed already (docker)."""
    return frozenset(match["one"] for match in _GOING.finditer(printed))
