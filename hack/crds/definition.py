"""The CustomResourceDefinitions around their schemas: names, labels, columns, subresources."""

from collections.abc import Sequence
from typing import Any

from capk.api import names
from capk.api.names import Resource
from hack.crds import bootstrap, kindcluster, kindcontrolplane, kindengineclass, kindmachine
from hack.crds.schema import Schema, record

Column = dict[str, Any]

# The last two show Cluster API which version supports which contract (C2). clusterctl selects by the first.
LABELS = {
    "cluster.x-k8s.io/provider": "infrastructure-kind",
    "cluster.x-k8s.io/v1beta1": names.VERSION,
    "cluster.x-k8s.io/v1beta2": names.VERSION,
}
_OWNER = r".metadata.labels.cluster\.x-k8s\.io/cluster-name"


def all_definitions() -> list[Schema]:
    """Return the CRDs of this provider, ready to be written as YAML."""
    return [
        _definition(
            names.KIND_CLUSTERS,
            "kc",
            "KINDCluster is a kind cluster, and the infrastructure of a Cluster of Cluster API.",
            spec=kindcluster.spec(),
            status=kindcluster.status(),
            rules=kindcluster.root_rules(),
            columns=_kindcluster_columns(),
        ),
        _definition(
            names.KIND_CLUSTER_TEMPLATES,
            "kct",
            "KINDClusterTemplate is the template from which a ClusterClass creates KINDClusters.",
            spec=kindcluster.template_spec(),
            columns=[_AGE],
        ),
        _definition(
            names.KIND_CONTROL_PLANES,
            "kicp",
            """KINDControlPlane is the control plane of a kind cluster for Cluster API. It sets the Kubernetes
            version.""",
            spec=kindcontrolplane.spec(),
            status=kindcontrolplane.status(),
            scale=kindcontrolplane.SCALE,
            rules=kindcontrolplane.root_rules(),
            columns=_kindcontrolplane_columns(),
        ),
        _definition(
            names.KIND_CONTROL_PLANE_TEMPLATES,
            "kicpt",
            "KINDControlPlaneTemplate is the template from which a ClusterClass creates KINDControlPlanes.",
            spec=kindcontrolplane.template_spec(),
            columns=[_AGE],
        ),
        _definition(
            names.KIND_MACHINES,
            "kim",
            "KINDMachine is a worker that joins a running kind cluster, and the infrastructure of a Machine.",
            spec=kindmachine.spec(),
            status=kindmachine.status(),
            rules=kindmachine.root_rules(),
            columns=_kindmachine_columns(),
        ),
        _definition(
            names.KIND_MACHINE_TEMPLATES,
            "kimt",
            """KINDMachineTemplate is the template from which a MachineDeployment or a ClusterClass creates
            KINDMachines.""",
            spec=kindmachine.template_spec(),
            columns=[_AGE],
        ),
        _definition(
            names.KIND_CONFIGS,
            "kicfg",
            """KINDConfig is the bootstrap configuration of a worker in a ClusterClass. It holds nothing, because the
            provider itself writes the configuration with which a node joins.""",
            spec=bootstrap.spec(),
            status=bootstrap.status(),
            columns=[
                _column("Cluster", _OWNER, "The Cluster that it belongs to."),
                _column(
                    "Ready",
                    ".status.initialization.dataSecretCreated",
                    "Whether Cluster API may create the worker.",
                    type_="boolean",
                ),
                _AGE,
            ],
        ),
        _definition(
            names.KIND_CONFIG_TEMPLATES,
            "kicfgt",
            "KINDConfigTemplate is the template from which a ClusterClass creates KINDConfigs.",
            spec=bootstrap.template_spec(),
            columns=[_AGE],
        ),
        _definition(
            names.KIND_ENGINE_CLASSES,
            "kec",
            """KINDEngineClass describes a container engine that KINDClusters may use instead of the provider's own one,
            and who may use it. It belongs to the administrator of the management cluster.""",
            spec=kindengineclass.spec(),
            status=kindengineclass.status(),
            rules=kindengineclass.root_rules(),
            columns=_kindengineclass_columns(),
            scope="Cluster",
        ),
    ]


def _definition(
    resource: Resource,
    short_name: str,
    doc: str,
    *,
    spec: Schema,
    columns: Sequence[Column],
    status: Schema | None = None,
    scale: Schema | None = None,
    rules: Sequence[Schema] = (),
    scope: str = "Namespaced",
) -> Schema:
    scalable = {"scale": scale} if scale else {}
    subresources: Schema = {"subresources": {"status": {}, **scalable}} if status else {}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{resource.plural}.{resource.group}", "labels": dict(LABELS)},
        "spec": {
            "group": resource.group,
            "names": {
                "kind": resource.kind,
                "listKind": f"{resource.kind}List",
                "plural": resource.plural,
                "singular": resource.kind.lower(),
                "shortNames": [short_name],
                "categories": ["cluster-api"],
            },
            "scope": scope,
            "versions": [
                {
                    "name": resource.version,
                    "served": True,
                    "storage": True,
                    "additionalPrinterColumns": list(columns),
                    "schema": {"openAPIV3Schema": _object(doc, spec, status, rules)},
                    **subresources,
                }
            ],
        },
    }


def _object(doc: str, spec: Schema, status: Schema | None, rules: Sequence[Schema]) -> Schema:
    properties = {
        "apiVersion": {"description": "Group and version of the object's schema.", "type": "string"},
        "kind": {"description": "Kind of the object.", "type": "string"},
        "metadata": {"type": "object"},
        "spec": spec,
    }
    if status is None:  # a template, which is useless without its spec
        return record(doc, properties, required=["spec"])
    return record(doc, properties | {"status": status}, rules=rules)


def _column(name: str, path: str, doc: str, *, type_: str = "string", wide: bool = False) -> Column:
    priority = {"priority": 1} if wide else {}
    return {"name": name, "type": type_, "jsonPath": path, "description": doc, **priority}


_AGE = _column("Age", ".metadata.creationTimestamp", "Time since the object was created.", type_="date")


def _condition(type_: str, field: str) -> str:
    return f'.status.conditions[?(@.type=="{type_}")].{field}'


def _kindcluster_columns() -> list[Column]:
    return [
        _column("Cluster", ".status.clusterName", "Name of the kind cluster."),
        _column("Ready", _condition("Ready", "status"), "Whether the kind cluster can be used."),
        _column("Reason", _condition("Ready", "reason"), "Why it is ready or not."),
        _column("Version", ".status.kubernetesVersion", "Kubernetes version."),
        _column("Endpoint", ".status.endpoints.external", "API server, from the machine of the container engine."),
        _AGE,
        _column("Owner", _OWNER, "The Cluster that it belongs to.", wide=True),
        _column("Image", ".status.image", "Node image.", wide=True),
        _column("Engine", ".status.engine.className", "KINDEngineClass of its container engine.", wide=True),
        _column("Node", ".status.engine.node", "Node that runs the Pod of its container engine.", wide=True),
        _column("Internal", ".status.endpoints.internal", "API server, from kind's container network.", wide=True),
        _column("Paused", _condition("Paused", "status"), "Whether the provider does nothing for it.", wide=True),
        _column(
            "Since",
            _condition("Ready", "lastTransitionTime"),
            "Time since it became ready, or stopped being ready.",
            type_="date",
            wide=True,
        ),
    ]


def _kindcontrolplane_columns() -> list[Column]:
    return [
        _column("Cluster", _OWNER, "The Cluster that it belongs to."),
        _column(
            "Initialized",
            ".status.initialization.controlPlaneInitialized",
            "Whether the API server has answered once.",
            type_="boolean",
        ),
        _column("Available", _condition("Available", "status"), "Whether the control plane can be used."),
        _column("Version", ".status.version", "Kubernetes version."),
        _AGE,
        _column("Reason", _condition("Available", "reason"), "Why it is available or not.", wide=True),
        _column("Wanted", ".spec.version", "Requested Kubernetes version.", wide=True),
        _column("Replicas", ".status.replicas", "Control-plane nodes.", type_="integer", wide=True),
        _column("Paused", _condition("Paused", "status"), "Whether the provider does nothing for it.", wide=True),
    ]


def _kindmachine_columns() -> list[Column]:
    return [
        _column("Cluster", ".status.clusterName", "Name of the kind cluster."),
        _column(
            "Machine", '.metadata.ownerReferences[?(@.kind=="Machine")].name', "The Machine that it belongs to, if any."
        ),
        _column("Ready", _condition("Ready", "status"), "Whether the node has joined and runs."),
        _column("Reason", _condition("Ready", "reason"), "Why it is ready or not."),
        _column("Address", '.status.addresses[?(@.type=="InternalIP")].address', "IP address of the node."),
        _AGE,
        _column("Node", ".status.nodeName", "Name of the Node and of the container.", wide=True),
        _column("ProviderID", ".spec.providerID", "Provider id of the Node.", wide=True),
        _column("Image", ".spec.image", "Node image, if it is not that of the control plane.", wide=True),
        _column("Paused", _condition("Paused", "status"), "Whether the provider does nothing for it.", wide=True),
        _column(
            "Since",
            _condition("Ready", "lastTransitionTime"),
            "Time since it became ready, or stopped being ready.",
            type_="date",
            wide=True,
        ),
    ]


def _kindengineclass_columns() -> list[Column]:
    default = names.DEFAULT_CLASS_ANNOTATION.replace(".", r"\.")
    return [
        _column("Host", ".spec.docker.host", "Address of the Docker engine."),
        _column("Ready", _condition("Ready", "status"), "Whether the engine can be used."),
        _column("Reason", _condition("Ready", "reason"), "Why it can be used or not."),
        _column("Clusters", ".status.clusters", "KINDClusters that use it.", type_="integer"),
        _column("Image", ".spec.pods.image", "Image of engines in Pods.", wide=True),
        _column("Default", f".metadata.annotations.{default}", "Whether KINDClusters without spec.engine use it."),
        _AGE,
    ]
