"""The errors of the provider; each knows what a person needs to know about it.

    CapkError
      InvalidSpec            the user must change the object; a retry cannot help
      CommandError           an external command did not do its work
        CommandFailed        it ended with a non-zero exit status
        CommandTimedOut      it was ended at its deadline
        CommandMissing       it could not be started at all
      AddressTaken           a node cannot get its address again; another container has it
      NamesNotResolved       nodes would not find each other: the engine's network has no DNS
      ApiError               the API server did not do what was asked
        Conflict             somebody else wrote the object first; look again
        NotFound             the object, or its kind, is not there
        Forbidden            the provider's permissions do not cover it
        Denied               an admission webhook does not allow it
        Unreachable          no answer, or the server is overwhelmed
      LostLease              another replica leads now; the process must exit

What a person reads about a CommandError is decided in `capk.diagnosis.failures`, nowhere else.
"""

from collections.abc import Sequence


class CapkError(Exception):
    """Everything that this package raises on purpose."""


class InvalidSpec(CapkError):
    """The object asks for something that cannot be done.

    path: the field, as in `spec.networking.podSubnet`.
    message: what is wrong and what is accepted.
    """

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path = path
        self.message = message


class CommandError(CapkError):
    """An external command did not do its work.

    command: the argument list; never holds a secret.
    output: the last part of what it printed on standard output and standard error.
    logs: directory in which more is kept; empty when there is none.
    config: file with a copy of the configuration that the command read on its standard input; empty when there is none.
    """

    def __init__(self, command: Sequence[str], output: str, message: str) -> None:
        super().__init__(f"{' '.join(command)}: {message}")
        self.command = list(command)
        self.output = output
        self.logs = ""
        self.config = ""


class CommandFailed(CommandError):
    """The command ended with a non-zero exit status, or by a signal (negative status)."""

    def __init__(self, command: Sequence[str], output: str, exit_status: int) -> None:
        super().__init__(command, output, f"exit status {exit_status}")
        self.exit_status = exit_status


class CommandTimedOut(CommandError):
    """The command was still running at its deadline and was ended with all its children."""

    def __init__(self, command: Sequence[str], output: str, seconds: float) -> None:
        super().__init__(command, output, f"ended after {seconds:.0f} s, its deadline")
        self.seconds = seconds


class CommandMissing(CommandError):
    """The command is not installed, or may not be executed."""

    def __init__(self, command: Sequence[str], cause: str) -> None:
        super().__init__(command, "", cause)


class AddressTaken(CapkError):
    """A node of several control planes cannot be started: another container has the address that it needs.

    node, occupant: names of the containers; no occupant: the engine names none, and gives out other addresses.
    """

    def __init__(self, node: str, address: str, occupant: str) -> None:
        cause = f"container {occupant} has it" if occupant else "the container engine does not give it out"
        super().__init__(f"{node} needs its address {address} again, and {cause}")
        self.node = node
        self.address = address
        self.occupant = occupant


class NamesNotResolved(CapkError):
    """Several nodes cannot become a cluster: the engine's network does not resolve the names of containers.

    network: its name.
    """

    def __init__(self, network: str) -> None:
        super().__init__(f"the container engine's network {network} does not resolve the names of containers")
        self.network = network


class ApiError(CapkError):
    """The API server did not do what was asked.

    verb: get, list, create, patch, apply or delete.
    resource: plural, with namespace and name where there is one, as in `kindclusters default/dev`.
    status: HTTP status, 0 when there was no answer.
    """

    def __init__(self, verb: str, resource: str, status: int, message: str) -> None:
        super().__init__(f"{verb} {resource}: {message} (HTTP {status})" if status else f"{verb} {resource}: {message}")
        self.verb = verb
        self.resource = resource
        self.status = status
        self.message = message

    @property
    def is_refusal(self) -> bool:
        """Whether the server understood the request and will not do it: quota, admission, validation, permissions.

        500 is what it answers when an admission webhook cannot be called.
        """
        return self.status == 500 or (400 <= self.status < 500 and self.status not in (404, 408, 409, 429))


class Conflict(ApiError):
    """The object was written after we read it (409, or 422 for a foreign uid)."""

    is_refusal = False


class NotFound(ApiError):
    """The object is gone, or the API server does not serve its kind (404)."""


class Forbidden(ApiError):
    """The provider may not do this (401 or 403)."""


class Denied(ApiError):
    """An admission webhook does not allow it; the status is of its choice, as in 404 or 503."""

    is_refusal = True


class Unreachable(ApiError):
    """No answer, an answer that came too late, or a server that is overwhelmed (429, 5xx)."""


class LostLease(CapkError):
    """Another replica may lead now; this process must stop acting and exit."""
