"""What shall happen: the outcome of a decision, carried out by `capk.manager.reconcile` in the order of the fields."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Create:
    """Create the kind cluster."""

    name: str
    config: Mapping[str, Any]
    """A kind.x-k8s.io/v1alpha4 document; the node image stands in it, as `--image` would override a node's own."""
    image: str | None
    wait_seconds: int
    claim_id: str
    """What marks the nodes as this object's."""
    generation: int
    """Generation of the spec it was made from: a fix by the user is tried at once."""


@dataclass(frozen=True)
class Delete:
    """Delete the kind cluster, or what an interrupted creation left of it."""

    name: str


@dataclass(frozen=True)
class StartNodes:
    """Start node containers that have stopped, and wait until the kind cluster answers again.

    nodes: none where they have started by themselves.
    """

    name: str
    nodes: tuple[str, ...]


@dataclass(frozen=True)
class ReadAccess:
    """Read the kubeconfigs of a kind cluster that is up."""

    name: str


Request = Create | Delete | StartNodes | ReadAccess


@dataclass(frozen=True)
class Plan:
    """One round of work for one object; an empty plan leaves everything as it is."""

    look_again: bool = False
    """It would alarm a person, and rests on what the engine had some seconds ago: ask the engine before all else."""
    cancel_operation: bool = False
    """End the running operation, with its processes, before anything else."""
    add_finalizer: bool = False
    annotations: Mapping[str, str | None] = field(default_factory=dict)
    """Annotations to set, or to remove where None; written together with the finalizer."""
    operation: Request | None = None
    """To be started once the finalizer and the claim are stored (C8)."""
    secrets: tuple[Mapping[str, Any], ...] = ()
    """Secrets to write, whole (C13: before the endpoint and the status)."""
    delete_secrets: tuple[str, ...] = ()
    endpoint: tuple[str, int] | None = None
    """To be stored in spec.controlPlaneEndpoint, together with `identity` (C10)."""
    identity: str | None = None
    status: Mapping[str, Any] | None = None
    """The whole status; None leaves it alone. Written only where it differs."""
    remove_finalizer: bool = False
    requeue_seconds: float | None = None
    """Look again after that time even if nothing happens."""
