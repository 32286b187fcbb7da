"""Lists and inspects containers, in batches and within limits: an engine on another machine may print any amount."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, TypeVar

from capk.engine import command, departures, inspection
from capk.engine.enginecli import EngineCli, UnreadableAnswer
from capk.engine.inspection import Document, Unreadable
from capk.errors import CommandFailed, TooMuchOutput

BATCH: Final = 250
"""Containers inspected in one call; an engine prints about 10 KB per container."""
MOST_CONTAINERS: Final = 10_000
"""Maximum number of containers in a listing; no machine runs as many nodes."""
MOST_VALUES: Final = 300_000
"""Values in one output of `inspect`, by its commas and brackets. Each may take 200 bytes in memory. A container has
about 300."""
MOST_INSPECTIONS: Final = 3
"""Maximum number of calls for one batch, because containers may vanish meanwhile."""

T = TypeVar("T")


class Listing:
    """The containers of an engine, as its command describes them."""

    def __init__(self, cli: EngineCli) -> None:
        self._cli = cli

    async def inspected(self, read: Callable[[Document, str], T], *listing: str) -> list[T]:
        """List and inspect containers, and return what `read` makes of each; those that vanish meanwhile are left out.

        The rest of their descriptions is dropped batch by batch: an engine on another machine may print any amount.
        """
        ids = await self._ids(*listing)
        found: list[T] = []
        for start in range(0, len(ids), BATCH):
            found += await self._inspected_in_parts(read, ids[start : start + BATCH], listing)
        return found

    async def _inspected_in_parts(
        self, read: Callable[[Document, str], T], ids: Sequence[str], listing: Sequence[str]
    ) -> list[T]:
        """Inspect containers, as much of them as the engine can be brought to print.

        One of them must not hide all: its image chooses the length of its labels, and its user the mounts.
        """
        try:
            return await self._inspected_batch(read, ids, listing)
        except TooMuchOutput:
            # An engine may not know all fields.
            with suppress(CommandFailed):
                return await self._inspected_batch(read, ids, listing, "--format", inspection.BRIEF)
            if len(ids) == 1:
                raise
        half = len(ids) // 2
        parts = [await self._inspected_in_parts(read, part, listing) for part in (ids[:half], ids[half:])]
        return [one for part in parts for one in part]

    async def _inspected_batch(
        self, read: Callable[[Document, str], T], ids: Sequence[str], listing: Sequence[str], *options: str
    ) -> list[T]:
        """Inspect containers. options: of the engine's `inspect`.

        One that vanished since the listing makes the call fail. docker and podman still print the others; nerdctl
        prints nothing, so the rest is inspected again. docker lists a removed container for some seconds, so its error
        for a container overrides another listing.
        """
        found: dict[str, Document] = {}
        wanted = set(ids)
        for _ in range(MOST_INSPECTIONS):
            output = await self._cli.query("inspect", "--type=container", *options, *sorted(wanted), check=False)
            found |= {container: seen for container, seen in self.documents(output).items() if container in wanted}
            missing = wanted - found.keys()
            gone = missing & departures.gone(output.stderr)
            wanted = missing - gone
            if output.exit_status != 0 and not missing:
                raise self._cli.failed("inspect", output)
            if not wanted or not gone:
                break
        if wanted and wanted & set(await self._ids(*listing)):
            raise self._cli.failed("inspect", output)
        return [self.read(read, document) for document in found.values()]

    def documents(self, output: command.Output) -> dict[str, Document]:
        """Return the descriptions in an output of `inspect`, by id. Raises TooMuchOutput and UnreadableAnswer."""
        if sum(map(output.stdout.count, "{[,")) > MOST_VALUES:
            raise TooMuchOutput(
                [*(self._cli.command or ()), "inspect"], f"it printed more than {MOST_VALUES} values", 0
            )
        try:
            return inspection.documents(output.stdout)
        except Unreadable as error:
            if output.exit_status != 0:
                raise self._cli.failed("inspect", output) from error
            raise UnreadableAnswer([*(self._cli.command or ()), "inspect"], str(error)) from error

    def read(self, read: Callable[[Document, str], T], document: Document) -> T:
        """Return what `read` makes of a description and the name of kind's network. Raises UnreadableAnswer."""
        try:
            return read(document, self._cli.network)
        except Unreadable as error:
            raise UnreadableAnswer([*(self._cli.command or ()), "inspect"], str(error)) from error

    async def _ids(self, wanted: str, *options: str) -> list[str]:
        output = await self._cli.query("ps", *options, "--quiet", "--no-trunc", "--filter", wanted)
        ids = output.stdout.split()
        if not all(inspection.CONTAINER_ID.fullmatch(container) for container in ids):
            raise UnreadableAnswer([*(self._cli.command or ()), "ps"], "it does not consist of container ids")
        if len(ids) > MOST_CONTAINERS:
            raise UnreadableAnswer(
                [*(self._cli.command or ()), "ps"], f"it lists more than {MOST_CONTAINERS} containers"
            )
        return ids
