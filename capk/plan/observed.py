"""What was seen when a decision is due: plain data, gathered by `capk.manager.reconcile`.

Nothing here reads the world; the time is part of what was seen.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from capk.api.names import Reason
from capk.api.objects import KINDCluster, KINDControlPlane, OwnerCluster, SecretFacts
from capk.diagnosis.failures import Failure
from capk.plan.plan import Request


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


@dataclass(frozen=True)
class NodeFacts:
    """One node container of a kind cluster."""

    name: str
    role: str
    running: bool
    address: str
    claim_id: str | None
    """The mark that its creator put on it; None when there is none."""
    container_id: str = ""
    image: str = ""
    started_at: str = ""


@dataclass(frozen=True)
class EngineFacts:
    """What the container engine has under the name that the object wants."""

    looked: bool = False
    """Whether anybody has looked since the provider started."""
    failure: Failure | None = None
    """Why the engine could not be asked the last time; `exists` and `nodes` are then the last known."""
    exists: bool = False
    nodes: tuple[NodeFacts, ...] | None = None
    """None when the engine cannot be asked for containers."""
    restarted: bool = False
    """Whether nodes have started anew and the kind cluster is not known to answer since."""

    @property
    def answers(self) -> bool:
        """Whether what is known of it is up to date."""
        return self.looked and self.failure is None


@dataclass(frozen=True)
class OperationFacts:
    """The running or last operation for the object."""

    request: Request
    queued: bool
    running: bool
    told: bool = True
    """Whether it has gone on for long enough to be worth a write of the status."""
    step: Reason | None = None
    failure: Failure | None = None
    """Why it failed; None while it runs and when it succeeded."""
    logs: str = ""
    """Directory where more about the failure is kept."""
    attempt: int = 1
    """Consecutive failures, this one included."""
    ended_seconds_ago: float = 0.0

    @property
    def in_progress(self) -> bool:
        """Whether it has not ended yet."""
        return self.queued or self.running


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
    version: str | None = None
    """What the API server says it is, as in v1.36.3; None when it could not be asked."""
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
    rival: str | None = None
    """Another KINDCluster that comes first for the same kind cluster name."""
    engine: EngineFacts = EngineFacts()
    operation: OperationFacts | None = None
    access: Access | None = None
    recheck: bool = False
    """Whether the kubeconfigs were read so long ago that their certificates may have been renewed since."""
    secrets: Mapping[str, SecretFacts] = field(default_factory=dict)
    """Our Secrets in the object's namespace that carry its kind cluster's name, by name."""
    foreign_secrets: frozenset[str] = frozenset()
    """Names of Secrets that we want to write and that are somebody else's."""

    def with_name_facts(
        self,
        *,
        rival: str | None,
        engine: EngineFacts,
        secrets: Mapping[str, SecretFacts],
        foreign_secrets: frozenset[str],
    ) -> "Observed":
        """Return the same with the facts that hang on the kind cluster's name."""
        return replace(self, rival=rival, engine=engine, secrets=secrets, foreign_secrets=foreign_secrets)

    @property
    def is_paused(self) -> bool:
        """Whether the object or its owner Cluster is paused (C7)."""
        return self.object.is_paused or (self.owner is not None and self.owner.pauses)

    @property
    def control_plane_name(self) -> str | None:
        """The KINDControlPlane that the owner Cluster names."""
        return self.owner.references("controlPlaneRef", "KINDControlPlane") if self.owner else None

    @property
    def cluster_name(self) -> str:
        """Name of the kind cluster: what was claimed, else asked for, else the owner's, else the object's own."""
        wanted = self.object.spec.get("clusterName")
        return self.object.claim or wanted or (self.owner.name if self.owner else self.object.name)


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
    """Names of Secrets that we want to write and that are somebody else's."""

    @property
    def is_paused(self) -> bool:
        """Whether the object or its owner Cluster is paused (C7)."""
        return self.object.is_paused or (self.owner is not None and self.owner.pauses)
