"""Lives that went wrong by seed once, made short: mostly who has what while several want it, and what answers.

Each is judged by all invariants, and by the `expect` steps in it.
"""

from typing import Any, Final

from test.simulation.life import Script
from test.simulation.world import Options

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
}
