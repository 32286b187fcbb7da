"""Which claims are valid, among those of all KINDClusters in the store."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Final

from capk.api.objects import Key, KINDCluster
from capk.plan.claims import Claim, InheritanceRank, claim_of, inheritance_rank
from capk.runtime.store import Store

_NOTHING: Final[frozenset[Key]] = frozenset()


class ClaimIndex:
    """The claims of KINDClusters. Of several objects with the claim of another one, it is valid for the first only.

    Anyone can give the same annotations to hundreds of objects. So an event of one of them costs a comparison with
    each of the others at most, and never a comparison of all with all.
    """

    def __init__(self, store: Store) -> None:
        self.alive: set[str] = set()
        """The uids of all KINDClusters."""
        self._store = store
        self._uids: dict[Key, str] = {}
        self._own: dict[Key, Claim] = {}
        self._ids: dict[Key, str] = {}
        """Key -> the id in its claim, if that is another object's, whether or not the claim is valid."""
        self._with_id: dict[str, set[Key]] = defaultdict(set)
        self._inherited: dict[Key, Claim] = {}
        """Key -> the claim of another object that is valid for it unless another one comes first."""
        self._ranks: dict[Key, InheritanceRank] = {}
        self._carriers: dict[Claim, set[Key]] = defaultdict(set)
        self._heirs: dict[Claim, Key] = {}
        """Claim of another object -> the only one for which it is valid."""

    def of(self, key: Key) -> Claim | None:
        """Return the valid claim of an object."""
        inherited = self._inherited.get(key)
        return inherited if inherited and self._heirs.get(inherited) == key else self._own.get(key)

    def with_ids(self, ids: Iterable[str]) -> set[Key]:
        """Return the objects that hold a claim of another object with one of these ids, valid or not."""
        return {key for one in ids for key in self._with_id.get(one, _NOTHING)}

    def is_copy(self, key: Key) -> bool:
        """Return whether an object holds the claim of another existing one."""
        return self._ids.get(key) in self.alive

    def update(self, key: Key) -> set[Key]:
        """Read an object again, which the store has changed or removed; return the objects whose claims may differ."""
        raw = self._store.get(key)
        before, now = self._uids.pop(key, None), KINDCluster(raw).uid if raw else None
        if now:
            self._uids[key] = now
            self.alive.add(now)
        if before and before != now:
            self.alive.discard(before)
        changed = {key, *self._read(key)}
        # Claims with a uid that has come or gone become invalid or valid.
        uids = [uid for uid in (before, now) if uid and before != now]
        for other in [other for uid in uids for other in self._with_id.get(uid, _NOTHING)]:
            changed |= {other, *self._read(other)}
        return changed

    def _read(self, key: Key) -> set[Key]:
        """Read the claim of an object again; return the objects that get or lose the claims that it had or has."""
        former = self._forget(key)
        raw = self._store.get(key)
        if raw is None:
            return self._elect(former)
        cluster = KINDCluster(raw)
        if cluster.claim_id != cluster.uid:
            self._ids[key] = cluster.claim_id
            self._with_id[cluster.claim_id].add(key)
        claim = claim_of(cluster, self.alive.__contains__)
        if claim is not None and claim.uid == cluster.uid:
            self._own[key], claim = claim, None
        if claim is not None:
            self._inherited[key], self._ranks[key] = claim, inheritance_rank(cluster)
            self._carriers[claim].add(key)
        return self._elect(former) | self._elect(claim)

    def _forget(self, key: Key) -> Claim | None:
        """Forget the claim of an object; return it if it was another object's."""
        self._own.pop(key, None)
        self._ranks.pop(key, None)
        if (uid := self._ids.pop(key, None)) is not None:
            self._with_id[uid].discard(key)
            if not self._with_id[uid]:
                del self._with_id[uid]
        if (claim := self._inherited.pop(key, None)) is not None:
            self._carriers[claim].discard(key)
        return claim

    def _elect(self, claim: Claim | None) -> set[Key]:
        """Choose the object for which a claim is valid; return those for which that changes."""
        if claim is None:
            return set()
        before = self._heirs.pop(claim, None)
        if not self._carriers[claim]:
            del self._carriers[claim]
            return {before} if before else set()
        heir = self._heirs[claim] = min(self._carriers[claim], key=self._ranks.__getitem__)
        return {heir, *([before] if before else [])} if heir != before else set()
