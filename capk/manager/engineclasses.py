"""The KINDEngineClasses: where their engines are, by their Secrets, and which class an object gets."""

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, TypeVar

from capk.api import names
from capk.api.endpoint import EndpointMode
from capk.api.engineclasses import DockerHost, KINDEngineClass
from capk.api.names import Reason
from capk.api.objects import Key, KINDCluster
from capk.api.podengines import PodEngines
from capk.diagnosis.failures import Failure
from capk.engine.place import Place
from capk.engine.remote import RemoteFiles
from capk.engine.remotekeys import BadKeys
from capk.errors import ApiError, NotFound
from capk.kindconfig.ports import PortRange
from capk.kube.protocol import KubeApi
from capk.plan.claims import Claim
from capk.plan.engineclass import (
    OWN_ENGINE,
    chosen_class,
    default_class,
    incomplete_class,
    missing_class,
    overridden_class,
    refusal,
    unreadable_class,
)
from capk.plan.kindengineclass import REFRESH_SECONDS, RETRY_SECONDS
from capk.runtime.store import Store

T = TypeVar("T")

_PREFIX: Final = "class-"
_NEVER: Final = (float("-inf"), None)
_ANY: Final = "*"
"""Instead of the name of a class: whichever is the default one."""
_EARLY_SECONDS: Final = 1.0
"""A reconcile may come a little before its time."""


def place_key(class_name: str) -> str:
    """Return the key of the place of a class."""
    return f"{_PREFIX}{class_name}"


def class_at(place: str) -> str:
    """Return the name of the KINDEngineClass of a place by its key; OWN_ENGINE for the provider's own engine."""
    return place.removeprefix(_PREFIX) if place.startswith(_PREFIX) else OWN_ENGINE


def class_key(place: str) -> Key | None:
    """Return the key of the KINDEngineClass of a place; None for any other place."""
    name = class_at(place)
    return Key(names.KIND_ENGINE_CLASSES.kind, "", name) if name else None


class EngineClasses:
    """Places of classes, made from what the store has of them and from their Secrets.

    namespace: of the Secrets, the provider's own. managed: the only namespace that the provider manages, if it does not
    manage all; then it knows no classes. watch_filter: value of the label that classes must have. kept: returns the
    class of the creation that this process has started for the object with that uid; None if there was none.
    changed: called with the key of a changed place.
    """

    def __init__(
        self,
        store: Store,
        client: KubeApi,
        files: RemoteFiles,
        *,
        namespace: str,
        managed: str | None,
        watch_filter: str | None,
        clock: Callable[[], float],
        kept: Callable[[str], str | None],
        changed: Callable[[str], None],
    ) -> None:
        self._store = store
        self._client = client
        self._files = files
        self._namespace = namespace
        self._managed = managed
        self._watch_filter = watch_filter
        self._clock = clock
        self._kept = kept
        self._changed = changed
        self._places: dict[str, Place] = {}
        self._failures: dict[str, Failure] = {}
        self._read: dict[str, tuple[float, DockerHost | None]] = {}
        """Class -> when its Secret was last read, and for which engine."""
        self._offers: dict[str, tuple[Any, PodEngines | None]] = {}
        """Class -> its stored object, and what that offers."""

    def class_of(self, cluster: KINDCluster, claim: Claim | None) -> str:
        """Return the class of a KINDCluster, OWN_ENGINE for the provider's own engine. claim: its valid claim."""
        return chosen_class(cluster, claim, kept=self._kept(cluster.uid), default=self._default(cluster))

    def awaits_namespace(self, cluster: KINDCluster, claim: Claim | None) -> bool:
        """Return whether the class of a KINDCluster depends on the labels of its namespace, which are not known yet.

        The object may arrive before its new namespace.
        """
        if self._labels(cluster.namespace) is not None or not any(one.is_default for one in self._classes()):
            return False
        return chosen_class(cluster, claim, kept=self._kept(cluster.uid), default=_ANY) == _ANY

    def overridden(self, cluster: KINDCluster, claim: Claim | None) -> str:
        """Return the class that only annotations keep a KINDCluster from: see `overridden_class`."""
        return overridden_class(cluster, claim, kept=self._kept(cluster.uid), default=self._default(cluster))

    def pods(self, name: str) -> PodEngines | None:
        """Return what a class offers, if its engines are Pods. Each reconcile asks several times."""
        raw = self._store.get(Key(names.KIND_ENGINE_CLASSES.kind, "", name))
        if raw is None:
            self._offers.pop(name, None)
            return None
        known = self._offers.get(name)
        if known is None or known[0] is not raw:
            known = self._offers[name] = raw, KINDEngineClass(raw).pods
        return known[1]

    @property
    def are_unreadable(self) -> bool:
        """Whether the provider reads no classes, and follows no engines in Pods, because it manages one namespace."""
        return self._managed is not None

    def is_gone(self, name: str) -> bool:
        """Return whether a class does not exist."""
        return self._get(name) is None

    def place(self, name: str) -> Place | None:
        """Return the place of a class; None if its engine cannot be used yet.

        A class that has changed, or was created again, may allow other namespaces. They must not get on the engine that
        it described before.
        """
        engine_class, (_, docker) = self._get(name), self._read.get(name, _NEVER)
        return self._places.get(name) if engine_class and engine_class.docker == docker else None

    def places(self) -> set[str]:
        """Return the keys of the places of all classes that can be used."""
        return {place.key for place in self._places.values()}

    def failure(self, name: str) -> Failure | None:
        """Return why the engine of a class cannot be used; None if it can, or if its Secret was not read yet."""
        if self._managed is not None:
            return unreadable_class(name, self._managed)
        return missing_class(name, self._watch_filter) if self._get(name) is None else self._failures.get(name)

    def refusal(self, cluster: KINDCluster, name: str, neighbours: int, others: Callable[[], int]) -> Failure | None:
        """Return why nothing new may be created for a KINDCluster on the engine of a class; None if it may.

        neighbours: how many KINDClusters of its namespace have that class, including itself. others: counts those that
        come first on that engine; it looks at each one, which is too much work if all of them may be there.
        """
        engine_class = self._get(name)
        if engine_class is None:
            return None
        labels = self._labels(cluster.namespace)
        limit = engine_class.clusters_per_namespace
        before = 0 if limit is None or neighbours <= limit else others()
        return refusal(engine_class, labels, namespace=cluster.namespace, others=before)

    def allows(self, cluster: KINDCluster, name: str) -> bool:
        """Return whether a class exists and allows the namespace of a KINDCluster."""
        engine_class, labels = self._get(name), self._labels(cluster.namespace)
        return engine_class is not None and labels is not None and engine_class.allows(labels)

    async def read(self, engine_class: KINDEngineClass) -> None:
        """Make the place of a class, if its Secret was not read lately. Raises ApiError if the API server is away."""
        name = engine_class.name
        at, docker = self._read.get(name, _NEVER)
        period = RETRY_SECONDS if name in self._failures else REFRESH_SECONDS
        if docker == engine_class.docker and self._clock() - at < period - _EARLY_SECONDS:
            return
        place, failure = await self._made(engine_class)
        self._read[name] = self._clock(), engine_class.docker
        before = self._places.get(name), self._failures.get(name)
        _set(self._places, name, place)
        _set(self._failures, name, failure)
        if before != (place, failure):
            self._changed(place_key(name))

    def forget(self, name: str) -> None:
        """Forget a class that is gone; its files stay until `tidy`."""
        self._failures.pop(name, None)
        self._read.pop(name, None)
        if self._places.pop(name, None):
            self._changed(place_key(name))

    def tidy(self, in_use: Collection[str]) -> None:
        """Remove the files of the classes that are gone; in_use: keys of places where operations run."""
        for name in self._files.names():
            if name not in self._places and self._get(name) is None and place_key(name) not in in_use:
                self._files.drop(name)

    async def _made(self, engine_class: KINDEngineClass) -> tuple[Place | None, Failure | None]:
        """Return the place of a class, or why there is none."""
        docker = engine_class.docker
        if docker is None:
            return None, None if engine_class.pods else incomplete_class(engine_class.name)
        secret = f"Secret {self._namespace}/{docker.secret} of KINDEngineClass {engine_class.name}"
        try:
            found = await self._client.get(names.SECRETS, self._namespace, docker.secret)
            variables = self._files.write(engine_class.name, docker, found.get("data") or {})
        except NotFound:
            keys = "ssh-privatekey and known_hosts" if docker.uses_ssh else "ca.crt, tls.crt and tls.key"
            return None, _unreachable(f"{secret} does not exist. Create it with {keys}.")
        except ApiError as error:
            if not error.is_refusal:
                raise
            return None, _unreachable(f"{secret} cannot be read: {error.message}")
        except BadKeys as error:
            return None, _unreachable(f"{secret} cannot be used: {error}.")
        return _place(engine_class.name, docker, variables), None

    def _default(self, cluster: KINDCluster) -> str:
        return default_class(self._classes(), self._labels(cluster.namespace) or {})

    def _classes(self) -> list[KINDEngineClass]:
        return [KINDEngineClass(raw) for raw in self._store.values(names.KIND_ENGINE_CLASSES)]

    def _get(self, name: str) -> KINDEngineClass | None:
        raw = self._store.get(Key(names.KIND_ENGINE_CLASSES.kind, "", name))
        return KINDEngineClass(raw) if raw else None

    def _labels(self, namespace: str) -> Mapping[str, str] | None:
        """Return the labels of a namespace; None if it is not known."""
        raw = self._store.get(Key(names.NAMESPACES.kind, "", namespace))
        return raw["metadata"].get("labels") or {} if raw else None


def _unreachable(message: str) -> Failure:
    return Failure(Reason.ENGINE_UNREACHABLE, message)


def _place(name: str, docker: DockerHost, variables: Mapping[str, str]) -> Place:
    key = place_key(name)
    return Place(
        key,
        EndpointMode.EXTERNAL,
        docker.host_paths,
        tuple(sorted(variables.items())),
        # A pool of its own: operations on an engine that hangs would fill the lanes of a common one.
        key,
        docker.address,
        docker.endpoint_host,
        PortRange(*docker.ports),
    )


def _set(known: dict[str, T], name: str, value: T | None) -> None:
    if value is None:
        known.pop(name, None)
    else:
        known[name] = value
