"""Reads the kubeconfigs that kind writes and builds the Secrets that hold them; pure.

No error text here ever quotes a kubeconfig: not its YAML, not what a parser says about it.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import yaml
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from capk.api import names
from capk.kindcfg import documents


class BadKubeconfig(ValueError):
    """The text is no kubeconfig that Cluster API and people could use; the message says why, without quoting it."""


@dataclass(frozen=True)
class KubeconfigFacts:
    """What a kubeconfig says, without its secrets."""

    server: str
    """URL of the API server."""
    host: str
    port: int
    authority: str
    """The certificate authority, PEM."""
    fingerprint: str
    """`sha256:` and the digest of the certificate authority, independent of how the PEM is laid out."""
    not_after: datetime | None
    """When the client certificate expires, in UTC; None for a user with a token."""


def read_kubeconfig(text: str) -> KubeconfigFacts:
    """Read the current context of a kubeconfig.

    Raises BadKubeconfig when it is no kubeconfig, is incomplete, or needs a plugin to log in, which Cluster API's core
    refuses (C14).
    """
    cluster, user = _current(_parse(text))
    server = cluster.get("server")
    if not isinstance(server, str):
        raise BadKubeconfig("the kubeconfig names no server")
    host, port = _host_and_port(server)
    authority = _certificates(cluster, "certificate-authority-data")
    if not authority:
        raise BadKubeconfig("the kubeconfig holds no certificate authority")
    for plugin in ("exec", "auth-provider"):
        if plugin in user:
            raise BadKubeconfig(f"the kubeconfig logs in by {plugin}; a certificate or a token is needed")
    chain = _certificates(user, "client-certificate-data")
    if not (chain and user.get("client-key-data")) and not user.get("token"):
        raise BadKubeconfig("the kubeconfig holds neither a client certificate with its key nor a token")
    digest = hashlib.sha256(b"".join(certificate.public_bytes(Encoding.DER) for certificate in authority))
    pem = "".join(certificate.public_bytes(Encoding.PEM).decode() for certificate in authority)
    not_after = min((certificate.not_valid_after_utc for certificate in chain), default=None)
    return KubeconfigFacts(server, host, port, pem, f"sha256:{digest.hexdigest()}", not_after)


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
    labels = {names.CORE_CLUSTER_NAME_LABEL: cluster, names.CLUSTER_LABEL: kind_cluster}
    metadata = _metadata(f"{cluster}-kubeconfig", namespace, labels, owner_references)
    return _secret(metadata, names.SECRET_TYPE, "value", kubeconfig)


def config_secret(
    *, namespace: str, kind_cluster: str, kubeconfig: str, owner_references: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return the Secret `<clusterName>-config`, for people on the machine of the container engine."""
    labels = {names.CLUSTER_LABEL: kind_cluster}
    metadata = _metadata(f"{kind_cluster}-config", namespace, labels, owner_references)
    return _secret(metadata, "Opaque", "config", kubeconfig)


def secret_digest(data: Mapping[str, str] | None) -> str:
    """Return a digest of a Secret's data: equal data, in any order, gives equal digests."""
    digest = hashlib.sha256()
    for key, value in sorted((data or {}).items()):
        # Lengths keep the border between key and value where it is.
        digest.update(f"{len(key)}:{key}{len(value)}:{value}".encode())
    return f"sha256:{digest.hexdigest()}"


def _metadata(
    name: str, namespace: str, labels: Mapping[str, str], owner_references: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    references = [dict(reference) for reference in owner_references]
    return {"name": name, "namespace": namespace, "labels": dict(labels), "ownerReferences": references}


def _secret(metadata: Mapping[str, Any], type: str, key: str, text: str) -> dict[str, Any]:
    data = {key: base64.b64encode(text.encode()).decode()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": type, "data": data}


def _parse(text: str) -> Mapping[str, Any]:
    try:
        document = documents.load(text)
    except (yaml.YAMLError, ValueError):
        # Without the cause: a parser's message quotes the text.
        raise BadKubeconfig("the text is not YAML") from None
    if not isinstance(document, Mapping) or document.get("kind") != "Config":
        raise BadKubeconfig("the text is no kubeconfig: kind is not Config")
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


def _host_and_port(server: str) -> tuple[str, int]:
    try:
        parts = urlsplit(server)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or parts.scheme != "https":
        raise BadKubeconfig("the server of the kubeconfig is no https URL with a host")
    return host, port or 443


def _certificates(entry: Mapping[str, Any], field: str) -> list[x509.Certificate]:
    value = entry.get(field)
    if value is None:
        return []
    try:
        return x509.load_pem_x509_certificates(base64.b64decode("".join(value.split()), validate=True))
    except (ValueError, AttributeError):
        raise BadKubeconfig(f"{field} of the kubeconfig is no certificate in base64") from None
