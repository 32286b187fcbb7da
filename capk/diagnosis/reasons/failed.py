"""Reasons of failures that concern one object: its spec, its nodes, its Secrets."""

from typing import Final

from capk.api.names import Reason
from capk.diagnosis.reasons.page import Page

_ADOPT: Final = "`kind.infrastructure.cluster.x-k8s.io/adopt`"

PAGES: Final = (
    Page(
        Reason.NAME_CONFLICT,
        "The name is taken.",
        "A kind cluster, a container, a Secret or an older KINDCluster already has it.",
        f"Choose another `spec.clusterName`, or free the name. To take over the existing kind cluster, set the "
        f"annotation {_ADOPT} to the value that the message gives. For a worker, delete its Machine: the next one gets "
        "another name.",
    ),
    Page(
        Reason.MISSING,
        "The kind cluster, the last of its control planes, its load balancer, or the container of a worker is gone.",
        "It was deleted, but not through the object: for example with `kind delete cluster`, or with `docker rm`. "
        "Without a control plane, the data is lost too. `kubectl get kindclusters` still shows the version and the "
        "endpoint that the kind cluster had.",
        "For a kind cluster, delete the object, or set `spec.recreatePolicy: Always` to get a new, empty cluster. For "
        "a worker, delete its Machine, as a MachineHealthCheck does: a MachineDeployment creates a new one.",
    ),
    Page(
        Reason.DATA_LOST,
        "The kind cluster runs, but it has lost its data.",
        "Its etcd came back empty, for example because its volume was removed: `kube-system` has another uid, or does "
        "not exist. The provider notices it within a health period, also if it happened while no provider ran.",
        "Delete the object, or set `spec.recreatePolicy: Always`, which replaces the cluster. "
        "If the message names an annotation and the data is there, remove the annotation.",
    ),
    Page(
        Reason.IMAGE_NOT_FOUND,
        "The engine does not have the node image and cannot pull it.",
        "The image does not exist or needs a login, or the engine cannot reach the registry.",
        "Correct `spec.image` or `spec.kubernetesVersion`, or load the image into the engine with `docker pull` or "
        "`docker load`.",
    ),
    Page(
        Reason.PORT_CONFLICT,
        "A host port cannot be published.",
        "Another program or cluster uses it, or the engine is not allowed to publish a port that low.",
        "Free the port, or choose another: `nodes[].extraPortMappings[].hostPort`, `networking.apiServerPort`.",
    ),
    Page(
        Reason.ADDRESS_TAKEN,
        "A stopped control-plane node cannot be started at its former address.",
        "With several control planes, a node finds its etcd only at the address that it had. Another container has "
        "that address now.",
        "Stop or remove the container that the message names. The nodes start as soon as the address is free.",
    ),
    Page(
        Reason.INVALID_CONFIG,
        "The configuration cannot work.",
        "kind rejects it, it contradicts the Cluster, or it mounts a path outside `--allowed-host-paths`.",
        "Correct the field that the message names.",
    ),
    Page(
        Reason.KUBEADM_FAILED,
        "Kubernetes did not start in a node.",
        "Mostly a patch, a feature gate or an image that does not fit; sometimes a machine that is short of memory or "
        "time.",
        "Check kubeadm patches, containerd patches, feature gates, runtime configuration and image, then memory.",
        (Reason.OUT_OF_MEMORY,),
    ),
    Page(
        Reason.TIMEOUT,
        "kind did not finish in time and was stopped.",
        "The machine is overloaded, the image is pulled slowly, or the container engine hangs.",
        "Check the load of the machine, or allow more time with `--create-timeout` or `--delete-timeout`.",
    ),
    Page(
        Reason.COMMAND_FAILED,
        "A command failed.",
        "The provider does not recognise the cause.",
        "Read the end of its output in the message, and run the command by hand.",
    ),
    Page(
        Reason.CREATION_FAILED,
        "kind could not create the cluster.",
        "The provider does not recognise the cause, or a node stopped during the creation.",
        "Read the logs that `status.logs` names. Run the command that the message gives.",
    ),
    Page(
        Reason.DELETION_FAILED,
        "The kind cluster could not be deleted.",
        "The container engine did not remove all containers. The provider tries again.",
        "Check whether the engine can stop and remove containers, and restart it if not.",
    ),
    Page(
        Reason.NODES_STOPPED,
        "Node containers are stopped.",
        "The provider could not start them.",
        "Start one by hand with `docker start`, and read what the engine prints.",
    ),
    Page(
        Reason.NOT_ANSWERING,
        "The API server of the workload cluster no longer answers.",
        "It has answered before, and the node containers still run: kube-apiserver or etcd has failed, or the network "
        "has. Or the object was moved to a provider that cannot reach it.",
        "Read the logs of kube-apiserver and etcd in the control-plane node, and check the free space on the engine's "
        "disk. After a move, let the provider reach the address. If the message names the certificates of kubelets, "
        "renew them by hand (see below). `Ready` becomes True again by itself. A KINDMachine whose kind cluster has "
        "never answered the provider waits with this reason too.",
        (Reason.OUT_OF_DISK, Reason.NOT_REACHABLE),
    ),
    Page(
        Reason.KUBECONFIG_UNAVAILABLE,
        "There is no usable kubeconfig.",
        "kind could not read it from the control-plane node, its output cannot be used, or the API server does not "
        "accept its login.",
        "Follow the message, which names the cause.",
        (Reason.NODES_STOPPED,),
    ),
    Page(
        Reason.CERTIFICATE_EXPIRED,
        "The client certificate of the kubeconfigs has expired.",
        "The provider renews the certificates of a kind cluster when a tenth of their lifetime is left. That failed, "
        "or the provider was not running.",
        "Run the command that the message gives in each control-plane node.",
    ),
    Page(
        Reason.CONTESTED,
        "A kubeconfig Secret, or in an Event the object itself, is changed each time the provider writes it.",
        "Another writer, such as an admission webhook or a second provider, changes it.",
        "Exempt the Secret that the message names, or follow the message of the Event. The provider writes again with "
        "exponential back-off.",
    ),
    Page(
        Reason.WRITE_REFUSED,
        "The management cluster's API server refuses a write of the provider.",
        "For example a quota, an admission webhook or missing rights. The message quotes the server. In "
        "`Deleting`, the kind cluster is already gone, and only a Secret or the finalizer is left.",
        "Change the quota, the policy or the role; `capk doctor` checks the rights. The provider tries again.",
    ),
    Page(
        Reason.NOT_RECONCILED,
        "The provider can do nothing for the object, so nothing newer is known of it.",
        "The management cluster's API server refuses to hand out what a decision needs, such as the owner Cluster, or "
        "does not take the status. The message quotes it. If not even the status can be written, an Event has it.",
        "Correct the role, the policy or the API server; `capk doctor` checks the rights. The provider tries again, at "
        "least every five minutes.",
    ),
    Page(
        Reason.UNSUPPORTED_VERSION_CHANGE,
        "`spec.version` differs from the version that runs.",
        "A kind cluster cannot change its Kubernetes version.",
        "Create a new Cluster with the new version, move the workloads, and delete this one. For a worker, set the "
        "version of its MachineDeployment to the one that runs.",
    ),
    Page(
        Reason.NOT_CONFIGURED,
        "Some nodes lack the mirrors of `spec.registries`.",
        "The provider could not write them into these nodes. The kind cluster works, and these nodes pull from the "
        "registries themselves.",
        "Delete the object and create it again. The message names the nodes.",
    ),
)
