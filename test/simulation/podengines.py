"""Engines in Pods: their namespace with scheduler and kubelet, and an engine of its own in each Pod."""

import asyncio
import base64
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from capk.api import names
from capk.api.names import Resource
from capk.errors import ApiError
from capk.plan.engineobjects import engine_name
from test.kubelet import Kubelet, running, unscheduled, waiting
from test.simulation.apiserver import ApiServer
from test.simulation.clock import now, spawn
from test.simulation.engine import Birth, SimulatedEngine
from test.simulation.kindcommand import KindCommand
from test.simulation.objects import Body

NAMESPACE: Final = "capkind-engines"
CLASS: Final = "pods"
KINDS: Final = (names.PODS, names.SERVICES, names.VOLUME_CLAIMS, names.SECRETS)
_NO_ROOM: Final = (
    "0/3 nodes are available: 3 Insufficient memory. preemption: 0/3 nodes are available: 3 No preemption victims "
    "found for incoming pod."
)
_NODE_SECONDS: Final = 40.0
"""After this time, Kubernetes notices that a node does not answer."""
_LATE_SECONDS: Final = 3.0
"""How long the news of a deletion may take."""
_IDS: Final = 65536
"""Containers of an engine."""


def offer(*, has_volume: bool, image: str = "docker:29-dind") -> Body:
    """Return the spec of a KINDEngineClass with engines in Pods."""
    storage = {"storage": {"claim": {"size": "20Gi"}}} if has_volume else {}
    return {"pods": {"image": image, **storage}, "namespaceSelector": {"matchLabels": {"kind": "allowed"}}}


@dataclass
class PodMachine:
    """Docker in a Pod, with its data, and kind for it."""

    engine: SimulatedEngine
    kind: KindCommand


class PodEngines:
    """All engines in Pods, by the Pod or the volume that has their data.

    make: returns an empty engine; its argument is the id of its first container. violate: records a broken invariant.
    is_calm: returns whether the provider could observe everything for so many seconds.
    """

    def __init__(
        self,
        api: ApiServer,
        rng: Random,
        make: Callable[[int], PodMachine],
        *,
        violate: Callable[[str], None],
        is_calm: Callable[[float], bool],
    ) -> None:
        self.api = api
        self.kubelet = SimulatedKubelet(self, rng)
        self.strangers: set[str] = set()
        """Uids of objects in the namespace of engines that belong to someone else."""
        self.lost: dict[str, bool] = {}
        """Uids of KINDClusters whose complete kind cluster is gone: whether the provider must know it."""
        self.needles: set[str] = set()
        """Parts of private keys, as they are and in base64."""
        self._make = make
        self._violate = violate
        self._is_calm = is_calm
        self._machines: dict[str, PodMachine] = {}
        self._made = 0
        self._stopped_at: dict[str, float] = {}
        self._gone_at: dict[str, float] = {}
        """Uids of KINDClusters -> when they were deleted."""
        self._nothing = make(0)
        self._nothing.engine.is_off = True
        api.on_change.append(self._changed)
        spawn(self.kubelet.run())

    def begin(self, *, has_volume: bool, watch_filter: str) -> None:
        """Create the class, and the namespace of its users."""
        labels = {names.WATCH_FILTER_LABEL: watch_filter} if watch_filter else {}
        self.api.create(names.NAMESPACES, {"metadata": {"name": "default", "labels": {"kind": "allowed"}}})
        body = {"metadata": {"name": CLASS, "labels": labels}, "spec": offer(has_volume=has_volume)}
        self.api.create(names.KIND_ENGINE_CLASSES, body)

    # --- finding

    def has(self, obj: Body) -> bool:
        """Return whether the engine of a KINDCluster is a Pod."""
        return (obj["spec"].get("engine") or {}).get("className") == CLASS

    def own(self, resource: Resource, uid: str) -> Body | None:
        """Return the object of that kind of the engine of a KINDCluster."""
        found = self.api.find(resource, NAMESPACE, engine_name(uid))
        labels = (found or {"metadata": {}})["metadata"].get("labels") or {}
        return found if labels.get(names.ENGINE_CLUSTER_LABEL) == uid else None

    def pods(self) -> list[Body]:
        """Return the Pods in the namespace of engines."""
        return [pod for pod in self.api.all(names.PODS) if pod["metadata"]["namespace"] == NAMESPACE]

    def machines(self) -> list[PodMachine]:
        """Return all engines that have data."""
        return list(self._machines.values())

    def of(self, uid: str) -> PodMachine | None:
        """Return the engine with the data of a KINDCluster, whether it runs or not."""
        pod, claim = self.own(names.PODS, uid), self.own(names.VOLUME_CLAIMS, uid)
        if claim is not None:
            return self._machines.get(claim["metadata"]["uid"])
        if pod is None or (pod.get("status") or {}).get("phase") == "Failed":
            return None
        return self._machines.get(pod["metadata"]["uid"])

    def at(self, host: str) -> PodMachine:
        """Return the engine behind the name of a Service; one that does not answer if there is none."""
        name = host.partition(".")[0]
        pod = self.api.find(names.PODS, NAMESPACE, name)
        if pod is None or self.api.find(names.SERVICES, NAMESPACE, name) is None:
            return self._nothing
        return self._machines.get(self._key(pod), self._nothing)

    def birth_at(self, host: str) -> Birth | None:
        """Return the kind cluster whose API server is behind the name of a Service."""
        engine = self.at(host).engine
        found = [one.birth for one in engine.containers.values() if one.running and one.birth.port == 6443]
        return found[0] if found and not engine.is_off else None

    def machine_of(self, pod: Body) -> PodMachine:
        """Return the engine in a Pod."""
        key = self._key(pod)
        if key not in self._machines:
            self._made += 1
            self._machines[key] = self._make(self._made * _IDS)
        return self._machines[key]

    def claim_of(self, pod: Body) -> str:
        """Return the name of the volume claim that a Pod names; empty without one."""
        found = (one.get("persistentVolumeClaim") for one in pod["spec"].get("volumes") or ())
        return next((str(one["claimName"]) for one in found if one), "")

    def _key(self, pod: Body) -> str:
        claim = self.api.find(names.VOLUME_CLAIMS, NAMESPACE, self.claim_of(pod) or "-")
        return str((claim or pod)["metadata"]["uid"])

    # --- events

    def _changed(self, plural: str, before: Body | None, after: Body | None) -> None:
        metadata = (after or before or {})["metadata"]
        if plural == names.KIND_CLUSTERS.plural and (after is None or metadata.get("deletionTimestamp")):
            self._gone_at.setdefault(metadata["uid"], now())
        if plural == names.KIND_CLUSTERS.plural and before and after and before["spec"] != after["spec"]:
            self._stopped_at[metadata["uid"]] = now()
        if metadata["namespace"] != NAMESPACE:
            self._remember_keys(plural, after)
            return
        if plural not in {one.plural for one in KINDS}:
            return
        self.kubelet.poke()
        self._remember_keys(plural, after)
        if self.api.actor:
            self._judge(plural, before, after)
        if plural == names.PODS.plural:
            self._pod_changed(before, after)
        if plural == names.VOLUME_CLAIMS.plural and after is None and before:
            self._lose(before["metadata"]["uid"], _uid_of(before))
        if plural == names.VOLUME_CLAIMS.plural and after and metadata.get("deletionTimestamp"):
            self._release(after)

    def _pod_changed(self, before: Body | None, after: Body | None) -> None:
        has_failed = after is not None and (after.get("status") or {}).get("phase") == "Failed"
        gone = before if after is None else after if has_failed else None
        if gone is not None and not self.claim_of(gone):
            self._lose(gone["metadata"]["uid"], _uid_of(gone))
        if before and after is None:
            claim = self.api.find(names.VOLUME_CLAIMS, NAMESPACE, self.claim_of(before) or "-")
            if claim:
                if machine := self._machines.get(claim["metadata"]["uid"]):
                    machine.engine.switch_off()
                self._release(claim)

    def _release(self, claim: Body) -> None:
        """Let a volume go that is being deleted and that no Pod uses."""
        name = claim["metadata"]["name"]
        if claim["metadata"].get("deletionTimestamp") and not any(self.claim_of(pod) == name for pod in self.pods()):
            loop = asyncio.get_running_loop()
            loop.call_soon(self._drop_finalizer, name)

    def _drop_finalizer(self, name: str) -> None:
        found = self.api.find(names.VOLUME_CLAIMS, NAMESPACE, name)
        if found and found["metadata"].get("deletionTimestamp"):
            self.api.edit(names.VOLUME_CLAIMS, NAMESPACE, name, {"metadata": {"finalizers": []}})

    def _lose(self, key: str, uid: str) -> None:
        """Note that the data of an engine is gone."""
        machine = self._machines.pop(key, None)
        if machine is None:
            return
        machine.engine.switch_off()
        self.note_loss(uid, [birth for birth in machine.engine.births if birth.engine is machine.engine])

    def note_loss(self, uid: str, births: list[Birth]) -> None:
        """Note that kind clusters of a KINDCluster are gone."""
        own = [birth for birth in births if birth.maker.startswith(uid) and birth.reported]
        if not own:
            return
        obj = next((one for one in self.api.all(names.KIND_CLUSTERS) if one["metadata"]["uid"] == uid), None)
        status = (obj or {}).get("status") or {}
        is_stored = bool(status.get("initialization", {}).get("provisioned"))
        self.lost[uid] = is_stored and own[-1].maker == f"{uid}.{status.get('attempt')}"

    def _remember_keys(self, plural: str, after: Body | None) -> None:
        """Note the private keys in a Secret of engines, or of their authority."""
        data = (after or {}).get("data") or {}
        if plural == "secrets" and "tls.key" in data and len(self.needles) < 400:
            with suppress(ValueError):
                lines = base64.b64decode(data["tls.key"]).decode(errors="replace").splitlines()
                if len(lines) > 2:
                    self.needles |= set(_needles(lines[1][20:60]))

    # --- checks of what the provider does

    def _judge(self, plural: str, before: Body | None, after: Body | None) -> None:
        if before is not None and before["metadata"]["uid"] in self.strangers:
            self._violate(f"the provider touched {plural} {before['metadata']['name']} of someone else")
        if before is None and after is not None:
            self._judge_creation(plural, after)
        elif before is not None and (after is None or after["metadata"].get("deletionTimestamp")):
            self._judge_deletion(plural, before)

    def _judge_creation(self, plural: str, obj: Body) -> None:
        uid, owner = _uid_of(obj), self._living(_uid_of(obj))
        was_there = self._gone_at.get(uid, now()) > now() - _LATE_SECONDS
        if owner is None and not was_there and self._is_calm(30):
            self._violate(f"the provider creates {plural} {obj['metadata']['name']} for no living KINDCluster")
        others = [pod for pod in self.pods() if _uid_of(pod) == uid and pod["metadata"]["uid"] not in self.strangers]
        if plural == names.PODS.plural and len(others) > 1:
            self._violate(f"the KINDCluster {uid} has {len(others)} Pods")

    def _judge_deletion(self, plural: str, obj: Body) -> None:
        owner = self._living(_uid_of(obj))
        if owner is None:
            return
        if plural == names.VOLUME_CLAIMS.plural:
            self._violate("the provider deletes the volume of a living KINDCluster")
        has_ended = (obj.get("status") or {}).get("phase") == "Failed"
        is_stopped = (owner["spec"].get("engine") or {}).get("powerState") == "Stopped"
        was_edited = self._stopped_at.get(owner["metadata"]["uid"], float("-inf")) > now() - 60
        if plural == names.PODS.plural and not (has_ended or is_stopped or was_edited) and self._is_calm(60):
            self._violate("the provider deletes the Pod of a living KINDCluster")

    def _living(self, uid: str) -> Body | None:
        """Return the KINDCluster with that uid, unless it is being deleted."""
        for obj in self.api.all(names.KIND_CLUSTERS):
            if obj["metadata"]["uid"] == uid and not obj["metadata"].get("deletionTimestamp"):
                return obj
        return None

    def leftovers(self, excused: set[str]) -> list[str]:
        """Return our objects in the namespace of engines whose KINDCluster is gone; excused: further uids."""
        left = [
            f"{resource.kind} {obj['metadata']['name']}"
            for resource in KINDS
            for obj in self.api.all(resource)
            if obj["metadata"]["namespace"] == NAMESPACE
            and obj["metadata"]["uid"] not in self.strangers
            and _uid_of(obj)
            and _uid_of(obj) not in self.api.living | excused
        ]
        return [f"engine objects of nobody: {', '.join(left)}"] if left else []


class SimulatedKubelet(Kubelet):
    """Scheduler and kubelet of the world, with their troubles, each until a virtual time."""

    def __init__(self, pods: PodEngines, rng: Random) -> None:
        super().__init__(now, write=self._store, remove=self._drop, power=self._switch)
        self._pods = pods
        self._rng = rng
        self.no_room = 0.0
        self.no_image = 0.0
        self.refuses = 0.0
        """Until when each Pod fails as it starts."""
        self.node_lost = 0.0
        self.lost_at = 0.0
        self._crashes: dict[str, tuple[float, str]] = {}
        self._starts: dict[str, float] = {}
        self._started: set[str] = set()
        self._news = asyncio.Event()

    def end(self) -> None:
        """End all troubles."""
        self.no_room = self.no_image = self.refuses = self.node_lost = 0.0
        self._crashes.clear()
        self.end_seconds = 2.0
        self.poke()

    def poke(self) -> None:
        """Look at all Pods soon."""
        self._news.set()

    async def run(self) -> None:
        """Look at all Pods for ever, often only while something is going on."""
        while True:
            self._news.clear()
            looked = [self.look(pod) for pod in self._pods.pods()]
            with suppress(TimeoutError):
                async with asyncio.timeout(0.5 if any(looked) else 30.0):
                    await self._news.wait()
            await asyncio.sleep(0.2)

    def look(self, pod: Body) -> bool:
        """Look at a Pod, unless its node is away."""
        if pod["metadata"]["uid"] in self._pods.strangers:
            return False
        if self.node_lost > now() and pod["spec"].get("nodeName"):
            self._switch(pod, False)
            if now() - self.lost_at > _NODE_SECONDS and (pod.get("status") or {}).get("phase") == "Running":
                self._store(
                    pod, running(pod["metadata"]["uid"], self.restarts.get(pod["metadata"]["uid"], 0), ready=False), ""
                )
            return True
        return super().look(pod)

    def trouble_of(self, pod: Body) -> Body | None:
        """Return what keeps the engine of a Pod from running."""
        uid = pod["metadata"]["uid"]
        if not pod["spec"].get("nodeName"):
            claim = self._pods.claim_of(pod)
            if claim and self._pods.api.find(names.VOLUME_CLAIMS, NAMESPACE, claim) is None:
                return unscheduled(f'0/3 nodes are available: persistentvolumeclaim "{claim}" not found.')
            if self.no_room > now():
                return unscheduled(_NO_ROOM)
        if uid not in self._started and (trouble := self._trouble_of_start(pod)):
            return trouble
        until, reason = self._crashes.get(uid, (0.0, ""))
        if until > now():
            ended = {"terminated": {"reason": reason, "exitCode": 137 if reason == "OOMKilled" else 1}}
            state = {"waiting": {"reason": "CrashLoopBackOff"}} if until - now() > 5 else {"running": {}}
            return running(uid, self.restarts.get(uid, 0), ready=False, lastState=ended, state=state)
        return None

    def _trouble_of_start(self, pod: Body) -> Body | None:
        uid = pod["metadata"]["uid"]
        if self.refuses > now():
            return {"phase": "Failed", "reason": "UnexpectedAdmissionError", "message": "Allocate failed: no devices"}
        if self._pods.api.find(names.SECRETS, NAMESPACE, pod["metadata"]["name"]) is None:
            self._tell(
                pod, f'MountVolume.SetUp failed for volume "certs" : secret "{pod["metadata"]["name"]}" not found'
            )
            return waiting("ContainerCreating")
        image = pod["spec"]["containers"][0]["image"]
        if self.no_image > now() or image.startswith("missing"):
            told = f'Back-off pulling image "{image}": not found'
            return waiting("ImagePullBackOff", told) if int(now()) % 20 > 4 else waiting("ErrImagePull", "not found")
        if now() - self._seen[uid] < self.start_seconds_of(pod):
            return waiting("ContainerCreating") if now() - self._seen[uid] > 0.5 else None
        self._started.add(uid)
        return None

    def start_seconds_of(self, pod: Body) -> float:
        """Return how long a Pod takes from its creation until it is ready."""
        return self._starts.setdefault(pod["metadata"]["uid"], self._rng.choice((1.0, 3.0, 8.0)))

    def crash(self, pod: Body, reason: str, seconds: float, times: int) -> None:
        """End the container of a Pod; the last of so many restarts succeeds."""
        uid = pod["metadata"]["uid"]
        for _ in range(times):
            self.restart(uid)
        self._crashes[uid] = now() + seconds, reason
        self._switch(pod, False)
        self.poke()

    def _tell(self, pod: Body, message: str) -> None:
        """Write an Event about a Pod, once."""
        uid = pod["metadata"]["uid"]
        body = {
            "metadata": {"name": f"{pod['metadata']['name']}.{uid}", "namespace": NAMESPACE},
            "involvedObject": {"uid": uid},
            "type": "Warning",
            "reason": "FailedMount",
            "message": message,
        }
        with suppress(ApiError):
            self._pods.api.create(names.EVENTS, body)

    def _store(self, pod: Body, status: dict[str, Any], node: str) -> None:
        api, name = self._pods.api, pod["metadata"]["name"]
        current = api.find(names.PODS, NAMESPACE, name)
        if current is None or current["metadata"]["uid"] != pod["metadata"]["uid"]:
            return
        if node and not current["spec"].get("nodeName"):
            api.edit(names.PODS, NAMESPACE, name, {"spec": {"nodeName": node}})
        if current.get("status") != status:
            where = (names.PODS.plural, NAMESPACE, name)
            with suppress(ApiError):
                api.update("patch", names.PODS, where, lambda seen: {**seen, "status": status}, subresource="status")

    def _drop(self, pod: Body) -> None:
        current = self._pods.api.find(names.PODS, NAMESPACE, pod["metadata"]["name"])
        if current and current["metadata"]["uid"] == pod["metadata"]["uid"]:
            self._pods.api.remove(names.PODS, NAMESPACE, pod["metadata"]["name"])

    def _switch(self, pod: Body, is_on: bool) -> None:
        machine = self._pods.machine_of(pod)
        if is_on:
            machine.engine.switch_on()
        else:
            machine.engine.switch_off()


def _uid_of(obj: Body) -> str:
    """Return the uid of the KINDCluster in the labels of an object of ours."""
    labels = obj["metadata"].get("labels") or {}
    return str(labels.get(names.ENGINE_CLUSTER_LABEL) or "")


def _needles(part: str) -> Iterator[str]:
    """Return what a part of a private key looks like: as it is, and in base64 at each of the three offsets."""
    yield part
    for offset in range(3):
        yield base64.b64encode(b"x" * offset + part.encode()).decode()[4:-4]
