"""The mark that a node container of ours bears from its first instant: whose it is, and from which attempt. Pure."""

from typing import NamedTuple

from capk.api.names import CLAIM_MOUNT_FOLDER


class Mark(NamedTuple):
    """What the path of the mark's mount names.

    uid: of the object, when the creation began.
    attempt: number of that creation; None on containers of releases that did not count them.
    """

    uid: str
    attempt: int | None = None

    @classmethod
    def parse(cls, text: str | None) -> "Mark | None":
        """Read a mark off a container; whoever may use the engine can write any text there."""
        if not text:
            return None
        uid, dot, number = text.rpartition(".")
        if dot and uid and number.isascii() and number.isdecimal() and len(number) < 10:
            return cls(uid, int(number))
        return cls(text)

    def __str__(self) -> str:
        return self.uid if self.attempt is None else f"{self.uid}.{self.attempt}"

    @property
    def mount(self) -> dict[str, object]:
        """The entry of `extraMounts` that puts the mark on a node."""
        return {"hostPath": "/dev/null", "containerPath": f"{CLAIM_MOUNT_FOLDER}{self}", "readOnly": True}
