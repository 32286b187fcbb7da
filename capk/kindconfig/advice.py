"""Warns about settings that kind accepts but that have no effect or do harm. Pure.

A warning rejects nothing: it is for a condition's message or an Event.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from capk.errors import InvalidSpec
from capk.kindconfig.images import image_version, parse_version
from capk.kindconfig.patches import PatchReader, registry_settings

_KUBEADM_KINDS = ("ClusterConfiguration", "InitConfiguration", "JoinConfiguration")
_OTHER_KINDS = {
    "KubeletConfiguration": "kubelet.config.k8s.io/v1beta1",
    "KubeProxyConfiguration": "kubeproxy.config.k8s.io/v1alpha1",
}
_ARGUMENTS = ("extraArgs", "kubeletExtraArgs")
_LIST_OF_ARGUMENTS = "kubeadm.k8s.io/v1beta4"
_MOST_WARNINGS = 20
_MOST_CHARACTERS = 120

Documents = Mapping[str, str]
"""Kind → API version of the documents that kind generates for a node."""


def warnings_of(spec: Mapping[str, Any], version: str | None) -> tuple[str, ...]:
    """Return the warnings about an accepted spec as sentences, at most 20.

    version: the Kubernetes version of the nodes that name no image, as in `v1.36.1`; None if unknown.
    """
    return (*ineffective_patches(spec, version), *_inline_mirrors(spec))[:_MOST_WARNINGS]


def replicas_warnings(wanted: int | None, made: int) -> tuple[str, ...]:
    """Return what a user should know about the spec.replicas of a KINDControlPlane, in sentences.

    made: how many control-plane nodes the kind cluster has; 0 where that is not known.
    """
    if wanted is None:
        return ()
    if made and made != wanted:
        return (
            f"The KINDControlPlane's spec.replicas is {wanted}, but the kind cluster has {made} control-plane node(s), "
            f"and kind neither adds nor removes any. Set it to {made}, or create a new Cluster with {wanted}.",
        )
    if wanted % 2 == 0:
        return (
            f"The KINDControlPlane's spec.replicas is {wanted}: etcd needs more than half of its members, so that an "
            f"even number survives the loss of no more nodes than {wanted - 1}.",
        )
    return ()


def ineffective_patches(spec: Mapping[str, Any], version: str | None) -> list[str]:
    """Return a sentence for each kubeadm patch that matches no document of kind.

    version: as for `warnings_of`. For a node of unknown version, only the patch's kind counts.
    Source: kind pkg/internal/patch/resource.go, kubeadm_merge.go.
    """
    nodes = spec.get("nodes") or [{}]
    by_node = [_documents(image_version(node.get("image") or "") or version) for node in nodes]
    reader = PatchReader()
    sentences = list(_judged(spec, "spec", by_node, reader))
    for index, node in enumerate(nodes):
        sentences += _judged(node, f"spec.nodes[{index}]", [by_node[index]], reader)
    return sentences


def _documents(version: str | None) -> Documents:
    api = _kubeadm_api(version)
    return {**dict.fromkeys(_KUBEADM_KINDS, f"kubeadm.k8s.io/{api}" if api else ""), **_OTHER_KINDS}


def _kubeadm_api(version: str | None) -> str:
    """Return the version of kubeadm's documents that kind writes; empty if unknown.

    Source: kind pkg/cluster/internal/kubeadm/config.go.
    """
    try:
        minor = parse_version(version or "").minor
    except InvalidSpec:
        return ""
    if minor < 23:
        return "v1beta2"
    return "v1beta3" if minor < 36 else "v1beta4"


def _judged(holder: Mapping[str, Any], path: str, nodes: Sequence[Documents], reader: PatchReader) -> Iterator[str]:
    for index, patch in enumerate(holder.get("kubeadmConfigPatches") or ()):
        for document in reader.documents(patch):
            kind, api = str(document.get("kind") or ""), str(document.get("apiVersion") or "")
            reason = _why_ineffective(kind, api, nodes) or _why_without_arguments(document, api, nodes)
            if reason:
                yield f"{path}.kubeadmConfigPatches[{index}] {reason}"
    for index, patch in enumerate(holder.get("kubeadmConfigPatchesJSON6902") or ()):
        api = "/".join(filter(None, (str(patch.get("group") or ""), str(patch.get("version") or ""))))
        if reason := _why_ineffective(str(patch.get("kind") or ""), api, nodes):
            yield f"{path}.kubeadmConfigPatchesJSON6902[{index}] {reason}"


def _why_ineffective(kind: str, api: str, nodes: Sequence[Documents]) -> str:
    if not kind:
        return "has no effect: it names no kind. Add one, such as kind: ClusterConfiguration."
    if kind not in nodes[0]:
        return f"has no effect: kind generates no document of the kind {_shown(kind)}. Check its spelling."
    generated = sorted({node[kind] for node in nodes})
    if not api or api in generated or "" in generated:
        return ""
    return (
        f"has no effect: it is for {_shown(api)}, and kind generates {' and '.join(generated)} for this Kubernetes "
        "version. Omit apiVersion (group and version in a JSON patch) to make it fit every version."
    )


def _why_without_arguments(document: Mapping[str, Any], api: str, nodes: Sequence[Documents]) -> str:
    """kind drops arguments that a patch for v1beta4 gives as a map, because that version has a list of them."""
    kind = str(document.get("kind"))
    if api != _LIST_OF_ARGUMENTS or not any(node[kind] == api for node in nodes) or not _has_argument_map(document):
        return ""
    return (
        f"sets arguments that have no effect: for {api} write extraArgs as a list, [{{name: v, value: '3'}}], or omit "
        "apiVersion."
    )


def _has_argument_map(value: Any) -> bool:
    if not isinstance(value, Mapping):
        return False
    return any(
        isinstance(inner, Mapping) and (key in _ARGUMENTS or _has_argument_map(inner)) for key, inner in value.items()
    )


def _inline_mirrors(spec: Mapping[str, Any]) -> Iterator[str]:
    for path, settings in registry_settings(spec):
        if settings.get("mirrors"):
            yield (
                f"{path} sets registry mirrors in containerd's configuration. Nodes with containerd 2.2 or later do "
                "not start with them. Use spec.registries.mirrors instead."
            )


def _shown(text: str) -> str:
    """Return a short text of the user in quotes, without line breaks and other unprintable characters."""
    return repr(text[:_MOST_CHARACTERS])
