from typing import Any

import pytest

from capk.api.engineclasses import KINDEngineClass
from capk.api.objects import KINDCluster
from capk.errors import InvalidSpec
from capk.plan.enginespec import check_engine_spec


def check(spec: dict[str, Any], *, control_planes: int = 1, workers: int = 0, **pods: Any) -> None:
    engines = KINDEngineClass({"spec": {"pods": {"image": "docker:dind", **pods}}}).pods
    assert engines is not None
    cluster = KINDCluster({"metadata": {"name": "dev", "namespace": "team", "uid": "u"}, "spec": spec})
    check_engine_spec(cluster, engines, class_name="pods", control_planes=control_planes, workers=workers)


def resources(**wanted: Any) -> dict[str, Any]:
    return {"engine": {"className": "pods", "resources": {name.replace("_", "-"): wanted[name] for name in wanted}}}


def published(**mapping: Any) -> dict[str, Any]:
    return {"nodes": [{}, {"extraPortMappings": [{"containerPort": 80, **mapping}]}]}


def refusal(spec: dict[str, Any], **more: Any) -> InvalidSpec:
    with pytest.raises(InvalidSpec) as caught:
        check(spec, **more)
    return caught.value


@pytest.mark.parametrize(
    "spec",
    [
        {},
        resources(memory="16Gi", cpu="8", ephemeral_storage="50Gi"),
        resources(memory="1Gi"),
        published(hostPort=80),
        published(hostPort=80, listenAddress="0.0.0.0"),
        published(hostPort=6443, protocol="UDP"),
        {"networking": {"apiServerPort": 0, "ipFamily": "dual", "podSubnet": "10.1.0.0/16,fd00::/56"}},
        {"networking": {"apiServerPort": 6443}},
        {"engine": {"className": "pods", "powerState": "Running"}, "deletionPolicy": "Delete"},
    ],
)
def test_what_an_engine_in_a_pod_can_give_is_accepted(spec: dict[str, Any]) -> None:
    check(spec)


@pytest.mark.parametrize(
    ("spec", "path", "message"),
    [
        (
            resources(memory="17Gi"),
            "spec.engine.resources.memory",
            "is 17Gi, but an engine of KINDEngineClass pods may have at most 16Gi; ask for less, or ask the "
            "administrator for a higher maximum",
        ),
        (
            resources(memory="512Mi"),
            "spec.engine.resources.memory",
            "is 512Mi, but 1 control-plane node needs 1Gi; set at least that, or leave it out",
        ),
        (resources(cpu="much"), "spec.engine.resources.cpu", "is not an amount such as 500m or 2"),
        (published(), "spec.nodes[1].extraPortMappings[0].hostPort", "must be set to a port"),
        (published(hostPort=0), "spec.nodes[1].extraPortMappings[0].hostPort", "must be set to a port"),
        (published(hostPort=-1), "spec.nodes[1].extraPortMappings[0].hostPort", "must be set to a port"),
        (published(hostPort=2376), "spec.nodes[1].extraPortMappings[0].hostPort", "cannot be 2376, where Docker"),
        (published(hostPort=6443), "spec.nodes[1].extraPortMappings[0].hostPort", "where the API server of the engine"),
        (
            published(hostPort=80, listenAddress="127.0.0.1"),
            "spec.nodes[1].extraPortMappings[0].listenAddress",
            "would not reach it",
        ),
        (
            published(hostPort=80, listenAddress="::"),
            "spec.nodes[1].extraPortMappings[0].listenAddress",
            "would not reach it",
        ),
        ({"networking": {"apiServerPort": 7443}}, "spec.networking.apiServerPort", "must be 6443"),
        ({"networking": {"apiServerPort": -1}}, "spec.networking.apiServerPort", "must be 6443"),
        ({"networking": {"ipFamily": "ipv6"}}, "spec.networking.ipFamily", "cannot be ipv6"),
        ({"networking": {"podSubnet": "10.201.0.0/20"}}, "spec.networking.podSubnet", "own network 10.201.0.0/16"),
        (
            {"networking": {"serviceSubnet": "fd00::/112,10.202.0.0/16"}},
            "spec.networking.serviceSubnet",
            "own network 10.202.0.0/24",
        ),
        ({"deletionPolicy": "Retain"}, "spec.deletionPolicy", "cannot be Retain"),
        (
            {"engine": {"className": "pods", "powerState": "Stopped"}},
            "spec.engine.powerState",
            "would lose their data",
        ),
    ],
)
def test_what_it_cannot_give_is_refused_in_plain_words(spec: dict[str, Any], path: str, message: str) -> None:
    found = refusal(spec)
    assert found.path == path
    assert message in found.message


def test_more_nodes_than_the_class_has_room_for_are_refused() -> None:
    found = refusal({}, control_planes=3, workers=2, resources={"max": {"memory": "3Gi"}})
    assert found.path == "spec.nodes"
    assert found.message == (
        "3 control-plane nodes and 2 workers need 4Gi of memory, but an engine of KINDEngineClass pods may have at "
        "most 3Gi; use fewer nodes, or ask the administrator for a higher maximum"
    )


def test_networks_of_the_owner_cluster_and_kinds_defaults_must_differ_from_the_engines() -> None:
    engines = KINDEngineClass({"spec": {"pods": {"image": "docker:dind"}}}).pods
    assert engines is not None
    cluster = KINDCluster({"metadata": {"name": "dev", "uid": "u"}})
    network = {"pods": {"cidrBlocks": ["10.200.0.0/14"]}}
    with pytest.raises(
        InvalidSpec, match=r"podSubnet: is 10\.200\.0\.0/14.*own network 10\.202\.0\.0/24.*owner Cluster"
    ):
        check_engine_spec(cluster, engines, class_name="pods", control_planes=1, workers=0, cluster_network=network)
    assert refusal({}, network={"nodes": "10.96.0.0/12"}).path == "spec.networking.serviceSubnet"
    check({"networking": {"serviceSubnet": "10.128.0.0/16"}}, network={"nodes": "10.96.0.0/12"})


def test_disk_of_an_engine_with_a_volume_is_not_counted() -> None:
    small = {"max": {"ephemeral-storage": "1Gi"}}
    assert refusal({}, resources=small).path == "spec.nodes"
    check({}, resources=small, storage={"claim": {"size": "20Gi"}})


def test_engine_with_a_volume_can_be_stopped() -> None:
    check({"engine": {"className": "pods", "powerState": "Stopped"}}, storage={"claim": {"size": "20Gi"}})
