from typing import Any

import pytest

from capk.api.engineclasses import KINDEngineClass, selects
from capk.api.names import DEFAULT_CLASS_ANNOTATION


def engine_class(docker: dict[str, Any] | None = None, **spec: Any) -> KINDEngineClass:
    host = {"host": "tcp://10.0.0.7:2376", "secretRef": {"name": "lab"}, **(docker or {})}
    return KINDEngineClass({"metadata": {"name": "lab"}, "spec": {"docker": host, **spec}})


@pytest.mark.parametrize(
    ("docker", "address", "endpoint"),
    [
        ({}, "10.0.0.7", "10.0.0.7"),
        ({"host": "ssh://kind@10.0.0.8:22"}, "10.0.0.8", "10.0.0.8"),
        ({"host": "tcp://[fd00::7]:2376"}, "fd00::7", "fd00::7"),
        ({"host": "tcp://lab.example:2376", "apiServerAddress": "10.0.0.9"}, "10.0.0.9", "10.0.0.9"),
        ({"apiServerAddress": "0.0.0.0", "endpointHost": "lab.example"}, "0.0.0.0", "lab.example"),
    ],
)
def test_addresses_of_an_engine_default_to_its_host(docker: dict[str, Any], address: str, endpoint: str) -> None:
    found = engine_class(docker).docker
    assert found is not None
    assert (found.address, found.endpoint_host) == (address, endpoint)


def test_engine_over_ssh_is_told_apart() -> None:
    over_ssh, over_tls = engine_class({"host": "ssh://kind@10.0.0.7"}).docker, engine_class().docker
    assert over_ssh is not None
    assert over_tls is not None
    assert over_ssh.uses_ssh
    assert not over_tls.uses_ssh


@pytest.mark.parametrize(
    "docker",
    [
        {"host": "unix:///var/run/docker.sock"},
        {"host": "tcp://lab.example:2376"},
        {"apiServerAddress": "lab"},
        {"secretRef": {}},
        {"host": ""},
    ],
)
def test_incomplete_class_has_no_engine(docker: dict[str, Any]) -> None:
    assert engine_class(docker).docker is None


def test_class_without_a_selector_allows_nobody_and_an_empty_one_everybody() -> None:
    assert not engine_class().allows({"kubernetes.io/metadata.name": "a"})
    assert engine_class(namespaceSelector={}).allows({})


@pytest.mark.parametrize(
    ("selector", "labels", "matches"),
    [
        ({"matchLabels": {"a": "1"}}, {"a": "1", "b": "2"}, True),
        ({"matchLabels": {"a": "1"}}, {"a": "2"}, False),
        ({"matchLabels": {"a": ""}}, {}, False),
        ({"matchExpressions": [{"key": "a", "operator": "In", "values": ["1", "2"]}]}, {"a": "2"}, True),
        ({"matchExpressions": [{"key": "a", "operator": "In", "values": ["1"]}]}, {}, False),
        ({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["1"]}]}, {}, True),
        ({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["1"]}]}, {"a": "1"}, False),
        ({"matchExpressions": [{"key": "a", "operator": "Exists"}]}, {"a": ""}, True),
        ({"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}, {"a": ""}, False),
        ({"matchExpressions": [{"key": "a", "operator": "Near"}]}, {"a": ""}, False),
        ({"matchLabels": {"a": "1"}, "matchExpressions": [{"key": "b", "operator": "Exists"}]}, {"a": "1"}, False),
    ],
)
def test_label_selector_selects_as_kubernetes_does(selector: Any, labels: dict[str, str], matches: bool) -> None:
    assert selects(selector, labels) is matches


def test_only_the_word_true_makes_a_class_the_default_one() -> None:
    def annotated(value: str) -> bool:
        return KINDEngineClass({"metadata": {"annotations": {DEFAULT_CLASS_ANNOTATION: value}}}).is_default

    assert annotated("true")
    assert not annotated("false")
    assert not engine_class().is_default


def test_limit_of_a_class_is_a_number_or_none() -> None:
    assert engine_class(limits={"clustersPerNamespace": 3}).clusters_per_namespace == 3
    assert engine_class().clusters_per_namespace is None
