"""Configurations and the verdicts of kind's own parser; each message was compared with the real kind's."""

import pytest

from capkdev.fakekind.kindconfig import InvalidConfig, parse, validate, with_defaults

HEADER = "kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\n"
NODE = "nodes: [{{role: control-plane, {}}}]\n"

REFUSED = [
    ("name: [x]", "line 3: cannot unmarshal !!seq into string"),
    ("networking: 7", "line 3: cannot unmarshal !!int `7` into v1alpha4.Networking"),
    ("nodes: {role: worker}", "line 3: cannot unmarshal !!map into []v1alpha4.Node"),
    ("featureGates: {a: b}", "line 3: cannot unmarshal !!str `b` into bool"),
    ("networking: {dnsSearch: a}", "line 3: cannot unmarshal !!str `a` into []string"),
    ("networking: {apiServerPort: 99999999999}", "line 3: cannot unmarshal !!int `9999999...` into int32"),
    ("networking: {podSubnets: x}", "line 3: field podSubnets not found in type v1alpha4.Networking"),
    (NODE.format("extraMounts: [{foo: x}]"), "line 3: field foo not found in type v1alpha4.MountAlias"),
    (NODE.format("extraMounts: [{propagation: private}]"), 'Unknown MountPropagation: "private"'),
    (NODE.format("extraPortMappings: [{protocol: icmp}]"), 'Unknown PortMappingProtocol: "ICMP"'),
    ("name: x\nname: y", 'line 4: mapping key "name" already defined at line 3'),
]


@pytest.mark.parametrize(("text", "message"), REFUSED)
def test_a_document_of_another_shape_is_refused_with_kinds_words(text: str, message: str) -> None:
    with pytest.raises(InvalidConfig) as refusal:
        parse(HEADER + text)
    assert str(refusal.value).splitlines()[-1].strip().endswith(message)


def test_all_wrong_fields_are_told_at_once() -> None:
    with pytest.raises(InvalidConfig) as refusal:
        parse(HEADER + "noodles: 1\nnodes:\n- {role: worker, soup: 2}\n- 5\n")
    assert str(refusal.value).splitlines()[1:] == [
        "  line 3: field noodles not found in type v1alpha4.Cluster",
        "  line 5: field soup not found in type v1alpha4.Node",
        "  line 6: cannot unmarshal !!int `5` into v1alpha4.Node",
    ]


@pytest.mark.parametrize("text", ["nodes: null", "nodes: []", "networking: null", ""])
def test_an_empty_field_means_kinds_default(text: str) -> None:
    config = with_defaults(parse(HEADER + text), "", "")
    validate(config)
    assert config["name"] == "kind"
    assert [node["role"] for node in config["nodes"]] == ["control-plane"]
    assert config["networking"]["serviceSubnet"] == "10.96.0.0/16"


def test_the_command_line_wins_over_the_document() -> None:
    config = with_defaults(parse(HEADER + "name: a\nnodes: [{image: b}, {role: worker}]"), "c", "d")
    assert (config["name"], [node["image"] for node in config["nodes"]]) == ("c", ["d", "d"])


@pytest.mark.parametrize(
    ("family", "pods", "address"),
    [
        ("ipv4", "10.244.0.0/16", "127.0.0.1"),
        ("ipv6", "fd00:10:244::/56", "::1"),
        ("dual", "10.244.0.0/16,fd00:10:244::/56", "127.0.0.1"),
    ],
)
def test_subnets_and_address_follow_the_family(family: str, pods: str, address: str) -> None:
    config = with_defaults(parse(HEADER + f"networking: {{ipFamily: {family}}}"), "", "")
    validate(config)
    assert (config["networking"]["podSubnet"], config["networking"]["apiServerAddress"]) == (pods, address)


def test_protocols_are_spelled_as_kind_spells_them() -> None:
    config = parse(HEADER + NODE.format("extraPortMappings: [{containerPort: 80, protocol: udp}]"))
    assert config["nodes"][0]["extraPortMappings"][0]["protocol"] == "UDP"
