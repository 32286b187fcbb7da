"""The container engine behind kind: what kind itself has no command for. Nobody else knows its command line.

Works with docker, podman and nerdctl, whose commands agree in all that is used here.
Source: kind pkg/cluster/constants and pkg/cluster/internal/providers/*/constants.go (labels).
"""

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from capk.api.names import CLAIM_MOUNT_FOLDER
from capk.engine import command
from capk.errors import CommandFailed

CLUSTER_LABEL: Final = "io.x-k8s.kind.cluster"
ROLE_LABEL: Final = "io.x-k8s.kind.role"

_FORMAT: Final = (
    f'["{{{{.Id}}}}","{{{{.Name}}}}",{{{{json (index .Config.Labels "{CLUSTER_LABEL}")}}}},'
    f'{{{{json (index .Config.Labels "{ROLE_LABEL}")}}}},{{{{json .State.Running}}}},{{{{json .State.StartedAt}}}},'
    '"{{range $name, $end := .NetworkSettings.Networks}}'
    '{{$name}}={{$end.IPAddress}} {{$name}}={{$end.GlobalIPv6Address}} {{end}}",'
    # A user chooses the paths of mounts, quotation marks and all.
    '{{json .Config.Image}},[{{range $index, $mount := .Mounts}}{{json $mount.Destination}},{{end}}""]]'
)


@dataclass(frozen=True)
class Node:
    """One node container, or the load balancer in front of several control planes.

    role: control-plane, worker or external-load-balancer.
    address: on kind's network, IPv4 where there is one; empty while it is stopped.
    started_at: when the container last started, in the engine's words; only good for comparing.
    image: as it was given when the container was made.
    claim_id: the mark that its creator put on it, by a mount below CLAIM_MOUNT_FOLDER.
    """

    name: str
    cluster: str
    role: str
    running: bool
    container_id: str
    address: str
    started_at: str
    image: str = ""
    claim_id: str | None = None


def engine_command(
    environment: Mapping[str, str], which: Callable[[str], str | None] = shutil.which
) -> tuple[str, ...] | None:
    """Return the container engine's command that kind would use; None when there is none on the PATH.

    Source: kind pkg/internal/runtime/runtime.go, pkg/cluster/provider.go (the order in which it looks).
    """
    chosen = environment.get("KIND_EXPERIMENTAL_PROVIDER", "")
    known = (chosen,) if chosen in ("docker", "podman", "nerdctl", "finch", "nerdctl.lima") else ()
    return next(((name,) for name in known or ("docker", "nerdctl", "podman") if which(name)), None)


class Containers:
    """The container engine's command.

    command: the executable and what always stands before the sub-command; None: nothing but kind is known (a stand-in).
    environment: added to ours, the same that kind gets.
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
        self.command = tuple(command) if command else None
        self._environment = dict(environment or {})
        self._query_timeout_seconds = query_timeout_seconds
        self._start_timeout_seconds = start_timeout_seconds
        self._network = self._environment.get("KIND_EXPERIMENTAL_DOCKER_NETWORK", "kind")

    async def nodes(self) -> list[Node] | None:
        """Return all node containers of all kind clusters, running or not, by name; None without an engine."""
        if self.command is None:
            return None
        if not (ids := await self._ids()):
            return []
        output = await self._query("inspect", "--type=container", "--format", _FORMAT, *ids, check=False)
        nodes = [self._node(line) for line in output.stdout.splitlines() if line.startswith("[")]
        if output.exit_status != 0:
            # A container that went away between the two calls makes the second one fail for all. docker goes on listing
            # one for seconds after it has forgotten it, so what it says of each counts more than another listing.
            missing = set(ids) - {node.container_id for node in nodes}
            unexplained = {container for container in missing if not _is_gone(container, output.stderr)}
            if not missing or (unexplained and unexplained & set(await self._ids())):
                raise CommandFailed([*self.command, "inspect"], output.stderr, output.exit_status)
        return sorted(nodes, key=lambda node: node.name)

    async def start(self, names: Sequence[str]) -> None:
        """Start stopped containers; one that runs already is fine."""
        if self.command and names:
            await self._run(["start", *names], self._start_timeout_seconds)

    async def _ids(self) -> list[str]:
        output = await self._query("ps", "--all", "--quiet", "--no-trunc", "--filter", f"label={CLUSTER_LABEL}")
        return output.stdout.split()

    async def _query(self, *arguments: str, check: bool = True) -> command.Output:
        return await self._run(arguments, self._query_timeout_seconds, check=check)

    async def _run(self, arguments: Sequence[str], timeout_seconds: float, *, check: bool = True) -> command.Output:
        return await command.run(
            [*(self.command or ()), *arguments],
            timeout_seconds=timeout_seconds,
            env={**os.environ, **self._environment},
            check=check,
        )

    def _node(self, line: str) -> Node:
        container_id, name, cluster, role, running, started_at, addresses, image, mounts = json.loads(line)
        return Node(
            # docker puts a slash before the name
            name=name.lstrip("/"),
            cluster=cluster,
            role=role or "",
            running=running,
            container_id=container_id,
            address=_address(addresses, self._network),
            started_at=started_at or "",
            image=image or "",
            claim_id=_claim_id(mounts),
        )


def _is_gone(container_id: str, printed: str) -> bool:
    """Whether the engine says that there is no such container (docker), or no such object (podman, nerdctl)."""
    return any(container_id in line and "no such" in line.lower() for line in printed.splitlines())


def _claim_id(mounts: Sequence[str]) -> str | None:
    marks = (mount.removeprefix(CLAIM_MOUNT_FOLDER) for mount in mounts if mount.startswith(CLAIM_MOUNT_FOLDER))
    return next(marks, None)


def _address(addresses: str, network: str) -> str:
    """Pick from `network=address …`: kind's network before others, IPv4 (comes first) before IPv6."""
    found = [pair.partition("=") for pair in addresses.split()]
    usable = [(name != network, address) for name, _, address in found if address]
    return min(usable, key=lambda pair: pair[0])[1] if usable else ""
