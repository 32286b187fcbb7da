"""A kind cluster that cannot be created: reason, remedy and recovery."""

import pytest

from capk.api.names import KIND_CLUSTERS
from test.e2e.conftest import NewName
from test.e2e.real_kind import RealKind
from test.integration.api import eventually
from test.integration.provider.journeys import Place, standalone

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
ABSENT = "kindest/node:v9.9.9"


def test_absent_image_is_told_with_its_remedy_and_a_fixed_object_recovers(
    place: Place, kind: RealKind, new_name: NewName
) -> None:
    name = new_name("image")
    place.create(standalone(name, image=ABSENT))
    failed = place.await_condition(name, "Ready", reason="ImageNotFound", seconds=180)
    assert failed["status"] == "False"
    assert ABSENT in failed["message"]
    # The preceding words depend on whether the registry can be reached from here.
    assert "(`docker pull` or `docker load`)" in failed["message"]
    assert place.condition(name, "ClusterCreated")["reason"] == "ImageNotFound"
    eventually(lambda: place.events(name)["ImageNotFound"]["type"] == "Warning")
    assert kind.containers(name) == {}

    place.patch(KIND_CLUSTERS, name, {"spec": {"image": kind.image}})
    place.await_condition(name, "Ready", seconds=300)
    status = place.get(KIND_CLUSTERS, name)["status"]
    assert status["image"] == kind.image
    reasons = [entry["reason"] for entry in status["history"] if entry["type"] == "ClusterCreated"]
    assert reasons.index("ImageNotFound") < reasons.index("Created")
