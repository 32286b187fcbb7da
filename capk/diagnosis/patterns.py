"""What kind or the container engine prints when it fails -> reason, cause in plain words, remedy. Pure data.

The only place where output is recognised by its text. Most texts were recorded (test/fixtures/kind); the others are
what the engines are documented to print. The order matters: the first that fits counts.
"""

import re
from dataclasses import dataclass
from typing import Final

from capk.api.names import Reason


@dataclass(frozen=True)
class Pattern:
    """One way to fail.

    message: may hold, in braces, the named groups of the expression, `cause` (what the command said), `kubeadm` (what
    kubeadm said) and `port`.
    retry: whether the same call may succeed later although nobody changed the object.
    """

    expression: re.Pattern[str]
    reason: Reason
    message: str
    retry: bool = True


def _pattern(expression: str, reason: Reason, message: str, *, retry: bool = True) -> Pattern:
    return Pattern(re.compile(expression, re.IGNORECASE | re.DOTALL), reason, message, retry)


_CHECK_IMAGE: Final = "Check spec.image or spec.kubernetesVersion"

_ENGINE: Final = (
    _pattern(
        r'exec: "(?P<engine>[\w.]+)": executable file not found',
        Reason.ENGINE_UNREACHABLE,
        "kind cannot find the command {engine} of the container engine. Install it where the provider runs, or choose "
        "another engine with KIND_EXPERIMENTAL_PROVIDER.",
    ),
    _pattern(
        r"permission denied while trying to connect to the docker|dial unix \S+: connect: permission denied",
        Reason.ENGINE_UNREACHABLE,
        "The provider may not use the socket of the container engine. Run the provider as a user who may (for Docker a "
        "member of the group docker), or change the socket's permissions.",
    ),
    _pattern(
        r"client version \S+ is too (new|old)|minimum supported API version",
        Reason.ENGINE_UNREACHABLE,
        "The container engine and its command do not understand each other's version. Update the older of the two.",
    ),
    _pattern(
        r"unable to resolve docker endpoint|context \S+ does not exist|context not found",
        Reason.ENGINE_UNREACHABLE,
        "The chosen docker context does not exist. Correct DOCKER_CONTEXT or run `docker context use`.",
    ),
    _pattern(
        r"cannot connect to the docker daemon|failed to connect to the docker API|error during connect|"
        r"cannot connect to podman|unable to connect to podman|is the docker daemon running|"
        r"rootless containerd not running|cannot access containerd socket",
        Reason.ENGINE_UNREACHABLE,
        "The container engine does not answer. Start it, and check DOCKER_HOST or the docker context if it runs "
        "elsewhere; work goes on when it answers.",
    ),
)
_RESOURCES: Final = (
    # Before the full disk: the kernel reports used-up inotify watches as "no space left on device" too.
    _pattern(
        r"too many open files|(i|fs)notify[^\n]{0,80}no space left on device",
        Reason.INOTIFY_LIMIT,
        "The kernel's inotify limits are used up. Raise them on the machine of the container engine: "
        "`sysctl fs.inotify.max_user_instances=512 fs.inotify.max_user_watches=524288`.",
    ),
    _pattern(
        r"could not find a log line that matches",
        Reason.INOTIFY_LIMIT,
        "A node's init system did not come up, in most cases because the kernel's inotify limits are used up. Raise "
        "them on the machine of the container engine: `sysctl fs.inotify.max_user_instances=512 "
        "fs.inotify.max_user_watches=524288`; if that does not help, see whether the node image fits kind's version.",
    ),
    _pattern(
        r"no space left on device|disk quota exceeded|not enough (free |disk )?space",
        Reason.OUT_OF_DISK,
        "The disk of the container engine is full. Make room, for instance by removing unused images and volumes "
        "(`docker system prune`, `podman system prune`).",
    ),
    _pattern(
        r"cannot allocate memory|out of memory|OOMKilled",
        Reason.OUT_OF_MEMORY,
        "The machine of the container engine is out of memory. Give it more, or delete clusters that are not needed; a "
        "control-plane node takes about 0.5 GB and a worker 0.1 GB.",
    ),
    _pattern(
        r"failed with error: (exit status 137|signal: killed)",
        Reason.OUT_OF_MEMORY,
        "A program in a node was killed: memory ran out, or somebody removed the node's container. Give the machine of "
        "the container engine more memory, or delete clusters that are not needed; a control-plane node takes about "
        "0.5 GB and a worker 0.1 GB.",
    ),
)
_CONFLICTS: Final = (
    _pattern(
        r"cannot expose privileged port|bind: permission denied",
        Reason.PORT_CONFLICT,
        "The container engine may not publish a host port as low as that. Choose one above 1023 (nodes[]."
        "extraPortMappings[].hostPort, networking.apiServerPort), or allow it with "
        "`sysctl net.ipv4.ip_unprivileged_port_start`.",
    ),
    _pattern(
        r"address already in use|port is already allocated|ports are not available|proxy already running",
        Reason.PORT_CONFLICT,
        "{port} is taken by another program or cluster. Free it, or choose another one: "
        "nodes[].extraPortMappings[].hostPort, networking.apiServerPort.",
    ),
    _pattern(
        r'node\(s\) already exist for a cluster with the name "(?P<name>[^"]+)"',
        Reason.NAME_CONFLICT,
        "A kind cluster named {name} exists already. Choose another spec.clusterName, or delete that cluster with "
        "`kind delete cluster --name {name}`.",
    ),
    _pattern(
        r'container name "/?(?P<name>[^"]+)" is already in use',
        Reason.NAME_CONFLICT,
        "A container named {name} exists already. Choose another spec.clusterName, or remove that container.",
    ),
)
_IMAGES: Final = (
    _pattern(
        r'failed to pull image "(?P<image>[^"]+)".{0,1000}invalid reference format',
        Reason.INVALID_CONFIG,
        f"{{image}} is not the name of an image. {_CHECK_IMAGE}.",
        retry=False,
    ),
    _pattern(
        r'failed to pull image "(?P<image>[^"]+)".{0,1000}(no such host|timeout|connection refused|connection reset|'
        r"unreachable|no route to host|server misbehaving|timed out)",
        Reason.IMAGE_NOT_FOUND,
        "The container engine has no image {image} and cannot reach its registry. Bring the image there "
        "(`docker pull` or `docker load`), or repair the network or proxy of the container engine.",
    ),
    _pattern(
        r'failed to pull image "(?P<image>[^"]+)".{0,1000}(toomanyrequests|rate limit|429 Too Many)',
        Reason.IMAGE_NOT_FOUND,
        "The registry refuses to give the image {image} for now, because too much was pulled. Log in to the registry, "
        "or bring the image there (`docker pull` or `docker load`).",
    ),
    _pattern(
        r'failed to pull image "(?P<image>[^"]+)".{0,1000}no matching manifest',
        Reason.IMAGE_NOT_FOUND,
        f"The image {{image}} was not built for the processor of this machine. {_CHECK_IMAGE}.",
    ),
    _pattern(
        r'failed to pull image "(?P<image>[^"]+)"',
        Reason.IMAGE_NOT_FOUND,
        f"The container engine has no image {{image}}, and it cannot be pulled: there is none, or it needs a login. "
        f"{_CHECK_IMAGE}, or bring the image there (`docker pull` or `docker load`).",
    ),
    _pattern(
        r"no command specified",
        Reason.INVALID_CONFIG,
        f"The image is none of kind's node images: it names no command to run. {_CHECK_IMAGE}.",
        retry=False,
    ),
    _pattern(
        r"unable to find image '(?P<image>[^']+)' locally",
        Reason.IMAGE_NOT_FOUND,
        "The container engine has no image {image}, which kind needs as the load balancer of several control planes, "
        "and it cannot be pulled. Bring the image there (`docker pull` or `docker load`).",
    ),
)
_CONFIGURATION: Final = (
    _pattern(
        r"field (?P<field>\S+) not found in type \S+",
        Reason.INVALID_CONFIG,
        "kind knows no field {field} where it stands in the configuration. Correct the KINDCluster's spec.",
        retry=False,
    ),
    _pattern(
        r"unable to decode config|could not determine kind / apiVersion|unknown apiVersion|unknown kind \S+ for|"
        r"is not a valid cluster name|\binvalid (apiServerPort|ipFamily|pod subnet|service subnet|kubeProxyMode)|"
        r"invalid configuration for node|must have at least one control-plane node|failed to parse patches|"
        r"failed to generate kubeadm config content|failed to patch containerd config|"
        r"unable to resolve absolute path|unknown (node role|port mapping protocol|cluster IP family)",
        Reason.INVALID_CONFIG,
        "kind refuses the configuration: {cause}. Correct the KINDCluster's spec.",
        retry=False,
    ),
    _pattern(
        r"error mounting|invalid mount|mounts denied|bind source path does not exist|statfs [^\n]{1,300}: no such file|"
        r"path [^\n]{1,300} is not (a shared mount|shared from)",
        Reason.INVALID_CONFIG,
        "The container engine cannot mount what nodes[].extraMounts asks for: {cause}. Correct hostPath, or create it "
        "on the machine of the container engine.",
    ),
    _pattern(
        r"invalid reference format",
        Reason.INVALID_CONFIG,
        f"The container engine refuses the name of an image. {_CHECK_IMAGE}.",
        retry=False,
    ),
)
_CREATION: Final = (
    # kubeadm's last words in these phases depend on chance: three different ones were seen for one cause.
    _pattern(
        r"failed to (init|join) node with kubeadm.*error execution phase (?P<phase>wait-control-plane|kubelet-start|"
        r"kubelet-wait-bootstrap|check-etcd|control-plane-join\S*|etcd-join|upload-config\S*|addon\S*)",
        Reason.KUBEADM_FAILED,
        "Kubernetes did not come up in a node (phase {phase} of kubeadm). Check kubeadmConfigPatches, featureGates, "
        "runtimeConfig and the node image; a machine short of memory, disk or time looks the same. "
        "`kind create cluster --retain` with the same configuration keeps the nodes for a closer look.",
    ),
    _pattern(
        r"failed to (init|join) node with kubeadm",
        Reason.KUBEADM_FAILED,
        "kubeadm cannot set a node up: {kubeadm}. Correct kubeadmConfigPatches, featureGates or runtimeConfig, or "
        "choose another node image.",
    ),
    _pattern(
        r"failed to ensure \w+ network|address pools have been fully subnetted|non-overlapping|"
        r"failed to set up container networking",
        Reason.CREATION_FAILED,
        "The container engine cannot provide the network of the nodes: {cause}. Remove networks that are not used "
        "(`docker network prune`) and check the engine's firewall rules.",
    ),
    _pattern(
        r"running kind with rootless provider requires (?P<what>cgroup v2|setting systemd property \S+)",
        Reason.CREATION_FAILED,
        "A rootless container engine can run kind only with {what}. Set the machine up as "
        "https://kind.sigs.k8s.io/docs/user/rootless/ says, or use an engine that runs as root.",
    ),
    _pattern(
        r"failed to lock config file",
        Reason.CREATION_FAILED,
        "kind could not write its kubeconfig. Check that the provider's work directory can be written.",
    ),
)
_OTHERS: Final = (
    _pattern(
        r"tried to kill container, but did not receive an exit event|device or resource busy|"
        r"failed to remove root filesystem",
        Reason.DELETION_FAILED,
        "The container engine cannot end a node's container, or its files are still held. If it stays like this, "
        "restart the container engine.",
    ),
    _pattern(
        r"could not locate any control plane nodes",
        Reason.KUBECONFIG_UNAVAILABLE,
        "The kind cluster has no control-plane node any more. Delete it, or create it anew.",
    ),
    _pattern(
        r"/etc/kubernetes/admin\.conf: no such file",
        Reason.KUBECONFIG_UNAVAILABLE,
        "The kind cluster was never finished. Delete it, or create it anew.",
    ),
    _pattern(
        r"container \S+ is not running|can only create exec sessions on running containers",
        Reason.KUBECONFIG_UNAVAILABLE,
        "The control-plane container is stopped. Start it.",
    ),
)
PATTERNS: Final = (*_ENGINE, *_RESOURCES, *_CONFLICTS, *_IMAGES, *_CONFIGURATION, *_CREATION, *_OTHERS)

_PORTS: Final = re.compile(
    r"(?:bind for|host port for|exposing port \w+|listen \w+) \S*?:(?P<port>\d+)\b", re.IGNORECASE
)
_EPHEMERAL: Final = range(32768, 65536)


def port(output: str) -> str:
    """Return which host port is taken, where it is one that somebody chose.

    Those of the kernel's ephemeral range are mostly kind's own choice, and differ each time (C18).
    """
    found = _PORTS.search(output)
    return f"Host port {found['port']}" if found and int(found["port"]) not in _EPHEMERAL else "A host port"
