"""A private directory for each call of kind, and the removal of those that a killed provider left.

Kubeconfigs lie in them, so others must neither read them nor be able to put something else in their place.
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
    """Return a directory that only this user can enter, made with its parents if it is not there.

    explicit: whether a person named it. One that others own or may enter, or a link, raises CapkError then. The default
    one lies where everybody may write, so somebody else may have made it: a fresh directory beside it takes its place.
    Raises OSError where it cannot be made.
    """
    path = path.absolute()
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700, parents=True)
    found = flaw(path)
    if not found:
        return path
    if explicit:
        raise CapkError(
            f"The directory {path} cannot hold private files: {found}. Name one that is yours alone (`chmod 700`), "
            "or one that does not exist yet."
        )
    fresh = Path(tempfile.mkdtemp(prefix=f"{path.name}-", dir=path.parent))
    _log.warning("The directory %s cannot hold private files: %s. Using %s.", path, found, fresh)
    return fresh


def flaw(path: Path) -> str:
    """Return why a directory is not private, empty if it is. A link is not, even if it leads to one that is.

    Raises OSError where it cannot be looked at, FileNotFoundError where there is none.
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
    """Directories that only this user can enter, under one that several providers may share.

    Each provider holds a lock on its own part. The kernel drops the lock when the provider dies, and so tells apart
    what is in use from what was left behind.
    explicit: see `private_directory`, which it goes through when it is first used.
    """

    def __init__(self, path: Path, *, explicit: bool = True) -> None:
        self._path = path.absolute()
        self._explicit = explicit
        self._part: Path | None = None
        self._lock: int | None = None

    @contextlib.contextmanager
    def call(self) -> Iterator[Path]:
        """Give a new, empty directory for one call, and remove it with all that is in it afterwards.

        Raises CapkError where only an unsafe place was named.
        """
        directory = tempfile.mkdtemp(prefix="call-", dir=self._own_part())
        try:
            yield Path(directory)
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    def remove_leftovers(self) -> int:
        """Remove what killed providers left here; return how many there were. Raises CapkError."""
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
        # The first call, or somebody swept the directory clean while we were running.
        self.close()
        self._check()
        part = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=self._path))
        self._lock = os.open(part, os.O_RDONLY)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._part = part
        # Another provider that removes leftovers may have come between the two lines before the lock.
        return part if part.is_dir() else self._own_part()

    def _check(self) -> None:
        checked = private_directory(self._path, explicit=self._explicit)
        # A fresh one, that took the place of the default one, is as good as one that was named.
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
