"""The provider as users run it: a separate process for a management cluster, with the fake kind.

It has exactly the rights of its ServiceAccount. Only its start is shorter, see `forkserver`.
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
"""Run by path, because `-m` doubles the time of a repeated call."""
FAILED = pytest.StashKey[bool]()

_fork_server = ForkServer()


class ProviderProcess:
    """One provider, which can be killed and started again on the same kind clusters.

    home: directory of its fake kind's clusters. log: its output over all starts.
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
        """Start it and return immediately."""
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
        """Kill it without a chance to clean up, as a power failure would."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """Stop it with SIGTERM and return its exit status."""
        return self._end(signal.SIGTERM)

    def metrics(self) -> str:
        """Return its Prometheus series."""
        return self.ask("/metrics")

    def ask(self, path: str) -> str:
        """Return its answer to a probe; raises ApiError if it is not healthy."""
        with Rest(f"http://{self.health}") as rest:
            return str(rest.request("GET", path))

    def log_text(self) -> str:
        """Return all its output."""
        return self.log.read_text(errors="replace")

    def remove_clusters(self) -> None:
        """Remove all remaining kind clusters."""
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
    """Yield a function that starts providers: `start(management, namespace, *flags, **environment)`.

    flags: for all of them. All stop after the test, with their kind clusters on the fake kind; a failed test shows
    their output.
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
    """Record for the fixtures of a test that it failed; a conftest imports this."""
    report = yield
    if report.failed:
        item.stash[FAILED] = True
    return report
