"""The provider as users run it: a process of its own against a management cluster, with the fake kind for kind.

It may do what its ServiceAccount may, and nothing else. Only its start is shorter, see `forkserver`.
"""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from capk.errors import ApiError
from capkdev.fakekind import __main__ as fake_kind_command
from capkdev.fakekind.clusters import Home
from capkdev.fakekind.listing import HOME_VARIABLE
from capkdev.managementcluster.cluster import LocalManagementCluster
from capkdev.ports import free_port
from capkdev.rest import Rest
from test.integration.forkserver import Forked, ForkServer
from test.integration.service_account import account_kubeconfig

READY_SECONDS = 120
STOP_SECONDS = 30
LOG_LINES = 60
FAKE_KIND = f"{sys.executable} {fake_kind_command.__file__}"
"""Run by its path: `-m` takes Python as long as all the rest of a call that is repeated."""
FAILED = pytest.StashKey[bool]()

_fork_server = ForkServer()


class ProviderProcess:
    """One provider, which can be killed and started again on the same kind clusters.

    home: where its fake kind keeps kind clusters. log: what it printed, over all starts.
    """

    def __init__(
        self, management: LocalManagementCluster, directory: Path, flags: Sequence[str], environment: Mapping[str, str]
    ) -> None:
        self.home = Home(directory / "kind")
        self.log = directory / "provider.log"
        self.health = f"127.0.0.1:{free_port()}"
        self._environment = {**os.environ, HOME_VARIABLE: str(self.home.directory), **environment}
        self._arguments = [
            *("run", "--kubeconfig", str(account_kubeconfig(management))),
            *("--kind-command", FAKE_KIND, "--engine-command", f"{FAKE_KIND} engine"),
            *("--work-dir", str(directory / "work"), "--endpoint", "external"),
            *("--health-addr", self.health, "--diagnostics-address", self.health, "--inventory-period", "2s", *flags),
        ]
        self._process: Forked | None = None

    def begin(self) -> Forked:
        """Start it and return at once."""
        self._process = _fork_server.fork(self._arguments, self._environment, self.log)
        return self._process

    def start(self) -> "ProviderProcess":
        """Start it and return when it is ready."""
        process = self.begin()
        deadline = time.monotonic() + READY_SECONDS
        health = Rest(f"http://{self.health}")
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise AssertionError(f"the provider ended with {process.poll()}:\n{self.log_text()}")
            try:
                health.request("GET", "/readyz")
            except ApiError:
                time.sleep(0.05)
            else:
                health.close()
                return self
        raise AssertionError(f"the provider was not ready after {READY_SECONDS} s:\n{self.log_text()}")

    def kill(self) -> None:
        """End it without a chance to clean up, as a power cut would."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """Ask it to end and return its exit status."""
        return self._end(signal.SIGTERM)

    def metrics(self) -> str:
        """Return what it exposes to Prometheus."""
        return self.ask("/metrics")

    def ask(self, path: str) -> str:
        """Return what it answers to a probe; raises ApiError when it is not well."""
        with Rest(f"http://{self.health}") as rest:
            return str(rest.request("GET", path))

    def log_text(self) -> str:
        """Return all that it printed."""
        return self.log.read_text(errors="replace")

    def remove_clusters(self) -> None:
        """Remove all kind clusters that were left."""
        for cluster in self.home.clusters():
            self.home.remove(cluster)

    def _end(self, number: signal.Signals) -> int:
        if self._process is None:
            return 0
        self._process.send(number)
        try:
            return self._process.wait(STOP_SECONDS)
        except TimeoutError:
            self._process.send(signal.SIGKILL)
            self._process.wait(STOP_SECONDS)
            raise AssertionError(f"the provider did not end within {STOP_SECONDS} s:\n{self.log_text()}") from None


StartProvider = Callable[..., ProviderProcess]


@contextlib.contextmanager
def starting_providers(
    request: pytest.FixtureRequest, directory: Path, flags: Sequence[str] = ()
) -> Iterator[StartProvider]:
    """Give a function that starts providers: `start(management, namespace, *flags, **environment)`.

    flags: for all of them. All end with the test, their kind clusters on the fake kind too; a failed test shows what
    they printed.
    """
    started: list[ProviderProcess] = []

    def start(management: LocalManagementCluster, namespace: str, *more: str, **environment: str) -> ProviderProcess:
        place = directory / f"provider{len(started) or ''}"
        place.mkdir()
        process = ProviderProcess(management, place, ["--namespace", namespace, *flags, *more], environment)
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
    """Remember for the fixtures of a test that it failed; a conftest imports this."""
    report = yield
    if report.failed:
        item.stash[FAILED] = True
    return report
