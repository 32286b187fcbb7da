"""Finds the executables that `make tools` installs in `bin/`: etcd, kube-apiserver, core-manager. Downloads nothing."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from capk.errors import CapkError

BIN_VARIABLE = "CAPK_BIN"
"""Environment variable: the directory to search first."""


class BinaryMissing(CapkError):
    """An executable of a local control plane is not on this machine."""


def find_binary(name: str, directory: Path | None = None) -> Path:
    """Return the absolute path of an executable.

    directory: searched before the usual places.
    Raises BinaryMissing, which names the remedy.
    """
    places = [*([directory] if directory else []), *_usual_places()]
    for place in places:
        candidate = place / name
        if candidate.is_file() and os.access(candidate, os.X_OK):
            return candidate.resolve()
    if found := shutil.which(name):
        return Path(found).resolve()
    searched = ", ".join(str(place) for place in places)
    raise BinaryMissing(f"{name} is not in {searched} or on PATH: run `make tools`, or set {BIN_VARIABLE}")


def find_manifest(name: str, directory: Path | None = None) -> Path:
    """Return the path of a file in `manifests/` beside the executables.

    Raises BinaryMissing, which names the remedy.
    """
    places = [*([directory] if directory else []), *_usual_places()]
    for place in places:
        candidate = place / "manifests" / name
        if candidate.is_file():
            return candidate.resolve()
    searched = ", ".join(str(place / "manifests") for place in places)
    raise BinaryMissing(f"{name} is not in {searched}: run `make tools`, or set {BIN_VARIABLE}")


def _usual_places() -> Iterator[Path]:
    if chosen := os.environ.get(BIN_VARIABLE):
        yield Path(chosen)
    yield Path.cwd() / "bin"
    yield Path(__file__).resolve().parents[1] / "bin"
