"""Calls of the container engine's command: which command it is, its environment, time limits and errors."""

import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import Final

from capk.engine import command
from capk.errors import CommandFailed

_PROVIDERS: Final = ("docker", "podman", "nerdctl", "finch", "nerdctl.lima")
_NETWORK_VARIABLES: Final = {
    "docker": "KIND_EXPERIMENTAL_DOCKER_NETWORK",
    "podman": "KIND_EXPERIMENTAL_PODMAN_NETWORK",
}
"""With nerdctl and finch, kind always uses the network `kind`."""


class UnreadableAnswer(CommandFailed):
    """The engine's command printed unexpected output."""

    def __init__(self, command: Sequence[str], cause: str) -> None:
        text = f"its output cannot be read: {cause}"
        super().__init__(command, text, 0)
        self.args = (f"{' '.join(command)}: {text}",)


def engine_command(
    environment: Mapping[str, str], which: Callable[[str], str | None] = shutil.which
) -> tuple[str, ...] | None:
    """Return the container engine's command that kind would use; None if there is none on the PATH.

    Source: kind pkg/internal/runtime/runtime.go, pkg/cluster/provider.go (the order of its search).
    """
    chosen = environment.get("KIND_EXPERIMENTAL_PROVIDER", "")
    known = (chosen,) if chosen in _PROVIDERS else ()
    return next(((name,) for name in known or ("docker", "nerdctl", "podman") if which(name)), None)


def chosen_engine(chosen: Sequence[str] | None, environment: Mapping[str, str]) -> tuple[str, ...] | None:
    """Return the engine's command that the user chose, otherwise the one that kind would use.

    Empty: the user chose no engine. None: nothing was chosen, and no engine is on the PATH.
    """
    return engine_command(environment) if chosen is None else tuple(chosen)


class EngineCli:
    """The container engine's command, as `Containers` is given it.

    engine: the engine behind the command: docker, podman or nerdctl; by its name until the engine was asked.
    """

    def __init__(
        self,
        command: Sequence[str] | None,
        environment: Mapping[str, str] | None,
        query_timeout_seconds: float,
        start_timeout_seconds: float,
    ) -> None:
        self.command = tuple(command) if command else None
        self._environment = dict(environment or {})
        self.query_timeout_seconds = query_timeout_seconds
        self.start_timeout_seconds = start_timeout_seconds
        self.engine = _engine(self.command or ())

    @property
    def network(self) -> str:
        """The name of kind's network."""
        variable = _NETWORK_VARIABLES.get(self.engine, "")
        # Read for each container of a listing, so not from a copy of all variables.
        return self._environment.get(variable, os.environ.get(variable)) or "kind"

    async def query(self, *arguments: str, check: bool = True) -> command.Output:
        """Run the command with the time limit of a query."""
        return await self.run(arguments, self.query_timeout_seconds, check=check)

    async def run(
        self,
        arguments: Iterable[str],
        timeout_seconds: float,
        *,
        stdin: str | None = None,
        check: bool = True,
        max_stdout: int = command.MAX_STDOUT,
        encoding: str = "utf-8",
    ) -> command.Output:
        """Run the command with these arguments; see `capk.engine.command.run`."""
        return await command.run(
            [*(self.command or ()), *arguments],
            timeout_seconds=timeout_seconds,
            stdin=stdin,
            env=self.env,
            check=check,
            max_stdout=max_stdout,
            encoding=encoding,
        )

    def failed(self, verb: str, output: command.Output) -> CommandFailed:
        """Return the error for a call whose output shows that it failed."""
        cause = output.stderr or "its output lacks some containers"
        return CommandFailed([*(self.command or ()), verb], cause, output.exit_status)

    @property
    def env(self) -> dict[str, str]:
        """The environment of the command."""
        return {**os.environ, **self._environment}


def _engine(words: Sequence[str]) -> str:
    """Return the engine of a command: docker if it is unknown; finch and lima wrap nerdctl."""
    names = [PurePath(word).name.removesuffix(".exe") for word in words]
    known = next((name for name in names if name in _PROVIDERS), "docker")
    return known if known in ("docker", "podman") else "nerdctl"
