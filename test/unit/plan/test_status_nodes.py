"""status.nodes is never longer than the API server accepts, whatever runs under the name of the kind cluster."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from capk.plan.facts import EngineFacts
from capk.plan.kindcluster import decide
from capk.plan.runningstatus import MOST_NODES
from test.unit.plan.builders import node, settled

CRD = Path("config/crd/bases/infrastructure.cluster.x-k8s.io_kindclusters.yaml")


def test_limit_is_that_of_the_definition() -> None:
    definition = yaml.safe_load(CRD.read_text(encoding="utf-8"))
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    assert schema["properties"]["status"]["properties"]["nodes"]["maxItems"] == MOST_NODES


@pytest.mark.parametrize("theirs", [None, "another.1"], ids=["no mark", "mark of another object"])
def test_strangers_with_our_label_do_not_crowd_out_the_own_nodes(theirs: str | None) -> None:
    own = [node(), node("dev-worker"), node("dev-worker2")]
    strangers = [
        node(f"a{number:04}-worker", mark=theirs, container_id=f"{number}") for number in range(2 * MOST_NODES)
    ]
    engine = EngineFacts(was_listed=True, exists=True, nodes=(*strangers, *own))
    listed = [entry["name"] for entry in decide(replace(settled(), engine=engine)).status["nodes"]]
    assert len(listed) == MOST_NODES
    assert {one.name for one in own} <= set(listed)
    assert listed == sorted(listed)


def test_control_planes_come_before_workers() -> None:
    workers = [node(f"dev-a{number:04}-worker", container_id=f"{number}") for number in range(2 * MOST_NODES)]
    engine = EngineFacts(was_listed=True, exists=True, nodes=(*workers, node()))
    listed = [entry["name"] for entry in decide(replace(settled(), engine=engine)).status["nodes"]]
    assert "dev-control-plane" in listed
