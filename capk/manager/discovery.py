"""Whether Cluster API is installed, asked again before it matters: without it, every KINDCluster stands alone."""

import asyncio
from typing import Final

from capk.api import names
from capk.kube.protocol import KubeApi
from capk.manager.relations import Relations

BETWEEN_SECONDS: Final = 3.0
"""Between the two answers that it takes to believe that Cluster API is not installed: one may come from an API server
that has just started, or from before its CRDs were installed."""
FRESH_SECONDS: Final = 5.0
"""How old an answer may be when a KINDCluster is created without an owner because of it."""


class Discovery:
    """Asks the API server which version of Cluster API's objects it prefers, and keeps `Relations` up to date."""

    def __init__(self, client: KubeApi, relations: Relations) -> None:
        self._client = client
        self._relations = relations
        self._absent_since: float | None = None
        self._asked_at = float("-inf")
        self._asking = asyncio.Lock()

    async def settle(self) -> None:
        """Ask now; where Cluster API was there and is not any more, ask again before that is believed.

        Raises ApiError.
        """
        await self.ask()
        if self._absent_since is not None and self._relations.core_version is not None:
            await asyncio.sleep(max(self._absent_since + BETWEEN_SECONDS - _now(), 0.0))
            await self.ask()

    async def ask(self) -> None:
        """Ask now. Raises ApiError."""
        version = await self._client.serves(names.CORE_GROUP)
        self._asked_at = _now()
        if version:
            self.found(version)
        elif self._absent_since is None:
            self._absent_since = self._asked_at
        elif self._asked_at >= self._absent_since + BETWEEN_SECONDS:
            self._relations.core_version = None

    def found(self, version: str) -> None:
        """Note that objects of Cluster API have been seen in that version."""
        self._absent_since = None
        self._relations.core_version = version

    async def confirm_absence(self) -> float:
        """Return 0 where Cluster API is certainly not installed, else the seconds after which to ask again.

        Where it is installed after all, `Relations.core_version` says so. Raises ApiError.
        """
        async with self._asking:
            if _now() - self._asked_at > FRESH_SECONDS or self._absent_since is None:
                await self.ask()
        if self._absent_since is None:
            return 0.0
        remaining = self._absent_since + BETWEEN_SECONDS - _now()
        if remaining > 0:
            return remaining
        if self._asked_at < self._absent_since + BETWEEN_SECONDS:
            async with self._asking:
                await self.ask()
        return 0.0


def _now() -> float:
    return asyncio.get_running_loop().time()
