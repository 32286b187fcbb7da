"""The mark on each of our node containers, set when it is created: its object and its creation attempt. Pure."""

from typing import NamedTuple

from capk.api.names import CLAIM_MOUNT_FOLDER


class Mark(NamedTuple):
    """The content of a mark, which the path of its mount holds.

    uid: of the object when the creation started.
    attempt: number of that creation; None on containers of releases that did not count attempts.
    """

    uid: str
    attempt: int | None = None

    @classmethod
    def parse(cls, text: str | None) -> "Mark | None":
        """Parse the mark of a container. The text is untrusted: every user of the engine can write it."""
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
        """Return the entry of `extraMounts` that puts the mark on a node."""
        return {"hostPath": "/dev/null", "containerPath": f"{CLAIM_MOUNT_FOLDER}{self}", "readOnly": True}
