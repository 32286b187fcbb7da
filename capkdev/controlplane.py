"""A real control plane in one directory: etcd and kube-apiserver as local processes.

etcd listens only on sockets inside the directory, so other users of the machine cannot reach it and it needs no ports.
There is no scheduler, controller-manager or kubelet: nothing is garbage-collected and no pod ever starts.
"""

import contextlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from capk.errors import ApiError, CapkError
from capkdev import processes
from capkdev.binaries import find_binary
from capkdev.files import remove_tree, write_private
from capkdev.ports import free_port, is_free

if TYPE_CHECKING:
    from capkdev.rest import Rest

ETCD = "etcd"
API_SERVER = "kube-apiserver"
START_SECONDS = 120
"""An idle two-core machine needs 2 or 3 s, a busy one a minute. With an invalid flag, the process ends immediately."""
POLL_SECONDS = 0.05
PORT_TRIES = 5
_SETTINGS = "controlplane.json"


class ControlPlaneFailed(CapkError):
    """A process of the control plane ended, or did not become ready.

    process: its name; output: the end of its log.
    """

    def __init__(self, process: str, message: str, output: str) -> None:
        super().__init__(f"{process} {message}")
        self.process = process
        self.output = output


@dataclass(frozen=True)
class Settings:
    """The requested form of a control plane.

    port: 0 means any free one. hosts: further names and addresses in the server's certificate.
    feature_gates, runtime_config: in kube-apiserver's format. arguments: further arguments of kube-apiserver.
    """

    address: str = "127.0.0.1"
    port: int = 0
    hosts: Sequence[str] = ()
    service_subnet: str = "10.96.0.0/16"
    feature_gates: Mapping[str, bool] = field(default_factory=dict)
    runtime_config: Mapping[str, str] = field(default_factory=dict)
    arguments: Sequence[str] = ()


@dataclass(frozen=True)
class ControlPlane:
    """etcd, kube-apiserver, their certificates, data and logs, all in `directory`.

    binaries: the directory to search first for the executables.
    on_start: called with the pid of each started process.
    """

    directory: Path
    binaries: Path | None = None
    on_start: Callable[[int], None] = lambda pid: None

    def prepare(self, settings: Settings, *, share: Path | None = None) -> None:
        """Write certificates and settings for a first start.

        share: a directory of certificates to use instead of new ones. The first call creates them there.
        """
        if share:
            self._share_certificates(settings, share)
        else:
            self._issue_certificates(settings, self.directory / "pki")
        self._save(settings)

    def _share_certificates(self, settings: Settings, share: Path) -> None:
        if not share.exists():
            self._issue_certificates(settings, fresh := share.with_name(f"{share.name}.{os.getpid()}"))
            # If several are created concurrently, the first one in place is kept.
            with contextlib.suppress(OSError):
                fresh.rename(share)
            remove_tree(fresh)
        (self.directory / "pki").symlink_to(share)

    def _issue_certificates(self, settings: Settings, pki: Path) -> None:
        from capkdev.certificates import Authority

        pki.mkdir(mode=0o700)
        authority = Authority("kubernetes")
        hosts = ["localhost", "127.0.0.1", "kubernetes.default.svc", settings.address, *settings.hosts]
        files = {
            "apiserver": authority.issue_server("kube-apiserver", hosts),
            "admin": authority.issue_client("kubernetes-admin", "system:masters"),
            "service-accounts": authority.issue_client("service-accounts"),
        }
        write_private(pki / "ca.crt", authority.certificate)
        for name, pair in files.items():
            write_private(pki / f"{name}.crt", pair.certificate)
            write_private(pki / f"{name}.key", pair.key)

    def prepare_once(self, settings: Settings) -> None:
        """Prepare for a first start. If that was done before, only make sure that the port is free."""
        if not (self.directory / _SETTINGS).exists():
            remove_tree(self.directory)
            self.directory.mkdir(mode=0o700)
            self.prepare(settings)
        elif not is_free(self.settings.address, self.settings.port):
            self._save(replace(self.settings, port=0))

    def start(self) -> None:
        """Start both processes and return when the API server is ready.

        Raises ControlPlaneFailed, BinaryMissing.
        """
        self.start_process(ETCD)
        asked = self.settings
        for attempt in range(PORT_TRIES):
            if not asked.port:
                self._save(replace(asked, port=free_port(asked.address)))
            try:
                return self._start_api_server()
            except ControlPlaneFailed as failure:
                taken = "address already in use" in failure.output
                if asked.port or not taken or attempt == PORT_TRIES - 1:
                    raise
        return None

    def stop(self, *, grace_seconds: float = 5) -> None:
        """Stop both processes and keep their data."""
        processes.end(self.directory, API_SERVER)
        processes.end(self.directory, ETCD, grace_seconds=grace_seconds)

    def kill(self) -> None:
        """Kill both processes immediately, if their data is no longer needed."""
        for name in (API_SERVER, ETCD):
            processes.end(self.directory, name)

    @property
    def is_running(self) -> bool:
        """Whether both processes run."""
        return all(processes.running_pid(self.directory, name) is not None for name in (ETCD, API_SERVER))

    @property
    def settings(self) -> Settings:
        """The requested form; the port is known after the first start."""
        return Settings(**json.loads((self.directory / _SETTINGS).read_text()))

    @property
    def server(self) -> str:
        """The URL of the API server for clients on this machine."""
        settings = self.settings
        address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.address, settings.address)
        address = f"[{address}]" if ":" in address else address
        return f"https://{address}:{settings.port}"

    def credentials(self) -> tuple[bytes, bytes, bytes]:
        """Return authority, administrator's certificate and key, PEM."""
        pki = self.directory / "pki"
        return (pki / "ca.crt").read_bytes(), (pki / "admin.crt").read_bytes(), (pki / "admin.key").read_bytes()

    def rest(self) -> "Rest":
        """Return a client that acts as administrator."""
        from capkdev.rest import Rest, client_context

        pki = self.directory / "pki"
        return Rest(self.server, client_context(pki / "ca.crt", pki / "admin.crt", pki / "admin.key"))

    def _save(self, settings: Settings) -> None:
        write_private(self.directory / _SETTINGS, json.dumps(asdict(settings)).encode())

    def _start_api_server(self) -> None:
        self.start_process(API_SERVER)
        deadline = time.monotonic() + START_SECONDS
        with self.rest() as rest:
            while time.monotonic() < deadline:
                for name in (ETCD, API_SERVER):
                    if processes.running_pid(self.directory, name) is None:
                        raise ControlPlaneFailed(name, "ended", processes.log_tail(self.directory, name))
                try:
                    rest.request("GET", "/readyz")
                except ApiError:
                    time.sleep(POLL_SECONDS)
                else:
                    return
        message = f"was not ready after {START_SECONDS} s"
        raise ControlPlaneFailed(API_SERVER, message, processes.log_tail(self.directory, API_SERVER))

    def start_process(self, name: str) -> None:
        """Start etcd or kube-apiserver, unless it already runs."""
        arguments = etcd_arguments() if name == ETCD else api_server_arguments(self.settings)
        command = [str(find_binary(name, self.binaries)), *arguments]
        with processes.exclusive(self.directory):
            if processes.running_pid(self.directory, name) is not None:
                return
            if name == ETCD:
                for stale_socket in self.directory.glob("*:0"):
                    stale_socket.unlink()
            child = processes.start(self.directory, name, command)
            self.on_start(child.pid)
            # Without a wait: the child outlives this process, or the lock of its pid file shows its end.
            child.returncode = 0


def etcd_arguments() -> list[str]:
    """Return etcd's arguments; all paths are relative to its directory.

    A path to a socket may have at most 108 characters, hence relative; etcd requires a suffix that looks like a port.
    """
    return [
        "--data-dir=etcd",
        "--unsafe-no-fsync",
        "--listen-client-urls=unix://client:0",
        "--advertise-client-urls=unix://client:0",
        "--listen-peer-urls=unix://peer:0",
        "--initial-advertise-peer-urls=unix://peer:0",
        "--initial-cluster=default=unix://peer:0",
        "--log-level=warn",
    ]


def api_server_arguments(settings: Settings) -> list[str]:
    """Return kube-apiserver's arguments; all paths are relative to its directory."""
    arguments = [
        "--etcd-servers=unix://client:0",
        f"--bind-address={settings.address}",
        f"--secure-port={settings.port}",
        "--endpoint-reconciler-type=none",
        "--tls-cert-file=pki/apiserver.crt",
        "--tls-private-key-file=pki/apiserver.key",
        "--client-ca-file=pki/ca.crt",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        "--service-account-key-file=pki/service-accounts.crt",
        "--service-account-signing-key-file=pki/service-accounts.key",
        f"--service-cluster-ip-range={settings.service_subnet}",
        "--authorization-mode=RBAC",
        "--disable-admission-plugins=ServiceAccount,TaintNodesByCondition",
        "--allow-privileged=true",
        "--enable-priority-and-fairness=false",
        "--profiling=false",
    ]
    if settings.feature_gates:
        arguments.append(feature_gates_argument(settings.feature_gates))
    if settings.runtime_config:
        groups = ",".join(f"{name}={value}" for name, value in settings.runtime_config.items())
        arguments.append(f"--runtime-config={groups}")
    return [*arguments, *settings.arguments]


def feature_gates_argument(gates: Mapping[str, bool]) -> str:
    """Return the argument that switches feature gates, as all of Kubernetes' components take it."""
    return "--feature-gates=" + ",".join(f"{name}={str(value).lower()}" for name, value in gates.items())
