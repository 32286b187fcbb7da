"""Output of kind and the engine: recorded fixtures with the names of the simulation."""

import re
from functools import cache
from pathlib import Path
from typing import Final

from capk.errors import CommandFailed
from test.simulation.identities import TOKEN, encoded, identity

_FOLDER: Final = Path(__file__).parents[1] / "fixtures" / "kind" / "v0.32.0"
_RECORDED_NAME: Final = re.compile(r"\brec-[a-z]+")

FAILURES_OF_CREATION: Final = {
    # fixture -> the step at which it occurs
    "create-image-absent": "image",
    "create-port-allocated": "nodes",
    "create-disk-full": "nodes",
    "create-out-of-memory": "kubeadm",
    "create-inotify-limit": "kubeadm",
    "create-kubeadm-flag": "kubeadm",
    "create-bad-patch": "configuration",
    "create-lock-held": "end",
    "get-kubeconfig-unfinished": "kubeconfig",
}
"""Failures that may end by themselves; the others mean that the spec is wrong."""


@cache
def _recorded(fixture: str) -> tuple[int, str]:
    _, status, output = (_FOLDER / f"{fixture}.txt").read_text(encoding="utf-8").split("\n", 2)
    return int(status.rpartition(" ")[2]), output


def failure(fixture: str, name: str, *command: str, with_secrets: bool = False) -> CommandFailed:
    """Return a recorded failure, adapted to a cluster of that name.

    with_secrets: kubeadm also prints a token and a key, as it does with `-v6`.
    """
    status, output = _recorded(fixture)
    text = _RECORDED_NAME.sub(name, output)
    if with_secrets:
        key = encoded(identity(0).key)
        text += f"\n    kubeadm join x:6443 --token {TOKEN} \\\n    client-key-data: {key}\n{identity(0).key}\n"
    return CommandFailed(["kind", *command], text, status or 1)
