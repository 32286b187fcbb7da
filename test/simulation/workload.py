"""Answers of the workload clusters' API servers to the provider."""

import asyncio
import json
from collections.abc import Callable
from random import Random
from urllib.parse import urlsplit

from capk.kindconfig.kubeconfig import Kubeconfig
from capk.workload.answer import Answer
from capk.workload.ask import KUBE_SYSTEM
from capk.workload.connection import Target
from capk.workload.pool import DATA_PATH
from test.simulation.clock import now
from test.simulation.engine import Birth, SimulatedEngine

PATIENCE_SECONDS = 3.0
"""The provider's deadline for a request."""


class Workload:
    """Finds the kind cluster behind a URL and answers for it.

    reach: whether the provider can reach the addresses (it cannot from a pod without a route).
    slow: until when answers exceed the provider's deadline. resolve: returns the kind cluster behind the name of a
    Service. on_ask: called with the kind cluster's name.
    """

    def __init__(
        self,
        engine: SimulatedEngine,
        rng: Random,
        *,
        reach: bool = True,
        resolve: Callable[[str], Birth | None] = lambda host: None,
    ) -> None:
        self._engine = engine
        self._rng = rng
        self._resolve = resolve
        self.reach = reach
        self.slow = 0.0
        self.hostile_answer: bytes | None = None
        self.questions = 0
        self.reached: set[int] = set()
        """Numbers of the births that have answered the provider."""
        self.identified: set[int] = set()
        """Numbers of the births whose etcd data the provider knows."""

    def find(self, server: str) -> Birth | None:
        """Return the kind cluster with an API server at that URL."""
        parts = urlsplit(server)
        if str(parts.hostname).endswith(".svc"):
            return self._resolve(str(parts.hostname))
        for container in self._engine.everywhere():
            birth = container.birth
            if parts.port == birth.port or parts.hostname == container.name:
                return birth
        return None

    async def ask(self, target: Target, path: str, login: Kubeconfig | None = None) -> Answer:
        """Answer the questions of `capk.workload.ask.ask`."""
        self.questions += 1
        if not self.reach or self.slow > now():
            await asyncio.sleep(PATIENCE_SECONDS)
            return Answer(0, f"no answer within {PATIENCE_SECONDS:g} s")
        await asyncio.sleep(self._rng.uniform(0.002, 0.02))
        birth = self.find(target.server)
        if birth is None or not birth.answers:
            return Answer(0, "connection refused")
        # Another cluster, with a certificate of another authority, may have taken the port.
        if birth.identity.authority.strip() != target.authority.strip():
            return Answer(0, "its certificate is not accepted: unable to get local issuer certificate")
        self.reached.add(birth.number)
        if self.hostile_answer is not None:
            return Answer(200, "HTTP 200", self.hostile_answer)
        if path == "/version":
            return Answer(200, "HTTP 200", json.dumps({"gitVersion": "v1.37.0"}).encode())
        if path == KUBE_SYSTEM and login is None:
            return Answer(403, "HTTP 403: forbidden")
        if path == DATA_PATH:
            return _data(birth)
        if path == KUBE_SYSTEM and birth.lacks_system:
            return Answer(404, 'HTTP 404: namespaces "kube-system" not found')
        if path == KUBE_SYSTEM:
            self.identified.add(birth.number)
            return Answer(200, "HTTP 200", json.dumps({"metadata": {"uid": birth.system_uid}}).encode())
        return Answer(200, "HTTP 200", b"ok")

    async def ask_health(self, target: Target, path: str) -> Answer:
        """Answer the questions of the health monitor."""
        return await self.ask(target, path)


def _data(birth: Birth) -> Answer:
    """Return the answer about kubeadm's ConfigMap, which an administrator may hide from anonymous users."""
    if birth.hides_data:
        return Answer(403, "HTTP 403: forbidden")
    if birth.empties:
        return Answer(404, "HTTP 404: not found")
    return Answer(200, "HTTP 200", json.dumps({"metadata": {"uid": birth.data_uid}}).encode())
