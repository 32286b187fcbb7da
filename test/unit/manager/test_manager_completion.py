"""What control planes hold about their creation, and who believes it."""

import subprocess
from dataclasses import replace
from typing import Any

import pytest

from capk.engine.command import Output
from capk.engine.containers import Node
from capk.engine.nodescripts import READ_NOTE
from capk.errors import CommandError, CommandFailed, CommandTimedOut, UnprovenCreation
from capk.manager.operations.completion import COMPLETION_FILE, completed_creation, note_completion
from capk.plan.marks import Mark


def node(name: str, mark: str | None = "u1.2", *, running: bool = True) -> Node:
    role = "control-plane" if "control-plane" in name else "worker"
    return Node(name, "dev", role, running, f"id-of-{name}", "172.18.0.2", "since", mark=mark)


FOLDER, _, FILE = COMPLETION_FILE.rpartition("/")


class Engine:
    """Files by container and path.

    error: of the next commands in nodes, also of those that write. printed: what a command prints instead of an answer.
    refuses_copies, refuses_starts: why the engine copies nothing from a container and starts none.
    """

    def __init__(self) -> None:
        self.files: dict[tuple[str, str], str] = {}
        self.started: list[str] = []
        self.read: list[str] = []
        self.error: CommandError | None = None
        self.refuses_copies: CommandError | None = None
        self.refuses_starts: CommandError | None = None
        self.printed: str | None = None
        self.beside = "claim/u1.2"

    async def write_file(self, node_name: str, path: str, content: str) -> None:
        if self.error:
            raise self.error
        self.files[node_name, path] = content

    async def start(self, names: list[str]) -> None:
        if self.refuses_starts:
            raise self.refuses_starts
        self.started += names

    async def run(self, node_name: str, command: list[str], **_: Any) -> Output:
        self.read.append(node_name)
        assert command == ["sh", "-c", READ_NOTE, "read-note", FOLDER, FILE, "claim"]
        if self.error:
            raise self.error
        if self.printed is not None:
            return Output(self.printed, "")
        held = self.files.get((node_name, COMPLETION_FILE))
        return Output("missing\n" if held is None else f"held\n{held}\n", "")

    async def copied(self, container_id: str, folder: str, **_: Any) -> dict[str, str]:
        self.read.append(container_id)
        if self.refuses_copies:
            raise self.refuses_copies
        assert folder == FOLDER
        held = self.files.get((container_id, COMPLETION_FILE))
        return {self.beside: "", **({} if held is None else {FILE: f"{held}\n"})}


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


async def test_one_control_plane_is_enough_and_a_stopped_one_is_not_started(engine):
    stopped = node("dev-control-plane2", running=False)
    engine.files[stopped.container_id, COMPLETION_FILE] = "u1.2"
    assert await completed_creation(engine, [PLANES[0], stopped]) == Mark("u1", 2)
    assert engine.started == []


@pytest.mark.parametrize("held", ["u1.2", None])
@pytest.mark.parametrize("error", [FAILED, HANGS])
async def test_stopped_one_that_the_engine_cannot_copy_from_is_started(engine, error, held):
    engine.refuses_copies = error
    stopped = node("dev-control-plane", running=False)
    if held:
        engine.files[stopped.container_id, COMPLETION_FILE] = held
    assert await completed_creation(engine, [stopped]) == Mark.parse(held)
    assert engine.started == [stopped.container_id]


@pytest.mark.parametrize("running", [True, False])
@pytest.mark.parametrize("held", ["u1.1", "u2.2", "", "u1"])
async def test_what_another_creation_has_left_proves_nothing(engine, held, running):
    plane = node("dev-control-plane", running=running)
    engine.files[plane.container_id, COMPLETION_FILE] = held
    assert await completed_creation(engine, [plane]) is None


@pytest.mark.parametrize("held", ["u1.2", None])
@pytest.mark.parametrize("error", [FAILED, HANGS])
async def test_running_one_in_which_no_command_runs_is_read_by_the_engine(engine, error, held):
    engine.error = error
    if held:
        engine.files[PLANES[0].container_id, COMPLETION_FILE] = held
    assert await completed_creation(engine, PLANES[:1]) == Mark.parse(held)


@pytest.mark.parametrize("printed", ["", "unknown\n", "OCI runtime exec failed\n", "missing or not\n"])
async def test_only_a_verdict_is_an_answer(engine, printed):
    engine.printed, engine.refuses_copies = printed, FAILED
    with pytest.raises(UnprovenCreation):
        await completed_creation(engine, PLANES)


async def test_copy_without_the_mount_beside_it_is_no_answer(engine):
    """It is not the folder of a node with a mark, so that nothing shows that the file would be there."""
    engine.error, engine.beside = FAILED, "another"
    with pytest.raises(UnprovenCreation):
        await completed_creation(engine, PLANES)


@pytest.mark.parametrize("error", [FAILED, HANGS])
async def test_engine_that_cannot_read_is_no_answer(engine, error):
    """What is left may be complete: the removal is tried again later."""
    engine.error = engine.refuses_copies = error
    with pytest.raises(UnprovenCreation) as caught:
        await completed_creation(engine, PLANES)
    assert (caught.value.node, caught.value.cause) == ("dev-control-plane", error)


async def test_stopped_one_that_can_neither_be_copied_from_nor_started_is_no_answer(engine):
    engine.refuses_copies, engine.refuses_starts = HANGS, FAILED
    with pytest.raises(UnprovenCreation) as caught:
        await completed_creation(engine, [node("dev-control-plane", running=False)])
    assert caught.value.cause is FAILED


async def test_answer_of_one_control_plane_counts_whatever_happens_to_the_others(engine):
    stopped = node("dev-control-plane", running=False)
    engine.refuses_copies = engine.refuses_starts = FAILED
    engine.files[PLANES[1].container_id, COMPLETION_FILE] = "u1.2"
    assert await completed_creation(engine, [stopped, PLANES[1]]) == Mark("u1", 2)


async def test_container_that_has_never_run_holds_nothing(engine):
    engine.refuses_copies = engine.refuses_starts = FAILED
    created = replace(node("dev-control-plane", running=False), started_at="0001-01-01T00:00:00Z")
    assert await completed_creation(engine, [created]) is None
    assert engine.read == []


@pytest.mark.parametrize(
    ("entries", "printed"),
    [
        ({"claim": None}, "missing\n"),
        ({"claim": None, "complete": "u1.2"}, "held\nu1.2"),
        ({"claim": None, "complete": ""}, "held\n"),
        ({"claim": None, "incomplete": "", "complete.new": ""}, "missing\n"),
        ({}, "unknown\n"),
        ({"tmp.abc": ""}, "unknown\n"),
    ],
)
def test_script_lists_the_folder_before_it_answers(tmp_path, entries, printed):
    for name, content in entries.items():
        (tmp_path / name).mkdir() if content is None else (tmp_path / name).write_text(content)
    script = ["sh", "-c", READ_NOTE, "read-note", str(tmp_path), "complete", "claim"]
    assert subprocess.run(script, capture_output=True, text=True, check=True).stdout == printed


def test_script_fails_if_it_cannot_read(tmp_path):
    (tmp_path / "claim").mkdir()
    (tmp_path / "complete").mkdir()  # what no file is
    for folder in (tmp_path, tmp_path / "absent"):
        script = ["sh", "-c", READ_NOTE, "read-note", str(folder), "complete", "claim"]
        assert subprocess.run(script, capture_output=True, check=False).returncode != 0
