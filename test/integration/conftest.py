"""Planes, providers and namespaces for integration tests. A plane is shared by a test run, a namespace never.

A run fails at its end when the API server has refused the provider anything.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from api import Api, connected
from provider_process import StartProvider, pytest_runtest_makereport, starting_providers
from shared_plane import shared

from capkdev.managementcluster.plane import LocalPlane

__all__ = ["pytest_runtest_makereport"]


@pytest.fixture(scope="session")
def run_directory(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A directory of this test run, the same one in all of its processes."""
    own = tmp_path_factory.getbasetemp()
    return own if worker_id == "master" else own.parent


@pytest.fixture(scope="session")
def plane(run_directory: Path) -> Iterator[LocalPlane]:
    """An API server with our definitions, Cluster API's and its core manager; no provider."""
    with shared(run_directory / "plane") as running:
        yield running


@pytest.fixture(scope="session")
def bare_plane(run_directory: Path) -> Iterator[LocalPlane]:
    """An API server with our definitions and without Cluster API."""
    with shared(run_directory / "bare-plane", core=False) as running:
        yield running


@pytest.fixture
def api(plane: LocalPlane) -> Iterator[Api]:
    """The objects of `plane`."""
    with connected(plane) as api:
        yield api


@pytest.fixture
def bare_api(bare_plane: LocalPlane) -> Iterator[Api]:
    """The objects of `bare_plane`."""
    with connected(bare_plane) as api:
        yield api


@pytest.fixture
def namespace(api: Api) -> str:
    """A fresh namespace in `plane`."""
    return api.new_namespace()


@pytest.fixture
def bare_namespace(bare_api: Api) -> str:
    """A fresh namespace in `bare_plane`."""
    return bare_api.new_namespace()


@pytest.fixture
def provider(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StartProvider]:
    """Starts providers: `provider(plane, namespace, *flags, **environment)`; all end with the test."""
    with starting_providers(request, tmp_path) as start:
        yield start
