"""The simulated API server follows the rules of a real one."""

import asyncio
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any

import pytest

from capk.api import names
from capk.errors import ApiError, Conflict, Forbidden, NotFound, Unreachable
from test.simulation import clock
from test.simulation.apiserver import ApiClient, ApiServer, Fault, Watch
from test.simulation.objects import Body

WHERE = ("default", "dev")


def in_time(test: Callable[[ApiServer], Coroutine[Any, Any, Any]], core: str | None = None) -> Any:
    async def main() -> Any:
        return await test(ApiServer(Random(1), core))

    return clock.run(main())


def made(api: ApiServer, **metadata: Any) -> Body:
    return api.create(
        names.KIND_CLUSTERS, {"metadata": {"name": "dev", "namespace": "default", **metadata}, "spec": {}}
    )


def client(api: ApiServer) -> ApiClient:
    return ApiClient(api, Random(1), on_request=lambda *_: None, on_write=lambda *_: None)


def secret(**fields: Any) -> Body:
    metadata = {"name": "dev", "namespace": "default", **fields.pop("metadata", {})}
    return {"metadata": metadata, "type": "Opaque", "data": {"a": "eA=="}, **fields}


def reference(obj: Body, *, controller: bool = True) -> Body:
    metadata = obj["metadata"]
    return {
        "apiVersion": obj["apiVersion"],
        "kind": obj["kind"],
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": controller,
    }


def watched(api: ApiServer, plural: str = "kindclusters", selector: str | None = None) -> list[tuple[str | None, Body]]:
    events: list[tuple[str | None, Body]] = []
    api.watch(Watch("test", plural, selector, lambda type, obj: events.append((type, obj))))
    return events


def test_a_change_of_the_spec_raises_the_generation_and_a_change_of_the_status_does_not() -> None:
    async def life(api: ApiServer) -> None:
        first = made(api)
        api.edit(names.KIND_CLUSTERS, *WHERE, {"spec": {"image": "x"}})
        door = client(api)
        ready = [{"op": "add", "path": "/status", "value": {"ready": True}}]
        after = await door.patch(names.KIND_CLUSTERS, *WHERE, ready, subresource="status")
        assert after["metadata"]["generation"] == 2
        assert after["status"] == {"ready": True}
        assert int(after["metadata"]["resourceVersion"]) == int(first["metadata"]["resourceVersion"]) + 2

    in_time(life)


def test_a_write_that_changes_nothing_keeps_the_version() -> None:
    async def life(api: ApiServer) -> None:
        first = made(api, labels={"a": "b"})
        again = api.edit(names.KIND_CLUSTERS, *WHERE, {"metadata": {"labels": {"a": "b"}}})
        assert again == first

    in_time(life)


def test_the_main_resource_ignores_the_status() -> None:
    async def life(api: ApiServer) -> None:
        made(api)
        assert "status" not in (api.edit(names.KIND_CLUSTERS, *WHERE, {"status": {"ready": True}}) or {})

    in_time(life)


@pytest.mark.parametrize("path", ["/metadata/resourceVersion", "/metadata/uid", "/metadata/annotations/gone"])
def test_a_guard_that_does_not_hold_is_a_conflict(path: str) -> None:
    async def life(api: ApiServer) -> None:
        made(api)
        with pytest.raises(Conflict):
            await client(api).patch(names.KIND_CLUSTERS, *WHERE, [{"op": "test", "path": path, "value": "other"}])

    in_time(life)


def test_finalizers_hold_a_deleted_object_and_none_can_be_added() -> None:
    async def life(api: ApiServer) -> None:
        made(api, finalizers=["f"])
        api.delete(names.KIND_CLUSTERS, *WHERE)
        held = api.find(names.KIND_CLUSTERS, *WHERE)
        assert held
        assert held["metadata"]["deletionTimestamp"]
        assert api.edit(names.KIND_CLUSTERS, *WHERE, {"metadata": {"finalizers": ["f", "g"]}}) is None
        api.edit(names.KIND_CLUSTERS, *WHERE, {"metadata": {"finalizers": []}})
        assert api.find(names.KIND_CLUSTERS, *WHERE) is None

    in_time(life)


def test_the_garbage_collector_takes_what_has_lost_its_last_owner() -> None:
    async def life(api: ApiServer) -> None:
        owner = made(api)
        api.create(names.SECRETS, secret(metadata={"ownerReferences": [reference(owner)]}))
        await asyncio.sleep(10)
        assert api.find(names.SECRETS, *WHERE)
        api.delete(names.KIND_CLUSTERS, *WHERE)
        await asyncio.sleep(10)
        assert api.find(names.SECRETS, *WHERE) is None

    in_time(life)


def test_an_owner_that_never_was_counts_as_gone() -> None:
    async def life(api: ApiServer) -> None:
        absent = {**reference(made(api)), "uid": "uid-of-nobody"}
        api.create(names.SECRETS, secret(metadata={"ownerReferences": [absent]}))
        await asyncio.sleep(10)
        assert api.find(names.SECRETS, *WHERE) is None

    in_time(life)


def test_what_stops_matching_is_deleted_for_that_watch_only() -> None:
    async def life(api: ApiServer) -> None:
        labelled, everything = watched(api, selector="colour=blue"), watched(api)
        first = made(api, labels={"colour": "blue"})
        api.edit(names.KIND_CLUSTERS, *WHERE, {"metadata": {"labels": {"colour": "red"}}})
        await asyncio.sleep(1)
        assert [type for type, _ in labelled] == ["ADDED", "DELETED"]
        assert [type for type, _ in everything] == ["ADDED", "MODIFIED"]
        gone = labelled[1][1]["metadata"]
        assert gone["labels"] == {"colour": "blue"}
        assert int(gone["resourceVersion"]) > int(first["metadata"]["resourceVersion"])

    in_time(life)


def test_a_broken_watch_lists_again_and_never_tells_of_what_it_missed() -> None:
    async def life(api: ApiServer) -> None:
        events = watched(api)
        made(api)
        await asyncio.sleep(1)
        api.drop_watches(seconds=5)
        api.delete(names.KIND_CLUSTERS, *WHERE)
        api.create(names.KIND_CLUSTERS, {"metadata": {"name": "other", "namespace": "default"}, "spec": {}})
        await asyncio.sleep(10)
        assert [(type, obj["metadata"]["name"]) for type, obj in events] == [("ADDED", "dev"), (None, "other")]

    in_time(life)


def test_a_second_controller_is_refused() -> None:
    async def life(api: ApiServer) -> None:
        one, other = made(api), api.create(names.KIND_CLUSTERS, {"metadata": {"name": "x", "namespace": "default"}})
        owners = [reference(one), reference(other)]
        with pytest.raises(ApiError, match="Only one reference can have Controller"):
            api.create(names.SECRETS, secret(metadata={"ownerReferences": owners}))

    in_time(life)


def test_quota_immutability_and_type_of_secrets() -> None:
    async def life(api: ApiServer) -> None:
        api.create(names.SECRETS, secret(immutable=True))
        assert api.edit(names.SECRETS, *WHERE, {"data": {"a": "eQ=="}}) is None
        assert api.edit(names.SECRETS, *WHERE, {"type": "other"}) is None
        api.secret_quota["default"] = 1
        with pytest.raises(Forbidden, match="exceeded quota"):
            api.create(names.SECRETS, secret(metadata={"name": "second"}))

    in_time(life)


@pytest.mark.parametrize(
    ("before", "change"),
    [
        ({"clusterName": "a"}, {"clusterName": "b"}),
        ({"controlPlaneEndpoint": {"host": "a", "port": 1}}, {"controlPlaneEndpoint": {"port": 2}}),
    ],
)
def test_rules_of_the_crd_refuse_what_cannot_change(before: Body, change: Body) -> None:
    async def life(api: ApiServer) -> None:
        made(api)
        api.edit(names.KIND_CLUSTERS, *WHERE, {"spec": before})
        assert api.edit(names.KIND_CLUSTERS, *WHERE, {"spec": change}) is None

    in_time(life)


def test_a_lost_answer_is_of_a_write_that_was_done() -> None:
    async def life(api: ApiServer) -> None:
        api.faults.append(Fault("lost", until=60))
        with pytest.raises(Unreachable):
            await client(api).create(names.SECRETS, secret())
        assert api.find(names.SECRETS, *WHERE)

    in_time(life)


def test_an_error_is_of_a_write_that_was_not_done() -> None:
    async def life(api: ApiServer) -> None:
        api.faults.append(Fault("error", until=60, status=503))
        with pytest.raises(Unreachable):
            await client(api).create(names.SECRETS, secret())
        assert api.find(names.SECRETS, *WHERE) is None

    in_time(life)


def test_clusters_are_not_found_where_cluster_api_is_not_installed() -> None:
    async def life(api: ApiServer) -> None:
        with pytest.raises(NotFound):
            await client(api).list(names.CLUSTERS)

    in_time(life)
