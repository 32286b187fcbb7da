"""What the API servers of workload clusters answer when the provider asks them."""

import asyncio
from random import Random
from urllib.parse import urlsplit

from test.simulation.clock import now
from test.simulation.engine import Birth, SimulatedEngine

PATIENCE_SECONDS = 3.0
"""The provider's own deadline for the question."""


class Workload:
    """Finds the kind cluster behind a URL and answers for it.

    reach: whether the provider can reach the addresses it is given (not so from a pod without a route).
    slow: until when answers take longer than the provider waits. on_ask: called with the kind cluster's name.
    """

    def __init__(self, engine: SimulatedEngine, rng: Random, *, reach: bool = True) -> None:
        self._engine = engine
        self._rng = rng
        self.reach = reach
        self.slow = 0.0
        self.hostile_answer: str | None = None
        self.questions = 0

    def find(self, server: str) -> Birth | None:
        """Return the kind cluster whose API server listens at that URL."""
        parts = urlsplit(server)
        for container in self._engine.containers.values():
            birth = container.birth
            if parts.port == birth.port or parts.hostname == container.name:
                return birth
        return None

    async def server_version(self, server: str, authority: str) -> str | None:
        """Answer the question of `capk.kube.workload.server_version`."""
        self.questions += 1
        if not self.reach or self.slow > now():
            await asyncio.sleep(PATIENCE_SECONDS)
            return None
        await asyncio.sleep(self._rng.uniform(0.002, 0.02))
        birth = self.find(server)
        # Another cluster may have taken the port; its certificate is signed by another authority.
        if birth is None or not self._engine.answers(birth) or birth.identity.authority.strip() != authority.strip():
            return None
        return self.hostile_answer or "v1.37.0"
