import asyncio
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from capk.engine import command
from capk.errors import CommandFailed, CommandMissing, CommandTimedOut


def shell(script: str) -> list[str]:
    return ["/bin/sh", "-c", script]


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


async def eventually(condition, seconds: float = 20.0) -> bool:
    """Poll, because other processes cannot be awaited."""
    for _ in range(int(seconds / 0.01)):
        if condition():
            return True
        await asyncio.sleep(0.01)
    return False


def children_of(pid: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[1]) == pid:
            found.append(int(stat.parent.name))
    return found


def own_children() -> set[int]:
    return set(children_of(os.getpid())) - {command._guard.pid}


async def read_pid(file: Path) -> int:
    def text() -> str:
        return file.read_text() if file.exists() else ""

    assert await eventually(lambda: text().endswith("\n"))
    return int(text())


async def test_run_returns_both_outputs():
    output = await command.run(shell("echo data; echo step >&2"), timeout_seconds=10)
    assert (output.stdout, output.stderr, output.exit_status) == ("data\n", "step\n", 0)


async def test_run_passes_standard_input_and_environment():
    output = await command.run(
        shell("cat; echo $WORD; echo ${HOME-unset}"), timeout_seconds=10, stdin="ä\n", env={"WORD": "kind"}
    )
    assert output.stdout == "ä\nkind\nunset\n"


async def test_run_gives_no_standard_input_unless_asked():
    assert (await command.run(["cat"], timeout_seconds=10)).stdout == ""


async def test_run_survives_a_command_that_does_not_read_its_input():
    await command.run(["true"], timeout_seconds=10, stdin="x" * 1_000_000)


async def test_run_waits_in_a_thread_where_the_system_has_no_handle_of_a_process(monkeypatch):
    monkeypatch.delattr(os, "pidfd_open")
    output = await command.run(shell("echo out; exit 3"), timeout_seconds=10, check=False)
    assert (output.stdout, output.exit_status) == ("out\n", 3)


async def test_run_never_passes_arguments_through_a_shell():
    hostile = "$(touch /nonexistent); `id` \"' \n *"
    assert (await command.run(["printf", "%s", hostile], timeout_seconds=10)).stdout == hostile


async def test_lines_arrive_while_the_command_runs(tmp_path):
    lines = []
    flag = tmp_path / "go"

    def seen(line: str) -> None:
        lines.append(line)
        flag.touch()

    script = f"echo one >&2; while [ ! -e {flag} ]; do sleep 0.01; done; printf 'two\\r\\nthree' >&2"
    await command.run(shell(script), timeout_seconds=10, on_line=seen)
    assert lines == ["one", "two", "three"]


async def test_lines_without_end_are_not_all_looked_at():
    """kind prints what a failed command in a node has printed, and each line would take time from everything else."""
    lines = []
    output = await command.run(shell("seq 50000 >&2"), timeout_seconds=60, on_line=lines.append)
    assert lines == [str(number) for number in range(1, command.MAX_LINES + 1)]
    assert output.stderr.endswith("\n50000\n")


async def test_failure_holds_status_and_all_that_was_printed():
    with pytest.raises(CommandFailed) as failure:
        await command.run(shell("echo data; sleep 0.05; echo why >&2; exit 3"), timeout_seconds=10)
    assert failure.value.exit_status == 3
    assert failure.value.output == "data\nwhy\n"


async def test_allowed_failure_returns_its_output():
    output = await command.run(shell("echo data; exit 3"), timeout_seconds=10, check=False)
    assert (output.stdout, output.exit_status) == ("data\n", 3)


async def test_command_ended_by_a_signal_fails_with_a_negative_status():
    with pytest.raises(CommandFailed) as failure:
        await command.run(shell("kill -TERM $$"), timeout_seconds=10)
    assert failure.value.exit_status == -signal.SIGTERM


@pytest.mark.parametrize("name", ["/no/such/kind", "/etc/passwd", "/", "zero\0byte", "lone\ud800surrogate"])
async def test_command_that_cannot_be_started_is_missing(name):
    with pytest.raises(CommandMissing):
        await command.run([name], timeout_seconds=10)


async def test_command_whose_end_nothing_would_notice_is_ended_and_a_failed_command(monkeypatch):
    """Without handles and threads left. Anything but a failed command would end the provider."""
    began, real = [], subprocess.Popen

    def noted(*arguments, **options):
        began.append(real(*arguments, **options))
        return began[-1]

    def refused(*_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(subprocess, "Popen", noted)
    monkeypatch.delattr(os, "pidfd_open")
    monkeypatch.setattr(threading.Thread, "start", refused)
    monkeypatch.setattr(command, "GRACE_SECONDS", 0.1)
    with pytest.raises(CommandMissing, match="it cannot be watched"):
        await command.run(shell("exec sleep 60"), timeout_seconds=10)
    assert began[0].returncode == -signal.SIGTERM


async def test_undecodable_output_is_replaced():
    lines = []
    output = await command.run(
        shell(r"printf '\377data\n'; printf 'st\376ep\n' >&2"), timeout_seconds=10, on_line=lines.append
    )
    assert output.stdout == "\ufffddata\n"
    assert lines == ["st\ufffdep"]


async def test_megabytes_in_one_line_stay_bounded():
    lines = []
    with pytest.raises(CommandFailed) as failure:
        await command.run(
            shell("head -c 20000000 /dev/zero | tr '\\0' x >&2; echo >&2; echo end >&2; exit 1"),
            timeout_seconds=60,
            on_line=lines.append,
        )
    assert [len(line) for line in lines] == [command.MAX_LINE, 3]
    assert len(failure.value.output) == command.MAX_TAIL
    assert failure.value.output.endswith("x\nend\n")


async def test_data_is_whole_up_to_the_limit_and_refused_beyond_it():
    whole = await command.run(shell(f"head -c {command.MAX_STDOUT} /dev/zero"), timeout_seconds=60)
    assert len(whole.stdout) == command.MAX_STDOUT
    with pytest.raises(CommandFailed, match="exit status -9") as failure:
        await command.run(shell(f"head -c {command.MAX_STDOUT + 1} /dev/zero; sleep 60"), timeout_seconds=60)
    assert "standard output exceeds" in failure.value.output


@pytest.mark.rule("K36")
async def test_deadline_ends_grandchildren_too(tmp_path):
    file = tmp_path / "grandchild"
    with pytest.raises(CommandTimedOut) as failure:
        await command.run(shell(f"sleep 600 & echo $! > {file}; echo waiting >&2; wait"), timeout_seconds=0.5)
    assert failure.value.output == "waiting\n"
    assert failure.value.seconds == 0.5
    grandchild = await read_pid(file)
    assert await eventually(lambda: not is_alive(grandchild))
    assert not own_children()


async def test_command_that_ignores_sigterm_is_killed(monkeypatch, tmp_path):
    monkeypatch.setattr(command, "GRACE_SECONDS", 0.2)
    file = tmp_path / "child"
    script = f"trap '' TERM; echo $$ > {file}; while :; do sleep 0.05; done"
    with pytest.raises(CommandTimedOut):
        await command.run(shell(script), timeout_seconds=0.5)
    assert not is_alive(await read_pid(file))
    assert not own_children()


async def test_command_gets_time_to_clean_up(tmp_path):
    file = tmp_path / "cleaned"
    script = f"trap 'sleep 0.2; touch {file}; exit 1' TERM; echo ready >&2; while :; do sleep 0.05; done"
    ready = asyncio.Event()
    task = asyncio.create_task(command.run(shell(script), timeout_seconds=60, on_line=lambda line: ready.set()))
    await ready.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert file.exists()


@pytest.mark.rule("K36")
async def test_cancellation_leaves_no_child_and_no_task(tmp_path):
    file = tmp_path / "grandchild"
    before = asyncio.all_tasks()
    task = asyncio.create_task(
        command.run(shell(f"sleep 600 & echo $! > {file}; wait"), timeout_seconds=600), name="cancelled"
    )
    grandchild = await read_pid(file)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await eventually(lambda: not is_alive(grandchild))
    assert not own_children()
    assert asyncio.all_tasks() == before


async def test_second_cancellation_cuts_the_grace_short(tmp_path):
    file = tmp_path / "child"
    script = f"trap '' TERM; echo $$ > {file}; while :; do sleep 0.05; done"
    task = asyncio.create_task(command.run(shell(script), timeout_seconds=600))
    child = await read_pid(file)
    task.cancel()
    await asyncio.sleep(0.1)
    assert is_alive(child)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(command.GRACE_SECONDS / 2):
            await task
    assert not is_alive(child)
    assert not own_children()


async def test_cancellation_at_any_early_instant_leaves_no_child(monkeypatch):
    monkeypatch.setattr(command, "DRAIN_SECONDS", 600)  # does not wait for output without a reader
    for turns in range(12):
        task = asyncio.create_task(command.run(["sleep", "600"], timeout_seconds=600))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task], timeout=30)
        assert task.cancelled(), turns
        assert await eventually(lambda: not own_children()), turns


async def test_child_left_behind_on_purpose_neither_delays_nor_dies(tmp_path, monkeypatch):
    monkeypatch.setattr(command, "DRAIN_SECONDS", 0.1)
    file = tmp_path / "daemon"
    async with asyncio.timeout(5):
        output = await command.run(shell(f"sleep 600 & echo $! > {file}; echo done"), timeout_seconds=60)
    daemon = await read_pid(file)
    try:
        assert output.stdout == "done\n"
        assert is_alive(daemon)
    finally:
        os.kill(daemon, signal.SIGKILL)


async def test_failed_command_leaves_no_child(tmp_path):
    file = tmp_path / "child"
    with pytest.raises(CommandFailed):
        await command.run(shell(f"sleep 600 >/dev/null 2>&1 & echo $! > {file}; exit 1"), timeout_seconds=60)
    child = await read_pid(file)
    assert await eventually(lambda: not is_alive(child))


PROVIDER = """
import asyncio, os, sys
from functools import partial
from capk.engine import command

def heard(path, line):
    os.rename(f"{path}.new", path)

async def main():
    await asyncio.gather(*(
        command.run(["/bin/sh", "-c", f"sleep 600 & echo $$ $! > {path}.new; echo up >&2; wait"],
                    timeout_seconds=600, on_line=partial(heard, path))
        for path in (f"{sys.argv[1]}/{n}" for n in range(3))
    ))

asyncio.run(main())
"""
"""Output arrives after the command is guarded: a file with its final name shows both."""


@pytest.mark.rule("K37")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGABRT])
async def test_no_child_outlives_a_killed_provider(tmp_path, number):
    provider = await asyncio.create_subprocess_exec(sys.executable, "-c", PROVIDER, str(tmp_path))
    try:
        assert await eventually(lambda: all((tmp_path / str(n)).exists() for n in range(3)), 20)
        pids = [int(pid) for n in range(3) for pid in (tmp_path / str(n)).read_text().split()]
        assert all(is_alive(pid) for pid in pids)
        guard = (set(children_of(provider.pid)) - set(pids)).pop()
    finally:
        provider.send_signal(number)
        await provider.wait()
    assert await eventually(lambda: not any(is_alive(pid) for pid in [*pids, guard]))


BUSY_PROVIDER = """
import asyncio, sys, time
from capk.engine import command

async def work():
    while True:
        time.sleep(0.3)
        await asyncio.sleep(0)

async def main():
    await command.run(["true"], timeout_seconds=60)  # the guard runs from here on
    path = sys.argv[1]
    script = ["/bin/sh", "-c", f"echo $$ > {path}.new; mv {path}.new {path}; sleep 600"]
    await asyncio.gather(work(), command.run(script, timeout_seconds=600))

asyncio.run(main())
"""


@pytest.mark.rule("K37")
async def test_child_is_guarded_however_long_the_loop_is_busy_with_something_else(tmp_path):
    file = tmp_path / "child"
    provider = await asyncio.create_subprocess_exec(sys.executable, "-c", BUSY_PROVIDER, str(file))
    try:
        child = await read_pid(file)
        await asyncio.sleep(0.1)
    finally:
        provider.kill()
        await provider.wait()
    assert await eventually(lambda: not is_alive(child))
