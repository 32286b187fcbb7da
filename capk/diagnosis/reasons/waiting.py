"""Reasons to wait: the provider continues by itself when the missing part appears."""

from typing import Final

from capk.api.names import Reason
from capk.diagnosis.reasons.page import Page

PAGES: Final = (
    Page(
        Reason.WAITING_FOR_CLUSTER,
        "No Cluster owns the object yet.",
        "Cluster API is installed, so the provider waits for a Cluster that refers to the object.",
        "Create a Cluster whose `infrastructureRef` names the KINDCluster, or whose `controlPlaneRef` names the "
        "KINDControlPlane. A KINDCluster with `spec.standalone: true` needs none.",
    ),
    Page(
        Reason.WAITING_FOR_CONTROL_PLANE,
        "The KINDControlPlane that the Cluster names is not usable yet.",
        "It does not exist, or it does not write its kubeconfig Secret because it is paused or managed externally.",
        "Create or unpause it, or remove `controlPlaneRef` from the Cluster.",
    ),
    Page(
        Reason.WAITING_FOR_INFRASTRUCTURE,
        "A KINDControlPlane or a KINDMachine waits for its kind cluster.",
        "The KINDCluster has not finished creating the kind cluster, does not exist, or lacks the label that the "
        "provider's `--watch-filter` requires. Or someone has edited the label of a KINDMachine that leads to its "
        "Cluster.",
        "Read the message, and the conditions of that KINDCluster. If the message names a label, set it as the message "
        "describes.",
    ),
    Page(
        Reason.WAITING_FOR_MACHINE,
        "No Machine owns the KINDMachine yet.",
        "A MachineDeployment creates a Machine and a KINDMachine for each replica. This KINDMachine has no such owner, "
        "or its Machine is gone.",
        "Create workers with a MachineDeployment whose `infrastructureRef` names a KINDMachineTemplate. For a "
        "KINDCluster without a Cluster, set `spec.clusterName`.",
    ),
    Page(
        Reason.WAITING_FOR_CONFIG_MAP,
        "The certificates of a registry mirror are missing.",
        "A ConfigMap that `caConfigMapRef` names does not exist, or it has no key `ca.crt`.",
        "Create the ConfigMap in the namespace of the KINDCluster. The provider finds it by itself.",
    ),
    Page(
        Reason.QUEUED,
        "The creation, or the join of a worker, has not started yet.",
        "The provider is already creating as many kind clusters as `--max-concurrent-creates` allows, or joining as "
        "many workers as `--max-concurrent-workers` allows.",
        "Wait, or raise `--max-concurrent-creates` or `--max-concurrent-workers`.",
    ),
    Page(
        Reason.PAUSED,
        "The provider does nothing for this object.",
        "The Cluster has `spec.paused: true`, or the object has the annotation `cluster.x-k8s.io/paused`.",
        "Remove `spec.paused` or the annotation.",
    ),
    Page(
        Reason.DELETING,
        "The object is being deleted, and with it its kind cluster or node.",
        "Someone deleted the object or the Cluster that owns it.",
        "Wait. If it takes long, read the other conditions of the object.",
        (Reason.DELETION_FAILED, Reason.ENGINE_UNREACHABLE),
    ),
    Page(
        Reason.UNKNOWN,
        "The provider has not observed this yet.",
        "The object is new, or the provider has just started.",
        "Wait a few seconds.",
    ),
    Page(
        Reason.NOT_READY,
        "The KINDCluster as a whole cannot be used yet.",
        "At least one other condition is not True.",
        "Read that condition.",
    ),
    Page(
        Reason.NOT_AVAILABLE,
        "The control plane cannot be used yet.",
        "The kind cluster is not up, or its API server does not answer.",
        "Read the conditions of the KINDCluster.",
    ),
    Page(
        Reason.NOT_PROVISIONED,
        "The kubeconfig Secrets are not complete yet.",
        "The provider has not read the kubeconfig of the kind cluster yet.",
        "Wait. If `ClusterCreated` is False, follow its reason.",
    ),
    Page(
        Reason.NOT_REACHABLE,
        "The provider has never reached the API server of the workload cluster. `Ready` reflects only what the "
        "container engine reports.",
        "The provider cannot connect to the address of the workload cluster from where it runs.",
        "If you want `Ready` to follow the API server, make it reachable. With `--endpoint=internal`, the provider has "
        "to be on the engine's network. With `--endpoint=external`, it has to reach the published address.",
    ),
)
