"""The engines in Pods: what the API server has of them, which KINDCluster each belongs to, and which are orphans."""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from capk.api import names
from capk.api.names import Reason, Resource
from capk.api.objects import Key, KINDCluster
from capk.diagnosis.failures import Failure
from capk.engine.certificates import BadAuthority
from capk.errors import ApiError, CapkError
from capk.kube.protocol import Change, KubeApi, Listing
from capk.kube.watch import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, follow
from capk.manager.enginekeys import EngineKeys
from capk.plan.engineobjects import engine_name
from capk.plan.enginepods import (
    EVENT_SECONDS,
    EnginePodFacts,
    Owned,
    PodFacts,
    claim_facts,
    is_late,
    newest_message,
    pod_facts,
    service_facts,
    shown_of_event,
)
from capk.runtime.store import Store

SELECTOR: Final = f"{names.MANAGED_BY_LABEL}={names.MANAGED_BY},{names.ENGINE_CLUSTER_LABEL}"
KINDS: Final[dict[Resource, Callable[[Any], Owned]]] = {
    names.PODS: pod_facts,
    names.SERVICES: service_facts,
    names.VOLUME_CLAIMS: claim_facts,
}
"""The objects of engines that are watched. Their Secrets are not: no decision depends on one."""

_PREFIX: Final = "pod-"
_NO_ISSUER: Final = ("", 0.0, False)

PodChanged = Callable[[PodFacts | None, PodFacts | None], None]
"""Called with a Pod before and after a change; None where there is none."""

log = logging.getLogger(__name__)


class EnginePods:
    """Follows the objects of all engines in one namespace, from the moment when there may be any.

    changed: called with the key and the uid of the KINDCluster whose engine has changed. listed: called when all
    engines are known, or when their lists begin to fail or are there again. pod_changed: see `PodChanged`.
    """

    def __init__(
        self,
        client: KubeApi,
        keys: EngineKeys,
        *,
        namespace: str,
        changed: Callable[[Key, str], None],
        listed: Callable[[], None],
        pod_changed: PodChanged,
        clock: Callable[[], float],
        now: Callable[[], datetime],
    ) -> None:
        self.namespace = namespace
        self.keys = keys
        self._failures: dict[Resource | None, Failure] = {}
        """Why they cannot be known, by what cannot be listed; None for their certificates."""
        self._client = client
        self._changed = changed
        self._on_listed = listed
        self._pod_changed = pod_changed
        self._clock = clock
        self._now = now
        self._store = Store()
        for resource, facts in KINDS.items():
            self._store.project(resource, facts)
        self._store.linger(names.PODS)
        self._listed: set[Resource] = set()
        self._wanted = asyncio.Event()
        self._events: dict[str, tuple[float, str]] = {}
        """When the Events of the Pod of a KINDCluster, by uid, were last read, and the newest warning."""
        self._issuers: dict[str, tuple[str, float, bool]] = {}
        """By the uid of a KINDCluster: the Pod whose certificate was looked at, when, and whether it is not of ours."""

    @property
    def failure(self) -> Failure | None:
        """Why they cannot be known: the first cause, in an order that stays."""
        return next((self._failures[one] for one in (None, *KINDS) if one in self._failures), None)

    @property
    def are_known(self) -> bool:
        """Whether all engines have been listed."""
        return len(self._listed) == len(KINDS)

    def want(self) -> None:
        """Follow the engines from now on, because there may be some."""
        self._wanted.set()

    def facts(self, uid: str) -> EnginePodFacts | None:
        """Return what is known of the engine of the KINDCluster with that uid; None until all have been listed."""
        return self._found(uid) if self.are_known else None

    def event(self, uid: str) -> str:
        """Return the newest warning of Kubernetes about the Pod of an engine that starts slowly; empty if none."""
        return self._events.get(uid, (0.0, ""))[1]

    async def look_for_event(self, uid: str) -> None:
        """Read why the Pod of an engine starts slowly: some causes are in its Events only.

        Raises ApiError if the API server does not answer.
        """
        pod = self._found(uid).pod
        if pod is None or not is_late(pod, self._now()):
            self._events.pop(uid, None)
            return
        read_at, _ = self._events.get(uid, (float("-inf"), ""))
        if self._clock() - read_at < EVENT_SECONDS:
            return
        try:
            selector = f"involvedObject.uid={pod.uid},type=Warning"
            listing = await self._client.list(
                names.EVENTS, self.namespace, field_selector=selector, keep=shown_of_event
            )
        except ApiError as error:
            if not error.is_refusal:
                raise
            self._events[uid] = self._clock(), ""
        else:
            self._events[uid] = self._clock(), newest_message(listing.items)

    def is_foreign(self, uid: str) -> bool:
        """Return whether another authority has issued the certificate of an engine, as far as that was looked for."""
        pod, (of, _, is_foreign) = self._found(uid).pod, self._issuers.get(uid, _NO_ISSUER)
        return is_foreign and pod is not None and pod.uid == of

    async def look_for_issuer(self, uid: str) -> None:
        """Find out whether an engine that does not answer trusts another authority: its Secret has the issuer.

        A Pod keeps the certificate that it was created with. Raises ApiError if the API server does not answer.
        """
        pod, (of, read_at, is_foreign) = self._found(uid).pod, self._issuers.get(uid, _NO_ISSUER)
        if pod is None or not pod.is_usable:
            return
        if of == pod.uid and (is_foreign or self._clock() - read_at < EVENT_SECONDS):
            return
        is_ours = await self.keys.has_issued(self.namespace, engine_name(uid))
        self._issuers[uid] = pod.uid, self._clock(), is_ours is False

    def class_of(self, uid: str) -> str:
        """Return the KINDEngineClass of the engine of the KINDCluster with that uid; empty if there is none."""
        found = self._found(uid).any
        return found.class_name if found else ""

    def owners(self) -> dict[str, Key]:
        """Return the KINDClusters that engines belong to, by uid, whether or not they exist."""
        found = [facts for resource in KINDS for facts in self._store.values(resource)]
        return {facts.cluster_uid: facts.cluster for facts in found}

    def may_exist(self, place: str) -> bool:
        """Return whether anything of the engine at the place with that key exists, as far as that is known."""
        return not self.are_known or place in map(pod_place_key, self.owners())

    def pods(self) -> list[PodFacts]:
        """Return the Pods of all engines."""
        return self._store.values(names.PODS)

    async def run(self) -> None:
        """Follow the engines until cancelled, once they are wanted."""
        await self._wanted.wait()
        await self._load_keys()
        async with asyncio.TaskGroup() as group:
            for resource in KINDS:
                group.create_task(self._follow(resource), name=f"engines' {resource.plural}")

    def put(self, resource: Resource, obj: Any) -> None:
        """Take in the answer to a write."""
        self._apply(resource, "MODIFIED", obj)

    async def _load_keys(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                await self.keys.load()
            except (CapkError, BadAuthority, OSError) as error:
                log.warning("The certificates of engines in Pods cannot be used: %s", error)
                self._failed(None, f"The certificates of engines in Pods cannot be used: {_cause(error)}.")
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            else:
                self._failures.pop(None, None)
                return

    async def _follow(self, resource: Resource) -> None:
        await follow(
            self._client,
            resource,
            self.namespace,
            SELECTOR,
            on_list=lambda listing: self._on_list(resource, listing),
            on_change=lambda change: self._on_change(resource, change),
            on_failure=lambda error: self._on_failure(resource, error),
        )

    def _on_list(self, resource: Resource, listing: Listing) -> None:
        before = {key: self._store.get(key) for key in self._store.keys(resource)}
        self._store.prune(resource, listing.items, listing.resource_version)
        for obj in listing.items:
            self._store.put(resource, obj)
        were_known = self.are_known
        self._listed.add(resource)
        self._failures.pop(resource, None)
        if self.are_known and not were_known:
            self._on_listed()
        for key in before.keys() | set(self._store.keys(resource)):
            self._announce(before.get(key), self._store.get(key))

    def _on_change(self, resource: Resource, change: Change) -> None:
        self._apply(resource, change.type, change.object)

    def _apply(self, resource: Resource, type_: str, obj: Any) -> None:
        metadata = obj["metadata"]
        key = Key(resource.kind, metadata.get("namespace", ""), metadata["name"])
        before = self._store.get(key)
        if self._store.apply_event(resource, type_, obj):
            self._announce(before, self._store.get(key))

    def _announce(self, before: Owned | None, after: Owned | None) -> None:
        if before == after:
            return
        if before is not None and after is None:
            self._events.pop(before.cluster_uid, None)
            self._issuers.pop(before.cluster_uid, None)
        if isinstance(before or after, PodFacts):
            self._pod_changed(*(one if isinstance(one, PodFacts) else None for one in (before, after)))
        for owned in {one for one in (before, after) if one}:
            self._changed(owned.cluster, owned.cluster_uid)

    def _on_failure(self, resource: Resource, error: ApiError) -> None:
        if not error.is_refusal:
            # The API server is away: what was known last still holds.
            return
        self._listed.discard(resource)
        self._failed(
            resource,
            f"The provider may not follow {resource.plural} in namespace {self.namespace}: {error.message}. Install "
            "the role for engines in Pods there, or name their namespace with --engine-namespace.",
        )

    def _failed(self, resource: Resource | None, message: str) -> None:
        before, self._failures[resource] = self.failure, Failure(Reason.ENGINE_REFUSED, message)
        if self.failure != before:
            self._on_listed()

    def _found(self, uid: str) -> EnginePodFacts:
        name = engine_name(uid)

        def of(resource: Resource) -> Any:
            found = self._store.get(Key(resource.kind, self.namespace, name))
            # The label decides: two uids may begin alike, and anyone with rights there may use the name.
            return found if found is not None and found.cluster_uid == uid else None

        return EnginePodFacts(of(names.PODS), of(names.SERVICES), of(names.VOLUME_CLAIMS))


def pod_place_key(uid: str) -> str:
    """Return the key of the place of the engine in a Pod of the KINDCluster with that uid."""
    return f"{_PREFIX}{uid.lower()}"


def is_pod_place(key: str) -> bool:
    """Return whether a place is that of an engine in a Pod."""
    return key.startswith(_PREFIX)


def may_have_engine(cluster: KINDCluster) -> bool:
    """Return whether a KINDCluster may have an engine in a Pod, whether or not its class still exists."""
    held = cluster.annotations.get(names.BLOCK_MOVE_ANNOTATION) == names.HELD_BY_ENGINE
    return held or cluster.has_pod_engine


def _cause(error: Exception) -> str:
    return error.message if isinstance(error, ApiError) else str(error).rstrip(".")
