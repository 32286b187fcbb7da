"""The engine's calls with which a worker joins, as the doubles of an engine understand and answer them."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from capk.api import names
from capk.engine.inspection import KIND_CLUSTER_LABEL, ROLE_LABEL
from capk.engine.nodescripts import JOIN_FILE, VERSION_FILE

KUBEADM: Final = (Path(__file__).parents[1] / "fixtures" / "kubeadm" / "v1beta4.yaml").read_text()


@dataclass(frozen=True)
class RequestedNode:
    """The container that a call of the engine's `run` requests."""

    name: str
    cluster: str
    role: str
    mark: str
    machine: str
    image: str


def requested_node(arguments: Sequence[str]) -> RequestedNode:
    """Return what the arguments of the engine's `run` request."""
    labels = dict(value.partition("=")[::2] for flag, value in itertools.pairwise(arguments) if flag == "--label")
    marks = [word.partition(names.CLAIM_MOUNT_FOLDER)[2].partition(":")[0] for word in arguments]
    return RequestedNode(
        name=dict(itertools.pairwise(arguments))["--name"],
        cluster=labels[KIND_CLUSTER_LABEL],
        role=labels[ROLE_LABEL],
        mark=next(mark for mark in marks if mark),
        machine=labels.get(names.MACHINE_CONTAINER_LABEL, ""),
        image=arguments[-1],
    )


def files_of_node(paths: Sequence[str], version: str) -> str:
    """Return what `cat` prints in a node that runs that version of Kubernetes."""
    texts = {VERSION_FILE: version, JOIN_FILE: KUBEADM}
    return "".join(texts[path] for path in paths)
