"""Planes, providers and namespaces for integration tests. A plane is shared by a session, a namespace never."""

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from api import Api
from provider_process import ProviderProcess

from capk.localplane.options import Options
from capk.localplane.plane import LocalPlane

FAILED = pytest.StashKey[bool]()
LOG_LINES = 60

StartProvider = Callable[..., ProviderProcess]


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalPlane]:
    """An API server with our definitions, Cluster API's and its core manager; no provider."""
    with LocalPlane(tmp_path_factory.mktemp("plane")) as started:
        yield started


@pytest.fixture(scope="session")
def bare_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalPlane]:
    """An API server with our definitions and without Cluster API."""
    with LocalPlane(tmp_path_factory.mktemp("bare"), Options(core=False)) as started:
        yield started


@pytest.fixture
def api(plane: LocalPlane) -> Iterator[Api]:
    """The objects of `plane`."""
    yield from _api(plane)


@pytest.fixture
def bare_api(bare_plane: LocalPlane) -> Iterator[Api]:
    """The objects of `bare_plane`."""
    yield from _api(bare_plane)


@pytest.fixture
def namespace(api: Api) -> str:
    """A fresh namespace in `plane`."""
    return _new_namespace(api)


@pytest.fixture
def bare_namespace(bare_api: Api) -> str:
    """A fresh namespace in `bare_plane`."""
    return _new_namespace(bare_api)


@pytest.fixture
def provider(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StartProvider]:
    """Starts providers: `provider(plane, namespace, *flags, **environment)`.

    All end with the test, their kind clusters too; a failed test shows what they printed.
    """
    started: list[ProviderProcess] = []

    def start(plane: LocalPlane, namespace: str, *flags: str, **environment: str) -> ProviderProcess:
        directory = tmp_path / f"provider{len(started) or ''}"
        directory.mkdir()
        process = ProviderProcess(plane, directory, ["--namespace", namespace, *flags], environment)
        started.append(process)
        return process.start()

    yield start
    for process in started:
        process.kill()
        process.remove_clusters()
        if request.node.stash.get(FAILED, False):
            print(f"\n--- {process.log}\n" + "\n".join(process.log_text().splitlines()[-LOG_LINES:]))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report = yield
    if report.failed:
        item.stash[FAILED] = True
    return report


def _api(plane: LocalPlane) -> Iterator[Api]:
    rest = plane.rest()
    yield Api(rest)
    rest.close()


_numbers = itertools.count(1)


def _new_namespace(api: Api) -> str:
    name = f"test-{os.getpid()}-{next(_numbers)}"
    api.create("", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    return name
