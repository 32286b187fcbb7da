"""The parts of a management cluster, and the places of its files."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from capkdev.files import write_private

SUPERVISOR = "supervisor"
CORE_MANAGER = "core-manager"
PROVIDER = "provider"
LEADER_ELECTION = ("--leader-elect",)
"""Arguments of `capk run` where people may also start a provider: the second waits, and does not undo the first one's
work."""
WITHOUT_RATE_LIMIT = {"ReconcilerRateLimiting": False}
"""Feature gates of the core manager where a person waits for one Cluster.

By default, core reconciles an object at most once per second. That spares management clusters with many objects, but
takes a quarter of the time until a first Cluster is Available (docs/decisions/0018-beside-capd.md).
Source: Cluster API util/controller/controller.go.
"""
_FILE = "options.json"
_STATE = "state.json"


@dataclass(frozen=True)
class Options:
    """The parts of a management cluster besides etcd and kube-apiserver.

    core: Cluster API's definitions and core manager. core_feature_gates: of that manager, besides those that it always
    has here. definitions: ours.
    provider: the arguments of `capk run`; None for no provider.
    attached: everything ends with the process that started the management cluster, even if that is killed.
    binaries: the directory to search first for executables. api_server: further arguments of kube-apiserver.
    hosts: further names and addresses in its certificate.
    """

    core: bool = True
    core_feature_gates: Mapping[str, bool] = field(default_factory=dict)
    definitions: bool = True
    provider: Sequence[str] | None = None
    attached: bool = False
    binaries: str | None = None
    api_server: Sequence[str] = field(default_factory=list)
    hosts: Sequence[str] = field(default_factory=list)

    def save(self, directory: Path) -> None:
        """Write the options for the supervisor."""
        write_private(directory / _FILE, json.dumps(asdict(self)).encode())

    @classmethod
    def load(cls, directory: Path) -> "Options":
        """Return the options of the management cluster in a directory."""
        return cls(**json.loads((directory / _FILE).read_text()))


@dataclass(frozen=True)
class Member:
    """One process of the management cluster.

    directory: of its pid file and its log. address: of its probes; empty if it has none.
    """

    name: str
    directory: str
    address: str = ""
    restarts: int = 0

    @property
    def log(self) -> Path:
        """The file with its output."""
        return Path(self.directory) / f"{self.name}.log"


@dataclass(frozen=True)
class State:
    """The state of the management cluster that the supervisor reports.

    phase: starting, ready, stopped or failed. message: the current step, or why it failed.
    """

    phase: str
    message: str = ""
    members: Sequence[Member] = ()

    def save(self, directory: Path) -> None:
        """Write the state, and replace the old one atomically."""
        write_private(directory / _STATE, json.dumps(asdict(self)).encode())

    @classmethod
    def load(cls, directory: Path) -> "State":
        """Return the last state of the management cluster in a directory; stopped if there never was one."""
        try:
            state = json.loads((directory / _STATE).read_text())
        except FileNotFoundError:
            return cls("stopped")
        return cls(state["phase"], state["message"], [Member(**member) for member in state["members"]])
