"""A simulated API server: versions, watches with selectors, finalizers, garbage collection, admission and faults.

`ApiServer` keeps the objects. Users, core and the garbage collector write to it, and their requests never fail.
`ApiClient` is the client of one provider process, with latency, faults, counts and checks.
"""

import asyncio
import json
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, Final, TypeVar

import jsonpatch

from capk.api import names
from capk.api.names import Resource
from capk.errors import ApiError, Conflict, Unreachable
from capk.kube.lease import LEASES
from capk.kube.protocol import Change, Keep, Listing, whole
from test.simulation.clock import context_of, now, timestamp
from test.simulation.objects import Body, copied, error, merged, refusal, selects

Where = tuple[str, str, str]
"""Plural, namespace, name."""

RESOURCES: Final = {
    resource.plural: resource
    for resource in (
        *names.RECONCILED,
        *names.CLUSTER_WIDE,
        names.CLUSTERS,
        names.MACHINES,
        names.SECRETS,
        names.PODS,
        names.SERVICES,
        names.VOLUME_CLAIMS,
        names.EVENTS,
        LEASES,
    )
}
_SPECLESS: Final = frozenset({"secrets", "events", "leases", "namespaces"})
FOLLOWED: Final = frozenset({"pods", "services", "persistentvolumeclaims"})
"""Kinds that the provider watches itself; kopf watches the others for it."""
CLAIM_FINALIZER: Final = "kubernetes.io/pvc-protection"
HISTORY: Final = 300
"""How many changes a watch can still begin before."""
CLIENT_DEADLINE_SECONDS: Final = 30.0
READ_ATTEMPTS: Final = 4

T = TypeVar("T")


@dataclass
class Stored:
    """An object, which may be deleted later."""

    body: Body


@dataclass
class Watch:
    """One stream of events of a kind to one provider.

    latency: delay of an event in seconds; events of one watch keep their order.
    """

    owner: str
    plural: str
    selector: str | None
    deliver: Callable[[str | None, Body], None]
    namespace: str | None = None
    latency: float = 0.01
    last: float = 0.0
    is_open: bool = True

    def matches(self, obj: Mapping[str, Any] | None) -> bool:
        """Return whether the selector of the watch matches the object."""
        if obj is None or self.namespace not in (None, obj["metadata"].get("namespace")):
            return False
        return selects(self.selector, obj["metadata"].get("labels") or {})


@dataclass
class Stream:
    """One watch that the provider holds itself. last: when its newest event is delivered."""

    owner: str
    plural: str
    namespace: str
    selector: str
    cut_off: Callable[[], bool]
    events: "asyncio.Queue[Change | ApiError | None]" = field(default_factory=asyncio.Queue)
    last: float = 0.0

    def put(self, change: Change) -> None:
        """Deliver an event, or break the connection if the provider is cut off."""
        self.events.put_nowait(_broken(self.plural) if self.cut_off() else change)

    def matches(self, obj: Mapping[str, Any] | None) -> bool:
        """Return whether the watch selects an object."""
        if obj is None or obj["metadata"]["namespace"] != self.namespace:
            return False
        return selects(self.selector, obj["metadata"].get("labels") or {})


@dataclass
class Fault:
    """A temporary fault of requests.

    kind: error (rejected, nothing done), lost (done, but the answer is lost), slow, admission (writes are rejected),
    conflict (writes are rejected with a conflict that is not the object's own state).
    share: of the requests. until: virtual time of its end.
    """

    kind: str
    until: float
    share: float = 1.0
    status: int = 503
    message: str = "the server is currently unable to handle the request"
    seconds: float = 0.0
    plural: str | None = None
    verbs: tuple[str, ...] = ()
    rng: Random = field(default_factory=Random)

    def hits(self, verb: str, plural: str) -> bool:
        """Return whether it affects a request."""
        if now() >= self.until or self.plural not in (None, plural) or (self.verbs and verb not in self.verbs):
            return False
        return self.rng.random() < self.share


class ApiServer:
    """The objects of the management cluster.

    rng: for delays. core_version: served version of Cluster API's group; None: not installed.
    edit_secrets: a mutating webhook, which changes each written Secret.
    on_change: called with (plural, before, after) after each change.
    """

    def __init__(self, rng: Random, core_version: str | None = None) -> None:
        self.rng = rng
        self.core_version = core_version
        self.objects: dict[Where, Stored] = {}
        self.watches: list[Watch] = []
        self.faults: list[Fault] = []
        self.edit_secrets: Callable[[Body], None] | None = None
        self.secret_quota: dict[str, int] = {}
        self.quotas: dict[tuple[str, str], int] = {}
        """(Namespace, plural) -> how many objects of that kind it may have."""
        self.closed: dict[str, str] = {}
        """Namespace -> "terminating" or "missing"."""
        self.actor = ""
        """The provider process whose request is carried out now; empty for everyone else."""
        self.streams: list[Stream] = []
        self.no_watch: dict[str, float] = {}
        """Plural -> until when the provider cannot watch it by itself."""
        self.history: deque[tuple[int, str, Body | None, Body | None]] = deque(maxlen=HISTORY)
        self.forgotten = 0
        """Watches from this version or an older one need a list first."""
        self.on_change: list[Callable[[str, Body | None, Body | None], None]] = []
        self.slow_watches: dict[str, tuple[float, float]] = {}
        """Plural -> (delay of its events in seconds, until when)."""
        self.version = 1000
        self._uids = 0
        self.living: set[str] = set()
        self._dependents: dict[str, set[Where]] = defaultdict(set)

    # --- reading

    def find(self, resource: Resource, namespace: str | None, name: str) -> Body | None:
        """Return the stored object, which must not be changed, or None."""
        stored = self.objects.get((resource.plural, namespace or "", name))
        return stored.body if stored else None

    def all(self, resource: Resource) -> list[Body]:
        """Return all objects of a kind, by namespace and name."""
        found = [(where, stored.body) for where, stored in self.objects.items() if where[0] == resource.plural]
        return [body for _, body in sorted(found, key=lambda pair: pair[0])]

    def get(self, verb: str, resource: Resource, namespace: str | None, name: str) -> Stored:
        """Return the stored object; raises NotFound."""
        stored = self.objects.get((resource.plural, namespace or "", name))
        if stored is None:
            raise error(verb, resource, f"{namespace}/{name}", 404, f'{resource.plural} "{name}" not found')
        return stored

    # --- writing

    def create(self, resource: Resource, body: Mapping[str, Any]) -> Body:
        """Create an object; raises ApiErrors as the API server does."""
        obj = {"apiVersion": resource.api_version, "kind": resource.kind, **copied(body)}
        metadata = obj["metadata"] = {"namespace": "", **obj["metadata"]}
        where = (resource.plural, metadata["namespace"], metadata["name"])
        label = f"{where[1]}/{where[2]}"
        if where in self.objects:
            raise error("create", resource, label, 409, f'{resource.plural} "{where[2]}" already exists')
        self._check_namespace(resource, where)
        self._check_quota(resource, where)
        self._uids += 1
        for given in ("resourceVersion", "deletionTimestamp"):
            metadata.pop(given, None)
        metadata |= {"uid": f"uid-{self._uids:04}", "creationTimestamp": timestamp()}
        if resource.plural not in _SPECLESS:
            metadata["generation"] = 1
            obj.pop("status", None)
        elif self.edit_secrets and resource.plural == "secrets":
            self.edit_secrets(obj)
        self._validate("create", resource, label, None, obj)
        if resource.plural == "services":
            obj["spec"] = {**(obj.get("spec") or {}), "clusterIP": f"10.96.{self._uids // 250}.{self._uids % 250 + 1}"}
        if resource.plural == "persistentvolumeclaims":
            metadata["finalizers"] = [CLAIM_FINALIZER]
        stored = Stored({})
        self.living.add(metadata["uid"])
        self._store(where, stored, obj)
        return self.objects[where].body

    def update(
        self,
        verb: str,
        resource: Resource,
        where: Where,
        change: Callable[[Body], Body],
        *,
        subresource: str | None = None,
    ) -> Body:
        """Change an object by a function of it; only the status, or all but the status; raises ApiErrors."""
        label = f"{where[1]}/{where[2]}"
        stored = self.get(verb, resource, where[1], where[2])
        before = stored.body
        wanted = change(copied(before))
        self._check_preconditions(verb, resource, label, before, wanted)
        after = self._part(resource, before, wanted, subresource)
        if resource.plural == "secrets" and self.edit_secrets and after != before:
            self.edit_secrets(after)
        if after == before:
            return before
        self._validate(verb, resource, label, before, after)
        if resource.plural not in _SPECLESS and after.get("spec") != before.get("spec"):
            after["metadata"]["generation"] = before["metadata"]["generation"] + 1
        is_free = not after["metadata"].get("finalizers") and resource.plural != "pods"
        if after["metadata"].get("deletionTimestamp") and is_free:
            self._remove(where, after)
            return after
        self._store(where, stored, after)
        return self.objects[where].body

    def delete(self, resource: Resource, namespace: str, name: str, *, uid: str | None = None) -> None:
        """Delete an object, or mark it for deletion if it has finalizers."""
        where = (resource.plural, namespace, name)
        stored = self.get("delete", resource, namespace, name)
        metadata = stored.body["metadata"]
        if uid not in (None, metadata["uid"]):
            raise Conflict(
                "delete", f"{resource.plural} {namespace}/{name}", 409, "the UID in the precondition differs"
            )
        if not (metadata.get("finalizers") or self._has_kubelet(resource, stored.body)):
            self._remove(where, stored.body)
        elif not metadata.get("deletionTimestamp"):
            marks: Body = {"deletionTimestamp": timestamp()}
            if self._has_kubelet(resource, stored.body):
                marks["deletionGracePeriodSeconds"] = stored.body["spec"].get("terminationGracePeriodSeconds", 30)
            self._store(where, stored, merged(stored.body, {"metadata": marks}))

    def remove(self, resource: Resource, namespace: str, name: str) -> None:
        """Remove an object immediately, as a kubelet does at the end of a Pod, or `kubectl delete --force`."""
        where = (resource.plural, namespace, name)
        self._remove(where, self.get("delete", resource, namespace, name).body)

    def _has_kubelet(self, resource: Resource, body: Body) -> bool:
        """Return whether a kubelet has to end a Pod first."""
        return resource.plural == "pods" and bool(body["spec"].get("nodeName"))

    def edit(self, resource: Resource, namespace: str, name: str, patch: Mapping[str, Any]) -> Body | None:
        """Apply a user's `kubectl patch`; returns None if the server rejects it or the object is gone."""
        try:
            return self.update("patch", resource, (resource.plural, namespace, name), lambda seen: merged(seen, patch))
        except ApiError:
            return None

    def _check_preconditions(
        self, verb: str, resource: Resource, label: str, before: Body, wanted: Mapping[str, Any]
    ) -> None:
        for guard in ("resourceVersion", "uid"):
            if wanted["metadata"].get(guard) != before["metadata"][guard]:
                raise Conflict(verb, f"{resource.plural} {label}", 409, f"the object has been modified ({guard})")

    def _part(self, resource: Resource, before: Body, wanted: Body, subresource: str | None) -> Body:
        if subresource == "status":
            part = {**before, "status": wanted.get("status")}
            return copied({key: value for key, value in part.items() if value is not None})
        if resource.plural in _SPECLESS:
            return wanted
        wanted.pop("status", None)
        return {**wanted, "status": copied(before["status"])} if "status" in before else wanted

    def _check_namespace(self, resource: Resource, where: Where) -> None:
        label, state = f"{where[1]}/{where[2]}", self.closed.get(where[1])
        if state == "missing":
            raise error("create", resource, label, 404, f'namespaces "{where[1]}" not found')
        if state and resource.plural != "events":
            message = f"unable to create new content in namespace {where[1]} because it is being terminated"
            raise error("create", resource, label, 403, f'{resource.plural} "{where[2]}" is forbidden: {message}')

    def _check_quota(self, resource: Resource, where: Where) -> None:
        most = self.quotas.get((where[1], resource.plural))
        used = sum(other[:2] == (resource.plural, where[1]) for other in self.objects) if most is not None else 0
        if most is not None and used >= most:
            message = (
                f'{resource.plural} "{where[2]}" is forbidden: exceeded quota: engines, requested: '
                f"{resource.plural}=1, used: {resource.plural}={used}, limited: {resource.plural}={most}"
            )
            raise error("create", resource, f"{where[1]}/{where[2]}", 403, message)
        limit = self.secret_quota.get(where[1])
        if resource.plural != "secrets" or limit is None:
            return
        if sum(other[:2] == where[:2] for other in self.objects) >= limit:
            message = f'secrets "{where[2]}" is forbidden: exceeded quota: secrets, limited: secrets={limit}'
            raise error("create", resource, f"{where[1]}/{where[2]}", 403, message)

    def _validate(self, verb: str, resource: Resource, label: str, before: Body | None, after: Body) -> None:
        if refused := refusal(resource, before, after):
            raise error(verb, resource, label, *refused)

    def _store(self, where: Where, stored: Stored, body: Body) -> None:
        before = stored.body or None
        self.version += 1
        body = {**body, "metadata": {**body["metadata"], "resourceVersion": str(self.version)}}
        stored.body = body
        self.objects[where] = stored
        for reference in body["metadata"].get("ownerReferences") or ():
            self._dependents[reference["uid"]].add(where)
            if reference["uid"] not in self.living:
                self._collect_later(where)
        self._changed(where[0], before, body)

    def _remove(self, where: Where, body: Body) -> None:
        before = self.objects.pop(where).body
        self.living.discard(before["metadata"]["uid"])
        self.version += 1
        self._changed(where[0], before, None)
        for dependent in sorted(self._dependents.pop(before["metadata"]["uid"], ())):
            self._collect_later(dependent)

    def _collect_later(self, where: Where) -> None:
        delay = self.rng.uniform(0.2, 4)
        asyncio.get_running_loop().call_later(delay, self._collect, where, context=context_of(""))

    def _collect(self, where: Where) -> None:
        """The garbage collector: deletes an object after its last owner, and drops references to deleted owners."""
        stored = self.objects.get(where)
        if stored is None:
            return
        references = stored.body["metadata"].get("ownerReferences") or []
        solid = [reference for reference in references if reference["uid"] in self.living]
        if solid == references:
            return
        resource = RESOURCES[where[0]]
        if not solid:
            self.delete(resource, where[1], where[2])
        else:
            self.edit(resource, where[1], where[2], {"metadata": {"ownerReferences": solid}})

    # --- watching

    def watch(self, watch: Watch) -> None:
        """Begin a watch: list existing objects, then send every change."""
        self.watches.append(watch)
        for obj in self.all(RESOURCES[watch.plural]):
            if watch.matches(obj):
                self._send(watch, None, obj)

    @property
    def is_behind(self) -> bool:
        """Return whether a watcher has not received a change that is more than a moment old."""
        return any(watch.last > now() + 1 for watch in (*self.watches, *self.streams))

    def drop_watches(self, *, seconds: float, plural: str | None = None) -> None:
        """Break streams: changes meanwhile are never sent; afterwards the watcher lists again (410)."""
        loop = asyncio.get_running_loop()
        for watch in self.watches:
            if watch.is_open and plural in (None, watch.plural):
                watch.is_open = False
                loop.call_later(seconds, self._reopen, watch, context=context_of(""))
        for followed in sorted(FOLLOWED) if plural is None else [plural]:
            self.no_watch[followed] = now() + seconds
        for stream in self.streams:
            if plural in (None, stream.plural):
                # Some servers end a watch in order, others break the connection.
                stream.events.put_nowait(self.rng.choice((None, _broken(stream.plural))))
        self.streams = [stream for stream in self.streams if plural not in (None, stream.plural)]
        if seconds > 5:
            self.forgotten = self.version

    def unwatch(self, owner: str) -> None:
        """Remove the watches of a provider that has ended."""
        self.watches = [watch for watch in self.watches if watch.owner != owner]
        self.streams = [stream for stream in self.streams if stream.owner != owner]

    def follow(self, stream: Stream, version: int) -> None:
        """Begin a watch of the provider itself from a version on; raises ApiError, with 410 if that is too old."""
        resource = RESOURCES[stream.plural]
        if self.no_watch.get(stream.plural, 0.0) > now():
            raise _broken(stream.plural)
        if version < self.forgotten or (len(self.history) == HISTORY and version < self.history[0][0] - 1):
            raise error("watch", resource, stream.namespace, 410, f"too old resource version: {version}")
        for number, plural, before, after in list(self.history):
            if number > version and plural == stream.plural:
                self._stream(stream, number, before, after)
        self.streams.append(stream)

    def _stream(self, stream: Stream, number: int, before: Body | None, after: Body | None) -> None:
        was, is_now = stream.matches(before), stream.matches(after)
        if not (was or is_now):
            return
        kind = "DELETED" if not is_now else "MODIFIED" if was else "ADDED"
        body = copied(after if is_now else before)
        body["metadata"]["resourceVersion"] = str(number)
        seconds, until = self.slow_watches.get(stream.plural, (0.0, 0.0))
        stream.last = max(now() + (seconds if now() < until else 0.01), stream.last)
        loop = asyncio.get_running_loop()
        loop.call_at(stream.last, stream.put, Change(kind, body), context=context_of(""))

    def _reopen(self, watch: Watch) -> None:
        if watch not in self.watches:
            return
        watch.is_open = True
        for obj in self.all(RESOURCES[watch.plural]):
            if watch.matches(obj):
                self._send(watch, None, obj)

    def _changed(self, plural: str, before: Body | None, after: Body | None) -> None:
        for watch in self.watches:
            if watch.plural != plural or not watch.is_open:
                continue
            was, matches = watch.matches(before), watch.matches(after)
            if matches and after:
                self._send(watch, "MODIFIED" if was else "ADDED", after)
            elif was and before:
                # Like the watch cache: the last state that matched, with the version of the change.
                metadata = {**before["metadata"], "resourceVersion": str(self.version)}
                self._send(watch, "DELETED", {**before, "metadata": metadata})
        if plural in FOLLOWED:
            self.history.append((self.version, plural, before, after))
            for stream in self.streams:
                if stream.plural == plural:
                    self._stream(stream, self.version, before, after)
        for listener in self.on_change:
            listener(plural, before, after)

    def _send(self, watch: Watch, type: str | None, obj: Body) -> None:
        seconds, until = self.slow_watches.get(watch.plural, (0.0, 0.0))
        latency = seconds if now() < until else watch.latency
        watch.last = max(now() + latency, watch.last)
        asyncio.get_running_loop().call_at(watch.last, self._deliver, watch, type, obj, context=context_of(""))

    def _deliver(self, watch: Watch, type: str | None, obj: Body) -> None:
        if watch.is_open and watch in self.watches:
            watch.deliver(type, copied(obj))


class ApiClient:
    """The API server for one provider process: `capk.kube.protocol.KubeApi` and further calls of the application.

    on_request: called with (verb, plural, where, whether it is a write) before each request.
    on_write: called with (plural, text) of every document that is sent, for the search for secrets.
    on_changed: called with (verb, plural, where) after a write that has changed something.
    """

    server = "https://management.example:6443"

    def __init__(
        self,
        server: ApiServer,
        rng: Random,
        *,
        on_request: Callable[[str, str, str, bool], None],
        on_write: Callable[[str, str], None],
        on_changed: Callable[[str, str, str], None] = lambda verb, plural, where: None,
        owner: str = "provider",
    ) -> None:
        self._api = server
        self._owner = owner
        self._rng = rng
        self._on_request = on_request
        self._on_write = on_write
        self._on_changed = on_changed
        self.is_cut_off = False

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Body:
        """Return one object."""
        return await self._read(lambda: self._get(resource, namespace, name))

    async def list(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        label_selector: str | None = None,
        field_selector: str | None = None,
        keep: Keep = whole,
    ) -> Listing:
        """Return the objects of a kind at one version."""
        listing = await self._read(lambda: self._list(resource, namespace, label_selector, field_selector))
        return replace(listing, items=[keep(obj) for obj in listing.items])

    async def serves(self, group: str) -> str | None:
        """Return the preferred version of a group."""
        return await self._read(lambda: self._serves(group))

    async def _read(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Repeat a read without an answer, as the real client does."""
        for attempt in range(READ_ATTEMPTS - 1):
            with suppress(Unreachable):
                return await ask()
            await asyncio.sleep(self._rng.uniform(0, 0.25 * 2**attempt))
        return await ask()

    async def _get(self, resource: Resource, namespace: str | None, name: str) -> Body:
        async with _Request(self, "get", resource, f"{namespace}/{name}"):
            return self._seen(resource, self._api.get("get", resource, namespace, name).body)

    async def watch(
        self, resource: Resource, namespace: str, *, label_selector: str, version: str
    ) -> AsyncIterator[Change]:
        """Yield the changes after a version until the watch ends."""
        owner = self._owner
        stream = Stream(owner, resource.plural, namespace, label_selector, lambda: self.is_cut_off)
        async with _Request(self, "watch", resource, namespace):
            self._api.follow(stream, int(version))
        try:
            while (event := await stream.events.get()) is not None:
                if isinstance(event, ApiError):
                    raise event
                yield event
        finally:
            self._api.streams = [one for one in self._api.streams if one is not stream]

    async def _list(
        self, resource: Resource, namespace: str | None, label_selector: str | None, field_selector: str | None = None
    ) -> Listing:
        async with _Request(self, "list", resource, namespace or ""):
            if resource.group == names.CORE_GROUP and self._api.core_version is None:
                raise error("list", resource, "", 404, "the server could not find the requested resource")
            items = [
                self._seen(resource, obj)
                for obj in self._api.all(resource)
                if namespace in (None, obj["metadata"]["namespace"])
                and selects(label_selector, obj["metadata"].get("labels") or {})
                and selects(field_selector, _fields(obj))
            ]
            version = str(self._api.version)
        return Listing(items, version)

    async def create(self, resource: Resource, obj: Mapping[str, Any]) -> Body:
        """Create an object."""
        metadata = obj["metadata"]
        async with _Request(self, "create", resource, f"{metadata.get('namespace')}/{metadata['name']}", obj):
            return self._seen(resource, self._as_own(self._api.create, resource, obj))

    async def patch(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        operations: Sequence[Mapping[str, Any]],
        *,
        subresource: str | None = None,
    ) -> Body:
        """Change an object, or its status."""
        patch = copied(operations)
        where = (resource.plural, namespace or "", name)

        def change(seen: Body) -> Body:
            try:
                return dict(jsonpatch.apply_patch(seen, patch))
            except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException) as misfit:
                raise Conflict("patch", f"{resource.plural} {namespace}/{name}", 422, str(misfit)) from misfit

        async with _Request(self, "patch", resource, f"{namespace}/{name}", operations):
            updated = self._as_own(self._api.update, "patch", resource, where, change, subresource=subresource)
            return self._seen(resource, updated)

    async def delete(self, resource: Resource, namespace: str | None, name: str, *, uid: str | None = None) -> None:
        """Request the deletion of an object."""
        async with _Request(self, "delete", resource, f"{namespace}/{name}", {}):
            self._as_own(self._api.delete, resource, namespace or "", name, uid=uid)

    def _as_own(self, write: Callable[..., T], *arguments: Any, **options: Any) -> T:
        """Write in the name of this process."""
        self._api.actor = self._owner
        try:
            return write(*arguments, **options)
        finally:
            self._api.actor = ""

    async def _serves(self, group: str) -> str | None:
        async with _Request(self, "get", Resource(group, "", "apigroups", "APIGroup"), group):
            return self._api.core_version if group == names.CORE_GROUP else names.VERSION

    async def may_list(self, resource: Resource) -> bool:
        """Return whether all objects of a kind may be listed: always."""
        return True

    async def session(self, *, renew: bool = False) -> Any:
        """Not supported: no watch here uses HTTP."""
        raise RuntimeError("events are delivered directly")

    async def close(self) -> None:
        """Nothing is open."""

    def _seen(self, resource: Resource, body: Body) -> Body:
        obj: Body = copied(body)
        if resource.group == names.CORE_GROUP:
            obj["apiVersion"] = resource.api_version
        return obj


def _broken(plural: str) -> ApiError:
    return error("watch", RESOURCES[plural], "", 0, "the connection was reset")


def _fields(obj: Mapping[str, Any]) -> dict[str, str]:
    """Return what a field selector of Events can select."""
    return {"involvedObject.uid": (obj.get("involvedObject") or {}).get("uid", ""), "type": str(obj.get("type", ""))}


class _Request:
    """One request on its way: latency and faults before and after what the server does."""

    def __init__(self, client: ApiClient, verb: str, resource: Resource, where: str, body: Any = None) -> None:
        self._client = client
        self._verb = verb
        self._resource = resource
        self._where = where
        self._body = body
        self._loses_answer = False
        self._version = 0

    async def __aenter__(self) -> None:
        client, verb, plural = self._client, self._verb, self._resource.plural
        client._on_request(verb, plural, self._where, self._body is not None)
        if self._body is not None:
            client._on_write(plural, json.dumps(self._body))
        latency = client._rng.uniform(0.001, 0.012)
        for fault in client._api.faults:
            is_of_writes = fault.kind in ("admission", "conflict")
            if not fault.hits(verb, plural) or (is_of_writes and self._body is None):
                continue
            if fault.kind == "slow":
                latency += fault.seconds
            elif fault.kind == "lost":
                self._loses_answer = self._body is not None
            else:
                await asyncio.sleep(latency)
                raise self._error(fault.status, fault.message)
        if client.is_cut_off:
            latency = 2 * CLIENT_DEADLINE_SECONDS
        await asyncio.sleep(min(latency, CLIENT_DEADLINE_SECONDS))
        if latency > CLIENT_DEADLINE_SECONDS:
            raise self._error(0, "the API server did not answer in time")
        self._version = client._api.version

    async def __aexit__(self, kind: object, problem: object, traceback: object) -> None:
        if self._client._api.version != self._version:
            self._client._on_changed(self._verb, self._resource.plural, self._where)
        if kind is None and self._loses_answer:
            await asyncio.sleep(0.5)
            raise self._error(0, "the API server cannot be reached: connection reset by peer")

    def _error(self, status: int, message: str) -> ApiError:
        return error(self._verb, self._resource, self._where, status, message)
