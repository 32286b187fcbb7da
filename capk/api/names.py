"""Groups, kinds, labels, annotations, condition types and reasons: the words of the API.

Conditions and reasons are a public interface; `capk.diagnosis.reasons` explains each reason. This module imports
nothing else of the package.
"""

import re
from enum import StrEnum
from typing import Final, NamedTuple

INFRASTRUCTURE_GROUP: Final = "infrastructure.cluster.x-k8s.io"
CONTROL_PLANE_GROUP: Final = "controlplane.cluster.x-k8s.io"
CORE_GROUP: Final = "cluster.x-k8s.io"
BOOTSTRAP_GROUP: Final = "bootstrap.cluster.x-k8s.io"
VERSION: Final = "v1alpha1"
FIELD_MANAGER: Final = "capk"
"""Field manager of every write (K23)."""


class Resource(NamedTuple):
    """What the API server calls a kind of object."""

    group: str
    version: str
    plural: str
    kind: str

    @property
    def api_version(self) -> str:
        """The `apiVersion` of its objects."""
        return f"{self.group}/{self.version}" if self.group else self.version


KIND_CLUSTERS: Final = Resource(INFRASTRUCTURE_GROUP, VERSION, "kindclusters", "KINDCluster")
KIND_CLUSTER_TEMPLATES: Final = Resource(INFRASTRUCTURE_GROUP, VERSION, "kindclustertemplates", "KINDClusterTemplate")
KIND_CONTROL_PLANES: Final = Resource(CONTROL_PLANE_GROUP, VERSION, "kindcontrolplanes", "KINDControlPlane")
KIND_CONTROL_PLANE_TEMPLATES: Final = Resource(
    CONTROL_PLANE_GROUP, VERSION, "kindcontrolplanetemplates", "KINDControlPlaneTemplate"
)
KIND_MACHINES: Final = Resource(INFRASTRUCTURE_GROUP, VERSION, "kindmachines", "KINDMachine")
KIND_MACHINE_TEMPLATES: Final = Resource(INFRASTRUCTURE_GROUP, VERSION, "kindmachinetemplates", "KINDMachineTemplate")
KIND_CONFIGS: Final = Resource(BOOTSTRAP_GROUP, VERSION, "kindconfigs", "KINDConfig")
KIND_CONFIG_TEMPLATES: Final = Resource(BOOTSTRAP_GROUP, VERSION, "kindconfigtemplates", "KINDConfigTemplate")
KIND_ENGINE_CLASSES: Final = Resource(INFRASTRUCTURE_GROUP, VERSION, "kindengineclasses", "KINDEngineClass")
"""Of the whole management cluster, not of a namespace."""
RECONCILED: Final = (KIND_CLUSTERS, KIND_CONTROL_PLANES, KIND_MACHINES, KIND_CONFIGS)
"""The resources that the provider reconciles. `capk.manager.controllers` has a class for each."""
FILTERED: Final = (KIND_ENGINE_CLASSES, *RECONCILED)
"""The resources whose objects `--watch-filter` selects: two providers would each write their status."""
CLUSTERS: Final = Resource(CORE_GROUP, "v1beta2", "clusters", "Cluster")
MACHINES: Final = Resource(CORE_GROUP, "v1beta2", "machines", "Machine")
SECRETS: Final = Resource("", "v1", "secrets", "Secret")
CONFIG_MAPS: Final = Resource("", "v1", "configmaps", "ConfigMap")
EVENTS: Final = Resource("", "v1", "events", "Event")
PODS: Final = Resource("", "v1", "pods", "Pod")
SERVICES: Final = Resource("", "v1", "services", "Service")
VOLUME_CLAIMS: Final = Resource("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim")
NAMESPACES: Final = Resource("", "v1", "namespaces", "Namespace")
CLUSTER_WIDE: Final = (KIND_ENGINE_CLASSES, NAMESPACES)
"""The resources without a namespace that the provider watches, unless it manages one namespace only."""


def clusters(version: str) -> Resource:
    """Return Cluster API's Cluster in the version that the server prefers: old cores serve v1beta1 only (C12)."""
    return CLUSTERS._replace(version=version)


def machines(version: str) -> Resource:
    """Return Cluster API's Machine in the version that the server prefers, as for `clusters`."""
    return MACHINES._replace(version=version)


KIND_CLUSTER_FINALIZER: Final = "kindcluster.infrastructure.cluster.x-k8s.io"
"""Set before the first external resource exists, removed when none is left (C8, C23)."""
KIND_MACHINE_FINALIZER: Final = "kindmachine.infrastructure.cluster.x-k8s.io"
"""Set before the container of a worker exists, removed when it is gone (C53)."""

PREFIX: Final = "kind.infrastructure.cluster.x-k8s.io"

CLUSTER_NAME: Final = re.compile(r"(?=.{1,63}\Z)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
"""What kind, the container engine and Kubernetes accept as the name of a kind cluster; it can never be a path."""

CLAIM_ANNOTATION: Final = f"{PREFIX}/claim"
"""Name of the kind cluster that this object has claimed: written, with the finalizer, before a creation starts.

It survives a restart, a lost status and `clusterctl move` (C21, C27). Anyone who may edit the object may edit it, so it
only helps to find a kind cluster: the marks on the containers prove whose it is."""
CLAIM_ID_ANNOTATION: Final = f"{PREFIX}/claim-id"
"""The uid that the object had when it claimed, which its node containers carry in their mark.
For an adopted kind cluster: the id of its control plane's container, or the uid in the mark of its containers.

`clusterctl move` gives an object a new uid; the claim id stays the same."""
ATTEMPT_ANNOTATION: Final = f"{PREFIX}/attempt"
"""Number of the latest creation for this object, written with the claim; the second part of the mark.

A provider that was replaced during a creation removes only the containers that it made, never its successor's."""
CLAIM_MOUNT_FOLDER: Final = "/etc/capk/claim/"
"""A node container of ours has `/dev/null` mounted below this folder, under its mark.

kind cannot set container labels, but the engine shows mounts too, from a container's first instant."""
IDENTITY_ANNOTATION: Final = f"{PREFIX}/identity"
"""Fingerprint of the claimed kind cluster's certificate authority, written as soon as a creation is complete.

Empty during a creation, while the cluster is incomplete. `unread` after a creation whose kubeconfig could not be read
yet."""
UNREAD: Final = "unread"
KUBE_SYSTEM_ANNOTATION: Final = f"{PREFIX}/kube-system-uid"
"""The uid of the workload cluster's kube-system namespace: another one means that its etcd came back empty."""
ENGINE_ANNOTATION: Final = f"{PREFIX}/engine"
"""Id of the container engine that holds the claimed kind cluster, if the engine has one; written with the claim.

It distinguishes another engine behind the same command (a context, DOCKER_HOST) from one that has lost the cluster.
The user removes the annotation if that engine is gone for good."""
ENGINE_CLASS_ANNOTATION: Final = f"{PREFIX}/engine-class"
"""Name of the KINDEngineClass whose engine holds the claimed kind cluster; written with the claim.

It counts for objects without spec.engine: another class may be the default one later."""
DEFAULT_CLASS_ANNOTATION: Final = f"{PREFIX}/is-default-class"
"""On a KINDEngineClass, set by the administrator to "true": KINDClusters without spec.engine use it."""
ENGINE_LABEL: Final = f"{PREFIX}/engine"
"""On every object of an engine in a Pod: the engine's name, by which its Service selects its Pod."""
ENGINE_CLUSTER_LABEL: Final = f"{PREFIX}/cluster-uid"
"""On the same objects: the uid of the KINDCluster that the engine belongs to. It decides whose an object is."""
ENGINE_CLUSTER_NAMESPACE_ANNOTATION: Final = f"{PREFIX}/cluster-namespace"
ENGINE_CLUSTER_NAME_ANNOTATION: Final = f"{PREFIX}/cluster-name"
"""On the same objects: whose engine it is, in words that people know. A name can be too long for a label."""
MANAGED_BY_LABEL: Final = "app.kubernetes.io/managed-by"
MANAGED_BY: Final = "capkind"
"""On every object of an engine in a Pod."""
ENGINE_ID: Final = re.compile(r"[A-Za-z0-9:_.-]{1,128}")
ADOPT_ANNOTATION: Final = f"{PREFIX}/adopt"
"""Set by the user to "true": take over the existing kind cluster of that name, deletion included.

A kind cluster with the mark of another object is taken over only if the value is that mark."""
MACHINE_ID_ANNOTATION: Final = f"{PREFIX}/machine-id"
"""On a KINDMachine: the uid that it had when its container was first requested, written with the finalizer.

`clusterctl move` gives an object a new uid; the machine id stays the same. Anyone who may edit the object may edit it,
so a container is removed only if it also has the mark of the machine's own kind cluster."""
JOINED_CONTAINER_ANNOTATION: Final = f"{PREFIX}/joined-container"
"""On a KINDMachine: id of the container whose node has joined, written as soon as the join is complete.

A container of the machine with another id is the remains of an interrupted join."""
MACHINE_CONTAINER_LABEL: Final = f"{PREFIX}/machine"
"""Label on the container of a worker that was added to a running kind cluster: the machine id. Unlike kind, which
creates all other nodes, the provider itself can set labels."""
DIGEST_ANNOTATION: Final = f"{PREFIX}/digest"
"""On every Secret of ours: the digest of the data that we wrote, which reveals edits."""
SECRET_CLUSTER_LABEL: Final = f"{PREFIX}/cluster-name"
"""On every Secret of ours: the kind cluster's name. Only Secrets with this label are watched."""

CORE_CLUSTER_NAME_LABEL: Final = "cluster.x-k8s.io/cluster-name"
WATCH_FILTER_LABEL: Final = "cluster.x-k8s.io/watch-filter"
PAUSED_ANNOTATION: Final = "cluster.x-k8s.io/paused"
MANAGED_BY_ANNOTATION: Final = "cluster.x-k8s.io/managed-by"
DELETE_FOR_MOVE_ANNOTATION: Final = "clusterctl.cluster.x-k8s.io/delete-for-move"
BLOCK_MOVE_ANNOTATION: Final = "clusterctl.cluster.x-k8s.io/block-move"
CLONED_FROM_ANNOTATION: Final = "cluster.x-k8s.io/cloned-from-name"
"""Set by Cluster API on what it creates from a template: the template's name."""
EXCLUDE_DRAINING_ANNOTATION: Final = "machine.cluster.x-k8s.io/exclude-node-draining"
"""Set by the user: a node is removed without a drain."""
HELD_BY_CREATION: Final = "creating"
"""Value of the block-move annotation that is ours to remove (C30)."""
HELD_BY_ENGINE: Final = "engine"
"""Value of the block-move annotation of an object whose engine is a Pod: it stays in its management cluster."""
SECRET_TYPE: Final = "cluster.x-k8s.io/secret"


class Condition(StrEnum):
    """Condition types of our objects; positive polarity unless stated otherwise."""

    READY = "Ready"
    """KINDCluster: summary of the others; Cluster API mirrors it as InfrastructureReady (C17)."""
    CLUSTER_CREATED = "ClusterCreated"
    """KINDCluster: the kind cluster was created completely; during the creation, the reason is kind's step."""
    ENGINE_AVAILABLE = "EngineAvailable"
    """KINDCluster, KINDMachine, KINDEngineClass: the kind command and the container engine behind it answer."""
    NODES_RUNNING = "NodesRunning"
    """KINDCluster: the containers of all nodes run."""
    KUBECONFIG_AVAILABLE = "KubeconfigAvailable"
    """KINDCluster: the kubeconfig Secrets hold what kind returns."""
    API_SERVER_AVAILABLE = "APIServerAvailable"
    """KINDCluster: the API server of the workload cluster answers; Unknown if the provider cannot reach it."""
    REGISTRIES_CONFIGURED = "RegistriesConfigured"
    """KINDCluster: every node has the mirrors of spec.registries; absent without mirrors. Not part of Ready."""
    PAUSED = "Paused"
    """Both kinds, negative polarity: the provider does nothing for this object (C7)."""
    DELETING = "Deleting"
    """Both kinds, negative polarity: the object is being deleted (C23)."""
    AVAILABLE = "Available"
    """KINDControlPlane: the API server of the workload cluster can be used (C42)."""
    WORKER_JOINED = "WorkerJoined"
    """KINDMachine: its container runs and kubeadm has joined it to the kind cluster; the reason is the step."""


class Reason(StrEnum):
    """Reasons of conditions; `capk.diagnosis.reasons` explains each one for people."""

    READY = "Ready"
    NOT_READY = "NotReady"
    AVAILABLE = "Available"
    NOT_AVAILABLE = "NotAvailable"
    PROVISIONED = "Provisioned"
    NOT_PROVISIONED = "NotProvisioned"
    PAUSED = "Paused"
    NOT_PAUSED = "NotPaused"
    DELETING = "Deleting"
    NOT_DELETING = "NotDeleting"
    RUNNING = "Running"
    ANSWERING = "Answering"
    NOT_ANSWERING = "NotAnswering"
    """The API server of the workload cluster has answered before and does not answer now."""
    NOT_REACHABLE = "NotReachable"
    """The provider has never reached the API server; Ready reflects only what the engine reports."""

    WAITING_FOR_CLUSTER = "WaitingForCluster"
    """No owner Cluster yet (C5). Create a Cluster whose infrastructureRef names the object, or set spec.standalone."""
    WAITING_FOR_CONTROL_PLANE = "WaitingForControlPlane"
    """The Cluster names a KINDControlPlane that does not exist yet, so the Kubernetes version is not known."""
    WAITING_FOR_INFRASTRUCTURE = "WaitingForInfrastructure"
    """KINDControlPlane: the KINDCluster has not brought the kind cluster up yet."""
    WAITING_FOR_MACHINE = "WaitingForMachine"
    """KINDMachine: no Machine owns it. A MachineDeployment creates both; a standalone one sets spec.clusterName."""
    WAITING_FOR_CONFIG_MAP = "WaitingForConfigMap"
    """A ConfigMap with the certificates of a mirror does not exist yet, or has no key `ca.crt`. Create it."""
    QUEUED = "Queued"
    """The creation is queued, because the maximum number of creations is running (--max-concurrent-creates)."""

    CREATING = "Creating"
    """kind was started and has not announced a step yet."""
    ENSURING_NODE_IMAGE = "EnsuringNodeImage"
    PREPARING_NODES = "PreparingNodes"
    CONFIGURING_LOAD_BALANCER = "ConfiguringLoadBalancer"
    WRITING_CONFIGURATION = "WritingConfiguration"
    STARTING_CONTROL_PLANE = "StartingControlPlane"
    INSTALLING_CNI = "InstallingCNI"
    INSTALLING_STORAGE_CLASS = "InstallingStorageClass"
    JOINING_CONTROL_PLANE_NODES = "JoiningControlPlaneNodes"
    JOINING_WORKERS = "JoiningWorkers"
    WAITING_FOR_READY = "WaitingForReady"
    CLEANING_UP = "CleaningUp"
    """A creation was interrupted; the provider removes its remains before the next one."""
    PREPARING_NODE = "PreparingNode"
    """KINDMachine: the container of the worker is created and started."""
    JOINING_NODE = "JoiningNode"
    """KINDMachine: kubeadm joins the worker to the kind cluster."""
    JOINED = "Joined"
    REMOVING_NODE = "RemovingNode"
    """KINDMachine: its container and its Node are removed; a standalone worker is drained first."""
    CREATED = "Created"
    CONFIGURED = "Configured"
    """Every node has the mirrors of spec.registries."""
    NOT_CONFIGURED = "NotConfigured"
    """The mirrors of spec.registries could not be written into some nodes, which pull from the registries itself."""
    STARTING_NODES = "StartingNodes"
    """The provider restarts node containers that had stopped (a reboot, a restart of the engine)."""
    NODES_STOPPED = "NodesStopped"
    """Node containers are stopped and could not be started again yet."""

    MISSING = "Missing"
    """The kind cluster was deleted behind the provider's back; spec.recreatePolicy Always creates a new one."""
    DATA_LOST = "DataLost"
    """The workload cluster's etcd came back empty; spec.recreatePolicy Always creates a new cluster."""
    CREATION_FAILED = "CreationFailed"
    """kind could not create the cluster, for a cause that has no reason of its own."""
    DELETION_FAILED = "DeletionFailed"
    NAME_CONFLICT = "NameConflict"
    """A kind cluster, or an older object, has this name already. Choose another spec.clusterName or free the name."""
    IMAGE_NOT_FOUND = "ImageNotFound"
    """The engine does not have the node image and cannot pull it."""
    PORT_CONFLICT = "PortConflict"
    """A host port that the cluster needs is taken."""
    ENGINE_UNREACHABLE = "EngineUnreachable"
    """The container engine does not answer; the provider continues when it does."""
    ENGINE_UNSUPPORTED = "EngineUnsupported"
    """The installed release of kind cannot read what this version of the container engine prints."""
    ENGINE_CLASS_NOT_FOUND = "EngineClassNotFound"
    """The KINDEngineClass that the object needs does not exist, or cannot be used yet. Create or correct it."""
    ENGINE_NOT_ALLOWED = "EngineNotAllowed"
    """The KINDEngineClass does not allow another kind cluster of this namespace."""
    ENGINE_UNSCHEDULABLE = "EngineUnschedulable"
    """No node of the management cluster has room for the engine's Pod; the message is the scheduler's."""
    ENGINE_REFUSED = "EngineRefused"
    """The API server refuses an object of the engine: a quota, Pod Security, a policy. The provider tries again."""
    ENGINE_IMAGE_NOT_FOUND = "EngineImageNotFound"
    """The image of the engine's Pod cannot be pulled. Ask the administrator to correct the KINDEngineClass."""
    STARTING_ENGINE = "StartingEngine"
    """The engine's Pod starts; the kind cluster is created when its Docker daemon answers."""
    ENGINE_CRASHING = "EngineCrashing"
    """The engine's Pod crashes again and again; the message has the command that shows its output."""
    STOPPED = "Stopped"
    """spec.engine.powerState is Stopped: the node containers, or the engine's Pod, do not run, and their data is kept.
    """
    STOPPING_NODES = "StoppingNodes"
    ENGINE_CHANGED = "EngineChanged"
    """A different container engine answers; the provider waits for the one that holds the kind cluster."""
    KIND_COMMAND_MISSING = "KindCommandMissing"
    """The kind command cannot be started where the provider runs, or is not kind."""
    OUT_OF_DISK = "OutOfDisk"
    OUT_OF_MEMORY = "OutOfMemory"
    INOTIFY_LIMIT = "InotifyLimit"
    """The kernel's inotify limits are too low for one more node."""
    KUBEADM_FAILED = "KubeadmFailed"
    """kubeadm could not start Kubernetes in a node, mostly because of a bad patch or feature gate."""
    NODE_NAME_NOT_RESOLVED = "NodeNameNotResolved"
    """The engine's network does not resolve the names of node containers, so nodes cannot join the control plane."""
    TIMEOUT = "Timeout"
    INVALID_CONFIG = "InvalidConfig"
    """kind rejects the configuration, or it contradicts the owner Cluster."""
    COMMAND_FAILED = "CommandFailed"
    """The command failed for an unknown cause; the message has the end of its output."""
    KUBECONFIG_UNAVAILABLE = "KubeconfigUnavailable"
    CERTIFICATE_EXPIRED = "CertificateExpired"
    """The client certificate of the kubeconfigs has expired and could not be renewed; the message gives the remedy."""
    WRITE_REFUSED = "WriteRefused"
    """The API server of the management cluster rejects a write of the provider; the message quotes it."""
    NOT_RECONCILED = "NotReconciled"
    """Reconciles of the object keep failing, for example because the API server refuses to hand out its Cluster."""
    CONTESTED = "Contested"
    """Another writer changes a Secret each time the provider has written it."""
    ADDRESS_TAKEN = "AddressTaken"
    """Another container has the address that a stopped control-plane node needs to find its etcd again."""
    UNSUPPORTED_VERSION_CHANGE = "UnsupportedVersionChange"
    """spec.version differs from the running version, which a kind cluster cannot change. Create a new Cluster."""
    ENGINE_ANSWERS = "EngineAnswers"
    UNKNOWN = "Unknown"
