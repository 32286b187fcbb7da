"""From a seed to a script: objects, and the times and steps of their life. Pure."""

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any, Final

from capk.api import names
from test.simulation.life import Script, Step
from test.simulation.printed import FAILURES_OF_CREATION
from test.simulation.world import Options

NAMES: Final = ("dev", "prod", "edge")
_SHAPES: Final[tuple[tuple[float, list[str]], ...]] = (
    (0.55, []),
    (0.15, ["control-plane", "worker"]),
    (0.1, ["control-plane", "worker", "worker"]),
    (0.2, ["control-plane", "control-plane", "control-plane"]),
)
_CURABLE: Final = tuple(sorted(set(FAILURES_OF_CREATION) - {"create-bad-patch", "create-kubeadm-flag"}))

Maker = Callable[[Random, str], Step]
"""Returns a step, without its time, for an object of that name."""


def _engine(rng: Random, name: str) -> Step:
    trouble = rng.choice(("down", "slow", "garble", "disagree", "full_disk"))
    return {"do": "engine", "trouble": trouble, "seconds": rng.choice((5, 30, 120, 400))}


def _api(rng: Random, name: str) -> Step:
    kind = rng.choice(("error", "error", "lost", "slow"))
    return {
        "do": "api",
        "kind": kind,
        "status": rng.choice((0, 429, 500, 503)),
        "share": rng.choice((0.2, 0.5, 1.0)),
        "seconds": rng.choice((2, 10, 60)),
        "delay": rng.choice((0.5, 5, 40)),
    }


def _deny(rng: Random, name: str) -> Step:
    words = 'admission webhook "policy.example" denied the request: not on my watch'
    plural = rng.choice(("secrets", "secrets", "kindclusters", "events"))
    return {"do": "api", "kind": "admission", "status": 403, "message": words, "plural": plural, "seconds": 700}


def _forge(annotations: dict[str, str | None]) -> Maker:
    """Return a maker of an edit of our annotations; OTHER becomes another object's name."""

    def make(rng: Random, name: str) -> Step:
        other = rng.choice(NAMES)
        forged = {key: value and value.replace("OTHER", other) for key, value in annotations.items()}
        return {"do": "annotate", "name": name, "annotations": forged}

    return make


def _secret(rng: Random, name: str) -> Step:
    which = rng.choice((f"{name}-config", f"{name}-config", f"{name}-kubeconfig"))
    return {"do": "secret", "name": which, "how": rng.choice(("unlabel", "delete", "edit", "disown"))}


def _restart_engine(rng: Random, name: str) -> Step:
    order = rng.choice(("names", "random", "addresses"))
    return {
        "do": "restart-engine",
        "order": order,
        "come_back": rng.random() < 0.6,
        "seconds": rng.choice((1, 10, 60)),
    }


def _stop_nodes(rng: Random, name: str) -> Step:
    return {"do": "stop-nodes", "name": name, "only": rng.choice((None, "control-plane", "worker"))}


def _one(do: str, **arguments: Any) -> Maker:
    """Return a maker of a step about the object, whose arguments may be tuples to choose from."""

    def make(rng: Random, name: str) -> Step:
        chosen = {key: rng.choice(value) if isinstance(value, tuple) else value for key, value in arguments.items()}
        return {"do": do, "name": name, **chosen}

    return make


def _other(do: str, **arguments: Any) -> Maker:
    """Return a maker of a step that is not about an object."""

    def make(rng: Random, name: str) -> Step:
        step = _one(do, **arguments)(rng, name)
        del step["name"]
        return step

    return make


KINDS: Final[dict[str, tuple[float, Maker]]] = {
    # name -> (weight, maker)
    "delete": (3, _one("delete", kind=("kindclusters", "kindclusters", "clusters"))),
    "delete-control-plane": (0.6, _one("delete", kind="kindcontrolplanes")),
    "apply-again": (3, _one("apply")),
    "force-delete": (0.7, _one("force-delete")),
    "replace": (1, _one("replace")),
    "copy": (0.7, lambda rng, name: {"do": "copy", "name": name, "to": f"{name}-copy"}),
    "move": (0.8, _one("move", after=(2, 30))),
    "forge-path": (0.3, _forge({names.CLAIM_ANNOTATION: "$OUTSIDE"})),
    "forge-relative-path": (0.2, _forge({names.CLAIM_ANNOTATION: "../../outside"})),
    "forge-name": (0.3, _forge({names.CLAIM_ANNOTATION: "OTHER"})),
    "strip-claim": (0.3, _forge({names.CLAIM_ANNOTATION: None, names.CLAIM_ID_ANNOTATION: None})),
    "forge-claim-id": (0.3, _forge({names.CLAIM_ID_ANNOTATION: "$UID:default/OTHER"})),
    "forge-lost-claim-id": (0.2, _forge({names.CLAIM_ID_ANNOTATION: "uid-of-nobody", names.IDENTITY_ANNOTATION: None})),
    "empty-identity": (0.2, _forge({names.IDENTITY_ANNOTATION: ""})),
    "forge-identity": (0.2, _forge({names.IDENTITY_ANNOTATION: "sha256:0000"})),
    "strip-identity": (0.2, _forge({names.IDENTITY_ANNOTATION: None})),
    "pause": (1.2, _one("pause", seconds=(5, 60, 600))),
    "pause-cluster": (0.8, _one("pause", kind="clusters", seconds=(5, 60, 600))),
    "leave-filter": (1, _one("leave-filter", seconds=(0.5, 5, 100))),
    "secret": (1.5, _secret),
    "foreign-secret": (
        0.6,
        lambda rng, name: {"do": "foreign-secret", "name": f"{name}-{rng.choice(('config', 'kubeconfig'))}"},
    ),
    "retype-secret": (0.3, lambda rng, name: {"do": "secret", "name": f"{name}-config", "how": "retype"}),
    "retain": (0.5, _one("edit", patch={"spec": {"deletionPolicy": "Retain"}})),
    "recreate": (1, _one("edit", patch={"spec": {"recreatePolicy": "Always"}})),
    "adopt": (0.5, _one("annotate", annotations={names.ADOPT_ANNOTATION: "true"})),
    "host-only": (0.3, _one("edit", patch={"spec": {"controlPlaneEndpoint": {"host": "dev.example"}}})),
    "stranger-creates": (1, _one("stranger-creates", workers=(0, 1), instantly=(True, False))),
    "stranger-makes-node": (0.8, _one("stranger-makes-node", role=("control-plane", "worker"))),
    "stranger-deletes": (1.2, _one("stranger-deletes")),
    "stranger-deletes-role": (
        0.7,
        _one("stranger-deletes", role=("control-plane", "control-plane", "external-load-balancer")),
    ),
    "stop-nodes": (1, _stop_nodes),
    "occupy": (0.4, _other("occupy", address=("172.18.0.2", "172.18.0.3", "172.18.0.4"))),
    "engine": (3, _engine),
    "engine-hangs": (0.7, _other("engine", trouble="hang", seconds=(5, 30, 120, 400))),
    "restart-engine": (1.2, _restart_engine),
    "another-engine": (0.4, _other("another-engine", seconds=(20, 400))),
    "kind-fails": (2, _other("kind-fails", fixture=_CURABLE, times=(1, 1, 2, 5))),
    "stuck": (0.7, _one("node", how="stuck", seconds=(20, 300))),
    "exits": (0.6, _one("node", how="exits", role=("control-plane", "worker"), seconds=(30, 600))),
    "balancer-restarts": (0.6, _one("balancer-restarts")),
    "plane-dies": (1, _one("plane", how="dead", seconds=(30, 600))),
    "plane-empty": (0.4, _one("plane", how="empty")),
    "plane-emptied": (0.2, _one("plane", how="emptied")),
    "hostile-node": (0.5, _one("hostile-node")),
    "slow-workload": (0.5, _other("slow-workload", seconds=(10, 300))),
    "api": (3, _api),
    "deny": (0.8, _deny),
    "drop-watches": (1.5, _other("drop-watches", seconds=(1, 10, 120))),
    "slow-watch": (
        0.8,
        _other("slow-watch", plural=("kindclusters", "secrets", "clusters", "kindcontrolplanes"), latency=(3, 20)),
    ),
    "quota": (0.7, _other("quota", limit=(0, 1), seconds=(60, 900))),
    "webhook": (0.4, _other("webhook", seconds=(60, 600))),
    "kill": (2.5, _other("kill", linger=(0, 0, 1.5, 8))),
    "restart": (1.5, _other("restart")),
    "replace-provider": (0.7, _other("replace-provider", overlap=(0.5, 5, 40), hard=(True, False))),
    "cut-off": (0.7, _other("cut-off", seconds=(5, 20, 90))),
    "install-core": (0.4, _other("install-core")),
}


MachineMaker = Callable[[Random, str, str], Step]
"""Returns a step, without its time, for a KINDCluster and a KINDMachine of these names."""


def _worker(do: str, **arguments: Any) -> MachineMaker:
    """Return a maker of a step about a KINDMachine, whose arguments may be tuples to choose from."""
    return lambda rng, cluster, name: _one(do, **arguments)(rng, name)


def _node(do: str, **arguments: Any) -> MachineMaker:
    """Return a maker of a step about the container of a worker."""

    def make(rng: Random, cluster: str, name: str) -> Step:
        return {**_other(do, **arguments)(rng, name), "node": name}

    return make


def _forged(annotations: dict[str, str | None]) -> MachineMaker:
    """Return a maker of an edit of the annotations of a KINDMachine; OTHER becomes another one's name."""

    def make(rng: Random, cluster: str, name: str) -> Step:
        other = f"{rng.choice(NAMES)}-{rng.choice(WORKERS)}"
        forged = {key: value and value.replace("OTHER", other) for key, value in annotations.items()}
        return {"do": "machine-annotate", "name": name, "annotations": forged}

    return make


WORKERS: Final = ("w1", "w2", "w3")
SHARE_WITH_MACHINES: Final = 0.3
"""Share of the lives with KINDMachines."""
MACHINE_KINDS: Final[dict[str, tuple[float, MachineMaker]]] = {
    # name -> (weight, maker)
    "machine": (
        6,
        lambda rng, cluster, name: {**_one("machine", standalone=(False, False, True))(rng, name), "cluster": cluster},
    ),
    "machine-delete": (4, _worker("machine-delete", only=(False, False, True))),
    "machine-force-delete": (0.7, _worker("machine-force-delete")),
    "machine-replace": (1, _worker("machine-replace")),
    "machine-copy": (0.7, lambda rng, cluster, name: {"do": "machine-copy", "name": name, "to": f"{name}-copy"}),
    "machine-move": (1, _worker("machine-move", after=(2, 30))),
    "machine-relabel": (
        0.5,
        lambda rng, cluster, name: {
            **_one("machine-relabel", seconds=(2, 20, 90))(rng, name),
            "to": rng.choice((*NAMES, "nowhere")),
        },
    ),
    "machine-pause": (1, _worker("pause", kind="kindmachines", seconds=(5, 60, 600))),
    "forge-machine-id": (0.4, _forged({names.MACHINE_ID_ANNOTATION: "$UID:OTHER"})),
    "strip-machine-id": (0.3, _forged({names.MACHINE_ID_ANNOTATION: None})),
    "invent-machine-id": (0.3, _forged({names.MACHINE_ID_ANNOTATION: "uid-of-nobody"})),
    "strip-joined": (0.3, _forged({names.JOINED_CONTAINER_ANNOTATION: None})),
    "invent-joined": (0.3, _forged({names.JOINED_CONTAINER_ANNOTATION: "0" * 64})),
    "worker": (2.5, _node("worker", how=("remove", "stop", "stop", "start"))),
    "stranger-makes-worker": (
        0.7,
        lambda rng, cluster, name: {"do": "stranger-makes-worker", "cluster": cluster, "node": name},
    ),
    "joins-fail": (2, lambda rng, cluster, name: {"do": "joins-fail", "times": rng.choice((1, 1, 2, 5))}),
    "node-exits": (
        0.5,
        lambda rng, cluster, name: _one("node", how=("exits", "stuck"), role="worker", seconds=(30, 300))(rng, cluster),
    ),
    "machine-kill": (2, lambda rng, cluster, name: _other("kill", linger=(0, 1.5, 8))(rng, cluster)),
    "machine-restart": (1, lambda rng, cluster, name: _other("restart")(rng, cluster)),
    "machine-cluster-delete": (
        1.5,
        lambda rng, cluster, name: _one("delete", kind=("kindclusters", "clusters"))(rng, cluster),
    ),
    "machine-slow-watch": (
        0.8,
        lambda rng, cluster, name: _other(
            "slow-watch", plural=("kindmachines", "kindmachines", "kindclusters"), latency=(3, 20)
        )(rng, cluster),
    ),
    "machine-drop-watches": (
        0.7,
        lambda rng, cluster, name: _other("drop-watches", seconds=(1, 10, 120))(rng, cluster),
    ),
    "machine-another-engine": (
        0.4,
        lambda rng, cluster, name: _other("another-engine", seconds=(5, 20, 400))(rng, cluster),
    ),
    "machine-restart-engine": (0.7, lambda rng, cluster, name: _restart_engine(rng, cluster)),
    "machine-replace-cluster": (0.5, lambda rng, cluster, name: _one("replace")(rng, cluster)),
    "machine-move-cluster": (0.5, lambda rng, cluster, name: _one("move", after=(2, 30))(rng, cluster)),
    "machine-stranger-deletes": (0.5, lambda rng, cluster, name: _one("stranger-deletes")(rng, cluster)),
    "machine-recreate": (
        0.7,
        lambda rng, cluster, name: _one("edit", patch={"spec": {"recreatePolicy": "Always"}})(rng, cluster),
    ),
    "machine-retain": (
        0.3,
        lambda rng, cluster, name: _one("edit", patch={"spec": {"deletionPolicy": "Retain"}})(rng, cluster),
    ),
    "machine-engine": (1, lambda rng, cluster, name: _engine(rng, cluster)),
    "machine-api": (1, lambda rng, cluster, name: _api(rng, cluster)),
    "machine-deny": (
        0.5,
        lambda rng, cluster, name: {**_deny(rng, cluster), "plural": "kindmachines", "seconds": rng.choice((60, 700))},
    ),
}


SHARE_WITH_PODS: Final = 0.25
"""Share of the lives with a KINDEngineClass whose engines are Pods."""
_ENGINE_PLURALS: Final = ("pods", "services", "persistentvolumeclaims", "secrets")


def _engine_api(rng: Random, name: str) -> Step:
    """Return a fault of the API server that concerns the objects of engines."""
    plural, kind = rng.choice(_ENGINE_PLURALS), rng.choice(("error", "lost", "slow", "admission", "conflict"))
    status = {"admission": 403, "conflict": 409}.get(kind) or rng.choice((0, 429, 500, 503))
    return {**_api(rng, name), "plural": plural, "kind": kind, "status": status, "message": f"no {kind} for {plural}"}


POD_KINDS: Final[dict[str, tuple[float, Maker]]] = {
    "pod-no-room": (1, _other("kubelet", trouble="no_room", seconds=(20, 200, 900))),
    "pod-no-image": (0.7, _other("kubelet", trouble="no_image", seconds=(20, 200, 900))),
    "pod-refused": (0.5, _other("kubelet", trouble="refuses", seconds=(20, 300))),
    "pod-node-lost": (1, _other("kubelet", trouble="node_lost", seconds=(10, 100, 900))),
    "pod-slow-end": (0.7, _other("slow-end", seconds=(30, 300))),
    "pod-crashes": (
        1.5,
        _one("pod-crashes", reason=("OOMKilled", "Error"), seconds=(2, 2, 30, 300), times=(1, 1, 5)),
    ),
    "pod-evicted": (1, _one("pod-evicted")),
    "pod-deleted": (1.5, _one("pod-deleted", force=(False, False, True))),
    "pod-part-deleted": (
        1,
        _one("engine-object-deleted", plural=("services", "secrets", "persistentvolumeclaims")),
    ),
    "pod-name-taken": (0.6, _one("engine-name-taken", plural=_ENGINE_PLURALS, seconds=(60, 600))),
    "pod-copied": (0.4, _one("copied-engine-pod")),
    "pod-quota": (0.8, _other("engine-quota", plural=_ENGINE_PLURALS, most=(0, 1), seconds=(60, 600))),
    "pod-namespace": (0.3, _other("engine-namespace-deleted", seconds=(20, 200))),
    "pod-users-namespace": (0.4, _other("namespace-deleted", seconds=(60, 300))),
    "pod-power": (1.5, _one("power", state=("Stopped", "Stopped", "Running"))),
    "pod-class": (1.5, _other("class", how=("delete", "image", "closed", "volume"), seconds=(5, 60, 600))),
    "pod-engine": (1, _one("pod-engine", trouble=("down", "hang", "slow", "full_disk"), seconds=(5, 60, 400))),
    "pod-authority": (0.4, _other("authority-deleted")),
    "pod-api": (2, _engine_api),
    "pod-drop-watches": (0.8, _other("drop-watches", plural=_ENGINE_PLURALS, seconds=(1, 10, 120))),
    "pod-slow-watch": (0.8, _other("slow-watch", plural=_ENGINE_PLURALS, latency=(3, 20))),
    "pod-kill": (1.5, _other("kill", linger=(0, 0, 1.5, 8))),
    "pod-replace-provider": (0.4, _other("replace-provider", overlap=(0.5, 5, 40), hard=(True, False))),
    "pod-delete": (1, _one("delete", kind=("kindclusters", "clusters"))),
    "pod-apply": (
        1,
        lambda rng, name: {**_one("apply")(rng, name), "spec": {"engine": dict(_IN_POD), "standalone": True}},
    ),
    "pod-recreate": (0.8, _one("edit", patch={"spec": {"recreatePolicy": "Always"}})),
    "pod-force-delete": (0.5, _one("force-delete")),
    "pod-replace": (0.4, _one("replace")),
    "pod-move": (0.4, _one("move", after=(2, 30))),
}
_IN_POD: Final = {"className": "pods"}


def _pods(rng: Random, steps: list[Step], without: frozenset[str]) -> tuple[str, list[Step]]:
    """Return what kind of engines in Pods a life has, and its steps: some objects have such an engine.

    From numbers of their own: other lives do not change.
    """
    kinds = [kind for kind in POD_KINDS if kind not in without]
    if rng.random() >= SHARE_WITH_PODS or "pods" in without or not kinds:
        return "", steps
    first = [step for step in steps if step["do"] == "apply" and "spec" in step]
    chosen = {step["name"] for step in first if rng.random() < 0.8}
    steps = [_with_engine(step) if step in first and step["name"] in chosen else step for step in steps]
    at, weights = rng.uniform(0, 60), [POD_KINDS[kind][0] for kind in kinds]
    for _ in range(rng.choice((1, 2, 3, 5, 8, 13))):
        step = POD_KINDS[rng.choices(kinds, weights)[0]][1](rng, rng.choice(sorted(chosen) or NAMES[:1]))
        steps.append({"at": round(at, 2), **step})
        at += rng.choice((0.2, 1, 3, 8, 8, 20, 60, 200)) * rng.uniform(0.5, 1.5)
    return rng.choice(("disk", "volume")), steps


def _with_engine(step: Step) -> Step:
    """Return the creation of an object that asks for an engine in a Pod."""
    spec = {key: value for key, value in step["spec"].items() if key != "clusterName"}
    return {**step, "spec": {**spec, "engine": dict(_IN_POD)}}


SHARE_WITH_CONFLICTS: Final = 0.2
"""Share of the lives in which the API server answers writes with conflicts that have no cause in the objects."""


def _conflict(rng: Random) -> Step:
    plural = rng.choice(
        ("kindclusters", "kindclusters", "secrets", "secrets", "kindcontrolplanes", "kindmachines", None)
    )
    verbs = rng.choice(((), (), ("create",), ("patch",), ("delete",)))
    return {
        "do": "api",
        "kind": "conflict",
        "status": 409,
        "message": "Operation cannot be fulfilled: the object has been modified; please apply your changes to the "
        "latest version and try again",
        "share": rng.choice((0.3, 1.0, 1.0)),
        "seconds": rng.choice((5, 60, 700, 1500)),
        "plural": plural,
        "verbs": list(verbs),
    }


def _conflicts(rng: Random, end: float) -> list[Step]:
    """Return steps with conflicts, from numbers of their own: they do not change the others of a seed."""
    if rng.random() >= SHARE_WITH_CONFLICTS:
        return []
    steps = [{"at": round(rng.uniform(0, end), 2), **_conflict(rng)} for _ in range(rng.choice((1, 1, 2, 3)))]
    # A fault ends with the last step: a lasting one gives the provider the time to report it.
    lasting = max(step["at"] + step["seconds"] for step in steps)
    return [*steps, {"at": round(lasting, 2), "do": "wait"}]


SHARE_WITH_STOPS: Final = 0.15
"""Share of the lives whose users stop kind clusters and start them again."""


def _stops(rng: Random, clusters: list[str], end: float) -> list[Step]:
    """Return steps that change the power state, from numbers of their own, as for conflicts."""
    if rng.random() >= SHARE_WITH_STOPS:
        return []
    steps: list[Step] = []
    for name in rng.sample(clusters, rng.randint(1, len(clusters))):
        at, state = rng.uniform(0, end), "Stopped"
        for _ in range(rng.choice((1, 1, 2, 2, 3, 5))):
            patch = {"spec": {"engine": {"powerState": state}}}
            steps.append({"at": round(at, 2), "do": "edit", "name": name, "patch": patch})
            at += rng.choice((0.3, 2, 8, 30, 120, 700)) * rng.uniform(0.5, 1.5)
            state = "Running" if state == "Stopped" else "Stopped"
    return steps


def options(rng: Random) -> Options:
    """Return the options of a world."""
    return Options(
        core=rng.choice(("v1beta2", "v1beta2", "v1beta1", "")),
        lists=rng.random() < 0.85,
        lease=rng.random() < 0.15,
        watch_filter="blue" if rng.random() < 0.15 else "",
        internal=rng.random() < 0.2,
        reach=rng.random() < 0.85,
        balancer_survives=rng.random() < 0.7,
        creates=rng.choice((1, 2, 4)),
        workers=rng.choice((1, 4, 16)),
        sync_period_seconds=rng.choice((120.0, 600.0)),
        inventory_period_seconds=rng.choice((5.0, 10.0, 30.0)),
        speed=rng.choice((0.5, 1.0, 3.0)),
    )


def script(seed: int, *, without: frozenset[str] = frozenset()) -> Script:
    """Return the life of a seed. without: kinds of steps and worlds to exclude."""
    rng = Random(f"script {seed}")
    chosen = options(rng)
    first = [_first(rng, name, chosen) for name in NAMES[: rng.choice((1, 1, 2, 3))]]
    steps = list(first)
    kinds = [kind for kind in KINDS if kind not in without]
    weights = [KINDS[kind][0] for kind in kinds]
    at = max(float(step["at"]) for step in steps)
    for _ in range(rng.choice((1, 2, 3, 5, 8, 13, 20))):
        at += rng.choice((0.2, 1, 3, 8, 8, 20, 60, 200)) * rng.uniform(0.5, 1.5)
        kind = rng.choices(kinds, weights)[0]
        name = rng.choice(NAMES[: len(steps)])
        steps.append({"at": round(at, 2), **KINDS[kind][1](rng, name)})
    steps += _machines(Random(f"machines {seed}"), sorted({step["name"] for step in first}), without)
    if "conflict" not in without:
        steps += _conflicts(Random(f"conflicts {seed}"), end=at + 20)
    if "power" not in without:
        clusters = sorted({step["name"] for step in first})
        steps += _stops(Random(f"stops {seed}"), clusters, end=at + 20)
    pods, steps = _pods(Random(f"pods {seed}"), steps, without)
    chosen = replace(chosen, pods=pods)
    return Script(seed, _without(chosen, without), tuple(steps))


def _machines(rng: Random, clusters: list[str], without: frozenset[str]) -> list[Step]:
    """Return the steps of KINDMachines, from numbers of their own: they do not change the others of a seed."""
    kinds = [kind for kind in MACHINE_KINDS if kind not in without]
    if rng.random() >= SHARE_WITH_MACHINES or "machine" not in kinds:
        return []
    weights = [MACHINE_KINDS[kind][0] for kind in kinds]
    steps, at = [], rng.uniform(0, 40)
    for number in range(rng.choice((2, 3, 5, 8, 13))):
        cluster = rng.choice(clusters)
        kind = "machine" if number == 0 else rng.choices(kinds, weights)[0]
        step = MACHINE_KINDS[kind][1](rng, cluster, f"{cluster}-{rng.choice(WORKERS)}")
        steps.append({"at": round(at, 2), **step})
        at += rng.choice((0.2, 1, 3, 8, 8, 20, 60)) * rng.uniform(0.5, 1.5)
    return steps


def _first(rng: Random, name: str, world: Options) -> Step:
    shape = rng.choices([roles for _, roles in _SHAPES], [weight for weight, _ in _SHAPES])[0]
    spec: dict[str, Any] = {"nodes": [{"role": role} for role in shape]} if shape else {}
    owned = bool(world.core) and rng.random() < 0.65
    if not owned:
        spec["standalone"] = True
    if rng.random() < 0.15:
        spec["clusterName"] = rng.choice(("shared", name))
    if rng.random() < 0.2:
        spec["recreatePolicy"] = "Always"
    step: Step = {"at": round(rng.uniform(0, 6), 2), "do": "apply", "name": name, "spec": spec}
    if owned:
        step |= {
            "owned": True,
            "order": "".join(rng.sample("CKP", 3)),
            "control_plane": (chance := rng.random()) < 0.85,
        }
        step |= {"replicas": 3} if chance < 0.2 else {}
    return step


def _without(world: Options, without: frozenset[str]) -> Options:
    plain = Options()
    dropped = {
        kind.removeprefix("world:"): getattr(plain, kind.removeprefix("world:"))
        for kind in without
        if kind.startswith("world:")
    }
    return Options(**{**vars(world), **dropped})
