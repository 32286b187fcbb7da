"""Cluster API's core as in its release, with the webhook certificate that cert-manager would have created."""

import base64
from typing import Any

import yaml

from capkdev.certificates import Authority

INJECTED = "cert-manager.io/inject-ca-from"


def with_certificate(components: str) -> str:
    """Return components with a Secret for their Certificate, which all their webhooks trust."""
    documents: list[dict[str, Any]] = [one for one in yaml.safe_load_all(components) if one]
    (wanted,) = (one for one in documents if one["kind"] == "Certificate")
    names = wanted["spec"]["dnsNames"]
    authority = Authority("webhooks of an end-to-end test")
    pair = authority.issue_server(names[0], names)
    files = {"ca.crt": authority.certificate, "tls.crt": pair.certificate, "tls.key": pair.key}
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {"name": wanted["spec"]["secretName"], "namespace": wanted["metadata"]["namespace"]},
        "data": {name: _base64(content) for name, content in files.items()},
    }
    for document in documents:
        if INJECTED in document["metadata"].get("annotations", {}):
            for client in _clients(document):
                client["caBundle"] = _base64(authority.certificate)
    return yaml.safe_dump_all([*documents, secret])


def _clients(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the client configurations of the webhooks in a definition or a webhook configuration."""
    if document["kind"] == "CustomResourceDefinition":
        conversion = document["spec"].get("conversion") or {}
        return [conversion["webhook"]["clientConfig"]] if "webhook" in conversion else []
    return [webhook["clientConfig"] for webhook in document["webhooks"]]


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
