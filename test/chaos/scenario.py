"""Lives of KINDClusters with injected faults: how they begin and end, and the conditions that must hold."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jsonpatch

from capk.api.names import (
    CLAIM_ANNOTATION,
    JOINED_CONTAINER_ANNOTATION,
    KIND_CLUSTERS,
    KIND_MACHINES,
    MACHINE_CONTAINER_LABEL,
    MACHINE_ID_ANNOTATION,
    SECRET_CLUSTER_LABEL,
    SECRETS,
)
from capkdev.fakekind.clusters import Home
from capkdev.fakekind.create import MODE_VARIABLE, SECONDS_VARIABLE
from capkdev.fakekind.listing import HOME_VARIABLE, HOSTS
from capkdev.managementcluster.cluster import LocalManagementCluster
from test.chaos.enginecalls import OF_NODES, OF_PODS, CallGate
from test.chaos.enginepods import PLAIN, Engines, engines_in_pods
from test.chaos.killable_provider import KillableProvider
from test.chaos.proxy import Call, Proxy
from test.integration.api import CLUSTERS, Api, Object, connected, eventually
from test.integration.provider.journeys import Place, SwitchableKind, control_plane, kindcluster, owner, standalone

PERIODS = ("--sync-period", "3s", "--inventory-period", "1s")
PATIENCE_SECONDS = float(os.environ.get("CAPK_CHAOS_PATIENCE", "120"))
"""Time that a very busy machine has to settle after a fault."""

FAILURE_LOGS = "failed"
CERTIFICATE_FILES = ("ca.pem", "cert.pem", "key.pem")


@dataclass(frozen=True)
class Stage(Place):
    """A namespace, a provider that can be killed, and the proxy between it and its API server."""

    process: KillableProvider
    proxy: Proxy
    owned: bool = False
    """Whether each KINDCluster has a Cluster and a KINDControlPlane."""
    engines: Engines | None = None
    """Engines in Pods, on which `create_cluster` then creates all kind clusters."""
    calls: CallGate | None = None
    """Stops calls for engines in Pods, or else those with which workers join and leave."""
    staffed: bool = False
    """Whether each kind cluster gets a worker that joins when it is ready, and leaves before it goes."""

    @property
    def pods(self) -> Engines:
        """The engines in Pods of a stage that has them."""
        assert self.engines
        return self.engines

    def create_cluster(self, name: str, **spec: Any) -> None:
        """Create all objects of one workload cluster."""
        if self.engines:
            spec = {"engine": {"className": self.engines.class_name(PLAIN)}, **spec}
        if self.owned:
            self.create(owner(name), control_plane(name), kindcluster(name, **spec))
        else:
            self.create(standalone(name, **spec))
        if self.staffed:
            self.create(worker(worker_name(name), name))

    def end(self, name: str) -> None:
        """Request the deletion of a workload cluster, after that of its worker has ended."""
        if self.staffed:
            self.delete(KIND_MACHINES, worker_name(name))
            self.await_gone(worker_name(name), KIND_MACHINES, PATIENCE_SECONDS)
            assert worker_name(name) not in [node.name for node in self.kind_cluster(name).nodes]
        self.delete(CLUSTERS if self.owned else KIND_CLUSTERS, name)

    def await_end(self, name: str) -> None:
        """Wait until all objects of a workload cluster are gone."""
        for resource in (CLUSTERS, KIND_CLUSTERS):
            self.await_gone(name, resource, PATIENCE_SECONDS)

    def await_ready(self, name: str) -> None:
        """Wait until a workload cluster is ready, according to Cluster API if it is installed."""
        self.await_condition(name, seconds=PATIENCE_SECONDS)
        if self.owned:
            for kind in ("InfrastructureReady", "ControlPlaneInitialized"):
                self.await_condition(name, kind, resource=CLUSTERS, seconds=PATIENCE_SECONDS)
        if self.staffed:
            self.await_condition(worker_name(name), resource=KIND_MACHINES, seconds=PATIENCE_SECONDS)
            eventually(lambda: len(self.get(KIND_CLUSTERS, name)["status"]["nodes"]) == 2, PATIENCE_SECONDS)

    def outcome(self, name: str) -> Mapping[str, Any]:
        """Return the result of a life, without the parts that differ between lives."""
        seen = self.get(KIND_CLUSTERS, name)
        status = seen["status"]
        conditions = {item["type"]: (item["status"], item["reason"]) for item in status["conditions"]}
        return {
            "worker": self._outcome_of_worker(name) if self.staffed else {},
            "finalizers": sorted(seen["metadata"]["finalizers"]),
            "annotations": sorted(seen["metadata"]["annotations"]),
            "endpoint": sorted(seen["spec"]["controlPlaneEndpoint"]),
            "status": sorted(status),
            "ready": status["ready"],
            "initialization": status["initialization"],
            "conditions": conditions,
            "nodes": [(node["role"], node["state"]) for node in status["nodes"]],
            "secrets": sorted(
                secret["metadata"]["name"].removeprefix(name) for secret in self.secrets(name) if self._is_whole(secret)
            ),
        }

    def _outcome_of_worker(self, name: str) -> Mapping[str, Any]:
        seen = self.get(KIND_MACHINES, worker_name(name))
        (node,) = (node for node in self.kind_cluster(name).nodes if node.name == worker_name(name))
        annotations, status = seen["metadata"]["annotations"], seen["status"]
        assert annotations[MACHINE_ID_ANNOTATION] == node.container_labels[MACHINE_CONTAINER_LABEL]
        assert annotations[JOINED_CONTAINER_ANNOTATION] == self.kind_cluster(name).container_id(node)
        assert seen["spec"]["providerID"].rpartition("/")[2] == node.name
        return {
            "finalizers": sorted(seen["metadata"]["finalizers"]),
            "annotations": sorted(annotations),
            "status": sorted(status),
            "conditions": {item["type"]: (item["status"], item["reason"]) for item in status["conditions"]},
        }

    def secrets(self, name: str = "") -> list[Object]:
        """Return the Secrets of one kind cluster, or of all here."""
        selector = f"{SECRET_CLUSTER_LABEL}%3D{name}" if name else SECRET_CLUSTER_LABEL
        return self.api.list(SECRETS, self.namespace, selector)

    def check_residue(self, *names: str) -> None:
        """Assert that only these kind clusters and their parts are left."""
        assert sorted(self.clusters()) == sorted(names)
        left = [secret["metadata"]["name"] for secret in self.secrets()]
        assert len(left) == len(names) * (2 if self.owned else 1), left
        eventually(lambda: not self.children(), 30)
        # An inventory of the engine has files for a moment.
        eventually(lambda: not self.private_files(), 30)
        assert files_below(self.process.temporary) == []
        assert len(self.parts()) <= 1, "killed providers have left their private directories"
        assert self.proxy.objections == [], self.proxy.objections
        if self.engines and not names:
            assert self.engines.left() == []

    def clusters(self) -> list[str]:
        """Return the names of the kind clusters on all engines."""
        return self.process.home.names() + (self.engines.clusters() if self.engines else [])

    def private_files(self) -> list[Path]:
        """Return the files of the provider, without its certificate for engines in Pods."""
        kept = CERTIFICATE_FILES if self.engines else ()
        return [file for part in self.parts() for file in files_below(part) if file.name not in kept]

    def parts(self) -> list[Path]:
        """Return the private directories of all providers, also killed ones, without the logs of failed creations."""
        return [part for part in self.process.work.glob("*") if part.name != FAILURE_LOGS]

    def children(self) -> list[str]:
        """Return the command lines of all commands that work for this provider, also those of killed ones.

        Its inventories of the engine, which never pause for long, do not count.
        """
        mark = f"{HOME_VARIABLE}={self.process.home.directory}".encode()
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if mark in (process / "environ").read_bytes().split(b"\0"):
                    found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        looks = ("get clusters", "engine ps", "engine inspect")
        return [line for line in found if not any(look in line for look in looks)]

    @staticmethod
    def _is_whole(secret: Object) -> bool:
        return bool(secret.get("data")) and bool(secret["metadata"].get("ownerReferences"))


def worker_name(cluster: str) -> str:
    """Return the name of the worker of a kind cluster, which is also that of its container."""
    return f"{cluster}-helper"


def worker(name: str, cluster: str) -> Object:
    """Return a KINDMachine that names its KINDCluster itself."""
    head = {"apiVersion": KIND_MACHINES.api_version, "kind": KIND_MACHINES.kind}
    return {**head, "metadata": {"name": name}, "spec": {"clusterName": cluster}}


_READINESS = ("/status/conditions", "/status/ready")


class ReadyWitness:
    """Reports if the provider is about to set Ready for a kind cluster that is incomplete or cannot be reached.

    At that moment the kind cluster has to be complete, the Secret and the endpoint have to be stored.
    """

    def __init__(self, api: Api, namespace: str, home: Home, engines: Engines | None = None) -> None:
        self._api, self._namespace, self._home, self._engines = api, namespace, home, engines
        self.seen = 0

    def __call__(self, call: Call) -> None:
        if call.method != "PATCH" or not call.path.endswith("/status") or "/kindclusters/" not in call.path:
            return
        if not any(one["path"].startswith(_READINESS) or one["path"] == "/status" for one in call.body):
            return
        seen = self._api.get(KIND_CLUSTERS, self._namespace, call.path.split("/")[-2])
        try:
            status = jsonpatch.apply_patch(seen, call.body)["status"]
        except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException):
            # Computed from an older view: the API server refuses it.
            return
        conditions = {item["type"]: item["status"] for item in status.get("conditions") or ()}
        was_ready = (seen.get("status") or {}).get("ready")
        # `ready` stays true for good, also where the provider reports that the cluster is not Ready any more.
        if conditions.get("Ready") != "True" and (was_ready or not status.get("ready")):
            return
        self.seen += 1
        name = seen["metadata"]["annotations"][CLAIM_ANNOTATION]
        uid, engines = seen["metadata"]["uid"], self._engines if "engine" in seen["spec"] else None
        standing = (engines.home(uid) if engines else self._home).find(name)
        if standing is None and engines and engines.has_just_lost(uid):
            return
        assert standing is not None, "called ready, and there is no kind cluster"
        assert standing.is_initialized, "called ready, and the kind cluster is half made"
        assert seen["spec"].get("controlPlaneEndpoint"), "called ready without an endpoint"
        assert self._api.find(SECRETS, self._namespace, f"{name}-config"), "called ready without its Secret"


def files_below(directory: Path) -> list[Path]:
    """Return all files in a directory, at any depth."""
    return [path for path in directory.rglob("*") if path.is_file()]


@contextlib.contextmanager
def staged(
    management: LocalManagementCluster,
    directory: Path,
    *flags: str,
    owned: bool = False,
    pods: bool = False,
    staffed: bool = False,
    create_seconds: float = 0.2,
    instant: bool = True,
    environment: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Stage]:
    """Yield a stage whose provider is not started yet; everything on it is removed afterwards."""
    directory.mkdir(exist_ok=True)
    with (
        connected(management) as api,
        connected(management) as witness_api,
        Proxy(management, directory / "proxy") as proxy,
        contextlib.ExitStack() as stack,
    ):
        namespace, kind = api.new_namespace(), SwitchableKind(directory / "bin")
        mode = {SECONDS_VARIABLE: str(create_seconds), **({MODE_VARIABLE: "instant"} if instant else {})}
        arguments = [*PERIODS, "--kubeconfig", str(proxy.kubeconfig)]
        arguments += ["--wait-for-nodes", "0"] if instant else []
        engines = None
        calls = CallGate(directory / "gate", kind, OF_PODS if pods else OF_NODES) if pods or staffed else None
        arguments += calls.flags if calls else kind.flags
        if pods:
            data = directory / "kind" / HOSTS
            engines = stack.enter_context(engines_in_pods(management, api, namespace, data))
            arguments += ["--engine-namespace", engines.namespace]
        else:
            arguments += ["--namespace", namespace]
        process = KillableProvider(management, directory, [*arguments, *flags], {**mode, **environment})
        proxy.witness = ReadyWitness(witness_api, namespace, process.home, engines)
        try:
            yield Stage(management, api, namespace, process, kind, proxy, owned, engines, calls, staffed)
        except BaseException:
            print(f"\n--- {process.log}\n" + "\n".join(process.log_text().splitlines()[-80:]))
            raise
        finally:
            process.kill()
            process.remove_clusters()
