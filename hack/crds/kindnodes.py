"""The schema of kind's nodes: role, image, labels, mounts, published ports, patches."""

from hack.crds.kindaddress import address
from hack.crds.kindpatches import kubeadm_patches
from hack.crds.schema import Schema, choice, flag, integer, listing, mapping, record, rule, text

# The grammar of github.com/distribution/reference: [host[:port]/]path[:tag][@digest].
_DOMAIN_PART = "[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_HOST = rf"(?:{_DOMAIN_PART}(?:\.{_DOMAIN_PART})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?/"
_PATH = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_TAG = r":[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127}"
_DIGEST = r"@[a-zA-Z][a-zA-Z0-9]*(?:[-_+.][a-zA-Z][a-zA-Z0-9]*)*:[0-9a-fA-F]{32,}"
_IMAGE = f"^(?:{_HOST})?{_PATH}(?:/{_PATH})*(?:{_TAG})?(?:{_DIGEST})?$"


_LABEL_NAME = "[a-zA-Z0-9](?:[a-zA-Z0-9_.-]{0,61}[a-zA-Z0-9])?"
_LABEL_PREFIX = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*/"
# What a kubelet may set on its own Node; it does not start with another label of Kubernetes' own domains.
# Source: kubernetes cmd/kubelet/app/options/options.go, k8s.io/kubelet/pkg/apis/well_known_labels.go.
_RESERVED_LABEL = r"^(?:[^/]*\.)?(?:kubernetes|k8s)\.io/"
_KUBELET_LABEL = (
    r"^(?:(?:[^/]*\.)?(?:kubelet|node)\.kubernetes\.io/|(?:beta\.)?kubernetes\.io/(?:arch|os)$|kubernetes\.io/hostname$"
    r"|(?:topology|failure-domain\.beta)\.kubernetes\.io/(?:zone|region)$|beta\.kubernetes\.io/instance-type$)"
)


def image(doc: str) -> Schema:
    """Return the schema of a node image reference."""
    return text(
        doc,
        max_length=512,
        rules=[
            rule(
                f"self.matches(r'{_IMAGE}')",
                """must be an image reference such as kindest/node:v1.34.3 or
                registry.example:5000/kindest/node:v1.34.3@sha256:<digest>: lower-case path, no blanks, no https://""",
            )
        ],
    )


def _mounts() -> Schema:
    # A relative hostPath would be resolved in the provider's own working directory, which means nothing to the user.
    mount = record(
        "A directory or file of the machine that runs the container engine, mounted into the node.",
        {
            "hostPath": text(
                "Absolute path on the machine that runs the container engine, such as `/var/tmp/registry`.",
                max_length=4096,
                rules=[
                    rule(
                        r"self.startsWith('/') || self.size() > 2 && self.substring(1, 3) in [':/', ':\\']",
                        """must be an absolute path on the machine that runs the container engine;
                        write /some/directory in place of some/directory, ./ or ~/""",
                    )
                ],
            ),
            "containerPath": text(
                "Absolute path inside the node, such as `/data`.",
                max_length=4096,
                rules=[
                    rule(
                        "self.startsWith('/') && self.size() > 1",
                        "must be an absolute path below / inside the node, such as /data",
                    )
                ],
            ),
            "readOnly": flag("Whether the node may only read it. Without it the node can write."),
            "selinuxRelabel": flag("Whether the engine gives the files an SELinux label that the node may use."),
            "propagation": choice(
                """How mounts made later are seen across the border: `None` (as without it) keeps both sides apart,
                `HostToContainer` shows the host's new mounts inside the node, `Bidirectional` shows them both ways.""",
                "None",
                "HostToContainer",
                "Bidirectional",
            ),
        },
        required=["hostPath", "containerPath"],
    )
    return listing(
        "Directories and files of the engine's machine to mount into the node.",
        mount,
        max_items=64,
    )


def _port_mappings() -> Schema:
    port = record(
        "A port of the node, published on the machine that runs the container engine.",
        {
            # kind lets 0 and -1 through here; the container engine does not.
            "containerPort": integer(
                "Port inside the node, such as the node port of a Service.", minimum=1, maximum=65535
            ),
            "hostPort": integer(
                """Port on the machine that runs the container engine. Without it, or with 0, kind picks a free one
                and keeps it; with -1 the engine picks one, and another one each time the node starts.""",
                minimum=-1,
                maximum=65535,
            ),
            "listenAddress": address(
                """IP address of that machine to listen on, such as `127.0.0.1`. Without it: all IPv4 addresses, or
                all IPv6 ones for `ipFamily: ipv6`."""
            ),
            "protocol": text(
                "`TCP` (as without it), `UDP` or `SCTP`, in upper or lower case.",
                max_length=4,
                rules=[rule("self.upperAscii() in ['TCP', 'UDP', 'SCTP']", "must be TCP, UDP or SCTP")],
            ),
        },
        required=["containerPort"],
    )
    return listing(
        """Ports of the node to publish on the machine that runs the container engine, so that Services of type
        NodePort or host-network pods, an ingress controller for example, can be reached from there.""",
        port,
        max_items=128,
    )


def _node_labels() -> Schema:
    return mapping(
        """Labels of the Node object in the workload cluster, such as `tier: frontend`. Values must be quoted where
        YAML would read another type.""",
        {"type": "string", "maxLength": 63},
        max_properties=32,
        rules=[
            rule(
                f"self.all(k, k.matches(r'^(?:{_LABEL_PREFIX})?{_LABEL_NAME}$'))",
                """keys must be label keys: an optional DNS prefix and a slash, then at most 63 letters, digits,
                '-', '_' or '.', beginning and ending with a letter or digit""",
            ),
            rule(
                f"self.all(k, self[k] == '' || self[k].matches(r'^{_LABEL_NAME}$'))",
                """values must be label values: at most 63 letters, digits, '-', '_' or '.', beginning and ending with a
                letter or digit, or empty""",
            ),
            rule(
                f"self.all(k, !k.matches(r'{_RESERVED_LABEL}') || k.matches(r'{_KUBELET_LABEL}'))",
                """a node may not give itself this label of kubernetes.io or k8s.io: its kubelet would not start.
                Allowed are those of node.kubernetes.io, kubelet.kubernetes.io, topology.kubernetes.io/zone and
                region, kubernetes.io/hostname, arch and os. Set others, such as node-role.kubernetes.io/worker,
                with kubectl label on the running cluster""",
            ),
        ],
    )


def _node() -> Schema:
    return record(
        "One node of the kind cluster: a container that runs Kubernetes.",
        {
            "role": choice(
                """What the node is: `control-plane` (as without it) or `worker`. In a cluster of one node the
                control plane runs the workload too.""",
                "control-plane",
                "worker",
            ),
            "image": image(
                """Node image of this node alone, for nodes of different Kubernetes versions. Without it: the image
                of the cluster."""
            ),
            "labels": _node_labels(),
            "extraMounts": _mounts(),
            "extraPortMappings": _port_mappings(),
            **kubeadm_patches("this node"),
        },
    )


def nodes() -> Schema:
    """Return the schema of `nodes`."""
    return listing(
        """Nodes of the kind cluster, in kind's order. Without it: one control-plane node. With more than one
        control-plane node kind puts a load balancer in front of them, which takes a further container. Example:
        `[{role: control-plane}, {role: worker}, {role: worker}]`.""",
        _node(),
        max_items=64,
        rules=[
            rule(
                "self.size() == 0 || self.exists(n, !has(n.role) || n.role == 'control-plane')",
                """at least one node must have the role control-plane; add `- role: control-plane`, or leave nodes
                out for a cluster of one node""",
            )
        ],
    )
