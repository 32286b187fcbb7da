"""Invariants of every life: checked during the life, and after all faults have ended."""

import asyncio
from collections import Counter
from typing import Any, Final

from capk.api import names
from capk.api.names import Condition, Reason
from capk.manager.engines import POD_SECONDS
from capk.manager.process import STUCK_SECONDS
from capk.runtime.probes import moving_queue
from test.simulation.clock import now
from test.simulation.faults import end_all
from test.simulation.identities import leak
from test.simulation.life import Life
from test.simulation.machinetruth import is_untouched, machine_lies, unsettled_machines
from test.simulation.objects import Body, is_to_be_stopped
from test.simulation.truth import can_rest, is_left_alone, name_of, said, still_running, unsettled

SAMPLE_SECONDS: Final = 15.0
HEALTH_SECONDS: Final = 30.0
"""The provider's period of health checks."""
LATE_SECONDS: Final = 2 * HEALTH_SECONDS + 90.0
"""Maximum delay of Ready: two periods, the deadlines of the requests, and a write."""
DATA_SECONDS: Final = 2 * HEALTH_SECONDS + 330.0
"""Maximum time until an empty etcd is noticed: a period, a back-off, and a read."""
STOP_SECONDS: Final = 450.0
"""Maximum time for which containers of a cluster that is to be stopped run: the longest back-off, a listing, a stop."""
SILENT_SECONDS: Final = 450.0
"""Maximum time without a word about an object that is not Ready: a creation, and the longest back-off."""
REFUSED_SECONDS: Final = 330.0
"""Maximum wait of the provider before it repeats a write that the API server has rejected many times."""
WINDOW_SECONDS: Final = 600.0
REQUESTS_EACH: Final = 80
"""Maximum requests per object in a window, and as many for each step of the script in it."""
REQUESTS_BASE: Final = 150
CALLS_EACH: Final = 90
"""Maximum engine calls per kind cluster in a window, without listings."""
SETTLE_SECONDS: Final = 3000.0
"""Maximum time to settle after all faults have ended, with back-offs and resyncs."""


class Watcher:
    """Checks a life periodically.

    checks: names of the checks to make; see CHECKS.
    """

    def __init__(self, checks: frozenset[str]) -> None:
        self._checks = checks
        self._wrong_since: dict[tuple[str, str], float] = {}
        self._silent_since: dict[tuple[str, str], float] = {}
        self._excused_until = 0.0
        """Until when the provider could not observe or write."""

    async def __call__(self, life: Life) -> None:
        """Watch until cancelled."""
        while True:
            await asyncio.sleep(SAMPLE_SECONDS)
            self.look(life)

    def look(self, life: Life) -> None:
        """Check everything now."""
        if "ready" in self._checks:
            self._look_at_readiness(life)
        if "silence" in self._checks:
            self._look_at_silence(life)
        if "probes" in self._checks:
            _look_at_probes(life)
        if "budget" in self._checks:
            _look_at_budget(life)
        # A parser's error, which is outside the contract, may end the process, with its cause.
        if "crash" in self._checks and life.deployment.crashes and not life.world.engine.has_crashed:
            life.world.violate(f"the provider crashed: {life.deployment.crashes[0][:300]}")

    def _look_at_readiness(self, life: Life) -> None:
        if not _is_calm(life):
            life.world.disturbed_at = now()
            self._excused_until = max(self._excused_until, now())
        if any(fault.kind in ("admission", "conflict") for fault in life.world.api.faults):
            self._excused_until = now() + REFUSED_SECONDS
        wrong = {lie: late for obj in life.world.api.all(names.KIND_CLUSTERS) for lie, late in _lies(life, obj)}
        wrong |= {lie: late for obj in life.world.api.all(names.KIND_CLUSTERS) for lie, late in _restless(life, obj)}
        wrong |= {
            (obj["metadata"]["uid"], lie): LATE_SECONDS + (POD_SECONDS if life.world.options.pods else 0)
            for obj in life.world.api.all(names.KIND_MACHINES)
            for lie in machine_lies(life, obj)
        }
        self._wrong_since = {lie: self._wrong_since.get(lie, now()) for lie in wrong}
        for lie, since in self._wrong_since.items():
            if now() - max(since, self._excused_until) > wrong[lie]:
                life.world.violate(lie[1])

    def _look_at_silence(self, life: Life) -> None:
        """Check that an object that is not as its user wants it has a condition with a cause, or at least an Event."""
        provider = life.deployment.current
        if provider is None or not provider.is_leading:
            self._silent_since.clear()
        # The steps of a creation need no words, unless one of them lasts.
        silent = {
            (obj["metadata"]["uid"], _summary(life, obj).get("reason", "")): obj
            for obj in _objects(life)
            if not _says_why(life, obj)
        }
        self._silent_since = {step: self._silent_since.get(step, now()) for step in silent}
        for step, since in self._silent_since.items():
            if now() - since > SILENT_SECONDS:
                obj = silent[step]
                words = said(life.world.conditions(obj))
                life.world.violate(f"{obj['kind']} {name_of(obj)} says nothing of its trouble for long: {words}")


def _objects(life: Life) -> list[Body]:
    kinds = (names.KIND_CLUSTERS, names.KIND_CONTROL_PLANES, names.KIND_MACHINES)
    machine = names.KIND_MACHINES.kind
    return [
        obj
        for kind in kinds
        for obj in life.world.api.all(kind)
        if not (is_untouched if obj["kind"] == machine else is_left_alone)(life, obj)
    ]


def _summary(life: Life, obj: Body) -> Body:
    kind = Condition.AVAILABLE if obj["kind"] == names.KIND_CONTROL_PLANES.kind else Condition.READY
    return life.world.conditions(obj).get(kind, {})


def _says_why(life: Life, obj: Body) -> bool:
    """Return whether an object is well, or a condition has the cause; if none can be written, an Event."""
    conditions = life.world.conditions(obj)
    is_going = bool(obj["metadata"].get("deletionTimestamp"))
    if is_going and not obj["metadata"].get("finalizers"):
        return True
    summary = _summary(life, obj)
    if summary and summary["status"] == "True" and not is_going:
        return True
    explained = conditions.get(Condition.DELETING) if is_going else summary
    if explained and explained["status"] != ("False" if is_going else "True") and explained.get("message"):
        return True
    uid = obj["metadata"]["uid"]
    events = [event for event in life.world.api.all(names.EVENTS) if event["involvedObject"]["uid"] == uid]
    blind = any(fault.until > now() and fault.hits("create", "events") for fault in life.world.api.faults)
    return blind or any(event["reason"] == Reason.NOT_RECONCILED for event in events)


def _look_at_probes(life: Life) -> None:
    """Check the probes: a failing one makes the kubelet restart the provider in the middle of its work."""
    provider = life.deployment.current
    app = provider.app if provider else None
    if app is None:
        return
    checks = (moving_queue(app.queue, STUCK_SECONDS), app.engine_heartbeat, app.resync_heartbeat, app.lag)
    for problem in filter(None, (check() for check in checks)):
        life.world.violate(f"a probe fails: {problem}")


def _lies(life: Life, obj: Body) -> list[tuple[tuple[str, str], float]]:
    """Return ((uid, problem), maximum duration) for each object that is Ready but should not be."""
    ready = life.world.conditions(obj).get(Condition.READY)
    if not ready or ready["status"] != "True" or is_left_alone(life, obj) or not life.world.options.reach:
        return []
    uid, birth = obj["metadata"]["uid"], life.world.birth_of(obj)
    if birth and birth.number not in life.world.workload.reached:
        return []
    if birth is None or not birth.answers:
        return [((uid, f"{name_of(obj)} is Ready, but its API server does not answer"), LATE_SECONDS)]
    if birth.empties and (life.world.options.lists or not birth.hides_data):
        # Without a list of containers no restart shows, and the data itself only if anonymous users may read it.
        return [((uid, f"{name_of(obj)} is Ready, but its etcd came back empty"), DATA_SECONDS)]
    return []


def _restless(life: Life, obj: Body) -> list[tuple[tuple[str, str], float]]:
    """Return the same for a cluster that is to be stopped: it is never Ready, and soon none of it runs.

    One in a Pod without a volume cannot be stopped: `podtruth` judges those in Pods.
    """
    uid, birth, ready = obj["metadata"]["uid"], life.world.birth_of(obj), _summary(life, obj)
    status = obj.get("status") or {}
    is_up = birth is not None and can_rest(life, birth) and (status.get("initialization") or {}).get("provisioned")
    is_going = bool(obj["metadata"].get("deletionTimestamp"))
    if not is_to_be_stopped(obj) or not is_up or is_going or birth is None or is_left_alone(life, obj):
        return []
    is_own = birth.maker.startswith(uid) and name_of(obj) not in life.world.forged
    if not is_own or birth.engine is not life.world.engine or birth.engine.is_elsewhere(birth):
        return []
    lies = []
    if ready.get("status") == "True":
        lies.append(((uid, f"{name_of(obj)} is Ready, but is to be stopped"), LATE_SECONDS))
    if still_running(life, birth):
        lies.append(((uid, f"{name_of(obj)} is to be stopped, but runs"), STOP_SECONDS))
    return lies


def _is_calm(life: Life) -> bool:
    """Return whether the provider can observe and write."""
    world, provider = life.world, life.deployment.current
    trouble = vars(world.engine.trouble).values()
    return (
        provider is not None
        and provider.is_leading
        and not provider.client.is_cut_off
        and not any(until > now() for until in trouble)
        and world.engine.number == 1
        and not any(until > now() for until in world.api.no_watch.values())
        and not world.api.closed
        and not any(fault.until > now() for fault in world.api.faults)
        and all(watch.is_open for watch in world.api.watches)
        and not any(until > now() for _, until in world.api.slow_watches.values())
        and world.workload.slow < now()
        and not world.api.is_behind
    )


def _look_at_budget(life: Life) -> None:
    world, since = life.world, now() - WINDOW_SECONDS
    for queue in (world.requests, world.calls):
        while queue and queue[0][0] < since:
            queue.popleft()
    kinds = (names.KIND_CLUSTERS, names.KIND_CONTROL_PLANES, names.KIND_MACHINES)
    objects = sum(len(world.api.all(kind)) for kind in kinds)
    steps = sum(at > since for at in life.steps_at)
    requests = sum(plural != "leases" for _, plural, _ in world.requests)
    allowed = REQUESTS_BASE + REQUESTS_EACH * (objects + steps)
    if requests > allowed:
        most = Counter((plural, where) for _, plural, where in world.requests).most_common(1)[0]
        world.violate(f"more than {allowed} requests in ten minutes: {requests}, most of them for {most[0]}")
    # A node that starts is asked for its output four times a second.
    calls = Counter(name for _, what, name in world.calls if what != "logs")
    for name, count in calls.items():
        if count > CALLS_EACH * (1 + steps // 4):
            what = Counter(what for _, what, other in world.calls if other == name).most_common(2)
            world.violate(f"{count} calls of the engine for {name} in ten minutes: {what}")


class Finisher:
    """Ends all faults, lets everything settle, and judges the result."""

    def __init__(self, checks: frozenset[str]) -> None:
        self._checks = checks

    async def __call__(self, life: Life) -> None:
        """Judge the end of a life."""
        world = life.world
        await world.pause(max(0.0, life.busy_until - now()))
        end_all(life)
        life.deployment.start()
        world.note("all trouble has ended")
        problems = await self._settle(life)
        if problems and not world.violations and "settle" in self._checks:
            world.violate("; ".join(problems))
        if world.violations:
            return
        await self._rest(life)
        if "memory" in self._checks and not world.violations:
            _look_into_memory(life)
            _look_into_files(life)
        await life.deployment.stop()

    async def _settle(self, life: Life) -> list[str]:
        """Wait until there are no problems, also after the longest back-off, which may hide pending work."""
        problems: list[str] = []
        deadline, pause, well = now() + SETTLE_SECONDS, 20.0, 0
        while well < 2 and now() < deadline and not life.world.violations:
            await life.world.pause(REFUSED_SECONDS if well else pause)
            pause = min(pause * 1.5, 300)
            problems = [*unsettled(life), *unsettled_machines(life)]
            well = 0 if problems else well + 1
        return problems

    async def _rest(self, life: Life) -> None:
        """Check that after a last resync there are no writes and no changes."""
        world = life.world
        await world.pause(world.options.sync_period_seconds * 1.2 + 60)
        before = len(world.writes)
        await world.pause(world.options.sync_period_seconds * 1.2 + 60)
        if world.violations:
            return
        if "rest" in self._checks and (writes := world.writes[before:]):
            world.violate(f"at rest something is written: {writes[0][1:]} and {len(writes) - 1} more")
        if "settle" in self._checks and (problems := [*unsettled(life), *unsettled_machines(life)]):
            world.violate("it does not stay at rest: " + "; ".join(problems))


def _look_into_memory(life: Life) -> None:
    """Check that no kubeconfig is left in memory without an object."""
    provider = life.deployment.current
    if provider and provider.app and not life.world.api.all(names.KIND_CLUSTERS) and _holds_secret(provider.app):
        life.world.violate("the provider keeps a kubeconfig in memory although no object is left")


def _look_into_files(life: Life) -> None:
    """Check that the logs of failed joins hold no token; what kind itself printed is kept as it is, for its user."""
    for path in sorted(life.world.work_dir.rglob("*")):
        is_of_worker = path.parent.name in life.world.workers
        if is_of_worker and path.is_file() and (found := leak(path.read_text(encoding="utf-8", errors="replace"))):
            life.world.violate(f"a secret is kept in {path.relative_to(life.world.work_dir)}: …{found}…")


def _holds_secret(root: Any) -> bool:
    seen: set[int] = set()
    todo = [root]
    while todo:
        value = todo.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, str):
            if len(value) > 64 and leak(value):
                return True
        elif isinstance(value, dict):
            todo += [*value.values(), *value.keys()]
        elif isinstance(value, list | tuple | set | frozenset):
            todo += value
        elif type(value).__module__.startswith("capk"):
            todo += vars(value).values() if hasattr(value, "__dict__") else ()
    return False


CHECKS: Final = frozenset({"ready", "silence", "probes", "budget", "crash", "settle", "rest", "memory"})
"""All checks besides those that `world` makes immediately."""
