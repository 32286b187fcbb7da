"""KINDControlPlane and KINDControlPlaneTemplate: a kind cluster's version, and its control plane for Cluster API."""

from capk.kindconfig.config import MOST_CONTROL_PLANES
from hack.crds.kindcluster import template
from hack.crds.kubernetesversion import version
from hack.crds.schema import Schema, flag, integer, listing, record, report, rule, text
from hack.crds.status import conditions, initialization, observed_generation

_REPLICAS = """Number of control-plane nodes. Those that `KINDCluster.spec.nodes` lists count; plain ones are added for
the rest. Default: as many as it lists, else 1; the provider writes that number here once the kind cluster is up. Cannot
change after that: kind neither adds nor removes control-plane nodes. An even number makes etcd no safer than one
less."""

_UNINITIALIZED = (
    "!has(oldSelf.status) || !has(oldSelf.status.initialization)"
    " || !oldSelf.status.initialization.?controlPlaneInitialized.orValue(false)"
)

# Cluster API reads the count through it. It scales nothing: a rule below refuses every other number.
SCALE: Schema = {
    "specReplicasPath": ".spec.replicas",
    "statusReplicasPath": ".status.replicas",
    "labelSelectorPath": ".status.selector",
}


def _properties() -> dict[str, Schema]:
    return {
        "version": version(
            """Kubernetes version of the kind cluster, as in `v1.34.3`. It selects the node image unless the
            KINDCluster sets `kubernetesVersion` or `image`. Cannot change once the control plane is initialized: kind
            cannot upgrade a cluster."""
        ),
        "replicas": integer(_REPLICAS, minimum=1, maximum=MOST_CONTROL_PLANES),
    }


def spec() -> Schema:
    """Return the schema of `KINDControlPlane.spec`.

    It has no endpoint: the KINDCluster provides it (C10), and it must have only one writer.
    """
    return record("The desired control plane.", _properties())


def template_spec() -> Schema:
    """Return the schema of `KINDControlPlaneTemplate.spec`; version and replicas come from the topology (C44)."""
    return template(
        record("The `spec` of the KINDControlPlanes that are created from it.", _properties()), "KINDControlPlane"
    )


def root_rules() -> list[Schema]:
    """Return the CEL rules of the KINDControlPlane as a whole."""
    return [
        rule(
            f"""
            {_UNINITIALIZED}
            || has(self.spec) && has(self.spec.version) && (
              has(oldSelf.spec) && has(oldSelf.spec.version) && self.spec.version == oldSelf.spec.version
              || has(oldSelf.status.version) && self.spec.version == oldSelf.status.version
            )
            || (!has(self.spec) || !has(self.spec.version)) && (!has(oldSelf.spec) || !has(oldSelf.spec.version))
            """,
            """cannot change: kind cannot upgrade a running cluster. Create a new Cluster with the new version. To put
            the old one back into Cluster.spec.topology.version, give the Cluster the annotation
            unsafe.topology.cluster.x-k8s.io/disable-update-version-check: Cluster API refuses a lower version without
            it""",
            at=".spec.version",
            reason="FieldValueForbidden",
        ),
        # Left out it may always be: `kubectl replace` takes away what the provider has written, which it writes again.
        # Releases that ignored the field let it be wrong: such a number may stay, or become the right one.
        rule(
            f"""
            {_UNINITIALIZED}
            || !has(self.spec) || !has(self.spec.replicas)
            || has(oldSelf.spec) && has(oldSelf.spec.replicas) && self.spec.replicas == oldSelf.spec.replicas
            || has(oldSelf.status.replicas) && self.spec.replicas == oldSelf.status.replicas
            """,
            """cannot change: kind creates the control-plane nodes of a cluster once. Create a new Cluster with as many
            as you want""",
            at=".spec.replicas",
            reason="FieldValueForbidden",
        ),
    ]


def status() -> Schema:
    """Return the schema of `KINDControlPlane.status` (C41, C43); replicas are nodes of the kind cluster."""

    def replicas(doc: str) -> Schema:
        return integer(doc, minimum=0)

    entry = record(
        "A Kubernetes version and the number of its nodes.",
        {"version": text("Kubernetes version.", max_length=256), "replicas": integer("Number of nodes.", minimum=1)},
        required=["version"],
    )
    return record(
        "What the provider observed. All of it can be rebuilt from the KINDCluster and the container engine.",
        {
            "initialized": flag("Whether the API server has answered once; for Cluster API's contract v1beta1."),
            "ready": flag("Whether the API server can be used; for Cluster API's contract v1beta1."),
            "initialization": initialization(
                "controlPlaneInitialized",
                "Whether the API server has answered once. `Available` shows its current state.",
            ),
            "version": report("Lowest Kubernetes version of the control-plane nodes.", max_length=256),
            "versions": listing(
                "Kubernetes versions of the control-plane nodes, lowest first.", entry, max_items=64, keys=["version"]
            ),
            "replicas": replicas("Control-plane nodes that exist."),
            "readyReplicas": replicas("Control-plane nodes that are ready."),
            "availableReplicas": replicas("Control-plane nodes that can be used."),
            "upToDateReplicas": replicas("Control-plane nodes that match the spec."),
            "unavailableReplicas": replicas(
                "Control-plane nodes that cannot be used; for Cluster API's contract v1beta1."
            ),
            "updatedReplicas": replicas("The same as `upToDateReplicas`; for Cluster API's contract v1beta1."),
            "selector": report("Label selector of the control-plane nodes.", max_length=1024),
            "externalManagedControlPlane": flag(
                "Always true: the nodes of the control plane are not Machines of Cluster API."
            ),
            "conditions": conditions("`Available` shows whether the control plane can be used."),
            "observedGeneration": observed_generation(),
        },
    )
