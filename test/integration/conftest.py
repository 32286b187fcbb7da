"""Management clusters, providers and namespaces for integration tests.

The tests of a run share a management cluster, but never a namespace.

A run fails at its end if the API server has denied the provider a request.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from capkdev.managementcluster.cluster import LocalManagementCluster
from test.integration.api import Api, connected
from test.integration.provider_process import StartProvider, pytest_runtest_makereport, starting_providers
from test.integration.shared_management import shared

__all__ = ["pytest_runtest_makereport"]


@pytest.fixture(scope="session")
def run_directory(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A directory of this test run, shared by all its processes."""
    own = tmp_path_factory.getbasetemp()
    return own if worker_id == "master" else own.parent


@pytest.fixture(scope="session")
def management(run_directory: Path) -> Iterator[LocalManagementCluster]:
    """An API server with our definitions, Cluster API's and its core manager; no provider."""
    with shared(run_directory / "management") as running:
        yield running


@pytest.fixture(scope="session")
def bare_management(run_directory: Path) -> Iterator[LocalManagementCluster]:
    """An API server with our definitions and without Cluster API."""
    with shared(run_directory / "bare-management", core=False) as running:
        yield running


@pytest.fixture
def api(management: LocalManagementCluster) -> Iterator[Api]:
    """The objects of `management`."""
    with connected(management) as api:
        yield api


@pytest.fixture
def bare_api(bare_management: LocalManagementCluster) -> Iterator[Api]:
    """The objects of `bare_management`."""
    with connected(bare_management) as api:
        yield api


@pytest.fixture
def namespace(api: Api) -> str:
    """A fresh namespace in `management`."""
    return api.new_namespace()


@pytest.fixture
def bare_namespace(bare_api: Api) -> str:
    """A fresh namespace in `bare_management`."""
    return bare_api.new_namespace()


@pytest.fixture
def provider(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StartProvider]:
    """Starts providers: `provider(management, namespace, *flags, **environment)`; all stop after the test."""
    with starting_providers(request, tmp_path) as start:
        yield start
