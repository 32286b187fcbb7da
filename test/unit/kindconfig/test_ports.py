from typing import Any

from capk.kindconfig.ports import PortRange, with_ports

RANGE = PortRange(20000, 20003)


def ports_of(config: dict[str, Any]) -> list[int]:
    mappings = [mapping for node in config.get("nodes") or () for mapping in node.get("extraPortMappings") or ()]
    return [config["networking"].get("apiServerPort", 0), *(mapping.get("hostPort", 0) for mapping in mappings)]


def test_open_ports_get_different_free_ones_of_the_range() -> None:
    nodes = [{"extraPortMappings": [{"containerPort": 80}, {"containerPort": 443, "hostPort": 0}]}, {"role": "worker"}]
    found = ports_of(with_ports({"nodes": nodes}, RANGE, seed="a", taken={20001}))
    assert sorted(found) == [20000, 20002, 20003]


def test_chosen_ports_and_those_that_the_engine_picks_stay() -> None:
    nodes = [{"extraPortMappings": [{"containerPort": 80, "hostPort": 8080}, {"containerPort": 81, "hostPort": -1}]}]
    config = {"networking": {"apiServerPort": 6443, "apiServerAddress": "10.0.0.7"}, "nodes": nodes}
    assert with_ports(config, RANGE, seed="a", taken=()) == config


def test_chosen_ports_are_not_given_a_second_time() -> None:
    nodes = [{"extraPortMappings": [{"containerPort": 80, "hostPort": port} for port in (20000, 20001, 20003)]}]
    assert ports_of(with_ports({"nodes": nodes}, RANGE, seed="a", taken=()))[0] == 20002


def test_next_attempt_begins_with_another_port_and_the_same_one_with_the_same() -> None:
    wide = PortRange(20000, 29999)
    first, again, second = (
        ports_of(with_ports({}, wide, seed=seed, taken=()))[0] for seed in ("uid.1", "uid.1", "uid.2")
    )
    assert first == again != second
    assert 20000 <= first <= 29999


def test_port_stays_open_where_the_range_is_exhausted() -> None:
    config = with_ports({"networking": {"podSubnet": "10.0.0.0/16"}}, RANGE, seed="a", taken=range(20000, 20004))
    assert config == {"networking": {"podSubnet": "10.0.0.0/16"}}
