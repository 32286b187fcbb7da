"""Holds a Lease, so that only one of several replicas is active; a leader that loses it must stop immediately (K41).

The rules are those of Kubernetes' own leader election. The leader renews the Lease once per retry period. A standby
takes over if the Lease has not changed for its whole duration on the standby's monotonic clock, so clocks need not
agree.
"""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from capk.api.names import Resource
from capk.errors import ApiError, Conflict, LostLease, NotFound
from capk.kube.jsonpatches import metadata_patch
from capk.kube.protocol import KubeApi

LEASES: Final = Resource("coordination.k8s.io", "v1", "leases", "Lease")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LeaseTimes:
    """Seconds. Raises ValueError if another replica could act before a leader that lost the Lease has ended.

    The leader stops `renew_deadline` after its last renewal started. It then ends its engine commands: SIGTERM, 5 s of
    grace, SIGKILL. `shutdown` covers that and half a second to reap them; then the alarm ends the process. Others wait
    for `duration` after they read that renewal, so nothing is running any more when they start.

    A killed leader is replaced after the duration plus two retry periods, until the standby has read the last renewal
    and until its next attempt: at most 15 + 2.2 + 2.2, as for Kubernetes' own components.
    """

    duration: float = 15.0
    """Others may take a Lease that was not renewed for this time."""
    renew_deadline: float = 9.0
    """The leader stops if it could not renew for this time."""
    retry: float = 2.0
    """Interval between two attempts to take or renew, with a jitter of 10 %."""
    shutdown: float = 5.5
    """Time limit for a leader that lost the Lease to end."""

    def __post_init__(self) -> None:
        if self.duration < self.renew_deadline + self.shutdown:
            raise ValueError("the duration must cover the renew deadline and the shutdown")


Alarm = Callable[[float], None]
"""Called with the seconds after which the process must have ended; a later call replaces the alarm, 0 cancels it."""


@asynccontextmanager
async def hold_lease(
    client: KubeApi,
    name: str,
    namespace: str,
    identity: str,
    *,
    times: LeaseTimes | None = None,
    alarm: Alarm | None = None,
    rng: Callable[[], float] = random.random,
) -> AsyncIterator[None]:
    """Wait until the Lease is ours and hold it during the body, then release it.

    identity: unique among the replicas, such as the pod's name. client: should be a separate one, so that other
    requests do not delay the renewal. alarm: set with each renewal; ends a hanging process before others may act.
    Raises LostLease, after cancelling the body, if the Lease could not be renewed in time or another replica has it.
    """
    lease = _Lease(client, name, namespace, identity, times or LeaseTimes(), alarm or (lambda seconds: None), rng)
    await lease.acquire()
    body = asyncio.current_task()
    assert body is not None
    cancellations = body.cancelling()
    renewal = asyncio.create_task(lease.keep(), name=f"lease-{name}")
    renewal.add_done_callback(lambda task: None if task.cancelled() else body.cancel())
    try:
        yield
        if renewal.done():
            await asyncio.sleep(0)  # the body ended when the Lease was lost: its cancellation arrives here
    except asyncio.CancelledError:
        # uncancel() shows whether the body was also cancelled for another reason, which takes precedence.
        if renewal.done() and not renewal.cancelled() and body.uncancel() <= cancellations:
            raise LostLease(f"Lease {namespace}/{name}: {renewal.exception()}") from None
        raise
    finally:
        if not renewal.done():
            renewal.cancel()
            with suppress(asyncio.CancelledError):
                await renewal
            await lease.release()


class _Lease:
    def __init__(
        self,
        client: KubeApi,
        name: str,
        namespace: str,
        identity: str,
        times: LeaseTimes,
        alarm: Alarm,
        rng: Callable[[], float],
    ) -> None:
        self._client = client
        self._name = name
        self._namespace = namespace
        self._identity = identity
        self._times = times
        self._alarm = alarm
        self._rng = rng
        self._observed: Mapping[str, Any] = {}
        self._observed_at = float("-inf")
        self._renewed_at = float("-inf")

    async def acquire(self) -> None:
        """Wait until the Lease is ours."""
        log.info("Waiting for Lease %s/%s as %s.", self._namespace, self._name, self._identity)
        named = ""
        while True:
            started = _now()
            try:
                # A later response belongs to a Lease that has nearly expired.
                async with asyncio.timeout(self._times.renew_deadline):
                    is_ours = await self._try_to_take()
                if is_ours:
                    self._renewed(started)
                    log.info("Leading: acquired Lease %s/%s.", self._namespace, self._name)
                    return
                if self._holder and self._holder != named:
                    named = self._holder
                    log.info("%s holds the Lease and is active. This provider is a standby until it ends.", named)
            except (ApiError, TimeoutError) as error:
                log.warning("Could not acquire Lease %s/%s: %s", self._namespace, self._name, error or "no answer")
            await self._pause()

    async def keep(self) -> None:
        """Keep renewing the Lease; raises LostLease if that fails for too long or another replica has it."""
        while True:
            # Count from the start of the last successful renewal: others count from its arrival, which is later.
            deadline = asyncio.timeout_at(self._renewed_at + self._times.renew_deadline)
            try:
                async with deadline:
                    await self._pause()
                    started = _now()
                    if not await self._renew():
                        self._alarm(self._times.shutdown)
                        raise LostLease(f"{self._holder or 'no replica'} holds it now")
                self._renewed(started)
            except (ApiError, TimeoutError) as error:
                if deadline.expired():
                    seconds = self._times.renew_deadline
                    raise LostLease(f"it could not be renewed for {seconds:.0f} s") from None
                log.warning("Could not renew Lease %s/%s: %s", self._namespace, self._name, error)

    async def release(self) -> None:
        """Release the Lease, so that others can take it before it expires."""
        try:
            async with asyncio.timeout(self._times.retry):
                await self._write({"holderIdentity": "", "leaseDurationSeconds": 1})
        except (ApiError, TimeoutError) as error:
            log.warning("Could not release Lease %s/%s: %s", self._namespace, self._name, error or "no answer")
        self._alarm(0)

    def _renewed(self, started: float) -> None:
        self._renewed_at = started
        self._alarm(started + self._times.renew_deadline + self._times.shutdown - _now())

    async def _try_to_take(self) -> bool:
        try:
            self._observe(await self._client.get(LEASES, self._namespace, self._name))
        except NotFound:
            await self._create()
            return True
        if self._holder == self._identity:
            return await self._renew()
        if self._holder and not self._is_expired():
            return False
        transitions = int(self._spec.get("leaseTransitions") or 0) + 1
        try:
            await self._write({**self._claim(), "acquireTime": _micro_time(), "leaseTransitions": transitions})
        except Conflict:
            return False  # another replica was faster
        return True

    async def _renew(self) -> bool:
        """Renew the Lease, and read it again after a conflict; return whether it is ours."""
        try:
            await self._write(self._claim())
        except NotFound:
            await self._create()  # only one replica succeeds
        except Conflict:
            self._observe(await self._client.get(LEASES, self._namespace, self._name))
            if self._holder != self._identity:
                return False
            await self._write(self._claim())
        return True

    async def _create(self) -> None:
        metadata = {"name": self._name, "namespace": self._namespace}
        spec = {**self._claim(), "acquireTime": _micro_time(), "leaseTransitions": 0}
        self._observe(await self._client.create(LEASES, {"metadata": metadata, "spec": spec}))

    async def _write(self, spec: Mapping[str, Any]) -> None:
        patch = metadata_patch(self._observed, spec={"renewTime": _micro_time(), **spec})
        if patch is not None:
            self._observe(await self._client.patch(LEASES, self._namespace, self._name, patch))

    def _observe(self, lease: Mapping[str, Any]) -> None:
        version = lease["metadata"]["resourceVersion"]
        if not self._observed or self._observed["metadata"]["resourceVersion"] != version:
            self._observed_at = _now()
        self._observed = lease

    def _claim(self) -> dict[str, Any]:
        duration = round(self._times.duration)
        return {"holderIdentity": self._identity, "leaseDurationSeconds": duration, "renewTime": _micro_time()}

    @property
    def _spec(self) -> Mapping[str, Any]:
        """Of the observed Lease, which may have none: a person can create it."""
        return self._observed.get("spec") or {}

    @property
    def _holder(self) -> str:
        return str(self._spec.get("holderIdentity") or "")

    def _is_expired(self) -> bool:
        duration = float(self._spec.get("leaseDurationSeconds") or self._times.duration)
        return _now() > self._observed_at + duration

    async def _pause(self) -> None:
        await asyncio.sleep(self._times.retry * (0.9 + 0.2 * self._rng()))


def _micro_time() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _now() -> float:
    return asyncio.get_running_loop().time()
