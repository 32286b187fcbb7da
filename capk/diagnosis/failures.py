"""Why a command failed, in words for people: reason, cause, remedy. Pure."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from capk.api.names import Reason
from capk.diagnosis import output, patterns
from capk.errors import CommandError, CommandFailed, CommandMissing, CommandTimedOut

MAX_MESSAGE: Final = 2000
"""Characters; a condition's message may have 32 Ki, but people have to read it."""


@dataclass(frozen=True)
class Failure:
    """Why a command failed.

    message: cause and what to do, one paragraph, the same text each time the same thing happens (C18).
    retry: whether the same call may succeed later although nobody changed the object.
    """

    reason: Reason
    message: str
    retry: bool = True


def classify(error: CommandError) -> Failure:
    """Say why a command failed and what to do about it."""
    match error:
        case CommandMissing():
            failure = _missing(error)
        case CommandTimedOut():
            failure = _timed_out(error)
        case _:
            text = output.reduced(error.output)
            failure = _recognised(text) or _unrecognised(error, text)
    return failure


def _recognised(text: str) -> Failure | None:
    for pattern in patterns.PATTERNS:
        if found := pattern.expression.search(text):
            facts = {
                "cause": output.cause(text),
                "kubeadm": output.kubeadm_cause(text),
                "port": patterns.port(text),
                **{name: output.clean(part) for name, part in found.groupdict().items() if part},
            }
            return Failure(pattern.reason, pattern.message.format(**facts)[:MAX_MESSAGE], pattern.retry)
    return None


def _unrecognised(error: CommandError, text: str) -> Failure:
    reason, doing = _operation(error)
    status = error.exit_status if isinstance(error, CommandFailed) else 0
    said = output.cause(text) or (f"ended by signal {-status}" if status < 0 else f"exit status {status}")
    return Failure(reason, f"Could not {doing}: {said}. Run the command by hand to see more: {_shown(error)}.")


def _missing(error: CommandMissing) -> Failure:
    name, cause = error.command[0], str(error).removeprefix(f"{' '.join(error.command)}: ")
    if _is_kind(error):
        remedy = "Install kind where the provider runs, or name the command with --kind-command."
        return Failure(Reason.KIND_COMMAND_MISSING, f"The command {name} cannot be used: {cause}. {remedy}")
    remedy = "Install it where the provider runs."
    return Failure(
        Reason.ENGINE_UNREACHABLE,
        f"The container engine's command {name} cannot be started: {cause}. {remedy}",
    )


def _timed_out(error: CommandTimedOut) -> Failure:
    reason, doing = _operation(error)
    took = f"within {error.seconds:.0f} s"
    if reason is Reason.CREATION_FAILED:
        step = output.last_step(error.output)
        last = f"; the last step was: {step}" if step else ""
        return Failure(
            Reason.TIMEOUT,
            f"kind could not {doing} {took}{last}. See whether the machine of the container engine is overloaded or "
            "pulls the image slowly, or allow more time with --create-timeout.",
        )
    if reason is Reason.DELETION_FAILED:
        return Failure(
            Reason.TIMEOUT, f"kind could not {doing} {took}. See whether the container engine answers, and restart it."
        )
    return Failure(
        Reason.ENGINE_UNREACHABLE,
        f"The container engine gave no answer {took} (to {_shown(error)}). See whether it hangs, and restart it; work "
        "goes on when it answers.",
    )


_KIND_CALLS: Final = {
    ("create", "cluster"): (Reason.CREATION_FAILED, "create the kind cluster"),
    ("delete", "cluster"): (Reason.DELETION_FAILED, "delete the kind cluster"),
    ("get", "kubeconfig"): (Reason.KUBECONFIG_UNAVAILABLE, "get the kubeconfig"),
    ("get", "clusters"): (Reason.COMMAND_FAILED, "list the kind clusters"),
    ("get", "nodes"): (Reason.COMMAND_FAILED, "list the nodes"),
    ("export", "logs"): (Reason.COMMAND_FAILED, "keep the logs"),
}
_ENGINE_CALLS: Final = {"start": "start the node containers", "image": "look for the node image"}


def _operation(error: CommandError) -> tuple[Reason, str]:
    """Return the reason of a failure with no recognised cause, and what was being done."""
    words = error.command
    for pair in pairwise(words):
        if pair in _KIND_CALLS:
            return _KIND_CALLS[pair]
    doing = next((_ENGINE_CALLS[word] for word in words[1:] if word in _ENGINE_CALLS), "ask the container engine")
    return Reason.COMMAND_FAILED, doing


def _is_kind(error: CommandError) -> bool:
    words = error.command
    return words[-1] == "version" or any(pair in _KIND_CALLS for pair in pairwise(words))


def _shown(error: CommandError) -> str:
    """Return the command as a person would type it: without what differs from call to call."""
    words = [word for word in error.command if not word.startswith(("--kubeconfig=", "--format", "{{", "["))]
    return output.clean(f"`{' '.join(words[:8])}`")
