"""A kind cluster of someone else with the name that an object needs."""

from pathlib import Path

import pytest

from capk.api.names import ADOPT_ANNOTATION, KIND_CLUSTERS, SECRETS
from test.e2e.conftest import NewName
from test.e2e.real_kind import RealKind
from test.e2e.terminal import Terminal
from test.integration.provider.journeys import Place, standalone, unchanged

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


@pytest.mark.rule("C21")
def test_strangers_cluster_is_left_alone_until_the_user_gives_it_away(
    place: Place, kind: RealKind, new_name: NewName, tmp_path: Path
) -> None:
    name = new_name("theirs")
    kind.create(name)
    theirs = kind.containers(name)
    place.create(standalone(name))
    conflict = place.await_condition(name, "Ready", reason="NameConflict", seconds=60)
    assert ADOPT_ANNOTATION in conflict["message"]
    unchanged(lambda: kind.containers(name), 6)
    place.delete(KIND_CLUSTERS, name)
    place.await_gone(name, seconds=60)
    assert kind.containers(name) == theirs
    assert place.api.list(SECRETS, place.namespace) == []

    adopting = standalone(name)
    adopting["metadata"]["annotations"] = {ADOPT_ANNOTATION: "true"}
    place.create(adopting)
    place.await_condition(name, "Ready", seconds=60)
    assert kind.containers(name) == theirs
    workload = Terminal.of_secret(place.get(SECRETS, f"{name}-config"), "config", tmp_path)
    assert workload.ready_nodes() == [f"{name}-control-plane"]

    # From now on it belongs to the object.
    place.delete(KIND_CLUSTERS, name)
    place.await_gone(name, seconds=60)
    assert kind.containers(name) == {}
