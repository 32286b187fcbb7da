"""What an operation hands back."""

from dataclasses import dataclass, field

from capk.plan.facts import Access, CreationFacts


@dataclass(frozen=True)
class Made:
    """The result of a creation.

    identity: the fingerprint of its certificate authority, or UNREAD.
    external: the kubeconfig that kind wrote, not parsed yet; secret.
    facts: its warnings.
    """

    identity: str
    external: str = field(repr=False)
    facts: CreationFacts = field(default_factory=CreationFacts)


@dataclass(frozen=True)
class Joined:
    """The result of a join: the id of the container whose node has joined."""

    container_id: str


Outcome = Made | Access | Joined | None
"""What an operation hands back, if anything."""


class Withdrawn(Exception):
    """The object no longer wanted the operation when it left the queue: nothing was done."""
