"""Providers that start in milliseconds, so that they can be killed by the hundred: forked from a process that has all
modules loaded already (`nurse.py`). Each is a process of its own in every other respect.
"""

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from provider_process import ProviderProcess

from capk.localplane.plane import LocalPlane

NURSE = Path(__file__).with_name("nurse.py")


class Forked:
    """A forked process, with the methods of Popen that a ProviderProcess needs."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._handle = os.pidfd_open(pid)
        self.returncode = -1

    def poll(self) -> int | None:
        """Return a number when it has ended: which one, only its parent knows."""
        return self.returncode if select.select([self._handle], [], [], 0)[0] else None

    def send_signal(self, number: signal.Signals) -> None:
        signal.pidfd_send_signal(self._handle, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def wait(self, timeout: float | None = None) -> int:
        if not select.select([self._handle], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired("capk", timeout or 0)
        return self.returncode


class Nursery:
    """Forks providers."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, str(NURSE)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()

    def fork(self, arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> Forked:
        """Start `capk` with these arguments."""
        assert self._process.stdin
        assert self._process.stdout
        order = {"arguments": list(arguments), "environment": dict(environment), "log": str(log)}
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        self._process.stdin.flush()
        return Forked(int(self._process.stdout.readline()))


class MortalProvider(ProviderProcess):
    """A provider that is started without waiting for it and killed without ceremony.

    kills: how often it was killed while it ran.
    """

    def __init__(
        self,
        nursery: Nursery,
        plane: LocalPlane,
        directory: Path,
        flags: Sequence[str],
        environment: Mapping[str, str],
    ) -> None:
        self.work, self.temporary = directory / "work", directory / "tmp"
        self.temporary.mkdir()
        private = {"TMPDIR": str(self.temporary), "NO_PROXY": "127.0.0.1", "PYTHONDONTWRITEBYTECODE": "1"}
        super().__init__(plane, directory, flags, {**private, **environment})
        self.kills = 0
        self._nursery = nursery

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        running = self._process is not None and self._process.poll() is None
        return self._process.pid if running and self._process else None

    def start(self) -> "MortalProvider":
        forked: Any = self._nursery.fork(self._command[3:], self._environment, self.log)
        self._process = forked
        return self

    def kill(self) -> None:
        if self.pid is not None:
            self.kills += 1
            super().kill()
