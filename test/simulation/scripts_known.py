"""Hand-written lives, one for each fault that was once found: steps and expectations.

Each is judged by all invariants, and by the `expect` steps in it.
"""

from typing import Any, Final

from test.simulation.life import Script
from test.simulation.world import Options

_ALONE: Final[dict[str, Any]] = {"do": "apply", "name": "dev", "spec": {"standalone": True}}
_OWNED: Final[dict[str, Any]] = {"do": "apply", "name": "dev", "owned": True}
_WORKER: Final[dict[str, Any]] = {
    "do": "apply",
    "name": "dev",
    "spec": {"standalone": True, "nodes": [{"role": "control-plane"}, {"role": "worker"}]},
}
_THREE: Final[dict[str, Any]] = {
    "do": "apply",
    "name": "dev",
    "spec": {"standalone": True, "nodes": [{"role": "control-plane"}] * 3},
}
_READY: Final[dict[str, Any]] = {"do": "expect", "name": "dev", "ready": True}
_IDENTITY: Final = "kind.infrastructure.cluster.x-k8s.io/identity"
_CLAIM: Final = "kind.infrastructure.cluster.x-k8s.io/claim"


def _script(*steps: tuple[float, dict[str, Any]], seed: int = 1, **options: Any) -> Script:
    return Script(seed, Options(**options), tuple({"at": at, **step} for at, step in steps))


SCRIPTS: Final[dict[str, Script]] = {
    "a creation that was cut short is made again": _script(
        (1, _OWNED), (6, {"do": "kill", "linger": 1.5}), (90, _READY)
    ),
    "an engine that is down is waited for": _script(
        (1, _ALONE),
        (3, {"do": "engine", "trouble": "down", "seconds": 600}),
        (900, _READY),
    ),
    "answers that are lost do no harm": _script(
        (0.5, {"do": "api", "kind": "lost", "share": 0.5, "seconds": 120}), (1, _OWNED), (400, _READY)
    ),
    "a single node comes back after a reboot": _script(
        (1, _ALONE), (60, {"do": "restart-engine", "come_back": False, "seconds": 20}), (300, _READY)
    ),
    "a claim is never a path": _script(
        (1, _ALONE),
        (3, {"do": "annotate", "name": "dev", "annotations": {_CLAIM: "$OUTSIDE"}}),
        (3.1, {"do": "delete", "name": "dev"}),
    ),
    "a claim is never a path, after the creation": _script(
        (1, _ALONE),
        (30, _READY),
        (31, {"do": "annotate", "name": "dev", "annotations": {_CLAIM: "$OUTSIDE"}}),
        (31.1, {"do": "delete", "name": "dev"}),
    ),
    "what a node adds to its kubeconfig is not passed on": _script(
        (1, _ALONE),
        (40, {"do": "hostile-node", "name": "dev"}),
        (41, {"do": "stop-nodes", "name": "dev"}),
        (200, {"do": "secret", "name": "dev-config", "how": "edit"}),
    ),
    "a stranger who is quicker by a node keeps it": _script(
        (1, _WORKER), (3, {"do": "stranger-makes-node", "name": "dev"}), speed=3.0
    ),
    "a stranger's cluster is safe while two listings disagree": _script(
        (0.5, {"do": "kind-fails", "fixture": "create-image-absent", "times": 9}),
        (1, _ALONE),
        (130, {"do": "engine", "trouble": "disagree", "seconds": 60}),
        (140, {"do": "stranger-creates", "name": "dev"}),
        (190, {"do": "wait"}),
        inventory_period_seconds=5.0,
    ),
    "a deletion waits for its proof": _script(
        (1, _ALONE),
        (120, {"do": "stranger-deletes", "name": "dev"}),
        (121, {"do": "stranger-creates", "name": "dev"}),
        (122, {"do": "engine", "trouble": "slow", "seconds": 60}),
        (123, {"do": "delete", "name": "dev"}),
        (180, {"do": "wait"}),
        lists=False,
    ),
    "a Secret that lost its label costs one repair": _script(
        (1, _ALONE), (60, {"do": "secret", "name": "dev-config", "how": "unlabel"}), (700, _READY)
    ),
    "an object that was out of the filter for a moment can be deleted": _script(
        (1, _ALONE),
        (60, {"do": "leave-filter", "name": "dev", "seconds": 5}),
        (70, {"do": "delete", "name": "dev"}),
        (130, {"do": "expect", "name": "dev", "exists": False}),
        watch_filter="blue",
    ),
    "a failing clean-up backs off and is reported": _script(
        (0.5, {"do": "kind-fails", "fixture": "create-out-of-memory", "times": 1}),
        (1, _ALONE),
        (10, {"do": "node", "name": "dev", "how": "stuck", "seconds": 900}),
        (500, {"do": "expect", "name": "dev", "words": "cannot stop the container"}),
        (601, {"do": "expect-calls", "what": "delete", "most": 20}),
    ),
    "a kubeconfig that cannot be read once costs no cluster": _script(
        (0.5, {"do": "kind-fails", "fixture": "get-kubeconfig-unfinished", "times": 1}), (1, _ALONE), (300, _READY)
    ),
    "kubeconfigs that cannot be read cost no cluster and are reported": _script(
        (0.5, {"do": "kind-fails", "fixture": "get-kubeconfig-unfinished", "times": 400}),
        (1, _ALONE),
        (300, _READY),
        (301, {"do": "secret", "name": "dev-config", "how": "delete"}),
        (800, {"do": "expect", "name": "dev", "ready": False, "words": "never finished"}),
    ),
    "a worker that ends again is not started without pause": _script(
        (1, _WORKER),
        (60, {"do": "node", "name": "dev", "how": "exits", "role": "worker", "seconds": 1200}),
        (700, {"do": "expect-calls", "what": "start", "most": 20}),
        (701, {"do": "expect", "name": "dev", "ready": False, "words": "dev-worker"}),
    ),
    "a webhook that edits Secrets starts no loop": _script(
        (0.5, {"do": "webhook", "seconds": 1500}), (1, _ALONE), (900, {"do": "expect", "name": "dev", "exists": True})
    ),
    "a webhook that edits Secrets starts no loop, beside a control plane": _script(
        (0.5, {"do": "webhook", "seconds": 1500}), (1, _OWNED), (900, {"do": "expect", "name": "dev", "exists": True})
    ),
    "a cluster that is created again soon has its own kubeconfig": _script(
        (1, {**_ALONE, "spec": {"standalone": True, "recreatePolicy": "Always"}}),
        (30, {"do": "stranger-deletes", "name": "dev"}),
        (200, _READY),
    ),
    "an API server is asked for as long as its cluster lives, without a list of containers": _script(
        (1, _ALONE),
        (200, {"do": "plane", "name": "dev", "how": "dead", "seconds": 600}),
        (450, {"do": "expect", "name": "dev", "ready": False}),
        (1000, _READY),
        lists=False,
    ),
    "a foreign Secret is reported for as long as it is there": _script(
        (0.5, {"do": "foreign-secret", "name": "dev-config"}),
        (1, _ALONE),
        (700, {"do": "expect", "name": "dev", "words": "dev-config"}),
        (1100, {"do": "expect", "name": "dev", "words": "dev-config"}),
        (1200, {"do": "expect-writes", "plural": "kindclusters", "most": 2}),
    ),
    "a refusal that lasts is written once": _script(
        (0.5, {"do": "quota", "limit": 0, "seconds": 3000}),
        (1, _ALONE),
        (1200, {"do": "expect", "name": "dev", "words": "exceeded quota"}),
        (1201, {"do": "expect-writes", "plural": "kindclusters", "most": 2}),
    ),
    "an emptied identity costs no complete cluster": _script(
        (1, _ALONE),
        (60, {"do": "annotate", "name": "dev", "annotations": {_IDENTITY: ""}}),
        (200, _READY),
    ),
    "a claim of another name hides no cluster that bears the mark": _script(
        (1, _ALONE), (60, {"do": "annotate", "name": "dev", "annotations": {_CLAIM: "edge"}}), (200, _READY)
    ),
    "a claim of another name keeps no deletion from its cluster": _script(
        (1, _ALONE),
        (60, {"do": "annotate", "name": "dev", "annotations": {_CLAIM: "edge"}}),
        (60.01, {"do": "delete", "name": "dev"}),
    ),
    "a load balancer that comes to light late is removed, without a list of containers": _script(
        (2.86, _THREE), (11.12, {"do": "delete", "name": "dev"}), seed=6, lists=False, speed=3.0
    ),
    "another engine is noticed before anything is created there": _script(
        (1, {**_ALONE, "spec": {"standalone": True, "recreatePolicy": "Always"}}),
        (100, {"do": "another-engine", "seconds": 300}),
        (800, _READY),
    ),
    "what was created belongs to the engine that has it": _script(
        (1, _ALONE),
        (177, {"do": "another-engine", "seconds": 20}),
        (540, {"do": "kill"}),
        (540.1, {"do": "delete", "name": "dev"}),
    ),
    "a pause in the middle of a creation and a restart cost no complete cluster": _script(
        (1, _ALONE), (14, {"do": "pause", "name": "dev", "seconds": 600}), (80, {"do": "restart"}), (900, _READY)
    ),
    "a claim that was taken off costs no complete cluster whose Secret is refused": _script(
        (0.5, {"do": "quota", "limit": 0, "seconds": 900}),
        (1, _OWNED),
        (340, {"do": "annotate", "name": "dev", "annotations": {_CLAIM: None, f"{_CLAIM}-id": None}}),
        (500, {"do": "wait"}),
    ),
    "a stopped cluster is noticed beside a node of a stranger": _script(
        (1, _ALONE),
        (60, {"do": "stranger-makes-node", "name": "dev", "role": "worker"}),
        (100, {"do": "restart-engine", "come_back": False, "seconds": 60}),
        (110, {"do": "kill"}),
        (500, {"do": "wait"}),
    ),
    "an identity that was taken off in a creation leaves nothing behind": _script(
        (4.27, {**_OWNED, "control_plane": False, "order": "CPK"}),
        (6.62, {"do": "annotate", "name": "dev", "annotations": {_IDENTITY: None}}),
        (17.12, {"do": "delete", "name": "dev", "kind": "clusters"}),
        seed=30329,
        inventory_period_seconds=30.0,
    ),
    "a claim id of another object costs no complete cluster": _script(
        (0.54, _ALONE),
        (3.33, {**_ALONE, "name": "prod", "spec": {"standalone": True, "recreatePolicy": "Always"}}),
        (203.85, {"do": "engine", "trouble": "garble", "seconds": 120}),
        (207.47, {"do": "annotate", "name": "prod", "annotations": {f"{_CLAIM}-id": "$UID:default/dev"}}),
        (211.77, {"do": "secret", "name": "prod-config", "how": "retype"}),
        seed=30551,
    ),
    "a quota is reported, and a restart costs no cluster": _script(
        (0.5, {"do": "quota", "limit": 0, "seconds": 2000}),
        (1, _ALONE),
        (600, {"do": "expect", "name": "dev", "words": "exceeded quota"}),
        (650, {"do": "restart"}),
    ),
    "a refusing webhook is reported, and a restart costs no cluster": _script(
        (
            0.5,
            {
                "do": "api",
                "kind": "admission",
                "status": 403,
                "message": "denied by policy.example",
                "plural": "secrets",
                "seconds": 2000,
            },
        ),
        (1, _ALONE),
        (600, {"do": "expect", "name": "dev", "words": "denied by policy.example"}),
        (650, {"do": "kill"}),
    ),
    "a foreign kubeconfig Secret is reported beside a control plane": _script(
        (0.5, {"do": "foreign-secret", "name": "dev-kubeconfig"}),
        (1, _OWNED),
        (400, {"do": "expect", "name": "dev", "words": "dev-kubeconfig"}),
        (401, {"do": "expect", "name": "dev", "kind": "kindcontrolplanes", "words": "dev-kubeconfig"}),
        (402, {"do": "free-secret", "name": "dev-kubeconfig"}),
        (900, _READY),
    ),
    "a name stays with its object over a restart": _script(
        (
            1,
            {
                "do": "apply",
                "name": "dev",
                "namespace": "z-first",
                "spec": {"clusterName": "shared", "standalone": True},
            },
        ),
        (
            60,
            {
                "do": "apply",
                "name": "dev",
                "namespace": "a-second",
                "spec": {"clusterName": "shared", "standalone": True},
            },
        ),
        (120, {"do": "stranger-deletes", "name": "shared"}),
        (160, {"do": "restart"}),
        (300, {"do": "delete", "name": "dev", "namespace": "a-second"}),
    ),
    "a forged claim does not take a moved cluster's name": _script(
        (1, _ALONE),
        (60, {"do": "move", "name": "dev"}),
        (119, {"do": "kill"}),
        (
            119.5,
            {
                "do": "apply",
                "name": "x",
                "namespace": "tenant",
                "spec": {"standalone": True},
                "annotations": {_CLAIM: "dev", "cluster.x-k8s.io/paused": ""},
            },
        ),
        (400, _READY),
    ),
    "an object that is managed elsewhere holds no name": _script(
        (
            1,
            {
                **_ALONE,
                "namespace": "a",
                "annotations": {"cluster.x-k8s.io/managed-by": "terraform"},
            },
        ),
        (5, _ALONE),
        (120, _READY),
    ),
    "a deletion without its claim leaves nothing behind": _script(
        (1, _ALONE),
        (60, {"do": "annotate", "name": "dev", "annotations": {_CLAIM: None, f"{_CLAIM}-id": None}}),
        (60.01, {"do": "delete", "name": "dev"}),
    ),
    "creations of objects that are gone do not begin": _script(
        (1, _ALONE),
        (1.1, {**_ALONE, "name": "prod"}),
        (2, {"do": "force-delete", "name": "prod"}),
        creates=1,
        speed=6.0,
    ),
    "nothing begins while its object is paused": _script(
        (1, _ALONE),
        (1.1, {**_ALONE, "name": "prod"}),
        (2.5, {"do": "pause", "name": "prod", "seconds": 900}),
        creates=1,
        speed=6.0,
    ),
    "half a line from the engine does not end the watch on it": _script(
        (1, _ALONE),
        (60, {"do": "engine", "trouble": "crash", "seconds": 12}),
        (80, {"do": "stranger-deletes", "name": "dev"}),
        (400, {"do": "expect", "name": "dev", "ready": False}),
    ),
    "Cluster API that is installed later is known at once": _script(
        (30, {"do": "install-core"}),
        (100, {**_OWNED, "order": "KCP"}),
        (200, _READY),
        core="",
    ),
    "without its control plane a KINDCluster comes to rest": _script(
        (1, _OWNED), (60, {"do": "delete", "name": "dev", "kind": "kindcontrolplanes"})
    ),
    "a control plane that is added later becomes available": _script(
        (1, {**_OWNED, "control_plane": False}),
        (60, _READY),
        (70, {"do": "add-control-plane", "name": "dev"}),
        (900, _READY),
    ),
    "an object that was replaced by force is created again": _script(
        (1, _ALONE), (60, {"do": "replace", "name": "dev"}), (200, _READY)
    ),
    "a copy under another name is a cluster of its own": _script(
        (1, _ALONE),
        (60, {"do": "copy", "name": "dev", "to": "dev-copy"}),
        (200, {"do": "expect", "name": "dev-copy", "ready": True}),
    ),
    "an API server that dies in a running container is noticed": _script(
        (1, _ALONE),
        (60, {"do": "plane", "name": "dev", "how": "dead", "seconds": 600}),
        (300, {"do": "expect", "name": "dev", "ready": False}),
        (1000, _READY),
    ),
    "an etcd that came back empty is noticed": _script(
        (1, _ALONE),
        (60, {"do": "plane", "name": "dev", "how": "empty"}),
        (400, {"do": "expect", "name": "dev", "ready": False}),
    ),
    "an etcd that came back empty while no provider ran is noticed": _script(
        (1, _ALONE),
        (60, {"do": "kill"}),
        (60.1, {"do": "plane", "name": "dev", "how": "empty"}),
        (400, {"do": "expect", "name": "dev", "ready": False}),
    ),
    "an etcd that is emptied in a container that runs on is noticed": _script(
        (1, _ALONE),
        (60, {"do": "plane", "name": "dev", "how": "emptied"}),
        (130, {"do": "expect", "name": "dev", "ready": False, "words": "has lost all data"}),
    ),
    "an etcd that came back empty is noticed though an administrator hides its data": _script(
        *((0.1 * one, {**_ALONE, "name": f"other-{one}"}) for one in range(1, 4)),
        (30, _ALONE),
        (90, {"do": "kill"}),
        (90.1, {"do": "plane", "name": "dev", "how": "empty"}),
        (160, {"do": "expect", "name": "dev", "ready": False, "words": "has lost all data"}),
    ),
    "a provider that starts while the engine hangs is let be": _script(
        (0, {"do": "engine", "trouble": "hang", "seconds": 900}),
        (1, _ALONE),
        (1300, _READY),
        inventory_period_seconds=5.0,
    ),
    "several control planes survive a reboot in which they do not come back": _script(
        (1, _THREE),
        (120, _READY),
        (130, {"do": "restart-engine", "come_back": False, "seconds": 5}),
        (600, _READY),
        seed=2,
    ),
    "several control planes survive a reboot in the wrong order": _script(
        (1, _THREE),
        (120, _READY),
        (130, {"do": "restart-engine", "come_back": True, "order": "random", "seconds": 5}),
        (900, _READY),
        seed=4,
    ),
    "several control planes survive a reboot after an older cluster was deleted": _script(
        (1, {**_ALONE, "name": "prod"}),
        (60, _THREE),
        (200, {"do": "delete", "name": "prod"}),
        (300, {"do": "restart-engine", "come_back": False, "seconds": 5}),
        (1200, _READY),
    ),
    "a load balancer that lost its configuration is noticed": _script(
        (1, _THREE),
        (120, {"do": "balancer-restarts", "name": "dev"}),
        (600, {"do": "expect", "name": "dev", "ready": False}),
        balancer_survives=False,
    ),
    "a node that comes to light after a crash and a deletion is removed": _script(
        (1, _ALONE), (8, {"do": "kill"}), (8.1, {"do": "delete", "name": "dev"}), speed=3.0, seed=3
    ),
    "a stop that its user takes back while it begins ends with nodes that run": _script(
        (1, _WORKER),
        (100, {"do": "edit", "name": "dev", "patch": {"spec": {"engine": {"powerState": "Stopped"}}}}),
        (100.18, {"do": "edit", "name": "dev", "patch": {"spec": {"engine": {"powerState": "Running"}}}}),
        (400, _READY),
    ),
    "a worker whose writes are all refused has an Event, although its kind cluster is asked in between": _script(
        (2.82, {"do": "apply", "name": "prod", "spec": {}, "owned": True, "order": "KPC", "control_plane": True}),
        (
            183.67,
            {
                "do": "api",
                "kind": "admission",
                "status": 403,
                "message": 'admission webhook "policy.example" denied the request: not on my watch',
                "plural": "kindmachines",
                "seconds": 700,
            },
        ),
        (194.08, {"do": "machine", "name": "prod-w1", "standalone": False, "cluster": "prod"}),
        (794.4, {"do": "wait"}),
        seed=31001556,
        reach=False,
        creates=1,
        workers=1,
        sync_period_seconds=120.0,
        inventory_period_seconds=5.0,
        speed=0.5,
    ),
}
