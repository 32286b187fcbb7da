"""Pods that go, providers that are killed and API servers that refuse, at random moments: what is left is right."""

import asyncio
import random
from pathlib import Path

import pytest

from capk.errors import Forbidden, Unreachable
from test.provider.podworld import IN_POD, UID, PodWorld

pytestmark = pytest.mark.virtual_time

LIVES = range(6)


class Fate:
    """What happens to a world, by a seed."""

    def __init__(self, world: PodWorld, seed: int) -> None:
        self.world = world
        self.rng = random.Random(seed)

    async def befall(self) -> None:
        """Let one thing happen, after a while."""
        await asyncio.sleep(self.rng.choice((0.01, 0.05, 0.3, 1.0, 3.0, 10.0)))
        self.rng.choice((self._delete_pod, self._evict, self._restart, self._refuse, self._outage, self._nothing))()

    def end(self) -> None:
        """Let nothing happen any more."""
        self.world.kube.refuse = None

    def _nothing(self) -> None:
        pass

    def _delete_pod(self) -> None:
        if self.world.pods():
            self.world.delete_pod()

    def _evict(self) -> None:
        if self.world.pods() and "deletionTimestamp" not in self.world.pod()["metadata"]:
            self.world.evict()

    def _restart(self) -> None:
        if self.world.pods():
            self.world.inner().stop_nodes()
            self.world.kubelet.restart(self.world.pod()["metadata"]["uid"])

    def _refuse(self) -> None:
        share = self.rng.random()
        self.world.kube.refuse = lambda verb, kind, name, body: (
            Forbidden(verb, kind.plural, 403, "not now") if self.rng.random() < share else None
        )

    def _outage(self) -> None:
        share = self.rng.random() / 2
        self.world.kube.refuse = lambda verb, kind, name, body: (
            Unreachable(verb, kind.plural, 503, "overloaded") if self.rng.random() < share else None
        )


@pytest.mark.parametrize("has_volume", [False, True], ids=["disk", "volume"])
@pytest.mark.parametrize("seed", LIVES)
async def test_world_settles(tmp_path: Path, seed: int, has_volume: bool) -> None:
    world = PodWorld(tmp_path)
    world.add_class(claim=has_volume)
    fate = Fate(world, seed)
    world.add(spec={**IN_POD, "recreatePolicy": "Always"})
    for _ in range(fate.rng.randint(1, 4)):
        async with world.killed():
            for _ in range(fate.rng.randint(0, 3)):
                await fate.befall()
            await asyncio.sleep(fate.rng.choice((0.0, 0.02, 0.5, 4.0)))
    async with world.running():
        for _ in range(fate.rng.randint(0, 4)):
            await fate.befall()
        fate.end()
        await world.until(lambda: world.reason() == "Ready", 3000)
        await asyncio.sleep(5)
        await world.until(lambda: world.reason() == "Ready", 3000)
        assert len(world.pods()) == 1
        nodes = world.inner().of("dev")
        assert [(node.name, node.running) for node in nodes] == [("dev-control-plane", True)]
        assert world.pod()["metadata"]["labels"]["kind.infrastructure.cluster.x-k8s.io/cluster-uid"] == UID
        world.delete()
        for _ in range(fate.rng.randint(0, 2)):
            await fate.befall()
        fate.end()
        await world.until(lambda: world.get() is None, 3000)
        await world.until(lambda: world.left() == [], 100)
