"""Which address of a workload cluster Cluster API gets."""

from enum import StrEnum


class EndpointMode(StrEnum):
    """Which address of a workload cluster Cluster API gets (`--endpoint`)."""

    INTERNAL = "internal"
    """The control plane container on the engine's kind network."""
    EXTERNAL = "external"
    """The port published on the machine of the container engine."""
