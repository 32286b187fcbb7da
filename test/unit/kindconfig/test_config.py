from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from capk.errors import InvalidSpec
from capk.kindconfig.config import (
    API_VERSION,
    MOST_CONTROL_PLANES,
    check_cluster_name,
    control_plane_count,
    kind_config,
    name_limit,
    role_of,
    with_control_planes,
)
from capk.kindconfig.registries import containerd_patches
from capkdev.fakekind.nodes import planned_nodes
from test.unit.characters import matches, texts

ROLES = st.lists(st.sampled_from(["control-plane", "worker", None]), max_size=12).map(
    lambda roles: [{} if role is None else {"role": role} for role in roles]
)
POSSIBLE_ROLES = ROLES.filter(lambda nodes: not nodes or control_plane_count({"nodes": nodes}) > 0)
SPECS = st.fixed_dictionaries(
    {},
    optional={
        "nodes": ROLES,
        "featureGates": st.dictionaries(texts(min_size=1, max_size=5), st.booleans(), max_size=3),
        "runtimeConfig": st.dictionaries(texts(min_size=1, max_size=5), texts(max_size=5), max_size=3),
        "kubeadmConfigPatches": st.lists(texts(min_size=1, max_size=9), max_size=3),
        "containerdConfigPatches": st.lists(texts(min_size=1, max_size=9), max_size=3),
        "networking": st.fixed_dictionaries(
            {}, optional={"disableDefaultCNI": st.booleans(), "dnsSearch": st.lists(texts(max_size=5), max_size=2)}
        ),
        "clusterName": st.just("other"),
        "kubernetesVersion": st.just("v1.34.3"),
        "image": st.just("kindest/node:v1.34.3"),
        "standalone": st.booleans(),
        "deletionPolicy": st.just("Retain"),
        "recreatePolicy": st.just("Always"),
        "controlPlaneEndpoint": st.just({"host": "127.0.0.1", "port": 6443}),
    },
)


def network(**fields: Any) -> dict[str, Any]:
    return {name: {"cidrBlocks": value} if isinstance(value, list) else value for name, value in fields.items()}


def config_of(spec: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
    return kind_config(spec, cluster_name="dev", cluster_network=network(**fields))


# --- the document ---


def test_empty_spec_gives_a_config_that_leaves_all_to_kind() -> None:
    assert kind_config({}, cluster_name="dev") == {"kind": "Cluster", "apiVersion": API_VERSION, "name": "dev"}


@given(spec=SPECS)
def test_config_holds_what_is_kinds_and_nothing_else(spec: dict[str, Any]) -> None:
    config = kind_config(spec, cluster_name="dev")
    ours = {"clusterName", "kubernetesVersion", "image", "standalone", "deletionPolicy", "recreatePolicy"}
    given_fields = {field: value for field, value in spec.items() if value and field not in ours}
    given_fields.pop("controlPlaneEndpoint", None)
    assert config == {"kind": "Cluster", "apiVersion": API_VERSION, "name": "dev"} | given_fields


@given(spec=SPECS)
def test_config_shares_nothing_with_the_spec(spec: dict[str, Any]) -> None:
    before = repr(spec)
    config = kind_config(spec, cluster_name="dev", image="node:1")
    for node in config["nodes"]:
        node["labels"] = {"changed": "yes"}
    config.setdefault("kubeadmConfigPatches", []).append("changed")
    config.setdefault("networking", {})["podSubnet"] = "changed"
    assert repr(spec) == before


@given(spec=SPECS, domain=st.sampled_from(["cluster.local", "corp.example", None]))
def test_config_survives_yaml(spec: dict[str, Any], domain: str | None) -> None:
    config = config_of(spec, **({"serviceDomain": domain} if domain else {}))
    assert yaml.safe_load(yaml.safe_dump(config)) == config


def test_empty_search_list_is_kept_because_it_differs_from_none() -> None:
    assert kind_config({"networking": {"dnsSearch": []}}, cluster_name="dev")["networking"] == {"dnsSearch": []}


@given(spec=SPECS)
def test_image_fills_the_nodes_that_name_none(spec: dict[str, Any]) -> None:
    nodes = kind_config(spec, cluster_name="dev", image="node:1")["nodes"]
    assert [node["image"] for node in nodes] == ["node:1"] * max(1, len(spec.get("nodes") or []))


def test_image_of_a_node_wins_over_that_of_the_cluster() -> None:
    spec = {"nodes": [{"image": "node:old"}, {"role": "worker"}]}
    nodes = kind_config(spec, cluster_name="dev", image="node:new")["nodes"]
    assert [node["image"] for node in nodes] == ["node:old", "node:new"]


@pytest.mark.parametrize("port", [0, None])
def test_port_0_is_as_good_as_none(port: int | None) -> None:
    spec = {"networking": {"podSubnet": "10.1.0.0/16", "apiServerPort": port}}
    assert kind_config(spec, cluster_name="dev")["networking"].get("apiServerPort") is None


@pytest.mark.rule("C22")
def test_port_of_the_cluster_takes_the_place_of_port_0() -> None:
    assert config_of({"networking": {"apiServerPort": 0}}, apiServerPort=7443)["networking"]["apiServerPort"] == 7443


def test_port_that_changes_is_for_objects_without_an_owner() -> None:
    spec = {"networking": {"apiServerPort": -1}}
    assert kind_config(spec, cluster_name="dev")["networking"] == {"apiServerPort": -1}
    with pytest.raises(InvalidSpec) as refusal:
        kind_config(spec, cluster_name="dev", cluster_network={})
    assert refusal.value.path == "spec.networking.apiServerPort"
    assert "set 0" in refusal.value.message


def test_image_of_another_version_than_the_control_plane_asks_for_is_reported() -> None:
    nodes = [{"role": "control-plane", "image": "kindest/node:v1.34.3"}]
    with pytest.raises(InvalidSpec) as refusal:
        kind_config({"nodes": nodes}, cluster_name="dev", image="kindest/node:v1.36.1", version="v1.36.1")
    assert refusal.value.path == "spec.nodes[0].image"


# --- registries ---

MIRRORS = {"mirrors": [{"host": "docker.io", "endpoints": ["http://mirror:5000"]}]}


def test_mirrors_make_containerd_read_their_files_after_the_patches_of_the_user() -> None:
    config = kind_config({"registries": MIRRORS, "containerdConfigPatches": ["[debug]\n"]}, cluster_name="dev")
    first, *ours = config["containerdConfigPatches"]
    assert first == "[debug]\n"
    assert ours == containerd_patches({"registries": MIRRORS})
    assert "registries" not in config


def test_mirrors_in_two_places_are_reported() -> None:
    inline = '[plugins."io.containerd.grpc.v1.cri".registry.mirrors."a"]\nendpoint = ["http://b"]\n'
    with pytest.raises(InvalidSpec) as refusal:
        kind_config({"registries": MIRRORS, "containerdConfigPatches": [inline]}, cluster_name="dev")
    assert refusal.value.path == "spec.containerdConfigPatches[0]"


# --- the owner Cluster's network ---


@pytest.mark.rule("C22")
def test_cluster_network_fills_what_the_spec_leaves_open() -> None:
    config = config_of(
        {"networking": {"disableDefaultCNI": True}},
        pods=["10.1.0.0/16"],
        services=["10.2.0.0/16"],
        apiServerPort=7443,
        serviceDomain="corp.example",
    )
    assert config["networking"] == {
        "disableDefaultCNI": True,
        "podSubnet": "10.1.0.0/16",
        "serviceSubnet": "10.2.0.0/16",
        "apiServerPort": 7443,
    }
    (patch,) = config["kubeadmConfigPatches"]
    assert yaml.safe_load(patch) == {"kind": "ClusterConfiguration", "networking": {"dnsDomain": "corp.example"}}


@pytest.mark.rule("C22")
@pytest.mark.parametrize(
    ("blocks", "family", "subnets"),
    [
        ({"pods": ["fd00:1::/56"]}, "ipv6", "fd00:1::/56"),
        ({"pods": ["fd00:1::/56"], "services": ["fd00:2::/112"]}, "ipv6", "fd00:1::/56"),
        ({"pods": ["10.1.0.0/16", "fd00:1::/56"]}, "dual", "10.1.0.0/16,fd00:1::/56"),
        ({"pods": ["10.1.0.0/16"], "services": ["10.2.0.0/16", "fd00:2::/112"]}, "dual", "10.1.0.0/16"),
        ({"pods": ["10.1.0.0/16"]}, None, "10.1.0.0/16"),
    ],
)
def test_ip_family_follows_from_the_cluster_network(blocks: Any, family: str | None, subnets: str) -> None:
    networking = config_of({}, **blocks)["networking"]
    assert networking.get("ipFamily") == family
    assert networking["podSubnet"] == subnets


@pytest.mark.rule("C22")
@pytest.mark.parametrize(
    ("own", "clusters"),
    [
        ({"podSubnet": "10.1.0.0/16"}, {"pods": ["10.1.0.0/16"]}),
        ({"podSubnet": "10.1.2.3/16"}, {"pods": ["10.1.0.0/16"]}),
        ({"serviceSubnet": "FD00:2:0::/112", "ipFamily": "ipv6"}, {"services": ["fd00:2::/112"]}),
        ({"apiServerPort": 7443}, {"apiServerPort": 7443}),
        ({"ipFamily": "dual"}, {"pods": ["10.1.0.0/16", "fd00:1::/56"]}),
        ({"ipFamily": "ipv4"}, {"pods": ["10.1.0.0/16"]}),
    ],
)
def test_spec_and_cluster_network_may_say_the_same(own: Any, clusters: Any) -> None:
    networking = config_of({"networking": own}, **clusters)["networking"]
    assert networking | own == networking


@pytest.mark.rule("C22")
@pytest.mark.parametrize(
    ("own", "clusters", "path", "says"),
    [
        ({"podSubnet": "10.1.0.0/16"}, {"pods": ["10.2.0.0/16"]}, "podSubnet", "requests 10.2.0.0/16"),
        ({"podSubnet": "10.1.0.0/16"}, {"pods": ["10.1.0.0/17"]}, "podSubnet", "the same value in both"),
        ({"serviceSubnet": "10.1.0.0/16"}, {"services": ["10.2.0.0/16"]}, "serviceSubnet", "is 10.1.0.0/16"),
        ({"apiServerPort": 6443}, {"apiServerPort": 7443}, "apiServerPort", "requests 7443"),
        ({"apiServerPort": -1}, {"apiServerPort": 7443}, "apiServerPort", "is -1"),
        ({"ipFamily": "ipv4"}, {"pods": ["fd00:1::/56"]}, "ipFamily", "requests ipv6"),
        ({"ipFamily": "ipv6"}, {"pods": ["10.1.0.0/16", "fd00:1::/56"]}, "ipFamily", "requests dual"),
    ],
)
def test_spec_that_contradicts_the_cluster_network_is_reported(own: Any, clusters: Any, path: str, says: str) -> None:
    with pytest.raises(InvalidSpec) as refusal:
        config_of({"networking": own}, **clusters)
    assert refusal.value.path == f"spec.networking.{path}"
    assert says in refusal.value.message


@pytest.mark.rule("C22")
@pytest.mark.parametrize(
    ("clusters", "says"),
    [
        ({"pods": ["10.1.0.0/16", "10.2.0.0/16", "10.3.0.0/16"]}, "has 3 CIDR blocks"),
        ({"pods": ["10.1.0.0/16"], "services": ["fd00:2::/112"]}, "mixes IP families"),
        ({"pods": ["nowhere"]}, "'nowhere', which is not a CIDR"),
    ],
)
def test_cluster_network_that_kind_cannot_do_is_reported(clusters: Any, says: str) -> None:
    with pytest.raises(InvalidSpec) as refusal:
        config_of({}, **clusters)
    assert says in refusal.value.message


@pytest.mark.parametrize("empty", [None, {}, {"pods": {}, "services": None}, {"serviceDomain": "", "apiServerPort": 0}])
def test_cluster_network_without_content_changes_nothing(empty: Any) -> None:
    spec = {"networking": {"podSubnet": "10.1.0.0/16"}}
    assert kind_config(spec, cluster_name="dev", cluster_network=empty) == kind_config(spec, cluster_name="dev")


@pytest.mark.rule("C22")
def test_service_domain_that_is_kinds_own_needs_no_patch() -> None:
    assert "kubeadmConfigPatches" not in config_of({}, serviceDomain="cluster.local")


@pytest.mark.rule("C22")
def test_patches_of_the_user_come_after_the_one_for_the_service_domain() -> None:
    mine = ["kind: InitConfiguration\n", "kind: ClusterConfiguration\nnetworking: {dnsDomain: corp.example}\n", "- ]"]
    patches = config_of({"kubeadmConfigPatches": mine}, serviceDomain="corp.example")["kubeadmConfigPatches"]
    assert patches[1:] == mine
    assert len(patches) == 4


@pytest.mark.rule("C22")
def test_patch_that_contradicts_the_service_domain_is_reported() -> None:
    mine = ["kind: InitConfiguration\n---\nkind: ClusterConfiguration\nnetworking: {dnsDomain: other.example}\n"]
    with pytest.raises(InvalidSpec) as refusal:
        config_of({"kubeadmConfigPatches": mine}, serviceDomain="corp.example")
    assert refusal.value.path == "spec.kubeadmConfigPatches[0]"
    assert "other.example" in refusal.value.message


# --- names ---


def node_names(spec: Mapping[str, Any], cluster: str) -> list[str]:
    """Return the names that the fake kind gives, which the contract test compares with the real one."""
    nodes = [{"role": node.get("role", "control-plane"), "image": ""} for node in spec["nodes"] or [{}]]
    networking = {"apiServerAddress": "127.0.0.1", "apiServerPort": 0}
    return [node.name for node in planned_nodes({"name": cluster, "networking": networking, "nodes": nodes})]


@pytest.mark.parametrize(
    ("roles", "names"),
    [
        ([], ["dev-control-plane"]),
        ([None], ["dev-control-plane"]),
        (["control-plane", "worker", "worker"], ["dev-control-plane", "dev-worker", "dev-worker2"]),
        (["worker", "control-plane"], ["dev-worker", "dev-control-plane"]),
        (
            ["control-plane", "worker", "control-plane", "control-plane"],
            [
                "dev-control-plane",
                "dev-worker",
                "dev-control-plane2",
                "dev-control-plane3",
                "dev-external-load-balancer",
            ],
        ),
    ],
)
def test_fake_kind_names_nodes_as_kind_does(roles: list[str | None], names: list[str]) -> None:
    assert node_names({"nodes": [{"role": role} if role else {} for role in roles]}, "dev") == names


@given(nodes=POSSIBLE_ROLES)
def test_node_names_are_unique_and_fit_a_host_name_at_the_limit(nodes: list[dict[str, str]]) -> None:
    spec = {"nodes": nodes}
    names = node_names(spec, "n" * name_limit(spec))
    assert len(set(names)) == len(names) == max(1, len(nodes)) + (control_plane_count(spec) > 1)
    assert max(map(len, names)) <= 63


@pytest.mark.parametrize(("control_planes", "limit"), [(0, 49), (1, 49), (2, 40), (3, 40)])
def test_name_limit_depends_on_the_control_planes(control_planes: int, limit: int) -> None:
    assert name_limit({"nodes": [{}] * control_planes}) == limit


@given(nodes=POSSIBLE_ROLES, cluster=st.sampled_from(["dev", "dev-worker", "a.b", "control-plane"]))
def test_role_of_a_node_is_read_off_its_name(nodes: list[dict[str, str]], cluster: str) -> None:
    spec = {"nodes": nodes}
    roles = [role_of(name, cluster) for name in node_names(spec, cluster)]
    listed = [node.get("role", "control-plane") for node in nodes or [{}]]
    assert roles == listed + ["external-load-balancer"] * (control_plane_count(spec) > 1)
    assert role_of("elsewhere", cluster) == ""


# --- the replicas of a KINDControlPlane ---


@pytest.mark.rule("C46")
@pytest.mark.parametrize(
    ("nodes", "wanted", "made"),
    [
        ([], None, []),
        ([], 1, []),
        ([], 3, [{"role": "control-plane"}] * 3),
        ([{"role": "worker"}, {"image": "node:1"}], 1, [{"role": "worker"}, {"image": "node:1"}]),
        ([{}, {"role": "worker"}], 2, [{}, {"role": "worker"}, {"role": "control-plane"}]),
        ([{}, {}, {}], 3, [{}, {}, {}]),
        ([{}] * 12, None, [{}] * 12),
    ],
)
def test_control_planes_that_are_not_listed_are_added(nodes: Any, wanted: int | None, made: Any) -> None:
    spec = {"image": "node:0", **({"nodes": nodes} if nodes else {})}
    before = deepcopy(spec)
    assert with_control_planes(spec, wanted) == {**spec, **({"nodes": made} if made else {})}
    assert spec == before


@pytest.mark.rule("C46")
@given(nodes=ROLES, wanted=st.integers(1, MOST_CONTROL_PLANES))
def test_there_are_as_many_control_planes_as_wanted_or_the_spec_lists_more(nodes: Any, wanted: int) -> None:
    spec = {"nodes": nodes}
    try:
        made = with_control_planes(spec, wanted)
    except InvalidSpec:
        assert control_plane_count(spec) > wanted
        return
    assert control_plane_count(made) == wanted
    # What the user wrote keeps its place, and with it what messages call it.
    assert list(made["nodes"])[: len(nodes)] == nodes


@pytest.mark.rule("C46")
@pytest.mark.parametrize(
    ("nodes", "wanted", "says"),
    [
        ([{}, {}, {}], 1, "lists 3 control-plane nodes, but the KINDControlPlane's spec.replicas is 1; set that to 3"),
        ([], 2_000_000_000, "at most 9"),
    ],
)
def test_number_of_control_planes_that_cannot_be_made_is_reported(nodes: Any, wanted: int, says: str) -> None:
    with pytest.raises(InvalidSpec) as refusal:
        with_control_planes({"nodes": nodes}, wanted)
    assert refusal.value.path == "spec.nodes"
    assert says in refusal.value.message


@given(name=matches(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?"), nodes=ROLES)
def test_proper_name_within_the_limit_passes(name: str, nodes: list[dict[str, str]]) -> None:
    check_cluster_name(name[:40].rstrip("-") or "a", {"nodes": nodes})


@pytest.mark.parametrize("name", ["", "Dev", "-dev", "dev-", ".dev", "dev.", "a..b", "a.-b", "a_b", "a b", "dev\n"])
def test_improper_name_is_reported(name: str) -> None:
    with pytest.raises(InvalidSpec) as refusal:
        check_cluster_name(name, {})
    assert refusal.value.path == "spec.clusterName"
    assert "lower-case letters" in refusal.value.message


@pytest.mark.parametrize(("spec", "limit"), [({}, 49), ({"nodes": [{}, {}]}, 40)])
def test_name_beyond_the_limit_is_reported(spec: Any, limit: int) -> None:
    check_cluster_name("n" * limit, spec)
    with pytest.raises(InvalidSpec) as refusal:
        check_cluster_name("n" * (limit + 1), spec)
    assert f"at most {limit}" in refusal.value.message
