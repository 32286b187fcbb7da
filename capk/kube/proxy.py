"""Finds the proxy for a URL, by the rules of kubectl: those of Go's golang.org/x/net/http/httpproxy.

Python's own rules do not support address ranges, IPv6 addresses and ports. Pure; reads no environment.
"""

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple
from urllib.parse import SplitResult, urlsplit

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


def proxy_for(url: str, environment: Mapping[str, str]) -> str | None:
    """Return the URL of the proxy for requests to `url`, or None for a direct connection.

    environment: HTTPS_PROXY, HTTP_PROXY and NO_PROXY, or, if one is missing or empty, its name in lower case.
    A proxy without a scheme means http://. localhost and loopback addresses never use a proxy.
    """
    target = _split(url)
    if target is None or target.scheme not in _DEFAULT_PORTS or not target.hostname:
        return None
    proxy = _proxy_url(_variable(environment, f"{target.scheme.upper()}_PROXY"))
    if proxy is None or _is_direct(target, _variable(environment, "NO_PROXY")):
        return None
    return proxy


def _is_direct(target: SplitResult, no_proxy: str) -> bool:
    host, port = _ascii(target.hostname or ""), target.port or _DEFAULT_PORTS[target.scheme]
    address = _address(host)
    if host == "localhost" or (address is not None and address.is_loopback):
        return True
    return any(entry == "*" or _matches(entry, host, address, port) for entry in _entries(no_proxy))


def _matches(entry: str, host: str, address: _Address | None, port: int) -> bool:
    """Return whether an entry of NO_PROXY covers a host; names cover names, and addresses cover addresses."""
    if network := _network(entry):
        return address is not None and address in network
    name, wanted_port = _host_and_port(entry)
    if not name or (wanted_port and wanted_port != str(port)):
        return False
    if (wanted := _entry_address(name)) is not None:
        return wanted == address
    return address is None and _Domain.of(name).covers(host)


class _Domain(NamedTuple):
    """A name in NO_PROXY: `example.org` covers its subdomains too, `.example.org` and `*.example.org` only them."""

    name: str
    is_covered: bool

    @classmethod
    def of(cls, entry: str) -> "_Domain":
        entry = entry[1:] if entry.startswith("*.") else entry
        return cls(_ascii(entry.removeprefix(".")), not entry.startswith("."))

    def covers(self, host: str) -> bool:
        return host.endswith(f".{self.name}") or (self.is_covered and host == self.name)


def _entries(no_proxy: str) -> Iterator[str]:
    for entry in no_proxy.split(","):
        if entry := entry.strip().lower():
            yield entry


def _variable(environment: Mapping[str, str], name: str) -> str:
    return environment.get(name) or environment.get(name.lower()) or ""


def _proxy_url(value: str) -> str | None:
    """Return the value as a URL, None if it is not valid; `proxy:3128` and `proxy` mean http."""
    url = value if "://" in value else f"http://{value}"
    parts = _split(url)
    return url if parts and parts.hostname else None


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        _ = parts.port  # is validated only when it is read
    except ValueError:
        return None
    return parts


def _host_and_port(entry: str) -> tuple[str, str]:
    """Split `host:port` and `[IPv6]:port`; everything else is a host, including an IPv6 address without brackets."""
    host, colon, port = entry.rpartition(":")
    if colon and host.startswith("[") and host.endswith("]"):
        return host[1:-1], port
    if colon and ":" not in host and "[" not in entry and "]" not in entry:
        return host, port
    return entry, ""


def _network(entry: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    _, slash, length = entry.partition("/")
    if not slash or not (length.isascii() and length.isdecimal()):
        return None
    try:
        return ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return None


def _address(host: str) -> _Address | None:
    """Return an address without its zone; map an IPv4-mapped IPv6 address to IPv4."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _entry_address(name: str) -> _Address | None:
    return None if "%" in name else _address(name)


def _ascii(host: str) -> str:
    """Return a host name as in certificates and DNS; unchanged if it cannot be encoded."""
    try:
        return host if host.isascii() else host.encode("idna").decode()
    except UnicodeError:
        return host
