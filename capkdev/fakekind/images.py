"""Decides which node images can be used. It never pulls or runs one."""

import fnmatch
import re
from collections.abc import Mapping
from typing import Final

from capkdev.fakekind.kindconfig import DEFAULT_IMAGE
from capkdev.fakekind.steps import KindError

ABSENT_VARIABLE = "CAPK_LOCAL_KIND_ABSENT_IMAGES"
"""Node images that cannot be pulled: shell patterns, separated by spaces."""
ABSENT_IMAGES = "*:v[02-9].*"
"""Default of CAPK_LOCAL_KIND_ABSENT_IMAGES, which also refuses minor versions that are newer than kind's own."""
_MINOR: Final = re.compile(r":v1\.(\d{1,9})\.")


def check_image(image: str, environment: Mapping[str, str]) -> None:
    """Raise KindError if a node image counts as one that cannot be pulled."""
    if _is_absent(image.partition("@")[0], environment.get(ABSENT_VARIABLE)):
        raise KindError(
            f'failed to pull image "{image}": command "docker pull {image}" failed with error: exit status 1',
            f"Error response from daemon: manifest for {image} not found: manifest unknown: manifest unknown",
        )


def _is_absent(image: str, patterns: str | None) -> bool:
    if patterns is None and _minor(image) > _minor(DEFAULT_IMAGE):
        return True
    wanted = ABSENT_IMAGES if patterns is None else patterns
    return any(fnmatch.fnmatchcase(image, pattern) for pattern in wanted.split())


def _minor(image: str) -> int:
    found = _MINOR.search(image)
    return int(found[1]) if found else 0
