"""Operations on the engine: the kept logs of a failed creation, and the removed containers."""

import asyncio
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import pytest
import yaml

from capk.api.objects import Key
from capk.diagnosis.failures import classify
from capk.engine.command import Output
from capk.engine.containers import Node
from capk.engine.failurelogs import KIND_CONFIG, KIND_OUTPUT, FailureLogs
from capk.engine.inventory import Inventory
from capk.engine.kind import Kind
from capk.engine.nodescripts import NODE_LOGS
from capk.errors import AddressTaken, CapkError, CommandFailed, CommandTimedOut, NamesNotResolved
from capk.manager.executor import Executor
from capk.manager.operations.creation import LOGS_SECONDS
from capk.manager.outcome import Withdrawn
from capk.manager.record import Record
from capk.plan.marks import Mark
from capk.plan.plan import Create, Delete, Goal, StartNodes
from test.unit.manager.places import HERE

pytestmark = pytest.mark.virtual_time

MARK = Mark("8f2c", 3)
CONFIG = {
    "kind": "Cluster",
    "apiVersion": "kind.x-k8s.io/v1alpha4",
    "nodes": [{"role": "control-plane", "extraMounts": [MARK.mount]}],
}
CREATE = Create(name="dev", config=CONFIG, image="kindest/node:v1", wait_seconds=120, mark=MARK, generation=1)
REMOVE = Delete("dev", Goal.GONE, uids=frozenset({"8f2c"}))
RECORD = Record(Key("KINDCluster", "default", "dev"), "8f2c")
BROKEN = [
    *["kind", "create", "cluster", "--name=dev", "--config=-", "--wait=120s", "--retain"],
    "--kubeconfig=/x/y",
]


def container(name: str, *, mark: Mark | str | None = MARK, id: str = "", cluster: str = "dev") -> Node:
    role = next(role for role in ("external-load-balancer", "control-plane", "worker") if role in name)
    return Node(name, cluster, role, True, id or name, "172.18.0.2", "now", mark=str(mark) if mark else None)


class Engine:
    """The kind command and its container engine; a test chooses what a creation makes before it fails."""

    command = ("docker",)
    network = "kind"
    resolves: bool | None = None
    gives_lowest_address = True

    def __init__(self, *nodes: Node) -> None:
        self.there = list(nodes)
        self.late: list[Node] = []
        self.makes: list[Node] = []
        self.calls: list[tuple[str, Any]] = []
        self.listings: list[str | None] = []
        self.taken: dict[str, str] = {}
        self.stuck = False
        self.prints = "what the node prints"

    async def create_cluster(self, name: str, *_: object, **__: object) -> str:
        self.there += self.makes
        raise CommandFailed(BROKEN, "ERROR: failed to create cluster: something new", 1)

    async def run(self, node: str, command: Sequence[str], *, timeout_seconds: float = 30) -> Output:
        self.calls.append(("run", node))
        return Output(self.prints, "")

    async def printed(self, container_id: str, *, timeout_seconds: float = 30) -> str:
        self.calls.append(("logs", container_id))
        return self.prints

    async def clusters(self) -> list[str]:
        return sorted({node.cluster for node in self.there})

    async def version(self) -> str:
        return "v0.33.0"

    async def resolves_names(self) -> bool | None:
        return self.resolves

    async def engine_id(self) -> None:
        return None

    async def nodes(self, cluster: str | None = None) -> list[Node]:
        self.listings.append(cluster)
        return [node for node in self.there if cluster in (None, node.cluster)]

    async def remove(self, ids: list[str]) -> None:
        assert {*ids} <= {node.container_id for node in self.there}
        self.calls.append(("remove", sorted(ids)))
        if not self.stuck:
            self.there = [node for node in self.there if node.container_id not in ids]
        self.there += self.late
        self.late = []

    async def stop(self, names: tuple[str, ...]) -> None:
        self.calls.append(("stop", names))

    async def start(self, names: tuple[str, ...]) -> None:
        self.calls.append(("start", names))

    async def occupants(self) -> dict[str, str]:
        return self.taken

    async def release_addresses(self, cluster: str) -> None:
        pass

    @property
    def removed(self) -> list[list[str]]:
        return [what for call, what in self.calls if call == "remove"]


def executor(
    engine: Engine,
    directory: Path,
    still_wanted: Any = lambda record, request: True,
    inventory: Inventory | None = None,
) -> Executor:
    return Executor(
        HERE,
        engine,
        engine,
        inventory or Inventory(engine, engine),
        FailureLogs(directory),
        None,
        wait_seconds=1.0,
        delete_seconds=60.0,
        still_wanted=still_wanted,
    )


def read(file: str) -> Any:
    return yaml.safe_load(Path(file).read_text())


def files_of(error: CommandFailed) -> dict[str, str]:
    """Return the kept files of a failure: relative path -> content."""
    return {str(file.relative_to(error.logs)): file.read_text() for file in Path(error.logs).rglob("*")}


async def fail(engine: Engine, directory: Path) -> CommandFailed:
    with pytest.raises(CommandFailed) as raised:
        await executor(engine, directory).carry_out(RECORD, CREATE, lambda step: None)
    return raised.value


class TestFailedCreation:
    async def test_containers_that_come_to_light_after_kind_has_failed_go_too(self, tmp_path):
        """kind exits at the first container that fails, but the engine continues with the others."""
        engine = Engine()
        asyncio.get_running_loop().call_later(1.5, engine.there.append, container("dev-control-plane2", id="late"))
        await fail(engine, tmp_path)
        assert engine.removed == [["late"]]
        assert engine.there == []

    async def test_command_of_the_message_uses_the_kept_configuration_without_marks(self, tmp_path):
        error = await fail(Engine(), tmp_path / "failed")
        _, command, _ = classify(error).message.split("`")
        assert shlex.split(command) == [
            *["kind", "create", "cluster", "--name=dev"],
            f"--config={tmp_path / 'failed' / 'dev' / KIND_CONFIG}",
            *["--wait=120s", "--retain"],
        ]
        assert read(error.config) == {**CONFIG, "nodes": [{"role": "control-plane"}]}
        assert error.logs == str(tmp_path / "failed" / "dev")

    @pytest.mark.rule("C18")
    async def test_same_failure_has_the_same_message(self, tmp_path):
        first, second = await fail(Engine(), tmp_path), await fail(Engine(), tmp_path)
        assert classify(first).message == classify(second).message

    async def test_logs_that_cannot_be_kept_change_nothing_else(self, tmp_path):
        (tmp_path / "file").write_text("")
        engine = Engine()
        engine.makes = [container("dev-control-plane")]
        error = await fail(engine, tmp_path / "file")
        assert (error.logs, error.config) == ("", "")
        assert "something new" in classify(error).message
        assert engine.there == []

    @pytest.mark.rule("C21")
    async def test_nodes_of_this_attempt_go_and_those_of_a_successor_stay(self, tmp_path):
        theirs = container("dev-worker", mark=Mark("8f2c", 4))
        engine = Engine(theirs)
        engine.makes = [container("dev-control-plane")]
        await fail(engine, tmp_path)
        assert engine.there == [theirs]

    @pytest.mark.rule("C21")
    async def test_of_a_race_with_a_user_only_the_own_worker_goes(self, tmp_path):
        theirs = [container("dev-control-plane", mark=None), container("dev-external-load-balancer", mark=None)]
        engine = Engine(*theirs)
        engine.makes = [container("dev-worker")]
        await fail(engine, tmp_path)
        assert engine.there == theirs

    async def test_balancer_goes_with_the_nodes_of_its_creation(self, tmp_path):
        engine = Engine()
        engine.makes = [container("dev-control-plane"), container("dev-external-load-balancer", mark=None)]
        await fail(engine, tmp_path)
        assert engine.there == []


class TestNodeLogs:
    """A node image is not trusted: its output is only the content of a file that the provider names."""

    NODES = (
        container("dev-control-plane", id="first"),
        container("dev-worker", id="second"),
        container("dev-external-load-balancer", mark=None, id="balancer"),
    )

    def engine(self) -> Engine:
        engine = Engine()
        engine.makes = list(self.NODES)
        return engine

    async def test_each_node_has_one_file_of_what_it_prints(self, tmp_path):
        engine = self.engine()
        engine.prints = "../../../../escaped\n"
        error = await fail(engine, tmp_path)
        found = files_of(error)
        assert found.keys() == {KIND_OUTPUT, KIND_CONFIG, "dev-control-plane.log", "dev-worker.log"}
        assert all(f"==> {what} <==\n{engine.prints}" in found["dev-worker.log"] for what in NODE_LOGS)
        assert {file.name for file in tmp_path.iterdir()} == {"dev"}

    async def test_kind_is_not_asked_to_unpack_what_a_node_sends(self, tmp_path):
        """Its `export logs` writes each file to the path in the node's archive."""
        engine = self.engine()
        engine.export_logs = AsyncMock()
        await fail(engine, tmp_path)
        engine.export_logs.assert_not_called()
        assert not hasattr(Kind, "export_logs")

    async def test_only_running_nodes_of_this_attempt_are_asked_by_their_id(self, tmp_path):
        engine = Engine(container("dev-worker2", mark=Mark("8f2c", 4), id="newer"))
        engine.makes = [*self.NODES[:1], replace(self.NODES[1], running=False)]
        await fail(engine, tmp_path)
        assert {node for call, node in engine.calls if call == "run"} == {"first"}
        assert {node for call, node in engine.calls if call == "logs"} == {"second"}

    async def test_container_that_has_ended_leaves_its_last_words(self, tmp_path):
        engine = Engine()
        engine.makes = [replace(node, running=False) for node in self.NODES]
        engine.prints = "Failed to create control group inotify object: Too many open files\n"
        error = await fail(engine, tmp_path)
        logs = {f"{node.name}.log" for node in self.NODES}
        assert files_of(error).keys() == {KIND_OUTPUT, KIND_CONFIG, *logs}
        assert all(engine.prints in files_of(error)[log] for log in logs)

    @pytest.mark.parametrize("name", ["../dev-worker", "..", "x/dev-worker"])
    async def test_name_that_is_no_file_is_left_out(self, tmp_path, name):
        engine = self.engine()
        engine.makes[1] = replace(self.NODES[1], name=name)
        error = await fail(engine, tmp_path / "failed")
        assert files_of(error).keys() == {KIND_OUTPUT, KIND_CONFIG, "dev-control-plane.log"}
        assert not list(tmp_path.rglob("dev-worker*"))

    async def test_engine_without_a_command_leaves_what_kind_said(self, tmp_path):
        engine = self.engine()
        engine.nodes = AsyncMock(return_value=None)
        error = await fail(engine, tmp_path)
        assert files_of(error).keys() == {KIND_OUTPUT, KIND_CONFIG}

    @pytest.mark.parametrize("wrong", [CommandFailed(["docker"], "exec: no shell", 127), RuntimeError("unforeseen")])
    async def test_failure_of_the_logs_does_not_hide_that_of_the_creation(self, tmp_path, wrong):
        engine = self.engine()
        engine.run = AsyncMock(side_effect=wrong)
        error = await fail(engine, tmp_path)
        assert "something new" in error.output
        assert engine.there == []

    async def test_log_that_cannot_be_read_is_replaced_by_the_reason(self, tmp_path):
        engine = self.engine()
        engine.run = AsyncMock(side_effect=CommandFailed(["docker"], "exec: no shell", 127))
        error = await fail(engine, tmp_path)
        assert "could not be read: exec: no shell" in files_of(error)["dev-worker.log"]

    async def test_nodes_that_hang_hold_the_removal_up_for_a_minute_at_most(self, tmp_path):
        engine = self.engine()

        async def hang(*_: object, timeout_seconds: float) -> None:
            await asyncio.sleep(timeout_seconds)
            raise CommandTimedOut(["docker", "exec"], "", timeout_seconds)

        engine.run = hang
        clock = asyncio.get_running_loop().time
        began = clock()
        await fail(engine, tmp_path)
        assert clock() - began < LOGS_SECONDS + 5
        assert engine.there == []

    async def test_endless_logs_of_many_nodes_stay_within_the_budget(self, tmp_path):
        engine = Engine()
        engine.makes = [container(f"dev-worker{number}") for number in range(8)]
        engine.prints = "x" * (2 << 20)
        error = await fail(engine, tmp_path)
        assert sum(map(len, files_of(error).values())) <= 4 << 20
        # Only as much is read as can be kept.
        assert ("run", "dev-worker7") not in engine.calls


class TestNothingLeft:
    """A failed creation reports whether it is proven to have left nothing on its engine."""

    async def fails(self, engine: Engine, directory: Path, *, answers: str = "one") -> CapkError:
        engine.engine_id = AsyncMock(return_value=answers)
        with pytest.raises(CapkError) as caught:
            await executor(engine, directory).carry_out(RECORD, replace(CREATE, engine="one"), lambda step: None)
        return caught.value

    async def test_nothing_is_left_where_its_engine_lists_nothing_of_that_name(self, tmp_path):
        engine = Engine(container("other-control-plane", cluster="other"))
        engine.makes = [container("dev-control-plane")]
        assert (await self.fails(engine, tmp_path)).left_nothing

    async def test_another_engine_that_lists_nothing_proves_nothing(self, tmp_path):
        assert not (await self.fails(Engine(), tmp_path, answers="other")).left_nothing

    async def test_containers_that_stay_are_left(self, tmp_path):
        engine = Engine()
        engine.makes = [container("dev-control-plane")]
        engine.remove = AsyncMock(side_effect=CommandTimedOut(["docker", "rm"], "", 60))
        assert not (await self.fails(engine, tmp_path)).left_nothing

    async def test_listing_that_fails_proves_nothing(self, tmp_path):
        engine = Engine()
        engine.clusters = AsyncMock(side_effect=CommandTimedOut(["kind", "get", "clusters"], "", 10))
        assert not (await self.fails(engine, tmp_path)).left_nothing

    async def test_creation_that_did_not_begin_leaves_nothing(self, tmp_path):
        engine = Engine()
        engine.resolves = False
        request = replace(CREATE, engine="one", config={**CONFIG, "nodes": CONFIG["nodes"] * 2})
        engine.engine_id = AsyncMock(return_value="one")
        with pytest.raises(NamesNotResolved) as caught:
            await executor(engine, tmp_path).carry_out(RECORD, request, lambda step: None)
        assert caught.value.left_nothing


class TestRemoval:
    @pytest.mark.rule("C21", "C23")
    async def test_what_goes_is_chosen_from_a_new_listing(self, tmp_path):
        """Since the decision, a user has deleted the cluster and created one of the same name."""
        theirs = container("dev-control-plane", mark=None, id="theirs")
        engine = Engine(theirs)
        await executor(engine, tmp_path).carry_out(RECORD, REMOVE, lambda step: None)
        assert engine.there == [theirs]
        assert engine.removed == []

    async def test_removal_that_finds_nothing_is_no_news_of_the_cluster(self, tmp_path):
        """Another engine may answer by then: only a listing with its id proves that the cluster is gone."""
        engine = Engine(container("dev-control-plane"))
        engine.engine_id = AsyncMock(return_value="one")
        inventory = Inventory(engine, engine)
        acting = executor(engine, tmp_path, inventory=inventory)
        await inventory.refresh()
        there, engine.there = engine.there, []
        engine.engine_id = AsyncMock(return_value="other")
        await acting.carry_out(RECORD, REMOVE, lambda step: None)
        assert inventory.latest.engine_id == "other"
        engine.there, engine.engine_id = there, AsyncMock(return_value="one")
        assert "dev" in (await inventory.refresh()).clusters

    async def test_removal_that_another_engine_has_answered_is_no_news_of_the_cluster(self, tmp_path):
        """It has none of the containers, so to it they are gone already."""
        engine = Engine(container("dev-control-plane"))
        engine.engine_id = AsyncMock(return_value="one")
        inventory = Inventory(engine, engine)
        acting = executor(engine, tmp_path, inventory=inventory)
        await inventory.refresh()
        there = list(engine.there)

        async def remove(ids: list[str]) -> None:
            engine.there, engine.engine_id = [], AsyncMock(return_value="other")

        engine.remove = remove
        await acting.carry_out(RECORD, REMOVE, lambda step: None)
        assert inventory.latest.engine_id == "other"
        engine.there, engine.engine_id = there, AsyncMock(return_value="one")
        assert "dev" in (await inventory.refresh()).clusters

    async def test_removal_lists_only_its_own_kind_cluster(self, tmp_path):
        """Otherwise each deletion would cost as much as there are kind clusters."""
        engine = Engine(container("dev-control-plane"), container("other-control-plane", cluster="other"))
        engine.engine_id = AsyncMock(return_value="one")
        inventory = Inventory(engine, engine)
        acting = executor(engine, tmp_path, inventory=inventory)
        await inventory.refresh()
        engine.listings.clear()
        await acting.carry_out(RECORD, replace(REMOVE, engine="one"), lambda step: None)
        assert engine.listings == ["dev", "dev"]
        assert set(inventory.latest.clusters) == {"other"}

    async def test_engine_that_does_not_know_the_filter_hides_no_kind_cluster(self, tmp_path):
        class Forgetful(Engine):
            async def nodes(self, cluster: str | None = None) -> list[Node]:
                return await super().nodes() if cluster is None else []

        engine = Forgetful(container("dev-control-plane"))
        engine.engine_id = AsyncMock(return_value="one")
        inventory = Inventory(engine, engine)
        acting = executor(engine, tmp_path, inventory=inventory)
        await inventory.refresh()
        await acting.carry_out(RECORD, replace(REMOVE, engine="one"), lambda step: None)
        assert set(inventory.latest.clusters) == {"dev"}

    async def test_engine_that_answers_after_the_removal_has_to_be_that_of_the_cluster(self, tmp_path):
        engine = Engine(container("dev-control-plane"))
        engine.engine_id = AsyncMock(return_value="one")
        inventory = Inventory(engine, engine)
        acting = executor(engine, tmp_path, inventory=inventory)
        await inventory.refresh()
        engine.engine_id = AsyncMock(return_value="other")
        with pytest.raises(CommandFailed) as caught:
            await acting.carry_out(RECORD, replace(REMOVE, engine="one"), lambda step: None)
        assert "another container engine answered" in caught.value.output
        assert set(inventory.latest.clusters) == {"dev"}

    @pytest.mark.parametrize("answers", ["other", ""], ids=["with an id", "without one"])
    async def test_removal_that_another_engine_has_answered_has_failed(self, tmp_path, answers):
        engine, request = Engine(), replace(REMOVE, engine="one")
        engine.engine_id = AsyncMock(return_value=answers)
        with pytest.raises(CommandFailed) as caught:
            await executor(engine, tmp_path).carry_out(RECORD, request, lambda step: None)
        assert "another container engine answered" in caught.value.output
        engine.engine_id = AsyncMock(return_value="one")
        await executor(engine, tmp_path).carry_out(RECORD, request, lambda step: None)

    async def test_removal_has_failed_where_nobody_knows_which_engine_has_answered(self, tmp_path):
        engine = Engine()
        engine.version = AsyncMock(side_effect=CommandTimedOut(["kind", "version"], "", 10))
        engine.clusters = AsyncMock(side_effect=CommandTimedOut(["kind", "get", "clusters"], "", 10))
        with pytest.raises(CommandTimedOut):
            await executor(engine, tmp_path).carry_out(RECORD, replace(REMOVE, engine="one"), lambda step: None)

    async def test_containers_of_other_clusters_stay_whatever_they_bear(self, tmp_path):
        other = container("other-control-plane", cluster="other")
        engine = Engine(container("dev-control-plane"), other)
        await executor(engine, tmp_path).carry_out(RECORD, REMOVE, lambda step: None)
        assert engine.there == [other]

    @pytest.mark.rule("C21")
    async def test_container_with_the_mark_of_another_object_stays(self, tmp_path):
        """Its creation has lost or won a race for the name, and is cleaned up or kept by that object."""
        theirs = container("dev-worker", mark=Mark("another", 3))
        engine = Engine(container("dev-control-plane"), theirs)
        await executor(engine, tmp_path).carry_out(RECORD, REMOVE, lambda step: None)
        assert engine.there == [theirs]

    async def test_id_without_a_mark_goes_only_where_nobody_shares_the_name(self, tmp_path):
        balancer = container("dev-external-load-balancer", mark=None, id="lb")
        request = replace(REMOVE, container_ids=frozenset({"lb"}))
        engine = Engine(container("dev-control-plane"), balancer)
        await executor(engine, tmp_path).carry_out(RECORD, request, lambda step: None)
        assert engine.removed == [["dev-control-plane", "lb"]]
        theirs = container("dev-worker", mark=None, id="theirs")
        shared = Engine(container("dev-control-plane"), balancer, theirs)
        await executor(shared, tmp_path).carry_out(RECORD, request, lambda step: None)
        assert shared.there == [balancer, theirs]

    async def test_balancer_that_is_alone_goes_only_where_no_nodes_follow_it(self, tmp_path):
        """A stranger who creates a cluster of that name has a load balancer seconds before the nodes."""
        balancer = container("dev-external-load-balancer", mark=None, id="lb")
        request = replace(REMOVE, container_ids=frozenset({"lb"}))
        rest = Engine(balancer)
        await executor(rest, tmp_path).carry_out(RECORD, request, lambda step: None)
        assert rest.removed == [["lb"]]
        theirs = [balancer, container("dev-control-plane", mark=None, id="theirs")]
        begun = Engine(balancer)
        asyncio.get_running_loop().call_later(8.0, begun.there.append, theirs[1])
        await executor(begun, tmp_path).carry_out(RECORD, request, lambda step: None)
        assert begun.there == theirs

    async def test_attempt_that_a_successor_makes_by_now_stays(self, tmp_path):
        newer = container("dev-worker", mark=Mark("8f2c", 4))
        engine = Engine(container("dev-control-plane"), newer)
        request = replace(REMOVE, up_to_attempt=3)
        with pytest.raises(CommandFailed):
            await executor(engine, tmp_path).carry_out(RECORD, request, lambda step: None)
        assert engine.there == [newer]

    async def test_container_that_comes_to_light_late_goes_too(self, tmp_path):
        engine = Engine(container("dev-control-plane"))
        engine.late = [container("dev-worker")]
        await executor(engine, tmp_path).carry_out(RECORD, REMOVE, lambda step: None)
        assert engine.there == []

    async def test_cut_short_creation_is_given_time_to_come_to_light(self, tmp_path):
        engine = Engine()
        listed = 0

        async def nodes(cluster: str | None = None) -> list[Node]:
            nonlocal listed
            listed += 1
            if listed == 4:
                engine.there.append(container("dev-control-plane"))
            return list(engine.there)

        engine.nodes = nodes
        request = replace(REMOVE, settle_seconds=10.0)
        await executor(engine, tmp_path).carry_out(RECORD, request, lambda step: None)
        assert engine.removed == [["dev-control-plane"]]

    async def test_containers_that_do_not_go_are_a_failure_in_the_end(self, tmp_path):
        engine = Engine(container("dev-control-plane"))
        engine.stuck = True

        async def slow(ids: list[str]) -> None:
            await asyncio.sleep(7)

        engine.remove = slow
        with pytest.raises(CommandTimedOut, match="60 s") as late:
            await executor(engine, tmp_path).carry_out(RECORD, REMOVE, lambda step: None)
        assert "dev-control-plane" in late.value.output

    @pytest.mark.rule("C7")
    async def test_object_that_changed_its_mind_meanwhile_keeps_its_cluster(self, tmp_path):
        for answers in ([False], [True, False]):
            engine = Engine(container("dev-control-plane"))
            told = iter(answers)
            gate = executor(engine, tmp_path, lambda record, request, told=told: next(told))
            with pytest.raises(Withdrawn):
                await gate.carry_out(RECORD, REMOVE, lambda step: None)
            assert engine.removed == []


class TestStart:
    REQUEST = StartNodes("dev", ("b", "a"), stop=("a",), addresses={"a": "172.18.0.3", "b": "172.18.0.2"})

    async def test_nodes_that_run_elsewhere_stop_before_all_start_in_order(self, tmp_path):
        engine = Engine()
        await executor(engine, tmp_path).carry_out(RECORD, self.REQUEST, lambda step: None)
        assert engine.calls == [("stop", ("a",)), ("start", ("b", "a"))]

    async def test_nothing_starts_while_another_container_has_an_address(self, tmp_path):
        """Nodes at wrong addresses stop anyway, because another kind cluster may wait for their addresses."""
        engine = Engine()
        engine.taken = {"172.18.0.2": "web", "172.18.0.3": "a"}
        with pytest.raises(AddressTaken, match="web") as taken:
            await executor(engine, tmp_path).carry_out(RECORD, self.REQUEST, lambda step: None)
        assert (taken.value.node, taken.value.occupant) == ("b", "web")
        assert engine.calls == [("stop", ("a",))]

    async def test_node_that_may_have_another_address_starts_last_where_its_own_is_taken(self, tmp_path):
        """In its normal order it would get the address of the next one."""
        engine = Engine()
        engine.taken = {"172.18.0.2": "web"}
        request = StartNodes(
            "dev",
            ("balancer", "a", "b"),
            addresses={"a": "172.18.0.3", "b": "172.18.0.4"},
            preferred={"balancer": "172.18.0.2"},
        )
        await executor(engine, tmp_path).carry_out(RECORD, request, lambda step: None)
        assert ("start", ("a", "b", "balancer")) in engine.calls

    async def test_node_that_was_replaced_while_another_repair_took_its_time_is_left_alone(self, tmp_path):
        engine = Engine(container("dev-control-plane", id="mine"), container("other-control-plane", cluster="other"))
        repairs, start = executor(engine, tmp_path), engine.start
        first = StartNodes("other", ("other-control-plane",), addresses={"other-control-plane": "172.18.0.2"})
        second = StartNodes(
            "dev",
            ("dev-control-plane",),
            addresses={"dev-control-plane": "172.18.0.2"},
            container_ids=frozenset({"mine"}),
        )

        async def slow(names: tuple[str, ...]) -> None:
            await asyncio.sleep(60)
            await start(names)

        engine.start = slow
        one = asyncio.create_task(repairs.carry_out(RECORD, first, lambda step: None))
        await asyncio.sleep(1)
        two = asyncio.create_task(repairs.carry_out(RECORD, second, lambda step: None))
        await asyncio.sleep(30)
        engine.there[0] = container("dev-control-plane", id="strangers", mark=None)
        await one
        with pytest.raises(Withdrawn):
            await two
        assert ("start", ("dev-control-plane",)) not in engine.calls


class TestNames:
    SEVERAL = replace(CREATE, config={**CONFIG, "nodes": [*CONFIG["nodes"], {"role": "worker"}]})

    async def test_several_nodes_are_not_begun_where_they_would_not_find_each_other(self, tmp_path):
        engine = Engine()
        engine.makes, engine.resolves = [container("dev-control-plane")], False
        with pytest.raises(NamesNotResolved, match="kind"):
            await executor(engine, tmp_path).carry_out(RECORD, self.SEVERAL, lambda step: None)
        assert engine.there == engine.calls == []

    @pytest.mark.parametrize(("request_", "resolves"), [(CREATE, False), (SEVERAL, True), (SEVERAL, None)])
    async def test_creation_begins_where_that_does_not_matter_or_is_not_known_to_fail(
        self, tmp_path, request_, resolves
    ):
        engine = Engine()
        engine.resolves = resolves
        with pytest.raises(CommandFailed, match="create"):
            await executor(engine, tmp_path).carry_out(RECORD, request_, lambda step: None)
