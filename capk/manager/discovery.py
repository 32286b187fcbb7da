"""Finds out whether Cluster API is installed, and confirms it before it matters: without it, no object has an owner."""

import asyncio
from typing import Final

from capk.api import names
from capk.kube.protocol import KubeApi
from capk.manager.relations import Relations

BETWEEN_SECONDS: Final = 3.0
"""Interval between the two answers that prove that Cluster API is not installed: the API server may have just started,
or the CRDs may be installed a moment later."""
FRESH_SECONDS: Final = 5.0
"""Maximum age of the answer that allows creating a KINDCluster without an owner."""


class Discovery:
    """Asks the API server for its preferred version of Cluster API's objects, and stores it in `Relations`."""

    def __init__(self, client: KubeApi, relations: Relations) -> None:
        self._client = client
        self._relations = relations
        self._absent_since: float | None = None
        self._asked_at = float("-inf")
        self._asking = asyncio.Lock()

    async def settle(self) -> None:
        """Ask now; if Cluster API is no longer installed, ask again to confirm it. Raises ApiError."""
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
        """Record that the API server serves Cluster API's objects in that version."""
        self._absent_since = None
        self._relations.core_version = version

    async def confirm_absence(self) -> float:
        """Return 0 if the answer is certain, otherwise the seconds after which to ask again.

        `Relations.core_version` then holds the answer: None if Cluster API is not installed. Raises ApiError.
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
