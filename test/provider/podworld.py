"""A World whose KINDEngineClass offers engines in Pods: with their namespace, a scheduler and a kubelet."""

import asyncio
import copy
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from capk.api import names
from capk.api.names import (
    EVENTS,
    KIND_CLUSTERS,
    KIND_ENGINE_CLASSES,
    NAMESPACES,
    PODS,
    SECRETS,
    SERVICES,
    VOLUME_CLAIMS,
    Resource,
)
from capk.engine.place import Place
from capk.errors import CommandFailed, Conflict, Forbidden, NotFound
from capk.kube.protocol import Change, Listing
from capk.manager.application import Application
from capk.manager.enginepods import is_pod_place
from capk.manager.engines import Commands
from capk.plan.engineobjects import engine_name
from test.kubelet import Kubelet, evicted, pending, running
from test.provider.world import Engine, FakeContainers, FakeKind, WatchedKube, World, kubeconfig, now, trouble
from test.unit.engine.test_remotekeys import tls_data
from test.unit.recording_kube import _selects

UID = "0a1b2c3d-4e5f-4a6b-8c7d-000000000001"
NAMESPACE = "capkind-engines"
IN_POD = {"engine": {"className": "pods"}}
ENGINE_KINDS = (PODS, SERVICES, VOLUME_CLAIMS, SECRETS)
RIGHTS_THERE = {
    *((resource, verb) for resource in ENGINE_KINDS for verb in ("get", "list", "watch", "create", "delete"))
}
RIGHTS_THERE |= {(EVENTS, "list")}
"""Those of the Role in the namespace of engines, and those to Secrets."""
DOCKER = {"host": "tcp://10.0.0.7:2376", "secretRef": {"name": "pods"}}
"""An engine on another machine."""
UNREACHABLE = trouble("Cannot connect to the Docker daemon", "docker", "ps")


class PodsKube(WatchedKube):
    """WatchedKube with watches on request, and with what an API server does for Pods and Services.

    missing: namespaces that do not exist.
    """

    def __init__(self, capi: str | None, watch_filter: str | None) -> None:
        super().__init__(capi, watch_filter)
        self.missing: set[str] = set()
        self.log: list[tuple[int, str, dict[str, Any] | None, dict[str, Any]]] = []
        self.news = asyncio.Event()
        self.asked: list[tuple[str, str]] = []
        """Verb and plural of each request."""
        self.denied: set[Resource] = set()
        """What the provider may not list."""

    async def create(self, resource: Resource, obj: Mapping[str, Any]) -> dict[str, Any]:
        if obj["metadata"].get("namespace") in self.missing:
            raise NotFound("create", resource.plural, 404, f'namespaces "{NAMESPACE}" not found')
        return await super().create(resource, obj)

    def put(self, resource: Resource, obj: Mapping[str, Any]) -> dict[str, Any]:
        if resource == SERVICES:
            obj = {**obj, "spec": {"clusterIP": "10.96.0.77", **(obj.get("spec") or {})}}
        return super().put(resource, obj)

    async def delete(self, resource: Resource, namespace: str | None, name: str, *, uid: str | None = None) -> None:
        found = self.objects.get((resource.plural, namespace, name))
        if resource != PODS or found is None:
            await super().delete(resource, namespace, name, uid=uid)
            return
        await self._request("delete", resource)
        self._record("delete", resource, namespace, name, uid)
        if uid not in (None, found["metadata"]["uid"]):
            raise Conflict("delete", resource.plural, 409, "another object has that name")
        self.put(resource, ending(found))

    async def list(self, resource: Resource, namespace: str | None = None, **selectors: Any) -> Listing:
        await self._request("list", resource)
        return await super().list(resource, namespace, **selectors)

    async def watch(
        self, resource: Resource, namespace: str, *, label_selector: str, version: str
    ) -> AsyncIterator[Change]:
        await self._request("watch", resource)
        seen = int(version)
        while True:
            for number, plural, before, after in list(self.log):
                if number <= seen or plural != resource.plural:
                    continue
                seen = number
                was, is_now = (
                    one is not None and self._is_selected(one, namespace, label_selector) for one in (before, after)
                )
                if was or is_now:
                    body = copy.deepcopy(after if is_now else before)
                    assert body is not None
                    body["metadata"]["resourceVersion"] = str(number)
                    yield Change("DELETED" if not is_now else "MODIFIED" if was else "ADDED", body)
            self.news.clear()
            await self.news.wait()
            await asyncio.sleep(0.01)

    def _is_selected(self, obj: Mapping[str, Any], namespace: str, selector: str) -> bool:
        metadata = obj["metadata"]
        return metadata.get("namespace") == namespace and _selects(selector, metadata.get("labels") or {})

    async def _request(self, verb: str, resource: Resource, subresource: str = "") -> None:
        self.asked.append((verb, resource.plural))
        if resource in self.denied and verb == "list":
            raise Forbidden(verb, resource.plural, 403, "the provider has no such right")
        if (resource, verb) in RIGHTS_THERE:
            self.requests += 1
            await asyncio.sleep(0.003)
            return
        await super()._request(verb, resource, subresource)

    def _changed(self, plural: str, before: dict[str, Any] | None, after: dict[str, Any] | None) -> None:
        super()._changed(plural, before, after)
        if plural in {resource.plural for resource in ENGINE_KINDS}:
            number = int(after["metadata"]["resourceVersion"]) if after else next(self._versions)
            self.log.append((number, plural, copy.deepcopy(before), copy.deepcopy(after) if after else None))  # type: ignore[arg-type]
            self.news.set()


def ending(pod: dict[str, Any]) -> dict[str, Any]:
    """Return a Pod that was deleted: without a finalizer it stays until its kubelet has ended it."""
    marks = {"deletionTimestamp": "2026-01-02T00:00:00Z", "deletionGracePeriodSeconds": 10}
    return {**pod, "metadata": {**pod["metadata"], **marks}}


class PodsKubelet(Kubelet):
    """The kubelet of a PodWorld, which looks at all Pods every half second.

    distrust: what Docker in ready Pods answers, if it is not what it is asked for.
    """

    def __init__(self, world: "PodWorld") -> None:
        super().__init__(now, write=self._store, remove=self._drop, power=self._switch)
        self.world = world
        self.distrust: CommandFailed | None = None

    async def run(self) -> None:
        while True:
            for pod in self.world.pods():
                self.look(pod)
            await asyncio.sleep(0.5)

    def _switch(self, pod: dict[str, Any], is_on: bool) -> None:
        self.world.engine_in(pod).down = self.distrust if is_on else UNREACHABLE

    def _store(self, pod: dict[str, Any], status: dict[str, Any], node: str) -> None:
        kube, metadata = self.world.kube, pod["metadata"]
        spec = {**pod["spec"], "nodeName": node} if node else pod["spec"]
        wanted = {**pod, "spec": spec, "status": status}
        if wanted != kube.objects[PODS.plural, metadata["namespace"], metadata["name"]]:
            kube.put(PODS, wanted)

    def _drop(self, pod: dict[str, Any]) -> None:
        metadata = pod["metadata"]
        del self.world.kube.objects[PODS.plural, metadata["namespace"], metadata["name"]]


class PodWorld(World):
    """`engine`, `kind` and `containers` are the provider's own; each Pod has an engine of its own."""

    kube: PodsKube

    def __init__(
        self, directory: Path, *, capi: str | None = None, watch_filter: str | None = None, **settings: Any
    ) -> None:
        super().__init__(directory, capi=capi, watch_filter=watch_filter, **settings)
        self.kube = PodsKube(capi, watch_filter)
        self.kubelet = PodsKubelet(self)
        self.engines: dict[str, Engine] = {}
        """By the uid of the Pod, or of the KINDCluster if the data is on a volume."""
        self.places: list[Place] = []
        self.configs: list[Any] = []
        self.kube.put(NAMESPACES, {"metadata": {"name": "default", "labels": {"kind": "allowed"}}})

    def add_class(
        self, name: str = "pods", *, default: bool = False, claim: bool = False, labels: Any = None, **spec: Any
    ) -> None:
        given = spec.pop("pods", {})
        pods = {"image": "docker:29-dind", **({"storage": {"claim": {"size": "20Gi"}}} if claim else {})}
        annotations = {names.DEFAULT_CLASS_ANNOTATION: "true"} if default else {}
        self.kube.put(
            KIND_ENGINE_CLASSES,
            {
                "metadata": {"name": name, "annotations": annotations, "labels": labels or {}},
                "spec": {
                    **({"docker": DOCKER} if given is None else {"pods": {**pods, **given}}),
                    "namespaceSelector": {"matchLabels": {"kind": "allowed"}},
                    **spec,
                },
            },
        )

    def add_secret(self, name: str) -> None:
        """Create the Secret with the keys to an engine on another machine, in the provider's namespace."""
        metadata = {"name": name, "namespace": self.settings.lease_namespace}
        self.kube.put(SECRETS, {"metadata": metadata, "data": tls_data()})

    def remove_class(self, name: str = "pods") -> None:
        del self.kube.objects[KIND_ENGINE_CLASSES.plural, None, name]

    def add(self, name: str = "dev", namespace: str = "default", *, spec: Any = None, **metadata: Any) -> None:
        uid = metadata.pop("uid", UID)
        super().add(name, namespace, spec=IN_POD if spec is None else spec, uid=uid, **metadata)

    def pods(self) -> list[dict[str, Any]]:
        return self.of_engines(PODS)

    def of_engines(self, resource: Resource) -> list[dict[str, Any]]:
        """Return the objects of a kind in the namespace of engines."""
        found = [
            obj
            for (plural, where, _), obj in self.kube.objects.items()
            if (plural, where) == (resource.plural, NAMESPACE)
        ]
        return [copy.deepcopy(obj) for obj in found]

    def left(self) -> list[str]:
        """Return what is in the namespace of engines."""
        return [
            f"{resource.kind} {obj['metadata']['name']}"
            for resource in ENGINE_KINDS
            for obj in self.of_engines(resource)
        ]

    def pod(self, uid: str = UID) -> dict[str, Any]:
        return next(pod for pod in self.pods() if pod["metadata"]["name"] == engine_name(uid))

    def engine_in(self, pod: Mapping[str, Any]) -> Engine:
        """Return the engine with the data of a Pod."""
        has_claim = any("persistentVolumeClaim" in volume for volume in pod["spec"]["volumes"])
        key = pod["metadata"]["labels"][names.ENGINE_CLUSTER_LABEL] if has_claim else pod["metadata"]["uid"]
        if key not in self.engines:
            self.engines[key] = PodEngine()
        return self.engines[key]

    def inner(self, uid: str = UID) -> Engine:
        """Return the engine of a KINDCluster."""
        return self.engine_in(self.pod(uid))

    def set_status(self, status: dict[str, Any], uid: str = UID) -> None:
        """Write the status of a Pod."""
        self.kube.put(PODS, {**self.pod(uid), "status": status})

    def evict(self, uid: str = UID) -> None:
        """End a Pod as the kubelet does when its machine runs out of something."""
        self.set_status(evicted(), uid)

    def delete_pod(self, uid: str = UID) -> None:
        """Delete a Pod as `kubectl drain` does."""
        self.kube.put(PODS, ending(self.pod(uid)))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Application]:
        async with super().running() as app:
            kubelet = asyncio.create_task(self.kubelet.run(), name="kubelet")
            try:
                yield app
            finally:
                kubelet.cancel()

    def _commands(self, place: Place) -> Commands:
        if not is_pod_place(place.key):
            return super()._commands(place)
        self.places.append(place)
        pod = next(pod for pod in self.pods() if pod["metadata"]["uid"] == place.life)
        engine = self.engine_in(pod)
        kind = FakeKind(engine)
        kind.text = kubeconfig("https://0.0.0.0:6443")
        create = kind.create_cluster

        async def noted(name: str, config: Any, **options: Any) -> str:
            self.configs.append(config)
            return await create(name, config, **options)

        kind.create_cluster = noted  # type: ignore[method-assign]
        return Commands(cast(Any, kind), cast(Any, FakeContainers(engine, ("docker",))))


class PodEngine(Engine):
    """The engine in a Pod: it publishes API servers on all of its addresses."""

    def run_node(self, name: str, cluster: str = "dev", **of: Any) -> str:
        container_id = super().run_node(name, cluster, **of)
        node = self.containers[container_id]
        if node.api_port:
            self.containers[container_id] = replace(node, api_port=("0.0.0.0", 6443))
        return container_id


__all__ = ["KIND_CLUSTERS", "PodWorld", "pending", "running"]
