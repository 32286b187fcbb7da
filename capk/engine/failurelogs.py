"""Keeps what a failed creation left to read, in a bounded place; decides nothing.

The node logs may hold what Kubernetes prints of its configuration, so only the provider's user can read them.
"""

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Final

KIND_OUTPUT: Final = "kind.log"
"""What kind itself printed."""


class FailureLogs:
    """One directory a kind cluster, for the latest failure of its creation.

    keep: how many clusters' logs are kept; the oldest go first.
    file_bytes: of a longer file the end is kept. total_bytes: of one failure's files, the largest go first.
    """

    def __init__(
        self, directory: Path, *, keep: int = 10, file_bytes: int = 1 << 20, total_bytes: int = 16 << 20
    ) -> None:
        self._directory = directory.absolute()
        self._keep = keep
        self._file_bytes = file_bytes
        self._total_bytes = total_bytes

    def begin(self, name: str, output: str) -> Path:
        """Return a new, empty place for a cluster's logs, with kind's own output in it; the earlier one goes."""
        place = self._directory / name
        shutil.rmtree(place, ignore_errors=True)
        for parent in (self._directory, place):
            parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        (place / KIND_OUTPUT).write_text(output, encoding="utf-8", errors="replace")
        return place

    def end(self, place: Path) -> None:
        """Cut what was written there to size, and drop the logs of the clusters that failed longest ago."""
        files = [file for file in place.rglob("*") if file.is_file() and not file.is_symlink()]
        for file in files:
            _keep_end(file, self._file_bytes)
        for file in _excess(files, self._total_bytes):
            file.unlink(missing_ok=True)
        places = sorted(self._directory.iterdir(), key=lambda other: other.stat().st_mtime, reverse=True)
        for old in places[self._keep :]:
            shutil.rmtree(old, ignore_errors=True)

    def drop(self, name: str) -> None:
        """Remove a cluster's logs: it is up now, or gone."""
        shutil.rmtree(self._directory / name, ignore_errors=True)


def _keep_end(file: Path, size: int) -> None:
    if file.stat().st_size > size:
        with file.open("rb") as whole:
            whole.seek(-size, 2)
            end = whole.read()
        file.write_bytes(end)


def _excess(files: Iterable[Path], size: int) -> list[Path]:
    by_size = sorted((file.stat().st_size, file) for file in files if file.name != KIND_OUTPUT)
    left, excess = sum(length for length, _ in by_size), []
    while left > size:
        length, file = by_size.pop()
        left -= length
        excess.append(file)
    return excess
