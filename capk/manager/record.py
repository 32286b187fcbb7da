"""What the provider remembers of one object: plain data. `capk.manager.records` keeps and changes it."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from capk.api.objects import Key, OwnerMachine
from capk.diagnosis.failures import Failure
from capk.engine.place import Place
from capk.engine.progress import Step
from capk.manager.outcome import Outcome
from capk.plan.facts import Access, CreationFacts, Validity
from capk.plan.marks import Mark
from capk.plan.plan import AddWorker, Create, Goal, OperationRequest

FORGET_SECONDS: Final = 60.0
"""The outcome of a goal is forgotten after twice its back-off plus this time without an operation."""


@dataclass(frozen=True)
class GoalOutcome:
    """The outcome of the latest operation towards a goal."""

    attempts: int
    ended_at: float
    request: OperationRequest
    failure: Failure | None = None
    """Not the exception: its traceback keeps all that the operation had read, and its output is long."""
    logs: str = ""
    left_nothing: bool = False


@dataclass(frozen=True)
class Refusal:
    """What the API server refuses: its words, how often, and until when the next try waits."""

    words: str
    attempts: int
    until: float


@dataclass(frozen=True)
class Failing:
    """Writes that failed in a row."""

    times: int
    since: float
    latest: float


@dataclass(frozen=True)
class Writes:
    """Recent writes of one thing, and until when the next one waits."""

    times: int
    until: float


class Executing(Protocol):
    """Carries out requests at one place; see `capk.manager.executor`."""

    @property
    def place(self) -> Place:
        """Where it does so."""

    async def carry_out(self, record: "Record", request: OperationRequest, on_step: Callable[[Step], None]) -> Outcome:
        """Carry out a request; return what came of it."""


@dataclass
class Record:
    """The provider's memory of one object."""

    key: Key
    uid: str
    request: OperationRequest | None = None
    """Of the running or queued operation."""
    executor: Executing | None = None
    """Of the latest operation: what it has left is at that place, whatever the object asks for by now."""
    goals: dict[Goal, GoalOutcome] = field(default_factory=dict)
    refusals: dict[str, Refusal] = field(default_factory=dict)
    failing: dict[str, Failing] = field(default_factory=dict)
    """Parts whose latest writes failed for a cause that mostly passes, such as a conflict."""
    writes: dict[str, Writes] = field(default_factory=dict)
    """Secrets that were written recently."""
    version: str = ""
    """The version of the object after the last write by this process."""
    replies: Writes | None = None
    """Writes of the object that each followed a write by someone else."""
    made: str | None = None
    """Identity of a complete kind cluster until the object holds it."""
    completed: int | None = None
    """Attempt number of the creation that this process has completed, until its kind cluster is removed."""
    external: str | None = field(default=None, repr=False)
    """The kubeconfig that kind wrote during the creation, until it is read; secret."""
    creation: CreationFacts = field(default_factory=CreationFacts)
    access: Access | None = field(default=None, repr=False)
    validity: Validity | None = None
    refused: str = ""
    """What the API server said to the login of the kubeconfigs that were last read, if it refused it."""
    access_timer: asyncio.TimerHandle | None = None
    read_at: float | None = None
    unanswered_at: float | None = None
    """When the last read of the kubeconfigs ended, if the API server did not answer it."""
    unanswered_because: str = ""
    proven_at: float | None = None
    """When the last read started that verified the content of the kind cluster's etcd."""
    addresses: Mapping[str, str] = field(default_factory=dict)
    """First addresses of the control planes that this process has created, by name, until their removal."""
    kube_system_uid: str | None = None
    """The uid of kube-system in that read; empty if there is no such namespace."""
    first_kube_system_uid: tuple[str, str] | None = None
    """The first uid of kube-system that was read and that the object does not hold yet, after the fingerprint of its
    kind cluster: the etcd may lose its data before the API server stores anything."""
    unedited_kube_system_uid: str | None = None
    """What the annotation said when it was first seen, or last agreed with a read: an edit is no loss of data."""
    unfinished: Create | AddWorker | None = None
    """A creation or a join that has started and is not known to be complete or removed again."""
    never_began: Mark | None = None
    """Mark of the last creation, if it ended while it waited, and no creation before may have left anything."""
    joined: str = ""
    """Id of the container that this process has joined for a KINDMachine, until the next operation on its node."""
    machine: OwnerMachine | None = None
    """The Machine that owns a KINDMachine, as it was read once."""
    vanished: bool = False
    """Whether the object is gone and the rest of its kind cluster is being removed."""
