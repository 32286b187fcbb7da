"""KINDMachine and KINDMachineTemplate: one worker of a running kind cluster."""

from hack.crds.kindcluster import same, template
from hack.crds.kindnodes import LABEL_NAME, LABEL_PREFIX, image, mounts, node_labels
from hack.crds.schema import Schema, choice, flag, listing, record, report, rule, text
from hack.crds.status import conditions, initialization, observed_generation

# At the beginning of a line of YAML, or in the first line of JSON. The decision parses the patch.
_QUOTE = r'["\x27]?'
_JOIN_PATCH = (
    rf"(?m)^[ ]{{0,64}}(?:[{{][^\n]{{0,256}})?{_QUOTE}kind{_QUOTE}[ ]{{0,8}}:[ ]{{0,8}}{_QUOTE}JoinConfiguration"
)

_FIXED = {
    "image": "the node image",
    "labels": "the labels",
    "taints": "the taints",
    "extraMounts": "the mounts",
    "kubeadmConfigPatches": "the kubeadm configuration",
    "clusterName": "the KINDCluster",
}


def _properties() -> dict[str, Schema]:
    """Return the properties that the specs of a machine and of a template have in common."""
    return {
        "image": image(
            """Node image. Default: the image of the first control-plane node. It must have the same minor version of
            Kubernetes as the kind cluster."""
        ),
        "labels": node_labels(),
        "taints": _taints(),
        "extraMounts": mounts(),
        "kubeadmConfigPatches": listing(
            """Merge patches (RFC 7386), each a YAML text, for the `JoinConfiguration` with which kubeadm joins the
            node. Each must contain `kind: JoinConfiguration`. Example:
            `"kind: JoinConfiguration\\nnodeRegistration:\\n ignorePreflightErrors: [all]\\n"`.""",
            text(
                "A merge patch as YAML text.",
                max_length=16384,
                rules=[
                    rule(
                        f"self.matches(r'{_JOIN_PATCH}')",
                        """must contain the line `kind: JoinConfiguration`: kubeadm reads no other document when a node
                        joins. Set other kinds in kubeadmConfigPatches of the KINDCluster""",
                    )
                ],
            ),
            max_items=16,
        ),
    }


def _taints() -> Schema:
    taint = record(
        "A taint of the Node object.",
        {
            "key": text(
                "Key, such as `dedicated`.",
                max_length=253 + 64,
                rules=[
                    rule(
                        f"self.matches(r'^(?:{LABEL_PREFIX})?{LABEL_NAME}$')",
                        """must be the key of a label: an optional DNS prefix and a slash, then at most 63 letters,
                        digits, '-', '_' or '.', beginning and ending with a letter or digit""",
                    )
                ],
            ),
            "value": {
                **report("Value; may be empty.", max_length=63),
                "x-kubernetes-validations": [
                    rule(
                        f"self == '' || self.matches(r'^{LABEL_NAME}$')",
                        """must be the value of a label: at most 63 letters, digits, '-', '_' or '.', beginning and
                        ending with a letter or digit, or empty""",
                    )
                ],
            },
            "effect": choice(
                "`NoSchedule`, `PreferNoSchedule` or `NoExecute`.", "NoSchedule", "PreferNoSchedule", "NoExecute"
            ),
        },
        required=["key", "effect"],
    )
    return listing(
        """Taints with which the Node object is registered. Example:
        `[{key: dedicated, value: gpu, effect: NoSchedule}]`.""",
        taint,
        max_items=32,
        rules=[
            rule(
                "self.all(t, self.exists_one(other, other.key == t.key && other.effect == t.effect))",
                "must not have two taints with the same key and effect; give one of them another key or effect",
            )
        ],
    )


def spec() -> Schema:
    """Return the schema of `KINDMachine.spec`."""
    own = {
        "providerID": text(
            """Provider id of the Node, as in `kind://docker/dev/dev-workers-x7k2p`. Omit it: the provider writes
            it.""",
            max_length=512,
        ),
        "clusterName": text(
            """Name of the KINDCluster in the same namespace that the worker joins, for a worker without a Machine.
            Omit it for a worker of a Cluster: there a MachineDeployment creates the KINDMachine.""",
            max_length=253,
        ),
    }
    return record(
        """The desired worker. Every field is optional for a worker of a Cluster. Only the provider changes a
        spec.""",
        {**own, **_properties()},
    )


def template_spec() -> Schema:
    """Return the schema of `KINDMachineTemplate.spec`, without the fields of a single machine (C47)."""
    return template(
        record("The `spec` of the KINDMachines that are created from it.", _properties()),
        "KINDMachine",
        creator="MachineDeployment or a ClusterClass",
    )


def root_rules() -> list[Schema]:
    """Return the CEL rules of the KINDMachine as a whole: everything but the provider id is immutable."""
    return [
        rule(
            same(field, spec()["properties"][field]),
            f"""cannot change: {meaning} of a node is set once, when it joins. Change the KINDMachineTemplate of its
            MachineDeployment, or delete this object and create it again with the new value""",
            at=f".spec.{field}",
            reason="FieldValueForbidden",
        )
        for field, meaning in _FIXED.items()
    ]


def status() -> Schema:
    """Return the schema of `KINDMachine.status` (C49, C50)."""
    address = record(
        "An address of the node.",
        {
            "type": choice("Kind of address.", "Hostname", "InternalIP", "ExternalIP", "InternalDNS", "ExternalDNS"),
            "address": report("The address.", max_length=256),
        },
        required=["type", "address"],
    )
    return record(
        "What the provider observed. All of it can be rebuilt from metadata, spec and the container engine.",
        {
            "ready": flag("Whether the node has joined once; for Cluster API's contract v1beta1."),
            "initialization": initialization(
                "provisioned", "Whether the node has joined once. `Ready` shows its current state."
            ),
            "conditions": conditions("`Ready` summarizes the others."),
            "addresses": listing("Addresses of the node.", address, max_items=32),
            "clusterName": report("Name of the kind cluster, as `kind get clusters` lists it."),
            "nodeName": report("Name of the Node object and of the container."),
            "containerID": report("Id of the container whose node has joined."),
            "logs": report("Directory with the logs of a failed join, on the provider's machine.", max_length=4096),
            "observedGeneration": observed_generation(),
        },
    )
