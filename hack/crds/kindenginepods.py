"""The schema of engines in Pods, as a KINDEngineClass describes them."""

from capk.api.podengines import POD_FIELDS
from hack.crds.kindnodes import LABEL_NAME, LABEL_PREFIX, REGISTRY_HOST, image
from hack.crds.quantity import amount, resources
from hack.crds.schema import Schema, choice, flag, integer, listing, mapping, record, rule, text

OBJECT_NAME = r"^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*$"
_MIRROR = rf"^https?://{REGISTRY_HOST}(?::[0-9]{{1,5}})?$"
_LABEL_KEY = f"(?:{LABEL_PREFIX})?{LABEL_NAME}"
_OURS = "k == 'app.kubernetes.io/managed-by' || k.startsWith('kind.infrastructure.cluster.x-k8s.io/')"


def pods() -> Schema:
    """Return the schema of `pods`."""
    return record(
        """A Docker engine of its own for each kind cluster, in a Pod of the management cluster. Everyone who may use
        it is root on the machine of that Pod, unless its runtime prevents that.""",
        {
            "image": image(
                """Image of Docker's engine: `docker:dind` or one with the same entry point, best by digest, as in
                `docker:29-dind@sha256:...`."""
            ),
            "network": _network(),
            "resources": record(
                """What the Pod of a kind cluster requests: the sum over its nodes. Its limit of memory is the request,
                its limit of `ephemeral-storage` that of `max`, and processor time has no limit.""",
                {
                    "controlPlane": resources(
                        """For each control-plane node. Default: `500m`, `1Gi` and `3Gi`. With less than 1 GiB of
                        memory, Kubernetes may fail to start without any sign of the cause."""
                    ),
                    "worker": resources("For each worker. Default: `250m`, `512Mi` and `2Gi`."),
                    "max": resources("What one Pod may request. Default: `8`, `16Gi` and `50Gi`."),
                },
            ),
            "storage": record(
                """Where images and data of the kind cluster are. Without `claim`, on the disk of the Pod's machine;
                they go with the Pod.""",
                {"claim": _claim()},
            ),
            "images": record(
                "Where the engine gets images.",
                {
                    "mirrors": listing(
                        """Registries to ask for images of docker.io first, such as `http://10.96.0.50:5000`. The engine
                        does not resolve names of Services: give the ClusterIP.""",
                        text(
                            "URL of a registry.",
                            max_length=512,
                            rules=[
                                rule(
                                    f"self.matches(r'{_MIRROR}')",
                                    """must be a URL such as http://10.96.0.50:5000 or https://mirror.example, without
                                    user and path""",
                                )
                            ],
                        ),
                        max_items=8,
                    )
                },
            ),
            "podTemplate": _template(),
            "securityContext": record(
                "Security of the Pod's container.",
                {
                    "privileged": flag(
                        """Whether the container is privileged. Default: true. Set false only together with a
                        `runtimeClassName` whose runtime lets Docker run without it, such as sysbox."""
                    )
                },
                rules=[
                    rule(
                        "has(self.privileged)",
                        "must be set: true, or false with a runtime that needs no privileges; or omit securityContext",
                        at=".privileged",
                    )
                ],
            ),
            "hostModules": flag(
                """Whether the Pod mounts `/lib/modules` of its machine, read-only, so that kind's nodes can load kernel
                modules. Default: false."""
            ),
            "allowedHostPaths": listing(
                """Paths of the Pod that nodes may mount with `extraMounts`, and all below them. They are in the Pod and
                not on its machine. Default: none.""",
                text(
                    "Absolute path, such as `/srv/cache`.",
                    max_length=4096,
                    rules=[rule("self.startsWith('/')", "must be an absolute path, such as /srv/cache")],
                ),
                max_items=64,
            ),
        },
        required=["image"],
    )


def _network() -> Schema:
    return record(
        """Addresses inside the Pod. They must differ from those of Pods, Services and machines that the engine has to
        reach, such as a registry.""",
        {
            "bridge": _subnet("Docker's default network. Default: `10.202.0.0/24`.", 30),
            "nodes": _subnet("Networks of kind's nodes; each is a /24 of it. Default: `10.201.0.0/16`.", 24),
            "mtu": integer(
                "Largest packet of these networks, in bytes. Default: that of the Pod.", minimum=576, maximum=65535
            ),
        },
        rules=[
            rule(
                f"!{_overlaps(_or('bridge', '10.202.0.0/24'), _or('nodes', '10.201.0.0/16'))}",
                "bridge and nodes must not have addresses in common; choose another one for one of them",
            )
        ],
    )


def _or(field: str, default: str) -> str:
    return f"cidr(has(self.{field}) && isCIDR(self.{field}) ? self.{field} : '{default}')"


def _overlaps(one: str, other: str) -> str:
    return f"({one}.containsCIDR({other}) || {other}.containsCIDR({one}))"


def _subnet(doc: str, longest: int) -> Schema:
    return text(
        doc,
        max_length=18,
        rules=[
            rule(
                f"""
                isCIDR(self) && cidr(self).ip().family() == 4 && cidr(self) == cidr(self).masked()
                && cidr(self).prefixLength() >= 8 && cidr(self).prefixLength() <= {longest}
                """,
                f"""must be an IPv4 CIDR from /8 to /{longest} that begins with its first address, such as
                10.201.0.0/16""",
            )
        ],
    )


def _claim() -> Schema:
    return record(
        """Claim for a volume of each engine. With it, a kind cluster survives the deletion of its Pod, and can be
        stopped with `powerState`.""",
        {
            "storageClassName": _name("Name of a StorageClass. Default: the default one.", "a StorageClass"),
            "size": amount("Size of the volume, such as `20Gi`."),
        },
        required=["size"],
    )


def _name(doc: str, what: str) -> Schema:
    return text(doc, max_length=253, rules=[rule(f"self.matches(r'{OBJECT_NAME}')", f"must be the name of {what}")])


def _template() -> Schema:
    spec = {
        "hostUsers": flag(
            """Whether the Pod is in the user namespace of its machine. Default: true. Set false for user namespaces,
            with which kind was not tried."""
        ),
        "imagePullSecrets": listing(
            "Secrets in the namespace of the engines with the keys to the registry of `image`.",
            record(
                "A Secret.",
                {"name": _name("Name of the Secret.", "a Secret")},
                required=["name"],
            ),
            max_items=16,
            keys=["name"],
        ),
        "nodeSelector": mapping(
            "Labels of the machines that may run the Pod.",
            {"type": "string", "maxLength": 63},
            max_properties=64,
        ),
        "priorityClassName": _name("Name of a PriorityClass.", "a PriorityClass"),
        "runtimeClassName": _name("Name of a RuntimeClass, such as `sysbox-runc`.", "a RuntimeClass"),
        "schedulerName": _name("Name of the scheduler. Default: the default one.", "a scheduler"),
        "tolerations": listing("Taints of machines that the Pod tolerates.", _toleration(), max_items=64),
    }
    if tuple(spec) != POD_FIELDS:
        raise AssertionError("the provider reads other fields of podTemplate than the schema has")
    return record(
        """What the Pod gets beyond what the provider sets. Containers, volumes, and whatever belongs to the machine
        (hostNetwork, hostPID, hostIPC) cannot be set.""",
        {
            "metadata": record(
                "Labels and annotations of the Pod. Those that the provider sets stay.",
                {
                    "labels": _metadata("Labels of the Pod.", {"type": "string", "maxLength": 63}),
                    "annotations": _metadata("Annotations of the Pod.", {"type": "string", "maxLength": 4096}),
                },
            ),
            "spec": record("Where and in which runtime the Pod runs.", spec),
        },
    )


def _metadata(doc: str, values: Schema) -> Schema:
    return mapping(
        doc,
        values,
        max_properties=32,
        rules=[
            rule(
                f"self.all(k, k.matches(r'^{_LABEL_KEY}$'))", "keys must be those of labels, such as team or a.b/team"
            ),
            rule(f"self.all(k, !({_OURS}))", "cannot have the provider's own keys; leave them out"),
        ],
    )


def _toleration() -> Schema:
    return record(
        "A taint that is tolerated.",
        {
            "key": text("Key of the taint. Without it, every taint.", max_length=317),
            "operator": choice("How the value is compared: `Equal` (the default) or `Exists`.", "Equal", "Exists"),
            "value": {"description": "Value of the taint.", "type": "string", "maxLength": 63},
            "effect": choice("Effect of the taint. Default: all.", "NoSchedule", "PreferNoSchedule", "NoExecute"),
            "tolerationSeconds": integer(
                "How long the Pod stays with a taint of effect NoExecute. Default: for ever.", minimum=0, size="int64"
            ),
        },
        rules=[
            rule(
                "has(self.key) || (has(self.operator) && self.operator == 'Exists')",
                "must be Exists if key is not set",
                at=".operator",
            ),
            rule(
                "!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
                "must be NoExecute if tolerationSeconds is set",
                at=".effect",
            ),
        ],
    )
