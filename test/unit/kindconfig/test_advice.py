from pathlib import Path
from typing import Any

import pytest
import yaml

from capk.kindconfig import patches, yamlio
from capk.kindconfig.advice import ineffective_patches, warnings_of

TABLE = Path(__file__).parents[2] / "fixtures" / "admission" / "configurations.yaml"
CONFIGURATIONS = [
    pytest.param(case, id=case["case"]) for case in yaml.safe_load(TABLE.read_text()) if "refused" not in case
]
OLD = "apiVersion: kubeadm.k8s.io/v1beta3\nkind: ClusterConfiguration\n"
NEW = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\n"
ANY = "kind: ClusterConfiguration\n"
DOUBLING = "\n".join(["x0: &x0 [a]", *(f"x{n}: &x{n} [*x{n - 1}, *x{n - 1}]" for n in range(1, 20))])
"""Half a million texts in 20 lines, and twice as many with each more line."""
INLINE = '[plugins."io.containerd.grpc.v1.cri".registry.mirrors."docker.io"]\nendpoint = ["http://mirror:5000"]\n'


@pytest.mark.parametrize("case", CONFIGURATIONS)
def test_configuration_of_another_project_is_warned_of_where_it_has_no_effect(case: dict[str, Any]) -> None:
    warnings = warnings_of(case["spec"], case.get("version"))
    assert len(warnings) == len(case.get("warns", ()))
    assert all(part in warning for part, warning in zip(case.get("warns", ()), warnings, strict=True))


@pytest.mark.parametrize(
    ("patch", "version", "effective"),
    [
        (OLD, "v1.36.1", False),
        (OLD, "v1.35.5", True),
        (OLD, "1.23", True),
        (OLD, "v1.22.17", False),
        (NEW, "v1.36.1", True),
        (NEW, "v1.37.0", True),
        (NEW, "v1.35.5", False),
        (OLD, None, True),
        (OLD, "main", True),
        (ANY, "v1.36.1", True),
        ("kind: KubeletConfiguration\napiVersion: kubelet.config.k8s.io/v1beta1\n", "v1.36.1", True),
        ("kind: KubeletConfiguration\napiVersion: kubelet.config.k8s.io/v1\n", "v1.36.1", False),
        ("kind: KubeProxyConfiguration\napiVersion: kubeproxy.config.k8s.io/v1alpha1\n", None, True),
        ("kind: ClusterConfig\n", None, False),
        ("apiServer: {}\n", None, False),
        ("- ]", "v1.36.1", True),
        (f"{DOUBLING}\nkind: *x19\n", "v1.36.1", True),
        (f"{DOUBLING}\nkind: ClusterConfiguration\napiVersion: *x19\n", "v1.36.1", True),
        ("", "v1.36.1", True),
        (f"---\n{ANY}---\n", "v1.36.1", True),
    ],
)
def test_patch_is_judged_by_the_documents_that_kind_generates(patch: str, version: str | None, effective: bool) -> None:
    sentences = ineffective_patches({"kubeadmConfigPatches": [ANY, patch]}, version)
    assert [one.startswith("spec.kubeadmConfigPatches[1] has no effect") for one in sentences] == [True][effective:]


def test_each_document_of_a_patch_is_judged() -> None:
    (sentence,) = ineffective_patches({"kubeadmConfigPatches": [f"{ANY}--- # next\n{OLD}"]}, "v1.36.1")
    assert "kubeadm.k8s.io/v1beta3" in sentence
    assert "Omit apiVersion" in sentence


def test_patch_of_a_node_is_judged_by_the_version_of_its_own_image() -> None:
    nodes = [
        {"image": "kindest/node:v1.35.5", "kubeadmConfigPatches": [OLD]},
        {"role": "worker", "kubeadmConfigPatches": [OLD]},
    ]
    (sentence,) = ineffective_patches({"nodes": nodes, "kubeadmConfigPatches": [OLD]}, "v1.36.1")
    assert sentence.startswith("spec.nodes[1].kubeadmConfigPatches[0] ")


@pytest.mark.parametrize(
    ("group", "version", "count"),
    [("kubeadm.k8s.io", "v1beta3", 1), ("kubeadm.k8s.io", "v1beta4", 0), (None, None, 0), (None, "v1beta4", 1)],
)
def test_json_patch_is_judged_by_group_and_version(group: str | None, version: str | None, count: int) -> None:
    patch = {"group": group, "version": version, "kind": "ClusterConfiguration", "patch": "[]"}
    sentences = ineffective_patches({"kubeadmConfigPatchesJSON6902": [patch]}, "v1.36.1")
    assert len(sentences) == count


@pytest.mark.parametrize(
    ("patch", "count"),
    [
        (NEW + "apiServer: {extraArgs: {v: '3'}}\n", 1),
        (NEW + "apiServer: {extraArgs: [{name: v, value: '3'}]}\n", 0),
        (ANY + "apiServer: {extraArgs: {v: '3'}}\n", 0),
        (NEW.replace("Cluster", "Init") + "nodeRegistration: {kubeletExtraArgs: {v: '3'}}\n", 1),
    ],
)
def test_arguments_that_kind_drops_are_warned_of(patch: str, count: int) -> None:
    sentences = ineffective_patches({"kubeadmConfigPatches": [patch]}, "v1.36.1")
    assert len(sentences) == count
    assert all("write extraArgs as a list" in one for one in sentences)


@pytest.mark.parametrize("patch", ["a\n---\n" * 500, "\n---" * 500, f"a: [{'b,' * 2000}]\n", "- {}\n" * 1000])
def test_patches_are_read_as_long_as_they_are_not_too_much_together(
    patch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An object may hold 1.5 MB of them, and every reconcile reads them."""
    read = list[str]()
    monkeypatch.setattr(yamlio, "load_texts", read.append)
    nodes = [{"kubeadmConfigPatches": [patch] * 8}] * 64
    ineffective_patches({"kubeadmConfigPatches": [patch] * 64, "nodes": nodes}, None)
    assert 0 < 8 * len(read) + sum(map(yamlio.signs, read)) <= 10_000


def test_patches_of_a_large_cluster_are_all_read() -> None:
    nodes = [{"kubeadmConfigPatches": [f"{ANY}a: {{b: {{c: '{n}', d: [e, f, g, h]}}}}\n", OLD]} for n in range(64)]
    assert len(ineffective_patches({"nodes": nodes}, "v1.36.1")) == 64


@pytest.mark.parametrize(
    ("field", "patch", "count"),
    [
        ("containerdConfigPatches", INLINE, 1),
        ("containerdConfigPatches", INLINE.replace("grpc.v1.cri", "cri.v1.images"), 1),
        ("containerdConfigPatches", '[plugins."io.containerd.grpc.v1.cri".registry]\nconfig_path = "/a"\n', 0),
        ("containerdConfigPatches", "[debug", 0),
        ("containerdConfigPatches", "a = " + "[" * 5000, 0),
        ("containerdConfigPatches", "plugins = 1\n", 0),
        (
            "containerdConfigPatchesJSON6902",
            '[{"op": "add", "path": "/plugins/io.containerd.grpc.v1.cri/registry/mirrors", "value": {"a": {}}}]',
            1,
        ),
        (
            "containerdConfigPatchesJSON6902",
            '[{"op": "add", "path": "/plugins/io.containerd.grpc.v1.cri/registry", "value": {"mirrors": {"a": {}}}}]',
            1,
        ),
        ("containerdConfigPatchesJSON6902", '[{"op": "remove", "path": "/plugins/x/registry/mirrors"}]', 0),
        ("containerdConfigPatchesJSON6902", '[1, {"op": "add"}]', 0),
        ("containerdConfigPatchesJSON6902", "{}", 0),
        ("containerdConfigPatchesJSON6902", "[" * 5000, 0),
    ],
)
def test_inline_mirrors_are_warned_of(field: str, patch: str, count: int) -> None:
    warnings = warnings_of({field: [patch]}, None)
    assert len(warnings) == count
    assert all(one.startswith(f"spec.{field}[0] ") and "spec.registries.mirrors" in one for one in warnings)


def test_warnings_are_bounded_and_hold_no_line_break() -> None:
    warnings = warnings_of({"kubeadmConfigPatches": [f'kind: "{"x" * 60000}\\nx"\n'] * 64}, "v1.36.1")
    assert len(warnings) == 20
    assert all(len(one) < 400 and "\n" not in one for one in warnings)


def test_spec_without_patches_has_no_warnings() -> None:
    assert warnings_of({}, None) == ()


@pytest.mark.parametrize("patch", ["a" + ".a" * 1000 + " = 1", "[" + "a." * 1000 + "a]", "a = 1\n" * 20_000])
def test_patch_that_takes_long_to_read_is_left_to_kind(patch, monkeypatch):
    monkeypatch.setattr(patches.tomllib, "loads", lambda text: pytest.fail("it was read"))
    assert list(patches.registry_settings({"containerdConfigPatches": [patch]})) == []
