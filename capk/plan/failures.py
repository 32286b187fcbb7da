"""What kind or the container engine printed -> reason, cause in plain words, remedy. Pure.

The only place where output is recognised by its text. The rules are tried in order; most come from output that was
recorded (test/fixtures/kind), the others from what the engines are documented to print.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from capk.api.names import Reason
from capk.errors import CommandError, CommandFailed, CommandMissing, CommandTimedOut
from capk.plan import printed

MAX_MESSAGE: Final = 2000
"""Characters of a message; a condition's message may have 32 Ki, but people have to read it."""


@dataclass(frozen=True)
class Failure:
    """Why a command failed, for people.

    message: cause and what to do, one paragraph, the same text each time the same thing happens (C18).
    retry: whether the same call may succeed later although nobody changed the object.
    """

    reason: Reason
    message: str
    retry: bool = True


@dataclass(frozen=True)
class _Rule:
    """pattern: its named groups, and `cause` (what the command said), may stand in the message in braces."""

    pattern: re.Pattern[str]
    reason: Reason
    message: str
    retry: bool = True


def _rule(pattern: str, reason: Reason, message: str, *, retry: bool = True) -> _Rule:
    return _Rule(re.compile(pattern, re.IGNORECASE | re.DOTALL), reason, message, retry)


_CHECK_IMAGE: Final = "Check spec.image or spec.kubernetesVersion"

_ENGINE: Final = (
    _rule(
        r'exec: "(?P<engine>[\w.]+)": executable file not found',
        Reason.ENGINE_UNREACHABLE,
        "kind cannot find the command {engine} of the container engine. Install it where the provider runs, or choose "
        "another engine with KIND_EXPERIMENTAL_PROVIDER.",
    ),
    _rule(
        r"permission denied while trying to connect to the docker|dial unix \S+: connect: permission denied",
        Reason.ENGINE_UNREACHABLE,
        "The provider may not use the socket of the container engine. Run the provider as a user who may (for Docker a "
        "member of the group docker), or change the socket's permissions.",
    ),
    _rule(
        r"client version \S+ is too (new|old)|minimum supported API version",
        Reason.ENGINE_UNREACHABLE,
        "The container engine and its command do not understand each other's version. Update the older of the two.",
    ),
    _rule(
        r"unable to resolve docker endpoint|context \S+ does not exist|context not found",
        Reason.ENGINE_UNREACHABLE,
        "The chosen docker context does not exist. Correct DOCKER_CONTEXT or run `docker context use`.",
    ),
    _rule(
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
    _rule(
        r"too many open files|i(no|fs)notify[^\n]{0,80}no space left on device",
        Reason.INOTIFY_LIMIT,
        "The kernel's inotify limits are used up. Raise them on the machine of the container engine: "
        "`sysctl fs.inotify.max_user_instances=512 fs.inotify.max_user_watches=524288`.",
    ),
    _rule(
        r"could not find a log line that matches",
        Reason.INOTIFY_LIMIT,
        "A node's init system did not come up, in most cases because the kernel's inotify limits are used up. Raise them "
        "on the machine of the container engine: `sysctl fs.inotify.max_user_instances=512 "
        "fs.inotify.max_user_watches=524288`; if that does not help, see whether the node image fits kind's version.",
    ),
    _rule(
        r"no space left on device|disk quota exceeded|not enough (free |disk )?space",
        Reason.OUT_OF_DISK,
        "The disk of the container engine is full. Make room, for instance by removing unused images and volumes "
        "(`docker system prune`, `podman system prune`).",
    ),
    _rule(
        r"cannot allocate memory|out of memory|OOMKilled",
        Reason.OUT_OF_MEMORY,
        "The machine of the container engine is out of memory. Give it more, or delete clusters that are not needed; a "
        "control-plane node takes about 0.5 GB and a worker 0.1 GB.",
    ),
    _rule(
        r'command "[^\n]*" failed with error: exit status 137',
        Reason.OUT_OF_MEMORY,
        "A program in a node was killed, in most cases because memory ran out. Give the machine of the container engine "
        "more, or delete clusters that are not needed; a control-plane node takes about 0.5 GB and a worker 0.1 GB.",
    ),
)
_CONFLICTS: Final = (
    _rule(
        r"cannot expose privileged port (?P<port>\d+)|:(?P<bound>\d+): bind: permission denied",
        Reason.PORT_CONFLICT,
        "The container engine may not publish a host port below 1024. Choose a higher one (nodes[].extraPortMappings[]"
        ".hostPort, networking.apiServerPort), or allow it with `sysctl net.ipv4.ip_unprivileged_port_start`.",
    ),
    _rule(
        r"(:(?P<port>\d+)(:\S+)?(: bind| failed)?: )?(address already in use|port is already allocated)|"
        r"ports are not available|proxy already running",
        Reason.PORT_CONFLICT,
        "{port} is taken by another program or cluster. Free it, or choose another one: nodes[].extraPortMappings[]"
        ".hostPort, networking.apiServerPort.",
    ),
    _rule(
        r'node\(s\) already exist for a cluster with the name "(?P<name>[^"]+)"',
        Reason.NAME_CONFLICT,
        "A kind cluster named {name} exists already. Choose another spec.clusterName, or delete that cluster with "
        "`kind delete cluster --name {name}`.",
    ),
    _rule(
        r'container name "/?(?P<name>[^"]+)" is already in use',
        Reason.NAME_CONFLICT,
        "A container named {name} exists already. Choose another spec.clusterName, or remove that container.",
    ),
)
_IMAGES: Final = (
    _rule(
        r'failed to pull image "(?P<image>[^"]+)".*invalid reference format',
        Reason.INVALID_CONFIG,
        f"{{image}} is not the name of an image. {_CHECK_IMAGE}.",
        retry=False,
    ),
    _rule(
        r'failed to pull image "(?P<image>[^"]+)".*(no such host|timeout|connection refused|connection reset|'
        r"unreachable|no route to host|server misbehaving|timed out)",
        Reason.IMAGE_NOT_FOUND,
        "The container engine has no image {image} and cannot reach its registry. Bring the image there (`docker pull` or "
        "`docker load`), or repair the network or proxy of the container engine.",
    ),
    _rule(
        r'failed to pull image "(?P<image>[^"]+)".*(toomanyrequests|rate limit|429 Too Many)',
        Reason.IMAGE_NOT_FOUND,
        "The registry refuses to give the image {image} for now, because too much was pulled. Log in to the registry, or "
        "bring the image there (`docker pull` or `docker load`).",
    ),
    _rule(
        r'failed to pull image "(?P<image>[^"]+)".*no matching manifest',
        Reason.IMAGE_NOT_FOUND,
        f"The image {{image}} was not built for the processor of this machine. {_CHECK_IMAGE}.",
    ),
    _rule(
        r'failed to pull image "(?P<image>[^"]+)"',
        Reason.IMAGE_NOT_FOUND,
        f"The container engine has no image {{image}}, and it cannot be pulled: there is none, or it needs a login. "
        f"{_CHECK_IMAGE}, or bring the image there (`docker pull` or `docker load`).",
    ),
    _rule(
        r"unable to find image '(?P<image>[^']+)' locally",
        Reason.IMAGE_NOT_FOUND,
        "The container engine has no image {image}, which several control planes need as their load balancer, and cannot "
        "pull it. Bring the image there (`docker pull` or `docker load`).",
    ),
)
_CONFIGURATION: Final = (
    _rule(
        r"field (?P<field>\S+) not found in type \S+",
        Reason.INVALID_CONFIG,
        "kind knows no field {field} where it stands in the configuration. Correct the KINDCluster's spec.",
        retry=False,
    ),
    _rule(
        r"unable to decode config|could not determine kind / apiVersion|unknown apiVersion|unknown kind \S+ for|"
        r"is not a valid cluster name|\binvalid (apiServerPort|ipFamily|pod subnet|service subnet|kubeProxyMode)|"
        r"invalid configuration for node|must have at least one control-plane node|failed to parse patches|"
        r"failed to generate kubeadm config content|failed to patch containerd config|"
        r"unable to resolve absolute path|unknown (node role|port mapping protocol|cluster IP family)",
        Reason.INVALID_CONFIG,
        "kind refuses the configuration: {cause}. Correct the KINDCluster's spec.",
        retry=False,
    ),
    _rule(
        r"error mounting|invalid mount|mounts denied|bind source path does not exist|statfs [^\n]+: no such file|"
        r"path [^\n]+ is not (a shared mount|shared from)",
        Reason.INVALID_CONFIG,
        "The container engine cannot mount what nodes[].extraMounts asks for: {cause}. Correct hostPath, or create it on "
        "the machine of the container engine.",
    ),
    _rule(
        r"invalid reference format",
        Reason.INVALID_CONFIG,
        f"The container engine refuses the name of an image. {_CHECK_IMAGE}.",
        retry=False,
    ),
)
_CREATION: Final = (
    _rule(
        r"failed to (init|join) node with kubeadm",
        Reason.KUBEADM_FAILED,
        "{kubeadm}. Check kubeadmConfigPatches, featureGates, runtimeConfig and the node image; a machine that is short "
        "of memory, disk or time looks the same. `kind create cluster --retain` with the same configuration keeps the "
        "nodes for a closer look.",
    ),
    _rule(
        r"failed to ensure \w+ network|address pools have been fully subnetted|non-overlapping|"
        r"failed to set up container networking",
        Reason.CREATION_FAILED,
        "The container engine cannot provide the network of the nodes: {cause}. Remove networks that are not used "
        "(`docker network prune`) and check the engine's firewall rules.",
    ),
    _rule(
        r"running kind with rootless provider requires (?P<what>cgroup v2|setting systemd property \S+)",
        Reason.CREATION_FAILED,
        "A rootless container engine can run kind only with {what}. Set the machine up as "
        "https://kind.sigs.k8s.io/docs/user/rootless/ says, or use an engine that runs as root.",
    ),
    _rule(
        r"failed to lock config file",
        Reason.CREATION_FAILED,
        "kind could not write its kubeconfig. Check that the provider's work directory can be written.",
    ),
)
_OTHERS: Final = (
    _rule(
        r"tried to kill container, but did not receive an exit event|device or resource busy|"
        r"failed to remove root filesystem|cannot remove [^\n]*: container",
        Reason.DELETION_FAILED,
        "The container engine cannot end a node's container, or its files are still held. If it stays like this, "
        "restart the container engine.",
    ),
    _rule(
        r"could not locate any control plane nodes",
        Reason.KUBECONFIG_UNAVAILABLE,
        "The kind cluster has no control-plane node any more. Delete it, or create it anew.",
    ),
    _rule(
        r"/etc/kubernetes/admin\.conf: no such file",
        Reason.KUBECONFIG_UNAVAILABLE,
        "The kind cluster was never finished. Delete it, or create it anew.",
    ),
    _rule(
        r"container \S+ is not running|can only create exec sessions on running containers",
        Reason.KUBECONFIG_UNAVAILABLE,
        "The control-plane container is stopped. Start it.",
    ),
)
_RULES: Final = (*_ENGINE, *_RESOURCES, *_CONFLICTS, *_IMAGES, *_CONFIGURATION, *_CREATION, *_OTHERS)


def classify(error: CommandError) -> Failure:
    """Say why a command failed and what to do about it."""
    match error:
        case CommandMissing():
            failure = _missing(error)
        case CommandTimedOut():
            failure = _timed_out(error)
        case _:
            failure = _recognised(error) or _unrecognised(error)
    return failure


def _recognised(error: CommandError) -> Failure | None:
    for rule in _RULES:
        if found := rule.pattern.search(error.output):
            groups = {name: printed.clean(text) for name, text in found.groupdict().items() if text}
            facts: dict[str, Callable[[], str]] = {
                "cause": lambda: printed.cause(error.output),
                "kubeadm": lambda: printed.kubeadm_cause(error.output),
                "port": lambda: _port(groups.get("port", "")),
            }
            wanted = {name: fact() for name, fact in facts.items() if f"{{{name}}}" in rule.message}
            return Failure(rule.reason, rule.message.format(**{**groups, **wanted})[:MAX_MESSAGE], rule.retry)
    return None


def _port(number: str) -> str:
    # Ports from the kernel's ephemeral range were mostly chosen by kind itself, and differ each time (C18).
    return f"Host port {number}" if number and int(number) < 32768 else "A host port"


def _unrecognised(error: CommandError) -> Failure:
    reason, doing = _operation(error)
    status = error.exit_status if isinstance(error, CommandFailed) else 0
    said = printed.cause(error.output) or (f"ended by signal {-status}" if status < 0 else f"exit status {status}")
    return Failure(reason, f"Could not {doing}: {said}. Run the command by hand to see more: {_shown(error)}.")


def _missing(error: CommandMissing) -> Failure:
    name, cause = error.command[0], str(error).removeprefix(f"{' '.join(error.command)}: ")
    if _is_kind(error):
        remedy = "Install kind where the provider runs, or name the command with --kind-command."
        return Failure(Reason.KIND_COMMAND_MISSING, f"The command {name} cannot be started: {cause}. {remedy}")
    remedy = "Install it where the provider runs."
    return Failure(
        Reason.ENGINE_UNREACHABLE,
        f"The container engine's command {name} cannot be started: {cause}. {remedy}",
    )


def _timed_out(error: CommandTimedOut) -> Failure:
    reason, doing = _operation(error)
    took = f"within {error.seconds:.0f} s"
    if reason is Reason.CREATION_FAILED:
        step = printed.last_step(error.output)
        last = f"; the last step was: {step}" if step else ""
        return Failure(
            Reason.TIMEOUT,
            f"kind could not {doing} {took}{last}. See whether the machine of the container engine is overloaded or "
            "pulls the image slowly, or allow more time with --create-timeout.",
        )
    if reason is Reason.DELETION_FAILED:
        return Failure(
            Reason.TIMEOUT, f"kind could not {doing} {took}. See whether the container engine answers, and restart it."
        )
    return Failure(
        Reason.ENGINE_UNREACHABLE,
        f"The container engine gave no answer {took} (to {_shown(error)}). See whether it hangs, and restart it; work goes "
        "on when it answers.",
    )


_KIND_CALLS: Final = {
    ("create", "cluster"): (Reason.CREATION_FAILED, "create the kind cluster"),
    ("delete", "cluster"): (Reason.DELETION_FAILED, "delete the kind cluster"),
    ("get", "kubeconfig"): (Reason.KUBECONFIG_UNAVAILABLE, "get the kubeconfig"),
    ("get", "clusters"): (Reason.COMMAND_FAILED, "list the kind clusters"),
    ("get", "nodes"): (Reason.COMMAND_FAILED, "list the nodes"),
    ("export", "logs"): (Reason.COMMAND_FAILED, "keep the logs"),
}
_ENGINE_CALLS: Final = {"start": "start the node containers", "image": "look for the node image"}


def _operation(error: CommandError) -> tuple[Reason, str]:
    """Return the reason of a failure with no recognised cause, and what was being done."""
    words = error.command
    for pair in zip(words, words[1:], strict=False):
        if pair in _KIND_CALLS:
            return _KIND_CALLS[pair]
    doing = next((_ENGINE_CALLS[word] for word in words[1:] if word in _ENGINE_CALLS), "ask the container engine")
    return Reason.COMMAND_FAILED, doing


def _is_kind(error: CommandError) -> bool:
    words = error.command
    return words[-1] == "version" or any(pair in _KIND_CALLS for pair in zip(words, words[1:], strict=False))


def _shown(error: CommandError) -> str:
    """Return the command as a person would type it: without what differs from call to call."""
    words = [word for word in error.command if not word.startswith(("--kubeconfig=", "--format"))]
    return printed.clean(f"`{' '.join(words[:8])}`")
