"""What an operation hands back."""

from dataclasses import dataclass, field

from capk.plan.facts import Access, CreationFacts


@dataclass(frozen=True)
class Made:
    """The result of a creation.

    identity: the fingerprint of its certificate authority, or UNREAD.
    external: the kubeconfig that kind wrote, not parsed yet; secret. None if it was made by another process.
    facts: its warnings.
    attempt: its number, if no request has it.
    """

    identity: str
    external: str | None = field(default=None, repr=False)
    facts: CreationFacts = field(default_factory=CreationFacts)
    attempt: int | None = None


@dataclass(frozen=True)
class Joined:
    """The result of a join: the id of the container whose node has joined."""

    container_id: str


Outcome = Made | Access | Joined | None
"""What an operation hands back, if anything."""


class Withdrawn(Exception):
    """The object no longer wanted the operation when it left the queue: nothing was done."""
