import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from capk.api.names import PODS
from capk.errors import ApiError, Forbidden, Unreachable
from capk.kube.protocol import Change, Listing
from capk.kube.watch import follow

pytestmark = pytest.mark.virtual_time


def pod(name: str, version: int) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "engines", "resourceVersion": str(version)}}


class Server:
    """Each list and each watch takes the next script; an exception is raised."""

    def __init__(self, lists: list[Any], watches: list[list[Any]]) -> None:
        self.lists, self.watches = lists, watches
        self.versions: list[str] = []

    async def list(self, *_: Any, **__: Any) -> Listing:
        found = self.lists.pop(0)
        if isinstance(found, Exception):
            raise found
        return Listing([pod("a", 1)], str(found))

    async def watch(self, *_: Any, version: str, **__: Any) -> AsyncIterator[Change]:
        self.versions.append(version)
        if not self.watches:
            await asyncio.Event().wait()
        for found in self.watches.pop(0):
            if isinstance(found, Exception):
                raise found
            yield found


async def followed(server: Server, steps: int = 1000) -> tuple[list[str], list[tuple[str, str]], list[ApiError], float]:
    """Return lists, changes and failures, and how long it took until the server had nothing more to report."""
    lists: list[str] = []
    changes: list[tuple[str, str]] = []
    failures: list[ApiError] = []
    task = asyncio.create_task(
        follow(
            server,  # type: ignore[arg-type]
            PODS,
            "engines",
            "label",
            on_list=lambda listing: lists.append(listing.resource_version),
            on_change=lambda change: changes.append((change.type, change.version)),
            on_failure=failures.append,
        )
    )
    clock = asyncio.get_running_loop().time
    began = clock()
    for _ in range(steps):
        if server.lists or server.watches:
            await asyncio.sleep(0.1)
    took = clock() - began
    await asyncio.sleep(5)
    task.cancel()
    return lists, changes, failures, took


async def test_watch_goes_on_where_the_last_one_has_ended() -> None:
    first = [Change("ADDED", pod("b", 12)), Change("BOOKMARK", pod("", 20))]
    server = Server([10], [first, [Change("DELETED", pod("b", 21))]])
    lists, changes, failures, _ = await followed(server)
    assert (lists, changes, failures) == (["10"], [("ADDED", "12"), ("DELETED", "21")], [])
    assert server.versions == ["10", "20", "21"]


async def test_list_is_read_again_each_hour() -> None:
    server = Server([10, 20], [[] for _ in range(4000)])
    lists, _, failures, took = await followed(server, 40_000)
    assert (lists, failures) == (["10", "20"], [])
    assert took >= 3600


async def test_version_that_is_too_old_leads_to_a_new_list_without_a_failure() -> None:
    server = Server([10, 30], [[ApiError("watch", "pods", 410, "too old")]])
    lists, _, failures, _ = await followed(server)
    assert (lists, failures) == (["10", "30"], [])


async def test_failure_is_reported_and_tried_again_after_longer_and_longer_pauses() -> None:
    down = Unreachable("list", "pods", 0, "no answer")
    server = Server([down, down, down, 10], [])
    lists, _, failures, took = await followed(server)
    assert (lists, failures) == (["10"], [down] * 3)
    assert 7 <= took <= 8


async def test_refused_list_is_reported() -> None:
    denied = Forbidden("list", "pods", 403, "no")
    assert (await followed(Server([denied, 10], [])))[2] == [denied]


async def test_server_that_ends_each_watch_immediately_is_not_asked_in_a_circle() -> None:
    _, _, _, took = await followed(Server([10], [[] for _ in range(20)]))
    assert took >= 18
