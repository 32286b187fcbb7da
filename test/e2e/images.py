"""Container images for a management cluster: the provider's and one of the pinned core manager. They are kept."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from capkdev.binaries import find_binary
from test.e2e.real_kind import RealKind, run
from test.integration.repository import CORE, ROOT

BASE_IMAGE = os.environ.get("BASE_IMAGE", "python:3.11-slim-bookworm")
ENGINE_IMAGE = os.environ.get("ENGINE_IMAGE", "docker:dind")
PROVIDER_IMAGE = "localhost/cluster-api-provider-kind:{version}-e2e"
CORE_REPOSITORY = "localhost"
CORE_TAG = f"{CORE}-e2e"
CORE_IMAGE = f"{CORE_REPOSITORY}/cluster-api-controller:{CORE_TAG}"
CORE_DOCKERFILE = """FROM scratch
COPY core-manager /manager
USER 65532:65532
ENTRYPOINT ["/manager"]
"""
BUILD_SECONDS = 900


def build_core(kind: RealKind, directory: Path) -> str:
    """Build an image of Cluster API's core manager in an empty directory and return its name."""
    shutil.copy(find_binary("core-manager"), directory / "core-manager")
    (directory / "Dockerfile").write_text(CORE_DOCKERFILE)
    kind.engine("build", "--tag", CORE_IMAGE, str(directory))
    return CORE_IMAGE


def build_provider(kind: RealKind, version: str) -> str:
    """Build the provider's image as `make image` does and return its name."""
    require(kind, BASE_IMAGE, "BASE_IMAGE", "another Debian with Python 3.11 or later")
    image = PROVIDER_IMAGE.format(version=version)
    # Options of a make that runs these tests must not affect this one.
    make = ["env", "--unset=MAKEFLAGS", "--unset=MFLAGS", "make", "--directory", str(ROOT), "image"]
    run([*make, f"VERSION={version}", f"IMAGE={image}", f"BASE_IMAGE={BASE_IMAGE}"], seconds=BUILD_SECONDS)
    return image


def require(kind: RealKind, image: str, variable: str, other: str) -> None:
    """Fail if an image is neither on this machine nor can be pulled; other: what the variable may name."""
    if not _has(kind, "image", "inspect", image) and not _has(kind, "pull", image):
        pytest.fail(
            f"{image} is neither on this machine nor can be pulled. "
            f"Load it, or name {other} in the environment: {variable}=...",
            pytrace=False,
        )


def size(kind: RealKind, image: str) -> int:
    """Return the size of an image, in bytes."""
    return int(kind.engine("image", "inspect", "--format", "{{.Size}}", image))


def _has(kind: RealKind, *arguments: str) -> bool:
    try:
        kind.engine(*arguments)
    except (AssertionError, subprocess.TimeoutExpired):
        return False
    return True
