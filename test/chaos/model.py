"""Random lives of several KINDClusters in a hostile world, step by step, and the conditions that always hold.

Every step is possible at any time and does nothing if it makes no sense, so each part of a sequence is a sequence: that
is how a failing one is made shorter.
"""

import base64
import random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from capk.api.names import (
    CLAIM_ID_ANNOTATION,
    CLAIM_MOUNT_FOLDER,
    IDENTITY_ANNOTATION,
    KIND_CLUSTERS,
    KIND_MACHINES,
    MACHINE_CONTAINER_LABEL,
    PAUSED_ANNOTATION,
    PODS,
    SECRETS,
    SERVICES,
    VOLUME_CLAIMS,
)
from capk.errors import ApiError
from capk.plan.engineobjects import engine_name
from capk.plan.marks import Mark
from capkdev.fakekind.clusters import CONTROL_PLANE, Cluster, Home, Node
from test.chaos.enginepods import PLAIN, WITH_VOLUME
from test.chaos.kills import restarting
from test.chaos.proxy import Call, Fault
from test.chaos.scenario import PATIENCE_SECONDS, Stage, worker, worker_name
from test.integration.api import Object, condition, eventually
from test.integration.provider.journeys import standalone
from test.kubelet import unscheduled

OBJECTS = {"a": "a", "b": "b", "rival-of-a": "a", "pod": "pod", "kept": "kept"}
"""Objects, and the kind cluster that each requests."""
IN_PODS = {"pod": PLAIN, "kept": WITH_VOLUME}
"""Those of them with an engine in a Pod, and what its class offers."""

Step = tuple[str, str]
"""What happens, and to which object; also its own record."""


class Whole(NamedTuple):
    """A kind cluster that was complete: the object that requests it, its own uid, and that of the object."""

    name: str
    uid: str
    owner: str


class World:
    """The objects, the engine and the API server of one sequence.

    prefix: of all names, so that sequences may share a namespace.
    """

    def __init__(self, stage: Stage, prefix: str) -> None:
        self.stage = stage
        self._prefix = prefix
        self._strangers: dict[str, str] = {}
        self._whole: dict[str, Whole] = {}
        self._disturbed: set[str] = set()
        self.steps: Mapping[str, Callable[[str], None]] = {
            name.removeprefix("do_"): getattr(self, name) for name in dir(self) if name.startswith("do_")
        }

    def take(self, step: Step) -> None:
        """Take one step, and check the conditions that always hold."""
        what, name = step
        self.steps[what](name)
        self._remember_whole_ones()
        self._check()

    def object_name(self, name: str) -> str:
        return f"{self._prefix}-{name}"

    def kind_name(self, name: str) -> str:
        return f"{self._prefix}-{OBJECTS[name]}"

    def find(self, name: str) -> Object | None:
        return self.stage.find(KIND_CLUSTERS, self.object_name(name))

    def find_worker(self, name: str) -> Object | None:
        """Return the KINDMachine of a kind cluster; rivals share it."""
        return self.stage.find(KIND_MACHINES, worker_name(self.kind_name(name)))

    def container_of_worker(self, name: str) -> Node | None:
        """Return the container of that KINDMachine."""
        nodes = standing.nodes if (standing := self.standing(name)) else []
        return next((node for node in nodes if node.name == worker_name(self.kind_name(name))), None)

    def standing(self, name: str) -> Cluster | None:
        seen = self.find(name)
        return self._home(name, seen["metadata"]["uid"] if seen else "gone").find(self.kind_name(name))

    def pod(self, name: str) -> Object | None:
        """Return the Pod with the engine of an object."""
        seen = self.find(name) if name in IN_PODS else None
        pods = self.stage.pods
        return pods.api.find(PODS, pods.namespace, engine_name(seen["metadata"]["uid"])) if seen else None

    def _home(self, name: str, uid: str) -> Home:
        """Return the engine of the object with that uid."""
        return self.stage.pods.home(uid) if name in IN_PODS else self.stage.process.home

    # What users do.

    def do_apply(self, name: str) -> None:
        if self.find(name) is None:
            offer = IN_PODS.get(name)
            engine = {"engine": {"className": self.stage.pods.class_name(offer)}} if offer else {}
            self.stage.create(standalone(self.object_name(name), clusterName=self.kind_name(name), **engine))

    def do_delete(self, name: str) -> None:
        self.stage.delete(KIND_CLUSTERS, self.object_name(name))

    def do_recreate(self, name: str) -> None:
        self._patch(name, {"spec": {"recreatePolicy": "Always"}})

    def do_do_not_recreate(self, name: str) -> None:
        self._patch(name, {"spec": {"recreatePolicy": "Never"}})

    def do_label(self, name: str) -> None:
        self._patch(name, {"metadata": {"labels": {"touched": str(time.monotonic())}}})

    def do_pause(self, name: str) -> None:
        self._patch(name, {"metadata": {"annotations": {PAUSED_ANNOTATION: ""}}})

    def do_unpause(self, name: str) -> None:
        self._patch(name, {"metadata": {"annotations": {PAUSED_ANNOTATION: None}}})

    def do_lose_status(self, name: str) -> None:
        self._patch(name, {"status": None}, "status")

    def do_delete_secret(self, name: str) -> None:
        self.stage.delete(SECRETS, f"{self.kind_name(name)}-config")

    def do_edit_secret(self, name: str) -> None:
        secret, edited = f"{self.kind_name(name)}-config", {"data": {"config": base64.b64encode(b"x").decode()}}
        if self.stage.find(SECRETS, secret):
            self._ignore(lambda: self.stage.patch(SECRETS, secret, edited))

    def do_stop(self, name: str) -> None:
        if IN_PODS.get(name) == WITH_VOLUME:
            self._patch(name, {"spec": {"engine": {"powerState": "Stopped"}}})

    def do_run(self, name: str) -> None:
        if IN_PODS.get(name) == WITH_VOLUME:
            self._patch(name, {"spec": {"engine": {"powerState": "Running"}}})

    def do_hire(self, name: str) -> None:
        if self.find_worker(name) is None:
            self.stage.create(worker(worker_name(self.kind_name(name)), self.object_name(name)))

    def do_dismiss(self, name: str) -> None:
        self.stage.delete(KIND_MACHINES, worker_name(self.kind_name(name)))

    # What administrators and Kubernetes do to engines in Pods.

    def do_withdraw_class(self, name: str) -> None:
        if name in IN_PODS:
            self.stage.pods.withdraw(IN_PODS[name])

    def do_offer_class(self, name: str) -> None:
        if name in IN_PODS:
            self.stage.pods.offer(IN_PODS[name])

    def do_no_room(self, name: str) -> None:
        self.stage.pods.kubelet.trouble = unscheduled("0/1 nodes are available: 1 Insufficient memory.")

    def do_room(self, name: str) -> None:
        self.stage.pods.kubelet.trouble = None

    def do_restart_pod(self, name: str) -> None:
        if pod := self.pod(name):
            self.stage.pods.kubelet.restart(pod["metadata"]["name"])

    def do_evict_pod(self, name: str) -> None:
        if pod := self.pod(name):
            self._lose_data(name)
            self.stage.pods.kubelet.evict(self.stage.api, pod["metadata"]["name"])

    def do_delete_pod(self, name: str) -> None:
        if pod := self.pod(name):
            self._lose_data(name)
            self.stage.api.delete(PODS, self.stage.pods.namespace, pod["metadata"]["name"])
            uid = pod["metadata"]["uid"]
            eventually(lambda: (found := self.pod(name)) is None or found["metadata"]["uid"] != uid)

    def do_delete_service(self, name: str) -> None:
        if pod := self.pod(name):
            self.stage.api.delete(SERVICES, self.stage.pods.namespace, pod["metadata"]["name"])

    def _lose_data(self, name: str) -> None:
        if IN_PODS[name] != WITH_VOLUME:
            self._disturbed.add(self.kind_name(name))

    # What others do.

    def do_remove_cluster(self, name: str) -> None:
        standing = self.standing(name)
        # Nobody else reaches an engine in a Pod.
        if standing and self.kind_name(name) not in self._strangers and name not in IN_PODS:
            self._disturbed.add(self.kind_name(name))
            self.stage.process.home.remove(standing)

    def do_stop_node(self, name: str) -> None:
        standing = self.standing(name)
        if standing and standing.is_initialized and name not in IN_PODS:
            self._ignore(lambda: self.stage.stop_node(f"{self.kind_name(name)}-control-plane"))

    def do_remove_worker(self, name: str) -> None:
        if name not in IN_PODS and self.container_of_worker(name):
            self._ignore(lambda: self.stage.stop_node(worker_name(self.kind_name(name)), "rm --force"))

    def do_stop_worker(self, name: str) -> None:
        if name not in IN_PODS and self.container_of_worker(name):
            self._ignore(lambda: self.stage.stop_node(worker_name(self.kind_name(name))))

    def do_stranger_comes(self, name: str) -> None:
        kind_name = self.kind_name(name)
        node = Node(f"{kind_name}-control-plane", CONTROL_PLANE, "kindest/node:v1.36.1")
        if self.standing(name) is None and name not in IN_PODS:
            made = self.stage.process.home.claim(kind_name, [node], instant=True)
            if made:
                self._disturbed.add(kind_name)
                self._strangers[kind_name] = made.uid

    def do_stranger_leaves(self, name: str) -> None:
        standing = self.standing(name)
        if standing and self._strangers.pop(self.kind_name(name), None):
            self.stage.process.home.remove(standing)

    def do_engine_down(self, name: str) -> None:
        self.stage.kind.answer(False)

    def do_engine_up(self, name: str) -> None:
        self.stage.kind.answer(True)

    def do_kill(self, name: str) -> None:
        self.stage.process.kill()
        self.stage.process.start()

    def do_trouble(self, name: str) -> None:
        chance = random.Random(name)
        faults = (
            Fault(forwarded=False, answer=(409, {})),
            Fault(forwarded=False, answer=(429, {"Retry-After": "1"})),
            Fault(answer=(500, {})),
            Fault(cut=True),
        )

        def some(call: Call) -> Fault | None:
            return chance.choice(faults) if call.write and chance.random() < 0.4 else None

        self.stage.proxy.begin(some)

    def do_peace(self, name: str) -> None:
        self.stage.proxy.begin()

    def do_break_watches(self, name: str) -> None:
        self.stage.proxy.break_watches(expired=False)

    def do_expire_watches(self, name: str) -> None:
        self.stage.proxy.break_watches(expired=True)

    def do_wait(self, name: str) -> None:
        time.sleep(1)

    def do_await_rest(self, name: str) -> None:
        seen = self.find(name)
        if seen and PAUSED_ANNOTATION not in (seen["metadata"].get("annotations") or {}):
            self._ignore(lambda: self.stage.await_condition(self.object_name(name), seconds=5))

    # Conditions that always hold.

    def _check(self) -> None:
        for name, uid in self._strangers.items():
            standing = self.stage.process.home.find(name)
            assert standing, f"the stranger's cluster {name} is gone"
            assert standing.uid == uid, f"the stranger's cluster {name} was replaced"
        for kind_name, whole in self._whole.items():
            standing = self._home(whole.name, whole.owner).find(kind_name)
            if not self._was_given_up(kind_name, whole.owner):
                assert standing, f"kind cluster {kind_name} is gone, and nobody asked for that"
                assert standing.uid == whole.uid, f"kind cluster {kind_name} was replaced, and nobody asked for that"
        assert self.stage.proxy.objections == [], self.stage.proxy.objections

    def _remember_whole_ones(self) -> None:
        """Record which kind clusters were ready for which object, until one of the two is deleted."""
        self._whole = {name: seen for name, seen in self._whole.items() if not self._was_given_up(name, seen.owner)}
        for name in OBJECTS:
            standing, seen = self.standing(name), self.find(name)
            if standing and seen and self._is_whole(standing, seen):
                self._disturbed.discard(standing.name)
                self._whole[standing.name] = Whole(name, standing.uid, seen["metadata"]["uid"])

    def _is_whole(self, standing: Cluster, seen: Object) -> bool:
        """Whether the provider knows that this kind cluster is complete; status may describe an earlier one."""
        known = (seen["metadata"].get("annotations") or {}).get(IDENTITY_ANNOTATION)
        ready = condition(seen, "Ready").get("status") == "True"
        return bool(
            known and ready and self._bears_mark(standing, seen) and "deletionTimestamp" not in seen["metadata"]
        )

    def _was_given_up(self, kind_name: str, owner: str) -> bool:
        living = [
            seen["metadata"]["uid"]
            for name in OBJECTS
            if (seen := self.find(name)) and "deletionTimestamp" not in seen["metadata"]
        ]
        return kind_name in self._disturbed or owner not in living

    @staticmethod
    def _bears_mark(standing: Cluster, seen: Object) -> bool:
        claim = (seen["metadata"].get("annotations") or {}).get(CLAIM_ID_ANNOTATION)
        mounts = [path for node in standing.nodes for path in node.mounts if path.startswith(CLAIM_MOUNT_FOLDER)]
        marks = [Mark.parse(path.removeprefix(CLAIM_MOUNT_FOLDER)) for path in mounts]
        return claim in [mark.uid for mark in marks if mark]

    # Where it ends.

    def settle(self) -> None:
        """Stop all faults: everything must settle as expected, and no write may follow."""
        self.stage.kind.answer(True)
        self.stage.proxy.begin()
        for name in OBJECTS:
            self.do_unpause(name)
            self.do_run(name)
            self.do_offer_class(name)
            self.do_room(name)
        with restarting(self.stage):
            for name in OBJECTS:
                eventually(lambda name=name: self._is_settled(name), PATIENCE_SECONDS)
            for name in OBJECTS:
                eventually(lambda name=name: self._is_worker_settled(name), PATIENCE_SECONDS)
            self._check_rivals()
            self._check_steady()
            self._clean_up()

    def _is_settled(self, name: str) -> bool:
        seen = self.find(name)
        if seen is None:
            return True
        assert "deletionTimestamp" not in seen["metadata"], seen.get("status")
        ready, kind_name = condition(seen, "Ready"), self.kind_name(name)
        standing = self.standing(name)
        reason = ready.get("reason")
        if kind_name in self._strangers:
            assert reason == "NameConflict", ready
        elif reason == "NameConflict":
            assert "already uses" in ready["message"], ready
        elif reason == "Missing":
            assert standing is None
            assert seen["spec"].get("recreatePolicy") != "Always"
        else:
            assert reason == "Ready", ready
            assert standing
            assert self._bears_mark(standing, seen)
            assert all(node.running for node in standing.nodes)
            secret = self.stage.get(SECRETS, f"{kind_name}-config")
            assert len(base64.b64decode(secret["data"]["config"])) > 100
            assert secret["metadata"]["ownerReferences"][0]["uid"] == seen["metadata"]["uid"]
        return True

    def _is_worker_settled(self, name: str) -> bool:
        seen, node = self.find_worker(name), self.container_of_worker(name)
        if seen is None:
            # Also one that went without its KINDCluster, or in the middle of its join.
            assert node is None, f"the container {node} has no KINDMachine"
            return True
        assert "deletionTimestamp" not in seen["metadata"], seen.get("status")
        ready = condition(seen, "Ready")
        match ready.get("reason"):
            case "Ready":
                assert node, "ready without a container"
                assert node.running
                assert node.container_labels[MACHINE_CONTAINER_LABEL] == seen["metadata"]["uid"]
            case "Missing":
                assert node is None, f"missing, but there is {node}"
            case reason:
                cluster = self.find(seen["spec"]["clusterName"].removeprefix(f"{self._prefix}-"))
                assert reason == "WaitingForInfrastructure", ready
                assert condition(cluster, "Ready").get("status") != "True", ready
        return True

    def _check_rivals(self) -> None:
        ready = [name for name in OBJECTS if condition(self.find(name), "Ready").get("status") == "True"]
        assert len({self.kind_name(name) for name in ready}) == len(ready), f"one kind cluster for several of {ready}"

    def _check_steady(self) -> None:
        def is_silent() -> bool:
            self.stage.proxy.begin()
            time.sleep(3.5)
            writes = [str(call) for call in self.stage.proxy.writes]
            assert not writes, f"nothing happened, and this was written: {writes}"
            return True

        # On a busy machine the Event of the last change may be late.
        eventually(is_silent, 15)

    def _clean_up(self) -> None:
        for name in OBJECTS:
            self.do_delete(name)
            self.do_dismiss(name)
        for name in OBJECTS:
            self.stage.await_gone(self.object_name(name), seconds=PATIENCE_SECONDS)
            self.stage.await_gone(worker_name(self.kind_name(name)), KIND_MACHINES, PATIENCE_SECONDS)
        # The data of a claim goes a moment after the last Pod that used it.
        eventually(lambda: not self.stage.api.list(VOLUME_CLAIMS, self.stage.pods.namespace), 10)
        assert sorted(self.stage.clusters()) == sorted(self._strangers)
        for name in OBJECTS:
            self.do_stranger_leaves(name)
        self.stage.check_residue()

    def _patch(self, name: str, body: Mapping[str, Any], subresource: str = "") -> None:
        if self.find(name):
            self._ignore(lambda: self.stage.patch(KIND_CLUSTERS, self.object_name(name), body, subresource))

    @staticmethod
    def _ignore(act: Callable[[], object]) -> None:
        """The object or container may have gone meanwhile, or be elsewhere already."""
        try:
            act()
        except (ApiError, AssertionError, OSError, ValueError):
            return


def draw(chance: random.Random, steps: Sequence[str], length: int) -> list[Step]:
    """Return a random sequence that begins with objects; any step may follow."""
    drawn = [("apply", "a"), ("apply", "b"), ("apply", "pod"), ("apply", "kept"), ("hire", "a"), ("hire", "kept")]
    weights = [4 if step in ("apply", "await_rest", "kill") else 1 for step in steps]
    drawn += [(chance.choices(steps, weights)[0], chance.choice(list(OBJECTS))) for _ in range(length)]
    return drawn
