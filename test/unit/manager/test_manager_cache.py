"""The objects that the cache stores, and the objects that it wakes."""

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from capk.api import names
from capk.api.names import KIND_CLUSTERS, SECRET_CLUSTER_LABEL, SECRETS
from capk.api.objects import Key
from capk.errors import NotFound
from capk.manager.cache import SETTLE_SECONDS, Cache, new_store
from capk.manager.discovery import Discovery
from capk.manager.relations import Relations
from capk.runtime.probes import WatchLag
from capk.settings import Settings
from test.unit.plan.builders import kindcluster
from test.unit.recording_kube import RecordingKube

pytestmark = pytest.mark.virtual_time

DEV = Key("KINDCluster", "default", "dev")


class Server(RecordingKube):
    async def serves(self, group: str) -> str | None:
        return None


class World:
    def __init__(self, **settings: Any) -> None:
        self.kube = Server()
        self.store = new_store()
        self.relations = Relations(self.store)
        self.woken: list[tuple[Key, float]] = []
        self.freed: list[tuple[str, str]] = []
        self.lag = WatchLag(300)
        self.cache = Cache(
            Settings(work_dir=Path("unused"), max_concurrent_creates=1, **settings),
            self.kube,
            self.store,
            self.relations,
            Discovery(self.kube, self.relations),
            self.lag,
            freed_secret=lambda namespace, name: self.freed.append((namespace, name)),
            wake=lambda key, seconds: self.woken.append((key, seconds)),
        )

    def event(self, kind: str | None, version: int, resource: Any = KIND_CLUSTERS, **metadata: Any) -> list[Any]:
        """Apply an event; return the woken keys."""
        self.woken.clear()
        raw = raw_of(resource, resourceVersion=str(version), **metadata)
        self.cache.on_event(resource, kind, raw)
        return list(self.woken)


def raw_of(resource: Any, **metadata: Any) -> dict[str, Any]:
    if resource is KIND_CLUSTERS:
        return dict(kindcluster(**metadata).raw)
    known = {"name": "dev-config", "namespace": "default", "uid": "s", "labels": {names.SECRET_CLUSTER_LABEL: "dev"}}
    return {"apiVersion": "v1", "kind": resource.kind, "metadata": {**known, **metadata}, "data": {"config": "eA=="}}


@pytest.fixture
async def world() -> World:
    return World()


async def test_new_object_is_looked_at_immediately_and_its_changes_after_a_moment(world):
    assert world.event(None, 100) == [(DEV, 0.0)]
    assert world.event("MODIFIED", 101) == [(DEV, SETTLE_SECONDS)]
    assert world.event("MODIFIED", 101) == []
    assert world.event("MODIFIED", 100) == []


async def test_object_that_left_the_selector_is_dropped_and_taken_in_again_when_it_matches(world):
    world.event(None, 100)
    assert world.event("DELETED", 101) == [(DEV, SETTLE_SECONDS)]
    assert world.store.get(DEV) is None
    assert world.event("ADDED", 100) == []
    assert world.event("ADDED", 102) == [(DEV, 0.0)]
    assert world.store.get(DEV) is not None


async def test_secret_whose_label_was_stripped_wakes_its_cluster_and_is_found_again(world):
    world.event(None, 100)
    world.event(None, 101, SECRETS)
    assert world.event("DELETED", 102, SECRETS) == [(DEV, 0.0)]
    assert world.store.find(names.SECRET_CLUSTER_LABEL, "dev", SECRETS) == []
    restored = raw_of(SECRETS, resourceVersion="103")
    world.woken.clear()
    world.cache.on_written(SECRETS, restored, DEV)
    assert world.store.find(names.SECRET_CLUSTER_LABEL, "dev", SECRETS) == [Key("Secret", "default", "dev-config")]
    assert world.woken == []
    assert world.event("ADDED", 103, SECRETS) == []


async def test_own_write_does_not_wake_its_writer_and_wakes_its_relatives(world):
    world.event(None, 100)
    waits = {"name": "waits", "uid": "w", "namespace": "default"}
    raw = kindcluster({"clusterName": "dev"}, resourceVersion="101", **waits).raw
    world.cache.on_event(KIND_CLUSTERS, None, raw)
    world.woken.clear()
    world.cache.on_written(KIND_CLUSTERS, raw_of(KIND_CLUSTERS, resourceVersion="102"), DEV)
    assert world.woken == [(Key("KINDCluster", "default", "waits"), 0.0)]


async def test_own_secret_does_not_wake_the_object_that_it_was_written_for(world):
    """Otherwise a Secret that something else changes each time would be written without a pause."""
    world.event(None, 100)
    world.woken.clear()
    world.cache.on_written(SECRETS, raw_of(SECRETS, resourceVersion="101"), DEV)
    assert world.woken == []
    world.cache.on_written(SECRETS, raw_of(SECRETS, resourceVersion="102"), Key("KINDControlPlane", "default", "dev"))
    assert world.woken == [(DEV, 0.0)]


async def test_secret_that_comes_or_goes_frees_its_name(world):
    world.event("DELETED", 100, SECRETS, name="other")
    assert ("default", "other") in world.freed


async def test_data_of_secrets_is_not_kept(world):
    world.event(None, 100, SECRETS)
    assert "eA==" not in repr(world.store.get(Key("Secret", "default", "dev-config")))


async def test_objects_of_others_are_not_taken_in():
    label = {names.WATCH_FILTER_LABEL: "blue"}
    filtered, spaced = World(watch_filter="blue"), World(namespace="other")
    assert filtered.event(None, 100) == spaced.event(None, 100) == []
    assert filtered.event(None, 100, labels=label) == [(DEV, 0.0)]
    assert spaced.event(None, 100, namespace="other") == [(DEV._replace(namespace="other"), 0.0)]
    assert filtered.event(None, 101, SECRETS) != []


async def test_list_wakes_what_vanished_unseen(world):
    world.event(None, 100)
    world.kube._versions = iter(range(200, 300))
    world.woken.clear()
    await world.cache.relist()
    assert world.store.get(DEV) is None
    assert world.woken == [(DEV, 0.0)]


async def test_list_wakes_no_secret_that_vanished_unseen(world):
    """Only objects have a reconcile. It would fail again and again."""
    world.event(None, 100, SECRETS)
    world.kube._versions = iter(range(200, 300))
    world.woken.clear()
    await world.cache.relist()
    assert world.store.get(Key("Secret", "default", "dev-config")) is None
    assert world.woken == []


async def test_list_takes_in_what_the_watch_has_missed(world):
    world.kube.put(KIND_CLUSTERS, kindcluster().raw)
    await world.cache.relist()
    assert world.store.get(DEV) is not None
    assert world.relations.name(DEV) == "dev"


async def test_list_takes_in_an_object_in_the_version_that_a_restored_storage_has(world):
    """Storage was restored from a backup that has it as it is stored here, and other objects in older versions."""
    world.kube._versions = iter([100, 200, 101, 150, 151, 152])
    same = world.kube.put(KIND_CLUSTERS, kindcluster().raw)
    world.cache.on_event(KIND_CLUSTERS, None, same)
    for _ in range(2):
        await world.cache._relist_kind(KIND_CLUSTERS)
    assert world.store.get(DEV) == same
    assert world.relations.name(DEV) == "dev"


async def test_list_of_what_is_stored_keeps_no_second_copy(world, monkeypatch):
    listings = []

    async def listed(*arguments: Any, keep: Any, **options: Any) -> Any:
        listings.append(await RecordingKube.list(world.kube, *arguments, keep=keep, **options))
        return listings[-1]

    monkeypatch.setattr(world.kube, "list", listed)
    world.cache.on_event(KIND_CLUSTERS, None, world.kube.put(KIND_CLUSTERS, kindcluster({"standalone": True}).raw))
    await world.cache.relist()
    assert world.store.get(DEV)["spec"] == {"standalone": True}
    assert [item for listing in listings for item in listing.items if "spec" in item] == []


async def test_first_list_keeps_only_what_the_store_keeps_of_each_object(world, monkeypatch):
    """Anyone may have created hundreds of Secrets with our label, of a megabyte each."""
    kept = list[int]()

    async def listed(*arguments: Any, keep: Any, **options: Any) -> Any:
        tracemalloc.start()
        listing = await RecordingKube.list(world.kube, *arguments, keep=lambda obj: keep(_apart(obj)), **options)
        kept.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
        return listing

    for number in range(20):
        labels = {SECRET_CLUSTER_LABEL: "dev", **{f"{number}-{other}": "x" for other in range(500)}}
        world.kube.put(SECRETS, {"metadata": {"name": f"s{number}", "labels": labels}, "data": {"a": "x" * 100_000}})
    monkeypatch.setattr(world.kube, "list", listed)
    await world.cache._relist_kind(SECRETS)
    assert len(world.store.keys(SECRETS)) == 20
    assert kept[0] < 200_000


def _apart(obj: Any) -> Any:
    """Return an object that shares no text with another one, as an answer of the API server."""
    return json.loads(json.dumps(obj))


async def test_kind_that_is_not_installed_yet_is_passed_over(world):
    world.kube.fail = [NotFound("list", "kindclusters", 404, "not found")]
    await world.cache.relist()
    assert world.store.values(KIND_CLUSTERS) == []


async def test_list_reads_only_our_secrets(world):
    world.kube.put(SECRETS, raw_of(SECRETS, labels={}))
    await world.cache.relist()
    assert world.store.keys(SECRETS) == []


async def test_clusters_of_an_uninstalled_cluster_api_are_forgotten_and_may_come_back(world):
    cluster = {
        "apiVersion": "cluster.x-k8s.io/v1beta2",
        "kind": "Cluster",
        "metadata": {"name": "dev", "namespace": "default", "uid": "c", "resourceVersion": "100"},
        "spec": {},
    }
    key = Key("Cluster", "default", "dev")
    world.cache.on_event(names.CLUSTERS, None, cluster)
    assert world.store.get(key) is not None
    assert world.relations.core_version == "v1beta2"
    await world.cache.relist()
    assert world.relations.core_version is None
    assert world.store.get(key) is None
    world.cache.on_event(names.CLUSTERS, None, cluster)
    assert world.store.get(key) is not None


def cluster_of_dev(version: int, **parts: Any) -> dict[str, Any]:
    reference = {"apiGroup": KIND_CLUSTERS.group, "kind": KIND_CLUSTERS.kind, "name": "dev"}
    metadata = {"name": "dev", "namespace": "default", "uid": "c", "resourceVersion": str(version)}
    spec = {"infrastructureRef": reference}
    return {"apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Cluster", "metadata": metadata, "spec": spec} | parts


async def test_status_of_a_cluster_wakes_nothing_and_its_spec_does(world):
    world.event(None, 100)
    world.cache.on_event(names.CLUSTERS, "ADDED", cluster_of_dev(101))
    world.woken.clear()
    world.cache.on_event(names.CLUSTERS, "MODIFIED", cluster_of_dev(102, status={"phase": "Provisioning"}))
    assert world.woken == []
    paused = {**cluster_of_dev(103)["spec"], "paused": True}
    world.cache.on_event(names.CLUSTERS, "MODIFIED", cluster_of_dev(103, spec=paused))
    assert world.woken == [(DEV, 0.0)]
