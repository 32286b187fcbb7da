"""The plan: the outcome of a decision, which `capk.manager.reconcile` carries out in the order of the fields."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from capk.api.names import Resource
from capk.kindconfig.config import CONTROL_PLANE
from capk.kindconfig.ports import PortRange
from capk.plan.events import Event
from capk.plan.marks import Mark


class Goal(StrEnum):
    """What an operation is for. Back-off and the last failure belong to the goal, not to the operation."""

    UP = "up"
    """The kind cluster is complete; cleaning up after a failed creation is part of it."""
    REPAIRED = "repaired"
    """All nodes run and the API server answers."""
    ACCESS = "access"
    """The kubeconfigs are read and stored."""
    RENEWED = "renewed"
    """The certificates of the kind cluster do not expire soon."""
    KUBELETS = "kubelets"
    """No kubelet is down because its certificate has expired."""
    STOPPED = "stopped"
    """No container of the kind cluster runs, because its object asks for that."""
    GONE = "gone"
    """No container of the kind cluster is left."""
    JOINED = "joined"
    """The node of a KINDMachine has joined the kind cluster; cleaning up after a failed join is part of it."""
    ANSWERED = "answered"
    """The API server of its kind cluster answers where the node of a KINDMachine would join."""
    LEFT = "left"
    """The container of a KINDMachine and its Node are gone."""


@dataclass(frozen=True)
class Create:
    """Create the kind cluster."""

    name: str
    config: Mapping[str, Any]
    """A kind.x-k8s.io/v1alpha4 document. It sets the node image, because `--image` would override a node's own."""
    image: str | None
    wait_seconds: int
    mark: Mark
    """The mark of every node; each creation has a new attempt."""
    generation: int
    """Generation of the spec that it implements: a change by the user is tried immediately."""
    files: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Files for every node, in the order to write them: absolute path -> content."""
    engine: str = ""
    """Id of the engine that the decision rests on; empty if it has none."""
    ports: PortRange | None = None
    """Where kind runs on another machine than the engine: ports of the engine's machine for those that are left open.
    The executor chooses them, so that a retry is like the attempt before."""
    goal: Goal = Goal.UP

    def is_like(self, other: object) -> bool:
        """Return whether another request creates the same cluster, whatever the attempt."""
        return isinstance(other, Create) and self._asks_for == other._asks_for

    @property
    def makes_balancer(self) -> bool:
        """Whether kind puts a load balancer in front of the control planes, because there are several."""
        roles = [node.get("role") or CONTROL_PLANE for node in self.config.get("nodes") or ()]
        return roles.count(CONTROL_PLANE) > 1

    @property
    def _asks_for(self) -> tuple[Any, ...]:
        nodes = [{**node, "extraMounts": node["extraMounts"][:-1]} for node in self.config.get("nodes") or ()]
        config = {**self.config, "nodes": nodes}
        return self.name, config, self.image, self.wait_seconds, self.generation, self.files


@dataclass(frozen=True)
class Delete:
    """Remove containers of a kind cluster: those with one of the marks, and those named by id.

    The executor lists the containers again immediately before it removes them, and decides by that listing.
    """

    name: str
    goal: Goal
    uids: frozenset[str] = frozenset()
    """Containers whose mark has one of these uids are ours."""
    up_to_attempt: int | None = None
    """Last attempt to remove: a successor of this provider may create later ones. None: remove every attempt."""
    container_ids: frozenset[str] = frozenset()
    """Containers without a mark that are proven to be ours: the load balancer, nodes of an adopted cluster."""
    settle_seconds: float = 0.0
    """How long no container may appear before the removal is complete: the engine may still be adding containers of a
    cancelled creation."""
    is_of_whole: bool = False
    """Whether a complete kind cluster is removed: not if its object has come to retain it."""
    engine: str = ""
    """Id of the engine that must answer: to any other one, the containers are gone already. Empty: it is unknown."""
    is_shared: bool = False
    """Whether someone else may have containers of that name: then nothing is removed by the name alone."""
    takes_balancer: bool = False
    """Whether a load balancer goes too, although it has no mark and the decision does not know its id. Beside nodes of
    someone else it stays."""
    unless_complete: bool = False
    """Whether nothing is removed if a control plane shows that its creation was completed: an object that was restored
    from the middle of it does not know."""
    without_control_plane: bool = False
    """Whether the kind cluster is removed only because no control plane of it is left: if one is listed, it stays."""


@dataclass(frozen=True)
class StartNodes:
    """Start stopped node containers.

    nodes: in the order to start them, because the engine assigns the lowest free address first.
    stop: nodes to stop first, because they run with an address that belongs to another node.
    addresses: previous address of each node that must get the same one again, by name.
    preferred: previous address of each other node: it starts in its turn if that is free, otherwise last.
    container_ids: containers of these nodes at the time of the decision. Another container may have a name later.
    although_stopped: whether the object asked for a stop at that time, which was not possible.
    """

    name: str
    nodes: tuple[str, ...]
    stop: tuple[str, ...] = ()
    addresses: Mapping[str, str] = field(default_factory=dict)
    preferred: Mapping[str, str] = field(default_factory=dict)
    container_ids: frozenset[str] = frozenset()
    although_stopped: bool = False
    goal: Goal = Goal.REPAIRED


@dataclass(frozen=True)
class StopNodes:
    """Stop the running containers of a kind cluster, which keep their data.

    The executor lists them again immediately before, and stops by id what that listing proves to be the object's.
    uids: containers whose mark has one of these uids are ours.
    container_ids: containers without a mark that are proven to be ours: the load balancer, nodes of an adopted cluster.
    control_planes: ids of those that run. Each is asked where its etcd has the data. The spec does not prove that: the
    kind cluster may be adopted, the spec edited since, and not all patches may have been read.
    is_in_pod: whether the engine is a Pod, which is deleted afterwards.
    """

    name: str
    uids: frozenset[str]
    container_ids: frozenset[str] = frozenset()
    control_planes: frozenset[str] = frozenset()
    is_in_pod: bool = False
    goal: Goal = Goal.STOPPED


@dataclass(frozen=True)
class ReadAccess:
    """Read the kubeconfigs of a running kind cluster.

    await_answer: wait for a bounded time until its API server answers, because nodes have just started.
    """

    name: str
    await_answer: bool = False
    goal: Goal = Goal.ACCESS


@dataclass(frozen=True)
class RenewCertificates:
    """Renew the certificates in the control-plane nodes, then read the new kubeconfigs.

    not_after: end of the known client certificate; the new one ends later.
    container_ids: containers of the nodes at the time of the decision.
    """

    name: str
    nodes: tuple[str, ...]
    not_after: datetime
    container_ids: frozenset[str] = frozenset()
    goal: Goal = Goal.RENEWED


@dataclass(frozen=True)
class RenewKubelets:
    """Give another client certificate to each kubelet whose own has expired.

    nodes: those to check, control planes first. authority: the control-plane node that issues the certificates.
    container_ids: containers of the nodes at the time of the decision.
    """

    name: str
    nodes: tuple[str, ...]
    authority: str
    container_ids: frozenset[str] = frozenset()
    goal: Goal = Goal.KUBELETS


@dataclass(frozen=True)
class AskApiServer:
    """Ask the API server of a kind cluster from within its control plane, before a worker joins.

    control_planes, container_ids: as in `AddWorker`.
    """

    name: str
    control_planes: tuple[str, ...]
    container_ids: frozenset[str]
    goal: Goal = Goal.ANSWERED


@dataclass(frozen=True)
class AddWorker:
    """Add one worker to a running kind cluster: run its container, and join its node with kubeadm."""

    name: str
    """Name of the kind cluster."""
    node: str
    """Name of the container, of its host and of the Node."""
    mark: Mark
    """Mark of the kind cluster: the removal of the kind cluster removes this node too."""
    machine: str
    """Id of the KINDMachine, for the label of the container: see MACHINE_ID_ANNOTATION."""
    generation: int
    """Generation of the spec that it implements."""
    image: str | None
    """None: the image of the first control plane."""
    labels: Mapping[str, str]
    """Labels that the kubelet registers the Node with."""
    taints: tuple[str, ...]
    """The same for taints, as `key=value:Effect`."""
    mounts: tuple[Mapping[str, Any], ...]
    """Entries of `extraMounts`, without the mark's."""
    patches: tuple[str, ...]
    """Merge patches (RFC 7386) of kubeadm's JoinConfiguration, each a YAML text."""
    control_planes: tuple[str, ...]
    """Names of the control-plane nodes; the first one, which kind set up first, comes first."""
    container_ids: frozenset[str]
    """Containers of these control planes at the time of the decision. Another container may have a name later."""
    provider_id: str
    """The `spec.providerID` that the kubelet registers the Node with."""
    joined: frozenset[str] = field(default=frozenset(), compare=False)
    """Containers of the machine whose node has joined before. The listing that lacks them may have been old: if this
    attempt fails because one is still there, it stays."""
    engine: str = ""
    """Id of the engine that the decision rests on; empty if it has none."""
    goal: Goal = Goal.JOINED


@dataclass(frozen=True)
class RemoveWorker:
    """Remove the container of one machine, then its Node.

    The executor lists the containers again immediately before it removes one. It removes, by id, only a container of
    this name that has both the label with `machine` and a mark with one of `uids`. If no container has the name, it
    removes the Node alone; if one of someone else has it, nothing.
    """

    name: str
    """Name of the kind cluster."""
    node: str
    """Name of the container and of the Node."""
    machine: str
    """Id of the KINDMachine, in the label of its containers."""
    uids: frozenset[str] = frozenset()
    """Containers whose mark has one of these uids belong to the kind cluster of the object."""
    drain: bool = False
    """Cordon the Node and evict its Pods first, for a bounded time: without Cluster API nothing else does."""
    settle_seconds: float = 0.0
    """How long no container may appear before the removal is complete: the engine may still be adding the one of a
    cancelled join."""
    must_delete_node: bool = False
    """Whether it fails as long as the Node cannot be deleted: without Cluster API nothing else deletes it later."""
    control_planes: frozenset[str] = field(default=frozenset(), compare=False)
    """Containers of the control planes, which need no mark: those of an adopted kind cluster have none."""
    spared: frozenset[str] = frozenset()
    """Containers that stay all the same: those of `AddWorker.joined`."""
    engine: str = ""
    """Id of the engine that must answer: to any other one, the container is gone already. Empty: it is unknown."""
    goal: Goal = Goal.LEFT
    """JOINED if it makes room for the next attempt to join: the outcome of the last attempt then still counts."""


OperationRequest = (
    Create
    | Delete
    | StartNodes
    | StopNodes
    | ReadAccess
    | RenewCertificates
    | RenewKubelets
    | AskApiServer
    | AddWorker
    | RemoveWorker
)
"""What an operation has to do. `capk.manager.executor` chooses the module for each, `capk.manager.records` its lane."""


@dataclass(frozen=True)
class EngineObject:
    """One object of an engine in a Pod, to be created.

    hosts: if it is the Secret, the names and addresses for the certificate in it, which is not yet in the body.
    """

    resource: Resource
    body: Mapping[str, Any] = field(repr=False)
    hosts: tuple[str, ...] = ()


@dataclass(frozen=True)
class EngineRemoval:
    """Objects of an engine in a Pod, to be deleted: those of that name that have the label with the uid.

    cluster_uid: of the KINDCluster. pod_only, service_only: whether the other objects stay, because another Pod or
    Service will follow. pod_uid: of the only Pod that may go, because it has ended; empty if any may.
    """

    namespace: str
    name: str
    cluster_uid: str
    pod_only: bool = False
    service_only: bool = False
    pod_uid: str = ""

    @property
    def is_partial(self) -> bool:
        """Whether something of the engine stays."""
        return self.pod_only or self.service_only


@dataclass(frozen=True)
class Plan:
    """Work for one reconcile of one object; an empty plan changes nothing."""

    refresh: bool = False
    """Take a new inventory of the engine first: the plan reports a problem, and the current inventory may be old."""
    cancel_operation: bool = False
    """End the running operation, with its processes, before anything else."""
    cancel_queued: bool = False
    """Cancel an operation that is queued; a running one continues."""
    cancel_workers: bool = False
    """Cancel every AddWorker of this kind cluster, queued or running. The object waits until they have ended."""
    add_finalizer: bool = False
    annotations: Mapping[str, str | None] = field(default_factory=dict)
    """Annotations to set, or to remove where None; written together with the finalizer."""
    identity: str | None = None
    """Value of the identity annotation, stored before anything else of a complete kind cluster."""
    engine_id: str | None = None
    """Stored with `identity` or `kube_system_uid`; not worth a write of its own."""
    remove_engine: EngineRemoval | None = None
    """Delete the Pod of the engine now; the other objects, and after them the Secrets, when it is proven gone."""
    engine_objects: tuple[EngineObject, ...] = ()
    """Created in this order once the finalizer is stored (C8)."""
    operation: OperationRequest | None = None
    """Started once the finalizer and the claim are stored (C8)."""
    secrets: tuple[Mapping[str, Any], ...] = ()
    """Secrets to write, complete (C13: before the endpoint and the status)."""
    endpoint: tuple[str, int] | None = None
    """Value of spec.controlPlaneEndpoint (C10)."""
    kube_system_uid: str | None = None
    """Stored together with `endpoint`, because both come from a read of the kubeconfig."""
    replicas: int | None = None
    """Value of spec.replicas of a KINDControlPlane that leaves it open (C46)."""
    provider_id: str | None = None
    """Value of spec.providerID of a KINDMachine, stored after the annotations and before the status (C48)."""
    status: Mapping[str, Any] | None = None
    """The whole status, written only if it differs; None: no change."""
    events: tuple[Event, ...] = ()
    """Recorded if the status is written, which then shows the same: beside those of its conditions."""
    delete_secrets: Mapping[str, str] = field(default_factory=dict)
    """Secrets to delete: name -> observed uid."""
    remove_finalizer: bool = False
    requeue_seconds: float | None = None
    """When to reconcile again even without an event."""

    @property
    def has_work(self) -> bool:
        """Whether the plan starts an operation or stores what the kubeconfig holds."""
        return self.operation is not None or bool(self.identity or self.secrets or self.endpoint)
