"""Virtual time is exact, and a killed process never runs again."""

import asyncio

import pytest

from test.simulation import clock
from test.simulation.clock import SimulatedLoop, now, spawn


def test_time_passes_only_by_timers() -> None:
    async def main() -> float:
        await asyncio.sleep(3600)
        return now()

    assert clock.run(main()) == pytest.approx(3600)


def test_a_killed_process_runs_nothing_not_even_its_finally_blocks() -> None:
    done: list[str] = []

    async def work() -> None:
        try:
            asyncio.get_running_loop().call_later(2, done.append, "timer")
            await asyncio.sleep(3)
            done.append("work")
        finally:
            done.append("finally")

    async def main() -> None:
        spawn(work(), "victim")
        spawn(work(), "other")
        await asyncio.sleep(1)
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SimulatedLoop)
        loop.kill("victim")
        await asyncio.sleep(10)

    clock.run(main())
    assert done == ["timer", "work", "finally"]


def test_code_that_goes_round_without_time_is_ended() -> None:
    async def main() -> None:
        while True:  # noqa: ASYNC110
            await asyncio.sleep(0)

    with pytest.raises(clock.Livelock):
        clock.run(main())


def test_what_waits_for_ever_is_a_deadlock() -> None:
    async def main() -> None:
        await asyncio.Event().wait()

    with pytest.raises(clock.Deadlock):
        clock.run(main())
