"""The process ends reliably, and in order."""

import asyncio
import signal
from pathlib import Path
from typing import Any

import pytest

from capk.errors import CapkError
from capk.manager import process
from capk.manager.process import _end_process_after, _ending
from capk.runtime.metrics import Metrics
from capk.settings import Settings
from test.unit.virtual_time import run


def test_watches_end_after_the_commands_of_the_engine() -> None:
    order: list[str] = []

    async def watch() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(60)  # kopf takes its time
            order.append("watches ended")

    async def provider() -> None:
        async with _ending() as watching:
            try:
                await watching(watch())
            finally:
                order.append("commands ended")

    async def body() -> None:
        process = asyncio.create_task(provider())
        await asyncio.sleep(1)
        process.cancel()
        await asyncio.wait([process])
        assert process.cancelled()

    run(body())
    assert order == ["commands ended", "watches ended"]


def test_failure_of_the_watches_ends_the_process_with_it() -> None:
    async def watch() -> None:
        raise ValueError("a bug of kopf")

    async def provider() -> None:
        async with _ending() as watching:
            await watching(watch())

    with pytest.raises(ValueError, match="a bug of kopf"):
        run(provider())


def test_kernel_ends_a_process_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    timers: list[tuple[int, float]] = []
    monkeypatch.setattr(signal, "setitimer", lambda timer, seconds: timers.append((timer, seconds)))
    for seconds in (14.5, 0):
        _end_process_after(seconds)
    assert timers == [(signal.ITIMER_REAL, 14.5), (signal.ITIMER_REAL, 0)]


class _Started(Exception):
    """The provider reached its first connection."""


@pytest.fixture
def places(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Records the log directory of a starting provider, which then stops."""
    found: list[Path] = []

    async def connect(settings: Settings, metrics: Metrics) -> Any:
        found.append(settings.log_dir)
        raise _Started

    monkeypatch.setattr(process, "_connect", connect)
    monkeypatch.setattr(process.logs, "configure", lambda **options: None)
    monkeypatch.setattr(process, "raise_open_files", lambda: None)
    return found


def test_default_work_dir_that_another_user_prepared_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, places: list[Path]
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    prepared = Settings().work_dir
    prepared.mkdir()
    prepared.chmod(0o777)
    (prepared / "failed").symlink_to(tmp_path)
    with pytest.raises(_Started):
        run(process.run_provider(Settings()))
    (used,) = places
    assert used.parent.parent == tmp_path
    assert used.parent != prepared
    assert used.parent.stat().st_mode & 0o077 == 0


def test_unsafe_work_dir_that_was_named_ends_the_start(tmp_path: Path, places: list[Path]) -> None:
    (named := tmp_path / "work").mkdir()
    named.chmod(0o777)
    with pytest.raises(CapkError, match="cannot hold private files"):
        run(process.run_provider(Settings(work_dir=named)))
    assert places == []


def test_work_dir_that_cannot_be_made_is_named_with_its_flag(tmp_path: Path, places: list[Path]) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CapkError, match=r"file/work.*Not a directory.*--work-dir"):
        run(process.run_provider(Settings(work_dir=tmp_path / "file" / "work")))
    assert places == []
