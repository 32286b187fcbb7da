"""The schema of kind's nodes: role, image, labels, mounts, published ports, patches."""

from hack.crds.kindaddress import address
from hack.crds.kindpatches import kubeadm_patches
from hack.crds.schema import Schema, choice, flag, integer, listing, mapping, record, rule, text

# The grammar of github.com/distribution/reference: [host[:port]/]path[:tag][@digest].
_DOMAIN_PART = "[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
REGISTRY_HOST = rf"(?:{_DOMAIN_PART}(?:\.{_DOMAIN_PART})*|\[[a-fA-F0-9:]+\])"
_HOST = rf"{REGISTRY_HOST}(?::[0-9]+)?/"
_PATH = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_TAG = r":[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127}"
_DIGEST = r"@[a-zA-Z][a-zA-Z0-9]*(?:[-_+.][a-zA-Z][a-zA-Z0-9]*)*:[0-9a-fA-F]{32,}"
_IMAGE = f"^(?:{_HOST})?{_PATH}(?:/{_PATH})*(?:{_TAG})?(?:{_DIGEST})?$"


LABEL_NAME = "[a-zA-Z0-9](?:[a-zA-Z0-9_.-]{0,61}[a-zA-Z0-9])?"
LABEL_PREFIX = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*/"
# Labels that a kubelet may set on its own Node. It does not start with any other label of Kubernetes' own domains.
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


_WINDOWS_PATH = r"self.size() > 2 && self.substring(1, 3) in [':/', ':\\']"
# The provider marks its nodes below this folder; see CLAIM_MOUNT_FOLDER in capk.api.names.
_MARKS = "/etc/capk"


def _host_path() -> Schema:
    # kind would resolve a relative path in the provider's working directory, which has no meaning for the user. It
    # resolves C:\\ in the same way, except on Windows, where the provider does not run.
    return text(
        "Absolute path on the machine that runs the container engine, such as `/var/tmp/registry`. Without a colon.",
        max_length=4096,
        rules=[
            rule(
                f"self.startsWith('/') || {_WINDOWS_PATH}",
                """must be an absolute path on the machine that runs the container engine;
                write /some/directory in place of some/directory, ./ or ~/""",
            ),
            rule(
                f"!({_WINDOWS_PATH})",
                """cannot be a Windows path: the container engine runs on Linux. With the provider in WSL, write
                /mnt/c/data in place of C:\\data; with Docker Desktop and a provider elsewhere,
                /run/desktop/mnt/host/c/data""",
            ),
            rule("!self.startsWith('/') || !self.contains(':')", _no_colon("hostPath")),
        ],
    )


def _container_path() -> Schema:
    # Rules of one contains() each: the API server sums up their cost for 64 mounts in each of 64 nodes.
    return text(
        """Absolute path inside the node, such as `/data`. Without a colon, and not below `/etc/capk`, where the
        provider marks its nodes.""",
        max_length=4096,
        rules=[
            rule(
                "self.startsWith('/') && self.size() > 1",
                "must be an absolute path below / inside the node, such as /data",
            ),
            rule("!self.contains(':')", _no_colon("containerPath")),
            rule("!self.contains('//')", "must not contain //; write /data/cache in place of /data//cache"),
            rule("!self.contains('/./')", "must not contain /./; write /data/cache in place of /data/./cache"),
            rule(
                "!self.contains('/../')",
                "must not contain /../; write the path that it leads to, such as /data in place of /srv/../data",
            ),
            rule(
                "!self.endsWith('/.') && !self.endsWith('/..')",
                "must not end with /. or /..; write the path that it leads to, such as /data",
            ),
            rule(
                f"self != '{_MARKS}' && !self.startsWith('{_MARKS}/')",
                f"""cannot be {_MARKS} or a path below it: the provider marks the nodes that it creates there. Choose
                another containerPath""",
            ),
        ],
    )


def _no_colon(field: str) -> str:
    return f"""must not contain a colon: kind gives a mount to the container engine as hostPath:containerPath. Choose a
    {field} without one, for example by mounting the directory above it"""


def mounts() -> Schema:
    """Return the schema of `extraMounts`."""
    mount = record(
        "A directory or file of the machine that runs the container engine, mounted into the node.",
        {
            "hostPath": _host_path(),
            "containerPath": _container_path(),
            "readOnly": flag("Whether the node may only read it. Default: false."),
            "selinuxRelabel": flag("Whether the engine gives the files an SELinux label that the node may use."),
            "propagation": choice(
                """How later mounts propagate: `None` (the default) keeps both sides apart,
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
            # kind accepts 0 and -1 here, but the container engine does not.
            "containerPort": integer(
                "Port inside the node, such as the node port of a Service.", minimum=1, maximum=65535
            ),
            "hostPort": integer(
                """Port on the machine that runs the container engine. By default, or with 0, kind picks a free
                port and keeps it. With -1 the engine picks another port each time the node starts.""",
                minimum=-1,
                maximum=65535,
            ),
            "listenAddress": address(
                """IP address of that machine to listen on, such as `127.0.0.1`. Default: all IPv4 addresses, or
                all IPv6 ones for `ipFamily: ipv6`."""
            ),
            "protocol": text(
                "`TCP` (the default), `UDP` or `SCTP`, in upper or lower case.",
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


def node_labels() -> Schema:
    """Return the schema of the labels with which a kubelet registers its Node."""
    return mapping(
        """Labels of the Node object in the workload cluster, such as `tier: frontend`. Quote values that YAML would
        read as another type.""",
        {"type": "string", "maxLength": 63},
        max_properties=32,
        rules=[
            rule(
                f"self.all(k, k.matches(r'^(?:{LABEL_PREFIX})?{LABEL_NAME}$'))",
                """keys must be label keys: an optional DNS prefix and a slash, then at most 63 letters, digits,
                '-', '_' or '.', beginning and ending with a letter or digit""",
            ),
            rule(
                f"self.all(k, self[k] == '' || self[k].matches(r'^{LABEL_NAME}$'))",
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
            # Their DaemonSets select it: kind pkg/build/nodeimage/const_cni.go, kubeadm's manifest of kube-proxy.
            rule(
                "!('kubernetes.io/os' in self) || self['kubernetes.io/os'] == 'linux'",
                """kubernetes.io/os must be linux: kind's network plugin and kube-proxy run on no other node, so that
                this one would never be Ready. Omit the label""",
            ),
        ],
    )


def _node() -> Schema:
    return record(
        "One node of the kind cluster: a container that runs Kubernetes.",
        {
            "role": choice(
                """Role of the node: `control-plane` (the default) or `worker`. In a cluster with one node, the
                control-plane node also runs the workload.""",
                "control-plane",
                "worker",
            ),
            "image": image(
                """Node image of this node alone, for nodes of different Kubernetes versions. Default: the image
                of the cluster."""
            ),
            "labels": node_labels(),
            "extraMounts": mounts(),
            "extraPortMappings": _port_mappings(),
            **kubeadm_patches("this node"),
        },
    )


def nodes() -> Schema:
    """Return the schema of `nodes`."""
    return listing(
        """Nodes of the kind cluster, in kind's order. Default: one control-plane node. With more than one
        control-plane node, kind adds a load balancer, which is another container. Example:
        `[{role: control-plane}, {role: worker}, {role: worker}]`.""",
        _node(),
        max_items=64,
        rules=[
            rule(
                "self.size() == 0 || self.exists(n, !has(n.role) || n.role == 'control-plane')",
                """at least one node must have the role control-plane; add `- role: control-plane`, or omit nodes for a
                cluster of one node""",
            )
        ],
    )
