"""Requests to an API server with the certificates of a kubeconfig, as users make them."""

import base64
import json
import ssl
import urllib.request
from pathlib import Path
from typing import Any

import yaml


def entries(kubeconfig: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the only cluster and the only user of a kubeconfig."""
    document = yaml.safe_load(kubeconfig)
    ((cluster,), (user,)) = document["clusters"], document["users"]
    return cluster["cluster"], user["user"]


def server(kubeconfig: str) -> str:
    return str(entries(kubeconfig)[0]["server"])


def authority(kubeconfig: str) -> str:
    return str(entries(kubeconfig)[0]["certificate-authority-data"])


def get(kubeconfig: str, path: str, scratch: Path) -> dict[str, Any]:
    """GET a path of the API server, whose certificate must be valid for the address."""
    cluster, user = entries(kubeconfig)
    context = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
    pair = scratch / "pair.pem"
    pair.touch(0o600)
    pair.write_bytes(
        base64.b64decode(user["client-certificate-data"]) + b"\n" + base64.b64decode(user["client-key-data"])
    )
    context.load_cert_chain(pair)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    with opener.open(cluster["server"] + path, timeout=30) as answer:
        return dict(json.load(answer))
