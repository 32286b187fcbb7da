"""Which writes wait, and for how long: those that the API server refuses, and those that others undo each time."""

from collections.abc import Callable
from typing import Final

from capk.manager.record import FORGET_SECONDS, Failing, Record, Refusal, Writes
from capk.plan.parts import SECRET
from capk.plan.policy import Policy, retry_delay

FREE_WRITES: Final = 10
"""Number of writes of a Secret without a pause: users edit it, and each edit is reverted immediately."""
FREE_REPLIES: Final = 12
"""Number of writes of an object without a pause that each follow a write by someone else: users edit it, and Cluster
API's core sets references and labels."""
CHANGED_WRITE: Final = 5
"""Weight of a write that the API server stored differently: the next one will be stored differently too."""
FAILURES_IN_A_ROW: Final = 4
LASTING_SECONDS: Final = 30.0
"""A write or a reconcile that failed so often and for so long is worth a word. Most causes are over with the next try:
another writer was just quicker, for example."""


class WriteBackoff:
    """The back-off of writes, part by part of the plans; it is kept in the records of the objects.

    find: returns the record of a uid.
    """

    def __init__(self, find: Callable[[str], Record | None], policy: Policy, clock: Callable[[], float]) -> None:
        self._find = find
        self._policy = policy
        self._clock = clock

    def refused(self, record: Record, part: str, words: str) -> None:
        """Record that the API server refuses to store a part of a plan."""
        before = record.refusals.get(part)
        attempts = before.attempts + 1 if before else 1
        record.refusals[part] = Refusal(words, attempts, self._clock() + retry_delay(attempts, self._policy))

    def failed_again(self, record: Record, part: str) -> bool:
        """Record that a write failed for a cause that mostly passes, such as a conflict; return whether it lasts.

        If it lasts for one part of the object, the others need not find that out one after the other.
        """
        now, before = self._clock(), record.failing.get(part)
        if before is None or now - before.latest > FORGET_SECONDS + 2 * self._policy.retry_limit_seconds:
            before = Failing(0, now, now)
        record.failing[part] = Failing(before.times + 1, before.since, now)
        return any(
            one.times >= FAILURES_IN_A_ROW and one.latest - one.since >= LASTING_SECONDS
            for one in record.failing.values()
        )

    def accepted(self, record: Record, part: str) -> bool:
        """Record that the API server has stored a part; return whether it had been refused."""
        record.failing.pop(part, None)
        return record.refusals.pop(part, None) is not None

    def refusals(self, record: Record) -> dict[str, str]:
        """Return the parts that were refused and not accepted since, with the server's messages."""
        return {part: refusal.words for part, refusal in record.refusals.items()}

    def held_back(self, record: Record) -> frozenset[str]:
        """Return the refused parts whose back-off has not ended."""
        return frozenset(part for part, refusal in record.refusals.items() if refusal.until > self._clock())

    def next_try(self, record: Record) -> float | None:
        """Return the seconds until a held back part is retried; None if none is held back.

        A part whose back-off has ended was retried in this reconcile, or waits for something else, such as kubeconfigs.
        """
        now = self._clock()
        until = [
            *(refusal.until for refusal in record.refusals.values()),
            *(one.until for one in record.writes.values()),
        ]
        return min((moment - now for moment in until if moment > now), default=None)

    def written(self, record: Record, part: str, *, is_changed: bool = False) -> None:
        """Record that a part was written; parts that others keep changing get an increasing back-off.

        is_changed: the API server has stored something else, for example because of a mutating webhook.
        """
        now, before = self._clock(), record.writes.get(part)
        weight = CHANGED_WRITE if is_changed else 1
        times = (before.times if before and now < before.until + FORGET_SECONDS else 0) + weight
        excess = -(-max(times - FREE_WRITES, 0) // weight)
        record.writes[part] = Writes(times, now + retry_delay(excess, self._policy))

    def is_throttled(self, record: Record, part: str) -> bool:
        """Return whether a part was written so often that its next write has to wait."""
        writes = record.writes.get(part)
        return writes is not None and writes.until > self._clock()

    def contested(self, record: Record) -> frozenset[str]:
        """Return the Secrets, as parts, that were written repeatedly because something else changes them each time."""
        since = self._clock() - FORGET_SECONDS
        often = (part for part, one in record.writes.items() if one.times > FREE_WRITES and one.until > since)
        return frozenset(part for part in often if part.startswith(SECRET))

    def object_written(self, uid: str, before: str, after: str) -> bool:
        """Record that an object was written; return whether its next reconcile has to wait, for the first time.

        before, after: its versions. Another controller that undoes each write would otherwise be undone in its turn,
        many times a second and without an end: for example a second provider, which has another container engine.
        """
        record = self._find(uid)
        if record is None or before == after:
            return False
        is_reply = record.version not in ("", before)
        record.version = after
        if not is_reply:
            return False
        now, last = self._clock(), record.replies
        times = (last.times if last and now < last.until + FORGET_SECONDS else 0) + 1
        excess = max(times - FREE_REPLIES, 0)
        record.replies = Writes(times, now + retry_delay(excess, self._policy))
        return excess == 1

    def contest_wait(self, uid: str) -> float:
        """Return the seconds until the object may be reconciled; 0 unless something else changes it again and again.

        A kind cluster that has just been created does not wait: only this process knows that it is complete.
        """
        record = self._find(uid)
        if record is None or record.replies is None or record.made is not None:
            return 0.0
        return max(record.replies.until - self._clock(), 0.0)
