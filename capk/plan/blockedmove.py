"""Report that the API server does not let the provider end its block of `clusterctl move`. Pure."""

from capk.api.names import BLOCK_MOVE_ANNOTATION, HELD_BY_CREATION
from capk.plan.observed import MachineObserved, Observed
from capk.plan.parts import CLAIM
from capk.plan.plan import AddWorker, Create


def blocked_move_warning(observed: Observed | MachineObserved) -> str:
    """Return why a move waits although no creation and no join is under way; empty if none has to wait (C30, C54)."""
    operation, words = observed.operation, observed.refusals.get(CLAIM)
    is_held = observed.object.annotations.get(BLOCK_MOVE_ANNOTATION) == HELD_BY_CREATION
    if words is None or not is_held or (operation and isinstance(operation.request, Create | AddWorker)):
        return ""
    return (
        f"`clusterctl move` waits, because the API server refuses to remove the annotation {BLOCK_MOVE_ANNOTATION}: "
        f"{words}"
    )
