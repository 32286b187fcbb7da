"""The provider's errors. Each carries what a person needs to understand it.

    CapkError
      InvalidSpec            the user must change the object; a retry cannot help
      CommandError           an external command failed
        CommandFailed        it exited with a non-zero status
        CommandTimedOut      it was stopped at its deadline
        CommandMissing       it could not be started
      AddressTaken           a node cannot get its former address; another container has it
      NamesNotResolved       nodes would not find each other: the engine's network has no DNS
      NoApiServer            no worker can join: the API server of its kind cluster does not answer
      UnprovenCreation       a kind cluster is not removed: its creation may have been completed
      UnsupportedEngine      the operation has not been proven to work with this container engine
      ApiError               the API server did not carry out a request
        Conflict             another writer changed the object first; read it again
        NotFound             the object, or its kind, does not exist
        Forbidden            the provider's permissions do not cover it
        Denied               an admission webhook does not allow it
        Unreachable          no answer, or the server is overloaded
      LostLease              another replica leads now; the process must exit

Only `capk.diagnosis.failures` decides how a CommandError is explained to people.
"""

from collections.abc import Sequence


class CapkError(Exception):
    """Base class of the errors that this package raises."""

    left_nothing = False
    """Whether a failed creation is proven to have left no container on its engine."""


class InvalidSpec(CapkError):
    """The object requests something that is not possible.

    path: the field, as in `spec.networking.podSubnet`.
    message: what is wrong and what is accepted.
    """

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path = path
        self.message = message


class CommandError(CapkError):
    """An external command failed.

    command: the argument list, which never holds a secret.
    output: the end of its standard output and standard error.
    logs: directory with more logs; empty if there is none.
    config: file with a copy of the configuration that the command read on its standard input; empty if there is none.
    """

    def __init__(self, command: Sequence[str], output: str, message: str) -> None:
        super().__init__(f"{' '.join(command)}: {message}")
        self.command = list(command)
        self.output = output
        self.logs = ""
        self.config = ""


class CommandFailed(CommandError):
    """The command exited with a non-zero status, or a signal ended it (negative status)."""

    def __init__(self, command: Sequence[str], output: str, exit_status: int) -> None:
        super().__init__(command, output, f"exit status {exit_status}")
        self.exit_status = exit_status


class TooMuchOutput(CommandFailed):
    """The command printed more than is read of it, and was ended."""


class CommandTimedOut(CommandError):
    """The command was still running at its deadline, and was stopped with all its children."""

    def __init__(self, command: Sequence[str], output: str, seconds: float) -> None:
        super().__init__(command, output, f"stopped at its deadline of {seconds:.0f} s")
        self.seconds = seconds


class CommandMissing(CommandError):
    """The command is not installed, or may not be executed."""

    def __init__(self, command: Sequence[str], cause: str) -> None:
        super().__init__(command, "", cause)


class AddressTaken(CapkError):
    """A control-plane node, one of several, cannot start: another container has the address that it needs.

    node, occupant: names of the containers. occupant is empty if the engine names none and assigns other addresses.
    """

    def __init__(self, node: str, address: str, occupant: str) -> None:
        cause = f"container {occupant} has it" if occupant else "the container engine does not assign it"
        super().__init__(f"{node} needs its former address {address}, but {cause}")
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


class NoApiServer(CapkError):
    """No worker can join a kind cluster whose API server does not answer, asked in its own control-plane node.

    node: name of that container.
    """

    def __init__(self, cluster: str, node: str) -> None:
        super().__init__(f"the API server of kind cluster {cluster} does not answer in its own node {node}")
        self.node = node


class UnprovenCreation(CapkError):
    """Nothing proves that a kind cluster is the rest of an interrupted creation, so nothing of it is removed.

    node, container_id, mark: of the control plane that could not be read. cause: why not.
    """

    def __init__(self, cluster: str, node: str, container_id: str, mark: str, cause: "CommandError") -> None:
        super().__init__(f"the control plane {node} of kind cluster {cluster} cannot be read")
        self.cluster = cluster
        self.node = node
        self.container_id = container_id
        self.mark = mark
        self.cause = cause


class UnsupportedEngine(CapkError):
    """The provider cannot add workers with this container engine.

    engine: its name. supported: names of engines that work.
    """

    def __init__(self, engine: str, supported: Sequence[str]) -> None:
        known = " and ".join(supported)
        super().__init__(f"workers can be added to a running kind cluster with {known}, but not with {engine}")
        self.engine = engine


class PassingData(CapkError):
    """A control-plane node must not be stopped, because the data of its etcd would be lost.

    where: where that data is, and why it would go.
    """

    def __init__(self, node: str, where: str) -> None:
        super().__init__(f"etcd of {node} has its data {where}, so that it would be lost")


class ApiError(CapkError):
    """The API server did not carry out a request.

    verb: get, list, create, patch, apply or delete.
    resource: plural, with namespace and name if there is one, as in `kindclusters default/dev`.
    status: HTTP status; 0 if there was no answer.
    """

    def __init__(self, verb: str, resource: str, status: int, message: str) -> None:
        super().__init__(f"{verb} {resource}: {message} (HTTP {status})" if status else f"{verb} {resource}: {message}")
        self.verb = verb
        self.resource = resource
        self.status = status
        self.message = message

    @property
    def is_refusal(self) -> bool:
        """Whether the server understood and rejected the request: quota, admission, validation, permissions.

        The server answers 500 if it cannot call an admission webhook.
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
    """No answer, a late answer, or an overloaded server (429, 5xx)."""


class LostLease(CapkError):
    """Another replica may lead now; this process must stop acting and exit."""
