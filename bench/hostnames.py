"""The provider as in a pod, where each kind cluster has a name for this machine: `python -m bench.hostnames run`.

So one API server can answer for all of them although the provider keeps one connection for each address. The names are
not looked up, because real kind clusters have addresses.
"""

import socket
import sys

from bench import inpod
from capk.workload.lookups import Address, Lookups

COMMAND = (sys.executable, "-m", "bench.hostnames")
THIS_MACHINE = "127.0.0.1"


async def addresses(self: Lookups, host: str, port: int) -> list[Address]:
    """Return the address of this machine, whatever the name."""
    return [(socket.AF_INET, (THIS_MACHINE, port))]


def main() -> None:
    """Run the command line of `capk` with these names."""
    Lookups.addresses = addresses  # type: ignore[method-assign]
    inpod.main()


if __name__ == "__main__":
    main()
