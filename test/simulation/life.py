"""One life: a world, a provider in it, and a script of steps."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from capk.errors import ApiError
from test.simulation import clock
from test.simulation.clock import now, simulated_clocks
from test.simulation.provider import Deployment
from test.simulation.world import Options, World, world

Step = dict[str, Any]
"""`at`: virtual seconds; `do`: name of an action; the rest are its arguments."""


@dataclass(frozen=True)
class Script:
    """Everything that determines a life; it can be printed, shortened and repeated."""

    seed: int | str
    options: Options = field(default_factory=Options)
    steps: tuple[Step, ...] = ()

    def as_json(self) -> str:
        """Return the script as JSON, one line per step."""
        default = asdict(Options())
        options = {key: value for key, value in asdict(self.options).items() if value != default[key]}
        steps = ",\n    ".join(json.dumps(step) for step in self.steps)
        return f'{{"seed": {json.dumps(self.seed)},\n "options": {json.dumps(options)},\n "steps": [\n    {steps}\n ]}}'

    @staticmethod
    def from_json(text: str) -> "Script":
        """Return the script from its JSON."""
        document = json.loads(text)
        return Script(document["seed"], Options(**document["options"]), tuple(document["steps"]))


@dataclass
class Life:
    """The argument of all actions.

    invalid: objects (namespace/name) with a spec or Secrets that the script has made unusable.
    """

    world: World
    deployment: Deployment
    invalid: set[str] = field(default_factory=set)
    steps_at: list[float] = field(default_factory=list)
    busy_until: float = 0.0
    """When the last action of users ends."""

    def later(self, seconds: float, do: Callable[..., Any], *arguments: Any) -> None:
        """Let a user do something after that time."""
        self.busy_until = max(self.busy_until, now() + seconds)
        asyncio.get_running_loop().call_later(seconds, do, *arguments)


Action = Callable[..., None]
ACTIONS: Final[dict[str, Action]] = {}


def action(name: str) -> Callable[[Action], Action]:
    """Register an action of steps."""

    def register(function: Action) -> Action:
        ACTIONS[name] = function
        return function

    return register


@dataclass
class Outcome:
    """The outcome of a life. seconds: virtual."""

    violations: list[str]
    trace: list[str]
    logs: list[str]
    seconds: float
    steps: int
    totals: dict[str, int]


Judgement = Callable[[Life], Any]
"""Coroutine functions that watch a life or judge its end; see `invariants`."""


def live(script: Script, *, watch: Judgement, finish: Judgement) -> Outcome:
    """Run a script to its end and judge it.

    watch: runs beside the steps. finish: runs after them; both record violations in the world.
    """

    async def main() -> Outcome:
        with world(script.seed, script.options) as made:
            life = Life(made, Deployment(made))
            life.deployment.start()
            watcher = clock.spawn(watch(life))
            await _steps(life, script)
            if not made.violations:
                await finish(life)
            made.note("the end")
            watcher.cancel()
            life.deployment.kill_all()
            return Outcome(
                list(made.violations), list(made.trace), list(made.logs), now(), len(life.steps_at), dict(made.totals)
            )

    with simulated_clocks(script.seed):
        try:
            outcome: Outcome = clock.run(main())
        except (clock.Livelock, clock.Deadlock) as stuck:
            return Outcome([f"{type(stuck).__name__}: {stuck}"], [], [], 0.0, len(script.steps), {})
        return outcome


async def _steps(life: Life, script: Script) -> None:
    for step in sorted(script.steps, key=lambda one: float(one["at"])):
        await life.world.pause(max(0.0, step["at"] - now()))
        if life.world.violations:
            return
        arguments = {key: value for key, value in step.items() if key not in ("at", "do")}
        life.world.note(f"STEP {step['do']} {arguments}")
        life.steps_at.append(now())
        try:
            ACTIONS[step["do"]](life, **arguments)
        except ApiError as refused:
            life.world.note(f"refused: {refused}")
