"""Workers join a cluster of the fake kind and leave it, by the calls that a real engine gets."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from capk.api.names import Reason
from capk.engine.containers import Containers
from capk.engine.failurelogs import FailureLogs
from capk.engine.inventory import Inventory
from capk.engine.kind import Kind
from capk.engine.workdir import WorkDir
from capk.errors import CapkError
from capk.kindconfig import yamlio
from capk.manager.facts import failure_of
from capk.manager.operations.workers import Workers
from capk.plan.marks import Mark
from capk.plan.plan import AddWorker, RemoveWorker
from capkdev.fakekind.clusters import Cluster, Home
from capkdev.fakekind.listing import HOME_VARIABLE
from capkdev.fakekind.workers import JOIN_SECONDS_VARIABLE
from test.integration.api import eventually

FAKE_KIND = (sys.executable, "-m", "capkdev.fakekind")
MARK = Mark("5d6a6d3e", 1)


class Place:
    """A cluster named dev, and the operations on its workers."""

    def __init__(self, home: Home, folder: Path) -> None:
        self.home = home
        self.containers = Containers([*FAKE_KIND, "engine"])
        self.inventory = Inventory(Kind(FAKE_KIND, work_dir=WorkDir(folder / "work")), self.containers)
        self.workers = Workers(self.containers, self.inventory, FailureLogs(folder / "logs"))

    @property
    def cluster(self) -> Cluster:
        found = self.home.find("dev")
        assert found
        return found

    def get(self, path: str) -> Any:
        with self.cluster.control_plane.rest() as rest:
            return rest.request("GET", f"/api/v1/{path}")

    @property
    def names(self) -> list[str]:
        """Names of the containers, then those of the Nodes."""
        nodes = self.get("nodes")["items"]
        return [node.name for node in self.cluster.nodes] + [node["metadata"]["name"] for node in nodes]

    async def add(self, node: str, **more: Any) -> None:
        control_planes = [one for one in await self.containers.nodes() or [] if one.role == "control-plane"]
        fields: dict[str, Any] = {"image": None, "labels": {}, "taints": (), "mounts": (), "patches": ()}
        request = AddWorker(
            name="dev",
            node=node,
            mark=MARK,
            machine=f"machine-{node}",
            generation=1,
            control_planes=tuple(one.name for one in control_planes),
            container_ids=frozenset(one.container_id for one in control_planes),
            provider_id=f"kind://docker/dev/{node}",
            **{**fields, **more},
        )
        await self.workers.add(request, lambda step: None)

    async def remove(self, node: str, *, drain: bool = False) -> None:
        await self.workers.remove(RemoveWorker("dev", node, f"machine-{node}", frozenset({MARK.uid}), drain=drain))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """The kind cluster `dev` for all tests. Each leaves it with its control plane alone."""
    folder = tmp_path_factory.mktemp("workers")
    config = {"kind": "Cluster", "apiVersion": "kind.x-k8s.io/v1alpha4"}
    config |= {"nodes": [{"role": "control-plane", "extraMounts": [MARK.mount]}]}  # type: ignore[dict-item]
    home = Home(folder / "kind")
    create = [*FAKE_KIND, "create", "cluster", "--name=dev", "--config=-"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(HOME_VARIABLE, str(home.directory))
        patch.setenv("KUBECONFIG", str(folder / "kubeconfig"))
        subprocess.run(create, input=yamlio.dump(config), text=True, check=True, capture_output=True)
        yield home
    for cluster in home.clusters():
        home.remove(cluster)


@pytest.fixture
def place(home: Home, tmp_path: Path) -> Place:
    place = Place(home, tmp_path)
    assert place.names == ["dev-control-plane"] * 2
    return place


async def test_workers_join_concurrently_and_leave(place: Place) -> None:
    await asyncio.gather(
        place.add("dev-w1", labels={"tier": "front"}, taints=("dedicated=gpu:NoSchedule",)), place.add("dev-w2")
    )
    assert sorted(place.names) == sorted(["dev-control-plane", "dev-w1", "dev-w2"] * 2)
    node = place.get("nodes/dev-w1")
    assert node["metadata"]["labels"]["tier"] == "front"
    assert node["spec"]["providerID"] == "kind://docker/dev/dev-w1"
    assert {"key": "dedicated", "value": "gpu", "effect": "NoSchedule"} in node["spec"]["taints"]
    assert list((place.cluster.directory / "tokens").iterdir()) == []

    latest = place.inventory.latest
    assert latest
    listed = {one.name: one for one in latest.clusters["dev"].nodes or ()}
    assert listed["dev-w1"].machine == "machine-dev-w1"
    assert listed["dev-w1"].mark == str(MARK)
    assert listed["dev-control-plane"].machine == ""

    await asyncio.gather(place.remove("dev-w1"), place.remove("dev-w2", drain=True))
    assert place.names == ["dev-control-plane"] * 2


async def test_container_of_a_name_that_was_used_before_is_another_one(place: Place) -> None:
    await place.add("dev-w1")
    first = {one.container_id for one in await place.containers.nodes() or []}
    await place.containers.remove([next(one for one in first if one == place.cluster.container_id(_worker(place)))])
    await place.add("dev-w1")
    assert {one.container_id for one in await place.containers.nodes() or []} - first
    assert place.names == ["dev-control-plane", "dev-w1"] * 2
    await place.remove("dev-w1")


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"image": "kindest/node:v1.30.0"}, Reason.INVALID_CONFIG),
        ({"image": "kindest/node:v9.9.9"}, Reason.IMAGE_NOT_FOUND),
        ({"patches": ("kind: InitConfiguration",)}, Reason.INVALID_CONFIG),
    ],
)
async def test_worker_that_cannot_join_leaves_nothing(place: Place, more: dict[str, Any], reason: Reason) -> None:
    with pytest.raises(CapkError) as error:
        await place.add("dev-w1", **more)
    failure = failure_of(error.value)
    assert failure
    assert failure.reason is reason
    assert place.names == ["dev-control-plane"] * 2


async def test_cancelled_join_leaves_nothing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(JOIN_SECONDS_VARIABLE, "300")
    task = asyncio.create_task(place.add("dev-w1"))
    tokens = place.cluster.directory / "tokens"
    await asyncio.to_thread(eventually, lambda: tokens.exists() and any(tokens.iterdir()))
    task.cancel()
    await asyncio.wait([task])
    assert place.names == ["dev-control-plane"] * 2


def _worker(place: Place) -> Any:
    return next(node for node in place.cluster.nodes if node.name == "dev-w1")
