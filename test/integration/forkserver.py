"""Providers that start in milliseconds: forked from `provider_forkserver.py`, which has loaded all modules.

Otherwise each is an independent process. Starting Python and loading kopf and the Kubernetes client takes
1.5 s of processor time, as much as a provider needs for all its work in most tests.
"""

import atexit
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

SERVER = Path(__file__).with_name("provider_forkserver.py")


class ForkServer:
    """Forks providers, in a process that starts with the first one and ends with ours."""

    def __init__(self) -> None:
        self._server: subprocess.Popen[bytes] | None = None
        self.lock = threading.RLock()
        """Held during checks of a process and orders, because some tests kill from another thread."""

    def fork(self, arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> "Forked":
        """Start `capk` with these arguments, and append its output to a log."""
        order = {"arguments": list(arguments), "environment": dict(environment), "log": str(log)}
        return Forked(self, self.order(order))

    def order(self, order: Mapping[str, Any]) -> int:
        """Give an order and return the answer."""
        with self.lock:
            server = self._server = self._server or self._start()
            assert server.stdin
            assert server.stdout
            server.stdin.write(json.dumps(order).encode() + b"\n")
            server.stdin.flush()
            return int(server.stdout.readline())

    def _start(self) -> subprocess.Popen[bytes]:
        command, pipe = [sys.executable, str(SERVER)], subprocess.PIPE
        server = subprocess.Popen(command, stdin=pipe, stdout=pipe, start_new_session=True)
        atexit.register(self._close, server)
        return server

    @staticmethod
    def _close(server: subprocess.Popen[bytes]) -> None:
        with server:
            pass  # closes its pipes, which ends it, and waits


class Forked:
    """A forked process with the necessary methods of Popen."""

    def __init__(self, fork_server: ForkServer, pid: int) -> None:
        self.pid = pid
        self._fork_server = fork_server
        self._handle = os.pidfd_open(pid)
        self._status: int | None = None

    def poll(self) -> int | None:
        """Return its exit status, negative for a signal; None while it runs."""
        with self._fork_server.lock:
            if self._status is None and select.select([self._handle], [], [], 0)[0]:
                self._status = self._fork_server.order({"reap": self.pid})
                os.close(self._handle)
            return self._status

    def wait(self, timeout: float) -> int:
        """Wait for its end and return its exit status; raises TimeoutError after so many seconds."""
        deadline = time.monotonic() + timeout
        while (status := self.poll()) is None:
            if time.monotonic() > deadline:
                raise TimeoutError(f"process {self.pid} runs after {timeout} s")
            time.sleep(0.005)
        return status

    def send(self, number: signal.Signals) -> None:
        """Send it a signal if it still runs."""
        with self._fork_server.lock:
            if self.poll() is None:
                signal.pidfd_send_signal(self._handle, number)
