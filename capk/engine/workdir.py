"""A private directory for each call of kind, and the removal of directories that a killed provider left.

They hold kubeconfigs, so other users must neither read nor replace them.
"""

import contextlib
import fcntl
import logging
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from capk.errors import CapkError

_PREFIX: Final = "calls-"
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_log = logging.getLogger(__name__)


def private_directory(path: Path, *, explicit: bool) -> Path:
    """Return a directory that only this user can enter, created with its parents if missing.

    explicit: whether the user chose it. Then a link, or a directory that others own or may enter, raises CapkError. The
    default one is in a world-writable directory, so another user may have created it: a new directory next to it
    replaces it. Raises OSError if it cannot be created.
    """
    path = path.absolute()
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700, parents=True)
    found = flaw(path)
    if not found:
        return path
    if explicit:
        raise CapkError(
            f"The directory {path} cannot hold private files: {found}. Choose one that only you can use (`chmod 700`), "
            "or one that does not exist yet."
        )
    fresh = Path(tempfile.mkdtemp(prefix=f"{path.name}-", dir=path.parent))
    _log.warning("The directory %s cannot hold private files: %s. Using %s.", path, found, fresh)
    return fresh


def flaw(path: Path) -> str:
    """Return why a directory is not private, empty if it is. A link never is, even to a private directory.

    Raises OSError if it cannot be read, FileNotFoundError if it does not exist.
    """
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode):
        return "it is a link, or not a directory"
    if found.st_uid != os.geteuid():
        return f"it belongs to the user with the id {found.st_uid}"
    if others := found.st_mode & _OTHERS:
        return f"others may use it (their permissions are {others:03o})"
    return ""


class WorkDir:
    """Directories that only this user can enter, in a parent that several providers may share.

    Each provider holds a lock on its own part. The kernel releases the lock when the provider dies, so an unlocked part
    is a leftover.
    explicit: see `private_directory`, which checks the parent at its first use.
    """

    def __init__(self, path: Path, *, explicit: bool = True) -> None:
        self._path = path.absolute()
        self._explicit = explicit
        self._part: Path | None = None
        self._lock: int | None = None

    @contextlib.contextmanager
    def call(self) -> Iterator[Path]:
        """Yield a new, empty directory for one call, and remove it with its content afterwards.

        Raises CapkError if the chosen parent is not private.
        """
        directory = tempfile.mkdtemp(prefix="call-", dir=self._own_part())
        try:
            yield Path(directory)
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    def remove_leftovers(self) -> int:
        """Remove the parts of killed providers; return their number. Raises CapkError."""
        if not os.path.lexists(self._path):
            return 0
        self._check()
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
        # This is the first call, or the directory was cleaned up while we were running.
        self.close()
        self._check()
        part = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=self._path))
        self._lock = os.open(part, os.O_RDONLY)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._part = part
        # Another provider may have removed the part as a leftover before it was locked.
        return part if part.is_dir() else self._own_part()

    def _check(self) -> None:
        checked = private_directory(self._path, explicit=self._explicit)
        # A new directory that replaces the default one is as good as a chosen one.
        self._explicit = self._explicit or checked != self._path
        self._path = checked


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
