import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from capk.engine.guard import Guard


def ignores_sigterm(pid: int) -> bool:
    fields = dict(line.split(":\t") for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return bool(int(fields["SigIgn"], 16) & 1 << signal.SIGTERM - 1)


@pytest.fixture
def sleepers():
    started = [subprocess.Popen(["sleep", "600"], start_new_session=True) for _ in range(3)]
    yield started
    for sleeper in started:
        sleeper.kill()
        sleeper.wait()


def test_guard_kills_the_groups_that_are_still_watched(sleepers):
    guard = Guard()
    for sleeper in sleepers:
        guard.watch(sleeper.pid)
    guard.release(sleepers[1].pid)
    guard.close()
    assert sleepers[0].wait(5) == sleepers[2].wait(5) == -signal.SIGKILL
    assert sleepers[1].poll() is None


def test_guard_that_was_killed_is_replaced(sleepers):
    guard = Guard()
    guard.watch(sleepers[0].pid)
    first = guard.pid
    os.kill(first, signal.SIGKILL)
    os.waitid(os.P_PID, first, os.WEXITED | os.WNOWAIT)
    guard.watch(sleepers[1].pid)
    assert guard.pid not in (None, first)
    guard.close()
    assert sleepers[0].wait(5) == sleepers[1].wait(5) == -signal.SIGKILL


def test_guard_ignores_the_signals_of_a_terminal(sleepers):
    guard = Guard()
    guard.watch(sleepers[0].pid)
    while not ignores_sigterm(guard.pid):
        time.sleep(0.01)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(guard.pid, number)
    guard.close()
    assert sleepers[0].wait(5) == -signal.SIGKILL


def test_guard_without_a_shell_says_so_once(sleepers, caplog):
    guard = Guard(shell="/no/such/sh")
    for sleeper in sleepers:
        guard.watch(sleeper.pid)
        guard.release(sleeper.pid)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "/no/such/sh" in caplog.text
    guard.close()


def test_guard_that_watches_nothing_is_no_process():
    guard = Guard()
    guard.release(1)
    guard.close()
    assert guard.pid is None
