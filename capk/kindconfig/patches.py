"""Reads the patches of a spec: kubeadm's documents, containerd's registries. Pure.

Users write these texts. An unreadable one counts as empty here, because kind reports it better.
"""

import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from capk.kindconfig import yamlio

# kind splits a patch into documents in the same way. Source: kind pkg/internal/patch/resource.go.
_SEPARATOR = re.compile(r"\n---[^\n]*(?:\n|$)")
_REGISTRY_PLUGINS = ("io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images")
_MOST_CHARACTERS = 64 * 1024
_MOST_SIGNS = 10_000
"""Of `yamlio.signs`, in all kubeadm patches of one spec together. Reading them blocks the process for 70 ms at most."""
_SIGNS_OF_A_DOCUMENT = 8
"""What each document of a patch costs beside its content, in signs."""
_MOST_DOTS = 128
"""Per line. Time and memory for a dotted key grow with the square of its parts; one of 500 KB exhausts the memory."""
_REGISTRY_PATH = re.compile(r"/registry(?:/|$)")


def kubeadm_documents(patch: str) -> list[Mapping[str, Any]]:
    """Return the documents of a kubeadm merge patch; none if it is not YAML."""
    try:
        loaded = [yamlio.load_texts(text) for text in _SEPARATOR.split(patch)]
    except (yaml.YAMLError, ValueError, RecursionError):
        return []
    return [document for document in loaded if isinstance(document, Mapping)]


def json_operations(patch: str) -> list[Mapping[str, Any]]:
    """Return the operations of a JSON patch, which may be YAML; none if it is neither."""
    try:
        loaded = yamlio.load_texts(patch)
    except (yaml.YAMLError, ValueError, RecursionError):
        return []
    return [one for one in loaded if isinstance(one, Mapping)] if isinstance(loaded, list) else []


class PatchReader:
    """Reads the kubeadm patches of one spec, as long as they are not too much together.

    An object may hold 1.5 MB of them, and is reconciled often. One that is too much counts as empty, and so does every
    longer one after it. most: of their signs.
    """

    def __init__(self, most: int = _MOST_SIGNS) -> None:
        self.has_left_out = False
        """Whether a patch was too much."""
        self._left = most

    def documents(self, patch: str) -> list[Mapping[str, Any]]:
        """Return the documents of a kubeadm merge patch; none if it is not YAML, or if it is too much."""
        return kubeadm_documents(patch) if self.has_room_for(patch) else []

    def operations(self, patch: str) -> list[Mapping[str, Any]]:
        """Return the operations of a JSON patch, which may be YAML; none if it is neither, or if it is too much."""
        return json_operations(patch) if self.has_room_for(patch) else []

    def has_room_for(self, patch: str) -> bool:
        """Return whether a patch is not too much beside those before it, which it then counts to."""
        cost = yamlio.signs(patch) + _SIGNS_OF_A_DOCUMENT * (1 + patch.count("\n---"))
        if cost > self._left:
            self.has_left_out = True
            return False
        self._left -= cost
        return True


def registry_settings(spec: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the field of each containerd patch that configures registries, with the settings, as in `mirrors`."""
    for index, patch in _first_patches(spec.get("containerdConfigPatches") or ()):
        for settings in _merged_registries(patch):
            yield f"spec.containerdConfigPatches[{index}]", settings
    for index, patch in _first_patches(spec.get("containerdConfigPatchesJSON6902") or ()):
        for settings in _json_registries(patch):
            yield f"spec.containerdConfigPatchesJSON6902[{index}]", settings


def _first_patches(patches: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Yield the first patches with their numbers, as long as they are not too long together."""
    left = _MOST_CHARACTERS
    for index, patch in enumerate(patches):
        if len(patch) <= left:
            left -= len(patch)
            yield index, patch


def _merged_registries(patch: str) -> Iterator[Mapping[str, Any]]:
    if any(line.count(".") > _MOST_DOTS for line in patch.split("\n")):
        return
    try:
        plugins = tomllib.loads(patch).get("plugins")
    except (ValueError, RecursionError):
        return
    for plugin in _REGISTRY_PLUGINS:
        settings = _inner(_inner(plugins, plugin), "registry")
        if settings:
            yield settings


def _inner(outer: Any, key: str) -> Mapping[str, Any]:
    inner = outer.get(key) if isinstance(outer, Mapping) else None
    return inner if isinstance(inner, Mapping) else {}


def _json_registries(patch: str) -> Iterator[Mapping[str, Any]]:
    try:
        operations = json.loads(patch)
    except (ValueError, RecursionError):
        return
    for operation in operations if isinstance(operations, list) else ():
        path = operation.get("path") if isinstance(operation, Mapping) else None
        if isinstance(path, str) and _REGISTRY_PATH.search(path) and operation.get("op") in ("add", "replace"):
            yield _set_below_registry(path, operation.get("value"))


def _set_below_registry(path: str, value: Any) -> Mapping[str, Any]:
    keys = path.partition("/registry")[2].strip("/").split("/")
    if keys[0]:
        return {keys[0]: value}
    return value if isinstance(value, Mapping) else {}
