"""One provider and two engines: that of the provider, and that of a class."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from capk.api.names import DEFAULT_CLASS_ANNOTATION, KIND_MACHINES
from capk.engine.place import SHARED
from capk.errors import CapkError
from capk.manager.engineclasses import place_key
from test.provider.classworld import ADDRESS, ON_LAB, ClassWorld
from test.provider.world import now, trouble

pytestmark = pytest.mark.virtual_time

THERE: dict[str, Any] = {"namespace": "others", "spec": ON_LAB}
"""Of a KINDCluster whose kind cluster is on the other engine."""
REMOTE = place_key("lab")
NO_NAMESPACE = ""
"""The class itself belongs to none."""


class TwoEngines(ClassWorld):
    """`engine`, `kind` and `containers` are the provider's own; `remote` is the other engine."""

    def __init__(self, directory: Path, **settings: Any) -> None:
        super().__init__(directory, **settings)
        self.remote, self.remote_kind, self.remote_containers = self.lab, self.lab_kind, self.lab_containers
        self.add_namespace("others", kind="allowed")
        self.add_namespace("third", kind="allowed")
        self.offer()

    def hang(self) -> None:
        """Have the other engine answer no question any more."""

        async def never(*_: Any) -> Any:
            await asyncio.Event().wait()

        self.remote_containers.nodes = self.remote_kind.clusters = never  # type: ignore[method-assign]


@pytest.fixture
def world(tmp_path: Path) -> TwoEngines:
    return TwoEngines(tmp_path)


def watches() -> set[str]:
    """Return the engines whose watches run."""
    names = (task.get_name() for task in asyncio.all_tasks())
    return {name.removeprefix("watch on the engine ") for name in names if name.startswith("watch on the engine ")}


class TestTwoEngines:
    async def test_kind_clusters_of_one_name_are_on_both_and_each_is_deleted_on_its_own(self, world):
        async with world.running():
            world.add()
            world.add(**THERE)
            await world.ready()
            await world.ready("dev", "others")
            assert [len(engine.of("dev")) for engine in (world.engine, world.remote)] == [1, 1]
            world.delete("dev", "others")
            await world.until(lambda: world.get("dev", "others") is None)
            assert [len(engine.of("dev")) for engine in (world.engine, world.remote)] == [1, 0]
            assert world.engine.called("remove") == []
            assert world.reason() == "Ready"

    async def test_second_kind_cluster_of_a_name_on_one_engine_waits(self, world):
        async with world.running():
            world.add(**THERE)
            await world.ready("dev", "others")
            world.add("dev", "third", spec=ON_LAB)
            await world.until(lambda: world.reason("dev", "third") == "NameConflict")
            assert len(world.remote.called("create")) == 1

    async def test_place_decides_about_the_endpoint_and_the_paths_of_the_host(self, world):
        spec = {"nodes": [{"role": "control-plane", "extraMounts": [{"hostPath": "/srv", "containerPath": "/srv"}]}]}
        async with world.running():
            world.add(spec=spec)
            world.add(**THERE)
            world.add("mounts", "others", spec={**spec, **ON_LAB})
            await world.ready()
            await world.ready("dev", "others")
            assert world.get()["spec"]["controlPlaneEndpoint"]["host"] == "127.0.0.1"
            assert world.get("dev", "others")["spec"]["controlPlaneEndpoint"]["host"] == ADDRESS
            assert world.reason("mounts", "others") == "InvalidConfig"

    async def test_worker_joins_on_the_engine_of_its_cluster(self, world):
        async with world.running():
            world.add()
            world.add(**THERE)
            await world.ready("dev", "others")
            world.add_standalone_machine(namespace="others")
            machine = {"namespace": "others", "resource": KIND_MACHINES}
            await world.until(lambda: world.reason("dev-w1", **machine) == "Ready")
            assert (len(world.engine.of("dev")), len(world.remote.of("dev"))) == (1, 2)
            world.delete("dev-w1", **machine)
            await world.until(lambda: world.get("dev-w1", **machine) is None)
            assert (len(world.engine.of("dev")), len(world.remote.of("dev"))) == (1, 1)

    async def test_change_at_one_engine_wakes_only_objects_there(self, world):
        async with world.running() as app:
            world.add()
            world.add(**THERE)
            await world.ready()
            await world.ready("dev", "others")
            await asyncio.sleep(20)
            seen = []
            app.queue.add = seen.append  # type: ignore[method-assign]
            world.remote.stop_nodes()
            await asyncio.sleep(30)
            assert {key.namespace for key in seen} == {"others", NO_NAMESPACE}


class TestTrouble:
    async def test_engine_that_is_down_delays_nothing_elsewhere(self, world):
        world.remote.down = trouble("Cannot connect to the Docker daemon", "docker", "ps")
        async with world.running():
            for number in range(20):
                world.add(f"dead-{number}", **THERE)
            await world.until(lambda: world.condition("EngineAvailable", "dead-19", "others")[0] == "False")
            world.add()
            assert await world.until(lambda: world.reason() == "Ready") < 10
            assert world.condition("EngineAvailable")[0] == "True"
            world.delete()
            assert await world.until(lambda: world.get() is None) < 20
            world.remote.down = None
            await world.ready("dead-19", "others")

    async def test_engine_that_hangs_delays_neither_the_start_nor_others(self, world):
        async with world.running():
            for number in range(60):
                world.add(f"stuck-{number}", **THERE)
            await world.ready("stuck-59", "others")
        world.hang()
        began = now()
        async with world.running() as app:
            assert now() - began < 5
            for number in range(60):
                world.delete(f"stuck-{number}", "others")
            await asyncio.sleep(5)
            world.add()
            assert await world.until(lambda: world.reason() == "Ready") < 10
            for _ in range(10):
                await asyncio.sleep(30)
                assert app.engine_heartbeat() is None
            world.delete()
            assert await world.until(lambda: world.get() is None) < 20

    async def test_engine_that_begins_to_hang_delays_nothing_elsewhere(self, world):
        """Each of the objects there waits for a second listing, which would have to confirm that its name is taken."""
        for number in range(60):
            world.remote.run_node(f"stuck-{number}-control-plane", f"stuck-{number}")
        async with world.running():
            world.add("first", **THERE)
            await world.ready("first", "others")
            world.hang()
            for number in range(60):
                world.add(f"stuck-{number}", **THERE)
            await asyncio.sleep(5)
            world.add()
            assert await world.until(lambda: world.reason() == "Ready") < 10
            world.delete()
            assert await world.until(lambda: world.get() is None) < 20

    async def test_full_lane_of_one_kind_of_engine_does_not_hold_up_another(self, tmp_path):
        world = TwoEngines(tmp_path, max_concurrent_creates=1)
        world.remote_kind.create_seconds = 500
        async with world.running():
            await world.until(lambda: world.class_ready()[0] == "True")
            world.add("slow", **THERE)
            await world.until(lambda: world.remote.called("create", "slow") != [])
            world.add("waits", **THERE)
            await world.until(lambda: world.reason("waits", "others") == "Queued")
            world.add()
            assert await world.until(lambda: world.reason() == "Ready") < 10
            assert len(world.remote.called("create")) == 1

    async def test_bug_in_the_watch_on_one_engine_ends_the_provider(self, world, caplog):
        async def broken(*_: Any) -> Any:
            raise KeyError("a bug of ours")

        expected = pytest.raises(CapkError, match="watch on the container engine")
        with expected:
            async with world.running():
                world.add(**THERE)
                await world.ready("dev", "others")
                world.remote_containers.nodes = broken
                await asyncio.sleep(60)


class TestLife:
    async def test_engine_is_watched_as_long_as_its_class_exists(self, world):
        async with world.running() as app:
            world.add(**THERE)
            await world.ready("dev", "others")
            world.delete("dev", "others")
            await world.until(lambda: world.get("dev", "others") is None)
            assert watches() == {SHARED, REMOTE}
            world.remove_class()
            await world.until(lambda: watches() == {SHARED}, 60)
            assert set(app.engines._engines) == {SHARED}
            world.add_class()
            world.add("next", **THERE)
            await world.ready("next", "others")
            assert watches() == {SHARED, REMOTE}

    async def test_operation_stays_on_the_engine_that_it_was_queued_for(self, tmp_path):
        world = TwoEngines(tmp_path, max_concurrent_creates=1)
        world.remote_kind.create_seconds = 50
        world.edit_class({"metadata": {"annotations": {DEFAULT_CLASS_ANNOTATION: "true"}}})
        async with world.running():
            world.add("first", **THERE)
            await world.until(lambda: world.remote.called("create", "first") != [])
            world.add()
            await world.until(lambda: world.reason() == "Queued")
            world.edit_class({"metadata": {"annotations": {DEFAULT_CLASS_ANNOTATION: "false"}}})
            world.annotate(ENGINE_CLASS=None)
            await world.until(lambda: len(world.remote.called("create", "dev")) == 1)
            assert world.engine.called("create", "dev") == []

    async def test_rest_of_a_vanished_object_is_removed_where_it_was_made(self, world):
        async with world.running():
            world.add()
            await world.ready()
            world.add(**THERE)
            await world.until(lambda: world.remote.of("dev") != [])
            world.vanish("dev", "others")
            await world.until(lambda: world.remote.of("dev") == [])
            assert len(world.engine.of("dev")) == 1

    async def test_engine_is_replaced_if_its_place_has_changed(self, world):
        async with world.running() as app:
            await world.until(lambda: world.class_ready()[0] == "True")
            former = app.engines.of(world.lab_places[0])
            assert app.engines.of(world.lab_places[0]) is former
            engine = app.engines.of(replace(world.lab_places[0], address="10.0.0.8"))
            assert engine is not former
            await asyncio.sleep(1)
            assert watches() == {SHARED, REMOTE}
            assert engine.inventory.latest is not None
