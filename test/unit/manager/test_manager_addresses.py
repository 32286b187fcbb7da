"""Control planes get their addresses back from an engine that assigns the lowest free one at each start."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from capk.api.objects import Key
from capk.engine.containers import Node
from capk.engine.failurelogs import FailureLogs
from capk.engine.inventory import Inventory
from capk.errors import AddressTaken, CommandFailed
from capk.manager.executor import Executor
from capk.manager.operations.addresses import MOST_PLACEHOLDERS
from capk.manager.record import Record
from capk.plan.plan import StartNodes
from test.unit.manager.places import HERE

pytestmark = pytest.mark.virtual_time

RECORD = Record(Key("KINDCluster", "default", "dev"), "8f2c")
BALANCER = "dev-external-load-balancer"
PLANES = ("dev-control-plane", "dev-control-plane2", "dev-control-plane3")
STRANGER = "web"
HIGH = 200
"""Last number of an address above all addresses in the tests."""


def address(number: int) -> str:
    return f"172.18.0.{number}"


class Engine:
    """Containers with addresses: name -> number of the address. A start takes the lowest that is free."""

    command = ("docker",)
    network = "kind"
    gives_lowest_address = True

    def __init__(self, nodes: Mapping[str, int] | Sequence[str], *, others: Mapping[str, int] | None = None) -> None:
        self.names = list(nodes)
        self.has: dict[str, int] = dict(nodes if isinstance(nodes, Mapping) else {})
        self.others = dict(others or {})
        self.held: dict[str, tuple[int, str]] = {}
        self.unusable: set[int] = set()
        self.calls: list[str] = []
        self.most_held = 0
        self.has_held = asyncio.Event()
        self.refuses: str | None = None
        self.steals = False
        self.steals_for = 60.0

    def free(self) -> int:
        held = {number for number, _ in self.held.values()}
        taken = held | {*self.has.values(), *self.others.values()} | self.unusable
        return next(number for number in range(2, 255) if number not in taken)

    def node(self, name: str) -> Node:
        role = "external-load-balancer" if name.endswith("balancer") else "control-plane"
        there = address(self.has[name]) if name in self.has else ""
        cluster = name.partition("-")[0]
        return Node(name, cluster, role, name in self.has, name, there, "now", image="kindest/node:v1")

    async def engine_id(self) -> None:
        return None

    async def clusters(self) -> list[str]:
        return ["dev"]

    async def version(self) -> str:
        return "v0.33.0"

    async def nodes(self, cluster: str | None = None) -> list[Node]:
        return [node for name in self.names if cluster in (None, (node := self.node(name)).cluster)]

    async def start(self, names: Sequence[str]) -> None:
        for name in names:
            await asyncio.sleep(0.3)
            if self.refuses == name:
                raise CommandFailed(["docker", "start", name], "no space left on device", 1)
            if name not in self.has:
                self.calls.append(f"start {name}")
                self.has[name] = self.free()

    async def stop(self, names: Sequence[str]) -> None:
        for name in names:
            await asyncio.sleep(0.1)
            self.calls.append(f"stop {name}")
            self.has.pop(name, None)

    async def remove(self, ids: Sequence[str]) -> None:
        for container in ids:
            number, _ = self.held.pop(container)
            if self.steals:
                self.others[STRANGER], self.steals = number, False
                asyncio.get_running_loop().call_later(self.steals_for, self.others.pop, STRANGER, None)

    async def hold_address(self, cluster: str, image: str) -> tuple[str, str]:
        assert image == "kindest/node:v1"
        number = self.free()
        self.calls.append(f"hold {number}")
        self.held[f"held-{len(self.calls)}"] = (number, cluster)
        self.most_held = max(self.most_held, len(self.held))
        self.has_held.set()
        await asyncio.sleep(0.3)
        return f"held-{len(self.calls)}", address(number)

    async def release_addresses(self, cluster: str) -> None:
        await asyncio.sleep(0.1)
        self.held = {one: (number, whose) for one, (number, whose) in self.held.items() if whose != cluster}

    async def occupants(self) -> dict[str, str]:
        held = {address(number): "placeholder" for number, _ in self.held.values()}
        return held | {address(number): name for name, number in (*self.has.items(), *self.others.items())}


def executor(engine: Engine, directory: Path, others: frozenset[str] = frozenset()) -> Executor:
    return Executor(
        HERE,
        engine,
        engine,
        Inventory(engine, engine),
        FailureLogs(directory),
        None,
        wait_seconds=1.0,
        delete_seconds=60.0,
        still_wanted=lambda record, request: True,
        needed_by_others=lambda name: others,
    )


def request(needed: Mapping[str, int], *, stop: tuple[str, ...] = (), balancer: int | None = None) -> StartNodes:
    """All nodes in ascending order, and the balancer in its turn."""
    every = dict(needed) | ({BALANCER: balancer} if balancer else {})
    return StartNodes(
        "dev",
        tuple(sorted(every, key=lambda name: every[name])),
        stop=stop,
        addresses={name: address(number) for name, number in needed.items()},
        preferred={BALANCER: address(balancer)} if balancer else {},
    )


async def start(engine: Engine, directory: Path, wanted: StartNodes) -> None:
    await executor(engine, directory).carry_out(RECORD, wanted, lambda step: None)


NEEDED = dict(zip(PLANES, (3, 4, 6), strict=True))


async def test_ascending_order_is_enough_where_nothing_else_has_changed(tmp_path):
    engine = Engine([*PLANES, BALANCER], others={STRANGER: 2})
    await start(engine, tmp_path, request(NEEDED, balancer=5))
    assert engine.has == {**NEEDED, BALANCER: 5}
    assert engine.calls == [f"start {name}" for name in (PLANES[0], PLANES[1], BALANCER, PLANES[2])]


async def test_lower_addresses_that_became_free_are_occupied_for_a_moment(tmp_path):
    engine = Engine([*PLANES, BALANCER])
    await start(engine, tmp_path, request(NEEDED, balancer=5))
    assert {name: engine.has[name] for name in PLANES} == NEEDED
    assert engine.has.keys() == {*PLANES, BALANCER}
    assert engine.held == {}


async def test_one_node_gets_its_own_address_while_the_others_go_on_running(tmp_path):
    engine = Engine({PLANES[0]: 3, PLANES[1]: 4, BALANCER: 5})
    engine.names.append(PLANES[2])
    await start(engine, tmp_path, request({PLANES[2]: 9}))
    assert engine.has == {PLANES[0]: 3, PLANES[1]: 4, BALANCER: 5, PLANES[2]: 9}
    assert [call for call in engine.calls if call.startswith("stop")] == [f"stop {PLANES[2]}"]


async def test_balancer_that_has_come_to_have_a_needed_address_gets_any_other(tmp_path):
    """The decision was made before the balancer started."""
    engine = Engine([*PLANES, BALANCER], others={STRANGER: 2})
    engine.has[BALANCER] = 3
    await start(engine, tmp_path, request(NEEDED))
    assert {name: engine.has[name] for name in PLANES} == NEEDED
    assert BALANCER in engine.has
    assert [call for call in engine.calls if call.startswith("start")][-1] == f"start {BALANCER}"


async def test_balancer_that_gets_a_needed_address_in_its_turn_starts_last(tmp_path):
    engine = Engine([*PLANES, BALANCER])
    await start(engine, tmp_path, request(dict(zip(PLANES, (4, 5, 6), strict=True)), balancer=7))
    assert {name: engine.has[name] for name in PLANES} == dict(zip(PLANES, (4, 5, 6), strict=True))
    assert engine.calls[-1] == f"start {BALANCER}"


async def test_container_that_took_an_address_meanwhile_is_named(tmp_path):
    engine = Engine(PLANES)
    engine.steals = True
    with pytest.raises(AddressTaken, match=STRANGER):
        await start(engine, tmp_path, request(NEEDED))
    assert engine.others == {STRANGER: 3}
    assert engine.held == {}


async def test_address_that_was_gone_for_a_moment_is_tried_once_more(tmp_path):
    engine = Engine(PLANES)
    engine.steals, engine.steals_for = True, 0.35
    await start(engine, tmp_path, request(NEEDED))
    assert engine.has == NEEDED


async def test_address_that_the_engine_does_not_give_out_is_named_without_a_container(tmp_path):
    engine = Engine(PLANES)
    engine.unusable = {4}
    with pytest.raises(AddressTaken) as taken:
        await start(engine, tmp_path, request(NEEDED))
    assert (taken.value.node, taken.value.address, taken.value.occupant) == (PLANES[1], address(4), "")
    assert engine.held == {}


async def test_placeholders_are_bounded(tmp_path):
    engine = Engine(PLANES)
    with pytest.raises(AddressTaken):
        await start(engine, tmp_path, request(dict(zip(PLANES, (HIGH, HIGH + 1, HIGH + 2), strict=True))))
    assert engine.most_held == MOST_PLACEHOLDERS
    assert engine.held == {}


async def test_failure_of_a_start_leaves_no_placeholder(tmp_path):
    engine = Engine({PLANES[0]: 3, PLANES[1]: 2})
    engine.names.append(PLANES[2])
    started = engine.start

    async def fails_later(names: Sequence[str]) -> None:
        await started(names)
        engine.refuses = PLANES[2]

    engine.start = fails_later
    with pytest.raises(CommandFailed, match="start"):
        await start(engine, tmp_path, request({PLANES[2]: 9}))
    assert engine.most_held > 0
    assert engine.held == {}


async def test_cancellation_leaves_no_placeholder(tmp_path):
    engine = Engine(PLANES)
    work = asyncio.create_task(start(engine, tmp_path, request(dict(zip(PLANES, (20, 21, 22), strict=True)))))
    await asyncio.wait_for(engine.has_held.wait(), 60)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert engine.held == {}


async def test_cancellation_is_not_lost_where_placeholders_cannot_be_removed(tmp_path):
    engine = Engine(PLANES)
    work = asyncio.create_task(start(engine, tmp_path, request(NEEDED)))
    await asyncio.wait_for(engine.has_held.wait(), 60)

    async def down(cluster: str) -> None:
        raise CommandFailed(["docker", "ps"], "Cannot connect to the Docker daemon", 1)

    engine.release_addresses = down
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work


async def test_placeholders_that_a_killed_provider_left_are_in_nobodys_way(tmp_path):
    engine = Engine(PLANES, others={STRANGER: 2})
    engine.held = {"old": (3, "dev")}
    await start(engine, tmp_path, request(NEEDED))
    assert engine.has == NEEDED
    assert engine.held == {}


async def test_kind_clusters_get_their_addresses_one_after_the_other(tmp_path):
    others = [name.replace("dev", "prod") for name in PLANES]
    engine = Engine([*PLANES, *others])
    theirs = request({})
    theirs = replace(
        theirs,
        name="prod",
        nodes=tuple(others),
        addresses={name: address(number) for name, number in zip(others, (10, 11, 12), strict=True)},
    )
    shared = executor(engine, tmp_path)
    await asyncio.gather(
        shared.carry_out(RECORD, request(dict(zip(PLANES, (6, 7, 8), strict=True))), lambda step: None),
        shared.carry_out(RECORD, theirs, lambda step: None),
    )
    assert [engine.has[name] for name in (*PLANES, *others)] == [6, 7, 8, 10, 11, 12]
    assert engine.held == {}


async def test_engine_that_goes_on_from_the_last_address_is_not_asked_for_another(tmp_path):
    engine = Engine(PLANES)
    engine.gives_lowest_address = False
    await start(engine, tmp_path, request(NEEDED))
    assert engine.has == dict(zip(PLANES, (2, 3, 4), strict=True))
    assert engine.most_held == 0


async def test_node_that_may_have_any_address_leaves_free_what_another_kind_cluster_needs(tmp_path):
    engine = Engine([PLANES[0]])
    others = frozenset({address(2), address(3)})
    one = replace(request({}), nodes=(PLANES[0],))
    await executor(engine, tmp_path, others).carry_out(RECORD, one, lambda step: None)
    assert engine.has == {PLANES[0]: 4}
    assert engine.held == {}


async def test_nodes_start_in_their_turn_where_nothing_that_others_need_is_free(tmp_path):
    engine = Engine([*PLANES, BALANCER], others={STRANGER: 2})
    others = executor(engine, tmp_path, frozenset({address(2)}))
    await others.carry_out(RECORD, request(NEEDED, balancer=5), lambda step: None)
    assert engine.has == {**NEEDED, BALANCER: 5}
    assert engine.most_held == 0


@pytest.mark.parametrize("due", [1, 3])
async def test_balancer_makes_room_for_another_kind_cluster_only_where_its_own_cannot_answer(tmp_path, due):
    engine = Engine({**dict(zip(PLANES[due:], (6, 7), strict=False)), BALANCER: 2})
    engine.names.extend(PLANES[:due])
    needed = dict(zip(PLANES[:due], (3, 4, 5), strict=False))
    others = executor(engine, tmp_path, frozenset({address(2)}))
    await others.carry_out(RECORD, request(needed), lambda step: None)
    assert {name: engine.has[name] for name in needed} == needed
    assert (engine.has[BALANCER] == 2) is (due == 1)
    assert engine.held == {}


async def test_placeholders_that_cannot_be_made_keep_no_node_from_starting(tmp_path):
    engine = Engine([PLANES[0]])

    async def refuse(cluster: str, image: str) -> tuple[str, str]:
        raise CommandFailed(["docker", "run"], "no such image", 125)

    engine.hold_address = refuse
    one = replace(request({}), nodes=(PLANES[0],))
    await executor(engine, tmp_path, frozenset({address(2)})).carry_out(RECORD, one, lambda step: None)
    assert engine.has == {PLANES[0]: 2}
