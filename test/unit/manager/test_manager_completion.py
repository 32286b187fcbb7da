"""What control planes hold about their creation, and who believes it."""

from typing import Any

import pytest

from capk.engine.command import Output
from capk.engine.containers import Node
from capk.errors import CommandError, CommandFailed, CommandTimedOut
from capk.manager.operations.completion import COMPLETION_FILE, completed_creation, note_completion
from capk.plan.marks import Mark


def node(name: str, mark: str | None = "u1.2", *, running: bool = True) -> Node:
    role = "control-plane" if "control-plane" in name else "worker"
    return Node(name, "dev", role, running, f"id-of-{name}", "172.18.0.2", "since", mark=mark)


class Engine:
    """Files by container and path. error: of the next commands."""

    def __init__(self) -> None:
        self.files: dict[tuple[str, str], str] = {}
        self.started: list[str] = []
        self.error: CommandError | None = None

    async def write_file(self, node_name: str, path: str, content: str) -> None:
        if self.error:
            raise self.error
        self.files[node_name, path] = content

    async def start(self, names: list[str]) -> None:
        self.started += names

    async def run(self, node_name: str, command: list[str], **_: Any) -> Output:
        if self.error:
            raise self.error
        if (node_name, command[-1]) not in self.files:
            raise CommandFailed(command, "No such file or directory", 1)
        return Output(self.files[node_name, command[-1]] + "\n", "")


PLANES = [node("dev-control-plane"), node("dev-control-plane2")]
FAILED, HANGS = CommandFailed(["docker", "exec"], "disk full", 1), CommandTimedOut(["docker", "exec"], "", 15)


@pytest.fixture
def engine() -> Any:
    return Engine()


async def test_control_planes_of_the_creation_hold_its_mark(engine):
    others = [node("dev-worker"), node("dev-control-plane3", "u1.1"), node("dev-control-plane4", None)]
    await note_completion(engine, [*PLANES, *others], Mark("u1", 2))
    assert engine.files == {(plane.container_id, COMPLETION_FILE): "u1.2" for plane in PLANES}
    assert await completed_creation(engine, [*others, *PLANES]) == Mark("u1", 2)


@pytest.mark.parametrize("error", [FAILED, HANGS])
async def test_file_that_cannot_be_written_ends_nothing(engine, error):
    engine.error = error
    await note_completion(engine, PLANES, Mark("u1", 2))
    assert engine.files == {}


async def test_one_control_plane_is_enough_and_a_stopped_one_is_started(engine):
    stopped = node("dev-control-plane2", running=False)
    engine.files[stopped.container_id, COMPLETION_FILE] = "u1.2"
    assert await completed_creation(engine, [PLANES[0], stopped]) == Mark("u1", 2)
    assert engine.started == [stopped.container_id]


@pytest.mark.parametrize("held", ["u1.1", "u2.2", "", "u1"])
async def test_what_another_creation_has_left_proves_nothing(engine, held):
    engine.files[PLANES[0].container_id, COMPLETION_FILE] = held
    assert await completed_creation(engine, PLANES) is None


async def test_engine_that_does_not_answer_is_no_answer(engine):
    """What is left may be complete: the removal is tried again later."""
    engine.error = HANGS
    with pytest.raises(CommandTimedOut):
        await completed_creation(engine, PLANES)
