"""Reads a line of JSON for each order: to fork a provider, answered by its process id, or to reap one that has ended,
answered by its exit status.
"""

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


def serve() -> None:
    # Unbuffered: what is read ahead would be the child's too.
    for line in iter(sys.stdin.buffer.raw.readline, b""):
        order = json.loads(line)
        if "reap" in order:
            _, status = os.waitpid(order["reap"], 0)
            print(os.waitstatus_to_exitcode(status), flush=True)
        elif pid := os.fork():
            print(pid, flush=True)
        else:
            _become(order)
            sys.exit(capk.cli.main())


def _become(order: Mapping[str, Any]) -> None:
    os.setsid()
    # A test run that is killed takes its providers along.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.environ.clear()
    os.environ.update(order["environment"])
    log = os.open(order["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    time.tzset()
    sys.argv = ["capk", *order["arguments"]]


if __name__ == "__main__":
    serve()
