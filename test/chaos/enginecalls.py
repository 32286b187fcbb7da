"""Stops a chosen call of kind or docker for an engine in a Pod, so that its provider can be killed there."""

import itertools
import stat
from pathlib import Path

from test.integration.provider.journeys import SwitchableKind

_SCRIPT = """#!/bin/sh
place=${0%/*}
case "$DOCKER_HOST" in tcp://*) ;; *) exec {command} "$@" ;; esac
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


class CallGate:
    """The commands of a stage, which number their calls for engines in Pods from 1 in each life."""

    def __init__(self, directory: Path, kind: SwitchableKind) -> None:
        self._directory = directory
        self._lives = itertools.count(1)
        directory.mkdir()
        flags: list[str] = []
        for name, option, command in zip(("kind", "engine"), kind.flags[::2], kind.flags[1::2], strict=True):
            script = directory / name
            script.write_text(_SCRIPT.replace("{command}", command))
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
