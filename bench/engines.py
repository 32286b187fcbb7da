"""What a kind cluster costs the provider if it has an engine in a Pod of its own, and if all share one engine.

Both turns run on the instant engine, and one API server answers for all kind clusters. A pretended scheduler and
kubelet makes the Pods Ready.
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic, sleep

from bench.kubelet import NAMESPACE, PATH, Kubelet
from bench.results import Row
from bench.rig import (
    KIND_CLUSTER_PATH,
    Object,
    Provider,
    Rig,
    is_provisioned,
    kindcluster,
    show_cluster_info,
    wait_until,
)
from bench.servicenames import COMMAND
from bench.usage import OURS, Usage, connections, resident_mib, watches
from capk.api.names import KIND_ENGINE_CLASSES
from capkdev.managementcluster.cluster import LocalManagementCluster
from capkdev.managementcluster.options import Options
from capkdev.rest import Rest

PODS, SHARED = "pods", "shared"
WRITTEN = OURS | {"pods", "services", "persistentvolumeclaims", "kindengineclasses"}
SETTLE_SECONDS = 3.0
"""How long the provider's last requests count, after the last kind cluster is provisioned or gone."""
_SPEC = {PODS: {"engine": {"className": PODS}}, SHARED: {}}
_FLAGS = {PODS: ["--no-shared-engine", "--max-concurrent-pod-creates"], SHARED: ["--max-concurrent-creates"]}
_CLASS = {
    "apiVersion": KIND_ENGINE_CLASSES.api_version,
    "kind": KIND_ENGINE_CLASSES.kind,
    "metadata": {"name": PODS},
    "spec": {
        "namespaceSelector": {},
        "limits": {"clustersPerNamespace": 1000},
        "pods": {"image": "docker:29-dind"},
    },
}


def engines(sizes: list[int], minutes: float, creates: int) -> Iterator[Row]:
    """Yield a row per size, engines and phase. minutes: of rest. creates: concurrent kind calls."""
    for size in sizes:
        for where in (PODS, SHARED):
            with _rig() as rig, rig.management.rest() as rest:
                kubelet, idle = Kubelet(rig), _watches(rest)
                if where == PODS:
                    _offer_pods(rest)
                with kubelet.running():
                    turn = _Turn(rig, rest, kubelet, where, [f"c{number}" for number in range(size)])
                    for row in turn.rows([*_FLAGS[where], str(creates)], minutes, idle):
                        yield {"objects": size, "engines": where, **row}


@contextmanager
def _rig() -> Iterator[Rig]:
    """A management cluster, and an API server that answers for all kind clusters, also under the names of Services."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name, Rig(Path(name)) as rig:
        options = Options(core=False, definitions=False, hosts=[f"*.{NAMESPACE}.svc"])
        with LocalManagementCluster(rig.directory / "workload", options) as workload, workload.rest() as rest:
            show_cluster_info(rest)
            rig.reset_engine(workload.kubeconfig)
            rig.environment["BENCH_ENGINE_PORT"] = rest.server.rpartition(":")[2]
            yield rig


def _offer_pods(rest: Rest) -> None:
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    rest.request("POST", "/api/v1/namespaces", namespace)
    rest.request("POST", f"/apis/{KIND_ENGINE_CLASSES.api_version}/{KIND_ENGINE_CLASSES.plural}", _CLASS)


def _watches(rest: Rest) -> int:
    return watches(str(rest.request("GET", "/metrics")))


@dataclass(frozen=True)
class _Turn:
    """The life of many KINDClusters. where: their engines are."""

    rig: Rig
    rest: Rest
    kubelet: Kubelet
    where: str
    names: list[str]

    def rows(self, flags: list[str], minutes: float, idle: int) -> Iterator[Row]:
        """Yield a row per phase. idle: the watches without a provider and a kubelet."""
        with self.rig.provider(*flags, command=COMMAND) as provider:
            yield self._row("create", provider, self._create, idle)
        # Restarted, so that the memory does not include the creations.
        with self.rig.starting_provider(*flags, command=COMMAND) as provider:
            yield self._row("restart", provider, self._restart, idle)
            yield self._row("rest", provider, partial(self._rest, 60 * minutes), idle)
            yield self._row("delete", provider, self._delete, idle)

    def _row(self, phase: str, provider: Provider, act: Callable[[Provider], float], idle: int) -> Row:
        """Return the row of a phase. act: goes through the phase, and returns its seconds."""
        sent, called, began = self.kubelet.writes, len(self.rig.calls()), monotonic()
        with self.rig.measured(provider, WRITTEN) as usage:
            usage.seconds = act(provider)
        own = len(self.names) if phase in ("create", "delete") else 0
        usage.writes.subtract({"kindclusters": own, "pods": self.kubelet.writes - sent})
        return {
            "phase": phase,
            **_costs(usage, len(self.names), monotonic() - began),
            "calls_each": round((len(self.rig.calls()) - called) / len(self.names), 2),
            "resident_mib": round(resident_mib(provider.pid), 1),
            "connections": connections(provider.pid),
            # One watch is the kubelet's.
            "watches": _watches(self.rest) - idle - 1,
        }

    def _create(self, provider: Provider) -> float:
        provisioned: set[str] = set()

        def seen(type: str, obj: Object) -> None:
            if is_provisioned(obj):
                provisioned.add(obj["metadata"]["name"])

        def create(rest: Rest, name: str) -> None:
            rest.request("POST", KIND_CLUSTER_PATH, kindcluster(name, **_SPEC[self.where]))

        with self.rig.watching(seen):
            began = monotonic()
            self.rig.all_at_once(self.names, create)
            wait_until(lambda: provisioned.issuperset(self.names), f"{len(self.names)} provisioned")
            seconds = monotonic() - began
        sleep(SETTLE_SECONDS)
        return seconds

    def _restart(self, provider: Provider) -> float:
        """Wait until each engine was listed and each object reconciled."""
        engines = len(self.names) if self.where == PODS else 1
        listed = self.rig.calls().count("get clusters") + engines
        provider.await_ready()
        wait_until(lambda: self.rig.calls().count("get clusters") >= listed, f"{engines} engines listed", every=0.5)
        return provider.await_settled(len(self.names)) - provider.began

    def _rest(self, seconds: float, provider: Provider) -> float:
        sleep(seconds)
        return seconds

    def _delete(self, provider: Provider) -> float:
        began = monotonic()
        self.rig.all_at_once(self.names, lambda rest, name: rest.request("DELETE", f"{KIND_CLUSTER_PATH}/{name}"))
        for path in (KIND_CLUSTER_PATH, PATH):
            wait_until(partial(self._is_empty, path), f"nothing at {path}", every=0.1)
        seconds = monotonic() - began
        sleep(SETTLE_SECONDS)
        return seconds

    def _is_empty(self, path: str) -> bool:
        return not self.rest.request("GET", f"{path}?limit=1")["items"]


def _costs(usage: Usage, size: int, elapsed: float) -> Row:
    """Return the costs of a phase. elapsed: seconds during which they arose."""
    each = 1000 / size
    return {
        "seconds": round(usage.seconds, 1),
        "provider_cpu_s": round(usage.provider_cpu_s, 2),
        "cpu_percent": round(100 * usage.provider_cpu_s / elapsed, 2),
        "cpu_ms_each": round(usage.provider_cpu_s * each, 1),
        "engine_ms_each": round(usage.engine_cpu_s * each, 1),
        "server_ms_each": round(usage.server_cpu_s * each, 1),
        "writes_each": round(usage.writes.total() / size, 2),
        "writes": _by_kind(usage, size),
        "peak_mib": round(usage.peak_mib, 1),
    }


def _by_kind(usage: Usage, size: int) -> str:
    """Return the writes per KINDCluster by the kind of object, such as `secrets 3, pods 1`."""
    found = sorted(usage.writes.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{resource} {count / size:.3g}" for resource, count in found if count) or "none"
