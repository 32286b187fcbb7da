"""Adds names to the certificate of a kind cluster's API server, beside those that users add. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from capk.errors import InvalidSpec
from capk.kindconfig import yamlio
from capk.kindconfig.config import CONTROL_PLANE
from capk.kindconfig.patches import PatchReader

_PATCHES: Final = "kubeadmConfigPatches"
_KINDS_OWN: Final = ("localhost",)
"""Source: kind pkg/cluster/internal/kubeadm/config.go (certSANs), which also has the address of the API server."""


def with_certificate_names(config: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Return kind's configuration with names for the API server's certificate.

    names: in addition to those of the spec's patches and to `localhost`. A merge patch replaces the whole list, also
    the one that kind writes. kind applies the patches of a node after those of the cluster, and kubeadm reads the list
    of the first control plane only: so the new patch goes behind the last one that has a list. A JSON patch of the
    cluster still comes later. Source: kind pkg/cluster/internal/create/actions/config/config.go.
    Raises InvalidSpec if there are too many patches to find that list.
    """
    nodes = list(config.get("nodes") or ())
    first = next((place for place, node in enumerate(nodes) if node.get("role", CONTROL_PLANE) == CONTROL_PLANE), None)
    own = None if first is None else _last_list(nodes[first].get(_PATCHES) or ())
    if first is not None and own is not None:
        nodes[first] = _patched(nodes[first], [*own, *_KINDS_OWN, *names])
        return {**config, "nodes": nodes}
    return _patched(config, [*(_last_list(config.get(_PATCHES) or ()) or ()), *_KINDS_OWN, *names])


def _patched(patched: Mapping[str, Any], listed: Iterable[str]) -> dict[str, Any]:
    # Without apiVersion it fits every version of kubeadm.
    patch = {"kind": "ClusterConfiguration", "apiServer": {"certSANs": list(dict.fromkeys(listed))}}
    return {**patched, _PATCHES: [*(patched.get(_PATCHES) or ()), yamlio.dump(patch)]}


def _last_list(patches: Iterable[str]) -> list[str] | None:
    """Return the names that the last of these patches sets; None if none sets any."""
    found, reader = None, PatchReader()
    for patch in patches:
        for document in reader.documents(patch):
            server = document.get("apiServer") if document.get("kind") == "ClusterConfiguration" else None
            listed = server.get("certSANs") if isinstance(server, Mapping) else None
            if isinstance(listed, list):
                found = [name for name in listed if isinstance(name, str)]
    if reader.has_left_out:
        raise InvalidSpec(
            f"spec.{_PATCHES}",
            "is too long to find the names for the certificate of the API server, to which those of the "
            "KINDEngineClass are added; shorten the patches",
        )
    return found
