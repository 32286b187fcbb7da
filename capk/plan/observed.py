"""The observed state that a decision needs, one class for each kind: plain data, gathered by `capk.manager.observe`.

Nothing here does input or output; the current time is part of the data.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Protocol

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
from capk.kindconfig.etcdfolder import passing_etcd_folder
from capk.plan.claims import Claim
from capk.plan.enginepods import PodEngine
from capk.plan.facts import (
    Access,
    Authorities,
    CreationFacts,
    EngineFacts,
    GoalFacts,
    HealthFacts,
    OperationFacts,
    Validity,
    Workers,
)
from capk.plan.marks import Mark
from capk.plan.plan import Goal
from capk.plan.policy import Policy, retry_delay


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
    policy: Policy = field(default_factory=Policy)
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
    is_adopted_first: bool = False
    """Whether another KINDCluster has adopted the same kind cluster by another of its containers, and comes first."""
    engine_class: str = ""
    """Name of the KINDEngineClass of its engine: see `capk.plan.engineclass`; empty for the provider's own engine."""
    overridden_class: str = ""
    """Name of the default KINDEngineClass of its namespace, if nothing but annotations keeps the object on the
    provider's own engine instead."""
    engine_refusal: Failure | None = None
    """Why nothing new may be created for the object on that engine."""
    engine: EngineFacts = field(default_factory=EngineFacts)
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
    creation: CreationFacts = field(default_factory=CreationFacts)
    authorities: Authorities = field(default_factory=Authorities)
    """Read if `capk.plan.creation.awaited_authorities` names any."""
    access: Access | None = None
    validity: Validity | None = None
    """Of the kubeconfigs that were last read; kept for longer than the kubeconfigs."""
    refused: str = ""
    """As in `Access`, of the last read; kept for longer than the kubeconfigs."""
    kube_system_uid: str | None = None
    """As in `Access`, of the last read; kept for longer than the kubeconfigs."""
    first_kube_system_uid: tuple[str, str] | None = None
    """The first uid of kube-system that this process has read and the object does not hold yet, after the fingerprint
    of its kind cluster."""
    unedited_kube_system_uid: str | None = None
    """What the annotation said before someone edited it while this process ran."""
    recheck: bool = False
    """Whether the kubeconfigs are so old that their certificates may have been renewed since."""
    health: HealthFacts = field(default_factory=HealthFacts)
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
    workers: Workers = field(default_factory=Workers)
    """Its nodes that kind did not create."""

    @property
    def is_paused(self) -> bool:
        """Whether the object or its owner Cluster is paused (C7)."""
        return self.object.is_paused or (self.owner is not None and self.owner.pauses)

    @cached_property
    def passing_etcd_folder(self) -> str:
        """See `capk.kindconfig.etcdfolder`. Users decide how long it takes, and a decision needs it many times."""
        return passing_etcd_folder(self.object.spec)

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
    policy: Policy = field(default_factory=Policy)
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
    policy: Policy = field(default_factory=Policy)
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
