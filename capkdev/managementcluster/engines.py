"""Chooses how this machine creates kind clusters: with the real kind if it works, otherwise with the fake kind."""

import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from capk.engine.enginecli import engine_command
from capkdev.binaries import BinaryMissing, find_binary
from capkdev.fakekind.kindconfig import DEFAULT_IMAGE

NODE_IMAGE_VARIABLE = "KIND_NODE_IMAGE"
"""Environment variable: node image for objects that name none."""
ANSWER_SECONDS = 15
PULL_SECONDS = 900
_FAKE_KIND = "capkdev.fakekind"

Run = Callable[[Sequence[str], float], bool]
"""Runs a command and returns whether it succeeded in so many seconds."""


@dataclass(frozen=True)
class EngineChoice:
    """How kind clusters are created.

    kind, engine: command lines for the provider. node_image: empty for kind's default.
    is_fake_kind: whether no containers are started. why: the reason in one line for people.
    """

    kind: str
    engine: str
    node_image: str
    is_fake: bool
    why: str

    @property
    def provider_arguments(self) -> list[str]:
        """The arguments of `capk run` for this choice."""
        image = ["--node-image", self.node_image] if self.node_image else []
        return ["--kind-command", self.kind, "--engine-command", self.engine, *image]


def choose_engine(environment: Mapping[str, str] = os.environ, run: Run | None = None) -> EngineChoice:
    """Return the real kind if a container engine answers and has or can pull a node image, otherwise the fake kind."""
    run = run or _run
    engine = engine_command(environment)
    if engine is None:
        return fake_kind("no container engine is installed")
    name = shlex.join(engine)
    if not answers(engine, run):
        return fake_kind(f"{name} does not answer")
    try:
        kind = str(find_binary("kind"))
    except BinaryMissing:
        return fake_kind(f"{name} answers, but kind is not installed")
    chosen = environment.get(NODE_IMAGE_VARIABLE, "")
    image = chosen or DEFAULT_IMAGE
    present = run([*engine, "image", "inspect", image], ANSWER_SECONDS)
    if not present and not run([*engine, "pull", image], PULL_SECONDS):
        return fake_kind(f"{name} has no node image and cannot pull {image.partition('@')[0]}")
    return EngineChoice(kind, name, chosen, False, f"the real kind, with {name}")


def earlier_choice(arguments: Sequence[str]) -> EngineChoice:
    """Return the choice of a management cluster that was started before, from the arguments of its provider.

    Only the command that created a kind cluster can delete it, so a later start has to keep it.
    """
    given = {option: value for option, value in pairwise(arguments) if option.startswith("--")}
    kind, engine = given.get("--kind-command", "kind"), given.get("--engine-command", "")
    is_fake = _FAKE_KIND in kind
    which = "the fake kind" if is_fake else f"the real kind, with {engine}"
    return EngineChoice(kind, engine, given.get("--node-image", ""), is_fake, f"{which}, as the last time")


def answers(engine: Sequence[str], run: Run | None = None) -> bool:
    """Return whether a container engine answers in time."""
    return (run or _run)([*engine, "info"], ANSWER_SECONDS)


def fake_kind(cause: str) -> EngineChoice:
    """Return the fake kind, for a cause in plain words."""
    command = f"{shlex.quote(sys.executable)} -m {_FAKE_KIND}"
    why = f"{cause}, so a fake kind creates them: each has a real etcd and kube-apiserver, but no containers or pods"
    return EngineChoice(command, f"{command} engine", "", True, why)


def _run(command: Sequence[str], seconds: float) -> bool:
    try:
        ended = subprocess.run(
            command,
            timeout=seconds,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return ended.returncode == 0
