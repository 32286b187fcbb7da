from typing import Any

import pytest

from capk.errors import InvalidSpec
from capk.kindconfig.specchecks import check_node_versions, check_published_address, check_published_port


def node(version: str, role: str = "control-plane") -> dict[str, str]:
    return {"role": role, "image": f"kindest/node:v{version}@sha256:{'0' * 64}"}


def worker(version: str) -> dict[str, str]:
    return node(version, "worker")


def refusal_of(nodes: list[Any], image: str | None = None, version: str | None = None) -> InvalidSpec:
    with pytest.raises(InvalidSpec) as refusal:
        check_node_versions({"nodes": nodes}, image=image, version=version)
    return refusal.value


@pytest.mark.parametrize("port", [None, 0, 6443, -1])
def test_port_is_free_to_choose_without_an_owner(port: int | None) -> None:
    check_published_port({"networking": {"apiServerPort": port}}, owned=False)


def test_port_that_changes_is_refused_beside_a_cluster() -> None:
    check_published_port({}, owned=True)
    check_published_port({"networking": {"apiServerPort": 0}}, owned=True)
    with pytest.raises(InvalidSpec, match="the endpoint of the owner Cluster cannot change"):
        check_published_port({"networking": {"apiServerPort": -1}}, owned=True)


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "0:0:0:0:0:0:0:0"])
def test_address_that_nobody_can_connect_to_is_refused_as_the_endpoint_of_a_cluster(address: str) -> None:
    spec = {"networking": {"apiServerAddress": address}}
    check_published_address(spec, owned=False, external=True)
    check_published_address(spec, owned=True, external=False)
    with pytest.raises(InvalidSpec) as refusal:
        check_published_address(spec, owned=True, external=True)
    assert refusal.value.path == "spec.networking.apiServerAddress"
    assert "set an address of the container engine's machine" in refusal.value.message


@pytest.mark.parametrize("networking", [None, {}, {"apiServerAddress": "127.0.0.1"}, {"apiServerAddress": "::1"}])
def test_address_that_clients_can_connect_to_passes(networking: Any) -> None:
    check_published_address({"networking": networking}, owned=True, external=True)


@pytest.mark.parametrize(
    ("nodes", "version"),
    [
        ([], "v1.36.1"),
        ([node("1.36.1")], "v1.36.1"),
        ([node("1.36.1")], "1.36"),
        ([node("1.36.1"), worker("1.33.12")], "v1.36.1"),
        ([node("1.27.16"), worker("1.25.16")], None),
        ([node("1.36.1"), node("1.36.0")], None),
        ([{"image": "registry.example/node:mine"}, worker("1.99.0")], "v1.36.1"),
        ([node("1.36.1"), {"role": "worker", "image": "registry.example/node:mine"}], "v1.36.1"),
        ([worker("1.34.3"), {}], None),
    ],
)
def test_versions_that_make_a_cluster_pass(nodes: list[Any], version: str | None) -> None:
    check_node_versions({"nodes": nodes}, image=None, version=version)


def test_control_plane_node_of_another_version_than_asked_for_is_reported() -> None:
    refusal = refusal_of([worker("1.34.3"), node("1.34.3")], "kindest/node:v1.36.1", "v1.36.1")
    assert refusal.path == "spec.nodes[1].image"
    assert "v1.34.3" in refusal.message
    assert "requests v1.36.1; omit the image" in refusal.message


def test_image_of_the_cluster_of_another_version_than_asked_for_is_reported() -> None:
    assert refusal_of([], "kindest/node:v1.36.0", "v1.36.1").path == "spec.image"


def test_control_plane_nodes_of_two_minor_versions_are_reported() -> None:
    refusal = refusal_of([node("1.36.1"), worker("1.35.5"), node("1.35.5")])
    assert refusal.path == "spec.nodes[2].image"
    assert "one minor version" in refusal.message


@pytest.mark.parametrize(
    ("control_plane", "found", "allowed"),
    [("1.36.1", "1.32.11", 3), ("1.36.1", "1.37.0", 3), ("1.28.0", "1.24.0", 3), ("1.27.16", "1.24.0", 2)],
)
def test_worker_beyond_the_version_skew_is_reported(control_plane: str, found: str, allowed: int) -> None:
    refusal = refusal_of([node(control_plane), worker(found)])
    assert refusal.path == "spec.nodes[1].image"
    assert f"at most {allowed} minor versions older" in refusal.message


def test_worker_without_an_image_is_judged_by_that_of_the_cluster() -> None:
    assert refusal_of([node("1.32.11"), {"role": "worker"}], "kindest/node:v1.36.1").path == "spec.image"
