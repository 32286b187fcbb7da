"""Which paths of the container engine's host nodes may mount."""

from collections.abc import Mapping, Sequence
from posixpath import normpath
from typing import Any

from capk.errors import InvalidSpec


def check_host_paths(spec: Mapping[str, Any], allowed: Sequence[str]) -> None:
    """Raise InvalidSpec for a node that mounts a path of the engine's host outside the allowed ones.

    It does not follow links on the host: users with write access below an allowed path choose where it leads.
    """
    for number, node in enumerate(spec.get("nodes") or ()):
        check_mounts(node.get("extraMounts") or (), f"spec.nodes[{number}].extraMounts", allowed)


def check_mounts(mounts: Sequence[Mapping[str, Any]], field: str, allowed: Sequence[str]) -> None:
    """Raise InvalidSpec for a mount of a path of the engine's host outside the allowed ones; field: of the mounts."""
    for place, mount in enumerate(mounts):
        path = normpath(mount.get("hostPath") or "")
        if not any(path == root or path.startswith(root.rstrip("/") + "/") for root in map(normpath, allowed)):
            raise InvalidSpec(
                f"{field}[{place}].hostPath",
                f"{path} is outside the paths of the container engine's host that this provider may mount "
                f"({', '.join(allowed) or 'none'}). Ask the operator to add it to --allowed-host-paths.",
            )
