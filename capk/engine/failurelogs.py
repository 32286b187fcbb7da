"""Keeps the logs of failed creations in bounded space; decides nothing.

Best effort: the files help users, and nothing depends on them. So no method raises OSError, and all files together use
a small part of the volume, which deletions need as well. Node logs may contain parts of Kubernetes' configuration, so
only the provider's user can read them.
"""

import copy
import logging
import os
import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

KIND_OUTPUT: Final = "kind.log"
"""The output of kind itself."""
KIND_CONFIG: Final = "kind.yaml"
"""The configuration passed to kind."""
FREE_PART: Final = 10
"""The logs of all failures use at most one part in so many of the space that is free without them."""

# kind's own rule for names, without names of directories: a name must never become a path.
_NAME: Final = re.compile(r"(?!\.+\Z)[a-z0-9.-]{1,200}")
# One component of a path, as engines name containers.
_FILE: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254}")

log = logging.getLogger(__name__)


class FailureLogs:
    """One directory for each kind cluster, for the latest failure of its creation.

    keep: maximum number of clusters; the oldest logs are removed first.
    file_bytes: per file; only the end of a longer file is kept. failure_bytes: per failure; the largest files go first.
    total_bytes: for all failures; the oldest goes first. Both limits are lower on a volume that is nearly full.
    free_bytes: returns the free bytes of a directory's volume.
    """

    def __init__(
        self,
        directory: Path,
        *,
        keep: int = 10,
        file_bytes: int = 1 << 20,
        failure_bytes: int = 4 << 20,
        total_bytes: int = 16 << 20,
        free_bytes: Callable[[Path], int] = lambda directory: shutil.disk_usage(directory).free,
    ) -> None:
        self._directory = directory.absolute()
        self._keep = keep
        self._file_bytes = file_bytes
        self._failure_bytes = failure_bytes
        self._total_bytes = total_bytes
        self._free_bytes = free_bytes
        self._warned: set[str] = set()
        self._suffix = ""
        """No name of a kind cluster contains an `@`."""

    def at(self, key: str) -> Self:
        """Return the same logs for the kind clusters of another engine, which may have the same names.

        key: of the place of that engine; see `capk.engine.place`.
        """
        other = copy.copy(self)
        other._suffix = f"@{key}"
        return other

    def begin(self, name: str, output: str, config: str | None = None) -> Path | None:
        """Return a new directory for a cluster's logs, with kind's own output in it; it replaces the previous one.

        config: kind's standard input, written to a file for `kind create cluster --config`.
        Returns None if nothing can be kept: the volume is full, or the name is not a valid name of a kind cluster.
        """
        if (place := self._place(name)) is None:
            return None
        try:
            self._write(place, output, config)
        except OSError as error:
            self._warn(error)
            _remove(place)
            return None
        return place

    def config_file(self, place: Path | None) -> str:
        """Return the path of the stored configuration; empty if there is none."""
        return str(place / KIND_CONFIG) if place and (place / KIND_CONFIG).is_file() else ""

    def add(self, place: Path, name: str, text: str) -> bool:
        """Add a file to the directory, with only the end of a text that is too long.

        name: of the file; an existing one, or one that is not a plain name, is left out.
        Return whether the directory has room for more.
        """
        if not _FILE.fullmatch(name):
            return True
        try:
            if (left := self._left(place)) <= 0:
                log.info("The logs in %s are incomplete: they reached their size limit", place)
                return False
            # Exclusive, so that it follows no link and keeps kind's own output.
            with suppress(FileExistsError), (place / name).open("xb") as file:
                file.write(text.encode(errors="replace")[-min(left, self._file_bytes) :])
        except OSError as error:
            self._warn(error)
            return False
        return True

    def end(self, place: Path | None) -> None:
        """Enforce the size limits of the directory, and remove the logs of the oldest failures."""
        if place is None:
            return
        try:
            self._cut(place)
        except OSError as error:
            self._warn(error)

    def drop(self, name: str) -> None:
        """Remove the logs of a cluster that is now complete or gone."""
        if place := self._place(name):
            _remove(place)

    def _write(self, place: Path, output: str, config: str | None) -> None:
        _remove(place)
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        place.mkdir(mode=0o700)
        self._make_room(place, self._failure_bytes)
        (place / KIND_OUTPUT).write_bytes(output.encode(errors="replace")[-self._file_bytes :])
        # A truncated configuration is useless.
        if config is not None and len(document := config.encode(errors="replace")) <= self._file_bytes:
            (place / KIND_CONFIG).write_bytes(document)

    def _cut(self, place: Path) -> None:
        for file in _files(place):
            _keep_end(file, self._file_bytes)
        for file in _excess(_files(place), self._limit(self._failure_bytes)):
            file.unlink(missing_ok=True)
        self._make_room(place, 0)

    def _place(self, name: str) -> Path | None:
        return self._directory / f"{name}{self._suffix}" if _NAME.fullmatch(name) else None

    def _limit(self, size: int) -> int:
        """Return the limit in bytes: `size`, or less if the volume has little free space."""
        available = self._free_bytes(self._directory) + sum(map(_size, self._directory.iterdir()))
        return min(size, available // FREE_PART)

    def _left(self, place: Path) -> int:
        """Return how many more bytes the directory may hold; several creations may fail concurrently."""
        own = self._limit(self._failure_bytes) - _size(place)
        return min(own, self._limit(self._total_bytes) - _size(self._directory))

    def _make_room(self, newest: Path, wanted: int) -> None:
        """Remove the oldest failures until `wanted` bytes of the whole budget are free and few enough are left."""
        budget = self._limit(self._total_bytes)
        wanted = max(_size(newest), min(wanted, budget))
        others = sorted((place for place in self._directory.iterdir() if place != newest), key=_age, reverse=True)
        for count, place in enumerate(others, start=2):
            wanted += _size(place)
            if wanted > budget or count > self._keep:
                _remove(place)

    def _warn(self, error: OSError) -> None:
        """Log why nothing can be kept, once per cause."""
        cause = error.strerror or str(error)
        if cause not in self._warned:
            self._warned.add(cause)
            log.warning("Cannot keep logs of failed creations in %s: %s", self._directory, cause)


def _remove(place: Path) -> None:
    """Remove the logs of a failure; what else has that path stays: the work directory may be a home directory."""
    with suppress(OSError):
        if place.is_symlink():
            place.unlink()
        elif place.is_dir() and ((place / KIND_OUTPUT).is_file() or not any(place.iterdir())):
            shutil.rmtree(place, ignore_errors=True)


def _files(place: Path) -> list[Path]:
    return [file for file in place.rglob("*") if file.is_file() and not file.is_symlink()]


def _size(place: Path) -> int:
    """Return the number of bytes below a directory; files that vanish meanwhile do not count."""
    size = 0
    for folder, _, names in os.walk(place):
        for name in names:
            with suppress(OSError):
                size += os.lstat(os.path.join(folder, name)).st_size
    return size


def _age(place: Path) -> float:
    with suppress(OSError):
        return place.stat().st_mtime
    return 0.0


def _keep_end(file: Path, size: int) -> None:
    if file.stat().st_size > size:
        with file.open("rb") as whole:
            whole.seek(-size, 2)
            end = whole.read()
        file.write_bytes(end)


def _excess(files: list[Path], size: int) -> list[Path]:
    by_size = sorted((file.stat().st_size, file) for file in files if file.name not in (KIND_OUTPUT, KIND_CONFIG))
    left, excess = sum(file.stat().st_size for file in files), []
    while left > size and by_size:
        length, file = by_size.pop()
        left -= length
        excess.append(file)
    return excess
