"""Sets and finds metav1 conditions, and keeps their transition times. Pure.

A condition is a dictionary with `type`, `status` (True, False or Unknown, as text), `reason`, `message`,
`lastTransitionTime` and optionally `observedGeneration`. `capk.plan` decides which conditions exist and when they hold.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Literal

from capk.redaction import one_line

MESSAGE_LIMIT: Final = 10_000
"""Maximum characters of a message. If core's copy of it reaches 10240, every patch of the Cluster fails (C4)."""

Status = Literal["True", "False", "Unknown"]

_REASON: Final = re.compile(r"[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?")
_REASON_LIMIT: Final = 256
_CUT: Final = " … (cut)"


def set_condition(
    existing: Sequence[Mapping[str, Any]],
    type: str,
    status: Status | bool | None,
    reason: str,
    message: str = "",
    *,
    now: datetime,
    generation: int | None = None,
) -> list[dict[str, Any]]:
    """Return the conditions with that one set; all others, also foreign ones, keep their content and position.

    status: True, False or Unknown as text, or True, False or None.
    now: becomes lastTransitionTime, in whole seconds, only if the condition is new or changes its status (C18).
    Raises ValueError for a reason that the API server would reject (C4).
    """
    if len(reason) > _REASON_LIMIT or not _REASON.fullmatch(reason):
        raise ValueError(f"invalid reason {reason!r} of {type}: expected CamelCase, at most {_REASON_LIMIT} characters")
    seen = find(existing, type)
    wanted = {
        "type": str(type),
        "status": _as_status(status),
        "reason": str(reason),
        "message": fit_message(message),
    }
    keeps_time = seen is not None and seen.get("status") == wanted["status"] and seen.get("lastTransitionTime")
    wanted["lastTransitionTime"] = str(seen["lastTransitionTime"]) if seen and keeps_time else format_time(now)
    condition: dict[str, Any] = wanted if generation is None else {**wanted, "observedGeneration": generation}
    if seen is None:
        return [*(dict(other) for other in existing), condition]
    # Comparing by identity also drops a second condition of that type, which the list's map key forbids.
    kept = (other for other in existing if other is seen or other.get("type") != type)
    return [condition if other is seen else dict(other) for other in kept]


def find(conditions: Iterable[Mapping[str, Any]], type: str) -> Mapping[str, Any] | None:
    """Return the condition of that type, or None."""
    return next((condition for condition in conditions if condition.get("type") == type), None)


def transition_time(condition: Mapping[str, Any]) -> datetime | None:
    """Return when a stored condition last changed its status; None if that is not a time with a zone.

    The text is untrusted: everyone who may write the status chooses it.
    """
    try:
        moment = datetime.fromisoformat(str(condition.get("lastTransitionTime")))
    except ValueError:
        return None
    return moment if moment.tzinfo else None


def fit_message(message: str) -> str:
    """Return the message as the API server will store it: one line, cut to the limit, that JSON can carry.

    What programs print may hold escape sequences, which would reach the terminals of people through kubectl.
    Output in odd encodings has lone surrogates. The API server would replace them, so that the stored message would
    always differ from ours.
    """
    text = one_line(message.encode("utf-8", errors="replace").decode("utf-8"))
    return text if len(text) <= MESSAGE_LIMIT else text[: MESSAGE_LIMIT - len(_CUT)].rstrip() + _CUT


def format_time(moment: datetime) -> str:
    """Format a time as the API server does: RFC 3339, UTC, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _as_status(status: Status | bool | None) -> Status:
    if isinstance(status, str):
        return status
    return "Unknown" if status is None else "True" if status else "False"
