"""Planes, providers and namespaces for integration tests. A plane is shared by a session, a namespace never.

A session fails at its end when the API server has refused the provider anything.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from api import Api, connected
from provider_process import StartProvider, pytest_runtest_makereport, starting_providers
from service_account import audited, refused, requests

from capk.localplane.plane import LocalPlane

__all__ = ["pytest_runtest_makereport"]


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalPlane]:
    """An API server with our definitions, Cluster API's and its core manager; no provider."""
    with audited(tmp_path_factory.mktemp("plane")) as started:
        yield started
        assert refused(requests(started)) == []


@pytest.fixture(scope="session")
def bare_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalPlane]:
    """An API server with our definitions and without Cluster API."""
    with audited(tmp_path_factory.mktemp("bare"), core=False) as started:
        yield started
        assert refused(requests(started)) == []


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
