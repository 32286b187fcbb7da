"""Starts, finds and stops processes that outlive the command that started them.

A running process holds the lock of its own `<name>.pid` file, which it acquired before its program started and which
the kernel releases when it ends in any way. So a dead process never counts as running, and a foreign process that
reuses a pid never gets a signal. The new process itself writes its pid and puts the file in place: killing the starter
at any instant leaves no unrecorded process, and a file in place always has the pid of the process that locked it.
"""

import contextlib
import fcntl
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import subprocess

POLL_SECONDS = 0.02
_ANNOUNCE_SECONDS = 0.001
_LAUNCHER = 'echo $$ >"$1" && mv -f "$1" "$2" && shift 2 && exec "$@"'
"""Runs between fork and exec, where Python code is not safe in a process with threads."""


def start(
    directory: Path,
    name: str,
    command: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    stdin: int | None = None,
) -> "subprocess.Popen[bytes]":
    """Start a command in a directory and in its own session, and append its output to `<name>.log`.

    Callers that may start the same command concurrently hold `exclusive(directory)`.
    stdin: a file descriptor; None for empty input.
    Raises FileNotFoundError if the directory is gone, FileExistsError if the process already runs.
    """
    import subprocess

    if running_pid(directory, name) is not None:
        raise FileExistsError(f"{name} already runs in {directory}")
    pid_file, fresh = f"{name}.pid", f".{name}.pid.{os.getpid()}"
    lock = os.open(directory / fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(lock, "r+b", buffering=0), (directory / f"{name}.log").open("ab") as log:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        child = subprocess.Popen(
            ["/bin/sh", "-c", _LAUNCHER, name, fresh, pid_file, *command],
            cwd=directory,
            stdin=subprocess.DEVNULL if stdin is None else stdin,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=(lock,),
            env={**os.environ, **(environment or {})},
        )
        _wait_announced(child, directory / pid_file, lock)
    return child


def running_pid(directory: Path, name: str) -> int | None:
    """Return the pid of a process started with `start`; None if it does not run."""
    try:
        lock = os.open(directory / f"{name}.pid", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    with os.fdopen(lock, "rb", buffering=0) as pid_file:
        return None if _lock_is_free(lock) else int(pid_file.read(32))


def end(directory: Path, name: str, *, grace_seconds: float = 0) -> None:
    """Stop a process and return when it is gone.

    grace_seconds: time to stop after SIGTERM; 0 kills it immediately.
    """
    if grace_seconds and _signal(directory, name, signal.SIGTERM):
        _wait_gone(directory, name, time.monotonic() + grace_seconds)
    while _signal(directory, name, signal.SIGKILL):
        _wait_gone(directory, name, time.monotonic() + 1)


@contextlib.contextmanager
def exclusive(directory: Path) -> Iterator[None]:
    """Lock a directory against other commands that start or stop processes in it.

    Raises FileNotFoundError if the directory is gone, or disappears while this waits.
    """
    path = directory / "lock"
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with os.fdopen(lock, "r+b", buffering=0):
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.samestat(os.fstat(lock), path.stat()):
            raise FileNotFoundError(f"{directory} was replaced")
        yield


def log_tail(directory: Path, name: str, size: int = 4096) -> str:
    """Return the end of a process's output, at most `size` bytes."""
    with contextlib.suppress(FileNotFoundError), (directory / f"{name}.log").open("rb") as log:
        log.seek(max(0, log.seek(0, os.SEEK_END) - size))
        return log.read().decode(errors="replace")
    return ""


def _lock_is_free(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _signal(directory: Path, name: str, number: int) -> bool:
    pid = running_pid(directory, name)
    if pid is None:
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
    return True


def _wait_gone(directory: Path, name: str, deadline: float) -> None:
    while running_pid(directory, name) is not None and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)


def _wait_announced(child: "subprocess.Popen[bytes]", pid_file: Path, lock: int) -> None:
    """Wait until the child has put its pid file in place, or has ended without doing so."""
    while child.poll() is None:
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(lock), pid_file.stat()):
                return
        time.sleep(_ANNOUNCE_SECONDS)
