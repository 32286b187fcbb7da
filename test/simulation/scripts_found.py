"""Shortened lives by seed that once failed: mostly about competing objects, and about answers.

Each is judged by all invariants, and by the `expect` steps in it.
"""

from typing import Any, Final

from test.simulation.life import Script
from test.simulation.world import Options

_CLAIM: Final = "kind.infrastructure.cluster.x-k8s.io/claim"
_CLAIM_ID: Final = "kind.infrastructure.cluster.x-k8s.io/claim-id"
_IDENTITY: Final = "kind.infrastructure.cluster.x-k8s.io/identity"
_TWO: Final = [{"role": "control-plane"}, {"role": "worker"}]
_THREE: Final = [{"role": "control-plane"}] * 3


def _script(seed: int, *steps: tuple[float, dict[str, Any]], **options: Any) -> Script:
    return Script(seed, Options(**options), tuple({"at": at, **step} for at, step in steps))


def _apply(name: str = "dev", **spec: Any) -> dict[str, Any]:
    return {"do": "apply", "name": name, "spec": {"standalone": True, **spec}}


def _expect(name: str = "dev", **what: Any) -> dict[str, Any]:
    return {"do": "expect", "name": name, **what}


SCRIPTS: Final[dict[str, Script]] = {
    "a deletion waits for nodes that come to light beside a stranger's": _script(
        42000,
        (
            3.2,
            {
                "do": "apply",
                "name": "dev",
                "spec": {"nodes": [{"role": "control-plane"}, {"role": "worker"}]},
                "owned": True,
            },
        ),
        (7.3, {"do": "stranger-creates", "name": "dev"}),
        (16.83, {"do": "delete", "name": "dev", "kind": "kindclusters"}),
        core="v1beta1",
        workers=1,
        speed=3.0,
    ),
    "an object that was replaced after a reboot is not Ready by what its engine knows alone": _script(
        21586,
        (1.84, _apply(nodes=_THREE, clusterName="shared")),
        (369.26, {"do": "restart-engine", "order": "addresses", "come_back": False, "seconds": 10}),
        (369.54, {"do": "edit", "name": "dev", "patch": {"spec": {"deletionPolicy": "Retain"}}}),
        (380.65, {"do": "api", "kind": "slow", "status": 0, "seconds": 10, "delay": 40}),
        (398.18, {"do": "replace", "name": "dev"}),
        lease=True,
        inventory_period_seconds=30.0,
    ),
    "a load balancer is started with its control planes beside a node of a stranger": _script(
        33258,
        (5.08, {"do": "apply", "name": "dev", "spec": {"nodes": _THREE}, "owned": True, "order": "KPC"}),
        (292.61, {"do": "stranger-makes-node", "name": "dev", "role": "worker"}),
        (549.67, {"do": "restart-engine", "order": "names", "come_back": False, "seconds": 60}),
        (583.66, {"do": "cut-off", "seconds": 5}),
        lease=True,
        inventory_period_seconds=5.0,
    ),
    "a creation that gets its turn before a late event of a deletion comes to its end": _script(
        20481,
        (2.21, _apply("prod")),
        (5.17, {"do": "apply", "name": "edge", "owned": True, "order": "CPK"}),
        (5.21, {"do": "apply", "name": "dev", "owned": True, "order": "KCP", "control_plane": False}),
        (37.91, {"do": "slow-watch", "plural": "kindclusters", "latency": 20}),
        (39.12, {"do": "force-delete", "name": "edge"}),
        creates=1,
        inventory_period_seconds=30.0,
    ),
    "a complete cluster that could not be noted survives a time out of the watch filter": _script(
        44788,
        (1.26, _apply("prod")),
        (6.05, {"do": "cut-off", "seconds": 5}),
        (34.26, {"do": "leave-filter", "name": "prod", "seconds": 100}),
        watch_filter="blue",
    ),
    "two kind clusters that have each other's addresses after a reboot both come back": _script(
        69,
        (1.34, _apply("prod", nodes=_THREE)),
        (2.94, _apply("dev", nodes=_THREE)),
        (658.2, {"do": "restart-engine", "order": "names", "seconds": 10}),
        (1500, _expect("dev", ready=True)),
        (1500, _expect("prod", ready=True)),
    ),
    "a kind cluster that took an address is named, and goes on running": _script(
        1016,
        (1, _apply(nodes=_THREE)),
        (200, {"do": "stop-nodes", "name": "dev"}),
        (200.1, {"do": "stranger-creates", "name": "edge"}),
        (600, _expect(ready=False, words="edge-control-plane has it")),
        (600, {"do": "expect-calls", "what": "stop", "most": 0}),
        (601, {"do": "stranger-deletes", "name": "edge"}),
        (1500, _expect(ready=True)),
    ),
    "a copy of an object that was moved does not take its kind cluster": _script(
        42839,
        (5.26, _apply("edge", clusterName="shared")),
        (575.62, {"do": "move", "name": "edge", "after": 30}),
        (616.28, {"do": "copy", "name": "edge", "to": "edge-copy"}),
        (900, _expect("edge", ready=True)),
    ),
    "a copy does not take the kind cluster of an object that is being moved": _script(
        21618,
        (5.78, _apply(clusterName="dev", recreatePolicy="Always")),
        (314.81, {"do": "copy", "name": "dev", "to": "dev-copy"}),
        (577.2, {"do": "move", "name": "dev", "after": 30}),
        (900, _expect(ready=True)),
        (901, _expect("dev-copy", words="NameConflict")),
    ),
    "a claim that was refused is stored later, although the status could not be written either": _script(
        43349,
        (
            0.23,
            {
                "do": "apply",
                "name": "edge",
                "spec": {"clusterName": "edge", "recreatePolicy": "Always"},
                "owned": True,
                "order": "KPC",
            },
        ),
        (4.65, {"do": "apply", "name": "dev", "spec": {"nodes": _THREE}, "owned": True, "order": "PCK"}),
        (28.34, {"do": "api", "kind": "error", "status": 500, "seconds": 10}),
        (30.08, {"do": "stranger-deletes", "name": "edge"}),
        (192.74, {"do": "pause", "name": "dev", "seconds": 5}),
    ),
    "an identity that is emptied while the engine answers nonsense costs no complete cluster": _script(
        46495,
        (1.6, _apply("prod", nodes=_TWO)),
        (1.91, _apply("edge", nodes=_TWO)),
        (4.6, _apply("dev")),
        (4.9, {"do": "engine", "trouble": "garble", "seconds": 400}),
        (18.97, {"do": "annotate", "name": "edge", "annotations": {_IDENTITY: ""}}),
        speed=0.5,
    ),
    "annotations that are edited in a pause cost no cluster that was completed in it": _script(
        42892,
        (0.49, {"do": "apply", "name": "dev", "owned": True, "order": "KPC", "control_plane": False}),
        (18.89, {"do": "pause", "name": "dev", "seconds": 600}),
        (115.34, {"do": "annotate", "name": "dev", "annotations": {_CLAIM_ID: "uid-of-nobody", _IDENTITY: None}}),
        (900, _expect(ready=True)),
        speed=3.0,
    ),
    "a worker of the own cluster gives way to a control plane that needs its address": _script(
        206121,
        (
            0.22,
            {
                "do": "apply",
                "name": "dev",
                "spec": {"nodes": _TWO},
                "owned": True,
                "order": "CPK",
                "control_plane": True,
                "replicas": 3,
            },
        ),
        (5.01, _apply("prod", nodes=[*_TWO, {"role": "worker"}])),
        (26.61, {"do": "node", "name": "prod", "how": "exits", "role": "worker", "seconds": 600}),
        (178.94, {"do": "restart-engine", "order": "names", "come_back": True, "seconds": 10}),
        balancer_survives=False,
        inventory_period_seconds=5.0,
        speed=3.0,
    ),
    "an identity that is edited after an etcd came back empty hides no loss of data": _script(
        207352,
        (1.54, {"do": "apply", "name": "dev", "spec": {}, "owned": True, "order": "PCK", "control_plane": True}),
        (258.65, {"do": "plane", "name": "dev", "how": "empty"}),
        (414.01, {"do": "annotate", "name": "dev", "annotations": {_IDENTITY: "sha256:0000"}}),
        (900, {"do": "expect", "name": "dev", "ready": False, "words": "has lost all data"}),
    ),
    "a copied claim of a gone object does without no Cluster": _script(
        201641,
        (1, {"do": "apply", "name": "dev"}),
        (60, {"do": "install-core"}),
        (200, {"do": "replace", "name": "dev"}),
        (600, _expect(ready=False, words="No Cluster owns this KINDCluster")),
        core="",
    ),
    "the rest of a creation on another engine is not taken for the kind cluster": _script(
        208951,
        (4, _apply(recreatePolicy="Always")),
        (34.5, {"do": "engine", "trouble": "down", "seconds": 120}),
        (36.96, {"do": "annotate", "name": "dev", "annotations": {_CLAIM: "$OUTSIDE"}}),
        (51.75, {"do": "kill", "linger": 8}),
        (73.63, {"do": "another-engine", "seconds": 400}),
        core="",
        speed=3.0,
    ),
    "control planes that are completed in a pause get their addresses again after a reboot": _script(
        103721,
        (1.16, {"do": "apply", "name": "dev", "spec": {"nodes": _THREE}, "owned": True, "order": "CPK"}),
        (1.12, _apply("prod", nodes=_THREE, recreatePolicy="Always")),
        (566.3, {"do": "replace", "name": "dev"}),
        (572.8, {"do": "pause", "name": "dev", "seconds": 60}),
        (603.82, {"do": "restart-engine", "order": "names", "come_back": True, "seconds": 10}),
        (1500, _expect("dev", ready=True)),
        (1500, _expect("prod", ready=True)),
    ),
    "control planes that lost their addresses in a move give way to those that know theirs": _script(
        103722,
        (1, _apply("prod", nodes=_THREE)),
        (100, _apply("dev", nodes=_THREE)),
        (300, {"do": "move", "name": "dev", "after": 60}),
        (310, {"do": "restart-engine", "order": "names", "come_back": True, "seconds": 10}),
        (1500, _expect("prod", ready=True)),
        (1500, _expect("dev", ready=False, words="does not answer")),
    ),
    "a deletion ends though another engine answers by the time that its finalizer may go": _script(
        1000539,
        (5, _apply()),
        (1, {"do": "stranger-makes-node", "name": "dev", "role": "worker"}),
        (377.47, {"do": "another-engine", "seconds": 400}),
        (
            406.7,
            {
                "do": "api",
                "kind": "admission",
                "status": 403,
                "message": "denied by policy.example",
                "plural": "kindclusters",
                "seconds": 700,
            },
        ),
        (459.9, {"do": "delete", "name": "dev", "kind": "kindclusters"}),
        (1500, _expect("dev", exists=False)),
    ),
    "a deletion goes on after its object was out of the watch filter for a moment": _script(
        5000686,
        (0.18, {"do": "apply", "name": "dev", "spec": {}, "owned": True, "order": "PCK"}),
        (15.23, {"do": "pause", "name": "prod", "kind": "clusters", "seconds": 600}),
        (25.11, {"do": "engine", "trouble": "hang", "seconds": 5}),
        (32.61, {"do": "engine", "trouble": "disagree", "seconds": 120}),
        (36.25, {"do": "pause", "name": "edge", "kind": "clusters", "seconds": 5}),
        (145.4, {"do": "delete", "name": "dev"}),
        (148.07, {"do": "leave-filter", "name": "dev", "seconds": 0.5}),
        (148.24, {"do": "stop-nodes", "name": "edge"}),
        watch_filter="blue",
        creates=4,
        inventory_period_seconds=5.0,
        speed=0.5,
    ),
    "an API server that answered while no write was possible is not out of reach after a restart": _script(
        1003296,
        (2.02, {**_apply("prod"), "owned": True, "order": "PCK", "spec": {}}),
        (3.3, {**_apply("edge"), "owned": True, "order": "CPK", "spec": {"nodes": _THREE, "clusterName": "edge"}}),
        (
            34.55,
            {
                "do": "api",
                "kind": "admission",
                "status": 403,
                "message": "denied by policy.example",
                "plural": "kindclusters",
                "seconds": 700,
            },
        ),
        (277.15, {"do": "stop-nodes", "name": "edge"}),
        (1500, {"do": "wait"}),
        inventory_period_seconds=30.0,
        speed=3.0,
    ),
    "a kind cluster that is being removed is not taken over by an object that was restored": _script(
        1004018,
        (5.87, _apply(clusterName="shared")),
        (33.42, {"do": "replace", "name": "dev"}),
        (33.56, {"do": "force-delete", "name": "dev"}),
        (300, _expect(ready=True)),
        core="",
        sync_period_seconds=120.0,
        speed=0.5,
    ),
    "an identity that is emptied costs no complete cluster, without a list of containers": _script(
        6311,
        (1.57, _apply(recreatePolicy="Always")),
        (242.36, {"do": "annotate", "name": "dev", "annotations": {_IDENTITY: ""}}),
        (900, _expect(ready=True)),
        lists=False,
    ),
    "a stranger's node that was quicker stays, without a list of containers": _script(
        6535,
        (1.59, _apply(nodes=_THREE, recreatePolicy="Always")),
        (1.76, {"do": "stranger-creates", "name": "dev", "workers": 0, "instantly": False}),
        lists=False,
    ),
    "a stranger's node stays though its object is moved, without a list of containers": _script(
        6308,
        (
            3.56,
            {
                "do": "apply",
                "name": "dev",
                "spec": {"nodes": [*_TWO, {"role": "worker"}]},
                "owned": True,
                "order": "PKC",
            },
        ),
        (3.6, _apply("prod", recreatePolicy="Always")),
        (2.0, _apply("edge", recreatePolicy="Always")),
        (4.97, {"do": "stranger-creates", "name": "edge", "workers": 0, "instantly": False}),
        (435.5, {"do": "move", "name": "edge", "after": 30}),
        lists=False,
        balancer_survives=False,
        creates=4,
        workers=16,
        inventory_period_seconds=5.0,
        speed=3.0,
    ),
    "an identity that is edited during a creation leaves no containers after the deletion": _script(
        213832,
        (5.42, _apply(nodes=_TWO)),
        (22.79, {"do": "kill", "linger": 1.5}),
        (26.89, {"do": "annotate", "name": "dev", "annotations": {_IDENTITY: "sha256:0000"}}),
        (27.11, {"do": "replace", "name": "dev"}),
    ),
    "a creation that failed on another engine and left nothing there is made by the one that answers": _script(
        90141,
        (6.73, {"do": "kind-fails", "fixture": "create-port-allocated", "times": 5}),
        (26.33, {"do": "another-engine", "seconds": 400}),
        (307.07, _apply("prod")),
        (800, _expect("prod", ready=True)),
        core="",
    ),
    "what a creation may have left on another engine is waited for, with words about it": _script(
        90141,
        (6.73, {"do": "kind-fails", "fixture": "create-port-allocated", "times": 5}),
        (23.33, {"do": "another-engine", "seconds": 400}),
        (307.07, {"do": "apply", "name": "prod", "spec": {}}),
        (800, _expect("prod", words="may have left containers, on the container engine")),
        core="",
    ),
    "an object that failed and left nothing on another engine goes though that engine is gone": _script(
        90142,
        (6.73, {"do": "kind-fails", "fixture": "create-port-allocated", "times": 9}),
        (26.33, {"do": "another-engine", "seconds": 400}),
        (307.07, _apply("prod")),
        (427, {"do": "restart"}),
        (427, {"do": "delete", "name": "prod"}),
        (500, _expect("prod", exists=False)),
        core="",
    ),
    "a claim that was taken off leaves no kind cluster behind, without a list of containers": _script(
        6544,
        (1.51, {"do": "apply", "name": "dev", "spec": {}, "owned": True, "order": "KPC"}),
        (301.48, {"do": "annotate", "name": "dev", "annotations": {_CLAIM: None, _CLAIM_ID: None}}),
        (441.35, {"do": "replace", "name": "dev"}),
        lists=False,
    ),
    "an identity that was edited is compared again without a word about it, without a list of containers": _script(
        7033,
        (1.28, {"do": "apply", "name": "dev", "spec": {}, "owned": True, "order": "PKC", "control_plane": False}),
        (36.35, {"do": "annotate", "name": "dev", "annotations": {_IDENTITY: "sha256:0000"}}),
        lists=False,
        sync_period_seconds=120.0,
        inventory_period_seconds=5.0,
    ),
    "an identity that is edited during a creation is corrected, without a list of containers": _script(
        7513,
        (3.72, _apply("dev", nodes=_TWO)),
        (9, {"do": "annotate", "name": "dev", "annotations": {_IDENTITY: "sha256:0000"}}),
        (400, _expect("dev", ready=True)),
        lists=False,
        speed=3.0,
    ),
    "a claim that is edited during a creation leaves no kind cluster behind, without a list of containers": _script(
        140,
        (3.85, _apply("dev", nodes=_TWO, recreatePolicy="Always")),
        (9, {"do": "annotate", "name": "dev", "annotations": {_CLAIM: "prod"}}),
        (400, _expect("dev", ready=True)),
        (400, {"do": "delete", "name": "dev"}),
        lists=False,
    ),
    "a status of the former kind cluster does not make the unfinished next one complete": _script(
        700429,
        (4.08, {"do": "apply", "name": "prod", "spec": {"nodes": _TWO, "recreatePolicy": "Always"}, "owned": True}),
        (834.39, {"do": "plane", "name": "prod", "how": "empty"}),
        (840.17, {"do": "cut-off", "seconds": 90}),
        (900.1, {"do": "kill", "linger": 0}),
        (1200, _expect("prod", ready=True)),
        inventory_period_seconds=5.0,
    ),
}
