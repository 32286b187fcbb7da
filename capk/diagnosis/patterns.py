"""What kind or the container engine prints on failure -> reason, cause in plain words, remedy. Pure data.

Only this module recognises output by its text. Most texts were recorded (test/fixtures/kind). The others are from the
sources of kind v0.32 and v0.33, the engines and kubeadm. The order matters: the first match counts.

`capk.diagnosis.pattern` searches for them.
"""

import re
from typing import Final

from capk.api.names import Reason
from capk.diagnosis import inotify
from capk.diagnosis.output import Output
from capk.diagnosis.pattern import Pattern, Words


def _pattern(
    words: tuple[str | tuple[str, str], ...],
    reason: Reason | None,
    message: str,
    *,
    retry: bool = True,
    after: tuple[str, ...] = (),
    creating: bool = False,
    in_log: bool = False,
) -> Pattern:
    parts = tuple(
        Words(part) if isinstance(part, str) else Words(part[0], re.compile(part[1], re.IGNORECASE | re.DOTALL))
        for part in words
    )
    return Pattern(parts, reason, message, retry, after, creating, in_log)


_CHECK_IMAGE: Final = "Check spec.image or spec.kubernetesVersion"
_BRING_IMAGE: Final = "load it into the engine (`docker pull` or `docker load`)"
_MEMORY: Final = (
    "Give the machine of the container engine more memory, or delete clusters that are not needed. A control-plane "
    "node takes about 0.5 GB and a worker 0.1 GB."
)
_INOTIFY: Final = f"`{inotify.command()}`"
_CUT_OFF: Final = r"\S{1,100}->\S{1,100}: (read|write): (?P<why>[a-z][a-z /]{1,60})"

_ENGINE: Final = (
    _pattern(
        (('exec: "', r'(?P<engine>[\w./-]{1,200})": executable file not found'),),
        Reason.ENGINE_UNREACHABLE,
        "kind cannot find the command {engine} of the container engine. Install it where the provider runs, or choose "
        "another engine with KIND_EXPERIMENTAL_PROVIDER.",
    ),
    # podman 6 prints the labels of containers as a list; kind reads them by name up to v0.32.
    _pattern(
        (("podman ps ", r".{1,400}?cannot index slice/array with type string"),),
        Reason.ENGINE_UNSUPPORTED,
        "This release of kind cannot read what podman 6 and later print. Install kind v0.33.0 or later where the "
        "provider runs, or use podman 5.",
    ),
    _pattern(
        ("cannot index slice/array with type string",),
        Reason.ENGINE_UNSUPPORTED,
        "This release of kind cannot read what this version of the container engine prints. Install the newest release "
        "of kind where the provider runs, or an older version of the engine.",
    ),
    _pattern(
        (
            "permission denied while trying to connect to the docker",
            ("dial unix ", r"\S{1,300}: connect: permission denied"),
        ),
        Reason.ENGINE_UNREACHABLE,
        "The provider has no permission to use the socket of the container engine. Run the provider as a user who has "
        "(for Docker, a member of the group docker), or change the permissions of the socket.",
    ),
    _pattern(
        (("client version ", r"\S{1,40} is too (new|old)"), "minimum supported api version"),
        Reason.ENGINE_UNREACHABLE,
        "The container engine and its client have incompatible API versions. Upgrade the older of the two.",
    ),
    _pattern(
        ("unable to resolve docker endpoint", ("context ", r"\S{1,200} does not exist"), "context not found"),
        Reason.ENGINE_UNREACHABLE,
        "The selected docker context does not exist. Correct DOCKER_CONTEXT, or select another one with "
        "`docker context use`.",
    ),
    _pattern(
        ("host key verification failed",),
        Reason.ENGINE_UNREACHABLE,
        "ssh does not accept the host key of the engine's machine. If the key is the right one, put it into "
        "known_hosts of the Secret of the KINDEngineClass, or of the user that the provider runs as.",
    ),
    _pattern(
        ("permission denied (publickey",),
        Reason.ENGINE_UNREACHABLE,
        "The engine's machine does not accept the ssh key. Add its public key to authorized_keys of the user in the "
        "address, or correct ssh-privatekey in the Secret of the KINDEngineClass.",
    ),
    _pattern(
        (("x509: ", r"(?P<why>[^\n]{1,200})"), ("remote error: tls: ", r"(?P<why>[^\n]{1,200})")),
        Reason.ENGINE_UNREACHABLE,
        "The provider and the engine do not accept each other's certificates: {why}. The certificate of the engine "
        "must name the host of its address. Correct it, or ca.crt, tls.crt and tls.key in the Secret of the "
        "KINDEngineClass (DOCKER_CERT_PATH for the provider's own engine).",
        after=("error during connect", "failed to connect to the docker api", "cannot connect to the docker daemon"),
    ),
    _pattern(
        (
            "cannot connect to the docker daemon",
            "failed to connect to the docker api",
            "error during connect",
            "cannot connect to podman",
            "unable to connect to podman",
            "is the docker daemon running",
            "rootless containerd not running",
            "cannot access containerd socket",
        ),
        Reason.ENGINE_UNREACHABLE,
        "The container engine does not answer. Start it. If it runs on another machine, check DOCKER_HOST or the "
        "docker context. The provider continues when the engine answers.",
    ),
    # The engine's client prints it on a line of its own; kubeadm and kubectl put the URL that they asked before it.
    _pattern(
        (("\nread tcp ", _CUT_OFF), ("\nwrite tcp ", _CUT_OFF)),
        Reason.ENGINE_UNREACHABLE,
        "The connection to the container engine was lost while kind worked: {why}. Check the network to its machine. "
        "The provider tries again.",
    ),
)
_RESOURCES: Final = (
    # Before the full disk: the kernel also reports used-up inotify watches as "no space left on device".
    _pattern(
        (
            "too many open files",
            ("inotify", r"[^\n]{0,80}?no space left on device"),
            ("fsnotify", r"[^\n]{0,80}?no space left on device"),
        ),
        Reason.INOTIFY_LIMIT,
        f"The kernel's inotify limits are used up. Raise them on the machine of the container engine: {_INOTIFY}.",
    ),
    _pattern(
        ("could not find a log line that matches",),
        Reason.INOTIFY_LIMIT,
        "The init system of a node did not start, in most cases because the kernel's inotify limits are used up. Raise "
        f"them on the machine of the container engine: {_INOTIFY}. If that does not help, check whether the node image "
        "was made for this release of kind.",
    ),
    _pattern(
        (
            "no space left on device",
            "disk quota exceeded",
            "not enough space",
            "not enough free space",
            "not enough disk space",
        ),
        Reason.OUT_OF_DISK,
        "The disk of the container engine is full. Free space, for example by removing unused images "
        "(`docker image prune --all`, `podman image prune --all`). `system prune` would also remove stopped nodes.",
    ),
    _pattern(
        ("cannot allocate memory", "out of memory", "oomkilled"),
        Reason.OUT_OF_MEMORY,
        f"The machine of the container engine is out of memory. {_MEMORY}",
    ),
    _pattern(
        ("failed with error: exit status 137", "failed with error: signal: killed"),
        Reason.OUT_OF_MEMORY,
        "A program in a node was killed: either memory ran out, or the node's container was removed meanwhile. "
        f"{_MEMORY}",
    ),
)
# The words with which `capk.engine.worker` begins the output of a failed call.
_WORKER_CREATE: Final = ("failed to create the worker",)
_WORKER_JOIN: Final = ("failed to join the worker",)
_WORKER_FIELDS: Final = "kubeadmConfigPatches, labels and taints of the KINDMachine"
_WORKERS: Final = (
    _pattern(
        (('container name "', r'/?(?P<name>[^"\n]{1,300})" is already in use'),),
        Reason.NAME_CONFLICT,
        "A container named {name} already exists that was not made for this object. Remove it, or delete the Machine, "
        "so that another one with another name is made.",
        after=_WORKER_CREATE,
    ),
    _pattern(
        (('a node with name "', r'(?P<name>[^"\n]{1,300})" and status "?Ready"? already exists'),),
        Reason.NAME_CONFLICT,
        "The kind cluster already has a Node named {name}, and it is Ready. Remove the Node with "
        "`kubectl delete node {name}`, or delete the Machine, so that another one with another name is made.",
        after=_WORKER_JOIN,
    ),
    _pattern(
        ("unknown 'kubernetes.io' or 'k8s.io' labels",),
        Reason.INVALID_CONFIG,
        "The kubelet of the worker refuses labels in the namespaces kubernetes.io and k8s.io, except for a few, so it "
        "did not start. Remove them from the labels of the KINDMachine. Labels such as node-role.kubernetes.io/worker "
        "belong in spec.template.metadata.labels of the MachineDeployment: Cluster API sets them on the Node.",
        retry=False,
        after=_WORKER_JOIN,
    ),
    _pattern(
        (
            "could not find a jws signature",
            "there is no jws signed token",
            ("token id ", r"\S{1,40} is invalid for this cluster or it has expired"),
        ),
        Reason.KUBEADM_FAILED,
        "The control plane did not accept the token of the worker in time. The provider tries again with a new token. "
        "If it happens again, check whether kube-controller-manager runs in the kind cluster.",
        after=_WORKER_JOIN,
    ),
    _pattern(
        (("failed to parse kubelet flag: ", r"(?P<why>[^\"\n]{1,200})"),),
        Reason.KUBEADM_FAILED,
        f"The kubelet of the worker did not start: {{why}}. Correct {_WORKER_FIELDS}.",
        retry=False,
        after=_WORKER_JOIN,
    ),
    _pattern(
        ("strict decoding error", "invalid value: "),
        Reason.KUBEADM_FAILED,
        f"kubeadm rejects the configuration of the worker: {{kubeadm}}. Correct {_WORKER_FIELDS}.",
        retry=False,
        after=_WORKER_JOIN,
    ),
    _pattern(
        ("the kubelet is not healthy after", "failed while waiting for the kubelet to start"),
        Reason.KUBEADM_FAILED,
        f"The kubelet of the worker did not start. Check {_WORKER_FIELDS}, and its image. A machine that is short of "
        "memory or time looks the same. The kind cluster itself is not affected.",
        after=_WORKER_JOIN,
    ),
)
_CONFLICTS: Final = (
    _pattern(
        # kind itself looks for a free port, on its own machine, only where no port was left to choose.
        ((":0: bind: cannot", r" assign requested address"),),
        Reason.PORT_CONFLICT,
        "The ports of the KINDEngineClass (spec.docker.ports) have no free port left, or networking.apiServerAddress "
        "is not an address of this machine. Delete a kind cluster, or give the class more ports.",
    ),
    _pattern(
        (("listen tcp", r"4? (?P<address>[0-9A-Fa-f.:\[\]]{2,64}):[0-9]{1,5}: bind: cannot assign requested address"),),
        Reason.PORT_CONFLICT,
        "The machine of the container engine has no address {address}, on which API servers are to listen. Correct "
        "networking.apiServerAddress, or spec.docker.apiServerAddress of the KINDEngineClass.",
    ),
    _pattern(
        ("cannot expose privileged port", "bind: permission denied"),
        Reason.PORT_CONFLICT,
        "The container engine is not allowed to publish a host port that low. Choose one above 1023 (nodes[]."
        "extraPortMappings[].hostPort, networking.apiServerPort), or allow it with "
        "`sysctl net.ipv4.ip_unprivileged_port_start`.",
    ),
    _pattern(
        ("address already in use", "port is already allocated", "ports are not available", "proxy already running"),
        Reason.PORT_CONFLICT,
        "{port} is taken by another program or cluster. Free it, or choose another one: "
        "nodes[].extraPortMappings[].hostPort, networking.apiServerPort.",
    ),
    _pattern(
        (('node(s) already exist for a cluster with the name "', r'(?P<name>[^"\n]{1,300})"'),),
        Reason.NAME_CONFLICT,
        "A kind cluster named {name} already exists. Choose another spec.clusterName, or delete that cluster with "
        "`kind delete cluster --name {name}`.",
    ),
    _pattern(
        (('container name "', r'/?(?P<name>[^"\n]{1,300})" is already in use'),),
        Reason.NAME_CONFLICT,
        "A container named {name} already exists. Choose another spec.clusterName, or remove that container.",
    ),
)
# The engine refuses a second removal of a container while the first one is under way.
_REMOVALS: Final = (
    _pattern(
        (("removal of container ", r"\S{1,200} is already in progress"),),
        None,
        "The container engine is still removing a container of this cluster. The provider waits and tries again.",
    ),
)
_NODE_STOPPED: Final = (
    # During a creation no part of the spec stops a node, so the step that kind was running is not the cause.
    _pattern(
        ("can only create exec sessions on running containers", ("container ", r"\S{1,200} is not running")),
        Reason.CREATION_FAILED,
        "The container of a node stopped while kind was setting it up. The provider tries again. If it happens again, "
        "check the log of the container engine, and whether its machine has enough memory.",
        creating=True,
    ),
)


def _pull(detail: str, reason: Reason, message: str, *, retry: bool = True) -> Pattern:
    return _pattern(
        (('failed to pull image "', rf'(?P<image>[^"\n]{{1,500}})"{detail}'),), reason, message, retry=retry
    )


_IMAGES: Final = (
    _pull(
        r".{0,1000}?invalid reference format",
        Reason.INVALID_CONFIG,
        f"{{image}} is not a valid image name. {_CHECK_IMAGE}.",
        retry=False,
    ),
    _pull(
        r".{0,1000}?(no such host|timeout|connection refused|connection reset|unreachable|no route to host|"
        r"server misbehaving|timed out)",
        Reason.IMAGE_NOT_FOUND,
        "The container engine does not have the image {image} and cannot reach its registry. Load the image into the "
        "engine (`docker pull` or `docker load`), or repair the network or proxy of the engine.",
    ),
    _pull(
        r".{0,1000}?(toomanyrequests|rate limit|429 Too Many)",
        Reason.IMAGE_NOT_FOUND,
        "The registry does not serve the image {image} for now, because its pull rate limit is reached. Log in to the "
        f"registry, or {_BRING_IMAGE}.",
    ),
    _pull(
        r".{0,1000}?no matching manifest",
        Reason.IMAGE_NOT_FOUND,
        f"The image {{image}} was not built for the processor of this machine. {_CHECK_IMAGE}.",
    ),
    _pull(
        "",
        Reason.IMAGE_NOT_FOUND,
        "The container engine does not have the image {image} and cannot pull it: it does not exist, or it needs a "
        f"login. {_CHECK_IMAGE}, or {_BRING_IMAGE}.",
    ),
    _pattern(
        ("no command specified",),
        Reason.INVALID_CONFIG,
        f"The image is not a node image of kind: it names no command to run. {_CHECK_IMAGE}.",
        retry=False,
    ),
    _pattern(
        (("unable to find image '", r"(?P<image>[^'\n]{1,500})' locally"),),
        Reason.IMAGE_NOT_FOUND,
        "The container engine does not have the image {image}, which kind needs as the load balancer of several "
        "control planes, and cannot pull it. Load it into the engine (`docker pull` or `docker load`).",
    ),
)
_CONFIGURATION: Final = (
    _pattern(
        (("field ", r"(?P<field>\S{1,200}) not found in type \S"),),
        Reason.INVALID_CONFIG,
        "kind does not accept the field {field} at this place in the configuration. Correct the KINDCluster's spec.",
        retry=False,
    ),
    _pattern(
        (
            "unable to decode config",
            "could not determine kind / apiversion",
            "unknown apiversion",
            ("unknown kind ", r"\S{1,200} for"),
            "is not a valid cluster name",
            "invalid apiserverport",
            "invalid ipfamily",
            "invalid pod subnet",
            "invalid service subnet",
            "invalid kubeproxymode",
            "invalid configuration for node",
            "must have at least one control-plane node",
            "failed to parse patches",
            ("failed to generate kubeadm config content: ", "(?!failed to get )"),
            "failed to patch containerd config",
            "unable to resolve absolute path",
            "unknown node role",
            "unknown port mapping protocol",
            "unknown cluster ip family",
        ),
        Reason.INVALID_CONFIG,
        "kind rejects the configuration: {cause}. Correct the KINDCluster's spec.",
        retry=False,
    ),
    # Docker's words, and those of engines on containerd; `rshared` needs "shared", `rslave` needs "shared or slave".
    # Not podman's warning `"/" is not a shared mount`, which it always prints.
    _pattern(
        (
            ("path ", r'"?(?P<path>[^\s"]{1,300})"? is mounted on "?[^\s"]{1,300}"? but it is not a shared'),
            ("path ", r'"?(?P<path>[^\s"]{1,300})"? is not a shared mount'),
        ),
        Reason.INVALID_CONFIG,
        "The container engine cannot propagate the mounts of {path}: that path is on a private mount of the engine's "
        "machine, which is the default under WSL. Remove `propagation` (HostToContainer, Bidirectional) from "
        "nodes[].extraMounts, or run `mount --make-rshared /` on that machine.",
    ),
    _pattern(
        (
            "error mounting",
            "invalid mount",
            "mounts denied",
            "bind source path does not exist",
            ("statfs ", r"[^\n]{1,300}?: no such file"),
            ("path ", r"[^\n]{1,300}? is not shared from"),
        ),
        Reason.INVALID_CONFIG,
        "The container engine cannot mount what nodes[].extraMounts requests: {cause}. Correct hostPath, or create it "
        "on the machine of the container engine.",
    ),
    _pattern(
        ("invalid reference format",),
        Reason.INVALID_CONFIG,
        f"The container engine rejects the name of the image. {_CHECK_IMAGE}.",
        retry=False,
    ),
)
_KUBEADM: Final = ("failed to init node with kubeadm", "failed to join node with kubeadm")
_CONTAINERD: Final = (
    "containerd in a node does not work with its configuration. Check containerdConfigPatches: containerd from 2.2 on "
    "does not start its CRI plugin if a patch sets registry.mirrors while config_path is set. Configure mirrors with "
    "hosts.toml files below config_path instead. To see more, run {again}."
)
_CREATION: Final = (
    _pattern(
        ("`mirrors` cannot be set when `config_path` is provided",),
        Reason.KUBEADM_FAILED,
        _CONTAINERD,
        retry=False,
    ),
    _pattern(
        (
            "failed to restart containerd after patching config",
            ("unknown service runtime.v1", r"\w{0,20}\.RuntimeService"),
        ),
        Reason.KUBEADM_FAILED,
        _CONTAINERD,
    ),
    # podman without aardvark-dns (netavark) or dnsname (CNI): nodes cannot look each other up.
    _pattern(
        (("lookup ", r"(?P<node>[\w.-]{1,200}-(control-plane|external-load-balancer)) on \S{1,100}: no such host"),),
        Reason.NODE_NAME_NOT_RESOLVED,
        "A node cannot find the control plane, because the network of the container engine does not resolve {node}. "
        "For podman, install its DNS plugin on the machine of the engine: aardvark-dns (with netavark) or dnsname "
        "(with CNI). Then remove the network that was created without it: `podman network rm kind`.",
        after=("failed to join node with kubeadm", *_WORKER_JOIN),
        in_log=True,
    ),
    # Trouble in containerd shows only as a kubelet that never becomes healthy, not in kind's output.
    _pattern(
        ("the kubelet is not healthy after", "failed while waiting for the kubelet to start"),
        Reason.KUBEADM_FAILED,
        "The kubelet of a node did not start. Check containerdConfigPatches (inline registry mirrors end containerd "
        "from 2.2 on), kubeadmConfigPatches, featureGates and the node image. A machine that is short of memory or "
        "time looks the same. To keep the nodes for a closer look, run {again}.",
        after=_KUBEADM,
    ),
    # kubeadm's last words in these phases depend on chance: one cause has led to three different ones.
    _pattern(
        (
            (
                "error execution phase ",
                r"(?P<phase>wait-control-plane|kubelet-start|kubelet-wait-bootstrap|check-etcd|"
                r"control-plane-join\S{0,60}|etcd-join|upload-config\S{0,60}|addon\S{0,60})",
            ),
        ),
        Reason.KUBEADM_FAILED,
        "Kubernetes did not start in a node (phase {phase} of kubeadm). Check kubeadmConfigPatches, featureGates, "
        "runtimeConfig and the node image. A machine that is short of memory, disk or time looks the same. To keep the "
        "nodes for a closer look, run {again}.",
        after=_KUBEADM,
    ),
    _pattern(
        ("invalid value: ",),
        Reason.KUBEADM_FAILED,
        "kubeadm rejects its configuration: {kubeadm}. Correct kubeadmConfigPatches, featureGates or runtimeConfig, or "
        "choose another node image.",
        retry=False,
        after=_KUBEADM,
    ),
    _pattern(
        _KUBEADM,
        Reason.KUBEADM_FAILED,
        "kubeadm cannot set up a node: {kubeadm}. Correct kubeadmConfigPatches, featureGates or runtimeConfig, or "
        "choose another node image.",
    ),
    _pattern(
        _WORKER_JOIN,
        Reason.KUBEADM_FAILED,
        f"kubeadm cannot join the worker: {{kubeadm}}. Check {_WORKER_FIELDS}, and its image. The kind cluster itself "
        "is not affected.",
    ),
    _pattern(
        (
            ("failed to ensure ", r"\w{1,40} network"),
            "address pools have been fully subnetted",
            "non-overlapping",
            "failed to set up container networking",
        ),
        Reason.CREATION_FAILED,
        "The container engine cannot provide the network of the nodes: {cause}. Remove networks that are not used "
        "(`docker network prune`) and check the engine's firewall rules.",
    ),
    _pattern(
        (
            (
                "running kind with rootless provider requires ",
                r"(?P<what>cgroup v2|setting systemd property \S{1,80})",
            ),
        ),
        Reason.CREATION_FAILED,
        "A rootless container engine can run kind only with {what}. Set up the machine as described in "
        "https://kind.sigs.k8s.io/docs/user/rootless/, or use an engine that runs as root.",
    ),
    _pattern(
        ("failed to lock config file",),
        Reason.CREATION_FAILED,
        "kind could not write its kubeconfig. Check that the provider may write its work directory.",
    ),
)
_OTHERS: Final = (
    _pattern(
        (
            "tried to kill container, but did not receive an exit event",
            "device or resource busy",
            "failed to remove root filesystem",
        ),
        Reason.DELETION_FAILED,
        "The container engine cannot stop the container of a node, or its files are still in use. If this lasts, "
        "restart the container engine.",
    ),
    _pattern(
        ("could not locate any control plane nodes",),
        Reason.KUBECONFIG_UNAVAILABLE,
        "The kind cluster no longer has a control-plane node. Delete it, or create it again.",
    ),
    _pattern(
        ("/etc/kubernetes/admin.conf: no such file",),
        Reason.KUBECONFIG_UNAVAILABLE,
        "The creation of the kind cluster was never finished. Delete it, or create it again.",
    ),
    _pattern(
        (("container ", r"\S{1,200} is not running"), "can only create exec sessions on running containers"),
        Reason.KUBECONFIG_UNAVAILABLE,
        "The control-plane container is stopped. Start it.",
    ),
)
PATTERNS: Final = (
    *_ENGINE,
    *_RESOURCES,
    *_WORKERS,
    *_CONFLICTS,
    *_REMOVALS,
    *_NODE_STOPPED,
    *_IMAGES,
    *_CONFIGURATION,
    *_CREATION,
    *_OTHERS,
)

_PORTS: Final = re.compile(r"\S{0,80}?:(?P<port>\d{1,5})\b")
_PORT_WORDS: Final = tuple(
    Words(words, _PORTS)
    for words in ("bind for ", "host port for ", "exposing port tcp ", "exposing port udp ", "exposing port sctp ")
) + tuple(Words(f"listen {network} ", _PORTS) for network in ("tcp", "tcp4", "tcp6", "udp", "udp4", "udp6"))
_EPHEMERAL: Final = range(32768, 65536)


def port(output: Output) -> str:
    """Return which host port is taken, if a person chose it.

    Most ports in the kernel's ephemeral range are kind's own choice, and differ each time (C18).
    """
    facts = (words.find(output.folded, output.text) for words in _PORT_WORDS)
    number = next((found["port"] for found in facts if found), None)
    return f"Host port {number}" if number and int(number) not in _EPHEMERAL else "A host port"
