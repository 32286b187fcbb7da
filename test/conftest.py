"""For all tests: an orderly end, how many cases hypothesis tries, and tests whose time passes by itself."""

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
    """Turn SIGTERM into an orderly end; without this, providers and clusters would stay behind."""
    signal.signal(signal.SIGTERM, _end)


def _end(number: int, frame: FrameType | None) -> None:
    # A second one, from an impatient supervisor, must not end the clean-up that the first one began.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    pytest.exit("SIGTERM: told to end", returncode=128 + number)


def pytest_asyncio_loop_factories(item: pytest.Item) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Give tests marked `virtual_time` a loop whose time passes by itself, so that no busy machine disturbs them."""
    marker = item.get_closest_marker("virtual_time")
    return {"loop": asyncio.new_event_loop if marker is None or marker.args == (False,) else VirtualTimeLoop}
