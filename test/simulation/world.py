"""One simulated world: management cluster, engine, workload clusters, and the records of a life."""

import asyncio
import logging
import tempfile
from collections import Counter, defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Final

from capk.api import names
from capk.engine.workdir import private_directory
from capk.errors import CapkError
from capk.redaction import redact
from test.simulation.apiserver import ApiClient, ApiServer
from test.simulation.clock import now
from test.simulation.core import CoreController
from test.simulation.engine import FOREIGN, Birth, Container, SimulatedEngine
from test.simulation.identities import leak
from test.simulation.kindcommand import KindCommand
from test.simulation.objects import Body, is_paused, is_to_be_stopped
from test.simulation.podengines import PodEngines, PodMachine
from test.simulation.workload import Workload

_MEMORY: Final = Path("/dev/shm")

EVENT_SECONDS: Final = 0.5
"""How long an event may be on its way to the provider."""
UNDER_WAY_SECONDS: Final = 5.0
"""How long a stop may go on after its reason has ended: listing, asking etcd, and the engine's grace period."""


@dataclass(frozen=True)
class Options:
    """Options of a world; plain values, so that a script can contain them.

    core: version of Cluster API's objects, or "" without Cluster API. lists: whether the engine can list its
    containers. lease: whether providers elect a leader. watch_filter: the provider's, or "".
    """

    core: str = "v1beta2"
    lists: bool = True
    lease: bool = False
    watch_filter: str = ""
    internal: bool = False
    reach: bool = True
    balancer_survives: bool = True
    creates: int = 2
    workers: int = 4
    sync_period_seconds: float = 600.0
    inventory_period_seconds: float = 10.0
    speed: float = 1.0
    pods: str = ""
    """Whether there is a class with engines in Pods, whose data is on a "disk" or a "volume"."""


class World:
    """Everything outside the provider.

    trace: events in order, always the same for a seed. violations: broken invariants.
    """

    def __init__(self, seed: int | str, options: Options, folder: Path) -> None:
        self.seed = seed
        self.options = options
        self.folder = folder
        self.outside = folder / "outside"
        self.work_dir = private_directory(folder / "work", explicit=True)
        self.rng = Random(f"world {seed}")
        self.api = ApiServer(self.stream("api"), options.core or None)
        self.core = CoreController(self.api, self.stream("core"))
        self.engine = SimulatedEngine(self.stream("engine"), balancer_survives=options.balancer_survives)
        self.engine.on_remove = self._removing
        self.engine.on_halt = self._halting
        self.engine.on_add = self._adding
        self.kind = KindCommand(self.engine, speed=options.speed)
        self.pods = PodEngines(
            self.api, self.stream("kubelet"), self._machine, violate=self.violate, is_calm=self.is_calm_since
        )
        self.workload = Workload(self.engine, self.stream("workload"), reach=options.reach, resolve=self.pods.birth_at)
        self.trace: list[str] = []
        self.violations: list[str] = []
        self.failed = asyncio.Event()
        self.requests: deque[tuple[float, str, str]] = deque()
        """(when, plural, where) of the provider's requests."""
        self.calls: deque[tuple[float, str, str]] = deque()
        """(when, what, kind cluster) of the provider's calls of the engine."""
        self.writes: list[tuple[float, str, str]] = []
        self.totals: Counter[str] = Counter()
        self.adopted: set[str] = set()
        """Ids of containers that a user has asked the provider to adopt."""
        self.lost: set[str] = set()
        """Names of kind clusters that a stranger or a user removed, in whole or in part."""
        self.lost_in_pods: set[int] = set()
        """Numbers of kind clusters in Pods to which the same has happened."""
        self.forced: set[str] = set()
        """Uids of objects whose finalizer was removed by force, or that were moved: their containers may stay."""
        self.retained: set[str] = set()
        self.workers: set[str] = set()
        """Names of the containers that were created for KINDMachines."""
        self.forged: set[str] = set()
        """Objects (namespace/name) whose annotations a user has edited: without a list of containers they decide."""
        self.disturbed_at = float("-inf")
        """When the provider last could not observe or write, according to the samples of the invariants."""
        self.core_since = 0.0 if options.core else float("inf")
        self.claimed_at: dict[str, float] = {}
        self.paused_at: dict[str, float] = {}
        """When a KINDCluster was last paused, by uid."""
        self.resumed_at: dict[str, float] = {}
        """When a KINDCluster that was to be stopped was last asked to run, by uid."""
        self.copies: set[str] = set()
        """Uids of objects that were applied with the annotations of another one."""
        self.names_of: dict[str, str] = {}
        """Uid -> name of each past or present KINDCluster."""
        self.logs: deque[str] = deque(maxlen=300)
        self.asked_to_stop = False
        self._creating: dict[tuple[str, str], int] = defaultdict(int)
        self.api.on_change.append(self._changed)
        if options.pods:
            self.pods.begin(has_volume=options.pods == "volume", watch_filter=options.watch_filter)

    def _machine(self, first_id: int) -> PodMachine:
        """Return an empty engine for a Pod."""
        engine = SimulatedEngine(
            self.stream(f"engine {first_id}"),
            balancer_survives=self.options.balancer_survives,
            address="0.0.0.0",
            births=self.engine.births,
            first_id=first_id,
        )
        engine.on_remove, engine.on_add = self._removing, self._adding
        return PodMachine(engine, KindCommand(engine, speed=self.options.speed))

    def engine_for(self, name: str, namespace: str = "default") -> SimulatedEngine:
        """Return the engine of the KINDCluster of that name."""
        obj = self.api.find(names.KIND_CLUSTERS, namespace, name)
        if obj is None or not self.pods.has(obj):
            return self.engine
        machine = self.pods.of(obj["metadata"]["uid"])
        return machine.engine if machine else self.pods.at("").engine

    def everywhere(self) -> list[Container]:
        """Return the containers of all engines."""
        return [*self.engine.everywhere(), *self._in_pods()]

    def answering(self) -> list[Container]:
        """Return the containers of all engines but one that does not answer now."""
        return [*self.engine.containers.values(), *self._in_pods()]

    def _in_pods(self) -> list[Container]:
        return [one for machine in self.pods.machines() for one in machine.engine.containers.values()]

    def leak(self, text: str) -> str | None:
        """Return the part of a text that is a secret, or None."""
        return leak(text) or next((one for one in sorted(self.pods.needles) if one in text), None)

    def stream(self, what: str) -> Random:
        """Return a separate source of random numbers, so that one part does not change the numbers of another."""
        return Random(f"{what} of {self.seed}")

    def note(self, text: str) -> None:
        """Add a line to the trace."""
        self.trace.append(f"{now():10.3f} {text}".replace(str(self.folder), "$FOLDER"))

    def violate(self, text: str) -> None:
        """Record that an invariant does not hold."""
        if text not in self.violations:
            self.note(f"VIOLATION {text}")
            self.violations.append(text)
        self.failed.set()

    async def pause(self, seconds: float) -> None:
        """Let time pass; return early if an invariant is broken."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.failed.wait()

    # --- what a provider does

    def client(self, owner: str) -> ApiClient:
        """Return a provider process's client of the API server."""

        def on_request(verb: str, plural: str, where: str, is_write: bool) -> None:
            self.requests.append((now(), plural, where))
            self.totals["requests"] += 1
            if is_write:
                self.note(f"{owner} {verb} {plural} {where}")

        def on_write(plural: str, text: str) -> None:
            if plural != "secrets" and (found := self.leak(text)):
                self.violate(f"a secret is sent in a document of {plural}: …{found}…")

        def on_changed(verb: str, plural: str, where: str) -> None:
            if plural != "leases":
                self.writes.append((now(), plural, f"{verb} {where}"))

        chance = self.stream(f"client {owner}")
        return ApiClient(self.api, chance, on_request=on_request, on_write=on_write, on_changed=on_changed, owner=owner)

    def on_call(self, owner: str, what: str, name: str, host: str = "") -> None:
        """Record a call of an engine by a provider. host: of an engine in a Pod."""
        self.totals["calls"] += 1
        if what in ("clusters", "list", "version", "info"):
            return
        self.calls.append((now(), what, f"{host} {name}" if host else name))
        if what == "logs":
            return
        self.note(f"{owner} {what} {name} {host}")
        if what == "create":
            self._judge_creation(owner, name, self.pods.at(host).kind if host else self.kind)

    def _judge_creation(self, owner: str, name: str, kind: KindCommand) -> None:
        creating = [one for one in kind.running if one.doing == "create" and one.name == name]
        if any(one.owner == owner and one.is_alive for one in creating):
            self.violate(f"two creations of {name} run at one time")
        if not self.is_calm_since(30):
            return
        asking = [
            obj
            for obj in self.api.all(names.KIND_CLUSTERS)
            if self.asks_for(obj, name) and self.engine_for(obj["metadata"]["name"]) is kind.engine
        ]
        if not asking:
            self.violate(f"a creation of {name} begins although no object asks for it")
        elif all(is_paused(obj) and self._knows_of_pause(obj) for obj in asking):
            self.violate(f"a creation of {name} begins while its object is paused")
        elif (
            kind is self.kind
            and self.engine.number != 1
            and self.options.lists
            and any(self.birth_of(obj) for obj in asking)
        ):
            self.violate(f"a creation of {name} begins on another engine than the one that has its kind cluster")
        elif self.core_since < now() - 30 and all(self._waits_for_owner(obj) for obj in asking):
            self.violate(f"a creation of {name} begins although its object waits for its Cluster")

    def asks_for(self, obj: Body, name: str) -> bool:
        """Return whether a kind cluster of that name may be meant for the object."""
        metadata = obj["metadata"]
        owners = [one["name"] for one in metadata.get("ownerReferences") or ()]
        return name in (metadata["name"], obj["spec"].get("clusterName"), *owners)

    def _waits_for_owner(self, obj: Body) -> bool:
        claimed_at = self.claimed_at.get(obj["metadata"]["uid"], now())
        return (
            not obj["spec"].get("standalone")
            and obj["metadata"]["uid"] not in self.copies
            and f"{obj['metadata']['namespace']}/{obj['metadata']['name']}" not in self.forged
            and not obj["metadata"].get("ownerReferences")
            and claimed_at > self.core_since
        )

    def is_calm_since(self, seconds: float) -> bool:
        """Return whether the provider could observe everything for so long."""
        return self.disturbed_at < now() - seconds and not self.api.is_behind

    # --- immediate checks

    def _removing(self, container: Container, who: str) -> None:
        self.note(f"{who or 'nobody'} removes {container.name} {container.id[:6]} (made for {container.birth.maker})")
        if not who.startswith("provider"):
            self._lose(container)
            return
        if container.is_added and container.mark:
            self._judge_removal_of_worker(container, who)
            return
        # Without a list of containers, nothing shows that someone else's have taken the place of a creation's.
        is_unknowable = not self.options.lists and container.cluster in self.lost | self.kind.failed_as_planned
        is_foreign = container.birth.maker == FOREIGN and container.birth.number not in self._adopted_births()
        if is_foreign and not is_unknowable:
            self.violate(f"the provider removed {container.name}, which was not made for an object of ours")
        owner = self.owner_of(container.birth)
        if owner is not None and self._is_whole(owner, container.birth, who):
            self.violate(f"the provider removed {container.name} of a complete kind cluster whose object lives")

    def _halting(self, container: Container) -> None:
        """Check that the provider stops only what is an object's own, and only if its user asks for that."""
        self.note(f"provider stops {container.name} {container.id[:6]} (made for {container.birth.maker})")
        if container.birth.maker == FOREIGN and container.birth.number not in self._adopted_births():
            self.violate(f"the provider stopped {container.name}, which was not made for an object of ours")
        asking = [obj for obj in self.api.all(names.KIND_CLUSTERS) if self.asks_for(obj, container.cluster)]
        is_asked = any(is_to_be_stopped(obj) or self._may_still_stop(obj) for obj in asking)
        if self.is_calm_since(30) and not is_asked:
            self.violate(f"the provider stopped {container.name}, although no object asks for it")

    def _knows_of_pause(self, obj: Body) -> bool:
        """Return whether the event of the user's pause has had the time to arrive."""
        return self.paused_at.get(obj["metadata"]["uid"], 0.0) < now() - EVENT_SECONDS

    def _may_still_stop(self, obj: Body) -> bool:
        """Return whether a stop that began before the user's last edit may still be under way."""
        return self.resumed_at.get(obj["metadata"]["uid"], float("-inf")) > now() - UNDER_WAY_SECONDS

    def is_lost(self, birth: Birth) -> bool:
        """Return whether a stranger or a user removed containers of a kind cluster."""
        return birth.cluster in self.lost if birth.engine is self.engine else birth.number in self.lost_in_pods

    def _lose(self, container: Container) -> None:
        birth = container.birth
        if container.is_added:
            return
        if birth.engine is self.engine:
            self.lost.add(container.cluster)
        else:
            self.lost_in_pods.add(birth.number)
            self.pods.note_loss(birth.maker.partition(".")[0], [birth])

    def _adding(self, container: Container) -> None:
        if not container.mark:
            return
        self.workers.add(container.name)
        own = [one for one in self.everywhere() if one.mark and one.machine == container.machine]
        if len(own) > 1 and not self._is_copied(container.machine):
            self.violate(f"the machine of {container.name} has {len(own)} containers: {[one.name for one in own]}")

    def _is_copied(self, machine: str) -> bool:
        """Return whether an object that was applied with the annotations of another one, or edited, holds the id."""
        for obj in self.api.all(names.KIND_MACHINES):
            stored = (obj["metadata"].get("annotations") or {}).get(names.MACHINE_ID_ANNOTATION)
            if stored == machine and f"{obj['metadata']['namespace']}/{obj['metadata']['name']}" in self.forged:
                return True
        return False

    def _judge_removal_of_worker(self, container: Container, who: str) -> None:
        """Check that no worker is removed whose KINDMachine and kind cluster live and know of it."""
        owner = self.owner_of(container.birth)
        if owner is None or not self._is_whole(owner, container.birth, who):
            return
        for obj in self.api.all(names.KIND_MACHINES):
            metadata, annotations = obj["metadata"], obj["metadata"].get("annotations") or {}
            is_stored = annotations.get(names.JOINED_CONTAINER_ANNOTATION) == container.id
            is_own = container.machine in (metadata["uid"], annotations.get(names.MACHINE_ID_ANNOTATION))
            is_known = is_stored and is_own and f"{metadata['namespace']}/{metadata['name']}" not in self.forged
            if is_known and not metadata.get("deletionTimestamp"):
                self.violate(f"the provider removed worker {container.name}, whose KINDMachine lives")

    def owner_of(self, birth: Birth) -> Body | None:
        """Return the KINDCluster of a kind cluster, if it exists and is not being deleted."""
        for obj in self.api.all(names.KIND_CLUSTERS):
            if birth.maker.startswith(obj["metadata"]["uid"]) and not obj["metadata"].get("deletionTimestamp"):
                return obj
        return None

    def _is_whole(self, owner: Body, birth: Birth, who: str) -> bool:
        """Return whether the provider must know that the kind cluster is complete.

        A process cannot know what another one learnt right before its end or could not write.
        """
        if birth.reported is None or birth.empties or self.is_lost(birth) or not birth.answers:
            return False
        when, by = birth.reported
        status = owner.get("status") or {}
        # The status of an object whose kind cluster is made again describes the former one until it is written.
        is_of_birth = birth.maker == f"{owner['metadata']['uid']}.{status.get('attempt')}"
        is_stored = is_of_birth and bool(status.get("initialization", {}).get("provisioned"))
        return is_stored or by == who or (when < now() - 120 and self.is_calm_since(now() - when))

    def _adopted_births(self) -> set[int]:
        return {one.birth.number for one in self.engine.containers.values() if one.id in self.adopted}

    def _changed(self, plural: str, before: Body | None, after: Body | None) -> None:
        if plural != names.KIND_CLUSTERS.plural:
            return
        obj: Body = after or before or {}
        metadata = obj["metadata"]
        self.names_of[metadata["uid"]] = f"{metadata['namespace']}/{metadata['name']}"
        annotations = metadata.get("annotations") or {}
        if annotations.get(names.CLAIM_ANNOTATION):
            self.claimed_at.setdefault(metadata["uid"], now())
        if annotations.get(names.ADOPT_ANNOTATION):
            self.adopted |= {one.id for one in self.engine.containers.values() if one.birth.maker == FOREIGN}
        if (obj.get("spec") or {}).get("deletionPolicy") == "Retain":
            self.retained.add(metadata["uid"])
        if names.DELETE_FOR_MOVE_ANNOTATION in annotations:
            self.forced.add(metadata["uid"])
        if after and is_paused(after) and not (before and is_paused(before)):
            self.paused_at[metadata["uid"]] = now()
        if before and after and is_to_be_stopped(before) and not is_to_be_stopped(after):
            self.resumed_at[metadata["uid"]] = now()

    # --- queries of the invariants

    def birth_of(self, obj: Body) -> Birth | None:
        """Return the newest kind cluster of the object with a remaining container.

        The claim of a living object does not count for a copy, and a claim counts only for the object's own name.
        """
        uid = obj["metadata"]["uid"]
        if self.pods.has(obj):
            machine = self.pods.of(uid)
            own = {one.birth.number: one.birth for one in machine.engine.containers.values()} if machine else {}
            made = [birth for birth in own.values() if birth.maker.startswith(uid)]
            return max(made, key=lambda birth: birth.number, default=None)
        claim_id = (obj["metadata"].get("annotations") or {}).get(names.CLAIM_ID_ANNOTATION) or uid
        if claim_id in self.api.living or self._has_heir_before(obj, claim_id):
            claim_id = uid
        for birth in reversed(self.engine.births):
            own = [one for one in self.engine.everywhere() if one.birth is birth]
            is_claimed = birth.maker.startswith(claim_id) and self.asks_for(obj, birth.cluster)
            if own and (birth.maker.startswith(uid) or is_claimed or any(one.id == claim_id for one in own)):
                return birth
        return None

    def _has_heir_before(self, obj: Body, claim_id: str) -> bool:
        """Return whether another object with a third one's claim to its name comes first: provisioned, or older."""
        claimed = (obj["metadata"].get("annotations") or {}).get(names.CLAIM_ANNOTATION)
        heirs = [
            other
            for other in self.api.all(names.KIND_CLUSTERS)
            if claim_id != obj["metadata"]["uid"]
            and (other["metadata"].get("annotations") or {}).get(names.CLAIM_ID_ANNOTATION) == claim_id
            and self.asks_for(other, str(other["metadata"]["annotations"].get(names.CLAIM_ANNOTATION)))
            and other["metadata"]["annotations"].get(names.CLAIM_ANNOTATION) == claimed
        ]
        return bool(heirs) and min(heirs, key=_rank)["metadata"]["uid"] != obj["metadata"]["uid"]

    def conditions(self, obj: Body) -> dict[str, Body]:
        """Return the conditions of an object by type."""
        return {one["type"]: one for one in (obj.get("status") or {}).get("conditions") or ()}


def _rank(obj: Body) -> tuple[bool, str, str, str]:
    metadata, status = obj["metadata"], obj.get("status") or {}
    is_provisioned = bool((status.get("initialization") or {}).get("provisioned"))
    return not is_provisioned, metadata["creationTimestamp"], metadata["namespace"], metadata["name"]


@contextmanager
def world(seed: int | str, options: Options) -> Iterator[World]:
    """Yield a world with a folder for the provider's real files, which are deleted afterwards."""
    base = str(_MEMORY) if _MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="simulation-", dir=base) as folder:
        made = World(seed, options, Path(folder))
        made.outside.mkdir()
        (made.outside / "thesis.txt").write_text("years of work\n", encoding="utf-8")
        with _captured_logs(made):
            asyncio.get_running_loop().set_exception_handler(lambda loop, context: _unhandled(made, context))
            yield made
        if not (made.outside / "thesis.txt").exists():
            made.violate("a directory that has nothing to do with kind was removed")


def _unhandled(made: World, context: dict[str, Any]) -> None:
    if "handle" in context:
        made.violate(f"a callback raised: {context.get('message')}: {context.get('exception')!r}")


class _Handler(logging.Handler):
    def __init__(self, made: World) -> None:
        super().__init__(logging.INFO)
        self.world = made

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.exc_info and record.exc_info[1]:
            text += f" | {record.exc_info[1]!r}"
        error = record.exc_info[1] if record.exc_info else None
        if error and not isinstance(error, CapkError) and not self.world.engine.has_crashed:
            self.world.violate(f"an exception that nobody expected: {text[:300]}")
        with suppress(RuntimeError):
            self.world.logs.append(f"{now():10.3f} {record.levelname} {text}"[:1000])
        if self.world.leak(text) and self.world.leak(redact(text)):
            self.world.violate(f"a secret is logged: {redact(text)[:200]}")


@contextmanager
def _captured_logs(made: World) -> Iterator[None]:
    logger, handler = logging.getLogger("capk"), _Handler(made)
    saved = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(saved[0])
        logger.propagate = saved[1]
