"""What is left after each way in which a worker may fail to join, and what a removal may touch."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from capk.api.names import Reason
from capk.engine.containers import Containers, Node
from capk.engine.failurelogs import FailureLogs
from capk.engine.progress import Step
from capk.errors import CommandError, CommandTimedOut, InvalidSpec, NoApiServer, UnsupportedEngine
from capk.manager.facts import failure_of
from capk.manager.operations.workers import CLEANUP_SECONDS, FAILED_SETTLE_SECONDS, REMOVE_SECONDS, Workers
from capk.manager.outcome import Joined, Withdrawn
from capk.plan.marks import Mark
from capk.plan.plan import AddWorker, AskApiServer, Goal, RemoveWorker
from test.unit.engine.nodes_double import CONTROL_PLANE, NEW, TOKEN, NodesDouble, failed, node
from test.unit.virtual_time import now, run

pytestmark = pytest.mark.virtual_time
UID, LATE = "5d6a6d3e", "e" * 64
DELETE_NODE = "kubectl delete in control plane"


class Refreshes:
    """Counts the reads of the inventory."""

    def __init__(self) -> None:
        self.count = 0

    async def refresh(self) -> None:
        self.count += 1


class Place:
    """The operations, over an engine in memory."""

    def __init__(self, folder: Path, engine: str = "docker") -> None:
        self.engine = NodesDouble(engine)
        self.inventory: Any = Refreshes()
        self.folder = folder
        self.workers = Workers(self.engine, self.inventory, FailureLogs(folder))

    def add(self, **more: Any) -> Joined:
        return run(self.workers.add(request(**more), lambda step: None))

    def remove(self, still_wanted: Callable[[], bool] = lambda: True, **more: Any) -> list[Step]:
        steps: list[Step] = []
        run(self.workers.remove(removal(**more), steps.append, still_wanted=still_wanted))
        return steps


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def request(**more: Any) -> AddWorker:
    fields: dict[str, Any] = {"name": "rec", "node": "rec-w1", "mark": Mark(UID, 1), "machine": "m-1", "generation": 1}
    fields |= {"image": None, "labels": {}, "taints": (), "mounts": (), "patches": ()}
    fields |= {"control_planes": ("rec-control-plane",), "container_ids": frozenset({CONTROL_PLANE})}
    return AddWorker(**{**fields, "provider_id": "kind://docker/rec/rec-w1", **more})


def removal(**more: Any) -> RemoveWorker:
    return RemoveWorker(**{"name": "rec", "node": "rec-w1", "machine": "m-1", "uids": frozenset({UID}), **more})


def names(place: Place) -> list[str]:
    return [one.name for one in place.engine.listed]


def worker(**more: Any) -> Node:
    return node(**{"name": "rec-w1", "role": "worker", "identity": NEW, "machine": "m-1", **more})


def test_joined_worker_has_label_and_mark_and_is_in_the_inventory(place: Place) -> None:
    assert place.add() == Joined(NEW)
    assert f"--volume=/dev/null:/etc/capk/claim/{UID}.1:ro" in place.engine.arguments
    assert "kind.infrastructure.cluster.x-k8s.io/machine=m-1" in place.engine.arguments
    assert place.inventory.count == 1
    assert "remove" not in place.engine.steps


@pytest.mark.parametrize("engine", ["nerdctl", "finch"])
def test_engine_that_is_not_proven_is_refused_with_a_remedy(tmp_path: Path, engine: str) -> None:
    place = Place(tmp_path, engine)
    with pytest.raises(UnsupportedEngine) as refused:
        place.add()
    failure = failure_of(refused.value)
    assert failure
    assert failure.reason is Reason.ENGINE_UNSUPPORTED
    assert "docker and podman, but not with nerdctl. List the workers in spec.nodes" in failure.message
    assert not failure.retry
    assert place.engine.steps == []


def test_kind_without_an_engine_cannot_add_workers(tmp_path: Path) -> None:
    workers = Workers(Containers(None), Refreshes(), FailureLogs(tmp_path))  # type: ignore[arg-type]
    with pytest.raises(UnsupportedEngine, match="but not with kind alone"):
        run(workers.add(request(), lambda step: None))


def test_api_server_that_does_not_answer_is_named_with_its_node_and_costs_no_container(place: Place) -> None:
    question = AskApiServer("rec", ("rec-control-plane",), frozenset({CONTROL_PLANE}))
    run(place.workers.ask(question))
    place.engine.failing["kubectl get in control plane"] = failed("The connection to the server was refused")
    with pytest.raises(NoApiServer) as silent:
        run(place.workers.ask(question))
    failure = failure_of(silent.value)
    assert failure
    assert (failure.reason, failure.retry) == (Reason.NOT_ANSWERING, True)
    assert failure.message.startswith("The API server of kind cluster rec does not answer in its own node rec-control")
    assert place.engine.steps == ["kubectl get in control plane"] * 2
    with pytest.raises(Withdrawn):
        run(place.workers.ask(replace(question, container_ids=frozenset({LATE}))))


def test_another_control_plane_than_the_observed_one_withdraws(place: Place) -> None:
    with pytest.raises(Withdrawn):
        place.add(container_ids=frozenset({CONTROL_PLANE, LATE}))
    assert place.engine.steps == []


def test_first_control_plane_that_runs_is_asked(place: Place) -> None:
    place.engine.listed.append(node("rec-control-plane2", identity=LATE))
    place.engine.stop(CONTROL_PLANE)
    both = frozenset({CONTROL_PLANE, LATE})
    place.engine.versions[LATE], place.engine.siblings[LATE] = "v1.36.3", place.engine.siblings[CONTROL_PLANE]
    place.add(control_planes=("rec-control-plane", "rec-control-plane2"), container_ids=both)
    assert set(place.engine.asked) == {LATE, NEW}


def test_without_a_running_control_plane_nothing_is_made(place: Place) -> None:
    place.engine.stop(CONTROL_PLANE)
    with pytest.raises(CommandError, match="docker exec") as failure:
        place.add()
    assert failure_of(failure.value).reason is Reason.KUBECONFIG_UNAVAILABLE
    assert place.engine.steps == []


@pytest.mark.parametrize(
    ("step", "error"),
    [
        ("logs", failed()),
        ("cat in new", failed()),
        ("write registries in new", failed()),
        (DELETE_NODE, failed()),
        ("write /kind/kubeadm.conf 0600", failed()),
        ("kubeadm join in new", failed(f"error: {TOKEN}")),
        ("kubeadm join in new", CommandTimedOut(["docker"], "", 300)),
    ],
)
def test_failed_join_keeps_its_logs_and_removes_container_before_node(
    place: Place, step: str, error: CommandError
) -> None:
    def fail_once() -> None:
        if place.engine.failing.pop(step, None):
            raise error

    place.engine.failing[step] = error
    place.engine.during[step] = fail_once
    with pytest.raises(type(error)) as failure:
        place.add()
    assert names(place) == ["rec-control-plane"]
    assert place.engine.steps[-2:] == ["remove", DELETE_NODE]
    assert failure.value.logs == str(place.folder / "rec-w1")
    kept = "".join(file.read_text() for file in (place.folder / "rec-w1").iterdir())
    assert "==> kubelet <==" in kept
    assert TOKEN not in kept


def test_image_of_another_version_leaves_nothing(place: Place) -> None:
    place.engine.versions[NEW] = "v1.35.1"
    with pytest.raises(InvalidSpec) as refused:
        place.add(image="mine:v1")
    assert names(place) == ["rec-control-plane"]
    failure = failure_of(refused.value)
    assert failure
    assert failure.reason is Reason.INVALID_CONFIG
    assert not failure.retry


@pytest.mark.parametrize("step", ["run", "logs", "write registries in new", "kubeadm join in new"])
def test_cancelled_join_leaves_nothing(place: Place, step: str) -> None:
    async def whole() -> None:
        reached = asyncio.Event()

        async def hang() -> None:
            reached.set()
            await asyncio.sleep(1000)

        place.engine.during[step] = hang
        task = asyncio.create_task(place.workers.add(request(), lambda step: None))
        await reached.wait()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert now() < CLEANUP_SECONDS

    run(whole())
    assert names(place) == ["rec-control-plane"]
    assert step == "run" or place.engine.steps[-2:] == ["remove", DELETE_NODE]


def test_failed_join_removes_its_container_whatever_a_listing_shows(place: Place) -> None:
    """A listing may be older than the container, whose id the engine has given."""

    async def older(cluster: str | None = None) -> list[Node]:
        return [one for one in place.engine.listed if one.container_id == CONTROL_PLANE]

    place.engine.nodes = older  # type: ignore[method-assign]
    place.engine.failing["kubeadm join in new"] = failed("error execution phase preflight")
    with pytest.raises(CommandError):
        place.add()
    assert names(place) == ["rec-control-plane"]


def test_container_that_appears_after_a_failed_call_is_removed(place: Place) -> None:
    def late() -> Awaitable[None]:
        asyncio.get_running_loop().call_later(
            FAILED_SETTLE_SECONDS - 1, lambda: place.engine.listed.append(worker(identity=LATE))
        )
        return asyncio.sleep(0)

    place.engine.during["run"] = late
    place.engine.failing["run"] = CommandTimedOut(["docker", "run"], "", 120)
    with pytest.raises(CommandTimedOut):
        place.add()
    assert names(place) == ["rec-control-plane"]


def test_foreign_container_of_the_name_survives_a_failed_join(place: Place) -> None:
    place.engine.listed.append(worker(machine=""))
    place.engine.failing["run"] = failed('Conflict. The container name "/rec-w1" is already in use by container "x"')
    with pytest.raises(CommandError):
        place.add()
    assert names(place) == ["rec-control-plane", "rec-w1"]
    assert "remove" not in place.engine.steps


def test_cleanup_that_fails_does_not_hide_why_the_join_failed(place: Place) -> None:
    place.engine.failing |= {"kubeadm join in new": failed("the cause"), "remove": failed("busy")}
    with pytest.raises(CommandError) as failure:
        place.add()
    assert "the cause" in failure.value.output


def test_removal_takes_the_container_first_and_drains_only_if_asked(place: Place) -> None:
    place.engine.listed.append(worker())
    assert [step.reason for step in place.remove()] == [Reason.REMOVING_NODE]
    assert place.engine.steps == ["remove", DELETE_NODE]
    place.engine.listed.append(worker())
    place.engine.steps.clear()
    place.remove(drain=True)
    assert place.engine.steps == ["kubectl drain in control plane", "remove", DELETE_NODE]


@pytest.mark.parametrize("step", ["kubectl drain in control plane", DELETE_NODE])
def test_trouble_of_the_control_plane_does_not_stop_a_removal(place: Place, step: str) -> None:
    place.engine.listed.append(worker())
    place.engine.failing[step] = failed("connection refused")
    place.remove(drain=True)
    assert names(place) == ["rec-control-plane"]


@pytest.mark.parametrize(
    "other",
    [
        {"machine": "m-2"},
        {"machine": ""},
        {"mark": "another-uid.1"},
        {"mark": None},
        {"name": "rec-w2"},
        {"cluster": "other"},
    ],
)
def test_removal_proves_name_label_and_mark(place: Place, other: dict[str, Any]) -> None:
    place.engine.listed.append(worker(**other))
    place.remove()
    assert len(place.engine.listed) == 2
    assert "remove" not in place.engine.steps


def test_node_without_a_container_is_removed_alone_but_never_in_a_foreign_cluster(place: Place) -> None:
    place.remove()
    assert place.engine.steps == [DELETE_NODE]
    for mark in ("another-uid.1", None):
        place.engine.listed = [node(mark=mark)]
        place.engine.steps.clear()
        place.remove()
        assert place.engine.steps == []


def test_adopted_control_plane_without_a_mark_is_asked_for_a_proven_worker(place: Place) -> None:
    place.engine.listed = [node(mark=None), worker()]
    place.remove()
    assert place.engine.steps == ["remove", DELETE_NODE]


def test_adopted_control_plane_of_the_decision_is_asked_without_a_worker(place: Place) -> None:
    place.engine.listed = [node(mark="")]
    place.remove()
    assert place.engine.steps == []
    place.remove(control_planes=frozenset({CONTROL_PLANE}))
    assert place.engine.steps == [DELETE_NODE]


def test_node_that_must_go_is_a_failure_if_the_api_server_does_not_answer(place: Place) -> None:
    place.engine.listed.append(worker())
    place.engine.failing[DELETE_NODE] = failed("connection refused")
    with pytest.raises(CommandError):
        place.remove(must_delete_node=True)
    assert names(place) == ["rec-control-plane"]
    place.remove()


def test_stopped_node_is_not_drained(place: Place) -> None:
    place.engine.listed.append(worker(running=False))
    place.remove(drain=True)
    assert place.engine.steps == ["remove", DELETE_NODE]


def test_removal_waits_for_a_container_that_the_engine_may_still_create(place: Place) -> None:
    async def whole() -> None:
        asyncio.get_running_loop().call_later(4, lambda: place.engine.listed.append(worker()))
        await place.workers.remove(removal(settle_seconds=5.0))
        assert now() >= 9

    run(whole())
    assert names(place) == ["rec-control-plane"]


def test_container_that_stays_is_a_failure_in_the_end(place: Place) -> None:
    place.engine.listed.append(worker())
    place.engine.is_stuck = True
    with pytest.raises(CommandTimedOut) as failure:
        place.remove()
    assert failure.value.seconds == REMOVE_SECONDS


def test_removal_ends_when_the_object_no_longer_wants_it(place: Place) -> None:
    place.engine.listed.append(worker())
    with pytest.raises(Withdrawn):
        place.remove(still_wanted=lambda: False)
    assert "remove" not in place.engine.steps


def test_volume_of_a_container_that_never_was_goes_with_podman(tmp_path: Path) -> None:
    place = Place(tmp_path, "podman")
    place.engine.failing["run"] = failed()
    with pytest.raises(CommandError):
        place.add()
    assert place.engine.steps[-1] == "remove volumes m-1"


@pytest.mark.parametrize(("goal", "kept"), [(Goal.JOINED, True), (Goal.LEFT, False)])
def test_logs_of_a_failure_stay_until_the_machine_goes(place: Place, goal: Goal, kept: bool) -> None:
    place.engine.failing["kubeadm join in new"] = failed()
    with pytest.raises(CommandError):
        place.add()
    place.remove(goal=goal)
    assert (place.folder / "rec-w1").exists() is kept
