"""The latest known objects by key. The newest version wins in any order of arrival. No I/O.

Three sources feed it: watch events, which may be old or repeated (K28); the answers to our own writes, which are newer
than any event so far; and periodic lists, which alone reveal objects that vanished while no watch ran (K27).
"""

import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from capk.api.names import Resource
from capk.api.objects import Key

Body = Mapping[str, Any]

_NOBODY: Final = ("", 0)


@dataclass(frozen=True)
class Drift:
    """Differences between a list and the store: changes that the watches had not delivered."""

    vanished: tuple[Key, ...]
    """Dropped, because the list does not have them. If another object has the name, its key is in `behind` too."""
    behind: tuple[Key, ...]
    """Listed in a newer version than the stored one, or not stored: their events are late or lost."""
    is_restored: bool = False
    """Whether storage was restored from a backup, so that nothing stays stored."""


@dataclass(frozen=True)
class _Entry:
    kept: Any
    uid: str
    version: int
    indexed: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Reduced:
    """What the store would keep of an object; see `Store.reduced`."""

    key: Key
    entry: _Entry
    has_left: bool


class Store:
    """The latest known objects. Callers must not change what it returns."""

    def __init__(self) -> None:
        self._entries: dict[str, dict[Key, _Entry]] = {}
        self._projections: dict[str, Callable[[Body], Any]] = {}
        self._indexes: dict[str, Callable[[Body], Iterable[str]]] = {}
        self._indexed: dict[tuple[str, str], dict[Key, None]] = {}
        self._listed_at: dict[str, int] = {}
        # Uid -> version at which it left. An older event or answer that arrives late must not bring it back; a later
        # version is an object that matches the selector of its watch again. Two generations, from list to list, last
        # longer than any event or answer is in transit.
        self._left: dict[str, tuple[dict[str, int], dict[str, int]]] = {}
        self._listeners: dict[str, list[Callable[[Key], None]]] = {}
        self._lingering: set[str] = set()

    def project(self, resource: Resource, projection: Callable[[Body], Any]) -> None:
        """Keep only what `projection` returns for objects of that kind, for example a Secret without its data."""
        self._projections[resource.kind] = projection

    def linger(self, resource: Resource) -> None:
        """Keep objects of that kind until an event or a list shows that they are gone.

        A Pod without a finalizer stays until its kubelet has ended it. The API server reports that its time is over
        some milliseconds before it reports the deletion. Until then, the Pod can still be read.
        """
        self._lingering.add(resource.kind)

    def index(self, name: str, values: Callable[[Body], Iterable[str]]) -> None:
        """Index objects by values computed from the whole object, before its projection. Call it before any `put`."""
        self._indexes[name] = values

    def listen(self, resource: Resource, listener: Callable[[Key], None]) -> None:
        """Call the listener with the key of each object of that kind after it was stored or dropped."""
        self._listeners.setdefault(resource.kind, []).append(listener)

    def apply_event(self, resource: Resource, type: str | None, obj: Body) -> bool:
        """Apply a watch event; return whether it changed the store.

        type: ADDED, MODIFIED, DELETED, or None for an object of the initial list. DELETED from a watch with a selector
        only means that the object no longer matches.
        """
        return self._delete(resource, *_identify(resource, obj)) if type == "DELETED" else self.put(resource, obj)

    def put(self, resource: Resource, obj: Body) -> bool:
        """Store an object, unless the stored one is as new (integers since KEP-5504), or the object has left since.

        A recreated object has another uid and a higher version, because versions count for the whole API server.
        """
        key, uid, version = _identify(resource, obj)
        if self._has_left(resource, obj):
            # The answer to the removal of the last finalizer: the object is gone, whatever version the answer has.
            return self._delete(resource, key, uid, version)
        return self._is_newer(resource, key, uid, version) and self.take(resource, self.reduced(resource, obj))

    def reduced(self, resource: Resource, obj: Body) -> Reduced:
        """Return an object as `put` would keep it: a list may hold hundreds of large ones that are not stored yet."""
        key, uid, version = _identify(resource, obj)
        bare = _without_managed_fields(obj)
        project = self._projections.get(resource.kind)
        pairs = ((name, str(value)) for name, values in self._indexes.items() for value in values(bare))
        kept = _compact(project(bare) if project else bare)
        entry = _Entry(kept, uid, version, tuple(dict.fromkeys(pairs)))
        return Reduced(key, entry, self._has_left(resource, obj))

    def take(self, resource: Resource, one: Reduced) -> bool:
        """Do what `put` does."""
        key, entry = one.key, one.entry
        if one.has_left:
            return self._delete(resource, key, entry.uid, entry.version)
        if not self._is_newer(resource, key, entry.uid, entry.version):
            return False
        self._drop(resource, key)
        self._of(resource)[key] = entry
        for pair in entry.indexed:
            self._indexed.setdefault(pair, {})[key] = None
        self._announce(resource, key)
        return True

    def get(self, key: Key) -> Any:
        """Return the object, or its projection, or None."""
        entry = self._entries.get(key.kind, {}).get(key)
        return entry.kept if entry else None

    def has(self, resource: Resource, obj: Body) -> bool:
        """Return whether that version of the object, or a newer one, is stored."""
        key, uid, version = _identify(resource, obj)
        seen = self._of(resource).get(key)
        return seen is not None and seen.uid == uid and seen.version >= version

    def keys(self, resource: Resource) -> list[Key]:
        """Return the keys of a kind, in the order in which they were first stored."""
        return list(self._of(resource))

    def values(self, resource: Resource) -> list[Any]:
        """Return the objects of a kind, or their projections."""
        return [entry.kept for entry in self._of(resource).values()]

    def find(self, index: str, value: str, resource: Resource | None = None) -> list[Key]:
        """Return the keys of the objects, of all kinds or one, for which the index has that value."""
        keys = self._indexed.get((index, value), {})
        return [key for key in keys if resource is None or key.kind == resource.kind]

    def prune(
        self, resource: Resource, listed: Iterable[Body], resource_version: str, *, namespace: str | None = None
    ) -> Drift:
        """Compare with a list of the whole kind, or of one namespace, and drop objects that it does not have.

        listed: objects, at least their metadata, read with the selector of the watch, from storage and not from a
        cache. resource_version: that of the list. Objects that were stored later are newer than the list and stay.
        """
        version = int(resource_version)
        there = {key: (uid, seen) for key, uid, seen in (_identify(resource, obj) for obj in listed)}
        stored = self._of(resource)
        is_restored = version < self._listed_at.get(resource.kind, 0)
        if is_restored:
            # Storage was restored from a backup, so none of the stored objects is valid.
            vanished = tuple(stored)
            self._left.pop(resource.kind, None)
        else:
            vanished = tuple(
                key
                for key, entry in stored.items()
                if namespace in (None, key.namespace)
                and entry.version <= version
                and there.get(key, _NOBODY)[0] != entry.uid
            )
            # Objects that the list does not have had left by then; nothing older than the list may bring them back.
            self._rotate_left(resource, {stored[key].uid: version for key in vanished})
        self._listed_at[resource.kind] = version
        for key in vanished:
            self._drop(resource, key)
            self._announce(resource, key)
        behind = (key for key, (_, seen) in there.items() if key not in stored or stored[key].version < seen)
        return Drift(vanished, tuple(behind), is_restored)

    def clear(self, resource: Resource) -> None:
        """Drop all objects of a kind that the API server no longer serves; any of them may come back."""
        for key in self.keys(resource):
            self._drop(resource, key)
            self._announce(resource, key)

    def _has_left(self, resource: Resource, obj: Body) -> bool:
        return _has_left(obj["metadata"]) and resource.kind not in self._lingering

    def _is_newer(self, resource: Resource, key: Key, uid: str, version: int) -> bool:
        """Return whether an object is newer than what is stored under its name, and has not left since."""
        seen = self._of(resource).get(key)
        return (seen is None or version > seen.version) and version > self._left_at(resource, uid)

    def _delete(self, resource: Resource, key: Key, uid: str, version: int) -> bool:
        seen = self._of(resource).get(key)
        latest = self._left.setdefault(resource.kind, ({}, {}))[1]
        latest[uid] = max(version, latest.get(uid, 0))
        if seen is None or version < seen.version:
            return False
        self._drop(resource, key)
        self._announce(resource, key)
        return True

    def _drop(self, resource: Resource, key: Key) -> None:
        entry = self._of(resource).pop(key, None)
        for pair in entry.indexed if entry else ():
            self._indexed[pair].pop(key, None)
            if not self._indexed[pair]:
                del self._indexed[pair]

    def _announce(self, resource: Resource, key: Key) -> None:
        for listener in self._listeners.get(resource.kind, ()):
            listener(key)

    def _of(self, resource: Resource) -> dict[Key, _Entry]:
        return self._entries.setdefault(resource.kind, {})

    def _left_at(self, resource: Resource, uid: str) -> int:
        return max((generation.get(uid, 0) for generation in self._left.get(resource.kind, ())), default=0)

    def _rotate_left(self, resource: Resource, left: dict[str, int]) -> None:
        _, newer = self._left.get(resource.kind, ({}, {}))
        self._left[resource.kind] = (newer, left)


def _has_left(metadata: Mapping[str, Any]) -> bool:
    """Return whether an object was deleted, and no finalizer keeps it."""
    return bool(metadata.get("deletionTimestamp")) and not metadata.get("finalizers")


def _identify(resource: Resource, obj: Body) -> tuple[Key, str, int]:
    metadata = obj["metadata"]
    key = Key(resource.kind, metadata.get("namespace", ""), metadata["name"])
    return key, metadata.get("uid", ""), int(metadata.get("resourceVersion") or 0)


def _without_managed_fields(obj: Body) -> Body:
    metadata = {field: value for field, value in obj["metadata"].items() if field != "managedFields"}
    return {**obj, "metadata": metadata}


def _compact(value: Any) -> Any:
    """Return a copy in which equal strings are one object, because names of fields, reasons and times recur.

    It takes half the memory. It also leaves nothing of the response that the value was a part of: small remains of a
    large response would keep all its memory in this process.
    """
    # Strings of a subclass cannot be interned. JSON has none.
    if type(value) is str:
        return sys.intern(value)
    if isinstance(value, dict):
        return {_compact(name): _compact(one) for name, one in value.items()}
    return [_compact(one) for one in value] if isinstance(value, list) else value
