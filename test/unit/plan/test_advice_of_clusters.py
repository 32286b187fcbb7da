"""Warnings about an accepted spec and a finished kind cluster: reported once, always in the same words."""

from dataclasses import replace

import pytest

from capk.api.conditions import find
from capk.api.names import Condition, Reason
from capk.diagnosis.failures import Failure
from capk.engine.progress import NOT_READY
from capk.plan.events import warning_of
from capk.plan.facts import CreationFacts
from capk.plan.kindcluster import decide
from test.unit.plan.builders import (
    ACCESS,
    CLAIMED,
    COMPLETE,
    FINALIZER,
    RUNNING,
    apply,
    condition,
    failed,
    kindcluster,
    message,
    node,
    observe,
    settled,
)

PATCH = "kind: ClusterConfig\nnetworking: {}\n"
SPEC = {"kubeadmConfigPatches": [PATCH]}
DONE = kindcluster(SPEC, annotations=COMPLETE, finalizers=FINALIZER)
WORDS = "spec.kubeadmConfigPatches[0] has no effect"
OLD = {"kubeadmConfigPatches": ["apiVersion: kubeadm.k8s.io/v1beta3\nkind: ClusterConfiguration\n"]}


@pytest.mark.rule("C17")
def test_warning_stands_in_the_condition_of_the_creation_and_never_in_ready() -> None:
    status = settled(DONE).object.status
    assert condition(status, Condition.CLUSTER_CREATED) == ("True", Reason.CREATED)
    assert WORDS in message(status, Condition.CLUSTER_CREATED)
    assert message(status, Condition.READY) == ""


@pytest.mark.rule("C18", "C19")
def test_nothing_is_written_while_the_warning_stays_the_same() -> None:
    done = settled(DONE)
    assert apply(done, decide(done)) == done


def test_failed_creation_shows_the_warning_as_well() -> None:
    cluster = kindcluster(SPEC, annotations=CLAIMED, finalizers=FINALIZER)
    goals = failed(decide(observe(cluster)).operation, Failure(Reason.KUBEADM_FAILED, "kubeadm failed."), attempts=3)
    said = message(decide(observe(cluster, goals=goals)).status, Condition.CLUSTER_CREATED)
    assert said.startswith(f"kubeadm failed. {WORDS}")


@pytest.mark.parametrize("image", ["kindest/node:v1.36.1", "kindest/node:v1.34.0"])
@pytest.mark.rule("C19")
def test_version_of_the_nodes_that_there_are_decides_from_the_first_status_on(image) -> None:
    engine = replace(RUNNING, nodes=(replace(node(), image=image),))
    done = settled(kindcluster(OLD, annotations=COMPLETE, finalizers=FINALIZER), engine=engine)
    assert bool(message(done.object.status, Condition.CLUSTER_CREATED)) is image.endswith("36.1")
    for later in (done, replace(done, engine=RUNNING)):
        assert decide(later).status["conditions"] == done.object.status["conditions"]


def test_nodes_that_were_not_ready_in_time_are_told_of_until_the_api_server_answers() -> None:
    cluster = kindcluster(annotations=COMPLETE, finalizers=FINALIZER)
    late = settled(cluster, creation=CreationFacts(not_ready=NOT_READY.message))
    assert message(late.object.status, Condition.CLUSTER_CREATED) == NOT_READY.message
    assert condition(late.object.status, Condition.READY) == ("True", Reason.READY)
    after = decide(replace(late, creation=CreationFacts())).status
    assert message(after, Condition.CLUSTER_CREATED) == ""


class TestEvents:
    def verdicts(self, *facts):
        statuses = [settled(cluster, creation=CreationFacts(not_ready=late)).object.status for cluster, late in facts]
        return [find(status["conditions"], Condition.CLUSTER_CREATED) for status in statuses]

    def test_warning_is_an_event_when_it_comes_and_not_while_it_stays_or_goes(self) -> None:
        plain = kindcluster(annotations=COMPLETE, finalizers=FINALIZER)
        none, one, both = self.verdicts((plain, ""), (DONE, ""), (DONE, NOT_READY.message))
        for before in (None, none):
            assert warning_of(before, one) == ("Warning", "CreatedWithWarnings", one["message"])
        assert warning_of(one, both) is not None
        for before, after in ((one, one), (both, one), (one, none)):
            assert warning_of(before, after) is None

    def test_other_conditions_have_events_of_their_own(self) -> None:
        seen = observe(DONE, engine=RUNNING, access=ACCESS)
        ready = find(decide(seen).status["conditions"], Condition.READY)
        assert warning_of(None, {**ready, "message": "x"}) is None
