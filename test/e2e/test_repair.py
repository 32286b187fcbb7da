"""Repair of kind clusters that others have changed."""

from pathlib import Path

import pytest

from capk.api.names import KIND_CLUSTERS, SECRETS
from test.e2e.conftest import NewName
from test.e2e.real_kind import RealKind
from test.e2e.terminal import Terminal
from test.integration.api import eventually
from test.integration.provider.journeys import Place, standalone, unchanged

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]
CREATE_SECONDS = 300


@pytest.mark.rule("C26")
def test_stopped_node_is_started_and_a_lost_cluster_is_made_again_only_when_asked(
    place: Place, kind: RealKind, new_name: NewName, tmp_path: Path
) -> None:
    name = new_name("lost")
    node = f"{name}-control-plane"

    def ready_nodes() -> list[str]:
        secret = place.get(SECRETS, f"{name}-config")
        return Terminal.of_secret(secret, "config", tmp_path).ready_nodes()

    place.create(standalone(name))
    place.await_condition(name, "Ready", seconds=CREATE_SECONDS)
    first, endpoints = kind.containers(name), place.get(KIND_CLUSTERS, name)["status"]["endpoints"]

    before = place.get(SECRETS, f"{name}-config")["data"]
    kind.engine("exec", node, "kubeadm", "certs", "renew", "admin.conf")
    kind.engine("stop", "--time", "5", node)
    eventually(lambda: "StartingNodes" in reasons(place, name), 60)
    place.await_condition(name, "Ready", seconds=180)
    # Ready means that it answers with the kubeconfig in the Secret.
    eventually(lambda: place.get(SECRETS, f"{name}-config")["data"] != before, 60)
    assert ready_nodes() is not None
    assert kind.containers(name) == first
    assert kind.inspect(node)["State"]["Running"]
    eventually(lambda: ready_nodes() == [node], 180, 1)

    kind.delete(name)
    missing = place.await_condition(name, "Ready", reason="Missing", seconds=60)
    assert missing["status"] == "False"
    assert "recreatePolicy" in missing["message"]
    unchanged(lambda: (kind.containers(name), place.condition(name, "Ready")["reason"]), 6)

    place.patch(KIND_CLUSTERS, name, {"spec": {"recreatePolicy": "Always"}})
    place.await_condition(name, "Ready", seconds=CREATE_SECONDS)
    assert list(kind.containers(name)) == [node]
    assert kind.containers(name) != first
    # The endpoint in the spec cannot change, so the new cluster needs the old address.
    assert place.get(KIND_CLUSTERS, name)["status"]["endpoints"] == endpoints
    eventually(lambda: ready_nodes() == [node], 60, 1)

    place.delete(KIND_CLUSTERS, name)
    place.await_gone(name, seconds=60)
    assert kind.containers(name) == {}


def reasons(place: Place, name: str) -> list[str]:
    return [entry["reason"] for entry in place.get(KIND_CLUSTERS, name)["status"]["history"]]
