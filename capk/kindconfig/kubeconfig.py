"""Reads the kubeconfigs that kind prints, writes new ones, and builds the Secrets that hold them. Pure.

kind prints the user of a node's admin.conf as it is (kind pkg/cluster/internal/kubeconfig/internal/kubeconfig/types.go,
kubeadm.go), and with `--internal` its server too. Root in a node and every administrator of the workload cluster can
edit that file. So a kubeconfig is untrusted input: `parse` takes the parts that are needed, `render` writes a new one.

`parse` ignores fields that it does not need instead of rejecting the kubeconfig. Fields such as `exec`, `tokenFile`,
`proxy-url`, `as` or `insecure-skip-tls-verify` harm only programs that read the file. Only `parse` reads it, and
`render` writes none of them. Rejecting would add no safety, and one stray field would cost users the kubeconfig of a
working cluster. A kubeconfig is rejected if it has no inline credentials apart from these fields.

Error texts never quote a kubeconfig: neither its YAML nor a parser's message about it.
"""

import base64
import hashlib
import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit

import yaml

from capk.api import names
from capk.kindconfig import kubeconfigfields, yamlio
from capk.kindconfig.kubeconfigfields import BadKubeconfig

__all__ = [
    "BadKubeconfig",
    "Kubeconfig",
    "KubeconfigFacts",
    "config_secret",
    "kubeconfig_secret",
    "parse",
    "read_kubeconfig",
    "render",
    "secret_digest",
    "server_url",
]

MOST_CHARACTERS: Final = 256 * 1024
"""kind's kubeconfigs have about 6,000."""

_DNS_NAME: Final = re.compile(r"(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_PLUGINS: Final = ("exec", "auth-provider", "tokenFile", "client-certificate", "client-key", "username")
"""Ways to log in that need more than the kubeconfig itself, or that Kubernetes no longer has."""


@dataclass(frozen=True)
class Kubeconfig:
    """The parts of a kubeconfig that are needed to log in, each parsed and written again.

    host, port: of the API server. The node chose them in a kubeconfig of `kind get kubeconfig --internal`: compare them
    with an address you know.
    authority: certificates that vouch for the API server, PEM.
    fingerprint: `sha256:` and the digest of the authority, independent of the layout of the PEM.
    client_certificate, client_key: PEM; both empty for a user with a token.
    token: bearer token; None for a user with a client certificate.
    not_before, not_after: validity of the client certificate and its chain, in UTC; None for a token.
    """

    host: str
    port: int
    authority: str = field(repr=False)
    fingerprint: str
    client_certificate: str = field(default="", repr=False)
    client_key: str = field(default="", repr=False)
    token: str | None = field(default=None, repr=False)
    not_before: datetime | None = None
    not_after: datetime | None = None

    @property
    def lifetime(self) -> timedelta | None:
        """Total lifetime of the client certificate; None for a token."""
        return self.not_after - self.not_before if self.not_before and self.not_after else None


@dataclass(frozen=True)
class KubeconfigFacts:
    """The facts of a kubeconfig without its secrets."""

    server: str
    """URL of the API server."""
    host: str
    port: int
    authority: str
    """The certificate authority, PEM."""
    fingerprint: str
    """`sha256:` and the digest of the certificate authority, independent of the layout of the PEM."""
    not_after: datetime | None
    """When the client certificate expires, in UTC; None for a user with a token."""


def parse(text: str) -> Kubeconfig:
    """Parse the current context of an untrusted kubeconfig; fields that are not needed are ignored.

    A client certificate with its key takes precedence over a token. Raises BadKubeconfig if the text is not a
    kubeconfig, is too large, or holds neither: core rejects login plugins (C14), and files are not ours to read.
    """
    cluster, user = _current(_document(text))
    host, port = _host_and_port(cluster.get("server"))
    authority = kubeconfigfields.certificates(cluster, "certificate-authority-data")
    if not authority:
        raise BadKubeconfig("the kubeconfig holds no certificate authority")
    vouched = kubeconfigfields.pem(authority), kubeconfigfields.fingerprint(authority)
    if not (user.get("client-certificate-data") and user.get("client-key-data")):
        return Kubeconfig(host, port, *vouched, token=_token(user))
    chain = kubeconfigfields.certificates(user, "client-certificate-data")
    if not chain:
        raise BadKubeconfig("client-certificate-data of the kubeconfig holds no certificate")
    return Kubeconfig(
        host,
        port,
        *vouched,
        client_certificate=kubeconfigfields.pem(chain),
        client_key=kubeconfigfields.private_key(user, "client-key-data", chain[0]),
        not_before=max(certificate.not_valid_before_utc for certificate in chain),
        not_after=min(certificate.not_valid_after_utc for certificate in chain),
    )


def render(kubeconfig: Kubeconfig, *, server: str, name: str) -> str:
    """Return a new kubeconfig, YAML, with one cluster, user and context, and only the fields below.

    server: URL of the API server at an address that we know, as `server_url` writes it.
    name: of the kind cluster; the entries are called `kind-<name>`, as kind calls them.
    """
    entry = f"kind-{name}"
    user = {"token": kubeconfig.token}
    if kubeconfig.client_key:
        certificate, key = _base64(kubeconfig.client_certificate), _base64(kubeconfig.client_key)
        user = {"client-certificate-data": certificate, "client-key-data": key}
    cluster = {"certificate-authority-data": _base64(kubeconfig.authority), "server": server}
    document = {
        "apiVersion": "v1",
        "clusters": [{"cluster": cluster, "name": entry}],
        "contexts": [{"context": {"cluster": entry, "user": entry}, "name": entry}],
        "current-context": entry,
        "kind": "Config",
        "users": [{"name": entry, "user": user}],
    }
    return yamlio.dump(document)


def server_url(host: str, port: int) -> str:
    """Return the https URL of an API server, with brackets around an IPv6 address: `https://[::1]:40001`."""
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"


def read_kubeconfig(text: str) -> KubeconfigFacts:
    """Read the current context of a kubeconfig; raises BadKubeconfig as `parse` does."""
    found = parse(text)
    url = server_url(found.host, found.port)
    return KubeconfigFacts(url, found.host, found.port, found.authority, found.fingerprint, found.not_after)


def kubeconfig_secret(
    *,
    cluster: str,
    namespace: str,
    kind_cluster: str,
    kubeconfig: str,
    owner_references: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Return the Secret `<cluster>-kubeconfig` that Cluster API reads (C14, C26).

    cluster: name of the owner Cluster. kind_cluster: name of the kind cluster, by which we find our Secrets.
    """
    labels = {names.CORE_CLUSTER_NAME_LABEL: cluster, names.SECRET_CLUSTER_LABEL: kind_cluster}
    metadata = _metadata(f"{cluster}-kubeconfig", namespace, labels, owner_references)
    return _secret(metadata, names.SECRET_TYPE, "value", kubeconfig)


def config_secret(
    *, namespace: str, kind_cluster: str, kubeconfig: str, owner_references: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return the Secret `<clusterName>-config`, for people on the machine of the container engine."""
    labels = {names.SECRET_CLUSTER_LABEL: kind_cluster}
    metadata = _metadata(f"{kind_cluster}-config", namespace, labels, owner_references)
    return _secret(metadata, "Opaque", "config", kubeconfig)


def secret_digest(data: Mapping[str, str] | None) -> str:
    """Return a digest of a Secret's data, independent of its order."""
    digest = hashlib.sha256()
    for key, value in sorted((data or {}).items()):
        # The lengths make the border between key and value unambiguous.
        digest.update(f"{len(key)}:{key}{len(value)}:{value}".encode())
    return f"sha256:{digest.hexdigest()}"


def _metadata(
    name: str, namespace: str, labels: Mapping[str, str], owner_references: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    references = [dict(reference) for reference in owner_references]
    return {"name": name, "namespace": namespace, "labels": dict(labels), "ownerReferences": references}


def _secret(metadata: Mapping[str, Any], type: str, key: str, text: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": type, "data": {key: _base64(text)}}


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _document(text: str) -> Mapping[str, Any]:
    if len(text) > MOST_CHARACTERS:
        raise BadKubeconfig(f"the text is larger than {MOST_CHARACTERS // 1024} KiB")
    try:
        document = yamlio.load_texts(text)
    except (yaml.YAMLError, ValueError):
        # Without the cause: a parser's message quotes the text.
        raise BadKubeconfig("the text is not YAML") from None
    if not isinstance(document, Mapping) or document.get("kind") != "Config":
        raise BadKubeconfig("the text is not a kubeconfig: kind is not Config")
    return document


def _current(document: Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Return cluster and user of the current context."""
    context = _named(document, "contexts", "context", document.get("current-context"))
    cluster = _named(document, "clusters", "cluster", context.get("cluster"))
    return cluster, _named(document, "users", "user", context.get("user"))


def _named(document: Mapping[str, Any], section: str, field: str, name: Any) -> Mapping[str, Any]:
    entries = document.get(section)
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, Mapping) and entry.get("name") == name and isinstance(entry.get(field), Mapping):
            found: Mapping[str, Any] = entry[field]
            return found
    raise BadKubeconfig(f"the kubeconfig has no {field} for its current context")


def _token(user: Mapping[str, Any]) -> str:
    if token := kubeconfigfields.inline_token(user):
        return token
    if other := next((plugin for plugin in _PLUGINS if plugin in user), None):
        raise BadKubeconfig(f"the kubeconfig logs in by {other}; it needs an inline certificate and key, or a token")
    raise BadKubeconfig("the kubeconfig holds neither a client certificate with its key nor a token")


def _host_and_port(server: Any) -> tuple[str, int]:
    if not isinstance(server, str):
        raise BadKubeconfig("the kubeconfig names no server")
    try:
        parts = urlsplit(server)
        host, port = parts.hostname, 443 if parts.port is None else parts.port
    except ValueError:
        host, port = None, 0
    if not host or parts.scheme != "https" or "@" in parts.netloc or not port or not _is_host(host):
        raise BadKubeconfig("the server of the kubeconfig is not an https URL with a host")
    return host, port


def _is_host(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return _DNS_NAME.fullmatch(host) is not None
    # An address with a zone, `fe80::1%eth0`, has a meaning on one machine only.
    return getattr(address, "scope_id", None) is None
