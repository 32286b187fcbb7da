"""Follows the objects of one kind in one namespace: one list, then a watch that goes on where the last one has ended.

kopf watches a kind in all namespaces of its scope, which would need rights on every Pod of the management cluster.
"""

import asyncio
import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from capk.api.names import Resource
from capk.errors import ApiError
from capk.kube.protocol import Change, KubeApi, Listing

FIRST_PAUSE_SECONDS: Final = 1.0
LONGEST_PAUSE_SECONDS: Final = 30.0
"""Pauses between two attempts, each twice as long as the one before."""

RELIST_SECONDS: Final = 3600.0
"""How long changes are followed without a list, which also ends what has to be remembered of objects that left."""

log = logging.getLogger(__name__)


async def follow(
    client: KubeApi,
    resource: Resource,
    namespace: str,
    selector: str,
    *,
    on_list: Callable[[Listing], None],
    on_change: Callable[[Change], None],
    on_failure: Callable[[ApiError], None],
) -> None:
    """Report the objects that a label selector selects, until cancelled.

    on_list: called with all of them, at first, whenever changes may have been missed, and once per hour.
    on_failure: called with each error of a list; the next attempt comes after a pause. Where watches fail, lists
    follow each other at that interval, so that everything stays known.
    """
    pause, clock = FIRST_PAUSE_SECONDS, asyncio.get_running_loop().time
    while True:
        watching_since = None
        try:
            listing = await client.list(resource, namespace, label_selector=selector)
            on_list(listing)
            watching_since = clock()
            await _watch(client, resource, namespace, selector, listing.resource_version, on_change)
        except ApiError as error:
            if error.status != HTTPStatus.GONE:
                log.warning("Following %s in namespace %s failed: %s", resource.plural, namespace, error)
            if watching_since is None:
                on_failure(error)
            elif clock() - watching_since > LONGEST_PAUSE_SECONDS:
                pause = FIRST_PAUSE_SECONDS
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
        else:
            pause = FIRST_PAUSE_SECONDS


async def _watch(
    client: KubeApi,
    resource: Resource,
    namespace: str,
    selector: str,
    version: str,
    on_change: Callable[[Change], None],
) -> None:
    """Watch until it is time for another list. Raises ApiError."""
    until = asyncio.get_running_loop().time() + RELIST_SECONDS
    while (began := asyncio.get_running_loop().time()) < until:
        async for change in client.watch(resource, namespace, label_selector=selector, version=version):
            version = change.version
            if change.type != "BOOKMARK":
                on_change(change)
        # A server or proxy may end each watch immediately.
        await asyncio.sleep(max(0.0, began + FIRST_PAUSE_SECONDS - asyncio.get_running_loop().time()))
