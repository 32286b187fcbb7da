"""The configuration of a worker, from that of a control plane as the real kind wrote it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from capk.errors import InvalidSpec
from capk.kindconfig.join import BadJoinConfiguration, Joining, join_configuration, parse_join
from test.unit.characters import texts

RECORDED = Path(__file__).parents[2] / "fixtures" / "kubeadm"
TOKEN = "0a1b2c.0a1b2c3d4e5f6a7b"
WORKER = "kind://docker/rec/rec-w1"
PATCH = "kind: JoinConfiguration\n"
DOUBLING = "\n".join(["x0: &x0 [a]", *(f"x{n}: &x{n} [*x{n - 1}, *x{n - 1}]" for n in range(1, 20))])
"""Half a million texts in 20 lines, and twice as many with each more line."""


def recorded(name: str = "v1beta4") -> str:
    return (RECORDED / f"{name}.yaml").read_text()


def joined(name: str = "v1beta4", **more: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "addresses": ("172.18.0.9", "fc00::9"),
        "provider_id": WORKER,
        "labels": {},
        "taints": (),
        "patches": (),
    }
    return dict(yaml.safe_load(join_configuration(parse_join(recorded(name)), Joining(**fields | more), TOKEN)))


def arguments(document: Mapping[str, Any]) -> dict[str, str]:
    found = document["nodeRegistration"]["kubeletExtraArgs"]
    return dict(found) if isinstance(found, dict) else {entry["name"]: entry["value"] for entry in found}


@pytest.mark.parametrize("name", ["v1beta4", "v1beta3", "v1beta2", "v1beta4-several", "v1beta4-dual"])
def test_worker_keeps_what_all_nodes_share_and_gets_its_own_identity(name: str) -> None:
    document = joined(name)
    version = name.partition("-")[0]
    assert document["apiVersion"] == f"kubeadm.k8s.io/{version}"
    assert document["kind"] == "JoinConfiguration"
    assert "controlPlane" not in document
    endpoint = "rec-external-load-balancer" if name == "v1beta4-several" else "rec-control-plane"
    assert document["discovery"] == {
        "bootstrapToken": {"apiServerEndpoint": f"{endpoint}:6443", "token": TOKEN, "unsafeSkipCAVerification": True}
    }
    assert document["nodeRegistration"]["criSocket"] == "unix:///run/containerd/containerd.sock"
    assert arguments(document) == {
        "node-ip": "172.18.0.9,fc00::9" if name == "v1beta4-dual" else "172.18.0.9",
        "provider-id": WORKER,
        "node-labels": "",
        "v": "3",
    }
    assert isinstance(document["nodeRegistration"]["kubeletExtraArgs"], list) is (version == "v1beta4")
    assert document.get("skipPhases") == (None if version == "v1beta2" else ["preflight"])


def test_old_kubeadm_skips_its_checks_by_a_flag() -> None:
    assert parse_join(recorded("v1beta2")).flags == ("--skip-phases=preflight",)
    assert parse_join(recorded("v1beta3")).flags == ()


@pytest.mark.parametrize(
    ("node_ip", "expected", "has_ipv6"),
    [
        ("172.18.0.2", "172.18.0.9", False),
        ("fc00::2", "fc00::9", True),
        ("172.18.0.2,fc00::2", "172.18.0.9,fc00::9", True),
        ("fc00::2,172.18.0.2", "fc00::9,172.18.0.9", True),
    ],
)
def test_addresses_have_the_families_of_the_cluster_in_its_order(node_ip: str, expected: str, has_ipv6: bool) -> None:
    template = parse_join(recorded().replace("172.18.0.2\n  - name: provider", f"{node_ip}\n  - name: provider"))
    joining = Joining(("172.18.0.9", "fc00::9"), WORKER, {}, (), ())
    assert arguments(yaml.safe_load(join_configuration(template, joining, TOKEN)))["node-ip"] == expected
    assert template.has_ipv6 is has_ipv6


def test_missing_address_is_named() -> None:
    with pytest.raises(BadJoinConfiguration, match="no address of IP version 6"):
        joined("v1beta4-dual", addresses=("172.18.0.9",))


def test_labels_and_taints_are_those_of_the_worker() -> None:
    document = joined(
        labels={"tier": "front", "example.org/disk": "ssd"}, taints=("dedicated=gpu:NoSchedule", "spot:NoExecute")
    )
    assert arguments(document)["node-labels"] == "tier=front,example.org/disk=ssd"
    assert document["nodeRegistration"]["taints"] == [
        {"key": "dedicated", "value": "gpu", "effect": "NoSchedule"},
        {"key": "spot", "effect": "NoExecute"},
    ]


@pytest.mark.parametrize(
    "fields", [{"labels": {"a": "b,c=d"}}, {"labels": {"": "x"}}, {"taints": ("a",)}, {"taints": ("a=b:Never",)}]
)
def test_label_or_taint_that_would_change_its_neighbours_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidSpec, match=r"spec\.(labels|taints)"):
        joined(**fields)


@pytest.mark.parametrize(
    "more",
    [
        "nodeRegistration: {kubeletExtraArgs: [{name: max-pods, value: '5'}]}",
        "nodeRegistration: {kubeletExtraArgs: {max-pods: 5}}",
        "apiVersion: kubeadm.k8s.io/v1beta4\nnodeRegistration: {kubeletExtraArgs: [{name: max-pods, value: 5}]}",
    ],
)
def test_patch_adds_arguments_of_the_kubelet_in_either_form(more: str) -> None:
    found = arguments(joined(patches=(PATCH + more,)))
    assert found == {"node-ip": "172.18.0.9", "provider-id": WORKER, "node-labels": "", "v": "3", "max-pods": "5"}


def test_patches_are_merged_in_their_order_and_null_removes() -> None:
    document = joined(
        patches=(
            PATCH
            + "nodeRegistration: {ignorePreflightErrors: [Swap], imagePullSerial: false}\ntimeouts: {discovery: 1m}",
            PATCH + "skipPhases: null\nnodeRegistration: {kubeletExtraArgs: {v: null}, imagePullSerial: true}",
        )
    )
    assert document["nodeRegistration"]["ignorePreflightErrors"] == ["Swap"]
    assert document["nodeRegistration"]["imagePullSerial"] is True
    assert document["timeouts"] == {"discovery": "1m"}
    assert "skipPhases" not in document
    assert "v" not in arguments(document)


@pytest.mark.parametrize(
    ("patch", "message"),
    [
        ("kind: InitConfiguration", "must have `kind: JoinConfiguration`"),
        ("[", "is not a YAML document"),
        (PATCH + "nodeRegistration: {name: other}", "sets nodeRegistration.name"),
        (PATCH + "controlPlane: {}", "sets controlPlane"),
        (PATCH + "discovery: {bootstrapToken: {token: x}}", "sets discovery.bootstrapToken.token"),
        (PATCH + "discovery: {file: {kubeConfigPath: /x}}", "sets discovery.file"),
        (PATCH + "skipPhases: yes", "skipPhases must be a list"),
        (PATCH + "nodeRegistration: {imagePullSerial: maybe}", "imagePullSerial must be true or false"),
        (PATCH + "nodeRegistration: {kubeletExtraArgs: {provider-id: x}}", "argument provider-id"),
        (PATCH + "nodeRegistration: {kubeletExtraArgs: {node-ip: 1.2.3.4}}", "argument node-ip"),
        (PATCH + "apiVersion: kubeadm.k8s.io/v1beta3", "leave it out"),
        (f"{DOUBLING}\n{PATCH}apiVersion: *x19", "is not a YAML document"),
    ],
)
def test_patch_that_cannot_be_applied_is_refused_with_its_place(patch: str, message: str) -> None:
    with pytest.raises(InvalidSpec, match=r"spec\.kubeadmConfigPatches\[1\]") as refused:
        joined(patches=(PATCH, patch))
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "0 documents"),
        ("[", "0 documents"),
        (f"{PATCH}---\n{PATCH}", "2 documents"),
        (PATCH, "apiVersion"),
        (f"{PATCH}apiVersion: kubeadm.k8s.io/v1beta9", "apiVersion"),
        (f"{PATCH}apiVersion: kubeadm.k8s.io/v1beta4", "apiServerEndpoint"),
        (recorded().replace("rec-control-plane:6443\n    token", "'a b'\n    token"), "apiServerEndpoint"),
        (recorded().replace("172.18.0.2\n  - name: provider", "'$(x)'\n  - name: provider"), "node-ip"),
        (
            recorded().replace("- preflight\n---\napiVersion: kubelet", "  x: [1]\n---\napiVersion: kubelet"),
            "skipPhases",
        ),
        ("#" * 300_000, "256 KiB"),
        (PATCH + "---\na\n" * 10_000, "0 documents"),
        (f"{DOUBLING}\n{PATCH}apiVersion: *x19", "0 documents"),
    ],
)
def test_unusable_configuration_is_refused_without_quoting_it(text: str, message: str) -> None:
    with pytest.raises(BadJoinConfiguration, match=message):
        parse_join(text)


def test_fields_that_a_worker_must_not_take_over_are_dropped() -> None:
    text = recorded().replace(
        "kind: JoinConfiguration\nnodeRegistration:\n",
        "kind: JoinConfiguration\ndryRun: true\nevil: {a: b}\nnodeRegistration:\n  name: other\n",
    )
    assert text != recorded()
    template = parse_join(text)
    document = yaml.safe_load(join_configuration(template, Joining(("172.18.0.9",), WORKER, {}, (), ()), TOKEN))
    assert document == joined()


@given(texts() | st.builds(lambda text: recorded().replace("preflight", text), texts()))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    try:
        template = parse_join(text)
        join_configuration(template, Joining(("172.18.0.9", "fc00::9"), WORKER, {}, (), ()), TOKEN)
    except BadJoinConfiguration:
        pass
