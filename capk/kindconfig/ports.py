"""Chooses the ports that a kind cluster publishes on a machine that is not the one where kind runs. Pure.

For a port that is left open, kind listens on a free port of its own machine. On another machine that address does not
exist, or the port is taken. Source: kind pkg/cluster/internal/providers/common/getport.go.
"""

import hashlib
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple


class PortRange(NamedTuple):
    """Ports of the engine's machine that kind clusters may take, from the first to the last."""

    first: int
    last: int

    def __len__(self) -> int:
        return self.last - self.first + 1


def with_ports(config: Mapping[str, Any], ports: PortRange, *, seed: str, taken: Collection[int]) -> dict[str, Any]:
    """Return kind's configuration with a port wherever it leaves one open; -1 stays, because the engine picks then.

    seed: of the creation; another one gives other ports, so that the attempt after a conflict has a chance.
    taken: ports that other kind clusters publish. If the range is exhausted, a port is left open.
    """
    networking, nodes = config.get("networking") or {}, [dict(node) for node in config.get("nodes") or ()]
    mappings = [mapping for node in nodes for mapping in node.get("extraPortMappings") or ()]
    own = {networking.get("apiServerPort"), *(mapping.get("hostPort") for mapping in mappings)}
    free = _free(ports, seed, {*taken, *(port for port in own if port)})
    given = dict(config)
    if not networking.get("apiServerPort") and (port := next(free, 0)):
        given["networking"] = {**networking, "apiServerPort": port}
    for node in nodes:
        if node.get("extraPortMappings"):
            node["extraPortMappings"] = [_mapped(mapping, free) for mapping in node["extraPortMappings"]]
    return given | ({"nodes": nodes} if nodes else {})


def _mapped(mapping: Mapping[str, Any], free: Iterator[int]) -> dict[str, Any]:
    port = mapping.get("hostPort") or next(free, 0)
    return {**mapping, "hostPort": port} if port else dict(mapping)


def _free(ports: PortRange, seed: str, taken: Collection[int]) -> Iterator[int]:
    """Yield the free ports of the range once, from one that the seed chooses on."""
    start = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8], "big")
    for step in range(len(ports)):
        port = ports.first + (start + step) % len(ports)
        if port not in taken:
            yield port
