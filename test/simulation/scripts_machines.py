"""Lives with workers: one script for each situation that matters, and for each kind of fault that was found.

Each is judged by all invariants, and by the `expect` steps in it.
"""

from typing import Any, Final

from capk.api import names
from test.simulation.life import Script
from test.simulation.world import Options

_ONE: Final[dict[str, Any]] = {"do": "apply", "name": "dev", "spec": {"standalone": True}}
_OWNED: Final[dict[str, Any]] = {"do": "apply", "name": "dev", "owned": True}


def _script(seed: int, *steps: tuple[float, dict[str, Any]], **options: Any) -> Script:
    return Script(seed, Options(**options), tuple({"at": at, **step} for at, step in steps))


def _machine(name: str = "dev-w1", **what: Any) -> dict[str, Any]:
    return {"do": "machine", "name": name, "cluster": "dev", **what}


def _expect(name: str = "dev-w1", **what: Any) -> dict[str, Any]:
    return {"do": "expect", "name": name, "kind": "kindmachines", **what}


def _delete(name: str = "dev-w1", **what: Any) -> dict[str, Any]:
    return {"do": "machine-delete", "name": name, **what}


SCRIPTS: Final[dict[str, Script]] = {
    "workers of Machines and standalone ones join, and go with their Cluster": _script(
        1,
        (1, _OWNED),
        (2, _machine()),
        (3, _machine("dev-w2", standalone=True)),
        (120, _expect(ready=True)),
        (120, _expect("dev-w2", ready=True)),
        (130, _delete()),
        (220, _expect(exists=False)),
        (221, {"do": "delete", "name": "dev", "kind": "clusters"}),
        (340, _expect("dev-w2", ready=False, words="does not exist")),
    ),
    "a failed join shows its cause, keeps no token, and is tried again": _script(
        2,
        (1, _ONE),
        (42, _machine()),
        (41, {"do": "joins-fail", "times": 1}),
        (51, _expect(ready=False, words="kubeadm cannot join")),
        (400, _expect(ready=True)),
    ),
    "a provider that is killed during a join leaves one container": _script(
        3,
        (1, _ONE),
        (40, _machine()),
        (43.5, {"do": "kill", "linger": 0}),
        (300, _expect(ready=True)),
        (310, _delete()),
        (380, _expect(exists=False)),
    ),
    "a worker removed by hand is reported, and its successor of the same name joins": _script(
        4,
        (1, _OWNED),
        (2, _machine()),
        (120, {"do": "worker", "node": "dev-w1", "how": "remove"}),
        (220, _expect(ready=False, words="was removed")),
        (221, _delete()),
        (300, _machine()),
        (420, _expect(ready=True)),
    ),
    "a stopped worker is started": _script(
        5,
        (1, _ONE),
        (2, _machine()),
        (120, {"do": "worker", "node": "dev-w1", "how": "stop"}),
        (300, _expect(ready=True)),
    ),
    "a container of someone else with the name of a worker stays": _script(
        6,
        (1, _ONE),
        (40, {"do": "stranger-makes-worker", "cluster": "dev", "node": "dev-w1"}),
        (50, _machine()),
        (100, _expect(ready=False, words="not made for")),
        (101, _delete()),
        (160, _expect(exists=False)),
    ),
    "a container of someone else does not keep workers out of a kind cluster": _script(
        41,
        (1, _ONE),
        (40, {"do": "stranger-makes-worker", "cluster": "dev", "node": "dev-w9"}),
        (60, _machine()),
        (200, _expect(ready=True)),
    ),
    "the machine id of another machine gives no power over its container": _script(
        7,
        (1, _ONE),
        (2, _machine()),
        (3, _machine("dev-w2")),
        (
            120,
            {
                "do": "machine-annotate",
                "name": "dev-w2",
                "annotations": {names.MACHINE_ID_ANNOTATION: "$UID:dev-w1"},
            },
        ),
        (150, _delete("dev-w2")),
        (260, _expect("dev-w2", exists=False)),
        (261, _expect(ready=True)),
    ),
    "a move keeps the worker": _script(
        8,
        (1, _ONE),
        (2, _machine()),
        (120, {"do": "machine-move", "name": "dev-w1", "after": 5}),
        (240, _expect(ready=True)),
    ),
    "the deletion of a KINDCluster during a join leaves nothing": _script(
        9,
        (1, _ONE),
        (40, _machine()),
        (44, {"do": "delete", "name": "dev"}),
        (45, _delete()),
        (300, _expect(exists=False)),
    ),
    "a machine that is moved beside a copy of its manifest keeps its container, and the copy gets its own": _script(
        42,
        (1, _ONE),
        (2, _machine()),
        # The copy cannot begin before the original is gone.
        (60, {"do": "plane", "name": "dev", "how": "dead", "seconds": 200}),
        (150, {"do": "machine-copy", "name": "dev-w1", "to": "dev-w2"}),
        (160, {"do": "machine-move", "name": "dev-w1", "after": 5}),
        (240, _expect(ready=True)),
        (700, _expect(ready=True)),
        (700, _expect("dev-w2", ready=True)),
        (701, _delete("dev-w2")),
        (900, _expect("dev-w2", exists=False)),
        (901, _expect(ready=True)),
    ),
    "a saved manifest that is applied after the deletion is a new worker": _script(
        43,
        (1, _ONE),
        (2, _machine()),
        (100, {"do": "machine-replace", "name": "dev-w1"}),
        (400, _expect(ready=True)),
    ),
    "a label of another Cluster does not part a machine from its container": _script(
        44,
        (1, _OWNED),
        (1, {**_OWNED, "name": "prod"}),
        (2, _machine()),
        (120, {"do": "machine-relabel", "name": "dev-w1", "to": "prod", "seconds": 300}),
        (200, _expect(ready=True)),
        (201, _delete(only=True)),
        (350, _expect(exists=False)),
    ),
    "a label that is edited during a join does not part the machine from its container": _script(
        45,
        (1, _OWNED),
        (1, {**_OWNED, "name": "prod"}),
        (60, _machine()),
        (61.5, {"do": "machine-relabel", "name": "dev-w1", "to": "prod", "seconds": 300}),
        (200, _expect(ready=True)),
        (201, _delete(only=True)),
        (350, _expect(exists=False)),
    ),
    "nothing joins or goes during a pause": _script(
        10,
        (1, _OWNED),
        (2, _machine()),
        (100, {"do": "pause", "name": "dev", "kind": "clusters", "seconds": 200}),
        (110, _machine("dev-w2")),
        (111, _delete(only=True)),
        (250, _expect(exists=True)),
        (251, _expect("dev-w2", ready=False)),
        (500, _expect(exists=False)),
        (501, _expect("dev-w2", ready=True)),
    ),
    "an edited machine id does not part a machine from its container": _script(
        5018,
        (1, _OWNED),
        (2, _machine()),
        (20, {"do": "api", "kind": "admission", "status": 403, "plural": "kindmachines", "seconds": 60}),
        (
            50,
            {
                "do": "machine-annotate",
                "name": "dev-w1",
                "annotations": {names.MACHINE_ID_ANNOTATION: "uid-of-nobody"},
            },
        ),
        (52, {"do": "worker", "node": "dev-w1", "how": "stop"}),
        (60, {"do": "machine-replace", "name": "dev-w1"}),
    ),
    "a worker that an old listing lacks is not replaced": _script(
        1119,
        (
            1.9,
            {
                "do": "apply",
                "name": "dev",
                "spec": {"nodes": [{"role": "control-plane"}, {"role": "worker"}], "recreatePolicy": "Always"},
                "owned": True,
                "order": "CPK",
            },
        ),
        (9.64, _machine("dev-w3", standalone=True)),
        (37.3, _machine()),
        (47.09, {"do": "engine", "trouble": "disagree", "seconds": 30}),
        (91.6, {"do": "worker", "how": "remove", "node": "dev-w1"}),
        inventory_period_seconds=30.0,
        speed=3.0,
    ),
    "a KINDCluster goes while the join of a vanished KINDMachine is cleaned up": _script(
        10053,
        (0.5, _ONE),
        (40, _machine()),
        (41.2, {"do": "machine-force-delete", "name": "dev-w1"}),
        (44, {"do": "delete", "name": "dev"}),
    ),
}
