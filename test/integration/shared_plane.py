"""A plane for all processes of a test run: each of its own would cost as much as many of the tests."""

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from service_account import account_kubeconfig, audited, refused, requests

from capk.localplane.plane import LocalPlane


@contextlib.contextmanager
def shared(directory: Path, **choices: Any) -> Iterator[LocalPlane]:
    """Give the plane of a directory, with the provider's account; choices: as of Options.

    Whoever comes first starts it, and ends it when the others have left; a process that is killed has left. Fails when
    the plane has refused the provider anything.
    """
    directory.mkdir(exist_ok=True)
    with (directory / "users").open("w") as users:
        fcntl.flock(users, fcntl.LOCK_SH)  # waits while it is being started
        if not _runs(directory):
            fcntl.flock(users, fcntl.LOCK_EX)
        if _runs(directory):
            fcntl.flock(users, fcntl.LOCK_SH)
            yield LocalPlane(directory)
            return
        with audited(directory, **choices) as plane:
            account_kubeconfig(plane)
            fcntl.flock(users, fcntl.LOCK_SH)
            yield plane
            fcntl.flock(users, fcntl.LOCK_EX)
            assert refused(requests(plane)) == []


def _runs(directory: Path) -> bool:
    return LocalPlane(directory).is_running
