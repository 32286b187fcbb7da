"""The settings that decisions depend on, and the back-off that follows from them."""

from dataclasses import dataclass

from capk.api.endpoint import EndpointMode
from capk.kindconfig.ports import PortRange


@dataclass(frozen=True)
class Policy:
    """The settings that decisions depend on."""

    endpoint: EndpointMode = EndpointMode.EXTERNAL
    default_image: str | None = None
    allowed_host_paths: tuple[str, ...] = ("/",)
    """Paths of the engine's host that nodes may mount, including everything below them."""
    api_server_address: str = ""
    """IP address of the engine's machine on which API servers listen, if the KINDEngineClass gives it, not the spec."""
    endpoint_host: str = ""
    """Where clients reach these API servers; empty: at the address that kind reports."""
    endpoint_names: tuple[str, ...] = ()
    """Further names and addresses under which clients may reach them."""
    api_server_port: int = 0
    """Port on which API servers listen, if the place gives it; 0: the spec decides, or kind."""
    ports: PortRange | None = None
    """Ports of the engine's machine for those that a spec leaves open; None: kind chooses them."""
    wait_seconds: int = 120
    """How long kind waits for its control plane nodes to be Ready; 0: it does not wait."""
    retry_base_seconds: float = 5.0
    retry_limit_seconds: float = 300.0


def retry_delay(attempts: int, policy: Policy) -> float:
    """Return the seconds to wait after that many attempts: exponential, bounded; none before the first."""
    if attempts <= 0:
        return 0.0
    return float(min(policy.retry_base_seconds * 2 ** min(attempts - 1, 20), policy.retry_limit_seconds))
