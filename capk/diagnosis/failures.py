"""Explains to people why a command failed: reason, cause, remedy. Pure."""

import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final
from weakref import WeakKeyDictionary

from capk.api.names import Reason
from capk.diagnosis import output, patterns
from capk.diagnosis.output import Output
from capk.diagnosis.pattern import Pattern
from capk.errors import CommandError, CommandFailed, CommandMissing, CommandTimedOut
from capk.redaction import redact

MAX_MESSAGE: Final = 2000
"""Characters. A condition's message may have 32 Ki, but people have to read it."""
DOCTOR_HINT: Final = " Run `capk doctor` where the provider runs to check the engine and its machine."
_MAX_FACT: Final = 500
_MAX_WORDS: Final = 14


@dataclass(frozen=True)
class Failure:
    """Why a command failed.

    message: cause and remedy in one paragraph, always the same text for the same failure (C18).
    retry: False if only an edit of the object can help, because its configuration is wrong in itself. True if a change
    elsewhere, or time, may help: an engine that starts, a port or name that becomes free, an image or a host path that
    appears.
    """

    reason: Reason
    message: str
    retry: bool = True


_CHECKED_BY_DOCTOR: Final = frozenset(
    {
        Reason.ENGINE_UNREACHABLE,
        Reason.ENGINE_UNSUPPORTED,
        Reason.KIND_COMMAND_MISSING,
        Reason.OUT_OF_DISK,
        Reason.OUT_OF_MEMORY,
        Reason.INOTIFY_LIMIT,
    }
)
"""Failures whose cause is outside the object, where `capk doctor` checks."""

_diagnosed: WeakKeyDictionary[CommandError, tuple[tuple[str, str], Failure]] = WeakKeyDictionary()
"""Diagnoses of errors, as long as the errors live. Objects are reconciled often, and outputs are long."""


def classify(error: CommandError) -> Failure:
    """Return why a command failed and what to do about it. Further calls for the same error are cheap.

    The message for a failure of the engine or its machine ends with a hint to `capk doctor`.
    """
    kept = (error.logs, error.config)
    known = _diagnosed.get(error)
    if known is None or known[0] != kept:
        known = _diagnosed[error] = kept, _with_hint(diagnose(error))
    return known[1]


def cause_of(error: CommandError) -> str:
    """Return the cause in a few words, for a message that already names the operation."""
    if isinstance(error, CommandTimedOut):
        return f"no answer within {error.seconds:.0f} s"
    if isinstance(error, CommandMissing):
        return str(error).removeprefix(f"{' '.join(error.command)}: ")
    return output.cause(output.prepared(error.output))[:_MAX_FACT] or "the command failed and printed nothing"


def _with_hint(failure: Failure) -> Failure:
    if failure.reason not in _CHECKED_BY_DOCTOR:
        return failure
    return replace(failure, message=failure.message[: MAX_MESSAGE - len(DOCTOR_HINT)] + DOCTOR_HINT)


def diagnose(error: CommandError) -> Failure:
    """Return why a command failed and what to do about it, without a hint to `capk doctor`."""
    match error:
        case CommandMissing():
            return _missing(error)
        case CommandTimedOut():
            return _timed_out(error)
        case _:
            printed = output.prepared(error.output)
            return _recognised(error, printed) or _unrecognised(error, printed)


def _recognised(error: CommandError, printed: Output) -> Failure | None:
    reason, _ = _operation(error)
    for pattern in patterns.PATTERNS:
        if pattern.creating and reason is not Reason.CREATION_FAILED:
            continue
        if (facts := pattern.facts(printed)) is not None:
            words = {name: output.clean(redact(fact))[:_MAX_FACT] for name, fact in facts.items()}
            message = pattern.message.format(**words, **_details(pattern, error, printed))
            return Failure(pattern.reason or reason, message[:MAX_MESSAGE], pattern.retry)
    return None


def _details(pattern: Pattern, error: CommandError, printed: Output) -> dict[str, str]:
    """Return the facts that the pattern's message needs and its words do not provide."""
    details: dict[str, Callable[[], str]] = {
        "cause": lambda: output.cause(printed),
        "kubeadm": lambda: output.kubeadm_cause(printed),
        "port": lambda: patterns.port(printed),
        "again": lambda: _again(error),
    }
    return {name: detail() for name, detail in details.items() if f"{{{name}}}" in pattern.message}


def _unrecognised(error: CommandError, printed: Output) -> Failure:
    reason, doing = _operation(error)
    status = error.exit_status if isinstance(error, CommandFailed) else 0
    how = f"it was ended by signal {-status}" if status < 0 else f"it ended with exit status {status}"
    said = output.cause(printed) or how
    return Failure(reason, f"Could not {doing}: {said}. To see more, run {_again(error)}.")


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
    if _JOIN in pairwise(error.command):
        return Failure(
            Reason.TIMEOUT,
            f"kubeadm could not join the worker {took}. Check whether the API server of the kind cluster answers, and "
            "whether the machine of the container engine is overloaded.",
        )
    if reason is Reason.CREATION_FAILED:
        step = output.last_step(output.prepared(error.output))
        last = f" The last step was: {step}." if step else ""
        return Failure(
            Reason.TIMEOUT,
            f"kind could not {doing} {took}.{last} Check whether the machine of the container engine is overloaded or "
            "pulls the image slowly, or allow more time with --create-timeout.",
        )
    if reason is Reason.DELETION_FAILED:
        return Failure(
            Reason.TIMEOUT,
            f"kind could not {doing} {took}. Check whether the container engine answers, and restart it if not.",
        )
    if node := _node_of(error):
        return Failure(
            Reason.COMMAND_FAILED,
            f"A command in {node} did not end {took} (to see more, run {_again(error)}). Check whether that node and "
            "its API server work, and whether its machine is overloaded.",
        )
    return Failure(
        Reason.ENGINE_UNREACHABLE,
        f"The container engine did not answer {took} (to {_again(error)}). Check whether it hangs, and restart it if "
        "so. The provider continues when the engine answers.",
    )


_KIND_CALLS: Final = {
    ("create", "cluster"): (Reason.CREATION_FAILED, "create the kind cluster"),
    ("delete", "cluster"): (Reason.DELETION_FAILED, "delete the kind cluster"),
    ("get", "kubeconfig"): (Reason.KUBECONFIG_UNAVAILABLE, "get the kubeconfig"),
    ("get", "clusters"): (Reason.COMMAND_FAILED, "list the kind clusters"),
    ("get", "nodes"): (Reason.COMMAND_FAILED, "list the nodes"),
    ("export", "logs"): (Reason.COMMAND_FAILED, "keep the logs"),
}
_JOIN: Final = ("kubeadm", "join")
_EXEC: Final = "exec"
_ENGINE_CALLS: Final = {
    _EXEC: "run a command in a node",
    "start": "start the node containers",
    "image": "look for the node image",
    "run": "create the container of a node",
    "pull": "pull the node image",
}


def _operation(error: CommandError) -> tuple[Reason, str]:
    """Return the reason of a failure with an unknown cause, and the operation."""
    words = error.command
    for pair in pairwise(words):
        if pair in _KIND_CALLS:
            return _KIND_CALLS[pair]
    doing = next((_ENGINE_CALLS[word] for word in words[1:] if word in _ENGINE_CALLS), "ask the container engine")
    return Reason.COMMAND_FAILED, doing


def _node_of(error: CommandError) -> str:
    """Return the node in which a command ran; empty if it was not run in a node."""
    if _is_kind(error) or _EXEC not in error.command:
        return ""
    after = error.command[error.command.index(_EXEC) + 1 :]
    return next((word for word in after if not word.startswith("-")), "")


def _is_kind(error: CommandError) -> bool:
    words = error.command
    return words[-1] == "version" or any(pair in _KIND_CALLS for pair in pairwise(words))


def _again(error: CommandError) -> str:
    """Return the command as a person can run it: quoted for a shell, with the kept copy of the configuration.

    It omits arguments that differ from call to call (C18): a private kubeconfig, formats, ids of containers.
    """
    words = [word for word in error.command if not word.startswith(("--kubeconfig=", "--format", "{{", "["))]
    if (node := _node_of(error)) and any("\n" in word for word in words):
        # A script in one line is no script any more.
        engine = words[: words.index(_EXEC)]
        words = [*engine, _EXEC, "--interactive", "--tty", node, "sh"]
    if not _is_kind(error):
        return output.clean(redact(f"`{shlex.join(words[:8])}`"))
    if error.config:
        words = [f"--config={error.config}" if word == "--config=-" else word for word in words]
    command = redact(f"`{' '.join(shlex.join(words[:_MAX_WORDS]).split())}`")[:_MAX_FACT]
    missing = "--config=-" in words
    return f"{command} with the cluster's kind configuration on its standard input" if missing else command
