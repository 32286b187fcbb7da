"""Stops a chosen call of kind or docker, so that its provider can be killed there."""

import itertools
import stat
from pathlib import Path

from test.integration.provider.journeys import SwitchableKind

_SCRIPT = """#!/bin/sh
place=${0%/*}
case {what} in {chosen}) ;; *) exec {command} "$@" ;; esac
read -r life number moment 2>/dev/null <"$place/plan" || exec {command} "$@"
n=1
while ! mkdir "$place/$life/$n" 2>/dev/null; do n=$((n + 1)); done
[ "$n" = "$number" ] || exec {command} "$@"
case $moment in
  "in flight") exec 3<&0; {command} "$@" <&3 3<&- & sleep 0.2 ;;
  after) {command} "$@" ;;
esac
: >"$place/$life/reached"
exec sleep 60
"""
"""A provider that is killed takes its commands along, so the last line of a call that was chosen never ends."""


OF_PODS = ('"$DOCKER_HOST"', "tcp://*")
"""The calls for engines in Pods."""
OF_NODES = ('"$*"', '"run "*|"exec "*|"logs "*|"rm "*')
"""The calls with which a worker joins and leaves; those of its control plane are among them."""


class CallGate:
    """The commands of a stage, which number some of their calls from 1 in each life.

    counted: what decides which calls are counted, and its patterns, for the shell.
    """

    def __init__(self, directory: Path, kind: SwitchableKind, counted: tuple[str, str]) -> None:
        self._directory = directory
        self._lives = itertools.count(1)
        directory.mkdir()
        flags: list[str] = []
        for name, option, command in zip(("kind", "engine"), kind.flags[::2], kind.flags[1::2], strict=True):
            script = directory / name
            what, chosen = counted
            text = _SCRIPT.replace("{what}", what).replace("{chosen}", chosen)
            script.write_text(text.replace("{command}", command))
            script.chmod(stat.S_IRWXU)
            flags += [option, str(script)]
        self.flags = tuple(flags)

    def begin(self, number: int, moment: str) -> Path:
        """Begin a life whose call of that number stops; return the file that there is from then on."""
        life = self._directory / f"life{next(self._lives)}"
        life.mkdir()
        plan = self._directory / "next"
        plan.write_text(f"{life.name} {number} {moment}\n")
        plan.rename(self._directory / "plan")
        return life / "reached"
