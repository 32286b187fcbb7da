"""KINDCluster and KINDClusterTemplate: one spec, with and without the fields of a single cluster."""

from hack.crds import kindconfig
from hack.crds.kindengineclass import CLASS_NAME, MOST_OF_A_NAME
from hack.crds.kindnodes import image
from hack.crds.kindregistries import registries
from hack.crds.kubernetesversion import version
from hack.crds.quantity import resources
from hack.crds.schema import Schema, choice, flag, instant, integer, listing, mapping, record, report, rule, text
from hack.crds.status import conditions, initialization, observed_generation

# Uses has() instead of optional chains, for which the API server cannot bound the cost of a rule.
_CONTROL_PLANES = "self.spec.nodes.filter(n, !has(n.role) || n.role == 'control-plane').size()"
# The longest host names are <name>-control-plane and, with several control planes, <name>-external-load-balancer;
# 63 is the limit.
_NAME_LIMIT = f"(has(self.spec.nodes) && {_CONTROL_PLANES} > 1 ? 40 : 49)"
_NAME_LIMIT_MESSAGE = """must be at most 49 characters, or 40 with several control-plane nodes, so that the nodes'
host names fit into 63"""

_CREATED = """(
  has(oldSelf.status) && (
    has(oldSelf.status.initialization) && oldSelf.status.initialization.?provisioned.orValue(false)
    || has(oldSelf.status.conditions)
       && oldSelf.status.conditions.exists(c, c.type == 'ClusterCreated' && c.status == 'True')
  )
)"""

_FIXED_AT_CREATION = {
    "kubernetesVersion": "the Kubernetes version",
    "image": "the node image",
    "nodes": "the nodes",
    "networking": "the network settings",
    "featureGates": "the feature gates",
    "runtimeConfig": "the runtime configuration",
    "kubeadmConfigPatches": "the kubeadm configuration",
    "kubeadmConfigPatchesJSON6902": "the kubeadm configuration",
    "containerdConfigPatches": "the containerd configuration",
    "containerdConfigPatchesJSON6902": "the containerd configuration",
    "registries": "the registries",
}

_PASSING_PORT = "has(self.networking) && has(self.networking.apiServerPort) && self.networking.apiServerPort == -1"
_LASTING_PORT = "set 0, or omit it, for a free port that stays the same"


def _has(owner: str, field: str) -> str:
    return f"(has({owner}.spec) && has({owner}.spec.{field}))"


def _has_class(owner: str) -> str:
    return f"({_has(owner, 'engine')} && has({owner}.spec.engine.className))"


def _has_content(owner: str, field: str) -> str:
    return f"(has({owner}.spec) && has({owner}.spec.{field}) && {owner}.spec.{field}.size() > 0)"


def same(field: str, schema: Schema) -> str:
    """Return the CEL expression that a field of the spec has not changed.

    schema: of the field. An empty list or map means the same as none.
    """
    has = _has_content if schema.get("type") == "array" or "additionalProperties" in schema else _has
    return f"""
        {has("self", field)} == {has("oldSelf", field)}
        && (!{has("self", field)} || self.spec.{field} == oldSelf.spec.{field})
    """


def _fixed(field: str, meaning: str, schema: Schema) -> Schema:
    return rule(
        f"!{_CREATED} || ({same(field, schema)})",
        f"""cannot change: kind sets {meaning} of a cluster once, when it creates it. Delete this object and create
        it again with the new value, or create another one under a new name""",
        at=f".spec.{field}",
        reason="FieldValueForbidden",
    )


def root_rules() -> list[Schema]:
    """Return the CEL rules of the KINDCluster as a whole: names, and immutable fields."""
    fields = spec()["properties"]
    return [
        rule(
            f"!{_has('self', 'clusterName')} || self.spec.clusterName.size() <= {_NAME_LIMIT}",
            f"{_NAME_LIMIT_MESSAGE}; choose a shorter name",
            at=".spec.clusterName",
        ),
        # Only a standalone object certainly gives the kind cluster its own name; an owned one uses its Cluster's.
        rule(
            f"""
            !{_has("self", "standalone")} || !self.spec.standalone || has(self.spec.clusterName)
            || self.metadata.name.size() <= {_NAME_LIMIT}
            """,
            f"""the kind cluster takes metadata.name, which {_NAME_LIMIT_MESSAGE}; rename the object or set a
            shorter spec.clusterName""",
            at=".spec",
        ),
        rule(
            f"!{_has('oldSelf', 'clusterName')} || ({same('clusterName', fields['clusterName'])})",
            """cannot change once set: the kind cluster could no longer be found under its name. Create another
            object with the new clusterName, and delete this one""",
            at=".spec.clusterName",
            reason="FieldValueForbidden",
        ),
        rule(
            f"""
            !{_CREATED} || !{_has("self", "clusterName")} || {_has("oldSelf", "clusterName")}
            || self.spec.clusterName == oldSelf.status.?clusterName.orValue('')
            """,
            """must be the name in status.clusterName, because the kind cluster exists under it. Create another object
            with the new clusterName""",
            at=".spec.clusterName",
            reason="FieldValueForbidden",
        ),
        # Half an endpoint, which only objects of older releases have, counts as unset: the provider must be able to
        # complete it. The field may be removed (`kubectl replace` with the user's manifest); the provider restores it.
        rule(
            f"""
            !{_has("oldSelf", "controlPlaneEndpoint")} || oldSelf.spec.controlPlaneEndpoint.?host.orValue('') == ''
            || oldSelf.spec.controlPlaneEndpoint.?port.orValue(0) == 0 || !{_has("self", "controlPlaneEndpoint")}
            || self.spec.controlPlaneEndpoint == oldSelf.spec.controlPlaneEndpoint
            """,
            """cannot change once set: Cluster API copies it only once. Omit it and let the provider set it; to choose
            address and port, set spec.networking.apiServerAddress and apiServerPort before the cluster is created""",
            at=".spec.controlPlaneEndpoint",
            reason="FieldValueForbidden",
        ),
        rule(
            f"""
            {_has_class("self")} == {_has_class("oldSelf")}
            && (!{_has_class("self")} || self.spec.engine.className == oldSelf.spec.engine.className)
            """,
            """its className cannot be added or removed, and cannot change: the kind cluster may exist on the engine
            already. Delete this object and create it again with the other engine""",
            at=".spec.engine",
            reason="FieldValueForbidden",
        ),
        *(_fixed(field, meaning, fields[field]) for field, meaning in _FIXED_AT_CREATION.items()),
    ]


def _configuration() -> dict[str, Schema]:
    """Return the properties that the specs of a cluster and of a template have in common."""
    return {
        "kubernetesVersion": version(
            """Kubernetes version. `v1.34.3` selects the node image `kindest/node:v1.34.3`; `1.34` selects the image of
            that minor version that was published with the provider's kind release. Default: the version of the
            KINDControlPlane, otherwise kind's default image. Use `image` for any other build."""
        ),
        "image": image(
            """Node image of all nodes without an image of their own, such as `kindest/node:v1.34.3@sha256:...`. Takes
            precedence over `kubernetesVersion`."""
        ),
        **kindconfig.fields(),
        "registries": registries(),
        "engine": _engine(),
        "deletionPolicy": choice(
            """What happens to the kind cluster when this object is deleted: `Delete` (the default) removes it,
            `Retain` leaves it running.""",
            "Delete",
            "Retain",
        ),
        "recreatePolicy": choice(
            """What happens if someone else deletes the kind cluster: `Never` (the default) reports it as missing,
            `Always` creates a new, empty one.""",
            "Never",
            "Always",
        ),
    }


def _engine() -> Schema:
    return record(
        """The container engine of the kind cluster. Without `className`, it is that of the default KINDEngineClass,
        otherwise the provider's own one.""",
        {
            "className": text(
                "Name of a KINDEngineClass that allows the namespace. Cannot change.",
                max_length=MOST_OF_A_NAME,
                rules=[rule(f"self.matches(r'{CLASS_NAME}')", "must be the name of a KINDEngineClass")],
            ),
            "resources": resources(
                """What an engine in a Pod requests, if it is more than its nodes need by the class. The class limits
                it. A change takes effect when the Pod is created the next time."""
            ),
            "powerState": choice(
                """`Running` (the default), or `Stopped` to stop the node containers and keep their data. On an engine
                in a Pod, its Pod is deleted then, and the class needs `storage.claim`. A kind cluster is created
                before it is stopped. What could not come back is not stopped: an etcd in memory, or several control
                planes where the engine gives them other addresses.""",
                "Running",
                "Stopped",
            ),
        },
    )


def spec() -> Schema:
    """Return the schema of `KINDCluster.spec`."""
    own = {
        "clusterName": text(
            """Name of the kind cluster, as `kind get clusters` lists it. Default: the name of the owner Cluster,
            otherwise `metadata.name`. At most 49 characters, or 40 with several control-plane nodes. Cannot change.""",
            max_length=253,
            rules=[
                # kind also accepts a name that begins or ends with '-' or '.', but then the container's name, the
                # Node's name or a label with that name is rejected later.
                rule(
                    r"self.matches(r'^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*$')",
                    """must consist of lower-case letters, digits, '-' and '.', and begin and end with a letter or
                    digit, also around each '.'""",
                )
            ],
        ),
        "controlPlaneEndpoint": record(
            """Address of the workload cluster's API server, for Cluster API. Omit it: the provider writes it.
            Choose address and port with `networking.apiServerAddress` and `networking.apiServerPort`.""",
            {
                "host": report("Host name or IP address."),
                "port": integer("Port.", minimum=0, maximum=65535),
            },
            rules=[
                rule(
                    "(has(self.host) && self.host != '') == (has(self.port) && self.port > 0)",
                    """must have both host and port, or neither of them. Omit controlPlaneEndpoint and let the provider
                    set it""",
                )
            ],
        ),
        "standalone": flag(
            """Whether the object needs no owner Cluster although Cluster API is installed. Without Cluster API, no
            KINDCluster needs one."""
        ),
    }
    return record(
        "The desired kind cluster. Every field is optional: `{}` gives one node with kind's default image.",
        {**own, **_configuration()},
        rules=[*kindconfig.rules(), _engine_address_rule(), _power_rule(), _passing_port_rule()],
    )


def _engine_address_rule() -> Schema:
    """Return the rule that the address of the API server is the engine's matter."""
    return rule(
        """!has(self.engine) || !has(self.engine.className) || !has(self.networking)
        || !has(self.networking.apiServerAddress)""",
        """cannot be set together with engine.className, because the KINDEngineClass gives the address. Leave out
        networking.apiServerAddress""",
        at=".networking.apiServerAddress",
    )


def _power_rule() -> Schema:
    """Return the rule that a kind cluster whose etcd is in memory is not stopped.

    It finds the usual form, a patch of all nodes with a folder in /tmp; a longer pattern costs more than the API server
    allows. Everything else is the provider's matter: see `capk.kindconfig.etcdfolder`.
    """
    return rule(
        r"""
        !has(self.engine) || !has(self.engine.powerState) || self.engine.powerState != 'Stopped'
        || !has(self.kubeadmConfigPatches) || has(self.nodes) && self.nodes.exists(n, has(n.extraMounts))
        || !self.kubeadmConfigPatches.exists(p, p.matches(r'(?m)^[^#]*Dir\W+tmp/'))
        """,
        """cannot be Stopped, because a kubeadm patch puts the dataDir of etcd into /tmp of the node, which is in
        memory, so that the data would be lost. Set Running, or leave out the dataDir before the kind cluster is
        created""",
        at=".engine.powerState",
    )


def _passing_port_rule() -> Schema:
    """Return the rule that only objects without an owner Cluster may have a port that changes at each start.

    The schema does not know whether a Cluster owns the object. An endpoint that is already set identifies objects of
    older releases, which the provider must still be able to write.
    """
    return rule(
        f"""
        !({_PASSING_PORT}) || has(self.standalone) && self.standalone
        || has(self.controlPlaneEndpoint) && has(self.controlPlaneEndpoint.port) && self.controlPlaneEndpoint.port > 0
        """,
        f"""cannot be -1 without standalone: true, because the port then changes at each start and the endpoint of a
        Cluster cannot; {_LASTING_PORT}, or set standalone: true""",
        at=".networking.apiServerPort",
    )


def template_spec() -> Schema:
    """Return the schema of `KINDClusterTemplate.spec`.

    It omits clusterName and standalone, because one template serves several clusters and each has an owner Cluster, and
    the endpoint, which Cluster API must never apply (C32).
    """
    inner = record(
        "The `spec` of the KINDClusters that are created from it.",
        _configuration(),
        rules=[
            *kindconfig.rules(),
            _engine_address_rule(),
            _power_rule(),
            rule(
                f"!({_PASSING_PORT})",
                f"""cannot be -1 in a template, because the port then changes at each start and the endpoint of a
                Cluster cannot; {_LASTING_PORT}""",
                at=".networking.apiServerPort",
            ),
        ],
    )
    return template(inner, "KINDCluster")


def template(inner: Schema, kind: str, *, creator: str = "ClusterClass") -> Schema:
    """Return the schema of a template's spec, around the schema of the spec of its objects (C31, C44, C47)."""
    # No object can have more: a label's value has at most 63 characters, all annotations together 256 KiB.
    label, annotation = {"type": "string", "maxLength": 63}, {"type": "string", "maxLength": 256 * 1024}
    metadata = record(
        "Labels and annotations of the objects that are created from it.",
        {
            "labels": mapping("Labels to put on the object.", label, max_properties=1024),
            "annotations": mapping("Annotations to put on the object.", annotation, max_properties=1024),
        },
    )
    return record(
        f"The template from which a {creator} creates {kind} objects.",
        {"template": record(f"The {kind} to create.", {"metadata": metadata, "spec": inner}, required=["spec"])},
        required=["template"],
    )


def status() -> Schema:
    """Return the schema of `KINDCluster.status`.

    It omits failure domains (C16) and failureReason (C20) on purpose.
    """
    node = record(
        "A container of the kind cluster.",
        {
            "name": report("Name of the container; of a node, also the name of the Node object."),
            "role": report("`control-plane`, `worker` or `external-load-balancer`."),
            "address": report("IP address in the container network of kind."),
            "state": report("State of the container: `Running` or `Stopped`."),
            "machine": report("Name of the KINDMachine that the node was added for; absent for other nodes."),
        },
        required=["name"],
    )
    entry = record(
        "A change of a condition.",
        {
            "time": instant("Time of the change."),
            "type": report("Which condition changed, such as `ClusterCreated`."),
            "reason": report("Its new reason, such as `Created`."),
            "message": report("Its new message.", max_length=10240),
        },
        required=["time", "reason"],
    )
    return record(
        "What the provider observed. All of it can be rebuilt from the spec and the container engine.",
        {
            "ready": flag("Whether the kind cluster is up; for Cluster API's contract v1beta1."),
            "initialization": initialization(
                "provisioned", "Whether the kind cluster has been up once. `Ready` shows its current state."
            ),
            "conditions": conditions("`Ready` summarizes the others."),
            "clusterName": report("Name of the kind cluster, as `kind get clusters` lists it."),
            "kubernetesVersion": report("Kubernetes version that the control plane reports."),
            "image": report("Node image that the kind cluster was created from; empty for kind's default."),
            "engine": record(
                "The container engine, if it is not the provider's own one.",
                {
                    "className": report("Name of its KINDEngineClass."),
                    "pod": report("Namespace and name of its Pod, as `<namespace>/<name>`."),
                    "node": report("Node of the management cluster that runs its Pod."),
                    "restarts": integer("How often the container of its Pod has restarted.", minimum=0),
                },
            ),
            "nodes": listing("Containers of the kind cluster.", node, max_items=256, keys=["name"]),
            "endpoints": record(
                "Addresses of the API server.",
                {
                    "internal": report("From inside the container network of kind, as `https://<host>:<port>`."),
                    "external": report("From the machine that runs the container engine, as `https://<host>:<port>`."),
                },
            ),
            "logs": report("Directory with the logs of a failed creation, on the provider's machine.", max_length=4096),
            "history": listing("The latest changes of conditions, newest last.", entry, max_items=20),
            "attempt": integer(
                "Number of the attempt that created the kind cluster. The mark of its node containers contains it.",
                minimum=1,
            ),
            "etcd": record(
                "The data that the kind cluster holds. Another uid with the same authority means that it was lost.",
                {
                    "authority": report("Fingerprint of its certificate authority."),
                    "kubeSystemUID": report("The uid of its namespace `kube-system`."),
                },
            ),
            "observedGeneration": observed_generation(),
        },
    )
