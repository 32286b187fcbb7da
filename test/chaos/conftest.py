"""One management cluster for all fault injection; each test has a stage with its own namespace and provider."""

import os
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from capkdev.managementcluster.cluster import LocalManagementCluster
from capkdev.managementcluster.options import Options
from test.chaos.counters import Counters
from test.chaos.scenario import Stage, staged


@pytest.fixture(scope="session")
def seed() -> int:
    """The seed of all random decisions; CAPK_CHAOS_SEED repeats a run."""
    return int(os.environ.get("CAPK_CHAOS_SEED") or random.SystemRandom().randrange(2**32))


@pytest.fixture
def chance(seed: int, request: pytest.FixtureRequest) -> random.Random:
    """A separate source of random numbers for each test; a failed test shows its seed."""
    print(f"CAPK_CHAOS_SEED={seed}")
    return random.Random(f"{seed}/{request.node.name}")


@pytest.fixture(scope="session")
def management(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalManagementCluster]:
    """An API server with our definitions, Cluster API's and its core manager; no provider."""
    with LocalManagementCluster(tmp_path_factory.mktemp("management")) as started:
        yield started


@pytest.fixture(scope="session")
def management_of_pods(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalManagementCluster]:
    """An API server with our definitions; a provider with engines in Pods has to manage all of it."""
    with LocalManagementCluster(tmp_path_factory.mktemp("pods"), Options(core=False)) as started:
        yield started


@pytest.fixture
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., Stage]]:
    """Sets up stages: `stage(*flags, owned=, pods=, staffed=, create_seconds=, instant=, environment=)`."""
    with ExitStack() as stack:

        def set_up(*flags: str, **choices: Any) -> Stage:
            directory = tmp_path / f"stage{len(list(tmp_path.iterdir()))}"
            management = request.getfixturevalue("management_of_pods" if choices.get("pods") else "management")
            return stack.enter_context(staged(management, directory, *flags, **choices))

        yield set_up


FIGURES = pytest.StashKey[Counters]()


@pytest.fixture
def counters(pytestconfig: pytest.Config) -> Counters:
    """Figures that are printed at the end of the run."""
    return pytestconfig.stash.setdefault(FIGURES, Counters())


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print the figures."""
    for what, count in config.stash.get(FIGURES, Counters()).items():
        terminalreporter.write_line(f"{what}: {count}")
