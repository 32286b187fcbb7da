"""Reasons of failures of the container engine, its machine or the kind command, which concern every object."""

from typing import Final

from capk.api.names import Reason
from capk.diagnosis import inotify
from capk.diagnosis.reasons.page import Page

PAGES: Final = (
    Page(
        Reason.ENGINE_UNREACHABLE,
        "The container engine does not answer.",
        "It is not running, it hangs, or the provider may not use its socket. Or the Secret of a KINDEngineClass does "
        "not hold the keys to its engine. `Ready` of a KINDMachine whose node has joined is Unknown meanwhile, because "
        "the node may run.",
        "Start the engine. Check `DOCKER_HOST`, the docker context, and the permissions of the socket; for the engine "
        "of a KINDEngineClass, its `spec.docker` and its Secret. The provider continues when the engine answers.",
    ),
    Page(
        Reason.ENGINE_CLASS_NOT_FOUND,
        "The KINDEngineClass of the object cannot be used.",
        "`spec.engine.className` names a class that does not exist, or that names no engine. A provider that runs with "
        "`--namespace` reads no classes.",
        "Create or correct the class. `kubectl get kindengineclasses` lists the existing ones. To use another, delete "
        "the object and create it again.",
        (Reason.ENGINE_NOT_ALLOWED,),
    ),
    Page(
        Reason.ENGINE_NOT_ALLOWED,
        "The KINDEngineClass does not allow another kind cluster of this namespace.",
        "Its `namespaceSelector` does not select the namespace, or the namespace has as many kind clusters as "
        "`limits.clustersPerNamespace` allows. Existing kind clusters continue to run.",
        "Ask the administrator to label the namespace or to raise the limit, or delete another kind cluster.",
    ),
    Page(
        Reason.ENGINE_UNSCHEDULABLE,
        "No node of the management cluster has room for the engine's Pod.",
        "The Pod requests more than any node has left, or the nodes have taints or lack labels. The message is the "
        "scheduler's.",
        "Free room, add a node, or correct `podTemplate` of the KINDEngineClass and delete the Pod. The provider waits "
        "without a time limit.",
    ),
    Page(
        Reason.ENGINE_REFUSED,
        "The API server refuses an object of an engine in a Pod.",
        "A quota, Pod Security or a policy in the namespace of engines forbids it, the provider has no rights there, "
        "or another object has its name.",
        "Follow the message. The manifest `engine-namespace.yaml` of the release creates the namespace with the rights "
        "of the provider. The provider tries again.",
    ),
    Page(
        Reason.ENGINE_IMAGE_NOT_FOUND,
        "The image of the engine's Pod cannot be pulled.",
        "`pods.image` of the KINDEngineClass names an image that does not exist, or the node cannot reach its "
        "registry.",
        "Correct the class and delete the Pod: the provider creates it again. Otherwise it waits until the image can "
        "be pulled.",
    ),
    Page(
        Reason.ENGINE_CRASHING,
        "Docker ends again and again in the engine's Pod.",
        "Its image or its arguments do not fit the node: for example, the node has no cgroup v2. The message has the "
        "exit code.",
        "Read the output with the command in the message, and correct the KINDEngineClass. Delete the Pod to have it "
        "created again.",
    ),
    Page(
        Reason.ENGINE_UNSUPPORTED,
        "The container engine does not fit kind, or the workers that are added.",
        "The installed kind cannot read what this version of the engine prints, for example kind v0.32 with podman 6. "
        "Or a KINDMachine asks for a worker on nerdctl, where that has not been tested.",
        "Install the release of kind that the message names. For a worker, follow the message: `spec.nodes` of the "
        "KINDCluster works with every engine.",
    ),
    Page(
        Reason.ENGINE_CHANGED,
        "A different container engine answers.",
        "The engine that holds the kind cluster was replaced, for example by another docker context. Meanwhile, the "
        "provider creates, repairs and deletes nothing.",
        "Point the provider at the former engine: context, `DOCKER_HOST` or `--engine-command`. If that engine is gone "
        "for good, run `kubectl annotate kindcluster NAME kind.infrastructure.cluster.x-k8s.io/engine-`.",
    ),
    Page(
        Reason.KIND_COMMAND_MISSING,
        "The provider cannot run kind.",
        "The kind command is not installed where the provider runs, or the command is not kind.",
        "Install kind there, or name the command with `--kind-command`.",
    ),
    Page(
        Reason.OUT_OF_DISK,
        "The disk of the container engine is full.",
        "Images, volumes and clusters have used it up.",
        "Free space, for example with `docker image prune --all`. Do not use `docker system prune` while nodes are "
        "stopped: it removes stopped containers, and with them the data of their kind clusters.",
    ),
    Page(
        Reason.OUT_OF_MEMORY,
        "The machine of the container engine, or an engine in a Pod, is out of memory.",
        "A control-plane node takes about 0.5 GB and a worker 0.1 GB.",
        "Give the machine more memory, or delete clusters. For an engine in a Pod, raise "
        "`spec.engine.resources.memory`: it counts when the Pod is created. Delete the Pod for that; without a volume, "
        "its data goes with it.",
    ),
    Page(
        Reason.INOTIFY_LIMIT,
        "The kernel's inotify limits are too low for another node.",
        "Each node uses inotify instances and watches, and the defaults of many distributions suffice for a few nodes.",
        f"On the machine of the engine, run `{inotify.command()}`.",
    ),
    Page(
        Reason.NODE_NAME_NOT_RESOLVED,
        "Nodes cannot find the control plane by its name.",
        "The engine's network does not resolve the names of containers. podman lacks its DNS plugin.",
        "Install aardvark-dns (netavark) or dnsname (CNI), then run `podman network rm kind`.",
    ),
)
