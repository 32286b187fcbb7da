"""The provider as in a pod, where Services have no names: `python -m bench.servicenames run`, as `capk run`.

Without cluster DNS, every name of a Service leads to this machine, where one API server answers for all kind clusters.
"""

import socket
import sys
from typing import Any

from bench import inpod

COMMAND = (sys.executable, "-m", "bench.servicenames")
THIS_MACHINE = "127.0.0.1"
_LOOK_UP = socket.getaddrinfo


def look_up(host: Any, *arguments: Any, **options: Any) -> list[Any]:
    """Return the addresses of a host, as `socket.getaddrinfo` does."""
    is_service = isinstance(host, str) and host.endswith(".svc")
    return _LOOK_UP(THIS_MACHINE if is_service else host, *arguments, **options)


def main() -> None:
    """Run the command line of `capk` with these names."""
    socket.getaddrinfo = look_up
    inpod.main()


if __name__ == "__main__":
    main()
