"""A management cluster for all processes of a test run: each of its own would cost as much as many of the tests."""

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
    """Give the management cluster of a directory, with the provider's account; choices: as of Options.

    Whoever comes first starts it. It ends when that one leaves as the last one, else with its process, which
    pytest-xdist keeps to the end of the run: to wait for the others would count as time of the last test, which may not
    take for ever. Fails when the management cluster has refused the provider anything.
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
    """Become a user of the management cluster that runs; False: none runs, and nobody else can start one now."""
    while True:
        fcntl.flock(users, fcntl.LOCK_SH)  # waits while it is started or ended
        if LocalManagementCluster(directory).is_running:
            return True
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return False
        # Others see as well that none runs. Who asked in vain has let go, so that one is soon the only one to ask.
        time.sleep(random.uniform(0.01, 0.1))
