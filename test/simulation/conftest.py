"""The time for lives by seed."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--simulation-seconds", type=float, default=60.0, help="how long lives by seed are run")
    parser.addoption("--simulation-seed", type=int, default=1, help="the first seed")
