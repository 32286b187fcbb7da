"""For all tests: an orderly end on SIGTERM, the number of hypothesis cases, and tests in virtual time."""

import asyncio
import os
import signal
from collections.abc import Callable
from types import FrameType

import pytest
from hypothesis import settings

from test.unit.virtual_time import VirtualTimeLoop

settings.register_profile("quick", max_examples=30, deadline=None)
settings.register_profile("thorough", max_examples=2000, deadline=None)
settings.load_profile(os.environ.get("CAPK_CASES", "quick"))


def pytest_sessionstart() -> None:
    """Turn SIGTERM into an orderly end; otherwise providers and clusters would remain."""
    signal.signal(signal.SIGTERM, _end)


def _end(number: int, frame: FrameType | None) -> None:
    # A second signal, from an impatient supervisor, must not interrupt the clean-up.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    pytest.exit("SIGTERM: told to end", returncode=128 + number)


def pytest_asyncio_loop_factories(item: pytest.Item) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Give tests marked `virtual_time` a loop with virtual time, so that a busy machine does not affect them."""
    marker = item.get_closest_marker("virtual_time")
    return {"loop": asyncio.new_event_loop if marker is None or marker.args == (False,) else VirtualTimeLoop}
