"""Engines in Pods for one stage: a namespace, classes and a pretended kubelet of its own."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from capk.api.names import KIND_CLUSTERS, KIND_ENGINE_CLASSES
from capk.plan.engineobjects import engine_name
from capkdev.fakekind.clusters import Home
from capkdev.managementcluster.cluster import LocalManagementCluster
from test.integration.api import Api, eventually
from test.integration.provider.enginepods import (
    KINDS,
    Kubelet,
    create_node,
    engine_class,
    objects_of_engines,
    service_account,
)

PLAIN, WITH_VOLUME = "plain", "volume"
OFFERS: dict[str, dict[str, object]] = {PLAIN: {}, WITH_VOLUME: {"storage": {"claim": {"size": "1Gi"}}}}
"""The classes of a stage, and the fields of `spec.pods` in which they differ."""

NEWS_SECONDS = 5.0


@dataclass(frozen=True)
class Engines:
    """The engines in Pods of one stage. users: the namespace of the KINDClusters."""

    api: Api
    users: str
    kubelet: Kubelet

    @property
    def namespace(self) -> str:
        return self.kubelet.namespace

    def class_name(self, offer: str) -> str:
        """Return the name of a class of this stage."""
        return f"{self.users}-{offer}"

    def offer(self, offer: str) -> None:
        """Create a class, if it does not exist."""
        if self.api.find(KIND_ENGINE_CLASSES, "", self.class_name(offer)) is None:
            allowed = {"kubernetes.io/metadata.name": self.users}
            self.api.create("", engine_class(self.class_name(offer), allowed, **OFFERS[offer]))

    def withdraw(self, offer: str) -> None:
        """Delete a class."""
        self.api.delete(KIND_ENGINE_CLASSES, "", self.class_name(offer))

    def home(self, uid: str) -> Home:
        """Return the kind clusters on the engine of a KINDCluster."""
        return Home(self.kubelet.data(engine_name(uid)))

    def pods_of(self, uid: str) -> int:
        """Return the number of Pods that a KINDCluster has had so far."""
        return len(self.kubelet.births[engine_name(uid)])

    def has_just_lost(self, uid: str) -> bool:
        """Return whether the data of an engine went with its Pod a moment ago, which its provider may not know yet."""
        return time.monotonic() - self.kubelet.lost_at.get(engine_name(uid), float("-inf")) < NEWS_SECONDS

    def left(self) -> list[str]:
        """Return the objects of all engines."""
        return objects_of_engines(self.api, self.namespace)

    def clear(self) -> None:
        """Delete all KINDClusters and the objects of all engines without a provider, and wait until they are gone."""
        self.kubelet.trouble = None
        for seen in self.api.list(KIND_CLUSTERS, self.users):
            name = seen["metadata"]["name"]
            self.api.patch(KIND_CLUSTERS, self.users, name, {"metadata": {"finalizers": None}})
            self.api.delete(KIND_CLUSTERS, self.users, name)
        for kind in KINDS:
            for one in self.api.list(kind, self.namespace):
                self.api.delete(kind, self.namespace, one["metadata"]["name"])
        eventually(lambda: not self.left(), 30)

    def clusters(self) -> list[str]:
        """Return the names of the kind clusters on all engines."""
        return [name for data in self.kubelet.engines.glob("*") for name in Home(data).names()]


@contextlib.contextmanager
def engines_in_pods(management: LocalManagementCluster, api: Api, users: str, data: Path) -> Iterator[Engines]:
    """Yield the engines in Pods of a stage. data: the directory with the data of all of them."""
    namespace = api.new_namespace()
    create_node(api)
    api.apply(namespace, service_account(namespace))
    engines = Engines(api, users, Kubelet(management, data, namespace))
    for offer in OFFERS:
        engines.offer(offer)
    engines.kubelet.start()
    try:
        yield engines
    finally:
        # The next provider here would take them over.
        engines.clear()
        engines.kubelet.stop()
        for offer in OFFERS:
            engines.withdraw(offer)
