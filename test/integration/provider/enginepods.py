"""Engines in Pods on a real API server: a pretended scheduler and kubelet, classes, and what is in their namespace."""

import contextlib
import shutil
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from capk.api.names import KIND_ENGINE_CLASSES, PODS, SECRETS, SERVICES, VOLUME_CLAIMS
from capk.errors import ApiError
from capkdev.managementcluster.cluster import LocalManagementCluster
from test.integration.api import Api, Object, connected, path
from test.kubelet import evicted

ENGINES = "capkind-engines"
NODE = "node-1"
KINDS = (PODS, SERVICES, SECRETS, VOLUME_CLAIMS)
"""The kinds of an engine's objects."""


class Kubelet(threading.Thread):
    """Binds Pods to a node, and reports and ends them, as scheduler and kubelet do; deletes claims that no Pod uses.

    engines: the directory with the data of all engines, by address. trouble: the status of Pods that have not started.
    births: the uids of all Pods that it has seen, by name. lost_at: when the data of an engine went with its Pod.
    """

    def __init__(self, management: LocalManagementCluster, engines: Path, namespace: str = ENGINES) -> None:
        super().__init__(daemon=True)
        self.engines = engines
        self.namespace = namespace
        self.trouble: dict[str, Any] | None = None
        self.births: dict[str, set[str]] = defaultdict(set)
        self.lost_at: dict[str, float] = {}
        self._restarts: Counter[str] = Counter()
        self._management = management
        self._stopped = threading.Event()
        self._lock = threading.Lock()

    def run(self) -> None:
        with connected(self._management) as api:
            while not self._stopped.wait(0.1):
                with self._lock:
                    pods = api.list(PODS, self.namespace)
                    for pod in pods:
                        with contextlib.suppress(ApiError):
                            self._look(api, pod)
                    for claim in api.list(VOLUME_CLAIMS, self.namespace):
                        if claim["metadata"]["name"] not in {pod["metadata"]["name"] for pod in pods}:
                            self._release(api, claim)

    def stop(self) -> None:
        self._stopped.set()
        self.join()

    def data(self, name: str) -> Path:
        """Return the directory with the data of an engine; it need not exist."""
        return self.engines / f"{name}.{self.namespace}.svc:2376"

    def restart(self, name: str) -> None:
        """End the container of a Pod; the next one has the same data."""
        self._restarts[name] += 1

    def evict(self, api: Api, name: str) -> None:
        """End a Pod for good, with data that is not on a volume."""
        with self._lock:
            pod = api.find(PODS, self.namespace, name)
            if pod and not pod["metadata"].get("deletionTimestamp"):
                self._report(api, pod, evicted())
                self._lose(pod)

    def _look(self, api: Api, pod: Object) -> None:
        metadata, status = pod["metadata"], pod.get("status") or {}
        self.births[metadata["name"]].add(metadata["uid"])
        if metadata.get("deletionTimestamp"):
            self._lose(pod)
            only_this = {"gracePeriodSeconds": 0, "preconditions": {"uid": metadata["uid"]}}
            api.rest.request("DELETE", path(PODS, self.namespace, metadata["name"]), only_this)
        elif not pod["spec"].get("nodeName"):
            # A command for an earlier Pod of that name may have left something.
            self._lose(pod)
            self._bind(api, metadata["name"])
        elif status.get("phase") != "Failed":
            has_started = status.get("phase") == "Running"
            wanted = (None if has_started else self.trouble) or running(self._restarts[metadata["name"]])
            if {key: status.get(key) for key in wanted} != wanted:
                self._report(api, pod, wanted)

    def _bind(self, api: Api, name: str) -> None:
        target = {"apiVersion": "v1", "kind": "Node", "name": NODE}
        binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": target}
        api.rest.request("POST", f"{path(PODS, self.namespace, name)}/binding", binding)

    def _report(self, api: Api, pod: Object, status: Mapping[str, Any]) -> None:
        metadata = pod["metadata"]
        body = {"metadata": {"uid": metadata["uid"]}, "status": status}
        api.patch(PODS, self.namespace, metadata["name"], body, "status")

    def _lose(self, pod: Object) -> None:
        name = pod["metadata"]["name"]
        if "persistentVolumeClaim" not in pod["spec"]["volumes"][0] and self.data(name).exists():
            self.lost_at[name] = time.monotonic()
            shutil.rmtree(self.data(name), ignore_errors=True)

    def _release(self, api: Api, claim: Object) -> None:
        metadata = claim["metadata"]
        if metadata.get("deletionTimestamp"):
            with contextlib.suppress(ApiError):
                api.patch(VOLUME_CLAIMS, self.namespace, metadata["name"], {"metadata": {"finalizers": None}})
            shutil.rmtree(self.data(metadata["name"]), ignore_errors=True)


def running(restarts: int) -> dict[str, Any]:
    """Return the status of a Pod whose engine answers, as the API server stores it."""
    container = {
        "name": "engine",
        "containerID": f"containerd://{restarts}",
        "restartCount": restarts,
        "image": "docker:29-dind",
        "imageID": "docker:29-dind",
        "ready": True,
    }
    conditions = [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": "True"}]
    return {"phase": "Running", "conditions": conditions, "containerStatuses": [container]}


def engine_class(name: str, allowed: Mapping[str, str], **pods: object) -> Object:
    """Return a KINDEngineClass with engines in Pods. allowed: the labels of the namespaces that may use it."""
    return {
        "apiVersion": KIND_ENGINE_CLASSES.api_version,
        "kind": "KINDEngineClass",
        "metadata": {"name": name},
        "spec": {
            "pods": {"image": "docker:29-dind", **pods},
            "namespaceSelector": {"matchLabels": dict(allowed)},
        },
    }


def create_node(api: Api) -> None:
    """Create the node that all Pods run on; it may exist."""
    api.apply("", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}})


def service_account(namespace: str) -> Object:
    """Return the account that a controller manager would create for Pods in a namespace."""
    metadata = {"name": "default", "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}


def objects_of_engines(api: Api, namespace: str = ENGINES) -> list[str]:
    """Return what is in a namespace of engines."""
    return [f"{kind.kind} {one['metadata']['name']}" for kind in KINDS for one in api.list(kind, namespace)]
