"""Reasons of work in progress, most of them kind's own steps."""

from typing import Final

from capk.api.names import Reason
from capk.diagnosis.reasons.page import Page

_OVERLOAD: Final = "If it takes long, check whether the machine of the container engine is overloaded."
_HANG: Final = "If it takes long, check whether the container engine hangs: `docker ps`."
_START: Final = (
    "If it takes long, give the machine more cores and memory, and check kubeadm patches, feature gates and runtime "
    "configuration."
)

PAGES: Final = (
    Page(
        Reason.STARTING_ENGINE,
        "The engine's Pod starts.",
        "The KINDEngineClass gives each kind cluster an engine in a Pod. Its node pulls the image and starts Docker.",
        "After a minute, the message has the newest warning among the Events of the Pod.",
        (Reason.ENGINE_CRASHING,),
    ),
    Page(
        Reason.STOPPED,
        "The kind cluster does not run, and its data is kept.",
        "`spec.engine.powerState` is `Stopped`. The node containers are stopped, or the Pod of the engine is deleted.",
        "Set it to `Running`: the containers are started, or the Pod is created again, and the kind cluster continues.",
        (Reason.STOPPING_NODES,),
    ),
    Page(
        Reason.STOPPING_NODES,
        "The provider stops the node containers.",
        "`spec.engine.powerState` is `Stopped`, and containers of the kind cluster still run, or run again.",
        _HANG,
        (Reason.STOPPED,),
    ),
    Page(
        Reason.CREATING,
        "kind has started.",
        "The provider started `kind create cluster`, which has not announced a step yet.",
        _OVERLOAD,
    ),
    Page(
        Reason.ENSURING_NODE_IMAGE,
        "kind makes sure that the node image is available.",
        "kind looks for the image on the engine, and pulls it if it is missing.",
        "If it takes long, pull the image beforehand, or use a registry that is closer.",
    ),
    Page(
        Reason.PREPARING_NODES,
        "kind starts the node containers.",
        "The node image is available.",
        _HANG,
    ),
    Page(
        Reason.PREPARING_NODE,
        "The provider starts the container of a worker.",
        "The kind cluster runs, and a KINDMachine asks for one more node.",
        _HANG,
    ),
    Page(
        Reason.JOINING_NODE,
        "kubeadm joins a worker to the kind cluster.",
        "The container of the worker runs.",
        "If it takes long, check whether the control plane answers, and whether the machine is overloaded.",
    ),
    Page(
        Reason.REMOVING_NODE,
        "The provider removes a worker.",
        "The KINDMachine is being deleted. A worker without a Machine is drained first.",
        "If it takes long, check whether a PodDisruptionBudget holds the Pods of the node.",
    ),
    Page(
        Reason.CONFIGURING_LOAD_BALANCER,
        "kind puts a load balancer in front of several control planes.",
        "The cluster has more than one control-plane node.",
        "If it takes long, check whether the engine is pulling the image of the load balancer.",
    ),
    Page(
        Reason.WRITING_CONFIGURATION,
        "kind writes kubeadm's configuration into the nodes.",
        "The node containers run.",
        _HANG,
    ),
    Page(
        Reason.STARTING_CONTROL_PLANE,
        "kubeadm starts Kubernetes in the first control-plane node.",
        "This step takes most of the time of a creation.",
        _START,
    ),
    Page(
        Reason.INSTALLING_CNI,
        "kind installs the network plugin.",
        "The API server of the workload cluster answers.",
        _OVERLOAD,
    ),
    Page(
        Reason.INSTALLING_STORAGE_CLASS,
        "kind installs the storage class.",
        "The API server of the workload cluster answers.",
        _OVERLOAD,
    ),
    Page(
        Reason.JOINING_CONTROL_PLANE_NODES,
        "Further control-plane nodes join, one after the other.",
        "The cluster has more than one control-plane node.",
        _START,
    ),
    Page(
        Reason.JOINING_WORKERS,
        "Worker nodes join the cluster.",
        "The control plane is up.",
        _START,
    ),
    Page(
        Reason.WAITING_FOR_READY,
        "kind waits until the control-plane nodes are Ready.",
        "A node becomes Ready when its network plugin works.",
        "With `networking.disableDefaultCNI`, install a network plugin: the nodes become Ready then. With "
        "`--wait-for-nodes=0`, kind does not wait.",
    ),
    Page(
        Reason.CLEANING_UP,
        "The provider removes what an interrupted creation left behind.",
        "A creation failed, or the provider was stopped during one. Or the object was restored while the kind cluster "
        "of the earlier one is being removed. The next creation needs a clean start.",
        "Wait. If it takes long, check whether the engine can remove containers.",
        (Reason.DELETION_FAILED,),
    ),
    Page(
        Reason.STARTING_NODES,
        "The provider starts stopped node containers, or waits for the API server after a start.",
        "Containers stopped, for example because the machine or the container engine restarted.",
        "Wait. If it takes long, check whether the containers stay up: `docker ps --all`.",
        (Reason.NODES_STOPPED, Reason.NOT_ANSWERING),
    ),
)
