"""A deletion removes only the object's own containers, and nothing else that its name or annotations refer to."""

from pathlib import Path

import pytest
import yaml

from capk.api.names import CLAIM_ANNOTATION, KIND_CLUSTERS
from capk.plan.marks import Mark
from test.e2e.conftest import NewName
from test.e2e.real_kind import RealKind
from test.integration.provider.journeys import Place, standalone

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
CREATE_SECONDS = 300


def test_claim_that_was_made_a_path_removes_the_cluster_and_no_directory(
    place: Place, kind: RealKind, new_name: NewName, tmp_path: Path
) -> None:
    name, precious = new_name("path"), tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.txt").write_text("years of work")
    place.create(standalone(name))
    place.await_condition(name, "Ready", seconds=CREATE_SECONDS)
    place.patch(KIND_CLUSTERS, name, {"metadata": {"annotations": {CLAIM_ANNOTATION: str(precious)}}})
    place.delete(KIND_CLUSTERS, name)
    place.await_gone(name, seconds=60)
    assert kind.containers(name) == {}
    assert (precious / "thesis.txt").read_text() == "years of work"


def test_users_cluster_of_the_same_name_stays_though_one_of_its_workers_is_the_objects(
    place: Place, kind: RealKind, new_name: NewName
) -> None:
    name = new_name("mixed")
    place.create(standalone(name, image="kindest/node:v9.9.9"))
    uid = place.get(KIND_CLUSTERS, name)["metadata"]["uid"]
    place.await_condition(name, "Ready", reason="ImageNotFound", seconds=180)
    # As if a user's kind had created one container first, and the provider's the other.
    place.process.kill()
    worker = {"role": "worker", "extraMounts": [Mark(uid, 1).mount]}
    config = {"kind": "Cluster", "apiVersion": "kind.x-k8s.io/v1alpha4", "nodes": [{"role": "control-plane"}, worker]}
    kind.create(name, yaml.safe_dump(config))
    users = f"{name}-control-plane"
    theirs = kind.containers(name)[users]
    place.process.start()
    place.delete(KIND_CLUSTERS, name)
    place.await_gone(name, seconds=120)
    assert kind.containers(name) == {users: theirs}
    assert kind.inspect(users)["State"]["Running"]
