"""Which engine the kind cluster of an object is on."""

from collections.abc import Callable
from datetime import datetime

from capk.api.endpoint import EndpointMode
from capk.api.objects import Key, KINDCluster
from capk.api.podengines import PodEngines
from capk.diagnosis.failures import Failure
from capk.engine.place import ANY_ADDRESS, PODS, SHARED, Place
from capk.kindconfig.config import API_PORT
from capk.manager.engineclasses import EngineClasses, place_key
from capk.manager.enginepods import EnginePods, may_have_engine, pod_place_key
from capk.plan.claims import Claim
from capk.plan.engineclass import OWN_ENGINE, another_kind_of_class, has_begun, no_own_engine
from capk.plan.engineobjects import engine_name
from capk.plan.enginepods import EnginePodFacts, PodEngine, engine_failure
from capk.plan.preparation import LOCAL

ClaimOf = Callable[[Key], Claim | None]
"""Returns the valid claim of a KINDCluster."""


class Placement:
    """The places of kind clusters.

    shared: the place of the provider's own engine; None if it has none. classes: the other places. pods: the engines in
    Pods, each of which is a place. claim: see `capk.manager.relations`.
    """

    def __init__(
        self,
        shared: Place | None,
        classes: EngineClasses,
        pods: EnginePods,
        claim: ClaimOf,
        now: Callable[[], datetime],
    ) -> None:
        self.shared = shared
        self._classes = classes
        self._pods = pods
        self._claim = claim
        self._now = now

    def class_of(self, cluster: KINDCluster) -> str:
        """Return the KINDEngineClass of a KINDCluster; OWN_ENGINE for the provider's own engine."""
        return self._classes.class_of(cluster, self._claim(cluster.key))

    def overridden(self, cluster: KINDCluster) -> str:
        """Return the KINDEngineClass that only annotations keep a KINDCluster from; OWN_ENGINE if there is none."""
        return self._classes.overridden(cluster, self._claim(cluster.key))

    def key_of(self, cluster: KINDCluster) -> str:
        """Return the key of the place where the kind cluster of a KINDCluster is, whether or not it can be used.

        It changes with an event of the KINDCluster or of its engine in a Pod, and as long as nothing was created for it
        with one of a KINDEngineClass or of its Namespace.
        """
        if self.in_pod(cluster):
            return pod_place_key(cluster.uid)
        name = self.class_of(cluster)
        return SHARED if name == OWN_ENGINE else place_key(name)

    def of(self, cluster: KINDCluster) -> Place | None:
        """Return where the kind cluster of a KINDCluster is; its KINDMachines are there too.

        None if the engine of its class cannot be used, or if its keys were not read yet, or if it is not known yet
        which class it has.
        """
        if self._classes.awaits_namespace(cluster, self._claim(cluster.key)):
            return None
        if (engine := self.in_pod(cluster)) is None:
            name = self.class_of(cluster)
            return self.shared if name == OWN_ENGINE else self._classes.place(name)
        pod = engine.facts.pod if engine.facts else None
        return self._pod_place(cluster, engine) if pod and pod.is_usable and not engine.is_stopped else None

    def planned(self, cluster: KINDCluster) -> Place | None:
        """Return the same, also if it is an engine in a Pod that cannot be used yet."""
        engine = self.in_pod(cluster)
        return self._pod_place(cluster, engine) if engine else self.of(cluster)

    def in_pod(self, cluster: KINDCluster) -> PodEngine | None:
        """Return the engine of a KINDCluster if it is a Pod, or is to be one.

        Its class has to exist only until the Pod is created.
        """
        name, facts = self.class_of(cluster), self._pods.facts(cluster.uid)
        offer = None if self._is_elsewhere(cluster, facts) else self._offer(name)
        if offer is None and not (facts and facts.any) and not cluster.has_pod_engine and not self._may_be(cluster):
            return None
        return PodEngine(
            self._pods.namespace,
            engine_name(cluster.uid),
            facts,
            offer,
            self._pods.event(cluster.uid),
            is_to_be_stopped=_is_to_be_stopped(cluster),
            authority=self._pods.keys.secret,
            is_foreign=self._pods.is_foreign(cluster.uid),
            is_authority_edited=self._pods.keys.is_edited,
        )

    def failure(self, cluster: KINDCluster) -> Failure | None:
        """Return why there is no such place; None if there is one, or if that is not known yet."""
        name, engine = self.class_of(cluster), self.in_pod(cluster)
        if self._classes.awaits_namespace(cluster, self._claim(cluster.key)):
            return None
        if engine is None and name == OWN_ENGINE:
            return None if self.shared else no_own_engine()
        if engine is None and self._offer(name):
            return another_kind_of_class(name)
        if engine is None or self._classes.are_unreadable:
            return self._classes.failure(name)
        return engine_failure(engine, self._now(), cluster.conditions) if engine.facts else self._pods.failure

    def allows(self, cluster: KINDCluster) -> bool:
        """Return whether the namespace of a KINDCluster may use the engine at its place, whatever exists there.

        If its class is gone, a Pod that exists counts: it was made for this very object.
        """
        name = self.class_of(cluster)
        has_pod = self._classes.is_gone(name) and self.in_pod(cluster) is not None
        return name == OWN_ENGINE or has_pod or self._classes.allows(cluster, name)

    def refusal(self, cluster: KINDCluster, neighbours: int, others: Callable[[], int]) -> Failure | None:
        """Return why nothing new may be created for a KINDCluster at its place; None if it may.

        neighbours: how many KINDClusters of its namespace have its class, including itself. others: counts those that
        come first there.
        """
        name = self.class_of(cluster)
        return None if name == OWN_ENGINE else self._classes.refusal(cluster, name, neighbours, others)

    def _is_elsewhere(self, cluster: KINDCluster, facts: EnginePodFacts | None) -> bool:
        """Return whether the kind cluster is on the engine that an earlier class of the same name had.

        A class cannot change from `docker` to `pods`, but another one can get its name. During a creation, after a
        move, or if the status was lost, the annotations show it: only an engine on a machine has an id.
        """
        if cluster.has_pod_engine or (facts and facts.any):
            return False
        if cluster.engine_id is not None and has_begun(cluster):
            return True
        if cluster.endpoint is None:
            return False
        is_on_machine = cluster.identity is not None and cluster.engine_id is not None
        is_complete = cluster.completed_attempt is not None or is_on_machine
        return is_complete and cluster.endpoint[0] != self._host(cluster)

    def _may_be(self, cluster: KINDCluster) -> bool:
        """Return whether the creation of an engine may have begun, which is not known until all have been listed.

        Its class may be gone by then, or not be the default one any more. Where they cannot be listed, the annotation
        probably came with a copied manifest.
        """
        is_known = self._pods.are_known or self._pods.failure is not None or self._classes.are_unreadable
        is_complete = cluster.completed_attempt is not None or cluster.is_provisioned
        return not is_known and not is_complete and may_have_engine(cluster)

    def _host(self, cluster: KINDCluster) -> str:
        return PodEngine(self._pods.namespace, engine_name(cluster.uid)).host

    def _offer(self, name: str) -> PodEngines | None:
        return None if name == OWN_ENGINE else self._classes.pods(name)

    def _pod_place(self, cluster: KINDCluster, engine: PodEngine) -> Place:
        pod = engine.facts.pod if engine.facts else None
        service = engine.facts.service if engine.facts else None
        return Place(
            pod_place_key(cluster.uid),
            EndpointMode.EXTERNAL,
            engine.offer.host_paths if engine.offer else (),
            tuple(sorted(self._pods.keys.variables(engine.host).items())),
            PODS,
            ANY_ADDRESS,
            engine.host,
            endpoint_names=(*([service.address] if service and service.address else ()), *LOCAL),
            api_port=API_PORT,
            life=pod.uid if pod else "",
        )


def _is_to_be_stopped(cluster: KINDCluster) -> bool:
    """Return whether an engine in a Pod has to be stopped with its kind cluster, if that can come back."""
    return cluster.is_to_be_stopped and cluster.completed_attempt is not None
