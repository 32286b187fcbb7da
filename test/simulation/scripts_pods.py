"""Lives with engines in Pods: one script for each situation that matters, and for each kind of fault that was found.

Each is judged by all invariants, and by the `expect` steps in it.
"""

from typing import Any, Final

from test.simulation.life import Script
from test.simulation.world import Options

_IN_POD: Final[dict[str, Any]] = {"className": "pods"}
_ONE: Final[dict[str, Any]] = {"do": "apply", "name": "dev", "spec": {"standalone": True, "engine": _IN_POD}}
_ALWAYS: Final[dict[str, Any]] = {**_ONE, "spec": {**_ONE["spec"], "recreatePolicy": "Always"}}
_OWNED: Final[dict[str, Any]] = {"do": "apply", "name": "dev", "owned": True, "spec": {"engine": _IN_POD}}
_DELETE: Final[dict[str, Any]] = {"do": "delete", "name": "dev"}


def _script(seed: int, *steps: tuple[float, dict[str, Any]], pods: str = "disk", **options: Any) -> Script:
    return Script(seed, Options(pods=pods, **options), tuple({"at": at, **step} for at, step in steps))


def _expect(name: str = "dev", **what: Any) -> dict[str, Any]:
    return {"do": "expect", "name": name, **what}


SCRIPTS: Final[dict[str, Script]] = {
    "an engine in a Pod comes and goes with its object": _script(
        1,
        (1, _OWNED),
        (90, _expect(ready=True)),
        (100, {"do": "delete", "name": "dev", "kind": "clusters"}),
        (160, _expect(exists=False)),
    ),
    "a Pod that finds no node says so with the scheduler's words": _script(
        2,
        (0, {"do": "kubelet", "trouble": "no_room", "seconds": 200}),
        (1, _ONE),
        (60, _expect(ready=False, words="Insufficient memory")),
        (300, _expect(ready=True)),
    ),
    "a Pod that someone deletes takes the kind cluster along": _script(
        3,
        (1, _ONE),
        (90, _expect(ready=True)),
        (91, {"do": "pod-deleted", "name": "dev"}),
        (200, _expect(ready=False, words="data of the kind cluster went with it")),
        (210, {"do": "edit", "name": "dev", "patch": {"spec": {"recreatePolicy": "Always"}}}),
        (400, _expect(ready=True)),
    ),
    "an engine with a volume stops and starts": _script(
        4,
        (1, _ONE),
        (90, _expect(ready=True)),
        (91, {"do": "power", "name": "dev", "state": "Stopped"}),
        (200, _expect(ready=False, words="powerState is Stopped")),
        (201, {"do": "power", "name": "dev", "state": "Running"}),
        (400, _expect(ready=True)),
        pods="volume",
    ),
    "an image that cannot be pulled changes no condition at each attempt": _script(
        6,
        (0, {"do": "class", "how": "image", "seconds": 3000}),
        (1, _ONE),
        (700, _expect(ready=False, words="cannot be pulled")),
        (701, {"do": "expect-writes", "plural": "kindclusters", "most": 12}),
    ),
    "a provider that is killed while an engine is created leaves one Pod": _script(
        5,
        (1, _ALWAYS),
        (1.1, {"do": "kill"}),
        (3, {"do": "kill"}),
        (5, {"do": "kill"}),
        (200, _expect(ready=True)),
        (201, _DELETE),
        (201.5, {"do": "kill"}),
        (300, _expect(exists=False)),
    ),
    "a worker whose join could not be stored is Missing once the engine of its cluster is replaced": _script(
        9684,
        (1.59, _ONE),
        (42.09, {"do": "machine", "name": "dev-w1", "standalone": False, "cluster": "dev"}),
        (
            42.99,
            {
                "do": "api",
                "kind": "admission",
                "status": 403,
                "message": 'admission webhook "policy.example" denied the request: not on my watch',
                "plural": "kindmachines",
                "seconds": 700,
            },
        ),
        (99.93, {"do": "replace", "name": "dev"}),
        (1200, _expect("dev-w1", kind="kindmachines", ready=False, words="was removed, but not through this object")),
        pods="volume",
    ),
}
