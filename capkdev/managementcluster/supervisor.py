"""The process that starts the members of a local management cluster, restarts those that end, and stops all at its end.

Run as `python -m capkdev.managementcluster.supervisor DIRECTORY`. It leaves no process behind. On SIGTERM, at the end
of its attached parent or after a failure it stops the members itself. If it is killed, a small shell kills them.
"""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import FrameType

from capk.engine.guard import Guard
from capk.errors import CapkError
from capkdev import processes
from capkdev.controlplane import API_SERVER, ETCD, ControlPlane, Settings
from capkdev.fakekind import kubeconfig
from capkdev.files import write_private
from capkdev.managementcluster import install, manifests
from capkdev.managementcluster.coremanager import CoreManager
from capkdev.managementcluster.options import CORE_MANAGER, PROVIDER, Member, Options, State
from capkdev.managementcluster.readiness import await_ready
from capkdev.ports import free_port
from capkdev.rest import Rest

LOOK_SECONDS = 0.2
RESTART_SECONDS = 30
"""Maximum time between two starts of a member that keeps ending."""
GRACE_SECONDS = {PROVIDER: 20.0, CORE_MANAGER: 5.0, ETCD: 5.0}
"""Time that a member has to stop; the provider stops its running kind calls."""


class Stop(BaseException):
    """The supervisor was asked to stop."""


@dataclass
class _Watched:
    member: Member
    start: Callable[[], object]
    next_start: float = 0
    pause: float = 1


@dataclass
class Supervisor:
    """The members of one management cluster, in the order in which they start."""

    directory: Path
    options: Options
    guard: Guard = field(default_factory=Guard)
    _watched: list[_Watched] = field(default_factory=list)
    _began: float = field(default_factory=time.monotonic)

    def run(self) -> int:
        """Start everything, watch it until a request to stop, and return the exit status."""
        try:
            self._start()
            self._save("ready")
            while True:
                time.sleep(LOOK_SECONDS)
                self._look()
        except Stop:
            self._stop()
            self._save("stopped")
            return 0
        except (CapkError, OSError) as failure:
            print(f"capkdev: {failure}", flush=True)
            output = str(getattr(failure, "output", ""))
            self._stop()
            self._save("failed", f"{failure}\n{output}".strip())
            return 1

    @property
    def _binaries(self) -> Path | None:
        return Path(self.options.binaries) if self.options.binaries else None

    def _start(self) -> None:
        self._end_leftovers()
        self._save("starting", "starting etcd and kube-apiserver")
        rest = self._start_control_plane()
        self._save("starting", "installing definitions")
        own = manifests.own_definitions() if self.options.definitions else []
        gates = self.options.core_feature_gates
        core = CoreManager(self.directory, self._binaries, gates) if self.options.core else None
        if core:
            core.prepare(rest, own)
        else:
            install.install_definitions(rest, own)
        self._start_controllers(core, self.options.provider)

    def _start_control_plane(self) -> Rest:
        place = self.directory / "control-plane"
        control_plane = ControlPlane(place, self._binaries, on_start=self.guard.watch)
        for name in (ETCD, API_SERVER):
            self._watched.append(_Watched(Member(name, str(place)), partial(control_plane.start_process, name)))
        control_plane.prepare_once(Settings(hosts=["capkdev", *self.options.hosts], arguments=self.options.api_server))
        control_plane.start()
        self._watched[1].member = Member(API_SERVER, str(place), control_plane.server)
        text = kubeconfig.render("capkdev", control_plane.server, control_plane.credentials())
        write_private(self.directory / "kubeconfig", text.encode())
        return control_plane.rest()

    def _start_controllers(self, core: CoreManager | None, provider: Sequence[str] | None) -> None:
        """Start core manager and provider together, because each spends its first second on its own."""
        if core:
            self._launch(Member(CORE_MANAGER, str(self.directory), core.health), core.command())
        address = "" if provider is None else self._launch_provider(provider)
        if core:
            self._save("starting", "starting the Cluster API core manager")
            core.await_ready()
        if provider is not None:
            self._save("starting", "starting the provider")
            if "--health-addr" not in provider:
                await_ready(self.directory, PROVIDER, address)

    def _launch_provider(self, arguments: Sequence[str]) -> str:
        """Start the provider and return the address of its probes."""
        address = f"127.0.0.1:{free_port()}"
        member = Member(PROVIDER, str(self.directory), f"http://{address}")
        command = [
            *(sys.executable, "-m", "capk", "run", "--kubeconfig", str(self.directory / "kubeconfig")),
            *("--health-addr", address, "--diagnostics-address", f"127.0.0.1:{free_port()}"),
            *("--work-dir", str(self.directory / "work"), "--endpoint", "external", *arguments),
        ]
        self._launch(member, command)
        return member.address

    def _launch(self, member: Member, command: Sequence[str]) -> None:
        def start() -> None:
            child = processes.start(self.directory, member.name, command)
            self.guard.watch(child.pid)
            child.returncode = 0

        self._watched.append(_Watched(member, start))
        start()

    def _look(self) -> None:
        """Restart members that have ended."""
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG)[0]) and ended != self.guard.pid:
                self.guard.release(ended)
        now = time.monotonic()
        for watched in self._watched:
            member = watched.member
            if processes.running_pid(Path(member.directory), member.name) is not None or now < watched.next_start:
                continue
            watched.member = Member(member.name, member.directory, member.address, member.restarts + 1)
            watched.next_start, watched.pause = now + watched.pause, min(2 * watched.pause, RESTART_SECONDS)
            print(f"capkdev: {member.name} ended; restarting it", flush=True)
            watched.start()
            self._save("ready")

    def _stop(self) -> None:
        for watched in reversed(self._watched):
            member = watched.member
            processes.end(Path(member.directory), member.name, grace_seconds=GRACE_SECONDS.get(member.name, 0))
        self.guard.close()

    def _end_leftovers(self) -> None:
        """Stop processes that a killed supervisor and a killed guard left behind."""
        for name in (PROVIDER, CORE_MANAGER):
            processes.end(self.directory, name)
        ControlPlane(self.directory / "control-plane").kill()

    def _save(self, phase: str, message: str = "") -> None:
        print(f"capkdev: {phase} {message}".rstrip(), f"({time.monotonic() - self._began:.1f} s)", flush=True)
        State(phase, message, [watched.member for watched in self._watched]).save(self.directory)


def _stop_on_signal(number: int, frame: FrameType | None) -> None:
    for further in (signal.SIGTERM, signal.SIGINT):
        signal.signal(further, signal.SIG_IGN)
    raise Stop


def _stop_with_parent() -> None:
    """Wait for the end of standard input, which the kernel closes when the parent ends for any reason."""
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> int:
    """Supervise the management cluster in the directory from the command line."""
    directory = Path(sys.argv[1])
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop_on_signal)
    options = Options.load(directory)
    if options.attached:
        threading.Thread(target=_stop_with_parent, daemon=True).start()
    return Supervisor(directory, options).run()


if __name__ == "__main__":
    sys.exit(main())
