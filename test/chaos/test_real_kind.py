"""Real kind: the provider is killed ten times in the life of one cluster, and creates and deletes many clusters."""

import contextlib
import os
import random
import shlex
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from capk.api.names import KIND_CLUSTERS, SECRETS
from capkdev.managementcluster.cluster import LocalManagementCluster
from capkdev.managementcluster.engines import EngineChoice, choose_engine
from test.chaos.counters import Counters, memory_mib
from test.chaos.killable_provider import KillableProvider
from test.integration.api import Api, condition, connected, eventually
from test.integration.provider.journeys import standalone

ROUNDS = int(os.environ.get("CAPK_CHAOS_ROUNDS", "4"))
AT_ONCE = 4
MOST_GROWTH_MIB = 15
KILLS_IN_CREATION, KILLS_AT_REST, KILLS_IN_DELETION = 6, 2, 2
SECONDS = 900

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(3600)]


class Engine:
    """The parts of one kind cluster on the container engine."""

    def __init__(self, choice: EngineChoice, name: str) -> None:
        self.choice, self.name = choice, name

    def containers(self) -> list[str]:
        """Return the ids of its containers, stopped ones included."""
        return self._ask("ps", "--all", "--quiet", "--no-trunc", "--filter", f"label=io.x-k8s.kind.cluster={self.name}")

    def containers_like_it(self) -> list[str]:
        """Return the names of all containers whose names begin like it."""
        return self._ask("ps", "--all", "--filter", f"name=^{self.name}", "--format", "{{.Names}}")

    def volumes(self) -> list[str]:
        """Return the names of all volumes of the engine that no container uses."""
        return self._ask("volume", "ls", "--quiet", "--filter", "dangling=true")

    def remove(self, directory: Path) -> None:
        """Delete all parts of the kind cluster that exist."""
        kubeconfig = str(directory / "kubeconfig")
        delete = [*shlex.split(self.choice.kind), "delete", "clusters", "--kubeconfig", kubeconfig]
        names = {name.partition("-control-plane")[0] for name in self.containers_like_it()}
        subprocess.run([*delete, self.name, *names], timeout=300, check=True, capture_output=True)

    def _ask(self, *arguments: str) -> list[str]:
        command = [*shlex.split(self.choice.engine), *arguments]
        return subprocess.run(command, timeout=120, check=True, capture_output=True, text=True).stdout.split()


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    choice = choose_engine()
    if choice.is_fake:
        pytest.skip(choice.why)
    engine = Engine(choice, f"chaos-{os.getpid()}")
    yield engine
    engine.remove(tmp_path)


@pytest.mark.rule("C21", "C23", "K37")
def test_real_kind_cluster_outlives_ten_kills(
    management: LocalManagementCluster, engine: Engine, tmp_path: Path, chance: random.Random, counters: Counters
) -> None:
    with connected(management) as api:
        namespace, place = api.new_namespace(), tmp_path / "provider"
        place.mkdir()
        arguments = ["--namespace", namespace, "--inventory-period", "2s", *engine.choice.provider_arguments]
        provider = KillableProvider(management, place, arguments, {})
        try:
            provider.start()
            _live(api, namespace, engine, provider, chance)
        except BaseException:
            print("\n".join(provider.log_text().splitlines()[-60:]))
            raise
        finally:
            provider.kill()
    counters.add("kills on real kind", provider.kills - 1)


def _live(api: Api, namespace: str, engine: Engine, provider: KillableProvider, chance: random.Random) -> None:
    name, volumes = engine.name, set(engine.volumes())

    def ready() -> bool:
        return condition(api.find(KIND_CLUSTERS, namespace, name), "Ready").get("status") == "True"

    def kill() -> None:
        provider.kill()
        provider.start()

    api.create(namespace, standalone(name))
    for _ in range(KILLS_IN_CREATION):
        eventually(lambda: engine.containers() or ready(), SECONDS)
        time.sleep(chance.uniform(0, 20))
        kill()
    eventually(ready, SECONDS)
    whole = engine.containers()
    assert len(whole) == 1
    for _ in range(KILLS_AT_REST):
        api.delete(SECRETS, namespace, f"{name}-config")
        time.sleep(chance.uniform(0, 1))
        kill()
        eventually(lambda: api.find(SECRETS, namespace, f"{name}-config"), 120)
    eventually(ready, SECONDS)
    assert engine.containers() == whole
    api.delete(KIND_CLUSTERS, namespace, name)
    for _ in range(KILLS_IN_DELETION):
        time.sleep(chance.uniform(0.2, 3))
        kill()
    eventually(lambda: api.find(KIND_CLUSTERS, namespace, name) is None, SECONDS)
    assert engine.containers() == []
    assert api.find(SECRETS, namespace, f"{name}-config") is None
    with contextlib.suppress(FileNotFoundError):
        assert [path for path in provider.work.rglob("*") if path.is_file()] == []
    # Other people may use the engine, so only new volumes of ours count.
    assert not [volume for volume in set(engine.volumes()) - volumes if name in volume]


def test_many_lives_of_real_kind_clusters_leave_nothing(
    management: LocalManagementCluster, engine: Engine, tmp_path: Path, counters: Counters
) -> None:
    """Each is created, becomes ready and is deleted, a few concurrently."""
    volumes, memory, begun = set(engine.volumes()), [], 0
    with connected(management) as api:
        namespace, place = api.new_namespace(), tmp_path / "provider"
        place.mkdir()
        limits = ["--inventory-period", "2s", "--max-concurrent-creates", str(AT_ONCE)]
        arguments = ["--namespace", namespace, *limits, *engine.choice.provider_arguments]
        provider = KillableProvider(management, place, arguments, {}).start()
        try:
            deadline = time.monotonic() + SECONDS + ROUNDS * 60
            living = eventually(lambda: [api.list(KIND_CLUSTERS, namespace)])[0]
            while begun < ROUNDS or living:
                assert time.monotonic() < deadline, living
                for _ in range(min(AT_ONCE - len(living), ROUNDS - begun)):
                    begun += 1
                    api.create(namespace, standalone(f"{engine.name}-{begun}"))
                for seen in living:
                    if condition(seen, "Ready").get("status") == "True" and "deletionTimestamp" not in seen["metadata"]:
                        api.delete(KIND_CLUSTERS, namespace, seen["metadata"]["name"])
                        memory.append(memory_mib(provider.pid))
                time.sleep(0.5)
                living = api.list(KIND_CLUSTERS, namespace)
            assert engine.containers_like_it() == []
            assert api.list(SECRETS, namespace) == []
            assert [path for path in provider.work.rglob("*") if path.is_file()] == []
            assert not [volume for volume in set(engine.volumes()) - volumes if engine.name in volume]
            memory.append(memory_mib(provider.pid))
        except BaseException:
            print("\n".join(provider.log_text().splitlines()[-60:]))
            raise
        finally:
            provider.kill()
    counters.add("lives of real kind clusters", len(memory) - 1)
    counters.add("MiB after the first of them", round(memory[0]))
    counters.add("MiB after the last", round(memory[-1]))
    assert len(memory) == ROUNDS + 1, "not every one became ready"
    assert memory[-1] - memory[0] < MOST_GROWTH_MIB, memory
