"""Maps a line of kind's output to kind's current step. Pure.

Source: kind v0.32 and v0.33, pkg/internal/cli/status.go and spinner.go (the frame of a line), pkg/cluster/internal/
create and providers (the steps). Between the two only the picture after "Ensuring node image" changed.
"""

import re
from dataclasses import dataclass
from typing import Final

from capk.api.names import Reason


@dataclass(frozen=True)
class Step:
    """The current step of kind.

    message: for users; always the same text for the same configuration (C18).
    warning: the step failed and kind continued. The last step of a creation is one if the kind cluster was created but
    was not Ready in time: its message belongs in a condition.
    """

    reason: Reason
    message: str
    warning: bool = False


NOT_READY: Final = Step(
    Reason.WAITING_FOR_READY,
    "The control plane was not Ready within the time that kind waited for it. It is still starting.",
    warning=True,
)
"""kind stopped waiting (`--wait`), but still exits with 0."""

_STEPS: Final = (
    ("Ensuring node image", Reason.ENSURING_NODE_IMAGE),
    ("Preparing nodes", Reason.PREPARING_NODES),
    ("Configuring the external load balancer", Reason.CONFIGURING_LOAD_BALANCER),
    ("Writing configuration", Reason.WRITING_CONFIGURATION),
    ("Starting control-plane", Reason.STARTING_CONTROL_PLANE),
    ("Installing CNI", Reason.INSTALLING_CNI),
    ("Installing StorageClass", Reason.INSTALLING_STORAGE_CLASS),
    ("Joining more control-plane nodes", Reason.JOINING_CONTROL_PLANE_NODES),
    ("Joining worker nodes", Reason.JOINING_WORKERS),
    ("Waiting ≤", Reason.WAITING_FOR_READY),
)

_ESCAPES: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
# ` • STEP  ...` without a terminal; on a terminal a frame of braille dots replaces the bullet.
# kind also passes on what a node prints, so no expression here repeats what another one beside it may match as well.
_BEGIN: Final = re.compile(r"[•\u2800-\u28ff]+\s+")
_PICTURES: Final = re.compile(r"[^\x00-\x7f≤]+")


def step(line: str) -> Step | None:
    """Return the step that a line of kind's standard error announces; None for every other line.

    On a terminal kind repeats the line ten times per second, so the same step may be returned several times.
    """
    shown = _ESCAPES.sub("", line).strip()
    if not (begin := _BEGIN.match(shown)):
        return None
    title = shown[begin.end() :].removesuffix("...").rstrip()
    if "Timed out waiting for Ready" in title:
        return NOT_READY
    for words, reason in _STEPS:
        if title.startswith(words):
            return Step(reason, " ".join(_PICTURES.sub(" ", title).split()))
    return None
