"""Real kind clusters for end-to-end tests: each has a unique name and is deleted with its test."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from capkdev.managementcluster.cluster import LocalManagementCluster
from capkdev.managementcluster.engines import choose_engine
from test.e2e.real_kind import RealKind
from test.e2e.terminal import Terminal
from test.integration.api import Api, connected
from test.integration.provider.journeys import Place
from test.integration.provider_process import StartProvider, pytest_runtest_makereport, starting_providers

__all__ = ["pytest_runtest_makereport"]

USERS_KUBECONFIG = b"# This one is the user's own.\napiVersion: v1\nkind: Config\n"

NewName = Callable[[str], str]
StartPlace = Callable[..., Place]


@pytest.fixture(scope="session", autouse=True)
def users_kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home directory with a kubeconfig that must not change, for this process and its children."""
    home = tmp_path_factory.mktemp("home")
    file = home / ".kube" / "config"
    file.parent.mkdir()
    file.write_bytes(USERS_KUBECONFIG)
    before = file.stat()
    with pytest.MonkeyPatch.context() as patch:
        # The engine's command finds its contexts in the home directory.
        contexts = Path(os.environ.get("DOCKER_CONFIG", Path.home() / ".docker"))
        if (contexts / "config.json").exists():
            # podman 4 runs no container if this names a folder without contexts.
            patch.setenv("DOCKER_CONFIG", str(contexts))
        patch.setenv("HOME", str(home))
        patch.delenv("KUBECONFIG", raising=False)
        yield file
    assert file.read_bytes() == USERS_KUBECONFIG
    assert file.stat().st_mtime_ns == before.st_mtime_ns
    assert not list(file.parent.glob("config?*"))


@pytest.fixture(scope="session")
def kind(users_kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory) -> RealKind:
    """The real kind. Without a container engine the tests are skipped, or fail if CAPK_E2E=1 is set."""
    choice = choose_engine()
    if choice.is_fake:
        cause = choice.why.partition(", so a fake kind")[0]
        why = f"end-to-end tests need the real kind command and a container engine with a node image, but {cause}"
        if os.environ.get("CAPK_E2E") == "1":
            pytest.exit(why, returncode=1)
        pytest.skip(why)
    return RealKind(choice, tmp_path_factory.mktemp("by-hand"))


@pytest.fixture(scope="session")
def management(tmp_path_factory: pytest.TempPathFactory, kind: RealKind) -> Iterator[LocalManagementCluster]:
    """A management cluster with Cluster API's core manager; no provider."""
    with LocalManagementCluster(tmp_path_factory.mktemp("management")) as started:
        yield started


@pytest.fixture
def api(management: LocalManagementCluster) -> Iterator[Api]:
    """The objects of `management`."""
    with connected(management) as api:
        yield api


@pytest.fixture
def terminal(management: LocalManagementCluster) -> Terminal:
    """A shell with the kubeconfig of `management`."""
    return Terminal(management.kubeconfig)


@pytest.fixture
def new_name(kind: RealKind) -> Iterator[NewName]:
    """Returns unique names of kind clusters; remaining clusters are deleted after the test."""
    given: list[str] = []

    def new(purpose: str) -> str:
        given.append(f"e2e-{os.getpid()}-{purpose}")
        return given[-1]

    yield new
    for name in set(given) & set(kind.names()):
        kind.delete(name)


@pytest.fixture
def provider(
    request: pytest.FixtureRequest, kind: RealKind, new_name: NewName, tmp_path: Path
) -> Iterator[StartProvider]:
    """Starts providers with the real kind: `provider(management, namespace, *flags, **environment)`.

    The last one of a repeated flag counts, so these override the fake kind. All end before their clusters.
    """
    with starting_providers(request, tmp_path, kind.provider_flags) as start:
        yield start


@pytest.fixture
def start_place(api: Api, management: LocalManagementCluster, provider: StartProvider, kind: RealKind) -> StartPlace:
    """Starts a provider for a fresh namespace of `management`: `start_place(*flags, **environment)`."""

    def start(*flags: str, namespace: str | None = None, **environment: str) -> Place:
        namespace = namespace or api.new_namespace()
        return Place(management, api, namespace, provider(management, namespace, *flags, **environment), kind)

    return start


@pytest.fixture
def place(start_place: StartPlace) -> Place:
    """A fresh namespace of `management` and its provider."""
    return start_place()
