"""The `kind` command line as typed async functions. No other module knows its flags.

Source: kind v0.32.0, pkg/cmd/kind. Any command with the same calls can replace it.
"""

import asyncio
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from capk.engine import command, progress
from capk.engine.progress import Step
from capk.engine.workdir import WorkDir
from capk.errors import CommandMissing, CommandTimedOut, TooMuchOutput
from capk.kindconfig import yamlio

MOST_CLUSTERS: Final = 10_000
"""Maximum number of names in a list; no machine runs as many kind clusters."""
MOST_OF_AN_ANSWER: Final = 1 << 20
"""Bytes that kind may print in answer to a question; a kubeconfig has 6 KB."""
PAUSE_SECONDS: Final = 1.0
"""Interval between two attempts to delete nodes that the engine is still creating."""
_VERSION: Final = re.compile(r"\b(?P<version>v\d+\.\d+\.\d+\S*)(?: (?P<toolchain>[\w.-]{1,40}))?")


class Build(NamedTuple):
    """The output of `kind version`.

    version: such as `v0.32.0`. toolchain: of the build, such as `go1.26.8`; a fake kind prints its own name instead.
    """

    version: str
    toolchain: str

    @property
    def is_fake(self) -> bool:
        """Whether the command is a fake kind."""
        return bool(self.toolchain) and not self.toolchain.startswith("go")


class Kind:
    """The kind command.

    command: the executable and its leading arguments.
    work_dir: for private files, one directory per call, removed when the call ends; other commands may share it.
    environment: added to ours, for example KIND_EXPERIMENTAL_PROVIDER or DOCKER_HOST.
    Each call that writes a kubeconfig uses a private file. So the user's is neither read nor written, and calls never
    wait for each other's lock. Two calls for one cluster name must not run concurrently: the loser of two creations
    removes the winner's nodes.
    All methods raise CommandFailed, CommandTimedOut and CommandMissing.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        work_dir: WorkDir,
        environment: Mapping[str, str] | None = None,
        query_timeout_seconds: float = 60,
        create_timeout_seconds: float = 900,
        delete_timeout_seconds: float = 300,
    ) -> None:
        self.command = tuple(command)
        self._work_dir = work_dir
        self._environment = dict(environment or {})
        self._query_timeout_seconds = query_timeout_seconds
        self._create_timeout_seconds = create_timeout_seconds
        self._delete_timeout_seconds = delete_timeout_seconds

    async def version(self) -> str:
        """Return kind's version, such as `v0.32.0`; see `build`."""
        return (await self.build()).version

    async def build(self) -> Build:
        """Return the version and the toolchain of kind.

        Raises CommandMissing if the output holds no version: the command is not kind, and its empty output must not be
        taken for an engine without clusters.
        """
        printed = await self._query("version")
        if found := _VERSION.search(printed):
            return Build(found["version"], found["toolchain"] or "")
        raise CommandMissing(
            [*self.command, "version"],
            f"it printed {printed.strip()[:80]!r}, which is not a kind version",
        )

    async def create_cluster(
        self,
        name: str,
        config: Mapping[str, Any],
        *,
        image: str | None = None,
        wait_seconds: int = 0,
        retain: bool = False,
        on_step: Callable[[Step], None] = lambda step: None,
    ) -> str:
        """Create a kind cluster and return the kubeconfig that kind wrote, with the external address.

        config: a kind.x-k8s.io/v1alpha4 Cluster document; `name` and `image` override its values.
        wait_seconds: how long kind waits for control-plane nodes to be Ready. If they are not, it still succeeds and
        the last step is `progress.NOT_READY`.
        retain: leave the nodes of a failed creation to the caller. Without it kind removes every container of that
        cluster name, including those of a concurrent creation.
        on_step: called at each new step.
        If kind itself fails, it removes the nodes. If it is ended (deadline, cancellation), they stay: delete first.
        """
        latest: Step | None = None

        def read(line: str) -> None:
            nonlocal latest
            if (step := progress.step(line)) and step != latest:
                latest = step
                on_step(step)

        document = yamlio.dump(dict(config))
        arguments = [f"--name={name}", "--config=-", f"--wait={wait_seconds}s"]
        if image:
            arguments.append(f"--image={image}")
        if retain:
            arguments.append("--retain")
        with self._work_dir.call() as directory:
            file = directory / "kubeconfig"
            await command.run(
                [*self.command, "create", "cluster", *arguments, f"--kubeconfig={file}"],
                timeout_seconds=self._create_timeout_seconds,
                stdin=document,
                env=self._env(file),
                on_line=read,
            )
            return _beginning(file)

    async def delete_cluster(self, name: str) -> None:
        """Delete a kind cluster, or the rest of a cancelled creation; an unknown name is fine.

        Returns when no node is left. kind alone does not ensure that: while the engine is still creating containers (it
        copies a volume for seconds), kind reports them as deleted and exits with 0, but they stay.
        """
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._delete_timeout_seconds
        while True:
            await self._delete_nodes(name)
            if not (left := await self.nodes(name)):
                return
            if clock() + PAUSE_SECONDS >= deadline:
                output = f"still listed after their deletion: {', '.join(left)}"
                raise CommandTimedOut([*self.command, "delete", "cluster"], output, self._delete_timeout_seconds)
            await asyncio.sleep(PAUSE_SECONDS)

    async def clusters(self) -> list[str]:
        """Return the names of all kind clusters, including incomplete ones, sorted."""
        return await self._list("clusters")

    async def nodes(self, name: str) -> list[str]:
        """Return the names of a cluster's node containers, running or not, including its load balancer, sorted."""
        return await self._list("nodes", f"--name={name}")

    async def kubeconfig(self, name: str, *, internal: bool) -> str:
        """Return a cluster's kubeconfig.

        internal: with the address on kind's network instead of the one on the machine of the container engine.
        """
        arguments = ["--internal"] if internal else []
        return await self._query("get", "kubeconfig", f"--name={name}", *arguments)

    async def _delete_nodes(self, name: str) -> None:
        with self._work_dir.call() as directory:
            file = directory / "kubeconfig"
            await command.run(
                [*self.command, "delete", "cluster", f"--name={name}", f"--kubeconfig={file}"],
                timeout_seconds=self._delete_timeout_seconds,
                env=self._env(file),
            )

    async def _list(self, *arguments: str) -> list[str]:
        # An engine on another machine may list anything.
        listed = (await self._query("get", *arguments)).split(maxsplit=MOST_CLUSTERS)
        if len(listed) > MOST_CLUSTERS:
            raise TooMuchOutput([*self.command, "get", *arguments], f"it lists more than {MOST_CLUSTERS} names", 0)
        return sorted(listed)

    async def _query(self, *arguments: str) -> str:
        # Queries neither read nor write a kubeconfig file.
        output = await command.run(
            [*self.command, *arguments],
            timeout_seconds=self._query_timeout_seconds,
            env=self._env(Path(os.devnull)),
            max_stdout=MOST_OF_AN_ANSWER,
        )
        return output.stdout

    def _env(self, kubeconfig: Path) -> dict[str, str]:
        return {**os.environ, **self._environment, "KUBECONFIG": str(kubeconfig)}


def _beginning(file: Path) -> str:
    """Return the content of a kubeconfig; of a longer file, which a node has filled, too much to be one."""
    with file.open("rb") as content:
        return content.read(MOST_OF_AN_ANSWER).decode(errors="replace")
