"""Writes kubeconfigs as kind does: one cluster, user and context named `kind-NAME`, merged into files under a lock.

Source: kind pkg/cluster/internal/kubeconfig/internal/kubeconfig/{paths,lock,merge,remove,write}.go.
"""

import base64
import contextlib
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from capk.errors import CapkError

_TRIES_SECONDS = (0, 0.001, 0.05, 0.1)
"""Number of times that kind tries to write the merged file."""


class KubeconfigLocked(CapkError):
    """Another program holds the lock of the kubeconfig file, or left it behind."""


def render(name: str, server: str, credentials: tuple[bytes, bytes, bytes]) -> str:
    """Return a kubeconfig as YAML, fields in kind's order.

    name: of its cluster, user and context; `kind-NAME` for a kind cluster.
    credentials: authority, client certificate and key, PEM.
    """
    authority, certificate, key = (base64.b64encode(item).decode() for item in credentials)
    return (
        "apiVersion: v1\n"
        "clusters:\n"
        "- cluster:\n"
        f"    certificate-authority-data: {authority}\n"
        f"    server: {server}\n"
        f"  name: {name}\n"
        "contexts:\n"
        "- context:\n"
        f"    cluster: {name}\n"
        f"    user: {name}\n"
        f"  name: {name}\n"
        f"current-context: {name}\n"
        "kind: Config\n"
        "users:\n"
        f"- name: {name}\n"
        "  user:\n"
        f"    client-certificate-data: {certificate}\n"
        f"    client-key-data: {key}\n"
    )


def write_merged(text: str, explicit: str) -> None:
    """Put a rendered kubeconfig into the user's file, keeping the other entries.

    explicit: the file; empty for the one from KUBECONFIG or the home directory.
    Raises KubeconfigLocked after kind's four quick tries.
    """
    path = _path_for_merge(explicit)
    for attempt, wait in enumerate(_TRIES_SECONDS):
        time.sleep(wait)
        try:
            with _locked(path):
                existing = path.read_text() if path.exists() else ""
                _write(path, _merged(existing, text) if existing.strip() else text)
            return
        except KubeconfigLocked:
            if attempt == len(_TRIES_SECONDS) - 1:
                raise


def remove(cluster: str, explicit: str) -> None:
    """Remove the entries of a kind cluster from the user's files.

    Raises KubeconfigLocked immediately, as kind does.
    """
    for path in _paths(explicit):
        with _locked(path):
            existing = path.read_text() if path.exists() else ""
            if f"kind-{cluster}" in existing:
                _remove_from(path, existing, f"kind-{cluster}")


def _remove_from(path: Path, existing: str, name: str) -> None:
    import yaml

    document = yaml.safe_load(existing) or {}
    for field in ("clusters", "contexts", "users"):
        document[field] = [entry for entry in document.get(field) or [] if entry.get("name") != name]
    if document.get("current-context") == name:
        document["current-context"] = ""
    _write(path, yaml.safe_dump(document, default_flow_style=False))


def _merged(existing: str, text: str) -> str:
    import yaml

    document: dict[str, Any] = yaml.safe_load(existing) or {}
    added: Mapping[str, Any] = yaml.safe_load(text)
    for field in ("clusters", "contexts", "users"):
        new = added[field][0]
        kept = [entry for entry in document.get(field) or [] if entry.get("name") != new["name"]]
        document[field] = [*kept, new]
    document |= {"current-context": added["current-context"], "apiVersion": "v1", "kind": "Config"}
    return str(yaml.safe_dump(document, default_flow_style=False))


def _paths(explicit: str) -> list[Path]:
    if explicit:
        return [Path(explicit)]
    listed = [part for part in os.environ.get("KUBECONFIG", "").split(os.pathsep) if part]
    return [Path(part) for part in dict.fromkeys(listed)] or [Path.home() / ".kube" / "config"]


def _path_for_merge(explicit: str) -> Path:
    paths = _paths(explicit)
    return next((path for path in paths if path.is_file()), paths[-1])


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.with_name(f"{path.name}.lock")
    try:
        os.close(os.open(lock, os.O_CREAT | os.O_EXCL, 0))
    except FileExistsError:
        raise KubeconfigLocked(f"failed to lock config file: open {lock}: file exists") from None
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)


def _write(path: Path, text: str) -> None:
    with open(path, "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(text)
