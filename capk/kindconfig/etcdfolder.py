"""Finds an etcd whose data does not survive a stop of its node. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from posixpath import normpath
from typing import Any, Final

from capk.kindconfig.config import CONTROL_PLANE
from capk.kindconfig.patches import PatchReader, json_operations, kubeadm_documents

_KIND: Final = "ClusterConfiguration"
_PATH: Final = ("etcd", "local", "dataDir")
_IN_MEMORY: Final = ("/tmp", "/run", "/var/run", "/dev/shm")
"""Folders of a node that are in memory; the third one is a link to the second.

Source: kind pkg/cluster/internal/providers/docker/provision.go, the flags `--tmpfs`.
"""

_OWN: Final = ("/", "/var")
"""Mount points of what the engine keeps with the container of a node."""

_MOST_KEPT: Final = 256
"""Patches whose folders are kept: each KINDMachine needs those of its KINDCluster. Admission takes 64 KiB of each."""


def passing_etcd_folder(spec: Mapping[str, Any]) -> str:
    """Return the folder that kubeadm patches give to etcd, if its data is gone when the node stops; otherwise empty.

    A folder that a control-plane node mounts is on the machine of the engine.
    """
    reader = PatchReader()
    nodes: Sequence[Mapping[str, Any]] = spec.get("nodes") or ({},)
    planes = [node for node in nodes if node.get("role", CONTROL_PLANE) == CONTROL_PLANE]
    of_all = tuple(_folders(spec, reader))
    for plane in planes:
        for folder in (*of_all, *_folders(plane, reader)):
            if _is_below(folder, _IN_MEMORY) and not _is_below(folder, _mounted(plane)):
                return folder
    return ""


def passing_because(facts: Sequence[str], *, is_in_pod: bool) -> str:
    """Return why a stop would take the data of etcd, as a clause about it; empty if it would not.

    facts: lines that `capk.engine.nodescripts.ETCD_MOUNT` prints. is_in_pod: whether the engine is a Pod that goes.
    A whole file system in memory was mounted in the node. Of one that the engine's machine has, `extraMounts` shows a
    folder, which stays. Raises ValueError if the script prints no such lines.
    """
    if not facts:
        return ""
    if facts == ["pod"]:
        return "in a volume of its Pod, which goes with the node"
    _, point, kind, root = facts
    if normpath(point) in _IN_MEMORY or (kind in ("tmpfs", "ramfs") and root == "/"):
        return f"in {point}, which is in memory"
    return f"in {point}, which is a folder of the Pod and not of its volume" if is_in_pod and point not in _OWN else ""


def _folders(holder: Mapping[str, Any], reader: PatchReader) -> Iterator[str]:
    """Yield the folders of etcd in the patches of a cluster or a node."""
    for patch in _texts(holder.get("kubeadmConfigPatches") or ()):
        yield from _folders_in_documents(patch) if reader.has_room_for(patch) else ()
    for patch in holder.get("kubeadmConfigPatchesJSON6902") or ():
        for text in _texts([str(patch.get("patch") or "")] if patch.get("kind") == _KIND else []):
            yield from _folders_in_operations(text) if reader.has_room_for(text) else ()


@lru_cache(maxsize=_MOST_KEPT)
def _folders_in_documents(patch: str) -> tuple[str, ...]:
    documents = (document for document in kubeadm_documents(patch) if document.get("kind") == _KIND)
    return tuple(folder for document in documents for folder in _folder_in(document, _PATH))


@lru_cache(maxsize=_MOST_KEPT)
def _folders_in_operations(patch: str) -> tuple[str, ...]:
    return tuple(folder for operation in json_operations(patch) for folder in _folder_of(operation))


def _texts(patches: Sequence[str]) -> Iterator[str]:
    """Yield the patches that may name the folder: most name none, and need not be parsed."""
    return (patch for patch in patches if _PATH[-1] in patch)


def _folder_of(operation: Mapping[str, Any]) -> Iterator[str]:
    """Yield the folder that an operation of a JSON patch sets, whole or with what is around it."""
    keys = tuple(str(operation.get("path") or "").strip("/").split("/"))
    if operation.get("op") in ("add", "replace") and keys == _PATH[: len(keys)]:
        yield from _folder_in(operation.get("value"), _PATH[len(keys) :])


def _folder_in(value: Any, keys: Sequence[str]) -> Iterator[str]:
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    if isinstance(value, str):
        yield normpath(value)


def _mounted(node: Mapping[str, Any]) -> list[str]:
    return [normpath(str(mount.get("containerPath") or "")) for mount in node.get("extraMounts") or ()]


def _is_below(folder: str, roots: Sequence[str]) -> bool:
    return any(folder == root or folder.startswith(f"{root}/") for root in roots)
