"""Decisions about a KINDConfig: bootstrap data that consist of nothing."""

from typing import Any

import pytest

from capk.api import names
from capk.api.names import Condition
from capk.api.objects import KINDConfig
from capk.plan.bootstrap import COMPLETE, decide
from capk.plan.observed import ConfigObserved
from capk.plan.plan import Plan
from test.unit.plan.builders import NOW, condition, message, owner_cluster


def config(status: Any = None, **metadata: Any) -> KINDConfig:
    return KINDConfig({"metadata": {"name": "dev", "generation": 2, **metadata}, "spec": {}, "status": status or {}})


@pytest.mark.rule("C55")
def test_configuration_is_complete_from_the_start_and_stays_as_it_is() -> None:
    status = decide(ConfigObserved(config(), NOW)).status
    assert status is not None
    assert {field: status[field] for field in COMPLETE} == COMPLETE
    assert (condition(status, Condition.READY), message(status, Condition.READY)) == (("True", "Ready"), "")
    assert decide(ConfigObserved(config(status), NOW)).status == status


@pytest.mark.rule("C54")
def test_paused_configuration_only_says_so() -> None:
    observed = ConfigObserved(config(annotations={names.PAUSED_ANNOTATION: ""}), NOW, owner_cluster(paused=True))
    status = decide(observed).status
    assert status is not None
    assert set(status) == {"conditions"}
    assert message(status, Condition.PAUSED) == (
        "Cluster spec.paused is set to true, KINDConfig has the cluster.x-k8s.io/paused annotation"
    )


@pytest.mark.rule("C54")
@pytest.mark.parametrize(
    "metadata",
    [
        {"annotations": {names.MANAGED_BY_ANNOTATION: ""}},
        {"annotations": {names.DELETE_FOR_MOVE_ANNOTATION: ""}},
        {"deletionTimestamp": NOW.isoformat()},
    ],
)
def test_configuration_that_goes_or_belongs_to_others_is_not_touched(metadata: Any) -> None:
    assert decide(ConfigObserved(config(**metadata), NOW)) == Plan()
