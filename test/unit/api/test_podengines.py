from ipaddress import IPv4Network
from typing import Any

import pytest

from capk.api.engineclasses import KINDEngineClass
from capk.api.names import ENGINE_LABEL, MANAGED_BY_LABEL
from capk.api.podengines import CONTROL_PLANE_NEEDS, MOST, WORKER_NEEDS, PodEngines, VolumeClaim
from capk.api.quantities import Amounts


def engines(**pods: Any) -> PodEngines | None:
    return KINDEngineClass({"metadata": {"name": "pods"}, "spec": {"pods": {"image": "docker:dind", **pods}}}).pods


def test_class_needs_no_more_than_an_image() -> None:
    assert engines() == PodEngines("docker:dind")
    assert PodEngines("docker:dind").privileged
    assert not PodEngines("docker:dind").can_stop


def test_every_field_is_read() -> None:
    found = engines(
        network={"bridge": "10.8.0.0/24", "nodes": "10.9.0.0/16", "mtu": 1450},
        resources={"controlPlane": {"cpu": "1"}, "worker": {"memory": "1Gi"}, "max": {"ephemeral-storage": "9Gi"}},
        storage={"claim": {"storageClassName": "fast", "size": "20Gi"}},
        images={"mirrors": ["http://10.96.0.50:5000"]},
        podTemplate={
            "metadata": {"annotations": {"a": "1"}, "labels": {"team": "ci"}},
            "spec": {"nodeSelector": {"pool": "kind"}, "runtimeClassName": "sysbox-runc", "hostUsers": False},
        },
        securityContext={"privileged": False},
        hostModules=True,
        allowedHostPaths=["/srv"],
    )
    gi = 1024**3
    assert found == PodEngines(
        "docker:dind",
        IPv4Network("10.8.0.0/24"),
        IPv4Network("10.9.0.0/16"),
        1450,
        Amounts(1000, CONTROL_PLANE_NEEDS.memory, CONTROL_PLANE_NEEDS.storage),
        Amounts(WORKER_NEEDS.cpu, gi, WORKER_NEEDS.storage),
        Amounts(MOST.cpu, MOST.memory, 9 * gi),
        VolumeClaim("20Gi", "fast"),
        ("http://10.96.0.50:5000",),
        {"a": "1"},
        {"team": "ci"},
        {"nodeSelector": {"pool": "kind"}, "runtimeClassName": "sysbox-runc", "hostUsers": False},
        False,
        True,
        ("/srv",),
    )
    assert found.can_stop


@pytest.mark.parametrize(
    "pods",
    [
        {"image": ""},
        {"network": {"bridge": "10.0.0.0/33"}},
        {"network": {"nodes": "10.201.0.1/16"}},
        {"network": {"nodes": "fd00::/64"}},
        {"network": {"bridge": "10.201.5.0/24"}},
        {"resources": {"max": {"memory": "a lot"}}},
    ],
)
def test_class_that_no_api_server_has_accepted_has_no_engines(pods: dict[str, Any]) -> None:
    assert engines(**pods) is None


def test_class_with_another_engine_has_no_engines_in_pods() -> None:
    assert KINDEngineClass({"spec": {"docker": {}}}).pods is None


def test_labels_of_the_provider_are_not_the_classs() -> None:
    labels = {"team": "ci", MANAGED_BY_LABEL: "me", ENGINE_LABEL: "kc-other"}
    found = engines(podTemplate={"metadata": {"labels": labels}})
    assert found is not None
    assert found.labels == {"team": "ci"}


@pytest.mark.parametrize(
    "field",
    [
        "hostNetwork",
        "hostPID",
        "hostIPC",
        "serviceAccountName",
        "automountServiceAccountToken",
        "containers",
        "initContainers",
        "volumes",
        "nodeName",
        "securityContext",
    ],
)
def test_only_known_fields_of_a_pod_are_read(field: str) -> None:
    found = engines(podTemplate={"spec": {field: True, "schedulerName": "other"}})
    assert found is not None
    assert found.pod == {"schedulerName": "other"}
