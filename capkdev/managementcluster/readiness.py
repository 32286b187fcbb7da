"""Waits until a process of the management cluster reports that it is ready."""

import time
from pathlib import Path

from capk.errors import ApiError, CapkError
from capkdev import processes
from capkdev.rest import Rest

READY_SECONDS = 120
POLL_SECONDS = 0.05


def await_ready(directory: Path, name: str, address: str) -> None:
    """Wait until /readyz answers with success.

    Raises CapkError with the last lines of the process's output if it ended or was not ready in time.
    """
    deadline = time.monotonic() + READY_SECONDS
    with Rest(address) as health:
        while time.monotonic() < deadline:
            if processes.running_pid(directory, name) is None:
                raise failure(directory, name, "ended")
            try:
                health.request("GET", "/readyz")
            except ApiError:
                time.sleep(POLL_SECONDS)
            else:
                return
    raise failure(directory, name, f"was not ready after {READY_SECONDS} s")


def failure(directory: Path, name: str, what: str) -> CapkError:
    """Return an error with the last lines of a process's output."""
    return CapkError(f"{name} {what}\n{processes.log_tail(directory, name)}")
