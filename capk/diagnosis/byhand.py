"""Prepares the configuration with which a person can repeat a failed creation by hand. Pure."""

from collections.abc import Mapping
from typing import Any

from capk.api.names import CLAIM_MOUNT_FOLDER


def unmarked(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a kind configuration without the marks of its object.

    A cluster that a person creates with it is theirs. With the marks, the provider would take it for its own and delete
    it.
    """
    if "nodes" not in config:
        return dict(config)
    return {**config, "nodes": [_without_mark(node) for node in config["nodes"]]}


def _without_mark(node: Mapping[str, Any]) -> dict[str, Any]:
    mounts = [mount for mount in node.get("extraMounts") or () if not _is_mark(mount)]
    others = {field: value for field, value in node.items() if field != "extraMounts"}
    return {**others, "extraMounts": mounts} if mounts else others


def _is_mark(mount: Mapping[str, Any]) -> bool:
    return str(mount.get("containerPath")).startswith(CLAIM_MOUNT_FOLDER)
