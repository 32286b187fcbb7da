"""A management cluster for all processes of a test run, because one per process would cost as much as many tests."""

import contextlib
import fcntl
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from capkdev.managementcluster.cluster import LocalManagementCluster
from test.integration.service_account import account_kubeconfig, audited, refused, requests


@contextlib.contextmanager
def shared(directory: Path, **choices: Any) -> Iterator[LocalManagementCluster]:
    """Yield the management cluster of a directory, with the provider's account. choices: for Options.

    The first process starts it. It ends when that process leaves last, otherwise with that process, which
    pytest-xdist keeps until the end of the run: waiting for the others would count as time of the last test, which has
    a limit. Fails if the management cluster has denied the provider a request.
    """
    directory.mkdir(exist_ok=True)
    with (directory / "users").open("w") as users:
        is_ours = not _join(directory, users)
        management = audited(directory, **choices) if is_ours else LocalManagementCluster(directory)
        if is_ours:
            management.start(attached=True)
            account_kubeconfig(management)
            fcntl.flock(users, fcntl.LOCK_SH)
        yield management
        assert refused(requests(management)) == []
        if is_ours:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                management.stop()


def _join(directory: Path, users: IO[str]) -> bool:
    """Become a user of the running management cluster; False: none runs, and no other process can start one now."""
    while True:
        fcntl.flock(users, fcntl.LOCK_SH)  # waits while it starts or stops
        if LocalManagementCluster(directory).is_running:
            return True
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return False
        # Other processes also notice that none runs. Each releases its lock, so one soon asks alone.
        time.sleep(random.uniform(0.01, 0.1))
