"""Nobody makes the provider write the same again and again: neither another provider nor one who undoes its writes."""

import asyncio
import copy
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from capk.api import names
from capk.api.names import EVENTS, KIND_CLUSTERS, SECRETS, Resource
from capk.manager.application import Application
from test.provider.world import World, now

pytestmark = pytest.mark.virtual_time

MOST_WRITES = 40
"""In the first hour of a contest."""


class _Watches:
    """Passes on each event to several providers."""

    def __init__(self) -> None:
        self.apps: list[Application] = []
        self.cache = self

    def on_event(self, resource: Resource, kind: str, obj: Mapping[str, Any]) -> None:
        for app in self.apps:
            app.cache.on_event(resource, kind, copy.deepcopy(obj))


@asynccontextmanager
async def two_machines(directory: Path) -> AsyncIterator[tuple[World, World]]:
    """Run two providers for one management cluster, each beside a container engine of its own."""
    worlds = []
    for number in (1, 2):
        (directory / str(number)).mkdir(mode=0o700)
        worlds.append(World(directory / str(number)))
        worlds[-1].engine.id = f"engine-{number}"
    first, second = worlds
    second.kube, watches = first.kube, _Watches()
    async with AsyncExitStack() as stack:
        for world in worlds:
            watches.apps.append(await stack.enter_async_context(world.running()))
            first.kube.app = watches  # type: ignore[assignment]
        yield first, second


async def test_two_providers_with_different_engines_do_not_write_in_turns_for_ever(tmp_path, caplog):
    async with two_machines(tmp_path) as (first, second):
        first.add()
        await asyncio.sleep(600)
        before = len(first.kube.writes)
        await asyncio.sleep(3600)
        assert len(first.kube.writes) - before < MOST_WRITES
        assert len([*first.engine.containers, *second.engine.containers]) == 1
    warnings = [record.message for record in caplog.records if "a second provider" in record.message]
    assert len(warnings) == 2


def forget(world: World, what: str) -> None:
    """Change an object so that the provider wants it back as it was."""
    obj = world.get()
    assert obj is not None
    conditions = [{**one, "reason": "Elsewhere"} for one in obj["status"]["conditions"]]
    undone: dict[str, Any] = {
        "claim": {"metadata": {"annotations": {names.CLAIM_ANNOTATION: None, names.CLAIM_ID_ANNOTATION: None}}},
        "finalizer": {"metadata": {"finalizers": None}},
        "conditions": {"status": {"conditions": conditions}},
    }
    world.kube.edit(KIND_CLUSTERS, "dev", undone[what])


@contextmanager
def undoing(world: World, what: str) -> Iterator[None]:
    """Undo what was written of a KINDCluster, and then each further write a moment later."""
    patch = world.kube.patch

    async def patch_and_undo(resource: Resource, *args: Any, **options: Any) -> dict[str, Any]:
        answer = await patch(resource, *args, **options)
        if resource is KIND_CLUSTERS:
            asyncio.get_running_loop().call_later(0.02, forget, world, what)
        return answer

    world.kube.patch = patch_and_undo
    forget(world, what)
    yield
    world.kube.patch = patch


@pytest.mark.parametrize("what", ["claim", "finalizer", "conditions"])
async def test_controller_that_undoes_each_write_is_answered_ever_less_often(tmp_path, what):
    world = World(tmp_path)
    async with world.running():
        world.add()
        await world.ready()
        before = world.kube.written(KIND_CLUSTERS)
        with undoing(world, what):
            for _ in range(60):
                await asyncio.sleep(60)
                assert world.kube.written(KIND_CLUSTERS) - before < MOST_WRITES
            assert world.kube.written(KIND_CLUSTERS) - before > 12
            events = [one for (plural, *_), one in world.kube.objects.items() if plural == EVENTS.plural]
            contested = [event["message"] for event in events if event["reason"] == "Contested"]
            assert len(contested) == 1
            assert "a second provider" in contested[0]
        await asyncio.sleep(700)
        for _ in range(3):
            forget(world, what)
            await world.until(lambda: _is_restored(world, what), 2)
            await asyncio.sleep(90)


async def test_secret_that_was_deleted_comes_back_although_something_undoes_each_write_of_its_object(tmp_path):
    """The object waits for longer than kubeconfigs stay in memory."""
    world = World(tmp_path)
    async with world.running():
        world.add()
        await world.ready()
        with undoing(world, "claim"):
            await asyncio.sleep(1200)
            del world.kube.objects[SECRETS.plural, "default", "dev-config"]
            await world.until(lambda: world.kube.find(SECRETS, "dev-config") is not None, 900)


def _is_restored(world: World, what: str) -> bool:
    obj = world.get()
    assert obj is not None
    return {
        "claim": names.CLAIM_ANNOTATION in (obj["metadata"].get("annotations") or {}),
        "finalizer": bool(obj["metadata"].get("finalizers")),
        "conditions": world.reason() == "Ready",
    }[what]


async def test_person_who_edits_now_and_then_is_answered_immediately(tmp_path):
    world = World(tmp_path)
    async with world.running():
        world.add()
        await world.ready()
        for _ in range(30):
            forget(world, "claim")
            began = now()
            await world.until(lambda: _is_restored(world, "claim"), 2)
            assert now() - began < 2
            await asyncio.sleep(90)


async def test_object_of_two_providers_is_deleted_by_the_one_that_has_its_kind_cluster(tmp_path):
    async with two_machines(tmp_path) as (first, second):
        first.add()
        await asyncio.sleep(1200)
        first.delete()
        await first.until(lambda: first.get() is None, 1200)
        assert [*first.engine.containers, *second.engine.containers] == []
