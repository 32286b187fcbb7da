"""Joins one more worker to a running kind cluster, and takes its Node away again; kind has no command for either.

The steps are kind's own for a worker, with two differences: each join has a token of its own, which is short-lived, and
the rest of the configuration comes from a control plane. Everything goes through the engine's `exec`.
Source: kind pkg/cluster/internal/create/actions/{config,kubeadmjoin}, pkg/cluster/internal/providers/common/cgroups.go.
"""

import asyncio
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from capk.api.names import Reason
from capk.diagnosis.failures import cause_of
from capk.engine import command, workerflags
from capk.engine.containers import Containers, Sibling
from capk.engine.enginecli import UnreadableAnswer
from capk.engine.nodescripts import JOIN_FILE, READ_REGISTRIES, VERSION_FILE, WRITE_REGISTRIES
from capk.engine.progress import Step
from capk.errors import CommandError, CommandFailed, CommandTimedOut, InvalidSpec
from capk.kindconfig.join import BadJoinConfiguration, Joining, JoinTemplate, join_configuration, parse_join
from capk.redaction import REMOVED, redact

START_SECONDS: Final = 30.0
"""How long the init system of a new node may take; the same as in kind."""
JOIN_SECONDS: Final = 300.0
"""Time limit of `kubeadm join`, which itself gives up after four minutes if the kubelet does not start."""
CALL_SECONDS: Final = 60.0
"""Time limit of a short command in a node, on a busy machine."""
NODE_SECONDS: Final = 20.0
"""Time limit of the removal of a Node, which nothing else waits for."""
DRAIN_SECONDS: Final = 60
"""How long a Node may take to be drained; then its container is removed all the same."""
LISTING_SECONDS: Final = 0.25
"""Interval between two looks at the output of a new node."""

STARTED: Final = "Reached target .*Multi-User System.*|detected cgroup v1"
"""What a node prints when commands can run in it."""
JOIN_WORDS: Final = "failed to join the worker"
"""The beginning of the output of a failed join, by which `capk.diagnosis.patterns` recognises it."""
CREATE_WORDS: Final = "failed to create the worker"

ADMIN: Final = "--kubeconfig=/etc/kubernetes/admin.conf"
READY_COMMAND: Final = ("kubectl", ADMIN, "--request-timeout=10s", "get", "--raw=/readyz")
TOKEN_COMMAND: Final = ("kubeadm", "token", "create", "--ttl=10m", "--usages=authentication,signing", ADMIN)
JOIN_COMMAND: Final = ("kubeadm", "join", "--config", JOIN_FILE, "--v=6")
JOURNAL_COMMAND: Final = ("journalctl", "--no-pager", "--lines=40", "--output=cat", "--unit=kubelet")

_NOT_STARTED: Final = (125, 126, 127)
"""Exit statuses of `exec` if the command itself did not start."""
_TOKEN: Final = re.compile(r"[a-z0-9]{6}\.[a-z0-9]{16}")
_VERSION: Final = re.compile(r"v?(?P<minor>\d{1,3}\.\d{1,3})[\w.+-]{0,100}")
_ANY_ADDRESSES: Final = ("0.0.0.0", "::")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Worker:
    """One worker that is to join.

    cluster: name of the kind cluster. node: name of container, host and Node.
    machine: value of the container's label. mounts: entries of `extraMounts`, the mark's included.
    image: None for that of the control plane.
    labels, taints, patches, provider_id: as in `capk.kindconfig.join.Joining`.
    """

    cluster: str
    node: str
    machine: str
    image: str | None
    mounts: Sequence[Mapping[str, Any]]
    labels: Mapping[str, str]
    taints: Sequence[str]
    patches: Sequence[str]
    provider_id: str


@dataclass(frozen=True)
class _Cluster:
    """What is read of the control plane first."""

    sibling: Sibling
    template: JoinTemplate
    version: str


class WorkerNodes:
    """Adds workers to kind clusters, and removes their Nodes."""

    def __init__(self, containers: Containers) -> None:
        self._containers = containers

    async def create(self, control_plane: str, worker: Worker, on_step: Callable[[Step], None]) -> "NewNode":
        """Create and start the container of a worker; the next step is `NewNode.join`.

        control_plane: id of the container of a running control plane of the kind cluster.
        Raises CommandError; InvalidSpec, before there is a container, for labels, taints and patches of no use.
        If it fails or is cancelled, the engine may create the container all the same.
        """
        cluster = await self._read(control_plane)
        join_configuration(cluster.template, _joining(worker, _ANY_ADDRESSES), "")
        await self._ensure_image(worker.image, on_step)
        on_step(Step(Reason.PREPARING_NODE, f"Preparing node {worker.node}"))
        engine = self._containers.engine
        container = workerflags.Container(
            worker.node,
            worker.cluster,
            worker.machine,
            worker.image or cluster.sibling.image,
            worker.mounts,
            await self._containers.create_volume(worker.node, worker.machine) if engine == "podman" else "",
        )
        arguments = workerflags.run_arguments(engine, container, cluster.sibling, has_ipv6=cluster.template.has_ipv6)
        try:
            container_id = await self._containers.run_node(arguments, cluster.sibling.environment)
        except CommandFailed as error:
            raise CommandFailed(error.command, f"{CREATE_WORDS}: {error.output}", error.exit_status) from error
        return NewNode(self._containers, control_plane, worker, cluster, container_id)

    async def reaches_api_server(self, control_plane: str) -> bool:
        """Return whether the API server is ready for kubectl in a control plane, where kubeadm reaches it too.

        Raises CommandError if kubectl cannot be started.
        """
        try:
            await self._containers.run(control_plane, READY_COMMAND, timeout_seconds=NODE_SECONDS)
        except CommandFailed as error:
            if error.exit_status in _NOT_STARTED:
                raise
            log.info("No worker can join yet, because the API server does not answer: %s", cause_of(error))
            return False
        return True

    async def delete_node(self, control_plane: str, node: str) -> None:
        """Delete a Node; a missing one is fine. Raises CommandError."""
        call = ["kubectl", ADMIN, "--request-timeout=10s", "delete", "node", node, "--ignore-not-found", "--wait=false"]
        await self._containers.run(control_plane, call, timeout_seconds=NODE_SECONDS)

    async def drain(self, control_plane: str, node: str) -> None:
        """Cordon a Node and evict its Pods, as far as PodDisruptionBudgets allow within DRAIN_SECONDS.

        Raises CommandError, also if Pods are left.
        """
        call = ["kubectl", ADMIN, "drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--force"]
        limit = f"--timeout={DRAIN_SECONDS}s"
        await self._containers.run(control_plane, [*call, limit], timeout_seconds=DRAIN_SECONDS + NODE_SECONDS)

    async def _read(self, control_plane: str) -> _Cluster:
        # In this order, because the version may be a line without an end.
        call = ("cat", JOIN_FILE, VERSION_FILE)
        text, version = await _text_and_version(self._containers, control_plane, call)
        try:
            template = parse_join(text)
        except BadJoinConfiguration as error:
            raise _unreadable(self._containers, control_plane, call, str(error)) from error
        return _Cluster(await self._containers.sibling(control_plane), template, version)

    async def _ensure_image(self, image: str | None, on_step: Callable[[Step], None]) -> None:
        if image is None:
            return
        name = workerflags.full_name(image) if self._containers.engine == "podman" else image
        if not await self._containers.has_image(name):
            on_step(Step(Reason.ENSURING_NODE_IMAGE, f"Ensuring node image ({image.partition('@')[0]})"))
            await self._containers.pull(name)


class NewNode:
    """The running container of a worker that has not joined yet."""

    def __init__(
        self, containers: Containers, control_plane: str, worker: Worker, cluster: _Cluster, container_id: str
    ) -> None:
        self.container_id = container_id
        self._containers = containers
        self._control_plane = control_plane
        self._worker = worker
        self._cluster = cluster

    async def join(self, on_step: Callable[[Step], None]) -> None:
        """Prepare the node and join it with kubeadm.

        Raises CommandError, InvalidSpec for an image or a patch that does not fit the kind cluster.
        If it fails or is cancelled, kubeadm may go on: only the removal of the container ends it.
        """
        await self._await_start()
        await self._check_version()
        own = await self._containers.sibling(self.container_id)
        await self._copy_registries(is_same_image=own.image_id == self._cluster.sibling.image_id)
        on_step(Step(Reason.JOINING_NODE, f"Joining node {self._worker.node}"))
        # A Node of this name cannot be alive, because its container is new. kubeadm refuses the name of a Ready Node.
        await WorkerNodes(self._containers).delete_node(self._control_plane, self._worker.node)
        token = await self._new_token()
        try:
            await self._join(own.addresses, token)
        finally:
            await self._delete_token(token)

    async def _await_start(self) -> None:
        clock = asyncio.get_running_loop().time
        deadline = clock() + START_SECONDS
        while not _has_started(await self._containers.printed(self.container_id, timeout_seconds=CALL_SECONDS)):
            if clock() >= deadline:
                call = [*(self._containers.command or ()), "logs", self._worker.node]
                # The words of kind, which has the same limit.
                raise CommandFailed(call, f'could not find a log line that matches "{STARTED}"', 0)
            await asyncio.sleep(LISTING_SECONDS)

    async def _check_version(self) -> None:
        _, own = await _text_and_version(self._containers, self.container_id, ("cat", VERSION_FILE))
        running = self._cluster.version
        if _minor(own) != _minor(running):
            image = self._worker.image or self._cluster.sibling.image
            raise InvalidSpec(
                "spec.image",
                f"{image} holds Kubernetes {own}, but the kind cluster runs {running}; leave it out, or use an image "
                "of the same minor version",
            )

    async def _copy_registries(self, *, is_same_image: bool) -> None:
        """Give the node the registry settings of the control plane, before anything is pulled."""
        what = "all" if is_same_image else "registries"
        read = await self._containers.read(
            self._control_plane, ["sh", "-c", READ_REGISTRIES], timeout_seconds=CALL_SECONDS
        )
        await self._run(self.container_id, ["sh", "-c", WRITE_REGISTRIES, "write-containerd", what], stdin=read.stdout)

    async def _new_token(self) -> str:
        read = await self._containers.read(self._control_plane, TOKEN_COMMAND, timeout_seconds=CALL_SECONDS)
        if not (found := _TOKEN.search(read.stdout)):
            raise _unreadable(self._containers, self._control_plane, TOKEN_COMMAND, "it holds no token")
        return found[0]

    async def _join(self, addresses: Sequence[str], token: str) -> None:
        try:
            text = join_configuration(self._cluster.template, _joining(self._worker, addresses), token)
        except BadJoinConfiguration as error:
            raise UnreadableAnswer([*(self._containers.command or ()), "inspect"], str(error)) from error
        await self._containers.write_file(self.container_id, JOIN_FILE, text, mode="0600")
        call = [*JOIN_COMMAND, *self._cluster.template.flags]
        try:
            await self._containers.run(self.container_id, call, timeout_seconds=JOIN_SECONDS)
        except CommandTimedOut as error:
            raise CommandTimedOut(error.command, await self._explained(error, token), error.seconds) from None
        except CommandFailed as error:
            raise CommandFailed(error.command, await self._explained(error, token), error.exit_status) from None

    async def _explained(self, error: CommandError, token: str) -> str:
        """Return what kubeadm printed, without the token, after the kubelet's last words: they show why it failed."""
        journal = ""
        with suppress(CommandError):
            journal = (await self._run(self.container_id, JOURNAL_COMMAND)).stdout
        output = f"{JOIN_WORDS}; the kubelet printed:\n{journal}\nERROR: {JOIN_WORDS}: {_ending(error)}"
        return redact(f"{output}\n\nCommand Output: {error.output}".replace(token, REMOVED))

    async def _delete_token(self, token: str) -> None:
        """Delete the token, also while the join is being cancelled; it expires by itself otherwise."""
        try:
            call = ["kubeadm", "token", "delete", token.partition(".")[0], ADMIN]
            await self._containers.run(self._control_plane, call, timeout_seconds=NODE_SECONDS)
        except CommandError as error:
            log.info(
                "A token of %s expires by itself, because it could not be deleted: %s", self._worker.cluster, error
            )

    async def _run(self, node: str, call: Sequence[str], *, stdin: str | None = None) -> command.Output:
        return await self._containers.run(node, call, stdin=stdin, timeout_seconds=CALL_SECONDS)


def _ending(error: CommandError) -> str:
    """Return how a command ended, without its arguments."""
    return cause_of(error) if isinstance(error, CommandTimedOut) else str(error).rpartition(": ")[2]


def _joining(worker: Worker, addresses: Sequence[str]) -> Joining:
    return Joining(addresses, worker.provider_id, worker.labels, worker.taints, worker.patches)


async def _text_and_version(containers: Containers, node: str, call: Sequence[str]) -> tuple[str, str]:
    """Return the Kubernetes version in the last line of the output, after the rest of the output."""
    printed = (await containers.read(node, call, timeout_seconds=CALL_SECONDS)).stdout
    text, _, version = printed.strip().rpartition("\n")
    if not _VERSION.fullmatch(version):
        raise _unreadable(containers, node, call, "it does not end with a version of Kubernetes")
    return text, version


def _unreadable(containers: Containers, node: str, call: Sequence[str], cause: str) -> UnreadableAnswer:
    return UnreadableAnswer([*(containers.command or ()), "exec", node, *call], cause)


def _has_started(printed: str) -> bool:
    """Return whether the output of a node matches STARTED; the time is linear in its length, whatever it is."""
    lines = (line.partition("Reached target ")[2] for line in printed.split("\n"))
    return "detected cgroup v1" in printed or any("Multi-User System" in rest for rest in lines)


def _minor(version: str) -> str:
    found = _VERSION.fullmatch(version)
    return found["minor"] if found else version
