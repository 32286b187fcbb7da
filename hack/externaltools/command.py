"""Runs one command to its end, with progress; a command never outlives the installer."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from hack.externaltools.errors import CommandFailed
from hack.externaltools.progress import Progress

_TICK_SECONDS = 0.5


def run(
    argv: list[str],
    progress: Progress,
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    detail: Callable[[str], str] = lambda printed: "",
) -> str:
    """Run the command and return its standard output.

    detail: turns what was printed on standard error so far into a few words for the progress line.
    Raises CommandFailed, and OSError when the command cannot be started.
    """
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        command = subprocess.Popen(
            argv, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True
        )
        try:
            while True:
                try:
                    status = command.wait(_TICK_SECONDS)
                    break
                except subprocess.TimeoutExpired:
                    progress.tick(detail(_content(err.fileno())))
        finally:
            _end(command)
        if status != 0:
            raise CommandFailed(argv, status, _content(err.fileno()))
        return _content(out.fileno())


def _content(descriptor: int) -> str:
    # The descriptor's offset is shared with the command that writes through it, so reading must not move it.
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0).decode(errors="replace")


def _end(command: subprocess.Popen[bytes]) -> None:
    for ending in (signal.SIGTERM, signal.SIGKILL):
        if command.poll() is not None:
            return
        os.killpg(command.pid, ending)
        try:
            command.wait(5)
        except subprocess.TimeoutExpired:
            continue
