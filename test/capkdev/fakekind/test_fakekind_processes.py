"""Real processes: a sleeping one is enough."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from capkdev import processes

SLEEP = ["sleep", "60"]


def start(directory: Path, name: str = "sleeper", command: list[str] = SLEEP) -> "subprocess.Popen[bytes]":
    return processes.start(directory, name, command)


def test_a_started_process_is_known_by_its_pid_until_it_ends(tmp_path: Path) -> None:
    child = start(tmp_path)
    assert processes.running_pid(tmp_path, "sleeper") == child.pid
    processes.end(tmp_path, "sleeper")
    assert processes.running_pid(tmp_path, "sleeper") is None
    assert child.wait() == -signal.SIGKILL


def test_a_process_that_was_killed_by_somebody_else_does_not_run(tmp_path: Path) -> None:
    child = start(tmp_path)
    child.kill()
    child.wait()
    assert (tmp_path / "sleeper.pid").read_text().strip() == str(child.pid)
    deadline = time.monotonic() + 5
    # On a busy machine, the command that moved the pid file may need a moment to end.
    while processes.running_pid(tmp_path, "sleeper") is not None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert processes.running_pid(tmp_path, "sleeper") is None


def test_a_foreign_process_with_a_recorded_pid_is_never_ended(tmp_path: Path) -> None:
    foreign = subprocess.Popen(SLEEP)
    (tmp_path / "sleeper.pid").write_text(str(foreign.pid))
    processes.end(tmp_path, "sleeper")
    assert foreign.poll() is None
    foreign.kill()
    foreign.wait()


def test_a_running_process_is_not_started_twice(tmp_path: Path) -> None:
    child = start(tmp_path)
    with pytest.raises(FileExistsError):
        start(tmp_path)
    processes.end(tmp_path, "sleeper")
    child.wait()


def test_a_process_outlives_the_one_that_started_it(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from capkdev.processes import start\n"
    code += "start(Path(sys.argv[1]), 'sleeper', ['sleep', '60']); import os; os._exit(0)"
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    pid = processes.running_pid(tmp_path, "sleeper")
    assert pid is not None
    assert os.getsid(pid) == pid
    processes.end(tmp_path, "sleeper")


def test_ending_gives_a_process_time_to_end_by_itself(tmp_path: Path) -> None:
    child = start(tmp_path, command=["sh", "-c", "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.01; done"])
    while "up" not in processes.log_tail(tmp_path, "sleeper"):
        time.sleep(0.01)
    processes.end(tmp_path, "sleeper", grace_seconds=10)
    assert child.wait() == 0
    assert processes.log_tail(tmp_path, "sleeper").splitlines() == ["up", "bye"]


def test_ending_kills_a_process_that_ignores_the_request(tmp_path: Path) -> None:
    child = start(tmp_path, command=["sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.01; done"])
    while "up" not in processes.log_tail(tmp_path, "sleeper"):
        time.sleep(0.01)
    processes.end(tmp_path, "sleeper", grace_seconds=0.1)
    assert child.wait() == -signal.SIGKILL


def test_a_command_that_is_not_there_shows_in_the_log(tmp_path: Path) -> None:
    child = start(tmp_path, command=["/no/such/command"])
    assert child.wait() != 0
    assert "/no/such/command" in processes.log_tail(tmp_path, "sleeper")
    assert processes.running_pid(tmp_path, "sleeper") is None


def test_nothing_starts_in_a_directory_that_was_moved_away(tmp_path: Path) -> None:
    directory = tmp_path / "cluster"
    directory.mkdir()
    directory.rename(tmp_path / "trash")
    with pytest.raises(FileNotFoundError):
        start(directory)
    with pytest.raises(FileNotFoundError), processes.exclusive(directory):
        pass


def test_a_lock_on_a_replaced_directory_is_refused(tmp_path: Path) -> None:
    directory = tmp_path / "cluster"
    directory.mkdir()
    answers: list[str] = []

    def wait() -> None:
        try:
            with processes.exclusive(directory):
                answers.append("held")
        except FileNotFoundError:
            answers.append("replaced")

    waiting = threading.Thread(target=wait)
    with processes.exclusive(directory):
        waiting.start()
        # There is no signal that it waits for the lock now; that takes microseconds.
        time.sleep(0.2)
        directory.rename(tmp_path / "trash")
        directory.mkdir()
    waiting.join()
    assert answers == ["replaced"]
