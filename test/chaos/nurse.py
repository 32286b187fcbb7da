"""Reads a line of JSON for each provider that is wanted, forks it and prints its process id."""

import ctypes
import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from typing import Any

import capk.cli
import capk.manager.process

PR_SET_PDEATHSIG = 1


def nurse() -> None:
    # Children are reaped by the kernel.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    # Unbuffered: what is read ahead would be the child's too.
    for line in iter(sys.stdin.buffer.raw.readline, b""):
        order = json.loads(line)
        pid = os.fork()
        if pid:
            print(pid, flush=True)
            continue
        _become(order)
        sys.exit(capk.cli.main())


def _become(order: Mapping[str, Any]) -> None:
    os.setsid()
    # A test run that is killed takes its providers along.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.environ.clear()
    os.environ.update(order["environment"])
    log = os.open(order["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    time.tzset()
    sys.argv = ["capk", *order["arguments"]]


if __name__ == "__main__":
    nurse()
