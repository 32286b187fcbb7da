"""Adapts custom resource definitions and webhooks to a local management cluster. Pure, except that it reads files."""

import base64
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from capk.errors import CapkError

Manifest = dict[str, Any]

CRD_DIRECTORY = Path(__file__).resolve().parents[2] / "config" / "crd" / "bases"
"""Our own definitions, in the source checkout."""
PROVIDER_LABEL = "cluster.x-k8s.io/provider"
CLUSTERCTL_LABEL = "clusterctl.cluster.x-k8s.io"
"""Label by which `clusterctl move` and `clusterctl describe` find the kinds that they process."""


def load(path: Path) -> list[Manifest]:
    """Return the documents of a YAML file."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    with path.open("rb") as file:
        return [document for document in yaml.load_all(file, Loader=loader) if document]


def own_definitions(directory: Path = CRD_DIRECTORY) -> list[Manifest]:
    """Return our custom resource definitions.

    Raises CapkError if there are none.
    """
    files = sorted(directory.glob("*.yaml"))
    if not files:
        raise CapkError(f"there are no custom resource definitions in {directory}: run `make generate`")
    return [labelled(document, "infrastructure-kind") for file in files for document in load(file)]


def labelled(manifest: Manifest, provider: str) -> Manifest:
    """Return a manifest with the labels that `clusterctl init` adds to a provider's objects."""
    labels = {**(manifest["metadata"].get("labels") or {}), PROVIDER_LABEL: provider, CLUSTERCTL_LABEL: ""}
    return {**manifest, "metadata": {**manifest["metadata"], "labels": labels}}


def with_conversion_at(manifest: Manifest, server: str, authority: bytes) -> Manifest:
    """Return a custom resource definition with a URL, instead of a Service, for its conversion webhook."""
    conversion = manifest["spec"].get("conversion") or {}
    if "webhook" not in conversion:
        return manifest
    client = _client_config(conversion["webhook"]["clientConfig"], server, authority)
    webhook = {**conversion["webhook"], "clientConfig": client}
    return {**manifest, "spec": {**manifest["spec"], "conversion": {**conversion, "webhook": webhook}}}


def with_webhooks_at(manifests: Iterable[Manifest], server: str, authority: bytes) -> list[Manifest]:
    """Return the webhook configurations among the manifests, with URLs instead of Services."""
    return [
        {
            **manifest,
            "metadata": {**manifest["metadata"], "name": f"capi-{manifest['metadata']['name']}"},
            "webhooks": [
                {**webhook, "clientConfig": _client_config(webhook["clientConfig"], server, authority)}
                for webhook in manifest["webhooks"]
            ],
        }
        for manifest in manifests
        if manifest["kind"] in {"MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"}
    ]


def _client_config(config: Mapping[str, Any], server: str, authority: bytes) -> Manifest:
    path = config["service"]["path"]
    return {"url": f"{server}{path}", "caBundle": base64.b64encode(authority).decode()}
