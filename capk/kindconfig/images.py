"""Kubernetes version → node image, from the catalogue of the pinned kind release."""

import re
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

import yaml

from capk.errors import InvalidSpec

REPOSITORY = "kindest/node"
OLDEST_MINOR = 19
"""Older node images do not run under the pinned kind."""

_VERSION = re.compile(r"v?1\.(?P<minor>0|[1-9][0-9]{0,2})(?:\.(?P<patch>0|[1-9][0-9]{0,3}))?")
_TAG = re.compile(r":(?P<version>v[0-9]+\.[0-9]+\.[0-9]+)(?:$|[@_-])")


class Version(NamedTuple):
    """A version of Kubernetes 1. Without a patch, it means any patch release of the minor version."""

    minor: int
    patch: int | None

    def __str__(self) -> str:
        return f"v1.{self.minor}" if self.patch is None else f"v1.{self.minor}.{self.patch}"


def parse_version(text: str, *, path: str = "spec.kubernetesVersion") -> Version:
    """Return the version that `1.34`, `v1.34` or `v1.34.3` means.

    Raises InvalidSpec, naming `path`, for anything else and for versions before 1.19.
    """
    match = _VERSION.fullmatch(text)
    if not match or int(match["minor"]) < OLDEST_MINOR:
        raise InvalidSpec(
            path,
            f"{text!r} is not a Kubernetes version from 1.{OLDEST_MINOR} on, full as in v1.34.3 or minor as in 1.34; "
            "for any other build set spec.image of the KINDCluster",
        )
    return Version(int(match["minor"]), int(match["patch"]) if match["patch"] else None)


def node_image(
    version: str | None, image: str | None, default: str | None, *, path: str = "spec.kubernetesVersion"
) -> str | None:
    """Return the node image to use, or None for kind's own default.

    An exact image takes precedence. A full version becomes a plain tag, which also matches an image loaded into the
    engine by hand. A minor version becomes the image of the catalogue, with its digest.
    path: the field that the version comes from.
    Raises InvalidSpec for an invalid version, or a minor version that the catalogue does not have.
    """
    if image:
        return image
    if not version:
        return default
    wanted = parse_version(version, path=path)
    if wanted.patch is not None:
        return f"{REPOSITORY}:{wanted}"
    try:
        return catalogue()[wanted.minor]
    except KeyError:
        known = ", ".join(f"1.{minor}" for minor in sorted(catalogue(), reverse=True))
        raise InvalidSpec(
            path,
            f"the catalogue of this release has no node image for {wanted}, only for {known}; "
            f"use a full version such as {wanted}.0, or set spec.image of the KINDCluster",
        ) from None


def same_version(wanted: str, running: str) -> bool:
    """Whether a running version is the wanted one; any patch release satisfies a minor version."""
    try:
        one, other = parse_version(wanted), parse_version(running)
    except InvalidSpec:
        return wanted.removeprefix("v") == running.removeprefix("v")
    return one.minor == other.minor and one.patch in (None, other.patch)


def image_version(image: str) -> str | None:
    """Return the Kubernetes version in the tag of a node image, as in `v1.34.3`, or None."""
    match = _TAG.search(image)
    return match["version"] if match else None


def kind_release() -> str:
    """Return the catalogue's release of kind, as in `v0.33.0`."""
    return str(_content()["kind"])


def default_image() -> str:
    """Return the default node image of the catalogue's kind release, with its digest."""
    return str(_content()["images"][0]["image"])


@cache
def catalogue() -> dict[int, str]:
    """Return the node image of each minor version, with its digest."""
    images = [entry["image"] for entry in _content()["images"]]
    return {parse_version(image_version(image) or image).minor: image for image in images}


@cache
def _content() -> Any:
    return yaml.safe_load(files(__package__).joinpath("node-images.yaml").read_text(encoding="utf-8"))
