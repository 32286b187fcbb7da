"""What is known of the things around an object: its engine, nodes, operation, goals, API server and workers.

Plain data; `capk.plan.observed` has what is known of the objects themselves.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from capk.api.endpoint import EndpointMode
from capk.api.names import Reason
from capk.diagnosis.failures import Failure
from capk.kindconfig.config import LOAD_BALANCER
from capk.plan.marks import Mark
from capk.plan.plan import OperationRequest


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
    forgets: bool = False
    """Whether it is a load balancer that loses its configuration when it stops, as kind v0.32 made it."""
    addresses: tuple[str, ...] = ()
    """All its addresses on kind's network, `address` first. The network gives each container one of either family,
    whatever families the kind cluster uses."""

    @property
    def is_load_balancer(self) -> bool:
        """Whether it is the load balancer, which kind creates without mounts and therefore without a mark."""
        return self.role == LOAD_BALANCER


UNLISTED_SECONDS: Final = 10.0
"""How often to look at an object whose engine was not listed yet. The end of the first inventory wakes it; looks each
second at 1,000 objects with engines of their own would leave no time for the inventories."""


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
    gives_lowest_address: bool = True
    """Whether it gives the lowest free address to the next container, so that nodes can get their former ones again."""

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
    is_mistrusted: whether another authority has issued its certificate than the known one, or for another name.
    """

    answers: bool | None = None
    reached: bool = False
    said: str = ""
    is_watched: bool = True
    is_doubted: bool = False
    has_expired: bool = False
    is_mistrusted: bool = False


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
    refused: str = ""
    """Its words if it does not accept the login of the kubeconfigs (HTTP 401); one line."""
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
