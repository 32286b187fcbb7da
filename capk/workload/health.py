"""Periodically asks each workload API server whether it is ready and still holds its data."""

import asyncio
import hashlib
import heapq
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Final

from capk.workload.answer import Answer, uid_in
from capk.workload.connection import Target
from capk.workload.pool import DATA_PATH, HEALTH_PATH, ConnectionPool

PERIOD_SECONDS: Final = 30.0
FAILURES_TO_FAIL: Final = 2
"""One failure may be a restart of the API server. So many in a row are a verdict."""
FAILURES_TO_GIVE_UP: Final = 3
"""An API server that was never reached counts as out of reach after so many failed requests."""
MOST_IN_FLIGHT: Final = 64
"""Concurrent requests. 1,000 hanging API servers, 3 s each, are detected within two minutes."""
MOMENTS: Final = 60
"""Number of moments per period at which requests start. Groups of requests wake up the process less often."""
SOONER: Final = 5
"""After a failure, the next request follows after the period divided by this, until there is a verdict."""

NOTHING: Final = ""
"""`Health.holds` of an API server that does not show kubeadm's ConfigMap."""
_HIDDEN: Final = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND})

Ask = Callable[[Target, str], Awaitable[Answer]]
"""Requests a path from an API server as an anonymous user."""


@dataclass(frozen=True)
class Health:
    """The known health of one API server.

    answers: whether it answers; None if it was not asked yet or could never be reached from here.
    ever_answered: whether an answer of it, good or bad, has reached us.
    failures: in a row, since its last good answer.
    said: its last answer, or why the request failed; one line of plain words, at most 200 characters, without secrets.
    since: when `answers` last changed, by the monitor's clock.
    holds: the uid of the object at DATA_PATH, or NOTHING; None if not requested yet, or without a clear answer.
    doubted_since: when `holds` last changed unexpectedly, by the monitor's clock; None for never.
    asked_at: when the last completed request began; None for never.
    """

    answers: bool | None
    ever_answered: bool
    failures: int
    said: str
    since: float
    holds: str | None = None
    doubted_since: float | None = None
    asked_at: float | None = field(default=None, compare=False)

    @property
    def is_out_of_reach(self) -> bool:
        """Whether enough requests have failed to conclude that this API server cannot be reached from here."""
        return self.answers is None and self.failures >= FAILURES_TO_GIVE_UP

    def is_older_than(self, moment: float | None) -> bool:
        """Whether the last completed request began before that moment; False for None."""
        return moment is not None and (self.asked_at is None or self.asked_at < moment)

    @property
    def is_settled(self) -> bool:
        """Whether there is a verdict that one more answer of the same kind would not change."""
        return self.is_out_of_reach if self.answers is None else self.answers == (self.failures == 0)


def judge(health: Health, answer: Answer, now: float) -> Health:
    """Return the health after one more answer; trouble of this process does not count."""
    if answer.is_our_trouble:
        return health
    if answer.is_alive:
        found = replace(health, answers=True, ever_answered=True, failures=0, said=answer.said)
    else:
        reached = health.ever_answered or answer.came
        failures = health.failures + 1
        answers = False if reached and failures >= FAILURES_TO_FAIL else health.answers
        found = replace(health, answers=answers, ever_answered=reached, failures=failures, said=answer.said)
    return found if found.answers == health.answers else replace(found, since=now)


def judge_data(health: Health, answer: Answer, now: float) -> Health:
    """Return the health after the answer to DATA_PATH.

    kubeadm's ConfigMap proves an etcd that was not emptied, so its first sight raises no doubt. Its absence does: the
    etcd may have been emptied before this process began to ask. Absence is not proof, because an administrator may hide
    the ConfigMap; `capk.manager.operations.kubesystem` handles that.
    """
    holds = _held(answer)
    if holds is None or holds == health.holds:
        return health
    is_first_sight = health.holds is None and holds != NOTHING
    return replace(health, holds=holds, doubted_since=health.doubted_since if is_first_sight else now)


def _held(answer: Answer) -> str | None:
    if answer.status == HTTPStatus.OK:
        return uid_in(answer.body) or NOTHING
    return NOTHING if answer.status in _HIDDEN else None


def is_news(before: Health, after: Health) -> bool:
    """Return whether there is a new or changed verdict, or a new doubt about the data."""
    if before.doubted_since != after.doubted_since:
        return True
    return before.answers != after.answers or before.is_out_of_reach != after.is_out_of_reach


@dataclass(eq=False)
class _Watched:
    uid: str
    target: Target
    health: Health
    due: float
    asked: float | None = None
    is_asked_now: bool = False


class HealthMonitor:
    """Monitors the health of any number of API servers, each identified by the uid of its object.

    period_seconds: between two requests to one API server. on_change: called with the uid for a new or changed verdict,
    but not for facts passed to `watch`. clock: seconds, monotonic. ask: requests HEALTH_PATH from one API server, and
    DATA_PATH if the first answer is good; it must not raise. The default uses kept connections.
    """

    def __init__(
        self,
        *,
        period_seconds: float = PERIOD_SECONDS,
        on_change: Callable[[str], None],
        clock: Callable[[], float],
        ask: Ask | None = None,
    ) -> None:
        self._period = period_seconds
        self._on_change = on_change
        self._clock = clock
        self._pool = ConnectionPool()
        self._ask = ask or self._pool.ask
        self._watched: dict[str, _Watched] = {}
        self._answered: set[str] = set()
        """Uids of API servers at rest that have answered once."""
        self._queue: list[tuple[float, int, _Watched]] = []
        self._order = 0
        self._changed = asyncio.Event()

    def watch(
        self,
        uid: str,
        target: Target,
        *,
        answered: bool = False,
        ever_answered: bool = False,
        unanswered_at: float | None = None,
    ) -> None:
        """Begin to ask an API server. If it is already watched, only a changed target has an effect.

        answered: it has just answered, for example while its kubeconfig was read. If it counts as dead, this does not
        change the verdict; the next request only follows sooner.
        ever_answered: it has answered this provider once, perhaps before a restart, so its silence is a failure.
        unanswered_at: when a request elsewhere failed; the next request follows sooner, unless there was one since.
        With a changed target the verdict stays until the new target has been asked, which happens soon. `holds` is
        determined again.
        """
        known = self._watched.get(uid)
        now = self._clock()
        if known is None:
            reached = answered or ever_answered or uid in self._answered
            self._answered.discard(uid)
            health = Health(answered or None, reached, 0, "", now)
            self._watched[uid] = self._scheduled(_Watched(uid, target, health, now + self._first_delay(uid)))
        elif known.target != target:
            self._pool.drop(known.target)
            reached = known.health.ever_answered or ever_answered
            health = replace(known.health, failures=0, ever_answered=reached, holds=None, doubted_since=None)
            self._watched[uid] = self._scheduled(_Watched(uid, target, health, now))
        elif (answered and known.health.answers is not True) or known.health.is_older_than(unanswered_at):
            self._hurry(known, now)

    def rest(self, uid: str) -> None:
        """Stop asking an API server, if it is watched, until `watch`: whether it has ever answered stays known.

        The object may not hold that fact, because the API server of the management cluster may refuse every write.
        """
        health = self.health(uid)
        reached = (health is not None and health.ever_answered) or uid in self._answered
        self.forget(uid)
        if reached:
            self._answered.add(uid)

    def forget(self, uid: str) -> None:
        """Stop asking an API server, if it is watched, and forget what is known of it."""
        self._answered.discard(uid)
        if known := self._watched.pop(uid, None):
            self._pool.drop(known.target)

    def health(self, uid: str) -> Health | None:
        """Return the health of an API server; None if it is not watched."""
        known = self._watched.get(uid)
        return known.health if known else None

    async def run(self) -> None:
        """Ask until cancelled. Raises exceptions of `on_change` or `ask`, as an ExceptionGroup."""
        slots = asyncio.Semaphore(MOST_IN_FLIGHT)
        try:
            async with asyncio.TaskGroup() as questions:
                while True:
                    watched = await self._next_due()
                    await slots.acquire()
                    questions.create_task(self._question(watched)).add_done_callback(lambda _: slots.release())
        finally:
            self._pool.close()

    async def _next_due(self) -> _Watched:
        while True:
            self._changed.clear()
            while self._queue and not self._is_current(*self._queue[0]):
                heapq.heappop(self._queue)
            wait = self._queue[0][0] - self._clock() if self._queue else None
            if wait is not None and wait <= 0:
                watched = heapq.heappop(self._queue)[2]
                watched.is_asked_now = True
                return watched
            try:
                async with asyncio.timeout(wait):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def _is_current(self, due: float, _: int, watched: _Watched) -> bool:
        """Whether an entry of the queue is the latest for an API server that is still watched."""
        return watched.due == due and self._watched.get(watched.uid) is watched

    async def _question(self, watched: _Watched) -> None:
        watched.asked = self._clock()
        answer = await self._ask(watched.target, HEALTH_PATH)
        data = await self._ask(watched.target, DATA_PATH) if answer.is_alive else None
        watched.is_asked_now = False
        if self._watched.get(watched.uid) is not watched:
            self._pool.drop(watched.target)
            return
        before, now = watched.health, self._clock()
        watched.health = replace(judge(before, answer, now), asked_at=watched.asked)
        if data is not None:
            watched.health = judge_data(watched.health, data, now)
        share = 1 if watched.health.is_settled else SOONER
        watched.due = watched.asked + self._period / share
        self._scheduled(watched)
        if is_news(before, watched.health):
            self._on_change(watched.uid)

    def _first_delay(self, uid: str) -> float:
        """Return the offset of an API server in its period: from a hash, which spreads requests evenly."""
        digest = hashlib.blake2b(uid.encode(), digest_size=4).digest()
        return int.from_bytes(digest, "big") / 2**32 * self._period

    def _hurry(self, watched: _Watched, now: float) -> None:
        soonest = max(now, (watched.asked if watched.asked is not None else now) + self._period / SOONER)
        if not watched.is_asked_now and soonest < watched.due:
            watched.due = soonest
            self._scheduled(watched)

    def _scheduled(self, watched: _Watched) -> _Watched:
        moment = self._period / MOMENTS
        watched.due = math.ceil(watched.due / moment) * moment
        self._order += 1
        heapq.heappush(self._queue, (watched.due, self._order, watched))
        if self._queue[0][2] is watched:
            self._changed.set()
        return watched
