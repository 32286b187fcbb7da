"""Read-only view of a KINDEngineClass: an engine that the administrator offers, and to whom."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Final

from capk.api import names
from capk.api.objects import Object
from capk.api.podengines import PodEngines, pod_engines

_HOST: Final = re.compile(r"(?P<scheme>tcp|ssh)://(?:(?P<user>[^@/]+)@)?(?P<host>\[[^\]]+\]|[^@:/\[\]]+)(?::[0-9]+)?")

DEFAULT_PORTS: Final = (20000, 29999)
"""Below the ports that Linux and Docker choose by themselves."""


@dataclass(frozen=True)
class DockerHost:
    """A Docker engine on another machine.

    url: as in DOCKER_HOST. secret: name of the Secret with the keys to it, in the provider's namespace.
    address: IP address of that machine on which API servers listen. endpoint_host: where clients reach them.
    host_paths: paths of that machine that nodes may mount, and all below them.
    ports: first and last port of that machine for API servers, and for port mappings without a port.
    """

    url: str
    secret: str
    address: str
    endpoint_host: str
    host_paths: tuple[str, ...] = ()
    ports: tuple[int, int] = DEFAULT_PORTS

    @property
    def uses_ssh(self) -> bool:
        """Whether the provider reaches the engine over SSH, not over TLS."""
        return self.url.startswith("ssh://")


@dataclass(frozen=True)
class KINDEngineClass(Object):
    """A KINDEngineClass."""

    @property
    def is_default(self) -> bool:
        """Whether KINDClusters without spec.engine use it, if it allows their namespace."""
        return self.annotations.get(names.DEFAULT_CLASS_ANNOTATION) == "true"

    @property
    def clusters_per_namespace(self) -> int | None:
        """How many kind clusters of one namespace it may have; None for any number."""
        limit = (self.spec.get("limits") or {}).get("clustersPerNamespace")
        return limit if isinstance(limit, int) else None

    @property
    def docker(self) -> DockerHost | None:
        """The engine; None if the object is not complete, as no object is that the API server has accepted."""
        given = self.spec.get("docker") or {}
        url, secret = str(given.get("host") or ""), str((given.get("secretRef") or {}).get("name") or "")
        found = _HOST.fullmatch(url)
        if found is None or not secret:
            return None
        address = str(given.get("apiServerAddress") or found["host"].strip("[]"))
        if not _is_address(address):
            return None
        paths = tuple(str(path) for path in given.get("allowedHostPaths") or ())
        ports = given.get("ports") or {}
        first, last = ports.get("first", DEFAULT_PORTS[0]), ports.get("last", DEFAULT_PORTS[1])
        return DockerHost(url, secret, address, str(given.get("endpointHost") or address), paths, (first, last))

    @property
    def pods(self) -> PodEngines | None:
        """The engines in Pods that it describes; None if it describes another engine, or is not complete."""
        given = self.spec.get("pods")
        return pod_engines(given) if isinstance(given, Mapping) else None

    def allows(self, labels: Mapping[str, str]) -> bool:
        """Return whether KINDClusters of a namespace with these labels may use it. Without a selector none may."""
        selector = self.spec.get("namespaceSelector")
        return selector is not None and selects(selector, labels)


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Return whether a label selector matches; an empty one matches everything, and an unknown operator nothing.

    Source: Kubernetes apimachinery/pkg/apis/meta/v1/types.go (LabelSelector).
    """
    equal: Mapping[str, str] = selector.get("matchLabels") or {}
    expressions: Iterable[Mapping[str, Any]] = selector.get("matchExpressions") or ()
    return all(labels.get(key) == value for key, value in equal.items()) and all(
        _holds(expression, labels) for expression in expressions
    )


def _holds(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    key, values = str(expression.get("key")), expression.get("values") or ()
    match expression.get("operator"):
        case "In":
            return key in labels and labels[key] in values
        case "NotIn":
            return key not in labels or labels[key] not in values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
    return False


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
