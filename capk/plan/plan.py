"""What shall happen: the outcome of a decision, carried out by `capk.manager.reconcile` in the order of the fields."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from capk.plan.marks import Mark


class Goal(StrEnum):
    """What an operation is for. Back-off and the last failure hang on the goal, not on the operation."""

    UP = "up"
    """There is a complete kind cluster; removing what a failed creation left is part of it."""
    REPAIRED = "repaired"
    """All nodes run and the API server answers."""
    ACCESS = "access"
    """The kubeconfigs are known and stored."""
    RENEWED = "renewed"
    """The certificates of the kind cluster are valid for longer than a while."""
    GONE = "gone"
    """Nothing of the kind cluster is left."""


@dataclass(frozen=True)
class Create:
    """Create the kind cluster."""

    name: str
    config: Mapping[str, Any]
    """A kind.x-k8s.io/v1alpha4 document; the node image stands in it, as `--image` would override a node's own."""
    image: str | None
    wait_seconds: int
    mark: Mark
    """What every node bears; its attempt is another one each time."""
    generation: int
    """Generation of the spec it was made from: a fix by the user is tried immediately."""
    files: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Files that every node needs, in the order in which they are written: absolute path -> content."""
    goal: Goal = Goal.UP

    def is_like(self, other: object) -> bool:
        """Whether the other request asks for the same cluster, whichever attempt it is."""
        return isinstance(other, Create) and self._asks_for == other._asks_for

    @property
    def _asks_for(self) -> tuple[Any, ...]:
        nodes = [{**node, "extraMounts": node["extraMounts"][:-1]} for node in self.config.get("nodes") or ()]
        config = {**self.config, "nodes": nodes}
        return self.name, config, self.image, self.wait_seconds, self.generation, self.files


@dataclass(frozen=True)
class Delete:
    """Remove containers of a kind cluster: those that bear one of the marks, and those named by id.

    What is removed is decided again from a new listing at the moment of removal.
    """

    name: str
    goal: Goal
    uids: frozenset[str] = frozenset()
    """Containers whose mark has one of these uids are ours."""
    up_to_attempt: int | None = None
    """Later attempts stay: a successor of this provider makes them by now. None: every attempt goes."""
    container_ids: frozenset[str] = frozenset()
    """Containers without a mark that were proven to be ours: the load balancer, the nodes of an adopted cluster."""
    settle_seconds: float = 0.0
    """How long nothing may come to light before the removal counts as complete: the engine may still be making
    containers of a creation that was cut short."""


@dataclass(frozen=True)
class StartNodes:
    """Start node containers that have stopped.

    nodes: in the order in which they have to be started: the engine gives out the lowest free address first.
    stop: those to be stopped before, because they run with an address that belongs to another node.
    addresses: the address that each node had, by name, where it matters that it gets the same one again.
    preferred: the address that each other node had: it starts in its turn where that is free, else last.
    """

    name: str
    nodes: tuple[str, ...]
    stop: tuple[str, ...] = ()
    addresses: Mapping[str, str] = field(default_factory=dict)
    preferred: Mapping[str, str] = field(default_factory=dict)
    goal: Goal = Goal.REPAIRED


@dataclass(frozen=True)
class ReadAccess:
    """Read the kubeconfigs of a kind cluster that is up.

    await_answer: wait for a bounded time until its API server answers, because nodes have just started.
    """

    name: str
    await_answer: bool = False
    goal: Goal = Goal.ACCESS


@dataclass(frozen=True)
class RenewCertificates:
    """Renew the certificates in the control-plane nodes, and read the kubeconfigs with the new ones.

    not_after: when the client certificate ends that is known; the new one ends later.
    """

    name: str
    nodes: tuple[str, ...]
    not_after: datetime
    goal: Goal = Goal.RENEWED


Request = Create | Delete | StartNodes | ReadAccess | RenewCertificates


@dataclass(frozen=True)
class Plan:
    """One round of work for one object; an empty plan leaves everything as it is."""

    refresh: bool = False
    """It would alarm a person, and rests on what the engine had some seconds ago: ask the engine before all else."""
    cancel_operation: bool = False
    """End the running operation, with its processes, before anything else."""
    cancel_queued: bool = False
    """Take back an operation that has not begun yet; one that runs goes on."""
    add_finalizer: bool = False
    annotations: Mapping[str, str | None] = field(default_factory=dict)
    """Annotations to set, or to remove where None; written together with the finalizer."""
    identity: str | None = None
    """To be stored in the identity annotation before anything else that a complete kind cluster needs."""
    kube_system_uid: str | None = None
    """To be stored together with `identity`."""
    engine_id: str | None = None
    """To be stored with `identity` or `kube_system_uid`; not worth a write of its own."""
    operation: Request | None = None
    """To be started once the finalizer and the claim are stored (C8)."""
    secrets: tuple[Mapping[str, Any], ...] = ()
    """Secrets to write, whole (C13: before the endpoint and the status)."""
    delete_secrets: Mapping[str, str] = field(default_factory=dict)
    """Secrets to delete: name -> the uid that was seen."""
    endpoint: tuple[str, int] | None = None
    """To be stored in spec.controlPlaneEndpoint (C10)."""
    replicas: int | None = None
    """To be stored in spec.replicas of a KINDControlPlane that leaves it open (C46)."""
    status: Mapping[str, Any] | None = None
    """The whole status; None leaves it alone. Written only where it differs."""
    remove_finalizer: bool = False
    requeue_seconds: float | None = None
    """Look again after that time even if nothing happens."""

    @property
    def has_work(self) -> bool:
        """Whether an operation is to be started, or what the kubeconfig tells to be stored."""
        return self.operation is not None or bool(self.identity or self.secrets or self.endpoint)
