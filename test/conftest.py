"""A test run that is told to end ends as one that Ctrl-C interrupts: fixtures take down what they set up."""

import signal
from types import FrameType

import pytest


def pytest_sessionstart() -> None:
    """Turn SIGTERM into an orderly end; without this, providers and clusters would stay behind."""
    signal.signal(signal.SIGTERM, _end)


def _end(number: int, frame: FrameType | None) -> None:
    # A second one, from an impatient supervisor, must not end the clean-up that the first one began.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    pytest.exit("SIGTERM: told to end", returncode=128 + number)
