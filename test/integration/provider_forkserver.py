"""Reads one line of JSON per order: to fork a provider, answered with its process id, or to reap an ended one,
answered with its exit status.
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
import capk.kube.kubeconfiglogin
import capk.manager.process

PR_SET_PDEATHSIG = 1


def serve() -> None:
    # Unbuffered, because the child would inherit data that was read ahead.
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
    # The providers of a killed test run are killed too.
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
