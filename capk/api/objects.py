"""Read-only views of Kubernetes objects: the fields that matter to us, under descriptive names.

A view wraps the object as the API server sent it and copies nothing. Views make no decisions.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

from capk.api import names


class Key(NamedTuple):
    """Identifies an object in work queues and stores."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


@dataclass(frozen=True)
class Object:
    """Any namespaced object with metadata, spec and status."""

    raw: Mapping[str, Any]

    @property
    def metadata(self) -> Mapping[str, Any]:
        """The metadata as stored."""
        return self.raw.get("metadata") or {}

    @property
    def spec(self) -> Mapping[str, Any]:
        """The spec as stored."""
        return self.raw.get("spec") or {}

    @property
    def status(self) -> Mapping[str, Any]:
        """The status as stored; empty before the first write."""
        return self.raw.get("status") or {}

    @property
    def kind(self) -> str:
        """The kind of the object."""
        return str(self.raw.get("kind", ""))

    @property
    def name(self) -> str:
        """metadata.name."""
        return str(self.metadata.get("name", ""))

    @property
    def namespace(self) -> str:
        """metadata.namespace."""
        return str(self.metadata.get("namespace", ""))

    @property
    def uid(self) -> str:
        """metadata.uid; differs for another object of the same name."""
        return str(self.metadata.get("uid", ""))

    @property
    def key(self) -> Key:
        """The key of the object in queue and store."""
        return Key(self.kind, self.namespace, self.name)

    @property
    def generation(self) -> int:
        """Counts the changes of the spec."""
        return int(self.metadata.get("generation") or 0)

    @property
    def annotations(self) -> Mapping[str, str]:
        """metadata.annotations."""
        return self.metadata.get("annotations") or {}

    @property
    def labels(self) -> Mapping[str, str]:
        """metadata.labels."""
        return self.metadata.get("labels") or {}

    @property
    def finalizers(self) -> Sequence[str]:
        """metadata.finalizers."""
        return self.metadata.get("finalizers") or ()

    @property
    def is_deleting(self) -> bool:
        """Whether its deletion was requested."""
        return bool(self.metadata.get("deletionTimestamp"))

    @property
    def created_at(self) -> datetime:
        """metadata.creationTimestamp."""
        return datetime.fromisoformat(self.metadata["creationTimestamp"])

    @property
    def conditions(self) -> Sequence[Mapping[str, Any]]:
        """status.conditions."""
        return self.status.get("conditions") or ()

    def is_true(self, condition: str) -> bool:
        """Whether that condition exists and is True."""
        return any(seen.get("type") == condition and seen.get("status") == "True" for seen in self.conditions)

    @property
    def is_externally_managed(self) -> bool:
        """Whether another system manages the infrastructure; presence counts (C6)."""
        return names.MANAGED_BY_ANNOTATION in self.annotations

    @property
    def is_paused(self) -> bool:
        """Whether the object itself has the pause annotation; presence counts (C7)."""
        return names.PAUSED_ANNOTATION in self.annotations

    @property
    def is_deleted_for_move(self) -> bool:
        """Whether `clusterctl move` deletes the object here after it created it elsewhere (C25)."""
        return names.DELETE_FOR_MOVE_ANNOTATION in self.annotations

    @property
    def is_left_to_others(self) -> bool:
        """Whether another system manages the object, or `clusterctl move` has created it elsewhere (C6, C25)."""
        return self.is_externally_managed or self.is_deleted_for_move

    @property
    def owner_cluster_reference(self) -> Mapping[str, Any] | None:
        """The owner reference to a Cluster of any version, `controller` or not; not a topology's Secret (C5, C33)."""
        for reference in self.metadata.get("ownerReferences") or ():
            group = str(reference.get("apiVersion", "")).partition("/")[0]
            if reference.get("kind") == "Cluster" and group == names.CORE_GROUP:
                return dict(reference)
        return None

    @property
    def owner_machine_reference(self) -> Mapping[str, Any] | None:
        """The owner reference to a Machine of any version of Cluster API (C52)."""
        for reference in self.metadata.get("ownerReferences") or ():
            group = str(reference.get("apiVersion", "")).partition("/")[0]
            if reference.get("kind") == "Machine" and group == names.CORE_GROUP:
                return dict(reference)
        return None

    @property
    def core_cluster_name(self) -> str | None:
        """Name of the Cluster that Cluster API's label names (C52)."""
        return self.labels.get(names.CORE_CLUSTER_NAME_LABEL) or None

    def owner_reference(self, *, controller: bool) -> dict[str, Any]:
        """Return an owner reference that points at this object."""
        reference = {
            "apiVersion": self.raw["apiVersion"],
            "kind": self.kind,
            "name": self.name,
            "uid": self.uid,
        }
        return reference | {"controller": True, "blockOwnerDeletion": True} if controller else reference


@dataclass(frozen=True)
class OwnerCluster(Object):
    """The few facts of a Cluster that matter to us; works with v1beta1 and v1beta2."""

    @property
    def pauses(self) -> bool:
        """Whether spec.paused stops work on everything that the Cluster owns (C7)."""
        return bool(self.spec.get("paused"))

    @property
    def cluster_network(self) -> Mapping[str, Any]:
        """spec.clusterNetwork: pods, services, serviceDomain, apiServerPort (C22)."""
        return self.spec.get("clusterNetwork") or {}

    @property
    def topology_workers(self) -> int:
        """How many workers the MachineDeployments of spec.topology ask for; one that names no number counts as 1."""
        workers = (self.spec.get("topology") or {}).get("workers") or {}
        return sum(_replicas(one) for one in workers.get("machineDeployments") or ())

    def references(self, field: str, kind: str) -> str | None:
        """Return the name that `infrastructureRef` or `controlPlaneRef` gives, if it is of that kind."""
        reference = self.spec.get(field) or {}
        return str(reference["name"]) if reference.get("kind") == kind and reference.get("name") else None

    @staticmethod
    def project(raw: Mapping[str, Any]) -> dict[str, Any]:
        """Return the part of a Cluster that is worth keeping in memory (K32)."""
        metadata = raw.get("metadata") or {}
        spec = raw.get("spec") or {}
        kept = ("name", "namespace", "uid", "deletionTimestamp", "creationTimestamp", "annotations")
        return {
            "apiVersion": raw.get("apiVersion"),
            "kind": "Cluster",
            "metadata": {field: metadata[field] for field in kept if field in metadata},
            "spec": {
                field: spec[field]
                for field in ("paused", "clusterNetwork", "infrastructureRef", "controlPlaneRef")
                if field in spec
            }
            | _topology(spec),
        }


def _topology(spec: Mapping[str, Any]) -> dict[str, Any]:
    workers = (spec.get("topology") or {}).get("workers") or {}
    replicas = [{"replicas": _replicas(one)} for one in workers.get("machineDeployments") or ()]
    return {"topology": {"workers": {"machineDeployments": replicas}}} if replicas else {}


def _replicas(deployment: Mapping[str, Any]) -> int:
    replicas = deployment.get("replicas")
    return replicas if isinstance(replicas, int) else 1


@dataclass(frozen=True)
class KINDCluster(Object):
    """A KINDCluster."""

    @property
    def claimed_name(self) -> str | None:
        """Name of the kind cluster in the claim, if it is valid.

        `capk.plan.claims` decides whether the claim counts.
        """
        name = self.annotations.get(names.CLAIM_ANNOTATION)
        return name if name and names.CLUSTER_NAME.fullmatch(name) else None

    @property
    def claim_id(self) -> str:
        """The id in the claim (see CLAIM_ID_ANNOTATION); without one, the object's own uid."""
        return self.annotations.get(names.CLAIM_ID_ANNOTATION) or self.uid

    @property
    def attempt(self) -> int:
        """Number of the latest creation; 0 before the first."""
        number = self.annotations.get(names.ATTEMPT_ANNOTATION, "")
        return int(number) if number.isascii() and number.isdecimal() and len(number) < 10 else 0

    @property
    def identity(self) -> str | None:
        """Fingerprint of the claimed kind cluster's certificate authority, or UNREAD; set once it is complete."""
        return self.annotations.get(names.IDENTITY_ANNOTATION) or None

    @property
    def is_being_created(self) -> bool:
        """Whether a creation has begun and is not known to have ended."""
        return self.annotations.get(names.IDENTITY_ANNOTATION) == ""

    @property
    def kube_system_uid(self) -> str | None:
        """The uid that the workload cluster's kube-system namespace had when it was first read."""
        return self.annotations.get(names.KUBE_SYSTEM_ANNOTATION) or None

    @property
    def noted_authority(self) -> str:
        """status.etcd.authority: fingerprint of the certificate authority of the kind cluster that was first read for
        the object; empty if there is none. Only the provider writes it.
        """
        return str((self.status.get("etcd") or {}).get("authority") or "")

    def kube_system_uid_of(self, authority: str | None) -> str | None:
        """Return the same from status.etcd, for the kind cluster with that authority; only the provider writes it."""
        etcd = self.status.get("etcd") or {}
        return etcd.get("kubeSystemUID") or None if authority and etcd.get("authority") == authority else None

    @property
    def engine_class_name(self) -> str:
        """spec.engine.className: the KINDEngineClass that the user chose; empty if none."""
        return str((self.spec.get("engine") or {}).get("className") or "")

    @property
    def engine_resources(self) -> Mapping[str, Any]:
        """spec.engine.resources: what the user wants for an engine in a Pod, by the name of the resource."""
        return (self.spec.get("engine") or {}).get("resources") or {}

    @property
    def is_to_be_stopped(self) -> bool:
        """Whether spec.engine.powerState is Stopped."""
        return (self.spec.get("engine") or {}).get("powerState") == "Stopped"

    @property
    def has_pod_engine(self) -> bool:
        """Whether status.engine.pod names the Pod of the engine, as only the provider writes."""
        return bool((self.status.get("engine") or {}).get("pod"))

    @property
    def used_engine_class(self) -> str:
        """status.engine.className: the KINDEngineClass of the existing kind cluster; only the provider writes it."""
        return str((self.status.get("engine") or {}).get("className") or "")

    @property
    def engine_id(self) -> str | None:
        """Id of the container engine that holds the kind cluster; None if unknown."""
        found = self.annotations.get(names.ENGINE_ANNOTATION, "")
        return found if names.ENGINE_ID.fullmatch(found) else None

    @property
    def adopts(self) -> str | None:
        """The kind cluster that the user allows to take over: "true" for one without marks, otherwise its mark."""
        return self.annotations.get(names.ADOPT_ANNOTATION) or None

    @property
    def has_finalizer(self) -> bool:
        """Whether our finalizer is stored (C8)."""
        return names.KIND_CLUSTER_FINALIZER in self.finalizers

    @property
    def is_provisioned(self) -> bool:
        """status.initialization.provisioned: one way, never false again (C11)."""
        return bool((self.status.get("initialization") or {}).get("provisioned"))

    @property
    def provisioned_name(self) -> str | None:
        """status.clusterName of an object that has had a complete kind cluster; only the provider writes it."""
        name = str(self.status.get("clusterName") or "")
        return name if self.is_provisioned and names.CLUSTER_NAME.fullmatch(name) else None

    @property
    def completed_attempt(self) -> int | None:
        """status.attempt: the creation that made the kind cluster; only the provider writes it."""
        attempt = self.status.get("attempt")
        return attempt if isinstance(attempt, int) else None

    @property
    def endpoint(self) -> tuple[str, int] | None:
        """spec.controlPlaneEndpoint, when both parts are set (C10)."""
        endpoint = self.spec.get("controlPlaneEndpoint") or {}
        host, port = endpoint.get("host"), endpoint.get("port")
        return (str(host), int(port)) if host and port else None

    @property
    def retains(self) -> bool:
        """Whether the kind cluster stays when the object is deleted."""
        return self.spec.get("deletionPolicy") == "Retain"

    @property
    def recreates(self) -> bool:
        """Whether the provider creates a new kind cluster after the old one was deleted elsewhere."""
        return self.spec.get("recreatePolicy") == "Always"


@dataclass(frozen=True)
class KINDControlPlane(Object):
    """A KINDControlPlane."""

    @property
    def version(self) -> str | None:
        """spec.version: decides the node image of the kind cluster."""
        return self.spec.get("version") or None

    @property
    def replicas(self) -> int | None:
        """spec.replicas: how many control-plane nodes the kind cluster gets; None where it is left open (C46)."""
        return self.spec.get("replicas")

    @property
    def is_initialized(self) -> bool:
        """status.initialization.controlPlaneInitialized: one way (C41)."""
        return bool((self.status.get("initialization") or {}).get("controlPlaneInitialized"))


@dataclass(frozen=True)
class OwnerMachine(Object):
    """The few facts of a Machine that matter to us; works with v1beta1 and v1beta2."""

    @property
    def version(self) -> str | None:
        """spec.version: the Kubernetes version that the node should have."""
        return self.spec.get("version") or None

    @property
    def cluster_name(self) -> str | None:
        """spec.clusterName: the Cluster that the Machine belongs to; it never changes."""
        return self.spec.get("clusterName") or None

    def has_as_infrastructure(self, machine: Object) -> bool:
        """Return whether the Machine names this object; a Machine without a name of its own contradicts nothing."""
        name = (self.spec.get("infrastructureRef") or {}).get("name")
        return name in (None, "", machine.name)


_MACHINE_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")


@dataclass(frozen=True)
class KINDMachine(Object):
    """A KINDMachine."""

    @property
    def has_finalizer(self) -> bool:
        """Whether our finalizer is stored (C53)."""
        return names.KIND_MACHINE_FINALIZER in self.finalizers

    @property
    def stored_machine_id(self) -> str | None:
        """The machine id in the annotation, whether or not it is a copy: see MACHINE_ID_ANNOTATION.

        None for a value that is not the form of a uid: an edit must not reach the container's label.
        """
        stored = str(self.annotations.get(names.MACHINE_ID_ANNOTATION) or "")
        return stored if _MACHINE_ID.fullmatch(stored) else None

    @property
    def joined_containers(self) -> frozenset[str]:
        """Ids of the container whose node has joined, by annotation and status: one is enough after a move."""
        stored = (self.annotations.get(names.JOINED_CONTAINER_ANNOTATION), self.status.get("containerID"))
        return frozenset(str(container) for container in stored if container)

    @property
    def is_provisioned(self) -> bool:
        """status.initialization.provisioned: one way, never false again (C49)."""
        return bool((self.status.get("initialization") or {}).get("provisioned"))

    @property
    def provider_id(self) -> str | None:
        """spec.providerID, equal to the Node's (C48)."""
        return self.spec.get("providerID") or None

    @property
    def kindcluster_name(self) -> str | None:
        """spec.clusterName: the KINDCluster of a machine that belongs to no Machine."""
        return self.spec.get("clusterName") or None

    @property
    def is_standalone(self) -> bool:
        """Whether it names its KINDCluster itself and no Machine owns it."""
        return self.kindcluster_name is not None and self.owner_machine_reference is None

    @property
    def image(self) -> str | None:
        """spec.image: None for the image of the first control plane."""
        return self.spec.get("image") or None

    @property
    def taints(self) -> tuple[str, ...]:
        """spec.taints as `key=value:Effect`; the value may be empty."""
        return tuple(
            f"{taint['key']}={taint.get('value') or ''}:{taint['effect']}" for taint in self.spec.get("taints") or ()
        )


@dataclass(frozen=True)
class KINDConfig(Object):
    """A KINDConfig."""


@dataclass(frozen=True)
class SecretFacts:
    """The facts that we keep of a Secret of ours, never its data."""

    name: str
    digest: str
    """Digest of the current data."""
    metadata: Mapping[str, Any]
    """uid and resourceVersion; labels, annotations and ownerReferences that the provider writes, and other owners."""
    is_whole: bool = True
    """Whether `metadata` has all its ownerReferences: someone may have added too many, or too large ones."""
    authority: str = ""
    """The certificate authority that it names, in base64; public."""
