"""A real API server with its etcd, the instant engine, and the provider as its own process."""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from http.client import HTTPException
from pathlib import Path
from time import monotonic, sleep
from types import TracebackType
from typing import Any, Self

from bench.inpod import pod_files
from bench.usage import OURS, Usage, measured, series
from capk.api.conditions import find
from capk.api.names import KIND_CLUSTERS
from capk.errors import ApiError
from capkdev import processes
from capkdev.controlplane import API_SERVER, ETCD, ControlPlane
from capkdev.managementcluster.cluster import LocalManagementCluster
from capkdev.managementcluster.options import Options
from capkdev.ports import free_port
from capkdev.rest import Rest

Object = dict[str, Any]

CAPK = (sys.executable, "-m", "bench.inpod")
ENGINE = Path(__file__).with_name("instant-engine.sh")
KIND_CLUSTER_PATH = f"/apis/{KIND_CLUSTERS.api_version}/namespaces/default/{KIND_CLUSTERS.plural}"
PATIENCE_SECONDS = 1200
POLL_SECONDS = 0.01
SETTLED_SECONDS = 1.0
CLIENTS = 4


class Provider:
    """The provider as the release runs it."""

    def __init__(self, command: list[str], environment: Mapping[str, str], log: Path, address: str) -> None:
        self.began = monotonic()
        self._log = log
        self._address = address
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command, env={**os.environ, **environment}, stdout=output, stderr=subprocess.STDOUT
            )
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(60)

    def await_ready(self) -> Self:
        """Wait until it reports that it is ready."""
        with Rest(f"http://{self._address}") as probes:
            while True:
                try:
                    probes.request("GET", "/readyz")
                except ApiError:
                    if self._process.poll() is not None:
                        raise RuntimeError(f"the provider ended:\n{self._log.read_text()[-4000:]}") from None
                    sleep(0.02)
                else:
                    return self

    def series(self) -> Mapping[str, float]:
        """Return its Prometheus series."""
        with Rest(f"http://{self._address}") as metrics:
            return series(str(metrics.request("GET", "/metrics")))

    def reconciles(self) -> tuple[float, float]:
        """Return the numbers of finished reconciles and of objects that wait for one."""
        found = self.series()
        ended = sum(value for name, value in found.items() if name.startswith("capk_reconcile_seconds_count"))
        return ended, found["capk_queue_depth"]

    def await_settled(self, ended: float) -> float:
        """Wait until so many reconciles have ended and no object waits; return the approximate end of the last one."""
        last, since, deadline = -1.0, monotonic(), monotonic() + PATIENCE_SECONDS
        while monotonic() < deadline:
            done, waiting = self.reconciles()
            if done != last or waiting or done < ended:
                last, since = done, monotonic()
            elif monotonic() - since > SETTLED_SECONDS:
                return since
            sleep(0.1)
        raise TimeoutError(f"the provider was still busy after {PATIENCE_SECONDS} s")


class Rig:
    """A management cluster without a provider, and an engine whose creations take `seconds`."""

    def __init__(self, directory: Path, *, seconds: float = 0, core: bool = False) -> None:
        self.directory = directory
        self.engine = directory / "engine"
        self.management = LocalManagementCluster(directory / "management", Options(core=core))
        self.environment = {"BENCH_ENGINE": str(self.engine), "BENCH_ENGINE_SECONDS": f"{seconds:g}"}

    def __enter__(self) -> Self:
        self.management.start(attached=True)
        with self.management.rest() as rest:
            show_cluster_info(rest)
        control_plane = ControlPlane(self.management.directory / "control-plane")
        self.environment.update(pod_files(control_plane, self.directory / "pod"))
        self.reset_engine()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.management.stop()

    def reset_engine(self, kubeconfig: Path | None = None) -> None:
        """Forget all kind clusters.

        kubeconfig: of all of them; None for the management cluster's, whose API server then answers for each.
        """
        shutil.rmtree(self.engine, ignore_errors=True)
        for folder in ("clusters", "names"):
            (self.engine / folder).mkdir(parents=True)
        shutil.copy(kubeconfig or self.management.kubeconfig, self.engine / "kubeconfig")

    @contextmanager
    def provider(
        self, *flags: str, kind: str = str(ENGINE), engine: str = str(ENGINE), command: Sequence[str] = CAPK
    ) -> Iterator[Provider]:
        """Yield a provider that is ready, and stop it afterwards."""
        with self.starting_provider(*flags, kind=kind, engine=engine, command=command) as provider:
            yield provider.await_ready()

    def starting_provider(
        self, *flags: str, kind: str = str(ENGINE), engine: str = str(ENGINE), command: Sequence[str] = CAPK
    ) -> Provider:
        """Start a provider, which stops at the end of a `with`."""
        address = f"127.0.0.1:{free_port()}"
        arguments = [
            *(*command, "run", "--kind-command", kind, "--engine-command", engine, "--endpoint", "external"),
            *("--work-dir", str(self.directory / "work"), "--health-addr", address, *flags),
        ]
        return Provider(arguments, self.environment, self.directory / "provider.log", address)

    def measured(self, provider: Provider, written: Collection[str] = OURS) -> AbstractContextManager[Usage]:
        """Measure the body of the `with`. written: the resources whose requests count."""
        control_plane = self.management.directory / "control-plane"
        pids = [processes.running_pid(control_plane, name) for name in (API_SERVER, ETCD)]

        def exposed() -> str:
            with self.management.rest() as rest:
                return str(rest.request("GET", "/metrics"))

        return measured(exposed, provider.pid, [pid for pid in pids if pid], written)

    def calls(self) -> list[str]:
        """Return the calls of the engine so far, the first two words of each."""
        calls = self.engine / "calls"
        return calls.read_text().splitlines() if calls.exists() else []

    def all_at_once(self, names: Iterable[str], act: Callable[[Rest, str], object]) -> None:
        """Do something for each name, over a few concurrent connections."""
        left, failures = iter(list(names)), []

        def work() -> None:
            try:
                with self.management.rest() as rest:
                    for name in left:
                        act(rest, name)
            except Exception as failure:
                failures.append(failure)

        threads = [threading.Thread(target=work) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]

    @contextmanager
    def watching(self, seen: Callable[[str, Object], None], path: str = KIND_CLUSTER_PATH) -> Iterator[None]:
        """Call `seen` with type and object of every event, in another thread, during the body of the `with`."""
        rest, over = ControlPlane(self.management.directory / "control-plane").rest(), threading.Event()
        rest._connection.timeout = PATIENCE_SECONDS

        def follow() -> None:
            # The API server ends a watch that reads too slowly, sometimes in the middle of a line. A new one begins
            # with all existing objects.
            while not over.is_set():
                with suppress(OSError, HTTPException, json.JSONDecodeError):
                    rest._connection.request("GET", f"{path}?watch=1")
                    for line in rest._connection.getresponse():
                        event = json.loads(line)
                        if event["type"] != "ERROR":
                            seen(event["type"], event["object"])
                rest.close()

        thread = threading.Thread(target=follow, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            with suppress(OSError, AttributeError):
                rest._connection.sock.shutdown(2)
            thread.join(5)
            rest.close()

    @contextmanager
    def lives(self, path: str = KIND_CLUSTER_PATH) -> Iterator[tuple[set[str], set[str]]]:
        """Collect the names of objects that became Ready, and of those that went, during the body of the `with`."""
        ready: set[str] = set()
        gone: set[str] = set()

        def seen(type: str, obj: Object) -> None:
            if type == "DELETED":
                gone.add(obj["metadata"]["name"])
            elif is_ready(obj):
                ready.add(obj["metadata"]["name"])

        with self.watching(seen, path):
            yield ready, gone


def show_cluster_info(rest: Rest) -> None:
    """Create the ConfigMap that kubeadm lets anonymous users read, so that an API server answers for kind clusters.

    Without it, the provider doubts the data of each kind cluster and reads its kubeconfig again.
    """
    name, path, rbac = "cluster-info", "namespaces/kube-public", "rbac.authorization.k8s.io"
    metadata = {"name": name}
    rule = {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": [name], "verbs": ["get"]}
    anyone = {"apiGroup": rbac, "kind": "User", "name": "system:anonymous"}
    role = {"apiGroup": rbac, "kind": "Role", "name": name}
    # The API server creates this namespace too, but perhaps later.
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-public"}}
    rest.apply(f"/api/v1/{path}", namespace, "bench")
    rest.request("POST", f"/api/v1/{path}/configmaps", {"metadata": metadata, "data": {}})
    rest.request("POST", f"/apis/{rbac}/v1/{path}/roles", {"metadata": metadata, "rules": [rule]})
    binding = {"metadata": metadata, "roleRef": role, "subjects": [anyone]}
    rest.request("POST", f"/apis/{rbac}/v1/{path}/rolebindings", binding)


def kindcluster(name: str, **spec: object) -> Object:
    """Return a KINDCluster."""
    return {
        "apiVersion": KIND_CLUSTERS.api_version,
        "kind": KIND_CLUSTERS.kind,
        "metadata": {"name": name},
        "spec": spec,
    }


def is_ready(obj: Mapping[str, Any]) -> bool:
    """Return whether the condition Ready is True."""
    ready = find((obj.get("status") or {}).get("conditions") or (), "Ready")
    return ready is not None and ready["status"] == "True"


def is_provisioned(obj: Mapping[str, Any]) -> bool:
    """Return whether the kind cluster of an infrastructure object is complete."""
    return bool(((obj.get("status") or {}).get("initialization") or {}).get("provisioned"))


def wait_until(
    look: Callable[[], object], what: str, seconds: float = PATIENCE_SECONDS, every: float = POLL_SECONDS
) -> None:
    """Return as soon as `look` returns something true."""
    deadline = monotonic() + seconds
    while not look():
        if monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:g} s in vain for {what}")
        sleep(every)
