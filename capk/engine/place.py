"""Where a container engine is, and what its kind clusters get there: plain data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from capk.api.endpoint import EndpointMode
from capk.kindconfig.ports import PortRange

SHARED: Final = "shared"
"""Key and pool of the place of the provider's own engine, which its command line and environment choose."""
PODS: Final = "pods"
"""Pool of the places of engines in Pods."""
ANY_ADDRESS: Final = "0.0.0.0"


@dataclass(frozen=True)
class Place:
    """Where an engine is. Names of kind clusters are unique per place.

    key: the same for as long as the place exists, whatever else of it changes; at most 50 of `a-z0-9.-`.
    endpoint: which address of its kind clusters Cluster API gets.
    host_paths: paths of the engine's machine that nodes may mount, including everything below them.
    variables: the environment of kind and of the engine's command, added to that of the provider.
    pool: the engines whose operations share the limits of the lanes.
    address: IP address of the engine's machine on which API servers listen; empty: the spec decides, or kind.
    endpoint_host: where clients reach these API servers; empty: at the address that kind reports.
    ports: of the engine's machine, for those that a spec leaves open; None: kind chooses them.
    endpoint_names: further names and addresses under which clients may reach them. api_port: on which they listen, if
    the place gives it; 0: the spec decides, or kind.
    life: another value is another engine, which may have lost what the former one had.
    """

    key: str
    endpoint: EndpointMode
    host_paths: tuple[str, ...]
    variables: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    pool: str = SHARED
    address: str = ""
    endpoint_host: str = ""
    ports: PortRange | None = None
    endpoint_names: tuple[str, ...] = ()
    api_port: int = 0
    life: str = ""

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables by name."""
        return dict(self.variables)
