"""Another container engine behind the same command: one engine's clusters are not created on or missed from another."""

from dataclasses import replace
from typing import ClassVar

import pytest

from capk.api import names
from capk.api.names import Condition, Reason
from capk.api.objects import KINDCluster
from capk.diagnosis.failures import Failure
from capk.plan.events import event_of
from capk.plan.kindcluster import decide
from capk.plan.marks import Mark
from capk.plan.observed import Observed
from capk.plan.plan import Create, Delete, Goal
from test.unit.plan.builders import (
    ACCESS,
    COMPLETE,
    FINALIZER,
    IDENTITY,
    NOTHING_THERE,
    RUNNING,
    UID,
    apply,
    condition,
    create_request,
    ended,
    failed,
    kindcluster,
    message,
    node,
    observe,
    removal,
    settled,
)

ON_ONE = {**COMPLETE, names.ENGINE_ANNOTATION: "one"}
WITHOUT_CLAIM = {names.IDENTITY_ANNOTATION: IDENTITY, names.ENGINE_ANNOTATION: "one"}
GOING = {"deletionTimestamp": "2030-01-01T11:00:00Z"}
OTHER = replace(NOTHING_THERE, id="other")
THEIRS = replace(RUNNING, nodes=(node(mark=None),), id="other")


def claimed(spec=None, annotations=ON_ONE, **metadata) -> KINDCluster:
    return kindcluster(spec, annotations=annotations, finalizers=FINALIZER, **metadata)


class TestAnotherEngine:
    @pytest.mark.rule("C21", "C23")
    @pytest.mark.parametrize("engine", [OTHER, THEIRS], ids=["empty", "with a stranger's cluster"])
    @pytest.mark.parametrize(
        "cluster",
        [
            claimed(),
            claimed({"recreatePolicy": "Always"}),
            claimed(annotations={**ON_ONE, names.IDENTITY_ANNOTATION: ""}),
            claimed(annotations=WITHOUT_CLAIM, status={"attempt": 1}),
            claimed(annotations={**ON_ONE, names.IDENTITY_ANNOTATION: "", names.CLAIM_ANNOTATION: "a/path"}),
        ],
        ids=["complete", "to be made again", "half made", "without its claim", "half made, with an edited claim"],
    )
    def test_nothing_is_created_repaired_or_given_back(self, cluster, engine) -> None:
        plan = decide(observe(cluster, engine=engine))
        assert plan.operation is None
        assert not {names.CLAIM_ANNOTATION, names.IDENTITY_ANNOTATION} & plan.annotations.keys()
        assert condition(plan.status, Condition.ENGINE_AVAILABLE) == ("False", Reason.ENGINE_CHANGED)
        assert condition(plan.status, Condition.READY) == ("False", Reason.ENGINE_CHANGED)
        said = message(plan.status, Condition.READY)
        assert "DOCKER_HOST" in said
        assert names.ENGINE_ANNOTATION in said

    @pytest.mark.rule("C23")
    @pytest.mark.parametrize("engine", [OTHER, THEIRS], ids=["empty", "with a stranger's cluster"])
    @pytest.mark.parametrize("facts", [{}, {"annotations": WITHOUT_CLAIM, "status": {"attempt": 1}}])
    def test_deletion_waits_with_its_finalizer(self, engine, facts) -> None:
        plan = decide(observe(claimed(**GOING, **facts), engine=engine))
        assert plan.operation is None
        assert not plan.remove_finalizer
        assert plan.delete_secrets == {}
        assert condition(plan.status, Condition.DELETING) == ("True", Reason.ENGINE_CHANGED)
        assert condition(plan.status, Condition.ENGINE_AVAILABLE) == ("False", Reason.ENGINE_CHANGED)

    @pytest.mark.rule("C21", "C23")
    @pytest.mark.parametrize(
        "facts",
        [
            {"annotations": {**ON_ONE, names.ATTEMPT_ANNOTATION: "2"}},
            {"annotations": WITHOUT_CLAIM, "status": {"attempt": 2}},
        ],
        ids=["by its claim", "by its status"],
    )
    def test_rest_of_an_earlier_creation_is_not_taken_for_the_cluster(self, facts) -> None:
        rest = replace(RUNNING, nodes=(node(mark=f"{UID}.1"),), id="other")
        plan = decide(observe(claimed({"recreatePolicy": "Always"}, **facts), engine=rest, access=ACCESS))
        assert plan.operation is None
        assert plan.annotations == {}
        assert condition(plan.status, Condition.READY) == ("False", Reason.ENGINE_CHANGED)
        deletion = decide(observe(claimed(**GOING, **facts), engine=rest))
        assert deletion.operation is None
        assert not deletion.remove_finalizer

    @pytest.mark.rule("C23")
    @pytest.mark.parametrize("engine", [OTHER, THEIRS], ids=["empty", "with a stranger's cluster"])
    def test_what_was_removed_on_its_engine_is_gone_whichever_engine_answers_later(self, engine) -> None:
        """The finalizer could not be removed meanwhile."""
        done = removal(Goal.GONE, engine="one")
        assert decide(observe(claimed(**GOING), engine=engine, goals=ended(done))).remove_finalizer
        again = decide(observe(claimed(**GOING), engine=replace(RUNNING, id="one"), goals=ended(done)))
        assert isinstance(again.operation, Delete)

    def test_change_is_an_event(self) -> None:
        conditions = decide(observe(claimed(), engine=OTHER)).status["conditions"]
        (event,) = {event_of(one) for one in conditions if one["type"] == Condition.ENGINE_AVAILABLE}
        assert event.type == "Warning"

    def test_work_goes_on_when_the_engine_is_back(self) -> None:
        away = observe(claimed(), engine=OTHER)
        back = replace(apply(away, decide(away)), engine=replace(RUNNING, id="one"), access=ACCESS)
        assert condition(decide(back).status, Condition.READY) == ("True", Reason.READY)

    @pytest.mark.parametrize("engine", [NOTHING_THERE, replace(THEIRS, id="")], ids=["empty", "with a stranger's"])
    def test_engine_without_an_id_is_another_than_one_that_has_one(self, engine) -> None:
        """As podman is, where docker was before."""
        plan = decide(observe(claimed({"recreatePolicy": "Always"}), engine=engine))
        assert plan.operation is None
        assert condition(plan.status, Condition.ENGINE_AVAILABLE) == ("False", Reason.ENGINE_CHANGED)
        assert not decide(observe(claimed(**GOING), engine=engine)).remove_finalizer

    def test_without_a_command_of_an_engine_no_id_is_missed(self) -> None:
        listed = replace(NOTHING_THERE, exists=True, lists_nodes=False)
        plan = decide(observe(claimed(), engine=listed, access=ACCESS))
        assert condition(plan.status, Condition.READY) == ("True", Reason.READY)

    def test_without_the_annotation_the_engine_that_answers_counts(self) -> None:
        plan = decide(observe(claimed(annotations=COMPLETE), engine=OTHER))
        assert condition(plan.status, Condition.READY) == ("False", Reason.MISSING)
        assert decide(observe(claimed(annotations=COMPLETE, **GOING), engine=OTHER)).remove_finalizer

    @pytest.mark.parametrize("id", ["", "one"])
    def test_engine_without_an_id_or_with_the_same_one_changes_nothing(self, id) -> None:
        going = observe(claimed(**GOING), engine=replace(RUNNING, id=id))
        assert decide(going).operation == removal(Goal.GONE, engine=id)

    def test_value_that_is_not_an_id_counts_for_nothing(self) -> None:
        odd = claimed(annotations={**COMPLETE, names.ENGINE_ANNOTATION: "x y\n" * 99}, **GOING)
        assert decide(observe(odd, engine=replace(RUNNING, id="one"))).operation == removal(Goal.GONE, engine="one")

    def test_copy_of_an_object_wants_a_cluster_of_its_own_wherever_the_first_one_is(self) -> None:
        annotations = {**ON_ONE, names.CLAIM_ID_ANNOTATION: "uid-before"}
        plan = decide(observe(claimed({"clusterName": "second"}, annotations), engine=OTHER))
        assert isinstance(plan.operation, Create)
        assert plan.annotations[names.ENGINE_ANNOTATION] == "other"


class TestFailedCreation:
    """A creation has failed on one engine, and another one answers."""

    FAILURE = Failure(Reason.PORT_CONFLICT, "Host port 80 is taken.")
    CLAIM: ClassVar = {**ON_ONE, names.IDENTITY_ANNOTATION: "", names.ATTEMPT_ANNOTATION: "2"}

    def seen(self, engine=OTHER, *, attempt=2, on="one", left_nothing=True, seconds_ago=999.0, **metadata) -> Observed:
        last = replace(create_request(), mark=Mark(UID, attempt), engine=on)
        goals = failed(last, self.FAILURE, seconds_ago=seconds_ago, left_nothing=left_nothing)
        return observe(claimed(annotations=self.CLAIM, **metadata), engine=engine, goals=goals)

    @pytest.mark.rule("C21")
    def test_next_one_may_be_made_by_another_engine_if_nothing_was_left(self) -> None:
        plan = decide(self.seen())
        assert isinstance(plan.operation, Create)
        assert plan.annotations[names.ENGINE_ANNOTATION] == "other"

    @pytest.mark.parametrize("engine", [OTHER, replace(NOTHING_THERE, id="one")], ids=["another", "its own"])
    def test_it_gives_its_engine_back_for_a_restart_of_the_provider(self, engine) -> None:
        waiting = self.seen(engine, seconds_ago=0.0)
        plan = decide(waiting)
        assert plan.annotations == {names.ENGINE_ANNOTATION: None}
        assert condition(plan.status, Condition.READY) == ("False", Reason.PORT_CONFLICT)
        after = apply(waiting, plan)
        assert decide(after).annotations == {}
        assert isinstance(decide(replace(after, goals={})).operation, Create)

    @pytest.mark.rule("C7")
    def test_pause_leaves_the_annotation(self) -> None:
        paused = self.seen(seconds_ago=0.0)
        annotations = {**paused.object.annotations, names.PAUSED_ANNOTATION: ""}
        assert decide(replace(paused, object=claimed(annotations=annotations))).annotations == {}

    @pytest.mark.rule("C23")
    def test_deletion_ends_if_nothing_was_left(self) -> None:
        assert isinstance(decide(self.seen(**GOING)).operation, Delete)

    @pytest.mark.rule("C21", "C23")
    @pytest.mark.parametrize(
        "facts", [{"left_nothing": False}, {"attempt": 1}, {"on": "third"}], ids=["unproven", "earlier", "elsewhere"]
    )
    def test_what_it_may_have_left_is_waited_for(self, facts) -> None:
        plan = decide(self.seen(**facts))
        assert (plan.operation, plan.annotations) == (None, {})
        assert condition(plan.status, Condition.ENGINE_AVAILABLE) == ("False", Reason.ENGINE_CHANGED)
        assert "may have left containers" in message(plan.status, Condition.ENGINE_AVAILABLE)
        deletion = decide(self.seen(**facts, **GOING))
        assert deletion.operation is None
        assert not deletion.remove_finalizer


class TestStoredId:
    def test_it_is_part_of_the_claim(self) -> None:
        plan = decide(observe(engine=OTHER))
        assert plan.annotations[names.ENGINE_ANNOTATION] == "other"
        adopting = kindcluster(annotations={names.ADOPT_ANNOTATION: "true"})
        assert decide(observe(adopting, engine=THEIRS, access=ACCESS)).annotations[names.ENGINE_ANNOTATION] == "other"

    def test_engine_without_one_clears_what_a_former_claim_left(self) -> None:
        assert decide(observe(engine=NOTHING_THERE)).annotations[names.ENGINE_ANNOTATION] is None

    @pytest.mark.rule("C19")
    def test_object_of_an_earlier_release_gets_it_with_another_write_only(self) -> None:
        seen = replace(settled(), engine=replace(RUNNING, id="one"))
        plan = decide(seen)
        assert plan.engine_id == "one"
        assert (plan.annotations, plan.identity, plan.kube_system_uid) == ({}, None, None)
        assert apply(seen, plan) == seen

    def test_adopted_container_proves_an_engine_that_has_got_another_id(self) -> None:
        adopted = claimed(annotations={**ON_ONE, names.CLAIM_ID_ANNOTATION: "c1"})
        engine = replace(RUNNING, nodes=(node(mark=None, container_id="c1"),), id="renewed")
        plan = decide(observe(adopted, engine=engine, access=ACCESS))
        assert condition(plan.status, Condition.READY) == ("True", Reason.READY)
        assert plan.annotations == {names.ENGINE_ANNOTATION: "renewed"}

    @pytest.mark.parametrize(("mark", "attempt"), [(UID, None), (UID, "2"), (f"{UID}.2", None), (f"{UID}.2", "2")])
    def test_containers_with_the_own_mark_prove_an_engine_that_has_got_another_id(self, mark, attempt) -> None:
        engine = replace(RUNNING, nodes=(node(mark=mark),), id="renewed")
        made = {names.ATTEMPT_ANNOTATION: attempt} if attempt else {}
        seen = observe(claimed(annotations={**ON_ONE, **made}), engine=engine, access=ACCESS)
        plan = decide(seen)
        assert condition(plan.status, Condition.READY) == ("True", Reason.READY)
        assert plan.annotations == {names.ENGINE_ANNOTATION: "renewed"}
        is_lost = attempt is None and mark != UID
        assert decide(apply(seen, plan)).annotations == ({names.ATTEMPT_ANNOTATION: "2"} if is_lost else {})
        assert decide(observe(claimed(**GOING), engine=engine)).operation == removal(Goal.GONE, engine="renewed")
