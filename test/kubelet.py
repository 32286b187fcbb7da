"""A simulated kubelet: gives Pods with engines their status, for all tests in virtual time."""

from collections.abc import Callable
from typing import Any

Pod = dict[str, Any]


class Kubelet:
    """Gives Pods their status, whenever it looks at them: level-triggered, as the real one.

    clock: returns seconds. write: called with a Pod, its status and its node; the node is empty without one. remove:
    called with a Pod whose containers have ended. power: called with a Pod and whether its engine runs.
    trouble: what to report in place of a start, as the fields of a Pod's status. start_seconds: from creation to Ready.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        write: Callable[[Pod, dict[str, Any], str], None],
        remove: Callable[[Pod], None],
        power: Callable[[Pod, bool], None],
    ) -> None:
        self.trouble: dict[str, Any] | None = None
        self.start_seconds = 2.0
        self.end_seconds = 2.0
        self.restarts: dict[str, int] = {}
        self._clock = clock
        self._write = write
        self._remove = remove
        self._power = power
        self._seen: dict[str, float] = {}
        self._ending: dict[str, float] = {}

    def look(self, pod: Pod) -> bool:
        """Look at a Pod; return whether it is to be looked at again soon, although nothing happens to it."""
        metadata, uid = pod["metadata"], pod["metadata"]["uid"]
        since = self._seen.setdefault(uid, self._clock())
        if metadata.get("deletionTimestamp"):
            self._power(pod, False)
            if self._clock() - self._ending.setdefault(uid, self._clock()) >= self.end_seconds:
                self._remove(pod)
            return True
        if (pod.get("status") or {}).get("phase") == "Failed":
            self._power(pod, False)
            return False
        trouble = self.trouble_of(pod)
        if trouble is not None:
            self._power(pod, False)
            self._report(pod, trouble)
            return True
        if self._clock() - since < self.start_seconds_of(pod):
            return True
        self._power(pod, True)
        self._report(pod, running(uid, self.restarts.get(uid, 0)))
        return False

    def trouble_of(self, pod: Pod) -> dict[str, Any] | None:
        """Return what keeps the engine of a Pod from running."""
        return self.trouble

    def start_seconds_of(self, pod: Pod) -> float:
        """Return how long a Pod takes from its creation until it is ready."""
        return self.start_seconds

    def restart(self, uid: str) -> None:
        """End the container of a Pod; the next one has the same disk."""
        self.restarts[uid] = self.restarts.get(uid, 0) + 1

    def _report(self, pod: Pod, status: dict[str, Any]) -> None:
        is_placed = status.get("phase") != "Pending" or "on" in status
        self._write(pod, {key: value for key, value in status.items() if key != "on"}, "node-1" if is_placed else "")


def running(uid: str, restarts: int = 0, *, ready: bool = True, **container: Any) -> dict[str, Any]:
    """Return the status of a Pod that runs."""
    return {
        "phase": "Running",
        "conditions": [
            {"type": "PodScheduled", "status": "True"},
            {"type": "Ready", "status": "True" if ready else "False"},
        ],
        "containerStatuses": [
            {
                "containerID": f"containerd://{uid}-{restarts}",
                "restartCount": restarts,
                "state": {"running": {}},
                **container,
            }
        ],
    }


def pending(**fields: Any) -> dict[str, Any]:
    """Return the status of a Pod that has not started. on: whether it has a node."""
    return {"phase": "Pending", **fields}


def unscheduled(message: str) -> dict[str, Any]:
    """Return the status of a Pod for which the scheduler finds no node."""
    return pending(
        conditions=[{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}]
    )


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    """Return the status of a Pod whose container waits on its node."""
    state = {"waiting": {"reason": reason, **({"message": message} if message else {})}}
    return pending(
        on=True,
        conditions=[{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": "False"}],
        containerStatuses=[{"name": "engine", "restartCount": 0, "state": state}],
    )


def evicted() -> dict[str, Any]:
    """Return the status of a Pod that the kubelet has ended because its machine ran out of something."""
    return {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."}
