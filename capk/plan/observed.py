"""What is known when a decision is due: plain data, gathered by `capk.manager.observe`.

Nothing here reads the world; the time is part of what is known.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from capk.api.names import Reason
from capk.api.objects import KINDCluster, KINDControlPlane, OwnerCluster, SecretFacts
from capk.diagnosis.failures import Failure
from capk.kindconfig.config import LOAD_BALANCER
from capk.plan.claims import Claim
from capk.plan.marks import Mark
from capk.plan.plan import Goal, Request

CLAIM, IDENTITY, ENDPOINT, REPLICAS, SECRET = "claim", "identity", "endpoint", "replicas", "secret"
"""The parts of a plan that the API server may refuse one by one; a Secret's has its name after a space."""
REMOVAL, FINALIZER = "removal", "finalizer"
"""The same of an object that goes away: the deletion of a Secret, with its name after a space, and the last write."""


class EndpointMode(StrEnum):
    """Which address of a workload cluster Cluster API is given (product: `--endpoint`)."""

    INTERNAL = "internal"
    """The control plane container on the engine's kind network."""
    EXTERNAL = "external"
    """The port published on the machine of the container engine."""


@dataclass(frozen=True)
class Policy:
    """The settings that decisions depend on."""

    endpoint: EndpointMode = EndpointMode.EXTERNAL
    default_image: str | None = None
    allowed_host_paths: tuple[str, ...] = ("/",)
    """Paths of the engine's host that nodes may mount, with all below them."""
    wait_seconds: int = 120
    """How long kind waits for its control plane nodes to be Ready; 0 for not at all."""
    retry_base_seconds: float = 5.0
    retry_limit_seconds: float = 300.0


def retry_delay(attempts: int, policy: Policy) -> float:
    """Return the seconds to wait after that many attempts: doubling, bounded; none before the first."""
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
    """The mark that its creator put on it; None when there is none."""
    container_id: str = ""
    image: str = ""
    started_at: str = ""
    api_port: tuple[str, int] | None = None
    """Host address and port on which the engine publishes its API server."""

    @property
    def is_load_balancer(self) -> bool:
        """Whether it is the load balancer, which kind makes without any mount, and so without a mark."""
        return self.role == LOAD_BALANCER


@dataclass(frozen=True)
class EngineFacts:
    """What the container engine has under the name that the object wants."""

    looked: bool = False
    """Whether the engine was asked since the provider started."""
    failure: Failure | None = None
    """Why the engine could not be asked the last time; `exists` and `nodes` are then the last known."""
    exists: bool = False
    nodes: tuple[NodeFacts, ...] | None = None
    """None when the engine cannot be asked for containers, or has not been asked since the cluster was listed."""
    lists_nodes: bool = True
    """Whether the engine can be asked for containers at all."""
    restarted: bool = False
    """Whether nodes have started again and the kind cluster is not known to answer since."""
    id: str = ""
    """Of the engine that answers; empty where engines have none."""

    @property
    def answers(self) -> bool:
        """Whether what is known of it is up to date."""
        return self.looked and self.failure is None


@dataclass(frozen=True)
class OperationFacts:
    """The operation of the object that runs or waits for its turn; its outcome is part of the goal's facts."""

    request: Request
    queued: bool
    announced: bool = True
    """Whether it has gone on for long enough to be worth a write of the status."""
    step: Reason | None = None


@dataclass(frozen=True)
class GoalFacts:
    """What became of the operations towards one goal.

    attempts: how many have ended since there was peace.
    seconds_ago: since the last one ended. failure: why it failed; None when it ended well.
    request: what it was to do. logs: directory where more about the failure is kept.
    """

    attempts: int
    seconds_ago: float
    failure: Failure | None = None
    request: Request | None = None
    logs: str = ""


@dataclass(frozen=True)
class HealthFacts:
    """What the API server of the workload cluster answers.

    answers: None while it is not known. reached: whether it has ever answered from here.
    said: its last answer, or why there was none; one line. is_watched: whether it is being asked.
    is_doubted: whether it may hold other data than when its kubeconfig was last read: its etcd may have been emptied.
    """

    answers: bool | None = None
    reached: bool = False
    said: str = ""
    is_watched: bool = True
    is_doubted: bool = False


@dataclass(frozen=True)
class CreationFacts:
    """What the last creation of this process has to say besides that it came to its end.

    registries: why some nodes lack the mirrors of spec.registries; empty where all have them, None where none were
    asked for.
    not_ready: that kind stopped waiting for the nodes; empty as soon as the API server is known to answer.
    """

    registries: str | None = None
    not_ready: str = ""


@dataclass(frozen=True)
class Validity:
    """Until when the client certificate of the kubeconfigs is valid, and for how long it is in all."""

    not_after: datetime
    lifetime: timedelta | None = None


@dataclass(frozen=True)
class Authorities:
    """The certificates that mirrors are verified with, from ConfigMaps in the object's namespace.

    texts: by the name of the ConfigMap. missing: why one has none yet, by its name; a clause without its name.
    """

    texts: Mapping[str, str] = field(default_factory=dict, repr=False)
    missing: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Access:
    """How the workload cluster's API server is reached; the texts are secret."""

    external: str = field(repr=False)
    """Kubeconfig that works on the machine of the container engine."""
    internal: str = field(repr=False)
    """Kubeconfig that works on the engine's kind network."""
    fingerprint: str = ""
    """Identity of the workload cluster: the fingerprint of its certificate authority."""
    external_endpoint: tuple[str, int] = ("", 0)
    internal_endpoint: tuple[str, int] = ("", 0)
    authority: str = ""
    """The certificates that vouch for it, PEM."""
    not_after: datetime | None = None
    """When the client certificate expires; None for a token."""
    lifetime: timedelta | None = None
    """How long it is valid in all."""
    version: str | None = None
    """What the API server says it is, as in v1.36.3; None when it could not be asked."""
    kube_system_uid: str | None = None
    """The uid of its kube-system namespace; None when it could not be asked.

    Empty where it has none, which nothing but the loss of its data explains: nobody can delete that namespace.
    """
    answered: bool = False
    """Whether the API server gave any answer when it was asked."""
    said: str = ""
    """Its answer, or why there was none; one line."""
    nodes: tuple[str, ...] = ()
    """Node names by kind, for engines that cannot be asked for containers."""

    def endpoint(self, mode: EndpointMode) -> tuple[str, int]:
        """Return host and port for that mode."""
        return self.internal_endpoint if mode is EndpointMode.INTERNAL else self.external_endpoint

    def kubeconfig(self, mode: EndpointMode) -> str:
        """Return the kubeconfig for that mode."""
        return self.internal if mode is EndpointMode.INTERNAL else self.external


@dataclass(frozen=True)
class Observed:
    """Everything that a decision about a KINDCluster may depend on."""

    object: KINDCluster
    now: datetime
    policy: Policy = Policy()
    cluster_api_installed: bool = False
    owner: OwnerCluster | None = None
    control_plane: KINDControlPlane | None = None
    claim: Claim | None = None
    """The object's claim, if it counts."""
    copies_claim: bool = False
    """Whether the annotations hold the claim of another KINDCluster that exists."""
    cluster_name: str = ""
    """Name of the kind cluster: see `capk.plan.claims.cluster_name`."""
    rival: str | None = None
    """Another KINDCluster that comes first for the same kind cluster name."""
    is_held: bool = False
    """Whether what stands under the name belongs to another KINDCluster that exists, whoever comes first for it."""
    engine: EngineFacts = EngineFacts()
    operation: OperationFacts | None = None
    goals: Mapping[Goal, GoalFacts] = field(default_factory=dict)
    made: str | None = None
    """The identity of the kind cluster that a creation of this process has completed, until it is stored."""
    completed: int | None = None
    """Number of the creation that this process has seen come to its end, whatever the object says since."""
    creation: CreationFacts = CreationFacts()
    authorities: Authorities = Authorities()
    """Read where `capk.plan.creation.awaited_authorities` names some."""
    access: Access | None = None
    validity: Validity | None = None
    """Of the kubeconfigs as they were last read; known for longer than they are kept."""
    kube_system_uid: str | None = None
    """As `Access` has it, as it was last read; known for longer than the kubeconfigs are kept."""
    recheck: bool = False
    """Whether the kubeconfigs were read so long ago that their certificates may have been renewed since."""
    health: HealthFacts = HealthFacts()
    secrets: Mapping[str, SecretFacts] = field(default_factory=dict)
    """Our Secrets in the object's namespace that carry its kind cluster's name, by name."""
    foreign_secrets: frozenset[str] = frozenset()
    """Names of Secrets that we want to write and that belong to someone else."""
    refusals: Mapping[str, str] = field(default_factory=dict)
    """What the API server has refused and not accepted since: the part that was to be written -> the server's words."""
    held_back: frozenset[str] = frozenset()
    """Those parts of the object's own that are not to be tried yet."""
    contested: frozenset[str] = frozenset()
    """Secrets that were written again and again because something else changes them, as parts."""

    @property
    def is_paused(self) -> bool:
        """Whether the object or its owner Cluster is paused (C7)."""
        return self.object.is_paused or (self.owner is not None and self.owner.pauses)

    @property
    def served(self) -> OwnerCluster | None:
        """The owner Cluster, unless its infrastructure is another KINDCluster: a reference may have been copied."""
        named = self.owner.references("infrastructureRef", "KINDCluster") if self.owner else None
        return None if named and named != self.object.name else self.owner

    @property
    def control_plane_name(self) -> str | None:
        """The KINDControlPlane that the owner Cluster names."""
        return self.owner.references("controlPlaneRef", "KINDControlPlane") if self.owner else None

    @property
    def wanted_control_planes(self) -> int | None:
        """How many control-plane nodes the KINDControlPlane asks for; None where that is left to the KINDCluster."""
        return self.control_plane.replicas if self.control_plane else None

    def failure(self, goal: Goal) -> Failure | None:
        """Return why the last operation towards the goal failed; None when it ended well or there was none."""
        facts = self.goals.get(goal)
        return facts.failure if facts else None

    def remaining(self, goal: Goal) -> float:
        """Return the seconds until the next operation towards the goal may start: doubling, bounded."""
        facts = self.goals.get(goal)
        return retry_delay(facts.attempts, self.policy) - facts.seconds_ago if facts else 0.0


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
    """Names of Secrets that we want to write and that belong to someone else."""
    refusals: Mapping[str, str] = field(default_factory=dict)
    """What the API server has refused and not accepted since: the part that was to be written -> the server's words."""
    held_back: frozenset[str] = frozenset()
    """Those parts of the object's own that are not to be tried yet."""

    @property
    def is_paused(self) -> bool:
        """Whether the object or its owner Cluster is paused (C7)."""
        return self.object.is_paused or (self.owner is not None and self.owner.pauses)
