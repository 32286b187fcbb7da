"""How many cases are tried, and whose time passes; makes `virtual_time` and `recording_kube` importable."""

import asyncio
import os
from collections.abc import Callable

import pytest
from hypothesis import settings

from test.unit.virtual_time import VirtualTimeLoop

settings.register_profile("quick", max_examples=30, deadline=None)
settings.register_profile("thorough", max_examples=2000, deadline=None)
settings.load_profile(os.environ.get("CAPK_CASES", "quick"))


def pytest_asyncio_loop_factories(item: pytest.Item) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Give tests marked `virtual_time` a loop whose time passes by itself, so that no busy machine disturbs them."""
    marker = item.get_closest_marker("virtual_time")
    return {"loop": asyncio.new_event_loop if marker is None or marker.args == (False,) else VirtualTimeLoop}
