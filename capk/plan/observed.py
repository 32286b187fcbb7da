"""The observed state that a decision needs: plain data, gathered by `capk.manager.observe`.

Nothing here does input or output; the current time is part of the data.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from capk.api.endpoint import EndpointMode
from capk.api.names import Reason
from capk.api.objects import (
    KINDCluster,
    KINDConfig,
    KINDControlPlane,
    KINDMachine,
    OwnerCluster,
    OwnerMachine,
    SecretFacts,
)
from capk.diagnosis.failures import Failure
from capk.kindconfig.config import LOAD_BALANCER
from capk.kindconfig.ports import PortRange
from capk.plan.claims import Claim
from capk.plan.enginepods import PodEngine
from capk.plan.marks import Mark
from capk.plan.plan import Goal, OperationRequest

CLAIM, IDENTITY, ENDPOINT, REPLICAS, SECRET = "claim", "identity", "endpoint", "replicas", "secret"
PROVIDER_ID = "providerid"
"""The parts of a plan that the API server may refuse one by one; a Secret's part ends with a space and its name."""
ENGINE = "engine"
"""The same for the objects of an engine in a Pod; a space and the kind follow."""
REMOVAL, FINALIZER, ENGINE_REMOVAL = "removal", "finalizer", "engine removal"
"""The same while an object is deleted: the deletion of a Secret (a space and its name follow), and the last write."""


@dataclass(frozen=True)
class Policy:
    """The settings that decisions depend on."""

    endpoint: EndpointMode = EndpointMode.EXTERNAL
    default_image: str | None = None
    allowed_host_paths: tuple[str, ...] = ("/",)
    """Paths of the engine's host that nodes may mount, including everything below them."""
    api_server_address: str = ""
    """IP address of the engine's machine on which API servers listen, if the KINDEngineClass gives it, not the spec."""
    endpoint_host: str = ""
    """Where clients reach these API servers; empty: at the address that kind reports."""
    endpoint_names: tuple[str, ...] = ()
    """Further names and addresses under which clients may reach them."""
    api_server_port: int = 0
    """Port on which API servers listen, if the place gives it; 0: the spec decides, or kind."""
    ports: PortRange | None = None
    """Ports of the engine's machine for those that a spec leaves open; None: kind chooses them."""
    wait_seconds: int = 120
    """How long kind waits for its control plane nodes to be Ready; 0: it does not wait."""
    retry_base_seconds: float = 5.0
    retry_limit_seconds: float = 300.0


def retry_delay(attempts: int, policy: Policy) -> float:
    """Return the seconds to wait after that many attempts: exponential, bounded; none before the first."""
    if attempts <= 0:
        return 0.0
    return float(min(policy.retry_base_seconds * 2 ** min(attempts - 1, 20), policy.retry_limit_seconds))


@dataclass(frozen=True)
class NodeFacts:
    """One node container of a kind cluster, or the load balancer in front of several control planes."""

    name: str
    role: str
    running: bool
    address: str
    mark: Mark | None
    """The mark that its creator put on it; None if it has none."""
    container_id: str = ""
    image: str = ""
    started_at: str = ""
    api_port: tuple[str, int] | None = None
    """Host address and port on which the engine publishes its API server."""
    machine: str = ""
    """Id of the KINDMachine that the container was made for, by its label; empty for a node that kind made."""
    addresses: tuple[str, ...] = ()
    """All its addresses on kind's network, `address` first. The network gives each container one of either family,
    whatever families the kind cluster uses."""

    @property
    def is_load_balancer(self) -> bool:
        """Whether it is the load balancer, which kind creates without mounts and therefore without a mark."""
        return self.role == LOAD_BALANCER


@dataclass(frozen=True)
class EngineFacts:
    """What the container engine lists under the object's kind cluster name."""

    was_listed: bool = False
    """Whether an inventory of the engine was taken since the provider started."""
    failure: Failure | None = None
    """Why the last inventory failed; `exists` and `nodes` then hold the last known state."""
    exists: bool = False
    nodes: tuple[NodeFacts, ...] | None = None
    """None if the engine cannot list containers, or has not listed them since the cluster appeared."""
    lists_nodes: bool = True
    """Whether the engine can list containers at all."""
    restarted: bool = False
    """Whether nodes have restarted and the kind cluster has not answered since."""
    id: str = ""
    """Id of the engine that answers; empty if it has none."""

    @property
    def answers(self) -> bool:
        """Whether the last inventory of the engine succeeded."""
        return self.was_listed and self.failure is None


@dataclass(frozen=True)
class OperationFacts:
    """The object's running or queued operation; the outcome is part of the goal's facts."""

    request: OperationRequest
    queued: bool
    announced: bool = True
    """Whether it has run long enough to be worth a write of the status."""
    step: Reason | None = None


@dataclass(frozen=True)
class GoalFacts:
    """Outcome of the operations towards one goal.

    attempts: how many have ended since the goal was last reached.
    seconds_ago: since the last one ended. failure: why it failed; None if it succeeded.
    request: the request of that operation. logs: directory with the logs of the failure.
    left_nothing: whether a failed creation is proven to have left no container on its engine.
    """

    attempts: int
    seconds_ago: float
    failure: Failure | None = None
    request: OperationRequest | None = None
    logs: str = ""
    left_nothing: bool = False


@dataclass(frozen=True)
class HealthFacts:
    """Health of the workload cluster's API server.

    answers: whether it answers; None while unknown. reached: whether the provider has ever reached it.
    said: its last answer, or why there was none; one line. is_watched: whether the provider probes it.
    is_doubted: whether its data may have changed since the kubeconfig was last read: its etcd may have been emptied.
    has_expired: whether its certificate has expired, as after a year in which its machine was switched off.
    """

    answers: bool | None = None
    reached: bool = False
    said: str = ""
    is_watched: bool = True
    is_doubted: bool = False
    has_expired: bool = False


@dataclass(frozen=True)
class CreationFacts:
    """Warnings of the last complete creation of this process.

    registries: why some nodes lack the mirrors of spec.registries; empty if all have them, None if the spec sets none.
    not_ready: that kind stopped waiting for the nodes; empty as soon as the API server answers.
    """

    registries: str | None = None
    not_ready: str = ""


@dataclass(frozen=True)
class Validity:
    """End and total length of the validity of the kubeconfigs' client certificate."""

    not_after: datetime
    lifetime: timedelta | None = None


@dataclass(frozen=True)
class Authorities:
    """The certificates that verify mirrors, from ConfigMaps in the object's namespace.

    texts: by the name of the ConfigMap. missing: why a ConfigMap has none yet, by its name; a clause without the name.
    """

    texts: Mapping[str, str] = field(default_factory=dict, repr=False)
    missing: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Access:
    """How to reach the workload cluster's API server; the kubeconfigs are secret."""

    external: str = field(repr=False)
    """Kubeconfig that works on the machine of the container engine."""
    internal: str = field(repr=False)
    """Kubeconfig that works on the engine's kind network."""
    fingerprint: str = ""
    """Identity of the workload cluster: the fingerprint of its certificate authority."""
    external_endpoint: tuple[str, int] = ("", 0)
    internal_endpoint: tuple[str, int] = ("", 0)
    authority: str = ""
    """Its certificate authorities, PEM."""
    not_after: datetime | None = None
    """When the client certificate expires; None for a token."""
    lifetime: timedelta | None = None
    """Total length of its validity."""
    version: str | None = None
    """Version that the API server reports, such as v1.36.3; None if it did not answer."""
    kube_system_uid: str | None = None
    """The uid of its kube-system namespace; None if it did not answer.

    Empty if there is no such namespace. Only a loss of data explains that, because the namespace cannot be deleted.
    """
    answered: bool = False
    """Whether the API server gave any answer."""
    said: str = ""
    """Its answer, or why there was none; one line."""
    nodes: tuple[str, ...] = ()
    """Node names as kind lists them, for engines that cannot list containers."""
    container_ids: frozenset[str] = frozenset()
    """Of the kind cluster that it was read from; empty where they were not known."""

    def leads_to(self, nodes: tuple[NodeFacts, ...] | None) -> bool:
        """Return whether it may be of the kind cluster that has these nodes, and not of one that they replace."""
        there = {node.container_id for node in nodes or ()}
        return not there or not self.container_ids or not there.isdisjoint(self.container_ids)

    def endpoint(self, mode: EndpointMode) -> tuple[str, int]:
        """Return host and port for a mode."""
        return self.internal_endpoint if mode is EndpointMode.INTERNAL else self.external_endpoint

    def kubeconfig(self, mode: EndpointMode) -> str:
        """Return the kubeconfig for a mode."""
        return self.internal if mode is EndpointMode.INTERNAL else self.external


@dataclass(frozen=True)
class Workers:
    """The KINDMachines of a kind cluster, as far as decisions about its KINDCluster need them.

    names: name of the KINDMachine, by the name of its node container.
    joining: node containers that are no complete nodes yet: see `capk.plan.machines.workers_of`.
    under_way: node containers for which an AddWorker is queued or running.
    leaving: node containers whose KINDMachine is being deleted, or for which a RemoveWorker is queued or running.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    joining: frozenset[str] = frozenset()
    under_way: frozenset[str] = frozenset()
    leaving: frozenset[str] = frozenset()


class _HasGoals(Protocol):
    @property
    def policy(self) -> Policy: ...

    @property
    def goals(self) -> Mapping[Goal, GoalFacts]: ...


class _WithGoals:
    """An observation of an object whose operations have goals."""

    def failure(self: _HasGoals, goal: Goal) -> Failure | None:
        """Return why the last operation towards the goal failed; None if it succeeded or there was none."""
        facts = self.goals.get(goal)
        return facts.failure if facts else None

    def remaining(self: _HasGoals, goal: Goal) -> float:
        """Return the seconds until the next operation towards the goal may start: exponential, bounded."""
        facts = self.goals.get(goal)
        return retry_delay(facts.attempts, self.policy) - facts.seconds_ago if facts else 0.0


@dataclass(frozen=True)
class Observed(_WithGoals):
    """Everything that a decision about a KINDCluster may depend on."""

    object: KINDCluster
    now: datetime
    policy: Policy = Policy()
    cluster_api_installed: bool = False
    owner: OwnerCluster | None = None
    control_plane: KINDControlPlane | None = None
    claim: Claim | None = None
    """The object's claim, if it is valid."""
    copies_claim: bool = False
    """Whether the annotations hold the claim of another KINDCluster that exists."""
    cluster_name: str = ""
    """Name of the kind cluster: see `capk.plan.claims.cluster_name`."""
    rival: str | None = None
    """Another KINDCluster that has precedence for the same kind cluster name."""
    is_being_removed: bool = False
    """Whether the kind cluster that it claims is being removed for an object that is gone, or one of its name is still
    being created for such an object."""
    is_held: bool = False
    """Whether the kind cluster of that name belongs to another existing KINDCluster, whichever has precedence."""
    engine_class: str = ""
    """Name of the KINDEngineClass of its engine: see `capk.plan.engineclass`; empty for the provider's own engine."""
    engine_refusal: Failure | None = None
    """Why nothing new may be created for the object on that engine."""
    engine: EngineFacts = EngineFacts()
    pod_engine: PodEngine | None = None
    """The engine, if it is a Pod of the object's own; see `capk.plan.preparation`."""
    operation: OperationFacts | None = None
    goals: Mapping[Goal, GoalFacts] = field(default_factory=dict)
    made: str | None = None
    """Identity of the kind cluster that this process has created, until it is stored."""
    completed: int | None = None
    """Attempt number of the creation that this process has completed, whatever the object holds."""
    first_addresses: Mapping[str, str] = field(default_factory=dict)
    """Of the control planes that this process has created, by name: the object may not hold them yet."""
    is_unfinished: bool = False
    """Whether this process has started a creation that is not known to be complete or removed, whatever annotations
    hold."""
    never_began: Mark | None = None
    """Mark of the last creation, if it ended while it waited, and no creation before may have left anything."""
    remains: str = ""
    """Another name under which a creation for the object has begun: spec.clusterName was set meanwhile."""
    creation: CreationFacts = CreationFacts()
    authorities: Authorities = Authorities()
    """Read if `capk.plan.creation.awaited_authorities` names any."""
    access: Access | None = None
    validity: Validity | None = None
    """Of the kubeconfigs that were last read; kept for longer than the kubeconfigs."""
    kube_system_uid: str | None = None
    """As in `Access`, of the last read; kept for longer than the kubeconfigs."""
    first_kube_system_uid: tuple[str, str] | None = None
    """The first uid of kube-system that this process has read and the object does not hold yet, after the fingerprint
    of its kind cluster."""
    unedited_kube_system_uid: str | None = None
    """What the annotation said before someone edited it while this process ran."""
    recheck: bool = False
    """Whether the kubeconfigs are so old that their certificates may have been renewed since."""
    health: HealthFacts = HealthFacts()
    needed_by_others: frozenset[str] = frozenset()
    """Addresses that control planes of other kind clusters need; gathered for several control planes only."""
    secrets: Mapping[str, SecretFacts] = field(default_factory=dict)
    """Our Secrets in the object's namespace with the label of its kind cluster, by name."""
    foreign_secrets: frozenset[str] = frozenset()
    """Names of wanted Secrets that exist and belong to someone else."""
    refusals: Mapping[str, str] = field(default_factory=dict)
    """What the API server has refused and not accepted since: part of the plan -> message of the API server."""
    held_back: frozenset[str] = frozenset()
    """The object's own parts whose back-off has not ended."""
    contested: frozenset[str] = frozenset()
    """Secrets that were written repeatedly because something else changes them, as parts."""
    workers: Workers = Workers()
    """Its nodes that kind did not create."""

    @property
    def is_paused(self) -> bool:
        """Whether the object or its owner Cluster is paused (C7)."""
        return self.object.is_paused or (self.owner is not None and self.owner.pauses)

    @property
    def served(self) -> OwnerCluster | None:
        """The owner Cluster, unless it references another object: an owner reference may have been copied."""
        if self.owner is None or not self.owner.spec.get("infrastructureRef"):
            return self.owner
        return self.owner if self.owner.references("infrastructureRef", "KINDCluster") == self.object.name else None

    @property
    def control_plane_name(self) -> str | None:
        """The KINDControlPlane that the owner Cluster names."""
        return self.owner.references("controlPlaneRef", "KINDControlPlane") if self.owner else None

    @property
    def wanted_control_planes(self) -> int | None:
        """How many control-plane nodes the KINDControlPlane asks for; None where that is left to the KINDCluster."""
        return self.control_plane.replicas if self.control_plane else None


@dataclass(frozen=True)
class ControlPlaneObserved:
    """Everything that a decision about a KINDControlPlane may depend on."""

    object: KINDControlPlane
    now: datetime
    policy: Policy = Policy()
    owner: OwnerCluster | None = None
    infrastructure: KINDCluster | None = None
    """The KINDCluster that the owner Cluster names."""
    cluster_name: str = ""
    """Name of the kind cluster."""
    access: Access | None = None
    secrets: Mapping[str, SecretFacts] = field(default_factory=dict)
    foreign_secrets: frozenset[str] = frozenset()
    """Names of wanted Secrets that exist and belong to someone else."""
    refusals: Mapping[str, str] = field(default_factory=dict)
    """What the API server has refused and not accepted since: part of the plan -> message of the API server."""
    held_back: frozenset[str] = frozenset()
    """The object's own parts whose back-off has not ended."""

    @property
    def is_paused(self) -> bool:
        """Whether the object or its owner Cluster is paused (C7)."""
        return self.object.is_paused or (self.owner is not None and self.owner.pauses)


@dataclass(frozen=True)
class MachineObserved(_WithGoals):
    """Everything that a decision about a KINDMachine may depend on."""

    object: KINDMachine
    now: datetime
    policy: Policy = Policy()
    engine_name: str = "docker"
    """What kind calls the engine in provider ids: docker, podman or nerdctl."""
    machine: OwnerMachine | None = None
    """The Machine that the owner reference names. It is read once, because no watch delivers Machines; None if there is
    no such reference, or if the API server does not have the Machine."""
    unreadable: str = ""
    """Why the API server refuses to hand out that Machine."""
    owner: OwnerCluster | None = None
    """The Cluster that the label `cluster.x-k8s.io/cluster-name` names; of a standalone one, the owner of its
    KINDCluster. None only if it certainly does not exist."""
    infrastructure: Observed | None = None
    """Observation of the KINDCluster that the Cluster references, or that spec.clusterName names in the same namespace,
    as for a decision about that KINDCluster; of the one that has the machine's container, if these lead elsewhere. None
    only if it certainly does not exist, or if it is `unserved`: a KINDMachine that is deleted then goes without a look
    at the engine."""
    unserved: str = ""
    """A KINDCluster of the machine that exists, but that this provider does not serve, because of its watch filter."""
    is_copy: bool = False
    """Whether the annotations hold the machine id of another KINDMachine that exists: the one with that uid, or, if
    there is none, an older one with the same annotation. A manifest was copied."""
    shares_node: bool = False
    """Whether that other KINDMachine has a node of the same name in the same kind cluster: dev-w1 and w1 both have
    dev-w1."""
    joined: str = ""
    """Id of the container that an AddWorker of this process has joined, as that operation returned it; kept at least
    until the annotation holds it."""
    operation: OperationFacts | None = None
    """The object's running or queued AskApiServer, AddWorker or RemoveWorker."""
    goals: Mapping[Goal, GoalFacts] = field(default_factory=dict)
    """Of ANSWERED, JOINED and LEFT. A RemoveWorker towards JOINED that succeeds leaves the facts of JOINED unchanged,
    as a Delete towards UP does."""
    refusals: Mapping[str, str] = field(default_factory=dict)
    """What the API server has refused and not accepted since: CLAIM, PROVIDER_ID, FINALIZER -> its message."""
    held_back: frozenset[str] = frozenset()
    """The object's own parts whose back-off has not ended."""

    @property
    def secrets(self) -> Mapping[str, SecretFacts]:
        """No Secret belongs to it."""
        return {}

    @property
    def is_paused(self) -> bool:
        """Whether the object or its Cluster is paused (C54)."""
        return self.object.is_paused or (self.owner is not None and self.owner.pauses)


@dataclass(frozen=True)
class ConfigObserved:
    """Everything that a decision about a KINDConfig may depend on."""

    object: KINDConfig
    now: datetime
    owner: OwnerCluster | None = None
    """The Cluster that the label `cluster.x-k8s.io/cluster-name` names; None if it does not exist."""

    @property
    def secrets(self) -> Mapping[str, SecretFacts]:
        """No Secret belongs to it."""
        return {}

    @property
    def is_paused(self) -> bool:
        """Whether the object or its Cluster is paused (C54)."""
        return self.object.is_paused or (self.owner is not None and self.owner.pauses)
