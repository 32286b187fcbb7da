"""A private directory for each call of kind, and the removal of those that a killed provider left."""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_PREFIX: Final = "calls-"


class WorkDir:
    """Directories that only this user can enter, under one that several providers may share.

    Each provider holds a lock on its own part. The kernel drops the lock when the provider dies, and so tells apart
    what is in use from what was left behind.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.absolute()
        self._part: Path | None = None
        self._lock: int | None = None

    @contextlib.contextmanager
    def call(self) -> Iterator[Path]:
        """Give a new, empty directory for one call, and remove it with all that is in it afterwards."""
        directory = tempfile.mkdtemp(prefix="call-", dir=self._own_part())
        try:
            yield Path(directory)
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    def remove_leftovers(self) -> int:
        """Remove what killed providers left here; return how many there were."""
        leftovers = [part for part in self._path.glob(f"{_PREFIX}*") if part != self._part and _is_abandoned(part)]
        for part in leftovers:
            shutil.rmtree(part, ignore_errors=True)
        return len(leftovers)

    def close(self) -> None:
        """Remove this provider's part; no call may be running."""
        if self._part:
            shutil.rmtree(self._part, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)
        self._part = self._lock = None

    def _own_part(self) -> Path:
        if self._part and self._part.is_dir():
            return self._part
        # The first call, or somebody swept the directory clean while we were running.
        self.close()
        self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=self._path))
        self._lock = os.open(part, os.O_RDONLY)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._part = part
        # Another provider that removes leftovers may have come between the two lines before the lock.
        return part if part.is_dir() else self._own_part()


def _is_abandoned(part: Path) -> bool:
    try:
        lock = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(lock)
    return True
