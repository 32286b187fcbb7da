"""A real kind cluster on the engine that others share is stopped, kept so, started again, and deleted."""

import time
from pathlib import Path

import pytest

from capk.api.names import KIND_CLUSTERS, SECRETS
from test.e2e.conftest import NewName
from test.e2e.real_kind import RealKind
from test.e2e.terminal import Terminal
from test.integration.api import eventually
from test.integration.provider.journeys import Place, standalone

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
CREATE_SECONDS = 300
STOP_SECONDS = 90
NODES = [{"role": "control-plane"}, {"role": "worker"}]


def test_cluster_is_stopped_and_continues_with_its_data(
    place: Place, kind: RealKind, new_name: NewName, tmp_path: Path
) -> None:
    name = new_name("power")
    place.create(standalone(name, nodes=NODES))
    place.await_condition(name, seconds=CREATE_SECONDS)
    containers = kind.containers(name)
    assert set(containers) == {f"{name}-control-plane", f"{name}-worker"}
    workload = Terminal.of_secret(place.get(SECRETS, f"{name}-config"), "config", tmp_path)
    workload.kubectl("create", "configmap", "kept", "--from-literal=a=b")

    began = time.monotonic()
    power(place, name, "Stopped")
    stopped = place.await_condition(name, reason="Stopped", status="False", seconds=STOP_SECONDS)
    print(f"stopped after {time.monotonic() - began:.1f} s")
    assert "Set Running to start them" in stopped["message"]
    assert states(kind, name) == dict.fromkeys(containers, "exited")
    assert kind.containers(name) == containers
    with pytest.raises(AssertionError):
        workload.kubectl("get", "--raw", "/readyz", "--request-timeout=3s")

    # A person, or the engine after a restart, starts a node: it is stopped again.
    kind.engine("start", f"{name}-worker")
    eventually(lambda: states(kind, name)[f"{name}-worker"] == "exited", STOP_SECONDS, 1)
    assert place.condition(name, "Ready")["status"] == "False"

    began = time.monotonic()
    power(place, name, "Running")
    place.await_condition(name, seconds=CREATE_SECONDS)
    print(f"Ready again after {time.monotonic() - began:.1f} s")
    assert kind.containers(name) == containers
    kept = workload.kubectl("get", "configmap", "kept", "--output", "jsonpath={.data.a}")
    assert kept.strip() == "b"
    eventually(lambda: sorted(workload.ready_nodes()) == sorted(containers), 180, 1)

    power(place, name, "Stopped")
    place.await_condition(name, reason="Stopped", seconds=STOP_SECONDS)
    place.delete(KIND_CLUSTERS, name)
    place.await_gone(name, seconds=60)
    assert kind.containers(name) == {}


def power(place: Place, name: str, state: str) -> None:
    place.patch(KIND_CLUSTERS, name, {"spec": {"engine": {"powerState": state}}})


def states(kind: RealKind, name: str) -> dict[str, str]:
    """Return the state of each container, as the engine reports it."""
    return {node: kind.inspect(node)["State"]["Status"] for node in kind.containers(name)}
