"""What differs between the kinds that the provider reconciles. `capk.manager.reconcile` does the same for all."""

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

from capk.api import names
from capk.api.engineclasses import KINDEngineClass
from capk.api.names import Resource
from capk.api.objects import Key
from capk.manager.discovery import Discovery
from capk.manager.engineclasses import EngineClasses
from capk.manager.enginepods import EnginePods
from capk.manager.engines import Engine, Engines
from capk.manager.facts import engine_facts, health_target, now
from capk.manager.observe import Observer
from capk.manager.observemachines import MachineObserver
from capk.manager.placement import Placement
from capk.manager.planwriter import Observation
from capk.manager.records import Records
from capk.manager.relations import Relations
from capk.plan import bootstrap, controlplane, kindcluster, kindengineclass, kindmachine
from capk.plan.creation import needs_no_owner
from capk.plan.enginepods import edited_authority
from capk.plan.facts import EngineFacts
from capk.plan.kindengineclass import ClassObserved
from capk.plan.observed import ConfigObserved, ControlPlaneObserved, MachineObserved, Observed
from capk.plan.ownership import was_completed
from capk.plan.plan import Plan
from capk.plan.power import is_to_rest
from capk.plan.repair import was_ever_reached
from capk.runtime.store import Store
from capk.workload.health import HealthMonitor

State = TypeVar("State", bound=Observation)


class Controller(ABC, Generic[State]):
    """How objects of one kind are observed and decided."""

    resource: Resource
    finalizer: str | None = None
    """The finalizer that plans add and remove; None if they never do."""

    @abstractmethod
    async def observe(self, key: Key) -> State | None:
        """Return what is known of an object; None if it is gone."""

    @abstractmethod
    def decide(self, observed: State) -> Plan:
        """Return the plan for an object."""

    async def confirm(self, observed: State) -> float | None:
        """Make certain what the next decision would rest on, before it is made.

        Return None if there is nothing to confirm, 0 if it is certain and the object has to be observed again,
        otherwise the seconds to wait.
        """
        return None

    def engine(self, observed: State) -> Engine | None:
        """Return the engine that a decision rests on, and that its operation is for; None if it rests on none."""
        return None

    def watch_health(self, observed: State) -> None:
        """Start or stop the probes of the workload cluster's API server; only a KINDCluster has one."""
        return

    def cancel_workers(self, observed: State) -> None:
        """Cancel every join of the object's kind cluster; only a KINDCluster has any."""
        return


class KINDClusterController(Controller[Observed]):
    """KINDClusters: the only kind whose objects own a kind cluster."""

    resource = names.KIND_CLUSTERS
    finalizer = names.KIND_CLUSTER_FINALIZER

    def __init__(
        self,
        observer: Observer,
        engines: Engines,
        placement: Placement,
        discovery: Discovery,
        records: Records,
        health: HealthMonitor,
    ) -> None:
        self._observer = observer
        self._engines = engines
        self._placement = placement
        self._discovery = discovery
        self._records = records
        self._health = health

    async def observe(self, key: Key) -> Observed | None:
        """Return what is known of a KINDCluster; None if it is gone."""
        return await self._observer.kindcluster(key)

    def decide(self, observed: Observed) -> Plan:
        """Return the plan for a KINDCluster."""
        return kindcluster.decide(observed)

    async def confirm(self, observed: Observed) -> float | None:
        """Make certain that Cluster API is absent before an object is created without an owner (C5)."""
        return await self._discovery.confirm_absence() if needs_no_owner(observed) else None

    def engine(self, observed: Observed) -> Engine | None:
        """Return the engine of its kind cluster."""
        return self._engines.of_cluster(observed.object)

    def cancel_workers(self, observed: Observed) -> None:
        """Cancel every join of its kind cluster, queued or running."""
        place = self._placement.key_of(observed.object)
        self._records.cancel_joins(place, observed.cluster_name, observed.workers.under_way)

    def watch_health(self, observed: Observed) -> None:
        """Probe the API server of the kind cluster only while the cluster runs."""
        cluster, nodes = observed.object, observed.engine.nodes
        runs = not is_to_rest(observed) and (nodes is None or any(node.running for node in nodes))
        # An identity that was removed by hand comes back without another reconcile.
        is_complete = observed.made or cluster.identity or was_completed(observed)
        is_there = is_complete and observed.engine.exists and not cluster.is_deleting
        is_up = is_there and runs
        target = health_target(observed) if is_up else None
        if target is None and is_up and nodes is None:
            # Without the engine only the kubeconfig has the address, and it is not kept for long: keep the old target.
            return
        if target is None:
            (self._health.rest if is_there else self._health.forget)(cluster.uid)
            return
        answered = observed.access is not None and observed.access.answered
        self._health.watch(
            cluster.uid,
            target,
            answered=answered,
            ever_answered=answered or was_ever_reached(cluster),
            unanswered_at=self._records.of(cluster).unanswered_at,
        )


class KINDEngineClassController(Controller[ClassObserved]):
    """KINDEngineClasses: each describes an engine, and nothing is created for it."""

    resource = names.KIND_ENGINE_CLASSES

    def __init__(
        self, store: Store, classes: EngineClasses, pods: EnginePods, engines: Engines, relations: Relations
    ) -> None:
        self._store = store
        self._classes = classes
        self._pods = pods
        self._engines = engines
        self._relations = relations

    async def observe(self, key: Key) -> ClassObserved | None:
        """Return what is known of a KINDEngineClass, after its Secret was read if that is due; None if it is gone."""
        raw = self._store.get(key)
        if raw is None:
            self._classes.forget(key.name)
            return None
        engine_class = KINDEngineClass(raw)
        await self._classes.read(engine_class)
        place = self._classes.place(key.name)
        facts = engine_facts(self._engines.of(place).inventory.latest, "", lists_nodes=True) if place else EngineFacts()
        if engine_class.pods:
            # Each of its engines has a status of its own.
            facts = EngineFacts(was_listed=self._pods.are_known, failure=self._pods.failure)
        return ClassObserved(
            object=engine_class,
            now=now(),
            clusters=self._relations.count_of(key.name),
            failure=self._classes.failure(key.name) or facts.failure,
            answers=facts.answers,
            warning=edited_authority(self._pods.keys.secret) if engine_class.pods and self._pods.keys.is_edited else "",
        )

    def decide(self, observed: ClassObserved) -> Plan:
        """Return the plan for a KINDEngineClass."""
        return kindengineclass.decide(observed)


class KINDControlPlaneController(Controller[ControlPlaneObserved]):
    """KINDControlPlanes: they report on the control plane of a KINDCluster."""

    resource = names.KIND_CONTROL_PLANES

    def __init__(self, observer: Observer) -> None:
        self._observer = observer

    async def observe(self, key: Key) -> ControlPlaneObserved | None:
        """Return what is known of a KINDControlPlane; None if it is gone."""
        return await self._observer.control_plane(key)

    def decide(self, observed: ControlPlaneObserved) -> Plan:
        """Return the plan for a KINDControlPlane."""
        return controlplane.decide(observed)


class KINDMachineController(Controller[MachineObserved]):
    """KINDMachines: each is one worker of a running kind cluster."""

    resource = names.KIND_MACHINES
    finalizer = names.KIND_MACHINE_FINALIZER

    def __init__(self, observer: MachineObserver, engines: Engines) -> None:
        self._observer = observer
        self._engines = engines

    async def observe(self, key: Key) -> MachineObserved | None:
        """Return what is known of a KINDMachine; None if it is gone."""
        return await self._observer.kindmachine(key)

    def decide(self, observed: MachineObserved) -> Plan:
        """Return the plan for a KINDMachine."""
        return kindmachine.decide(observed)

    def engine(self, observed: MachineObserved) -> Engine | None:
        """Return the engine of its KINDCluster's kind cluster."""
        infrastructure = observed.infrastructure
        return self._engines.of_cluster(infrastructure.object) if infrastructure else None


class KINDConfigController(Controller[ConfigObserved]):
    """KINDConfigs: bootstrap configurations without content, which a ClusterClass requires."""

    resource = names.KIND_CONFIGS

    def __init__(self, observer: MachineObserver) -> None:
        self._observer = observer

    async def observe(self, key: Key) -> ConfigObserved | None:
        """Return what is known of a KINDConfig; None if it is gone."""
        return await self._observer.kindconfig(key)

    def decide(self, observed: ConfigObserved) -> Plan:
        """Return the plan for a KINDConfig."""
        return bootstrap.decide(observed)
