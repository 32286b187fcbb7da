"""An interrupted test run leaves nothing behind."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from test.integration.api import eventually

TEST = "test/integration/provider/test_resilience.py::test_kind_cluster_deleted_by_hand_is_missed_and_not_made_again"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_run_that_is_ended_takes_all_its_processes_along(number: signal.Signals, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("wb") as output:
        run = subprocess.Popen(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", TEST],
            env={**os.environ, "TMPDIR": str(tmp_path)},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        eventually(lambda: any("create cluster" in line for line in children(tmp_path)), 120)
        run.send_signal(number)
        run.wait(60)
        eventually(lambda: children(tmp_path) == [], 30)
    finally:
        run.kill()
        run.wait()
        print(log.read_text())
    if number == signal.SIGTERM:
        assert "told to end" in log.read_text()
    assert "1 passed" not in log.read_text(), "it ended before it was told to"


def children(directory: Path) -> list[str]:
    """Return the command lines of all processes that were started with this TMPDIR."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"TMPDIR={directory}".encode() in (process / "environ").read_bytes().split(b"\0"):
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found
