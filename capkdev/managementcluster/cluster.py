"""A management cluster in one directory: starts and stops its supervisor, and reports its state."""

import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from capk.errors import CapkError
from capkdev import processes
from capkdev.controlplane import ControlPlane
from capkdev.managementcluster.options import SUPERVISOR, Options, State
from capkdev.rest import Rest

START_SECONDS = 240
STOP_SECONDS = 60
POLL_SECONDS = 0.05


class ManagementClusterFailed(CapkError):
    """The management cluster did not start; the message has the last lines of the process that failed."""


class LocalManagementCluster:
    """etcd, kube-apiserver, definitions and optionally Cluster API's core manager and the provider.

    As a context manager it is attached: everything ends with this process, even if it is killed.
    """

    def __init__(self, directory: Path, options: Options | None = None) -> None:
        self.directory = directory.absolute()
        self.options = options or Options()
        self._parent_end: int | None = None

    def __enter__(self) -> Self:
        self.start(attached=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig; only its owner can read it."""
        return self.directory / "kubeconfig"

    @property
    def is_running(self) -> bool:
        """Whether the supervisor runs."""
        return processes.running_pid(self.directory, SUPERVISOR) is not None

    @property
    def state(self) -> State:
        """The state from the supervisor, corrected if the supervisor was killed."""
        state = State.load(self.directory)
        gone = state.phase in {"starting", "ready"} and not self.is_running
        return State("stopped", "the supervisor was killed", state.members) if gone else state

    def rest(self) -> Rest:
        """Return a new client that acts as administrator."""
        return ControlPlane(self.directory / "control-plane").rest()

    def start(self, *, attached: bool = False, on_progress: Callable[[str], None] = lambda message: None) -> None:
        """Start the management cluster and return when it is ready.

        attached: it ends with this process; otherwise it runs until `stop`.
        on_progress: called with each step.
        Raises ManagementClusterFailed.
        """
        self.begin(attached=attached)
        self.await_ready(on_progress)

    def begin(self, *, attached: bool = False) -> None:
        """Begin to start the management cluster; `await_ready` waits for the end. Raises ManagementClusterFailed."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with processes.exclusive(self.directory):
            if self.is_running:
                raise ManagementClusterFailed(
                    f"a management cluster already runs in {self.directory}; `capkdev down` stops it"
                )
            self._options(attached=attached).save(self.directory)
            State("starting").save(self.directory)
            self._spawn(attached=attached)

    def stop(self) -> None:
        """Stop all processes of the management cluster, and keep its data for the next start."""
        processes.end(self.directory, SUPERVISOR, grace_seconds=STOP_SECONDS)
        if self._parent_end is not None:
            os.close(self._parent_end)
            self._parent_end = None

    def _options(self, *, attached: bool) -> Options:
        return replace(self.options, attached=attached)

    def _spawn(self, *, attached: bool) -> None:
        command = [sys.executable, "-m", "capkdev.managementcluster.supervisor", str(self.directory)]
        (self.directory / f"{SUPERVISOR}.log").unlink(missing_ok=True)
        if not attached:
            child = processes.start(self.directory, SUPERVISOR, command)
        else:
            child_end, self._parent_end = os.pipe()
            try:
                child = processes.start(self.directory, SUPERVISOR, command, stdin=child_end)
            finally:
                os.close(child_end)
        # Without a wait: the lock of its pid file shows its end.
        child.returncode = 0

    def await_ready(self, on_progress: Callable[[str], None] = lambda message: None) -> None:
        """Return when the management cluster is ready; on_progress is called with each step.

        Raises ManagementClusterFailed.
        """
        deadline, said = time.monotonic() + START_SECONDS, ""
        while (state := self.state).phase == "starting" and time.monotonic() < deadline:
            if state.message and state.message != said:
                said = state.message
                on_progress(f"{said[:1].upper()}{said[1:]} ...")
            time.sleep(POLL_SECONDS)
        if state.phase == "ready":
            return
        output = processes.log_tail(self.directory, SUPERVISOR)
        self.stop()
        raise ManagementClusterFailed(
            f"the management cluster in {self.directory} did not start: {state.message or state.phase}\n{output}"
        )
