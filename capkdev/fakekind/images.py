"""Decides which node images can be used. It never pulls or runs one."""

import fnmatch
from collections.abc import Mapping

from capkdev.fakekind.steps import KindError

ABSENT_VARIABLE = "CAPK_LOCAL_KIND_ABSENT_IMAGES"
"""Node images that cannot be pulled: shell patterns, separated by spaces."""
ABSENT_IMAGES = "*:v[02-9].*"
"""Default of CAPK_LOCAL_KIND_ABSENT_IMAGES: all versions of Kubernetes except v1."""


def check_image(image: str, environment: Mapping[str, str]) -> None:
    """Raise KindError if a node image counts as one that cannot be pulled."""
    patterns = environment.get(ABSENT_VARIABLE, ABSENT_IMAGES).split()
    plain = image.partition("@")[0]
    if any(fnmatch.fnmatchcase(plain, pattern) for pattern in patterns):
        raise KindError(
            f'failed to pull image "{image}": command "docker pull {image}" failed with error: exit status 1',
            f"Error response from daemon: manifest for {image} not found: manifest unknown: manifest unknown",
        )
