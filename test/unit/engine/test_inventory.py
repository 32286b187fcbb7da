import asyncio
import itertools
from dataclasses import replace

import pytest

from capk.engine.containers import Node
from capk.engine.enginecli import UnreadableAnswer
from capk.engine.inventory import MOST_REST_SECONDS, Entry, Inventory
from capk.errors import CommandError, CommandFailed, CommandMissing
from test.unit import virtual_time

pytestmark = pytest.mark.virtual_time


def node(cluster: str, engine: str | None = None) -> Node:
    name = f"{cluster}-control-plane"
    return Node(name, cluster, "control-plane", True, f"{name} on {engine}", "172.18.0.2", "now")


class Engine:
    """Both commands in one, with a list of names. Each read can be held back."""

    command = ("docker",)

    def __init__(self, *names: str, known_nodes: bool = True) -> None:
        self.names = list(names)
        self.known_nodes = known_nodes
        self.reads = self.version_reads = 0
        self.id: str | None = None
        self.reinstalled: str | None = None
        """The current id of the engine."""
        self.id_reads = 0
        self.version_error: CommandError | None = None
        self.error: CommandFailed | None = None
        self.open = asyncio.Event()
        self.open.set()

    async def version(self) -> str:
        self.version_reads += 1
        if self.version_error:
            raise self.version_error
        return "v0.32.0"

    async def engine_id(self) -> str | None:
        self.id_reads += 1
        if self.id == "unreadable":
            raise UnreadableAnswer(["docker", "info"], "it is not JSON")
        return self.reinstalled or self.id

    async def clusters(self) -> list[str]:
        self.reads += 1
        names, error = list(self.names), self.error
        await self.open.wait()
        if error:
            raise error
        return names

    async def nodes(self, cluster: str | None = None) -> list[Node] | None:
        found = [node(name, self.id) for name in self.names if cluster in (None, name)]
        return found if self.known_nodes else None


@pytest.fixture(autouse=True)
def no_pause_before_the_second_try(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("capk.engine.inventory.RETRY_SECONDS", 0.0)


def inventory_of(engine: Engine) -> Inventory:
    return Inventory(engine, engine)


async def ticks() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_refresh_lists_clusters_with_their_nodes():
    inventory = inventory_of(Engine("a", "b"))
    assert inventory.latest is None
    snapshot = await inventory.refresh()
    assert snapshot.clusters == {"a": Entry("a", (node("a"),)), "b": Entry("b", (node("b"),))}
    assert inventory.latest is snapshot


async def test_nodes_are_unknown_without_a_container_engine():
    snapshot = await inventory_of(Engine("a", known_nodes=False)).refresh()
    assert snapshot.clusters == {"a": Entry("a", None)}


async def test_callers_share_a_read_that_has_not_begun():
    engine = Engine("a")
    inventory = inventory_of(engine)
    snapshots = await asyncio.gather(*(inventory.refresh() for _ in range(50)))
    assert engine.reads == 1
    assert all(snapshot is snapshots[0] for snapshot in snapshots)


async def test_caller_during_a_read_gets_one_that_began_later():
    engine = Engine()
    engine.open.clear()
    inventory = inventory_of(engine)
    early = asyncio.create_task(inventory.refresh())
    await ticks()
    assert engine.reads == 1
    engine.names.append("new")
    late = [asyncio.create_task(inventory.refresh()) for _ in range(10)]
    await ticks()
    engine.open.set()
    assert (await early).clusters == {}
    assert [list((await task).clusters) for task in late] == [["new"]] * 10
    assert engine.reads == 2


@pytest.mark.parametrize(("took", "rest"), [(0.25, 0.25), (60.0, MOST_REST_SECONDS)])
def test_a_read_rests_as_long_as_the_one_before_took_within_a_limit(took, rest):
    class SlowEngine(Engine):
        async def clusters(self) -> list[str]:
            began.append(asyncio.get_running_loop().time())
            await asyncio.sleep(took)
            return await super().clusters()

    async def read_twice() -> None:
        inventory = inventory_of(SlowEngine("a"))
        await inventory.refresh()
        await inventory.refresh()

    began: list[float] = []
    virtual_time.run(read_twice())
    assert began == [0.0, pytest.approx(took + rest)]


async def test_failed_read_keeps_what_was_known_and_says_why():
    engine = Engine("a")
    inventory = inventory_of(engine)
    before = await inventory.refresh()
    engine.error = CommandFailed(["kind"], "no engine", 1)
    snapshot = await inventory.refresh()
    assert snapshot.error is engine.error
    assert snapshot.clusters == before.clusters
    engine.error = None
    assert (await inventory.refresh()).error is None


async def test_failed_first_read_knows_nothing():
    engine = Engine("a")
    engine.error = CommandFailed(["kind"], "no engine", 1)
    snapshot = await inventory_of(engine).refresh()
    assert (snapshot.clusters, snapshot.error) == ({}, engine.error)


async def test_ended_operations_show_at_once():
    inventory = inventory_of(Engine("a"))
    first = await inventory.refresh()
    inventory.created("b")
    inventory.deleted("a")
    assert inventory.latest.clusters == {"b": Entry("b", None)}
    assert inventory.latest.sequence > first.sequence
    assert list(first.clusters) == ["a"]


@pytest.mark.parametrize("fails", [False, True])
async def test_read_that_began_before_an_operation_ended_cannot_undo_it(fails):
    engine = Engine("old")
    inventory = inventory_of(engine)
    await inventory.refresh()
    engine.open.clear()
    engine.error = CommandFailed(["kind"], "", 1) if fails else None
    read = asyncio.create_task(inventory.refresh())
    await ticks()
    inventory.created("new")
    inventory.deleted("old")
    engine.open.set()
    assert list((await read).clusters) == ["new"]
    engine.names, engine.error = ["new"], None
    assert (await inventory.refresh()).clusters == {"new": Entry("new", (node("new"),))}


async def test_read_that_began_after_an_operation_ended_counts():
    engine = Engine("a")
    inventory = inventory_of(engine)
    inventory.deleted("a")
    inventory.created("b")
    assert inventory.latest is None
    assert list((await inventory.refresh()).clusters) == ["a"]


async def test_created_after_a_deletion_of_the_same_name_is_there():
    engine = Engine("a")
    inventory = inventory_of(engine)
    await inventory.refresh()
    engine.open.clear()
    read = asyncio.create_task(inventory.refresh())
    await ticks()
    inventory.deleted("a")
    inventory.created("a")
    engine.open.set()
    assert list((await read).clusters) == ["a"]


async def test_cancelled_caller_does_not_end_the_read_of_others():
    engine = Engine("a")
    engine.open.clear()
    inventory = inventory_of(engine)
    impatient, patient = (asyncio.create_task(inventory.refresh()) for _ in range(2))
    await ticks()
    impatient.cancel()
    await ticks()
    assert impatient.cancelled()
    engine.open.set()
    assert list((await patient).clusters) == ["a"]


async def test_stop_ends_running_and_waiting_reads():
    engine = Engine("a")
    engine.open.clear()
    inventory = inventory_of(engine)
    before = asyncio.all_tasks()
    readers = [asyncio.create_task(inventory.refresh())]
    await ticks()
    readers.append(asyncio.create_task(inventory.refresh()))
    await ticks()
    await inventory.stop()
    await asyncio.wait(readers)
    assert all(reader.cancelled() for reader in readers)
    assert asyncio.all_tasks() == before
    await inventory.stop()


async def test_sequence_grows_with_every_snapshot():
    inventory = inventory_of(Engine("a"))
    seen = [(await inventory.refresh()).sequence]
    inventory.created("b")
    seen.append(inventory.latest.sequence)
    seen.append((await inventory.refresh()).sequence)
    assert seen == sorted(set(seen))


async def test_one_failed_read_is_not_yet_a_broken_engine():
    class FailsOnce(Engine):
        async def clusters(self) -> list[str]:
            try:
                return await super().clusters()
            finally:
                self.error = None

    engine = FailsOnce("a")
    engine.error = CommandFailed(["docker"], "No such container", 1)
    snapshot = await inventory_of(engine).refresh()
    assert snapshot.error is None
    assert set(snapshot.clusters) == {"a"}


async def test_version_is_asked_once_and_again_after_a_failure():
    engine = Engine("a")
    inventory = inventory_of(engine)
    await inventory.refresh()
    await inventory.refresh()
    assert (inventory.kind_version, engine.version_reads) == ("v0.32.0", 1)
    engine.error = CommandFailed(["kind", "get", "clusters"], "down", 1)
    await inventory.refresh()
    engine.error = None
    await inventory.refresh()
    assert (inventory.kind_version, engine.version_reads) == ("v0.32.0", 2)


async def test_what_is_not_kind_is_not_asked_for_clusters():
    engine = Engine()
    engine.version_error = CommandMissing(["true", "version"], "it is not kind")
    snapshot = await inventory_of(engine).refresh()
    assert snapshot.error is engine.version_error
    assert engine.reads == 0


async def test_kind_that_hides_its_version_is_believed():
    engine = Engine("a")
    engine.version_error = CommandFailed(["kind", "version"], "unknown command", 64)
    inventory = inventory_of(engine)
    assert list((await inventory.refresh()).clusters) == ["a"]
    assert inventory.kind_version == ""


def started(cluster: str, at: str, *, running: bool = True) -> Node:
    return replace(node(cluster), started_at=at, running=running)


async def test_cluster_whose_node_started_anew_is_marked_until_it_answers():
    engine = Engine("a", "b")
    inventory = inventory_of(engine)
    engine.nodes = lambda: _nodes(started("a", "1"), started("b", "1"))
    assert not (await inventory.refresh()).clusters["a"].restarted

    engine.nodes = lambda: _nodes(started("a", "2"), started("b", "1"))
    for _ in range(2):
        seen = (await inventory.refresh()).clusters
        assert seen["a"].restarted
        assert not seen["b"].restarted
    inventory.answered("a")
    assert inventory.latest
    assert not inventory.latest.clusters["a"].restarted
    assert not (await inventory.refresh()).clusters["a"].restarted


async def test_node_that_is_stopped_has_not_started_anew():
    engine = Engine("a")
    inventory = inventory_of(engine)
    for at, running, restarted in (("1", True, False), ("1", False, False), ("2", True, True)):
        engine.nodes = lambda at=at, running=running: _nodes(started("a", at, running=running))
        assert (await inventory.refresh()).clusters["a"].restarted is restarted


@pytest.mark.parametrize("created", ["", "0001-01-01T00:00:00Z"])
async def test_first_start_of_a_node_that_was_added_is_not_a_restart(created):
    engine = Engine("a")
    inventory = inventory_of(engine)
    for at, running, number in ((created, False, 1), ("2", True, 1), ("3", True, 2)):
        worker = replace(started("a", at, running=running), name="a-worker", container_id=f"worker {number}")
        engine.nodes = lambda worker=worker: _nodes(started("a", "1"), worker)
        assert not (await inventory.refresh()).clusters["a"].restarted
    engine.nodes = lambda: _nodes(started("a", "1"), replace(worker, started_at="4"))
    assert (await inventory.refresh()).clusters["a"].restarted


async def test_cluster_that_was_made_anew_has_not_restarted():
    engine = Engine("a")
    inventory = inventory_of(engine)
    engine.nodes = lambda: _nodes(started("a", "1"))
    await inventory.refresh()
    inventory.deleted("a")
    inventory.created("a")
    engine.nodes = lambda: _nodes(started("a", "2"))
    assert not (await inventory.refresh()).clusters["a"].restarted


async def _nodes(*nodes: Node) -> list[Node]:
    return list(nodes)


class TestEngineId:
    """The same command may use another engine: a listing belongs to the engine that returned it."""

    async def test_it_is_asked_around_the_first_listing_and_not_while_containers_are_the_same(self):
        engine = Engine("a")
        engine.id = "one"
        inventory = inventory_of(engine)
        for _ in range(3):
            assert (await inventory.refresh()).engine_id == "one"
        engine.names = ["a", "b"]
        await inventory.refresh()
        engine.names = ["b"]
        await inventory.refresh()
        assert engine.id_reads == 2

    async def test_it_is_asked_with_each_new_version(self):
        engine = Engine("a")
        engine.id = "one"
        inventory = inventory_of(engine)
        await inventory.refresh()
        inventory.kind_version = None
        await inventory.refresh()
        assert engine.id_reads == 3

    @pytest.mark.parametrize("there", [[], ["b"], ["a"], ["a", "b"]], ids=",".join)
    @pytest.mark.parametrize("here", [[], ["a"]], ids=",".join)
    async def test_another_engine_is_noticed_and_so_is_the_first_one_again(self, here, there):
        """Whether it has no clusters, other ones, or one of the same name."""
        engine = Engine(*here)
        engine.id = "one"
        inventory = inventory_of(engine)
        for id, names in (("one", here), ("other", there), ("one", here), ("other", there)):
            engine.id, engine.names = id, list(names)
            for _ in range(2):
                snapshot = await inventory.refresh()
                assert (list(snapshot.clusters), snapshot.engine_id) == (list(names), id)

    async def test_engine_that_changes_between_listing_and_question_is_listed_again(self):
        engine = Engine("a")
        engine.id = "one"
        inventory = inventory_of(engine)
        await inventory.refresh()

        async def switched() -> str:
            engine.names, engine.id, engine.engine_id = ["b"], "other", ask
            return "other"

        ask = engine.engine_id
        engine.names, engine.id, engine.engine_id = [], "third", switched
        snapshot = await inventory.refresh()
        assert (list(snapshot.clusters), snapshot.engine_id) == (["b"], "other")

    async def test_engines_that_take_turns_are_a_failure(self):
        engine = Engine("a")
        inventory = inventory_of(engine)
        ids = (str(number) for number in itertools.count())

        async def another() -> str:
            return next(ids)

        engine.engine_id = another
        snapshot = await inventory.refresh()
        assert isinstance(snapshot.error, CommandFailed)
        assert "another engine" in str(snapshot.error.output)

    async def test_new_id_of_an_engine_with_the_same_containers_is_believed(self):
        """A new installation has a new id."""
        engine = Engine("a")
        engine.id = "one"
        inventory = inventory_of(engine)
        await inventory.refresh()
        engine.error = CommandFailed(["docker", "ps"], "no", 1)
        await inventory.refresh()
        engine.error, engine.reinstalled = None, "two"
        snapshot = await inventory.refresh()
        assert (list(snapshot.clusters), snapshot.engine_id) == (["a"], "two")

    async def test_outcome_of_an_operation_belongs_to_the_engine_that_was_listed(self):
        """While a read discovers another engine."""
        engine = Engine("a")
        engine.id = "one"
        inventory = inventory_of(engine)
        await inventory.refresh()
        engine.names, engine.id = [], "other"
        engine.open.clear()
        reading = asyncio.create_task(inventory.refresh())
        await ticks()
        inventory.created("b")
        assert inventory.latest
        assert (list(inventory.latest.clusters), inventory.latest.engine_id) == (["a", "b"], "one")
        engine.open.set()
        assert (await reading).engine_id == "other"

    async def test_it_is_asked_after_an_error_and_kept_meanwhile(self):
        engine = Engine("a")
        engine.id = "one"
        inventory = inventory_of(engine)
        await inventory.refresh()
        engine.error = CommandFailed(["docker", "ps"], "no", 1)
        assert (await inventory.refresh()).engine_id == "one"
        engine.error, engine.id = None, "other"
        assert (await inventory.refresh()).engine_id == "other"

    @pytest.mark.parametrize("answer", [None, "unreadable"])
    async def test_engine_without_an_id_is_as_good_as_any_and_not_asked_each_time(self, answer):
        engine = Engine()
        engine.id = answer
        inventory = inventory_of(engine)
        for _ in range(5):
            snapshot = await inventory.refresh()
            assert (snapshot.error, snapshot.engine_id) == (None, "")
        assert engine.id_reads == 2
