"""The objects as they were last seen, by key; the newest version wins, whatever the order of arrival. No I/O here.

Three sources feed it: watch events, which may be old or repeated (K28); the answers to our own writes, which are newer
than any event yet; and a list now and then, the only one that tells of what vanished while nobody watched (K27).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from capk.api.names import Resource
from capk.api.objects import Key

Body = Mapping[str, Any]

_NOBODY: Final = ("", 0)


@dataclass(frozen=True)
class Drift:
    """What a list told that the watches had not."""

    vanished: tuple[Key, ...]
    """Was stored, is not there any more and was dropped; another object of that name may be there, then behind."""
    behind: tuple[Key, ...]
    """Is there in a newer version than the stored one, or was not stored: events of it are late or lost."""


@dataclass(frozen=True)
class _Entry:
    kept: Any
    uid: str
    version: int
    indexed: tuple[tuple[str, str], ...]


class Store:
    """Last seen objects; what it returns must not be changed."""

    def __init__(self) -> None:
        self._entries: dict[str, dict[Key, _Entry]] = {}
        self._projections: dict[str, Callable[[Body], Any]] = {}
        self._indexes: dict[str, Callable[[Body], Iterable[str]]] = {}
        self._indexed: dict[tuple[str, str], dict[Key, None]] = {}
        self._listed_at: dict[str, int] = {}
        # Uid -> version at which it left. A late event or answer from before must not bring it back; a later version is
        # an object that matches the selector of its watch again. Two generations, from list to list: longer than
        # anything stays on its way.
        self._left: dict[str, tuple[dict[str, int], dict[str, int]]] = {}
        self._listeners: dict[str, list[Callable[[Key], None]]] = {}

    def project(self, resource: Resource, projection: Callable[[Body], Any]) -> None:
        """Keep only what `projection` returns of that kind's objects, for instance without a Secret's data."""
        self._projections[resource.kind] = projection

    def index(self, name: str, values: Callable[[Body], Iterable[str]]) -> None:
        """Find objects by values computed from the whole object, before its projection; to be set up first."""
        self._indexes[name] = values

    def listen(self, resource: Resource, listener: Callable[[Key], None]) -> None:
        """Call the listener with the key of each object of that kind that was stored or dropped."""
        self._listeners.setdefault(resource.kind, []).append(listener)

    def apply_event(self, resource: Resource, type: str | None, obj: Body) -> bool:
        """Take in a watch event; return whether it was news.

        type: ADDED, MODIFIED, DELETED, or None for an object of the initial list. DELETED of a watch with a selector
        means no more than that the object does not match any longer.
        """
        return self._delete(resource, obj) if type == "DELETED" else self.put(resource, obj)

    def put(self, resource: Resource, obj: Body) -> bool:
        """Take in an object, unless the stored one is as new (integers since KEP-5504), or it has left since.

        A recreated object has another uid and a higher version: versions count for the whole API server.
        """
        key, uid, version = _identify(resource, obj)
        metadata = obj["metadata"]
        if metadata.get("deletionTimestamp") and not metadata.get("finalizers"):
            # The answer to the removal of the last finalizer: the object is gone, whatever version the answer has.
            return self._delete(resource, obj)
        seen = self._of(resource).get(key)
        if (seen is not None and version <= seen.version) or version <= self._left_at(resource, uid):
            return False
        self._drop(resource, key)
        bare = _without_managed_fields(obj)
        project = self._projections.get(resource.kind)
        pairs = ((name, str(value)) for name, values in self._indexes.items() for value in values(bare))
        entry = _Entry(project(bare) if project else bare, uid, version, tuple(dict.fromkeys(pairs)))
        self._of(resource)[key] = entry
        for pair in entry.indexed:
            self._indexed.setdefault(pair, {})[key] = None
        self._announce(resource, key)
        return True

    def get(self, key: Key) -> Any:
        """Return the object, or its projection, or None."""
        entry = self._entries.get(key.kind, {}).get(key)
        return entry.kept if entry else None

    def keys(self, resource: Resource) -> list[Key]:
        """Return the keys of a kind, longest known first."""
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
        """Compare with a list of the whole kind, or of one namespace, and drop what is not there any more.

        listed: objects of which metadata is enough, read with the same selector as the watch, from storage and not from
        a cache. resource_version: that of the list; what was stored later is newer than the list and stays.
        """
        version = int(resource_version)
        there = {key: (uid, seen) for key, uid, seen in (_identify(resource, obj) for obj in listed)}
        stored = self._of(resource)
        if version < self._listed_at.get(resource.kind, 0):
            # Storage was restored from a backup: all that was seen belongs to a past that did not happen.
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
            # What the list does not have has left by then; nothing older than the list may bring it back.
            self._rotate_left(resource, {stored[key].uid: version for key in vanished})
        self._listed_at[resource.kind] = version
        for key in vanished:
            self._drop(resource, key)
            self._announce(resource, key)
        behind = (key for key, (_, seen) in there.items() if key not in stored or stored[key].version < seen)
        return Drift(vanished, tuple(behind))

    def clear(self, resource: Resource) -> None:
        """Drop all objects of a kind that the API server does not serve any more; they may all come back."""
        for key in self.keys(resource):
            self._drop(resource, key)
            self._announce(resource, key)

    def _delete(self, resource: Resource, obj: Body) -> bool:
        key, uid, version = _identify(resource, obj)
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


def _identify(resource: Resource, obj: Body) -> tuple[Key, str, int]:
    metadata = obj["metadata"]
    key = Key(resource.kind, metadata.get("namespace", ""), metadata["name"])
    return key, metadata.get("uid", ""), int(metadata.get("resourceVersion") or 0)


def _without_managed_fields(obj: Body) -> Body:
    metadata = {field: value for field, value in obj["metadata"].items() if field != "managedFields"}
    return {**obj, "metadata": metadata}
