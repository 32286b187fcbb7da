"""The command line of the container engine, for what kind has no command for.

Only this module, `enginecli.py` and `listing.py` know it. It works with docker, podman, nerdctl and finch, whose
commands agree in nearly everything that is used here.
Source: kind pkg/cluster/constants and pkg/cluster/internal/providers/*/ (labels, networks, removal).
"""

import secrets
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from typing import Final

from capk.api.names import MACHINE_CONTAINER_LABEL
from capk.engine import archive, command, departures, info, inspection
from capk.engine.enginecli import EngineCli, UnreadableAnswer
from capk.engine.info import EngineInfo, UnreadableInfo
from capk.engine.inspection import (
    HOLD_LABEL,
    KIND_CLUSTER_LABEL,
    ROLE_LABEL,
    SNAPSHOTTER,
    Document,
    Node,
    Sibling,
)
from capk.engine.listing import Listing
from capk.engine.nodescripts import WRITE_FILE
from capk.errors import CommandFailed, CommandMissing, CommandTimedOut, TooMuchOutput

__all__ = [
    "KIND_CLUSTER_LABEL",
    "ROLE_LABEL",
    "Containers",
    "Node",
    "Sibling",
]

MOST_OF_INFO: Final = 1 << 20
"""Bytes of the output of `info`, which has some KB."""
STOP_SECONDS: Final = 10
"""How long a container may take to end before it is killed; the engines' own default."""
HOLD_SECONDS: Final = 300
"""Lifetime of a placeholder that is not removed, for example because the provider was killed."""

LOG_LINES: Final = 500
LOG_BYTES: Final = 1 << 20
"""Limits of the logs of a container, in lines and in bytes: a line may have any length."""

EXEC_BYTES: Final = 1 << 20
"""Bytes that a command in a node may print; root in the node decides what it prints, and dozens run concurrently."""
PULL_SECONDS: Final = 900
"""Time limit for pulling an image."""
MOST_OF_A_NAME: Final = 64
"""Characters of a kind cluster's name in the name of a placeholder."""


class Containers:
    """The container engine's command.

    command: the executable and its leading arguments; None: use kind only.
    Without a command, queries return None or nothing, actions do nothing, and `run` and `write_file` fail.
    environment: added to ours, as for kind.
    All methods raise CommandFailed, CommandTimedOut and CommandMissing.
    """

    def __init__(
        self,
        command: Sequence[str] | None,
        *,
        environment: Mapping[str, str] | None = None,
        query_timeout_seconds: float = 60,
        start_timeout_seconds: float = 120,
    ) -> None:
        self._cli = EngineCli(command, environment, query_timeout_seconds, start_timeout_seconds)
        self._listing = Listing(self._cli)
        self.command = self._cli.command

    @property
    def engine(self) -> str:
        """The engine behind the command: docker, podman or nerdctl; by its name until the engine was asked."""
        return self._cli.engine

    @property
    def network(self) -> str:
        """The name of kind's network."""
        return self._cli.network

    @property
    def gives_lowest_address(self) -> bool:
        """Whether the engine assigns the lowest free address to the next container.

        docker does. podman and nerdctl continue after the last assigned address, whatever is free below.
        Source: containers/common libnetwork/netavark/ipam.go; CNI's host-local, which nerdctl uses.
        """
        return self._cli.engine == "docker"

    async def nodes(self, cluster: str | None = None) -> list[Node] | None:
        """Return all node containers of a kind cluster, running or not, by name; None without an engine.

        cluster: None for all kind clusters. The engine filters by its name, so that the work does not grow with the
        number of others; kind relies on the same filter. What the engine returns is checked all the same.
        Source: kind pkg/cluster/internal/providers/*/provider.go (ListNodes).
        """
        if self.command is None:
            return None
        label = KIND_CLUSTER_LABEL if cluster is None else f"{KIND_CLUSTER_LABEL}={cluster}"
        found = await self._listing.inspected(inspection.node, f"label={label}", "--all")
        nodes = (node for node in found if node and cluster in (None, node.cluster))
        return sorted(nodes, key=lambda node: node.name)

    async def sibling(self, container_id: str) -> Sibling:
        """Return what a new node has to have in common with an existing one. Also raises UnreadableAnswer."""
        output = await self._cli.query("inspect", "--type=container", container_id)
        document = self._listing.documents(output).get(container_id)
        if document is None:
            raise UnreadableAnswer([*(self.command or ()), "inspect"], "it does not describe the container")
        return self._listing.read(inspection.sibling, document)

    async def run_node(self, arguments: Sequence[str], variables: Mapping[str, str]) -> str:
        """Create and start the container of a node, and return its id.

        arguments: of the engine's `run`. variables: what it passes on by name. Those that the provider has too are on
        no command line. Of the others, the image of a node may have chosen a proxy, and the engine's command would use
        what is in its own environment.
        Also raises UnreadableAnswer. If it is cancelled, the engine may create the container all the same, later.
        """
        environment = {name: value for name, value in self._cli.env.items() if name != SNAPSHOTTER}
        others = variables.items() - environment.items()
        by_value = {name: f"{name}={value}" for name, value in others if name != SNAPSHOTTER}
        words = [by_value.get(word, word) if flag == "-e" else word for flag, word in pairwise(["run", *arguments])]
        output = await command.run(
            [*(self.command or ()), "run", *words],
            timeout_seconds=self._cli.start_timeout_seconds,
            env={**environment, **{name: value for name, value in variables.items() if name not in by_value}},
        )
        # docker and podman print warnings, if any, on standard error.
        if not inspection.CONTAINER_ID.fullmatch(container := output.stdout.strip()):
            raise UnreadableAnswer([*(self.command or ()), "run"], "it is not a container id")
        return container

    async def create_volume(self, node: str, machine: str) -> str:
        """Create a volume for a node, and return its name. Also raises UnreadableAnswer.

        node: its name, which is a label of the volume, as with kind. machine: value of its container's label.
        """
        labels = ("--label", f"{node}=true", "--label", f"{MACHINE_CONTAINER_LABEL}={machine}")
        output = await self._cli.query("volume", "create", *labels)
        if not inspection.NAME.fullmatch(volume := output.stdout.strip()):
            raise UnreadableAnswer([*(self.command or ()), "volume create"], "it is not the name of a volume")
        return volume

    async def remove_volumes(self, machine: str) -> None:
        """Remove the volumes of a machine that no container uses; missing ones are fine.

        The name of the node would not prove whose they are: anyone may have a volume with such a label.
        """
        filters = ("--filter", f"label={MACHINE_CONTAINER_LABEL}={machine}", "--filter", "dangling=true")
        output = await self._cli.query("volume", "ls", *filters, "--quiet")
        volumes = [volume for volume in output.stdout.split() if inspection.NAME.fullmatch(volume)]
        if volumes:
            await self._remove_volumes(volumes)

    async def pull(self, image: str) -> None:
        """Pull an image."""
        if image.startswith("-"):
            raise CommandFailed([*(self.command or ()), "pull"], "invalid reference format", 0)
        try:
            await self._cli.run(["pull", image], PULL_SECONDS)
        except CommandFailed as error:
            output = f'failed to pull image "{image}": {error.output}'
            raise CommandFailed(error.command, output, error.exit_status) from error

    async def start(self, names: Sequence[str]) -> None:
        """Start stopped containers one after the other; running ones are fine.

        docker assigns the lowest free address, so the order decides which one each container gets.
        """
        if self.command:
            for name in names:
                await self._cli.run(["start", name], self._cli.start_timeout_seconds)

    async def stop(self, names: Sequence[str]) -> None:
        """Stop containers; kill those that do not end within STOP_SECONDS. Stopped ones are fine."""
        if self.command and names:
            # docker is about to rename --time, but all engines have the short form.
            await self._cli.run(["stop", "-t", str(STOP_SECONDS), *names], self._patience(names))

    async def halt(self, container_ids: Sequence[str]) -> None:
        """Stop containers as `stop` does, but by their full ids; missing ones are fine."""
        if not self.command or not container_ids:
            return
        if not all(inspection.CONTAINER_ID.fullmatch(container) for container in container_ids):
            raise CommandFailed([*self.command, "stop"], "the argument is not a container id", 0)
        call = ["stop", "-t", str(STOP_SECONDS), *container_ids]
        output = await self._cli.run(call, self._patience(container_ids), check=False)
        stopped = {*output.stdout.split(), *departures.gone(output.stderr)}
        if output.exit_status != 0 and not stopped.issuperset(container_ids):
            raise self._cli.failed("stop", output)

    async def remove(self, container_ids: Sequence[str]) -> None:
        """Remove containers by force, with their own volumes, as kind does; missing ones are fine.

        container_ids: full ids, so that a newer container of the same name stays.
        Source: kind pkg/cluster/internal/providers/*/provider.go, DeleteNodes.
        """
        if not self.command or not container_ids:
            return
        if not all(inspection.CONTAINER_ID.fullmatch(container) for container in container_ids):
            raise CommandFailed([*self.command, "rm"], "the argument is not a container id", 0)
        volumes = await self._var_volumes(container_ids) if self._cli.engine == "podman" else []
        if self._cli.engine == "nerdctl":
            await self._stop_for_good(container_ids)
        await self._remove(container_ids)
        if volumes:
            await self._remove_volumes(volumes)

    async def run(
        self, node_name: str, command: Sequence[str], *, stdin: str | None = None, timeout_seconds: float = 30
    ) -> command.Output:
        """Run a command in a running node and return its output.

        node_name: name or id of the container.
        Also raises CommandFailed if the command itself fails, with status 126 or 127 if it cannot be started, or if it
        prints more than EXEC_BYTES.
        """
        if not self.command:
            raise CommandMissing(["exec", node_name], "no container engine command is available")
        options = ["--interactive"] if stdin is not None else []
        call = ["exec", *options, node_name, *command]
        return await self._cli.run(call, timeout_seconds, stdin=stdin, max_stdout=EXEC_BYTES)

    async def read(self, node_name: str, command: Sequence[str], *, timeout_seconds: float = 30) -> command.Output:
        """Run a command in a running node that prints secrets: as `run`, but no error holds its standard output."""
        if not self.command:
            raise CommandMissing(["exec", node_name], "no container engine command is available")
        call = [*self.command, "exec", node_name, *command]
        try:
            output = await self._cli.run(call[len(self.command) :], timeout_seconds, check=False)
        except TooMuchOutput as error:
            raise TooMuchOutput(call, "it printed more than is read", error.exit_status) from None
        except CommandTimedOut as error:
            raise CommandTimedOut(call, "", error.seconds) from None
        if output.exit_status != 0:
            raise CommandFailed(call, output.stderr, output.exit_status)
        return output

    async def printed(self, container_id: str, *, timeout_seconds: float = 30) -> str:
        """Return the last log lines of a container, running or not, with at most 64 KiB of its standard error.

        Raises CommandFailed, with the end of the output, if they exceed LOG_BYTES.
        """
        if not self.command:
            return ""
        call = ["logs", "--tail", str(LOG_LINES), container_id]
        output = await self._cli.run(call, timeout_seconds, max_stdout=LOG_BYTES)
        return output.stdout + output.stderr

    async def write_file(self, node_name: str, path: str, content: str, *, mode: str = "0644") -> None:
        """Write a file in a running node, atomically, and create its folders.

        path: absolute. mode: as for chmod.
        """
        script = ["sh", "-c", WRITE_FILE, "write-file", path, mode, str(len(content.encode()))]
        await self.run(node_name, script, stdin=content)

    async def copied(self, container_id: str, folder: str, *, timeout_seconds: float = 30) -> Mapping[str, str]:
        """Return the content of a small folder of a container, running or not: text of each file, by path below it.

        folder: absolute. Whatever is not a file has no text. What the container holds is listed as a whole or not at
        all, because no error of an engine proves that a file is missing: docker reports a missing source of a mount in
        the same words, and podman any failure.
        Also raises UnreadableAnswer. With nerdctl it always fails: before 2.3 it copies nothing to its output, and
        without root nothing from a stopped container.
        Source: moby daemon/archive.go, daemon/containerfs_linux.go; podman cmd/podman/containers/cp.go; nerdctl
        pkg/containerutil/cp_linux.go.
        """
        call = ["cp", f"{container_id}:{folder}", "-"]
        if not self.command:
            raise CommandMissing(call, "no container engine command is available")
        if self._cli.engine == "nerdctl":
            raise CommandFailed([*self.command, *call], "nerdctl copies nothing from a container that is stopped", 0)
        output = await self._cli.run(call, timeout_seconds, max_stdout=EXEC_BYTES, encoding="latin-1")
        try:
            return archive.files(output.stdout.encode("latin-1"), folder)
        except ValueError as error:
            raise UnreadableAnswer([*self.command, *call], str(error)) from error

    async def occupants(self) -> Mapping[str, str]:
        """Return the used addresses on kind's network: address -> name of a running container, kind's or not.

        It inspects containers, because only docker and new podman and nerdctl name them in `network inspect`.
        """
        if self.command is None:
            return {}

        def read(document: Document, network: str) -> dict[str, str]:
            return dict.fromkeys(inspection.addresses_on(document, network), inspection.name(document))

        found = await self._listing.inspected(read, f"network={self.network}")
        return {address: name for one in found for address, name in one.items()}

    async def hold_address(self, cluster: str, image: str) -> tuple[str, str]:
        """Start a placeholder, a container that only occupies the next free address of kind's network.

        Return its full id and its address. It ends and is removed by itself after HOLD_SECONDS.
        cluster: the kind cluster that it helps to start; see `release_addresses`.
        image: an image that the engine has, with a `sleep` command; nothing is pulled.
        Only for an engine that assigns the lowest free address: nerdctl does not allow --rm with --detach.
        """
        if not self.command or not image or image.startswith("-"):
            raise CommandFailed([*(self.command or ()), "run"], "no image is available for a placeholder", 0)
        name = f"{cluster[:MOST_OF_A_NAME]}-address-placeholder-{secrets.token_hex(4)}"
        # The node image sets a stop signal that `sleep` ignores.
        options = ["--detach", "--rm", "--pull=never", f"--name={name}", f"--label={HOLD_LABEL}={cluster}"]
        options += [f"--network={self.network}", "--stop-signal=SIGKILL", "--entrypoint=sleep"]
        output = await self._cli.run(["run", *options, image, str(HOLD_SECONDS)], self._cli.start_timeout_seconds)
        container = output.stdout.strip()
        if not inspection.CONTAINER_ID.fullmatch(container):
            raise UnreadableAnswer([*self.command, "run"], "it is not a container id")
        seen = self._listing.documents(await self._cli.query("inspect", "--type=container", container)).get(
            container, {}
        )
        addresses = self._listing.read(inspection.addresses_on, seen)
        if not addresses:
            raise UnreadableAnswer([*self.command, "inspect"], "the new container has no address")
        return container, addresses[0]

    async def release_addresses(self, cluster: str) -> None:
        """Remove all placeholders of a kind cluster, including those of another provider process."""
        if self.command is None:
            return

        def read(document: Document, _: str) -> str:
            return inspection.identity(document) if inspection.holds_address_for(document) == cluster else ""

        found = await self._listing.inspected(read, f"label={HOLD_LABEL}={cluster}", "--all")
        await self.remove([container for container in found if container])

    async def resolves_names(self) -> bool | None:
        """Return whether nodes find each other by name on kind's network; None if the engine does not report it.

        Only podman creates networks without DNS. Before the first kind cluster there is no network to inspect, but
        podman also reports a missing DNS server.
        """
        if self._cli.engine != "podman" or self.command is None:
            return None
        network = await self._cli.query("network", "inspect", self.network, check=False)
        named = inspection.resolves_names(network.stdout) if network.exit_status == 0 else None
        if named is False:
            return False
        engine = await self._cli.query("info", "--format", "json", check=False)
        return False if engine.exit_status == 0 and inspection.lacks_dns_server(engine.stdout) else named

    async def engine_id(self) -> str | None:
        """Return an id that is unique to the engine and survives restarts; None if it has none (podman).

        Source: moby daemon/id.go; nerdctl pkg/infoutil (containerd's own).
        """
        found = await self.info()
        return (found.id or None) if found else None

    async def info(self) -> EngineInfo | None:
        """Return the engine and the resources of its machine; None without an engine."""
        if self.command is None:
            return None
        call = ["info", "--format", "{{json .}}"]
        answer = await self._cli.run(call, self._cli.query_timeout_seconds, max_stdout=MOST_OF_INFO)
        try:
            found = info.read(answer.stdout)
        except UnreadableInfo as error:
            if error.refusal:
                raise CommandFailed([*self.command, "info"], error.refusal, 0) from error
            raise UnreadableAnswer([*self.command, "info"], str(error)) from error
        if found.is_podman:
            # The package podman-docker installs podman as docker. kind notices that, and names volumes as for podman.
            self._cli.engine = "podman"
        return found

    async def has_image(self, image: str) -> bool:
        """Return whether the engine has an image; nothing is pulled."""
        return await self._answers("image", "inspect", image)

    async def can_pull(self, image: str) -> bool:
        """Return whether the image's registry has its manifest; nothing is pulled.

        The command sends the request, not the engine: mirrors and proxies that only the engine knows are not used.
        """
        return await self._answers("manifest", "inspect", image)

    async def _answers(self, *arguments: str) -> bool:
        if self.command is None or arguments[-1].startswith("-"):
            return False
        return (await self._cli.query(*arguments, check=False)).exit_status == 0

    async def _var_volumes(self, container_ids: Sequence[str]) -> list[str]:
        """Return the volumes that kind created for podman's nodes; they have names, so `rm --volumes` keeps them."""
        try:
            documents = await self._described(container_ids)
        except TooMuchOutput:
            documents = await self._described(container_ids, "--format", inspection.BRIEF)
        read = (self._listing.read(lambda document, _: inspection.var_volume(document), one) for one in documents)
        return [volume for volume in read if volume]

    async def _described(self, container_ids: Sequence[str], *options: str) -> Collection[Document]:
        """Return the descriptions of those containers that still exist. options: of the engine's `inspect`."""
        output = await self._cli.query("inspect", "--type=container", *options, *container_ids, check=False)
        return self._listing.documents(output).values()

    async def _remove_volumes(self, volumes: Sequence[str]) -> None:
        # Without --force, which would also remove another container that uses a volume by now.
        output = await self._cli.run(["volume", "rm", *volumes], self._cli.start_timeout_seconds, check=False)
        removed = {*output.stdout.split(), *departures.gone(output.stderr)}
        if output.exit_status != 0 and not removed.issuperset(volumes):
            raise self._cli.failed("volume rm", output)

    async def _stop_for_good(self, container_ids: Sequence[str]) -> None:
        """Keep containerd from restarting the containers before their removal; `rm` reports any failure later."""
        for call in (["update", "--restart=no"], ["stop"]):
            await self._cli.run([*call, *container_ids], self._patience(container_ids), check=False)

    async def _remove(self, container_ids: Sequence[str]) -> None:
        output = await self._cli.run(
            ["rm", "--force", "--volumes", *container_ids], self._patience(container_ids), check=False
        )
        # nerdctl's `rm --force` succeeds whatever happens.
        if output.exit_status == 0 and self._cli.engine != "nerdctl":
            return
        stderr = output.stderr
        removed = {*output.stdout.split(), *departures.gone(stderr), *departures.going(stderr)}
        if not removed.issuperset(container_ids):
            raise self._cli.failed("rm", output)

    def _patience(self, containers: Sequence[str]) -> float:
        """Return the time limit of a call that may end containers one after the other (nerdctl)."""
        return self._cli.start_timeout_seconds + (STOP_SECONDS + 1) * len(containers)
