from typing import Any

import pytest

from capk.errors import InvalidSpec
from capk.kindconfig.certificatenames import with_certificate_names
from capk.kindconfig.patches import kubeadm_documents


def names_of(patches: list[str]) -> list[str]:
    """Return the names after all of these merge patches."""
    lists = [document["apiServer"]["certSANs"] for patch in patches for document in kubeadm_documents(patch)]
    return [str(name) for name in lists[-1]]


def patch(*names: str) -> str:
    return f"kind: ClusterConfiguration\napiServer: {{certSANs: [{', '.join(names)}]}}\n"


def test_names_are_added_to_those_that_kind_gives() -> None:
    config = with_certificate_names({"nodes": [{"role": "control-plane"}]}, ["10.0.0.7", "lab.example"])
    assert names_of(config["kubeadmConfigPatches"]) == ["localhost", "10.0.0.7", "lab.example"]


def test_names_of_the_users_last_patch_stay() -> None:
    patches = [patch("a.example"), patch("b.example", "10.0.0.7")]
    config = with_certificate_names({"kubeadmConfigPatches": patches}, ["10.0.0.7"])
    assert config["kubeadmConfigPatches"][:2] == patches
    assert names_of(config["kubeadmConfigPatches"]) == ["b.example", "10.0.0.7", "localhost"]


def test_names_of_a_patch_of_the_first_control_plane_are_the_ones_that_count() -> None:
    nodes: list[dict[str, Any]] = [
        {"role": "worker", "kubeadmConfigPatches": [patch("worker.example")]},
        {"kubeadmConfigPatches": [patch("node.example")]},
        {"role": "control-plane", "kubeadmConfigPatches": [patch("second.example")]},
    ]
    config = with_certificate_names({"nodes": nodes, "kubeadmConfigPatches": [patch("a.example")]}, ["10.0.0.7"])
    assert names_of(config["nodes"][1]["kubeadmConfigPatches"]) == ["node.example", "localhost", "10.0.0.7"]
    assert [config["nodes"][0], config["nodes"][2]] == [nodes[0], nodes[2]]
    assert config["kubeadmConfigPatches"] == [patch("a.example")]


def test_patches_without_a_list_of_names_count_as_none() -> None:
    odd = ["kind: ClusterConfiguration\napiServer: {certSANs: x}", "kind: InitConfiguration", "][", "apiServer: 1"]
    config = with_certificate_names({"kubeadmConfigPatches": odd}, ["10.0.0.7"])
    assert names_of(config["kubeadmConfigPatches"][-1:]) == ["localhost", "10.0.0.7"]
    assert config["kubeadmConfigPatches"][:-1] == odd


def test_patches_that_are_too_long_to_find_the_users_names_are_refused() -> None:
    with pytest.raises(InvalidSpec, match=r"spec\.kubeadmConfigPatches: is too long to find the names"):
        with_certificate_names({"kubeadmConfigPatches": [patch("a.example"), "a: b\n---\n" * 2000]}, ["10.0.0.7"])
