"""Providers that the tests of a module share, because a start costs more than most journeys. Tests use distinct names.

A run does not share them: periodic work for all objects would cost as much as a start every few seconds.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from capkdev.fakekind.create import MODE_VARIABLE
from capkdev.managementcluster.cluster import LocalManagementCluster
from test.integration.api import Api, connected
from test.integration.provider.journeys import SHORT_PERIODS, Place, SwitchableKind
from test.integration.provider_process import LOG_LINES, ProviderProcess, StartProvider

NOTHING_ANSWERS = ("--wait-for-nodes", "0")
"""Flags of a provider whose kind clusters have no API server, so that it does not wait for one."""


@pytest.fixture(scope="module")
def place(management: LocalManagementCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A provider whose kind clusters are real API servers."""
    yield from _place(management, tmp_path_factory.mktemp("place"))


@pytest.fixture(scope="module")
def quick_place(management: LocalManagementCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A provider whose kind clusters have no API server: nothing answers at their addresses."""
    yield from _place(management, tmp_path_factory.mktemp("quick"), *NOTHING_ANSWERS, **{MODE_VARIABLE: "instant"})


def _place(management: LocalManagementCluster, directory: Path, *more: str, **environment: str) -> Iterator[Place]:
    with connected(management) as api:
        namespace = api.new_namespace()
        kind = SwitchableKind(directory / "bin")
        flags = ["--namespace", namespace, *SHORT_PERIODS, *kind.flags, *more]
        process = ProviderProcess(management, directory, flags, environment).start()
        yield Place(management, api, namespace, process, kind)
        process.kill()
        process.remove_clusters()
        print(f"--- {process.log}\n" + "\n".join(process.log_text().splitlines()[-LOG_LINES:]))


@pytest.fixture
def own_place(
    management: LocalManagementCluster, api: Api, namespace: str, provider: StartProvider, tmp_path: Path
) -> Callable[..., Place]:
    """Starts a provider that may be killed or disturbed: `own_place(*flags, **environment)`; instant by default."""

    def start(*flags: str, **environment: str) -> Place:
        kind = SwitchableKind(tmp_path / "bin")
        variables = {MODE_VARIABLE: "instant", **environment}
        waits = NOTHING_ANSWERS if variables[MODE_VARIABLE] == "instant" else ()
        process = provider(management, namespace, *SHORT_PERIODS, *kind.flags, *waits, *flags, **variables)
        return Place(management, api, namespace, process, kind)

    return start
