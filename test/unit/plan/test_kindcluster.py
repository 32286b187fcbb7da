"""Decisions for a KINDCluster, step by step through its life."""

import base64
from dataclasses import replace
from datetime import timedelta

import pytest

from capk.api import names
from capk.api.endpoint import EndpointMode
from capk.api.names import Condition, Reason
from capk.api.objects import KINDCluster
from capk.diagnosis.failures import Failure
from capk.kindconfig.kubeconfigfields import certificates, fingerprint
from capk.plan.creation import needs_no_owner
from capk.plan.facts import EngineFacts, HealthFacts
from capk.plan.kindcluster import decide
from capk.plan.marks import Mark
from capk.plan.parts import CLAIM
from capk.plan.plan import Create, Delete, Goal, Plan, ReadAccess, RenewKubelets, StartNodes
from capk.plan.policy import Policy
from capk.plan.repair import first_addresses
from capkdev.certificates import Authority
from test.unit.plan.builders import (
    ACCESS,
    CLAIMED,
    COMPLETE,
    FINALIZER,
    IDENTITY,
    NOTHING_THERE,
    NOW,
    RUNNING,
    UID,
    apply,
    condition,
    control_plane,
    create_request,
    ended,
    failed,
    kindcluster,
    message,
    node,
    observe,
    owner_cluster,
    removal,
    running_operation,
    seen_as,
    settled,
)

ENGINE_DOWN = Failure(Reason.ENGINE_UNREACHABLE, "The container engine does not answer. Start it.")
NO_IMAGE = Failure(Reason.IMAGE_NOT_FOUND, "The node image is not there. Load it.")


class TestGates:
    @pytest.mark.rule("C6")
    def test_externally_managed_object_is_left_alone(self) -> None:
        cluster = kindcluster(annotations={names.MANAGED_BY_ANNOTATION: ""})
        assert decide(observe(cluster)) == Plan()

    @pytest.mark.rule("C25")
    def test_object_deleted_for_move_is_left_alone(self) -> None:
        cluster = kindcluster(
            annotations={names.DELETE_FOR_MOVE_ANNOTATION: ""},
            finalizers=FINALIZER,
            deletionTimestamp="2030-01-01T11:00:00Z",
        )
        assert decide(observe(cluster, engine=RUNNING)) == Plan()

    @pytest.mark.rule("C30")
    def test_move_waits_for_a_creation_and_for_nothing_else(self) -> None:
        start = observe()
        plan = decide(start)
        assert plan.annotations[names.BLOCK_MOVE_ANNOTATION] == names.HELD_BY_CREATION
        creating = replace(apply(start, plan), operation=running_operation(plan.operation))
        assert names.BLOCK_MOVE_ANNOTATION not in decide(creating).annotations
        paused = seen_as(
            creating, kindcluster(annotations={**creating.object.annotations, names.PAUSED_ANNOTATION: ""})
        )
        assert names.BLOCK_MOVE_ANNOTATION not in decide(paused).annotations
        over = replace(paused, operation=None)
        assert decide(over).annotations == {names.BLOCK_MOVE_ANNOTATION: None}
        users = kindcluster(annotations={**COMPLETE, names.BLOCK_MOVE_ANNOTATION: ""}, finalizers=FINALIZER)
        assert names.BLOCK_MOVE_ANNOTATION not in decide(observe(users, engine=RUNNING)).annotations

    @pytest.mark.rule("C30")
    def test_move_that_waits_for_a_refused_write_is_reported(self) -> None:
        """Whether the cluster is well, paused for the move, or its creation has failed; only as long as it waits."""
        held = {names.BLOCK_MOVE_ANNOTATION: names.HELD_BY_CREATION}
        refused = {"refusals": {CLAIM: "not today"}, "held_back": frozenset({CLAIM})}
        made = settled()
        annotations = {**made.object.annotations, **held}
        raw = {**made.object.raw, "metadata": {**made.object.metadata, "annotations": annotations}}
        created = decide(seen_as(made, KINDCluster(raw), **refused)).status
        assert condition(created, Condition.READY) == ("True", Reason.READY)
        assert message(created, Condition.CLUSTER_CREATED) == (
            "`clusterctl move` waits, because the API server refuses to remove the annotation "
            "clusterctl.cluster.x-k8s.io/block-move: not today"
        )
        paused = kindcluster(annotations={**COMPLETE, **held, names.PAUSED_ANNOTATION: ""}, finalizers=FINALIZER)
        assert message(decide(seen_as(made, paused, **refused)).status, Condition.PAUSED).endswith(": not today")
        creation = create_request()
        begun = kindcluster(annotations={**CLAIMED, **held}, finalizers=FINALIZER)
        tried = observe(begun, goals=failed(creation, Failure(Reason.OUT_OF_DISK, "The disk is full.", retry=False)))
        assert message(decide(replace(tried, **refused)).status, Condition.CLUSTER_CREATED).endswith(": not today")
        assert message(decide(replace(made, **refused)).status, Condition.CLUSTER_CREATED) == ""

    @pytest.mark.rule("C5")
    def test_no_work_before_an_owner_cluster_is_known(self) -> None:
        plan = decide(observe(cluster_api_installed=True))
        assert plan.operation is None
        assert not plan.add_finalizer
        assert condition(plan.status, Condition.CLUSTER_CREATED) == ("False", Reason.WAITING_FOR_CLUSTER)

    def test_fresh_object_waits_for_its_owner_in_silence(self) -> None:
        cluster = kindcluster(creationTimestamp=(NOW - timedelta(seconds=1)).isoformat())
        plan = decide(observe(cluster, cluster_api_installed=True))
        assert plan.status is None
        assert plan.requeue_seconds == pytest.approx(2.1)

    @pytest.mark.rule("C33")
    def test_wrong_clock_makes_nobody_wait(self) -> None:
        for hours in (-5, 5):
            observed = replace(observe(cluster_api_installed=True), now=NOW + timedelta(hours=hours))
            plan = decide(observed)
            assert plan.requeue_seconds is None
            assert plan.status is not None

    def test_secret_as_first_owner_is_not_taken_for_the_cluster(self) -> None:
        shim = {"apiVersion": "v1", "kind": "Secret", "name": "shim", "uid": "u"}
        cluster = kindcluster(ownerReferences=[shim])
        assert cluster.owner_cluster_reference is None

    @pytest.mark.parametrize("api_version", ["cluster.x-k8s.io/v1beta1", "cluster.x-k8s.io/v1beta2"])
    @pytest.mark.rule("C5")
    def test_owner_is_found_whatever_its_version_and_controller_flag(self, api_version: str) -> None:
        reference = {"apiVersion": api_version, "kind": "Cluster", "name": "dev", "uid": "u"}
        assert kindcluster(ownerReferences=[reference]).owner_cluster_reference == reference
        assert kindcluster(ownerReferences=[{**reference, "controller": True}]).owner_cluster_reference is not None

    @pytest.mark.parametrize(
        ("cluster", "installed"),
        [(kindcluster({"standalone": True}), True), (kindcluster(), False), (kindcluster(owner="dev"), True)],
        ids=["standalone", "no Cluster API", "owned"],
    )
    def test_creation_starts_with_finalizer_and_claim(self, cluster, installed) -> None:
        owner = owner_cluster() if cluster.owner_cluster_reference else None
        plan = decide(observe(cluster, cluster_api_installed=installed, owner=owner))
        assert isinstance(plan.operation, Create)
        assert plan.add_finalizer
        assert plan.annotations[names.CLAIM_ANNOTATION] == "dev"
        assert plan.annotations[names.CLAIM_ID_ANNOTATION] == UID

    @pytest.mark.rule("C7")
    @pytest.mark.parametrize("deleting", [{}, {"deletionTimestamp": "2030-01-01T11:00:00Z"}])
    @pytest.mark.parametrize("by", ["Cluster", "annotation"])
    def test_paused_object_is_not_touched_even_when_deleted(self, deleting, by) -> None:
        annotations = {**COMPLETE, **({names.PAUSED_ANNOTATION: ""} if by == "annotation" else {})}
        cluster = kindcluster(annotations=annotations, finalizers=FINALIZER, owner="dev", **deleting)
        plan = decide(
            observe(cluster, engine=RUNNING, owner=owner_cluster(paused=by == "Cluster"), cluster_api_installed=True)
        )
        assert plan == Plan(cancel_queued=True, status=plan.status)
        assert condition(plan.status, Condition.PAUSED) == ("True", Reason.PAUSED)
        assert ("paused" in message(plan.status, Condition.PAUSED)) is True


COPIED = {**COMPLETE, names.CLAIM_ID_ANNOTATION: "uid-of-a-gone-one"}


class TestCopiedClaimOfAGoneObject:
    """A backup was restored, or a saved manifest applied again, after Cluster API was installed."""

    def copied(self, **facts):
        return observe(kindcluster(annotations=COPIED, finalizers=FINALIZER), cluster_api_installed=True, **facts)

    @pytest.mark.rule("C5")
    @pytest.mark.parametrize("nodes", [None, (node(mark="another"),)], ids=["nothing", "a stranger's cluster"])
    def test_without_its_kind_cluster_it_waits_for_its_cluster(self, nodes) -> None:
        engine = replace(RUNNING, nodes=nodes) if nodes else NOTHING_THERE
        plan = decide(self.copied(engine=engine))
        assert plan.operation is None
        assert condition(plan.status, Condition.CLUSTER_CREATED) == ("False", Reason.WAITING_FOR_CLUSTER)

    def test_its_kind_cluster_is_kept(self) -> None:
        engine = replace(RUNNING, nodes=(node(mark="uid-of-a-gone-one.1"),))
        plan = decide(self.copied(engine=engine, access=ACCESS))
        assert condition(plan.status, Condition.READY) == ("True", Reason.READY)

    def test_engine_is_asked_before_anything_is_reported(self) -> None:
        assert decide(self.copied(engine=EngineFacts())).status is None
        down = EngineFacts(was_listed=True, failure=ENGINE_DOWN)
        status = decide(self.copied(engine=down)).status
        assert condition(status, Condition.ENGINE_AVAILABLE) == ("False", Reason.ENGINE_UNREACHABLE)

    def test_without_cluster_api_its_absence_is_confirmed_first(self) -> None:
        alone = replace(self.copied(), cluster_api_installed=False)
        assert needs_no_owner(alone)
        assert not needs_no_owner(replace(alone, engine=replace(RUNNING, nodes=(node(mark="uid-of-a-gone-one.1"),))))
        assert not needs_no_owner(observe(kindcluster(annotations=COMPLETE)))

    def test_own_claim_or_status_needs_no_kind_cluster(self) -> None:
        own = kindcluster({"recreatePolicy": "Always"}, annotations=COMPLETE, finalizers=FINALIZER)
        assert isinstance(decide(observe(own, cluster_api_installed=True)).operation, Create)
        status = {"initialization": {"provisioned": True}}
        moved = kindcluster({"recreatePolicy": "Always"}, annotations=COPIED, finalizers=FINALIZER, status=status)
        assert isinstance(decide(observe(moved, cluster_api_installed=True)).operation, Create)


class TestNames:
    @pytest.mark.parametrize(
        ("spec", "owner", "expected"),
        [
            ({"clusterName": "mine"}, "dev", "mine"),
            ({}, "theirs", "theirs"),
            ({}, None, "dev"),
        ],
    )
    def test_name_is_the_wanted_one_else_the_owners_else_its_own(self, spec, owner, expected) -> None:
        assert observe(kindcluster(spec, owner=owner)).cluster_name == expected

    def test_claimed_name_stays_whatever_else_changes(self) -> None:
        status = {"clusterName": "first", "initialization": {"provisioned": True}}
        cluster = kindcluster(annotations={names.CLAIM_ANNOTATION: "first"}, owner="later", status=status)
        assert observe(cluster).cluster_name == "first"

    def test_claim_that_was_edited_hides_no_cluster(self) -> None:
        status = {"clusterName": "first", "initialization": {"provisioned": True}}
        cluster = kindcluster(annotations={names.CLAIM_ANNOTATION: "other"}, owner="later", status=status)
        assert observe(cluster).cluster_name == "first"

    def test_too_long_a_name_is_reported_and_nothing_is_started(self) -> None:
        plan = decide(observe(kindcluster({"clusterName": "a" * 50})))
        assert plan.operation is None
        assert condition(plan.status, Condition.CLUSTER_CREATED) == ("False", Reason.INVALID_CONFIG)

    def test_second_object_of_a_name_waits(self) -> None:
        plan = decide(observe(rival="other/dev"))
        assert plan.operation is None
        assert condition(plan.status, Condition.READY) == ("False", Reason.NAME_CONFLICT)
        assert "other/dev" in message(plan.status, Condition.READY)

    @pytest.mark.rule("C21", "C23")
    def test_copy_of_an_object_neither_uses_nor_deletes_the_kind_cluster(self) -> None:
        """A manifest from the API server that is applied under another name contains the claim."""
        original = "uid-of-the-original"
        annotations = {**COMPLETE, names.CLAIM_ID_ANNOTATION: original}
        theirs = EngineFacts(was_listed=True, exists=True, nodes=(node(mark=f"{original}.1"),))
        facts = {"alive": {original}, "rival": "default/original", "engine": theirs}
        plan = decide(observe(kindcluster({"clusterName": "dev"}, annotations=annotations), **facts))
        assert plan.operation is None
        assert plan.secrets == ()
        assert condition(plan.status, Condition.CLUSTER_CREATED) == ("False", Reason.NAME_CONFLICT)
        going = kindcluster(annotations=annotations, finalizers=FINALIZER, deletionTimestamp="2030-01-01T11:00:00Z")
        last = decide(replace(observe(going, **facts), secrets=settled().secrets))
        assert last.operation is None
        assert last.remove_finalizer

    def test_copy_does_not_keep_the_claim_until_the_original_is_moved_away(self) -> None:
        """The kind cluster of an object that `clusterctl move` removes continues under another management cluster."""
        original = "uid-of-the-original"
        copied = {**COMPLETE, names.CLAIM_ID_ANNOTATION: original, names.ATTEMPT_ANNOTATION: "1"}
        theirs = EngineFacts(was_listed=True, exists=True, nodes=(node(mark=f"{original}.1"),))
        copy = kindcluster({"clusterName": "dev"}, annotations=copied)
        seen = observe(copy, alive={original}, copies_claim=True, rival="default/original", engine=theirs)
        plan = decide(seen)
        assert plan.annotations == dict.fromkeys(copied)
        later = seen_as(apply(seen, plan), apply(seen, plan).object, copies_claim=False, rival=None)
        plan = decide(later)
        assert plan.operation is None
        assert condition(plan.status, Condition.CLUSTER_CREATED) == ("False", Reason.NAME_CONFLICT)

    @pytest.mark.parametrize("mark", [UID, "uid-of-the-original.1"])
    def test_copied_claim_is_not_touched_where_it_may_be_an_edit_or_was_refused(self, mark) -> None:
        copied = {**COMPLETE, names.CLAIM_ID_ANNOTATION: "uid-of-the-original"}
        engine = EngineFacts(was_listed=True, exists=True, nodes=(node(mark=mark),))
        held_back = frozenset({CLAIM}) if mark != UID else frozenset()
        cluster = kindcluster({"clusterName": "dev"}, annotations=copied)
        seen = observe(
            cluster, alive={"uid-of-the-original"}, copies_claim=True, engine=engine, rival="default/original"
        )
        plan = decide(replace(seen, held_back=held_back))
        assert plan.annotations.get(names.CLAIM_ID_ANNOTATION, UID) == UID
        assert names.IDENTITY_ANNOTATION not in plan.annotations

    def test_secrets_of_another_object_with_the_same_name_stay_when_this_one_goes(self) -> None:
        """A copy of the Secret with our label, and the Secret of the object that has the name."""
        others = {
            name: replace(
                secret, metadata={**secret.metadata, "ownerReferences": [{"kind": "KINDCluster", "uid": "x"}]}
            )
            for name, secret in settled().secrets.items()
        }
        copy = {"dev-copy": next(iter(settled().secrets.values()))}
        going = kindcluster(annotations=COMPLETE, finalizers=FINALIZER, deletionTimestamp="2030-01-01T11:00:00Z")
        last = decide(observe(going, secrets={**others, **copy}))
        assert last.remove_finalizer
        assert last.delete_secrets == {}


class TestOthersClusters:
    @pytest.mark.rule("C21")
    def test_cluster_of_a_stranger_is_neither_adopted_nor_touched(self) -> None:
        plan = decide(observe(engine=EngineFacts(was_listed=True, exists=True, nodes=(node(mark=None),))))
        assert plan.operation is None
        assert not plan.add_finalizer
        assert condition(plan.status, Condition.CLUSTER_CREATED) == ("False", Reason.NAME_CONFLICT)
        assert names.ADOPT_ANNOTATION in message(plan.status, Condition.CLUSTER_CREATED)

    def test_engine_is_asked_again_before_a_strangers_cluster_is_told_of_but_not_after(self) -> None:
        """Someone may have deleted it a moment ago to free the name."""
        theirs = EngineFacts(was_listed=True, exists=True, nodes=(node(mark=None),))
        first = decide(observe(engine=theirs))
        assert first.refresh
        assert first.status is not None
        assert not decide(observe(kindcluster(status=first.status), engine=theirs)).refresh

    def test_claim_on_a_name_that_a_stranger_took_first_is_given_back(self) -> None:
        cluster = kindcluster(annotations=CLAIMED, finalizers=FINALIZER)
        plan = decide(observe(cluster, engine=EngineFacts(was_listed=True, exists=True, nodes=(node(mark=None),))))
        released = (names.CLAIM_ANNOTATION, names.CLAIM_ID_ANNOTATION, names.IDENTITY_ANNOTATION)
        assert plan.annotations == dict.fromkeys(released)

    def test_deleting_the_object_leaves_a_strangers_cluster_of_that_name(self) -> None:
        cluster = kindcluster(annotations=COMPLETE, finalizers=FINALIZER, deletionTimestamp="2030-01-01T11:00:00Z")
        theirs = EngineFacts(was_listed=True, exists=True, nodes=(node(mark="somebody-else"),))
        plan = decide(observe(cluster, engine=theirs, access=replace(ACCESS, fingerprint="sha256:other")))
        assert plan.operation is None
        assert plan.remove_finalizer

    @pytest.mark.rule("C23")
    def test_deletion_waits_for_nodes_of_its_creation_beside_a_strangers(self) -> None:
        """Someone else created the control plane first; the engine may still be creating our worker."""
        begun = {**CLAIMED, names.IDENTITY_ANNOTATION: "", names.ATTEMPT_ANNOTATION: "1"}
        cluster = kindcluster(annotations=begun, finalizers=FINALIZER, deletionTimestamp="2030-01-01T11:00:00Z")
        theirs = EngineFacts(was_listed=True, exists=True, nodes=(node(mark="somebody-else"),))
        going = observe(cluster, engine=theirs)
        removal = decide(going).operation
        assert isinstance(removal, Delete)
        assert removal.uids == {UID}
        assert removal.container_ids == frozenset()
        assert removal.settle_seconds > 0
        last = decide(replace(going, goals=ended(removal)))
        assert last.operation is None
        assert last.remove_finalizer

    def test_cluster_that_this_process_has_completed_is_not_taken_for_half_made(self) -> None:
        """Its status was not written yet when someone emptied its identity."""
        emptied = {**CLAIMED, names.IDENTITY_ANNOTATION: "", names.ATTEMPT_ANNOTATION: "2"}
        engine = EngineFacts(was_listed=True, exists=True, nodes=(node(mark=f"{UID}.2"),))
        seen = observe(kindcluster({"standalone": True}, annotations=emptied, finalizers=FINALIZER), engine=engine)
        assert isinstance(decide(seen).operation, Delete)
        assert isinstance(decide(replace(seen, completed=1)).operation, Delete)
        assert decide(replace(seen, completed=2)).operation == ReadAccess("dev")

    def test_fingerprint_is_read_before_a_cluster_with_unknown_nodes_is_deleted(self) -> None:
        cluster = kindcluster(annotations=COMPLETE, finalizers=FINALIZER, deletionTimestamp="2030-01-01T11:00:00Z")
        unmarked = EngineFacts(was_listed=True, exists=True, nodes=None, lists_nodes=False)
        proof = ReadAccess("dev", goal=Goal.GONE)
        assert decide(observe(cluster, engine=unmarked)).operation == proof
        assert decide(observe(cluster, engine=unmarked, access=ACCESS)).operation == removal(Goal.GONE)
        other = replace(ACCESS, fingerprint="sha256:other")
        assert decide(observe(cluster, engine=unmarked, access=other)).remove_finalizer
        # A removal that has failed waits for its turn, and is proven again before it.
        waits = decide(observe(cluster, engine=unmarked, goals=failed(removal(Goal.GONE), ENGINE_DOWN)))
        assert waits.operation is None
        assert waits.requeue_seconds > 0
        its_turn = failed(removal(Goal.GONE), ENGINE_DOWN, seconds_ago=600)
        assert decide(observe(cluster, engine=unmarked, goals=its_turn)).operation == proof
        # If it cannot be read, the claim decides, but only if the status shows a creation.
        unread = observe(cluster, engine=unmarked, goals=failed(proof, ENGINE_DOWN, seconds_ago=1.0))
        waiting = decide(unread)
        assert waiting.operation is None
        assert "Only the kubeconfig proves" in message(waiting.status, Condition.DELETING)
        shown = kindcluster(
            annotations=COMPLETE,
            finalizers=FINALIZER,
            deletionTimestamp="2030-01-01T11:00:00Z",
            status={"initialization": {"provisioned": True}, "clusterName": "dev"},
        )
        assert decide(replace(unread, object=shown)).operation == removal(Goal.GONE)

    @pytest.mark.rule("C21")
    def test_kind_cluster_that_is_being_removed_for_an_earlier_object_is_awaited(self) -> None:
        """It would be Ready for a last moment, and Missing after it."""
        restored = kindcluster(annotations={**COMPLETE, names.CLAIM_ID_ANNOTATION: "uid-before"}, finalizers=FINALIZER)
        engine = replace(RUNNING, nodes=(node(mark="uid-before.1"),))
        waiting = observe(restored, engine=engine, access=ACCESS, is_being_removed=True)
        plan = decide(waiting)
        assert condition(plan.status, Condition.READY) == ("False", Reason.CLEANING_UP)
        assert (plan.operation, plan.annotations, plan.secrets) == (None, {}, ())
        assert 0 < plan.requeue_seconds <= 1
        taken = decide(replace(waiting, is_being_removed=False))
        assert condition(taken.status, Condition.READY) == ("True", Reason.READY)

    def test_claim_that_was_taken_off_is_proven_by_the_fingerprint_if_containers_are_unknown(self) -> None:
        """The status shows under which name the provider has made a kind cluster for the object."""
        unmarked = EngineFacts(was_listed=True, exists=True, nodes=None, lists_nodes=False)
        done = {"clusterName": "dev", "attempt": 1, "initialization": {"provisioned": True}}
        going = {"finalizers": FINALIZER, "deletionTimestamp": "2030-01-01T11:00:00Z"}

        def seen(status=done, identity=IDENTITY, access=ACCESS, **metadata):
            annotations = {names.IDENTITY_ANNOTATION: identity}
            cluster = kindcluster({"clusterName": "dev"}, annotations=annotations, status=status, **metadata)
            return observe(cluster, engine=unmarked, access=access)

        assert decide(seen()).annotations.items() >= CLAIMED.items()
        assert decide(seen(access=None)).annotations == {}
        assert decide(seen(access=None, **going)).operation == ReadAccess("dev", goal=Goal.GONE)
        assert decide(seen(**going)).operation == removal(Goal.GONE)
        made_here = observe(seen(status={}).object, engine=unmarked, access=ACCESS, completed=1)
        assert decide(made_here).annotations.items() >= CLAIMED.items()
        for facts in ({"status": {}}, {"status": {**done, "clusterName": "other"}}, {"identity": ""}):
            assert decide(seen(**facts, **going)).operation is None
            assert CLAIMED.keys().isdisjoint(decide(seen(**facts)).annotations)
        theirs = replace(ACCESS, fingerprint="sha256:other")
        assert decide(seen(access=theirs, **going)).operation is None

    def test_identity_that_was_edited_during_the_creation_is_corrected_from_memory(self) -> None:
        unmarked = EngineFacts(was_listed=True, exists=True, nodes=None, lists_nodes=False)
        edited = kindcluster(annotations={**COMPLETE, names.IDENTITY_ANNOTATION: "sha256:0000"}, finalizers=FINALIZER)
        assert decide(observe(edited, engine=unmarked, made=IDENTITY)).identity == IDENTITY
        assert decide(observe(edited, engine=unmarked, made=names.UNREAD)).identity is None

    @pytest.mark.rule("C19")
    def test_name_that_was_in_conflict_stays_so_while_the_fingerprint_is_read_again(self) -> None:
        unmarked = EngineFacts(was_listed=True, exists=True, nodes=None, lists_nodes=False)
        theirs = observe(
            kindcluster(annotations=COMPLETE), engine=unmarked, access=replace(ACCESS, fingerprint="sha256:other")
        )
        conflict = decide(theirs)
        assert condition(conflict.status, Condition.READY) == ("False", Reason.NAME_CONFLICT)
        forgotten = replace(apply(theirs, conflict), access=None)
        assert decide(forgotten).status is None
        assert decide(forgotten).operation == ReadAccess("dev")

    def test_proof_is_not_interrupted_by_what_wakes_the_object_meanwhile(self) -> None:
        cluster = kindcluster(annotations=COMPLETE, finalizers=FINALIZER, deletionTimestamp="2030-01-01T11:00:00Z")
        unmarked = EngineFacts(was_listed=True, exists=True, nodes=None, lists_nodes=False)
        proving = running_operation(ReadAccess("dev", goal=Goal.GONE))
        plan = decide(observe(cluster, engine=unmarked, operation=proving))
        assert not plan.cancel_operation
        assert plan.operation is None

    @pytest.mark.rule("C21")
    @pytest.mark.parametrize("identity", ["", IDENTITY])
    @pytest.mark.parametrize("going", [{}, {"deletionTimestamp": "2030-01-01T11:00:00Z"}])
    def test_of_a_cluster_with_nodes_of_others_only_the_own_ones_go(self, identity, going) -> None:
        """A user created the control plane first, but kind has created our worker."""
        mixed = EngineFacts(
            was_listed=True,
            exists=True,
            nodes=(node(mark=None, container_id="theirs"), node("dev-worker", mark=f"{UID}.3", container_id="ours")),
        )
        annotations = {**CLAIMED, names.ATTEMPT_ANNOTATION: "3", names.IDENTITY_ANNOTATION: identity}
        cluster = kindcluster(annotations=annotations, finalizers=FINALIZER, **going)
        request = decide(observe(cluster, engine=mixed)).operation
        if going or not identity:
            assert isinstance(request, Delete)
            assert request.uids == {UID}
            assert request.container_ids == frozenset()
        else:
            assert not isinstance(request, Delete)

    def test_name_without_containers_has_not_been_looked_at_yet(self) -> None:
        """kind and the engine are listed in sequence; someone may create a cluster in between."""
        unseen = EngineFacts(was_listed=True, exists=True, nodes=None)
        cluster = kindcluster(annotations={**CLAIMED, names.IDENTITY_ANNOTATION: ""}, finalizers=FINALIZER)
        plan = decide(observe(cluster, engine=unseen))
        assert plan.refresh
        assert plan.operation is None
        going = kindcluster(annotations=CLAIMED, finalizers=FINALIZER, deletionTimestamp="2030-01-01T11:00:00Z")
        plan = decide(observe(going, engine=unseen))
        assert plan.refresh
        assert plan.operation is None
        assert not plan.remove_finalizer

    def test_balancer_of_an_own_cluster_goes_by_its_id(self) -> None:
        balancer = node("dev-external-load-balancer", mark=None, container_id="lb")
        engine = EngineFacts(was_listed=True, exists=True, nodes=(balancer, node()))
        going = kindcluster(annotations=COMPLETE, finalizers=FINALIZER, deletionTimestamp="2030-01-01T11:00:00Z")
        assert decide(observe(going, engine=engine)).operation == removal(Goal.GONE, ids={"lb"})

    def test_mark_of_an_earlier_release_without_an_attempt_is_ours(self) -> None:
        going = kindcluster(annotations=COMPLETE, finalizers=FINALIZER, deletionTimestamp="2030-01-01T11:00:00Z")
        engine = EngineFacts(was_listed=True, exists=True, nodes=(node(mark=UID),))
        assert decide(observe(going, engine=engine)).operation == removal(Goal.GONE)

    @pytest.mark.parametrize("claim", ["/home/me", "../up", "a b", "A", "", "x" * 64])
    def test_claim_that_is_not_a_name_is_not_a_claim(self, claim) -> None:
        annotations = {**COMPLETE, names.CLAIM_ANNOTATION: claim}
        going = kindcluster(annotations=annotations, finalizers=FINALIZER, deletionTimestamp="2030-01-01T11:00:00Z")
        seen = observe(going, engine=RUNNING)
        assert seen.claim is None
        assert seen.cluster_name == "dev"
        assert decide(seen).operation == removal(Goal.GONE)

    def test_deletion_finds_the_cluster_by_its_marks_when_the_claim_was_stripped(self) -> None:
        going = kindcluster(finalizers=FINALIZER, deletionTimestamp="2030-01-01T11:00:00Z")
        assert decide(observe(going, engine=RUNNING)).operation == removal(Goal.GONE)

    def test_rival_does_not_keep_an_object_from_its_own_cluster(self) -> None:
        done = replace(settled(), rival="other/dev")
        assert condition(decide(done).status, Condition.READY) == ("True", Reason.READY)
        going = kindcluster(annotations=COMPLETE, finalizers=FINALIZER, deletionTimestamp="2030-01-01T11:00:00Z")
        assert decide(seen_as(done, going)).operation == removal(Goal.GONE)

    @pytest.mark.rule("C27")
    def test_moved_object_owns_the_cluster_that_its_former_self_made(self) -> None:
        moved = kindcluster(annotations={**COMPLETE, names.CLAIM_ID_ANNOTATION: "uid-before"}, finalizers=FINALIZER)
        engine = EngineFacts(was_listed=True, exists=True, nodes=(node(mark="uid-before.1"),))
        assert decide(observe(moved, engine=engine)).operation == ReadAccess("dev")

    def test_replaced_object_whose_cluster_is_gone_begins_again(self) -> None:
        """`kubectl replace --force`, or a manifest that was saved with our annotations."""
        annotations = {**COMPLETE, names.CLAIM_ID_ANNOTATION: "uid-before"}
        plan = decide(observe(kindcluster(annotations=annotations)))
        assert isinstance(plan.operation, Create)
        assert plan.annotations[names.CLAIM_ID_ANNOTATION] == UID

    def test_copy_under_another_name_wants_a_cluster_of_its_own(self) -> None:
        spec = {"clusterName": "second"}
        annotations = {**COMPLETE, names.CLAIM_ID_ANNOTATION: "uid-before"}
        seen = observe(kindcluster(spec, annotations=annotations))
        assert seen.cluster_name == "second"
        assert isinstance(decide(seen).operation, Create)

    def test_adopting_what_bears_a_mark_takes_that_very_mark(self) -> None:
        theirs = EngineFacts(was_listed=True, exists=True, nodes=(node(mark="uid-of-other.2"),))
        wishes = kindcluster(annotations={names.ADOPT_ANNOTATION: "true"})
        plan = decide(observe(wishes, engine=theirs))
        assert plan.operation is None
        assert '"uid-of-other.2"' in message(plan.status, Condition.CLUSTER_CREATED)
        named = kindcluster(annotations={names.ADOPT_ANNOTATION: "uid-of-other.2"})
        assert decide(observe(named, engine=theirs)).operation == ReadAccess("dev")
        adopted = decide(observe(named, engine=theirs, access=ACCESS))
        assert adopted.annotations[names.CLAIM_ID_ANNOTATION] == "uid-of-other"

    def test_failing_adoption_says_why(self) -> None:
        theirs = EngineFacts(was_listed=True, exists=True, nodes=(node(mark=None),))
        wishes = kindcluster(annotations={names.ADOPT_ANNOTATION: "true"})
        plan = decide(observe(wishes, engine=theirs, goals=failed(ReadAccess("dev"), ENGINE_DOWN)))
        assert ENGINE_DOWN.message in message(plan.status, Condition.CLUSTER_CREATED)
        assert plan.requeue_seconds == pytest.approx(5.0)

    def test_claim_that_an_adoption_has_stored_in_vain_is_not_stored_again_and_again(self) -> None:
        theirs = EngineFacts(was_listed=True, exists=True, nodes=(node(mark=None, container_id="c1"),))
        wishes = kindcluster(annotations={names.ADOPT_ANNOTATION: "true"})
        seen = observe(wishes, engine=theirs, access=ACCESS)
        stored = replace(apply(seen, decide(seen)), claim=None)
        plan = decide(stored)
        assert condition(plan.status, Condition.CLUSTER_CREATED) == ("False", Reason.NAME_CONFLICT)
        assert (dict(plan.annotations), plan.requeue_seconds) == ({}, None)

    def test_rest_without_a_control_plane_is_not_adopted(self) -> None:
        rest = EngineFacts(was_listed=True, exists=True, nodes=(node("dev-worker", mark=None),))
        plan = decide(observe(kindcluster(annotations={names.ADOPT_ANNOTATION: "true"}), engine=rest, access=ACCESS))
        assert condition(plan.status, Condition.CLUSTER_CREATED) == ("False", Reason.NAME_CONFLICT)

    def test_adoption_reads_then_claims(self) -> None:
        cluster = kindcluster(annotations={names.ADOPT_ANNOTATION: "true"})
        theirs = EngineFacts(was_listed=True, exists=True, nodes=(node(mark=None),))
        assert decide(observe(cluster, engine=theirs)).operation == ReadAccess("dev")
        plan = decide(observe(cluster, engine=theirs, access=ACCESS))
        assert plan.add_finalizer
        assert plan.annotations[names.IDENTITY_ANNOTATION] == IDENTITY
        adopted = apply(observe(cluster, engine=theirs, access=ACCESS), plan)
        assert condition(decide(adopted).status, Condition.CLUSTER_CREATED) == ("True", Reason.CREATED)


class TestCreation:
    def test_progress_is_the_step_that_kind_is_at(self) -> None:
        operation = running_operation(create_request(), step=Reason.PREPARING_NODES)
        plan = decide(observe(kindcluster(annotations=CLAIMED, finalizers=FINALIZER), operation=operation))
        assert condition(plan.status, Condition.CLUSTER_CREATED) == ("False", Reason.PREPARING_NODES)
        assert plan.operation is None

    def test_engine_that_stops_answering_during_a_creation_is_shown(self) -> None:
        """kind waits for such an engine until its time limit, and no step shows it."""
        operation = running_operation(create_request(), step=Reason.PREPARING_NODES)
        cluster = kindcluster(annotations=CLAIMED, finalizers=FINALIZER)
        hanging = observe(cluster, engine=EngineFacts(was_listed=True, failure=ENGINE_DOWN), operation=operation)
        plan = decide(hanging)
        assert condition(plan.status, Condition.CLUSTER_CREATED) == ("False", Reason.PREPARING_NODES)
        for kind in (Condition.ENGINE_AVAILABLE, Condition.READY):
            assert condition(plan.status, kind) == ("False", Reason.ENGINE_UNREACHABLE)
        back = decide(replace(apply(hanging, plan), engine=EngineFacts(was_listed=True)))
        assert condition(back.status, Condition.ENGINE_AVAILABLE) == ("True", Reason.ENGINE_ANSWERS)
        assert condition(back.status, Condition.READY) == ("False", Reason.PREPARING_NODES)

    def test_queued_retry_keeps_why_the_last_attempt_failed(self) -> None:
        cluster = kindcluster(annotations=CLAIMED, finalizers=FINALIZER)
        waiting = running_operation(create_request(), queued=True)
        tried = observe(cluster, operation=waiting, goals=failed(create_request(), NO_IMAGE, attempts=3))
        plan = decide(tried)
        cause = "first. The last attempt failed with ImageNotFound: The node image is not there. Load it."
        for kind in (Condition.CLUSTER_CREATED, Condition.READY):
            assert condition(plan.status, kind) == ("False", Reason.QUEUED)
            assert message(plan.status, kind).endswith(cause)
        later = replace(apply(tried, plan), goals=failed(create_request(), NO_IMAGE, attempts=3, seconds_ago=99.0))
        assert decide(later).status == later.object.status
        edited = failed(create_request(generation=7), NO_IMAGE)
        for goals in (edited, ended(create_request()), {}):
            first = decide(observe(cluster, operation=waiting, goals=goals))
            assert message(first.status, Condition.CLUSTER_CREATED).endswith("to be created first.")

    def test_creation_that_has_only_begun_is_not_worth_a_write(self) -> None:
        operation = running_operation(create_request(), step=Reason.PREPARING_NODES, announced=False)
        cluster = kindcluster(
            annotations={**CLAIMED, names.BLOCK_MOVE_ANNOTATION: names.HELD_BY_CREATION}, finalizers=FINALIZER
        )
        assert decide(observe(cluster, operation=operation)) == Plan()

    def test_nothing_else_is_judged_while_a_creation_runs(self) -> None:
        """Nodes appear before their mounts, and one by one."""
        operation = running_operation(create_request(), step=Reason.PREPARING_NODES)
        half_seen = EngineFacts(was_listed=True, exists=True, nodes=(node(mark=None),))
        cluster = kindcluster(annotations={**CLAIMED, names.IDENTITY_ANNOTATION: ""}, finalizers=FINALIZER)
        plan = decide(observe(cluster, engine=half_seen, operation=operation, rival="other/dev"))
        assert condition(plan.status, Condition.CLUSTER_CREATED) == ("False", Reason.PREPARING_NODES)

    def test_failure_is_reported_and_tried_again_later(self) -> None:
        cluster = kindcluster(annotations=CLAIMED, finalizers=FINALIZER)
        goals = failed(create_request(), NO_IMAGE, attempts=3, seconds_ago=1.0)
        plan = decide(observe(cluster, goals=goals))
        assert plan.operation is None
        assert condition(plan.status, Condition.READY) == ("False", Reason.IMAGE_NOT_FOUND)
        assert plan.requeue_seconds == pytest.approx(19.0)
        again = decide(observe(cluster, goals=failed(create_request(), NO_IMAGE, attempts=3, seconds_ago=20.0)))
        assert isinstance(again.operation, Create)

    def test_failure_that_only_an_edit_can_mend_is_not_tried_again(self) -> None:
        wrong = Failure(Reason.INVALID_CONFIG, "kind refuses the configuration.", retry=False)
        goals = failed(create_request(), wrong, seconds_ago=10_000.0)
        plan = decide(observe(kindcluster(annotations=CLAIMED, finalizers=FINALIZER), goals=goals))
        assert plan.operation is None
        assert plan.requeue_seconds is None
        edited = kindcluster(annotations=CLAIMED, finalizers=FINALIZER, generation=2)
        assert isinstance(decide(observe(edited, goals=goals)).operation, Create)

    @pytest.mark.rule("C21")
    def test_each_creation_has_an_attempt_of_its_own_in_claim_and_mark(self) -> None:
        cluster = kindcluster(annotations={**CLAIMED, names.ATTEMPT_ANNOTATION: "4"}, finalizers=FINALIZER)
        plan = decide(observe(cluster))
        assert plan.annotations[names.ATTEMPT_ANNOTATION] == "5"
        assert plan.operation.config["nodes"][0]["extraMounts"][-1]["containerPath"].endswith(f"/{UID}.5")

    def test_failed_clean_up_backs_off_and_says_why(self) -> None:
        cluster = kindcluster(annotations={**CLAIMED, names.IDENTITY_ANNOTATION: ""}, finalizers=FINALIZER)
        goals = failed(removal(Goal.UP), ENGINE_DOWN, attempts=2, seconds_ago=1.0)
        plan = decide(observe(cluster, engine=RUNNING, goals=goals))
        assert plan.operation is None
        assert message(plan.status, Condition.CLUSTER_CREATED) == ENGINE_DOWN.message
        assert plan.requeue_seconds == pytest.approx(9.0)

    def test_nodes_that_a_failed_creation_left_do_not_shorten_the_wait_for_the_next(self) -> None:
        cluster = kindcluster(annotations={**CLAIMED, names.IDENTITY_ANNOTATION: ""}, finalizers=FINALIZER)
        goals = failed(create_request(), NO_IMAGE, attempts=5, seconds_ago=1.0)
        plan = decide(observe(cluster, engine=RUNNING, goals=goals))
        assert plan.operation is None
        assert condition(plan.status, Condition.CLUSTER_CREATED) == ("False", Reason.IMAGE_NOT_FOUND)
        assert plan.requeue_seconds == pytest.approx(79.0)

    def test_refused_claim_is_a_condition_and_nothing_is_made(self) -> None:
        plan = decide(observe(refusals={"claim": "admission webhook says no"}, held_back=frozenset({"claim"})))
        assert plan.operation is None
        assert condition(plan.status, Condition.CLUSTER_CREATED) == ("False", Reason.WRITE_REFUSED)
        assert "admission webhook says no" in message(plan.status, Condition.CLUSTER_CREATED)

    def test_status_names_the_logs_of_a_failure_until_the_cluster_is_up(self) -> None:
        cluster = kindcluster(annotations=CLAIMED, finalizers=FINALIZER)
        seen = observe(cluster, goals=failed(create_request(), NO_IMAGE, logs="/var/capk/failed/dev"))
        reported = apply(seen, decide(seen))
        assert reported.object.status["logs"] == "/var/capk/failed/dev"
        up = decide(replace(reported, goals={}, engine=RUNNING, access=ACCESS))
        assert "logs" not in up.status

    @pytest.mark.parametrize(
        ("path", "allowed", "refused"),
        [
            ("/srv/data", ("/srv",), False),
            ("/srv", ("/srv/",), False),
            ("/srv/../etc", ("/srv",), True),
            ("/srvother", ("/srv",), True),
            ("/etc", (), True),
            ("/etc", ("/",), False),
        ],
    )
    def test_only_allowed_paths_of_the_host_are_mounted(self, path, allowed, refused) -> None:
        mount = {"hostPath": path, "containerPath": "/mnt"}
        cluster = kindcluster({"nodes": [{"role": "control-plane", "extraMounts": [mount]}]})
        plan = decide(observe(cluster, policy=Policy(allowed_host_paths=allowed)))
        assert (plan.operation is None) is refused
        if refused:
            assert condition(plan.status, Condition.CLUSTER_CREATED) == ("False", Reason.INVALID_CONFIG)
            assert "--allowed-host-paths" in message(plan.status, Condition.CLUSTER_CREATED)

    def test_fix_by_the_user_is_tried_at_once(self) -> None:
        cluster = kindcluster(annotations=CLAIMED, finalizers=FINALIZER, generation=2)
        goals = failed(create_request(generation=1), NO_IMAGE, attempts=9)
        assert isinstance(decide(observe(cluster, goals=goals)).operation, Create)

    @pytest.mark.rule("C21")
    def test_version_that_the_control_plane_corrects_is_tried_at_once(self) -> None:
        facts = {"owner": owner_cluster(controlPlaneRef={"kind": "KINDControlPlane", "name": "dev"})}
        observed = observe(kindcluster(owner="dev"), control_plane=control_plane("v1.99.0"), **facts)
        wrong = decide(observed).operation
        assert isinstance(wrong, Create)
        tried = replace(observed, goals=failed(wrong, NO_IMAGE, attempts=9))
        assert decide(tried).operation is None
        right = decide(replace(tried, control_plane=control_plane("v1.36.1"))).operation
        assert isinstance(right, Create)
        assert right.image == "kindest/node:v1.36.1"

    def test_creation_backs_off_and_the_wait_is_bounded(self) -> None:
        def wait(attempt: int) -> float | None:
            goals = failed(create_request(), NO_IMAGE, attempts=attempt)
            return decide(observe(kindcluster(annotations=CLAIMED), goals=goals)).requeue_seconds

        assert [wait(attempt) for attempt in (1, 2, 3)] == [5.0, 10.0, 20.0]
        assert {wait(attempt) for attempt in (7, 50, 10_000)} == {300.0}

    def test_half_made_cluster_is_removed_before_a_new_start(self) -> None:
        cluster = kindcluster(annotations=CLAIMED, finalizers=FINALIZER)
        plan = decide(observe(cluster, engine=RUNNING))
        assert plan.operation == removal(Goal.UP, unless_complete=True)
        assert condition(plan.status, Condition.CLUSTER_CREATED) == ("False", Reason.CLEANING_UP)

    @pytest.mark.rule("C21", "C27")
    @pytest.mark.parametrize("trace", ["identity", "status", "secret"])
    def test_complete_cluster_is_never_taken_for_a_half_made_one(self, trace: str) -> None:
        done = settled()
        cluster = kindcluster(
            annotations=COMPLETE if trace == "identity" else CLAIMED,
            finalizers=FINALIZER,
            status=done.object.status if trace == "status" else None,
        )
        secrets = done.secrets if trace == "secret" else {}
        plan = decide(observe(cluster, engine=RUNNING, secrets=secrets))
        assert plan.operation == ReadAccess("dev")

    @pytest.mark.rule("C21")
    @pytest.mark.parametrize("edit", [{names.CLAIM_ID_ANNOTATION: "another"}, {names.IDENTITY_ANNOTATION: ""}])
    def test_creation_that_status_and_marks_show_complete_is_not_removed(self, edit) -> None:
        engine = EngineFacts(was_listed=True, exists=True, nodes=(node(mark=f"{UID}.4"),))
        status = {"attempt": 4, "initialization": {"provisioned": True}, "clusterName": "dev"}
        cluster = kindcluster(annotations={**COMPLETE, **edit}, finalizers=FINALIZER, status=status)
        assert not isinstance(decide(observe(cluster, alive={"another"}, engine=engine)).operation, Delete)

    @pytest.mark.rule("C21")
    @pytest.mark.parametrize("claim", ["/home/me", "other", None])
    def test_claim_that_was_edited_before_the_first_status_costs_no_complete_cluster(self, claim) -> None:
        """The creation has ended and its identity is stored; the API server has accepted no write since."""
        annotations = {**COMPLETE, **({names.CLAIM_ANNOTATION: claim} if claim else {})}
        if claim is None:
            del annotations[names.CLAIM_ANNOTATION]
        plan = decide(observe(kindcluster(annotations=annotations, finalizers=FINALIZER), engine=RUNNING))
        assert plan.operation == ReadAccess("dev")

    def test_balancer_that_comes_to_light_late_goes_though_the_claim_was_edited(self) -> None:
        balancer = node("dev-external-load-balancer", mark=None, container_id="lb")
        annotations = {**CLAIMED, names.CLAIM_ANNOTATION: "../outside", names.IDENTITY_ANNOTATION: ""}
        going = kindcluster(annotations=annotations, finalizers=FINALIZER, deletionTimestamp="2030-01-01T11:00:00Z")
        request = decide(observe(going, engine=EngineFacts(was_listed=True, exists=True, nodes=(balancer,)))).operation
        assert isinstance(request, Delete)
        assert request.container_ids == {"lb"}

    def test_mark_on_the_nodes_restores_a_claim_that_was_stripped(self) -> None:
        done = settled()
        stripped = kindcluster(finalizers=FINALIZER, status=done.object.status)
        plan = decide(seen_as(done, stripped))
        assert plan.annotations[names.CLAIM_ANNOTATION] == "dev"
        assert condition(plan.status, Condition.CLUSTER_CREATED) == ("True", Reason.CREATED)

    def test_unreachable_engine_starts_nothing(self) -> None:
        plan = decide(observe(engine=EngineFacts(failure=ENGINE_DOWN)))
        assert plan.operation is None
        assert condition(plan.status, Condition.READY) == ("False", Reason.ENGINE_UNREACHABLE)

    def test_control_planes_version_decides_the_node_image(self) -> None:
        owner = owner_cluster(controlPlaneRef={"kind": "KINDControlPlane", "name": "dev"})
        cluster = kindcluster(owner="dev")
        waits = decide(observe(cluster, owner=owner))
        assert condition(waits.status, Condition.CLUSTER_CREATED) == ("False", Reason.WAITING_FOR_CONTROL_PLANE)
        plan = decide(observe(cluster, owner=owner, control_plane=control_plane("v1.35.2")))
        assert plan.operation.image == "kindest/node:v1.35.2"

    def test_contradicting_versions_are_reported(self) -> None:
        owner = owner_cluster(controlPlaneRef={"kind": "KINDControlPlane", "name": "dev"})
        cluster = kindcluster({"kubernetesVersion": "v1.34.1"}, owner="dev")
        plan = decide(observe(cluster, owner=owner, control_plane=control_plane("v1.35.2")))
        assert condition(plan.status, Condition.CLUSTER_CREATED) == ("False", Reason.INVALID_CONFIG)

    @pytest.mark.rule("C22")
    def test_owners_network_reaches_the_kind_configuration(self) -> None:
        owner = owner_cluster(clusterNetwork={"pods": {"cidrBlocks": ["10.1.0.0/16"]}})
        plan = decide(observe(kindcluster(owner="dev"), owner=owner))
        assert plan.operation.config["networking"]["podSubnet"] == "10.1.0.0/16"

    def test_every_node_carries_the_claims_mark(self) -> None:
        spec = {"nodes": [{"role": "control-plane"}, {"role": "worker", "extraMounts": [{"hostPath": "/a"}]}]}
        config = decide(observe(kindcluster(spec))).operation.config
        assert all(node["extraMounts"][-1]["containerPath"].endswith(f"{UID}.1") for node in config["nodes"])

    def test_nodes_without_cni_are_not_waited_for(self) -> None:
        plan = decide(observe(kindcluster({"networking": {"disableDefaultCNI": True}})))
        assert plan.operation.wait_seconds == 0


class TestRunning:
    def test_complete_cluster_gets_secret_then_endpoint_then_status(self) -> None:
        cluster = kindcluster(annotations=CLAIMED, finalizers=FINALIZER)
        plan = decide(observe(cluster, engine=RUNNING, access=ACCESS))
        assert [secret["metadata"]["name"] for secret in plan.secrets] == ["dev-config"]
        assert plan.endpoint == ("127.0.0.1", 40001)
        assert plan.identity == IDENTITY
        assert plan.status["ready"] is True
        assert plan.status["initialization"] == {"provisioned": True}
        assert condition(plan.status, Condition.READY) == ("True", Reason.READY)

    @pytest.mark.rule("C17")
    @pytest.mark.rule("C10", "C13")
    def test_nothing_is_provisioned_before_secret_and_endpoint_are_known(self) -> None:
        """Not after a lost status, when the kubeconfigs are read again; and not while the Secret cannot be written."""
        complete = kindcluster(annotations=COMPLETE, finalizers=FINALIZER)
        unread = observe(complete, engine=RUNNING)
        foreign = replace(unread, access=ACCESS, foreign_secrets=frozenset({"dev-config"}))
        reading = replace(unread, operation=running_operation(ReadAccess("dev")))
        for observed in (reading, foreign):
            status = decide(observed).status
            assert status is not None
            assert not status.get("ready")
            assert "initialization" not in status
        assert decide(unread).operation == ReadAccess("dev")

    def test_message_is_empty_when_ready(self) -> None:
        assert message(settled().object.status, Condition.READY) == ""

    @pytest.mark.rule("C19")
    @pytest.mark.parametrize("owned", [False, True])
    def test_nothing_is_written_once_all_is_well(self, owned: bool) -> None:
        owner = owner_cluster() if owned else None
        done = settled(owner=owner, cluster_api_installed=owned)
        later = replace(done, now=NOW + timedelta(days=3))
        plan = decide(later)
        assert apply(later, plan) == later
        assert plan.operation is None
        assert plan.requeue_seconds is None

    @pytest.mark.rule("C10")
    def test_endpoint_follows_the_mode_and_is_not_changed_later(self) -> None:
        cluster = kindcluster(annotations=CLAIMED, finalizers=FINALIZER)
        internal = Policy(endpoint=EndpointMode.INTERNAL)
        plan = decide(observe(cluster, engine=RUNNING, access=ACCESS, policy=internal))
        assert plan.endpoint == ("dev-control-plane", 6443)
        fixed = kindcluster(
            {"controlPlaneEndpoint": {"host": "10.0.0.1", "port": 1}}, annotations=COMPLETE, finalizers=FINALIZER
        )
        assert decide(observe(fixed, engine=RUNNING, access=ACCESS)).endpoint is None

    @pytest.mark.parametrize(
        ("port", "endpoint", "warns"),
        [
            (-1, ("127.0.0.1", 40001), True),
            (-1, ("127.0.0.1", 40999), False),
            (-1, ("dev-control-plane", 6443), False),
            (0, ("127.0.0.1", 40001), False),
        ],
    )
    def test_endpoint_that_a_changing_port_has_left_behind_is_named(self, port, endpoint, warns) -> None:
        spec = {
            "networking": {"apiServerPort": port},
            "controlPlaneEndpoint": dict(zip(("host", "port"), endpoint, strict=True)),
        }
        there = replace(ACCESS, external_endpoint=("127.0.0.1", 40999))
        seen = settled(kindcluster(spec, annotations=COMPLETE, finalizers=FINALIZER), access=there)
        assert ("https://127.0.0.1:40999" in message(seen.object.status, Condition.CLUSTER_CREATED)) is warns
        assert condition(seen.object.status, Condition.READY) == ("True", Reason.READY)
        # Also when the kubeconfigs have been forgotten.
        assert decide(seen).status == seen.object.status

    @pytest.mark.rule("C14", "C26")
    def test_owned_cluster_keeps_cluster_apis_kubeconfig_secret(self) -> None:
        cluster = kindcluster(annotations=CLAIMED, finalizers=FINALIZER, owner="prod")
        plan = decide(observe(cluster, engine=RUNNING, access=ACCESS, owner=owner_cluster("prod")))
        secret = next(secret for secret in plan.secrets if secret["metadata"]["name"] == "prod-kubeconfig")
        assert secret["type"] == "cluster.x-k8s.io/secret"
        assert secret["metadata"]["labels"]["cluster.x-k8s.io/cluster-name"] == "prod"
        assert secret["metadata"]["ownerReferences"][0]["uid"] == UID

    @pytest.mark.rule("C13")
    def test_kubeconfig_secret_of_the_control_plane_comes_before_provisioned(self) -> None:
        owner = owner_cluster(controlPlaneRef={"kind": "KINDControlPlane", "name": "dev"})
        cluster = kindcluster(annotations=CLAIMED, finalizers=FINALIZER, owner="dev")
        facts = {"engine": RUNNING, "access": ACCESS, "owner": owner, "control_plane": control_plane()}
        waits = decide(observe(cluster, **facts))
        assert waits.status is None
        assert [secret["metadata"]["name"] for secret in waits.secrets] == ["dev-config"]
        assert decide(settled(cluster, **facts)).status["ready"] is True

    @pytest.mark.rule("C15")
    def test_edited_or_deleted_secret_is_read_anew_and_restored(self) -> None:
        done = settled()
        gone = replace(done, secrets={})
        assert decide(gone).operation == ReadAccess("dev")
        assert [secret["metadata"]["name"] for secret in decide(replace(gone, access=ACCESS)).secrets] == ["dev-config"]
        edited = {name: replace(facts, digest="sha256:edited") for name, facts in done.secrets.items()}
        assert decide(replace(done, secrets=edited)).operation == ReadAccess("dev")
        assert decide(replace(done, secrets=edited, access=ACCESS)).secrets

    def test_secret_of_an_earlier_kind_cluster_is_replaced_after_a_restart(self) -> None:
        done, authority = settled(), Authority("another cluster").certificate
        named = base64.b64encode(authority).decode()
        earlier = {name: replace(facts, authority=named) for name, facts in done.secrets.items()}
        assert decide(replace(done, secrets=earlier)).operation == ReadAccess("dev")
        mine = fingerprint(certificates({"authority": named}, "authority"))
        annotations = {**done.object.annotations, names.IDENTITY_ANNOTATION: mine}
        metadata = {**done.object.metadata, "annotations": annotations}
        same = seen_as(done, KINDCluster({**done.object.raw, "metadata": metadata}), secrets=earlier)
        assert decide(same).operation is None

    @pytest.mark.rule("C26")
    def test_kubeconfig_is_read_again_now_and_then_and_ready_all_the_while(self) -> None:
        observed = settled()
        plan = decide(replace(observed, recheck=True))
        assert plan == Plan(operation=ReadAccess("dev"), status=plan.status)
        assert plan.status == observed.object.status
        renewed = replace(observed, recheck=False, access=replace(ACCESS, external="kubeconfig with new certificates"))
        assert [secret["metadata"]["name"] for secret in decide(renewed).secrets] == ["dev-config"]

    def test_secret_without_its_owner_gets_it_back(self) -> None:
        done = settled()
        orphans = {
            name: replace(facts, metadata={**facts.metadata, "ownerReferences": []})
            for name, facts in done.secrets.items()
        }
        assert decide(replace(done, secrets=orphans)).operation == ReadAccess("dev")
        assert decide(replace(done, secrets=orphans, access=ACCESS)).secrets

    @pytest.mark.rule("C8")
    def test_removed_finalizer_is_restored(self) -> None:
        done = settled(kindcluster(annotations=COMPLETE))
        bare = kindcluster(done.object.spec, annotations=COMPLETE, status=done.object.status)
        assert decide(replace(done, object=bare)).add_finalizer

    @pytest.mark.rule("C27")
    def test_lost_status_is_rebuilt(self) -> None:
        done = settled()
        lost = kindcluster(done.object.spec, annotations=COMPLETE, finalizers=FINALIZER)
        seen = replace(done, object=lost)
        assert decide(seen).operation == ReadAccess("dev")
        rebuilt = decide(replace(seen, access=ACCESS)).status
        assert rebuilt["initialization"] == {"provisioned": True}
        assert rebuilt["endpoints"] == done.object.status["endpoints"]

    def test_stopped_nodes_are_started(self) -> None:
        stopped = EngineFacts(was_listed=True, exists=True, nodes=(node(running=False),))
        plan = decide(replace(settled(), engine=stopped))
        assert plan.operation == StartNodes("dev", ("dev-control-plane",), container_ids=frozenset({"c1"}))
        assert condition(plan.status, Condition.READY) == ("False", Reason.STARTING_NODES)
        assert plan.status["initialization"] == {"provisioned": True}

    @pytest.mark.rule("C21")
    def test_stopped_container_of_someone_else_in_the_cluster_is_not_started(self) -> None:
        """Anyone may label a container with the name of our kind cluster."""
        theirs = node("other-worker", mark=None, running=False, container_id="c2")
        mixed = EngineFacts(was_listed=True, exists=True, nodes=(node(running=False), theirs))
        request = decide(replace(settled(), engine=mixed)).operation
        assert request == StartNodes("dev", ("dev-control-plane",), container_ids=frozenset({"c1"}))

    def test_restarted_cluster_is_not_ready_before_it_answers(self) -> None:
        observed = settled()
        again = replace(observed, engine=replace(RUNNING, restarted=True))
        plan = decide(again)
        assert plan.operation == ReadAccess("dev", await_answer=True)
        assert plan.status is not None
        assert condition(plan.status, Condition.NODES_RUNNING) == ("False", Reason.STARTING_NODES)
        assert condition(plan.status, Condition.READY) == ("False", Reason.STARTING_NODES)
        under_way = replace(apply(again, plan), operation=running_operation(plan.operation))
        assert decide(under_way).operation is None
        answered = decide(replace(under_way, engine=RUNNING, operation=None))
        assert answered.status is not None
        assert condition(answered.status, Condition.READY) == ("True", Reason.READY)

    def test_deleted_cluster_is_missing_and_not_recreated(self) -> None:
        plan = decide(replace(settled(), engine=NOTHING_THERE))
        assert plan.operation is None
        assert condition(plan.status, Condition.READY) == ("False", Reason.MISSING)
        assert plan.status["initialization"] == {"provisioned": True}

    def test_deleted_cluster_is_recreated_when_asked_for(self) -> None:
        done = settled(kindcluster({"recreatePolicy": "Always"}, annotations=COMPLETE, finalizers=FINALIZER))
        plan = decide(replace(done, engine=NOTHING_THERE))
        assert isinstance(plan.operation, Create)
        assert plan.annotations[names.IDENTITY_ANNOTATION] == ""

    @pytest.mark.rule("C21")
    def test_half_made_recreation_is_cleaned_up_though_a_cluster_was_complete_before(self) -> None:
        done = settled(kindcluster({"recreatePolicy": "Always"}, annotations=COMPLETE, finalizers=FINALIZER))
        begun = apply(done, decide(replace(done, engine=NOTHING_THERE)))
        assert begun.object.is_provisioned
        assert begun.secrets
        # The provider was killed: the nodes exist, but the operation is unknown.
        there = replace(RUNNING, nodes=(node(mark=f"{UID}.1"),))
        left = decide(replace(begun, engine=there, operation=None, access=None)).operation
        assert left == removal(Goal.UP, up_to_attempt=1, unless_complete=True)
        assert isinstance(decide(replace(begun, engine=NOTHING_THERE, operation=None)).operation, Create)

    @pytest.mark.rule("C10")
    @pytest.mark.parametrize("networking", [{}, {"apiServerPort": 0}])
    def test_recreated_cluster_keeps_the_port_of_its_endpoint(self, networking) -> None:
        spec = {"recreatePolicy": "Always", "networking": networking}
        done = settled(kindcluster(spec, annotations=COMPLETE, finalizers=FINALIZER))
        plan = decide(replace(done, engine=NOTHING_THERE))
        assert plan.operation.config["networking"]["apiServerPort"] == ACCESS.external_endpoint[1]


class TestEditedClaim:
    """Cluster API was installed after the kind cluster was made without an owner."""

    @pytest.mark.parametrize("others", [(), (node("dev-worker", mark=None),)], ids=["alone", "beside another node"])
    def test_cluster_that_stands_does_not_wait_for_an_owner(self, others) -> None:
        done = settled()
        annotations = {**done.object.annotations, names.CLAIM_ANNOTATION: "../outside"}
        edited = kindcluster({}, annotations=annotations, finalizers=FINALIZER, status=done.object.status)
        engine = EngineFacts(was_listed=True, exists=True, nodes=(node(), *others))
        plan = decide(seen_as(done, edited, engine=engine, claim=None, cluster_api_installed=True))
        assert condition(plan.status or edited.status, Condition.CLUSTER_CREATED)[1] != Reason.WAITING_FOR_CLUSTER


class TestHealth:
    DEAD = HealthFacts(answers=False, reached=True, said="HTTP 500: [-]etcd failed")

    @pytest.mark.rule("C17")
    def test_ready_is_what_the_api_server_answers(self) -> None:
        done = settled()
        dead = replace(done, health=self.DEAD)
        status = decide(dead).status
        assert condition(status, Condition.READY) == ("False", Reason.NOT_ANSWERING)
        assert "HTTP 500: [-]etcd failed" in message(status, Condition.READY)
        assert status["initialization"] == {"provisioned": True}
        assert isinstance(decide(dead).operation, RenewKubelets)
        silent = apply(dead, decide(dead))
        back = decide(replace(silent, health=HealthFacts(answers=True, reached=True))).status
        assert condition(back, Condition.READY) == ("True", Reason.READY)

    def test_silent_api_server_behind_a_load_balancer_may_need_a_newer_kind(self) -> None:
        balancer = node("dev-external-load-balancer", mark=None)
        several = EngineFacts(was_listed=True, exists=True, nodes=(node(), node("dev-control-plane2"), balancer))
        dead = decide(replace(settled(engine=several), health=self.DEAD)).status
        assert "kind v0.32 or earlier" in message(dead, Condition.READY)
        assert "load balancer" not in message(decide(replace(settled(), health=self.DEAD)).status, Condition.READY)

    def test_kubeconfig_is_read_where_only_it_tells_whom_to_ask(self) -> None:
        """After a restart of the provider, without a list of containers."""
        blind = EngineFacts(was_listed=True, exists=True, nodes=None, lists_nodes=False)
        done = replace(settled(), engine=blind)
        assert decide(replace(done, health=HealthFacts(is_watched=False))).operation == ReadAccess("dev")
        assert decide(done).operation is None
        assert decide(replace(settled(), health=HealthFacts(is_watched=False))).operation is None

    def test_kubeconfig_is_read_again_when_the_api_server_is_back(self) -> None:
        """Its etcd may have come back empty, and nothing else shows that where the engine cannot list containers."""
        dead = replace(settled(), health=self.DEAD)
        back = replace(apply(dead, decide(dead)), health=HealthFacts(answers=True, reached=True))
        assert decide(back).operation == ReadAccess("dev")

    def test_edited_identity_is_corrected_where_the_marks_prove_the_cluster(self) -> None:
        done = settled()
        edited = kindcluster(
            done.object.spec,
            annotations={**done.object.annotations, names.IDENTITY_ANNOTATION: "sha256:0000"},
            finalizers=FINALIZER,
            status=done.object.status,
        )
        assert decide(seen_as(done, edited, access=ACCESS)).identity == IDENTITY

    def test_edited_identity_does_not_hide_a_loss_of_data(self) -> None:
        """The marks prove the creation that the status describes: the identity is what was edited."""
        cluster = kindcluster(annotations={**COMPLETE, names.ATTEMPT_ANNOTATION: "1"}, finalizers=FINALIZER)
        done = settled(cluster, engine=EngineFacts(was_listed=True, exists=True, nodes=(node(mark=f"{UID}.1"),)))
        assert done.object.completed_attempt == 1
        annotations = {**done.object.annotations, names.IDENTITY_ANNOTATION: "sha256:0000"}
        edited = kindcluster(annotations=annotations, finalizers=FINALIZER, status=done.object.status)
        other = replace(ACCESS, kube_system_uid="0c1e3c1e-0000-4000-8000-00000000000f")
        plan = decide(seen_as(done, edited, access=other))
        assert plan.kube_system_uid is None
        assert names.KUBE_SYSTEM_ANNOTATION not in plan.annotations
        assert condition(plan.status, Condition.CLUSTER_CREATED) == ("False", Reason.DATA_LOST)

    def test_verdict_outlives_a_restart_of_the_provider(self) -> None:
        dead = replace(settled(), health=self.DEAD)
        again = replace(apply(dead, decide(dead)), health=HealthFacts())
        assert condition(decide(again).status, Condition.READY) == ("False", Reason.NOT_ANSWERING)

    def test_api_server_that_was_reached_before_a_move_is_dead_when_it_does_not_answer(self) -> None:
        """The status is not moved with the object, but the facts from its etcd are."""
        moved = kindcluster(
            annotations={**COMPLETE, names.KUBE_SYSTEM_ANNOTATION: ACCESS.kube_system_uid}, finalizers=FINALIZER
        )
        seen = observe(moved, engine=RUNNING, access=replace(ACCESS, answered=False, kube_system_uid=None))
        assert condition(decide(seen).status, Condition.READY)[0] == "False"
        dead = replace(seen, health=HealthFacts(answers=False, said="no answer within 3 s"))
        found = decide(dead).status
        assert condition(found, Condition.API_SERVER_AVAILABLE) == ("False", Reason.NOT_ANSWERING)

    def test_load_balancer_beside_a_strangers_node_is_started_with_the_control_planes(self) -> None:
        balancer = node("dev-external-load-balancer", mark=None, running=False)
        theirs = node("dev-worker", mark=None, running=False)
        mixed = EngineFacts(was_listed=True, exists=True, nodes=(node(), balancer, theirs))
        request = decide(replace(settled(), engine=mixed)).operation
        assert request == StartNodes("dev", (balancer.name,), container_ids=frozenset({"c1"}))

    @pytest.mark.parametrize("running", [True, False])
    def test_control_plane_of_a_stranger_does_not_make_up_for_the_own_one(self, running: bool) -> None:
        theirs = node(mark=None, running=running)
        mixed = EngineFacts(was_listed=True, exists=True, nodes=(theirs, node("dev-worker")))
        plan = decide(replace(settled(), engine=mixed))
        assert plan.operation is None
        assert condition(plan.status, Condition.READY) == ("False", Reason.MISSING)

    def test_api_server_that_was_never_reached_leaves_readiness_to_the_engine(self) -> None:
        unreached = replace(ACCESS, answered=False, kube_system_uid=None)
        observed = settled(access=unreached, health=HealthFacts(answers=False, said="no answer within 3 s"))
        status = observed.object.status
        assert condition(status, Condition.API_SERVER_AVAILABLE) == ("Unknown", Reason.NOT_REACHABLE)
        assert condition(status, Condition.READY) == ("True", Reason.READY)
        assert "no answer within 3 s" in message(status, Condition.API_SERVER_AVAILABLE)

    @pytest.mark.rule("C19")
    def test_nothing_is_written_while_the_answer_stays_the_same(self) -> None:
        for health in (HealthFacts(answers=True, reached=True), self.DEAD):
            seen = replace(settled(), health=health)
            seen = apply(seen, decide(seen))
            assert apply(seen, decide(seen)) == seen

    @pytest.mark.parametrize("uid", ["0c1e3c1e-0000-4000-8000-00000000000f", ""])
    def test_etcd_that_came_back_empty_is_data_loss(self, uid) -> None:
        other = replace(ACCESS, kube_system_uid=uid)
        seen = replace(settled(), access=other)
        lost = apply(seen, decide(seen))
        assert condition(lost.object.status, Condition.READY) == ("False", Reason.DATA_LOST)
        # Also when the kubeconfigs have been forgotten, and after a restart of the provider.
        forgotten = decide(replace(lost, access=None))
        assert forgotten.operation is None
        assert condition(forgotten.status, Condition.READY) == ("False", Reason.DATA_LOST)

    @pytest.mark.parametrize("access", [None, ACCESS])
    def test_data_in_doubt_is_asked_for_once_more_and_nothing_is_written(self, access) -> None:
        done = settled()
        doubted = replace(done, access=access, health=HealthFacts(answers=True, reached=True, is_doubted=True))
        plan = decide(doubted)
        assert plan.operation == ReadAccess("dev")
        assert apply(doubted, plan).object.status == apply(done, decide(done)).object.status

    def test_data_in_doubt_is_not_asked_for_where_it_was_never_known(self) -> None:
        never = settled(access=replace(ACCESS, kube_system_uid=None))
        doubted = replace(never, health=HealthFacts(answers=True, reached=True, is_doubted=True))
        assert decide(doubted).operation is None

    @pytest.mark.parametrize("uid", ["0c1e3c1e-0000-4000-8000-00000000000f", ""])
    def test_cluster_without_its_data_is_made_again_where_the_user_wants_that(self, uid) -> None:
        cluster = kindcluster({"recreatePolicy": "Always"}, annotations=COMPLETE, finalizers=FINALIZER)
        seen = replace(settled(cluster), access=replace(ACCESS, kube_system_uid=uid))
        plan = decide(seen)
        assert plan.operation == removal(Goal.UP)
        assert plan.annotations[names.IDENTITY_ANNOTATION] == ""
        begun = replace(apply(seen, plan), engine=NOTHING_THERE, access=None)
        assert isinstance(decide(begun).operation, Create)

    def test_cluster_without_its_data_that_could_not_be_removed_is_not_taken_for_a_complete_one(self) -> None:
        cluster = kindcluster({"recreatePolicy": "Always"}, annotations=COMPLETE, finalizers=FINALIZER)
        other = replace(ACCESS, kube_system_uid="0c1e3c1e-0000-4000-8000-00000000000f")
        marked = EngineFacts(was_listed=True, exists=True, nodes=(node(mark=f"{UID}.1"),))
        seen = replace(settled(cluster, engine=marked), access=other)
        assert seen.object.status["attempt"] == 1
        seen = apply(seen, decide(seen))
        plan = decide(seen)
        begun = apply(seen, plan)
        stuck = replace(begun, operation=None, goals=failed(plan.operation, ENGINE_DOWN))
        for _ in range(3):
            stuck = apply(stuck, (again := decide(stuck)))
            assert again.operation is None
            assert condition(stuck.object.status, Condition.READY)[0] == "False"
            assert again.requeue_seconds is None or again.requeue_seconds > 0
        later = replace(stuck, goals={})
        assert isinstance(decide(later).operation, Delete)

    def test_removal_of_a_cluster_without_its_data_is_begun_again_after_a_restart(self) -> None:
        """Its remains must not look complete: its API server answers, but nothing else works."""
        numbered = {**COMPLETE, names.ATTEMPT_ANNOTATION: "1"}
        cluster = kindcluster({"recreatePolicy": "Always"}, annotations=numbered, finalizers=FINALIZER)
        engine = EngineFacts(was_listed=True, exists=True, nodes=(node(mark=f"{UID}.1"),))
        seen = settled(cluster, engine=engine)
        assert seen.object.completed_attempt == 1
        seen = replace(seen, access=replace(ACCESS, kube_system_uid="0c1e3c1e-0000-4000-8000-00000000000f"))
        assert decide(seen).operation is None
        seen = apply(seen, decide(seen))
        plan = decide(seen)
        assert isinstance(plan.operation, Delete)
        after = replace(apply(seen, plan), access=None)
        assert isinstance(decide(after).operation, Delete)

    def test_condition_that_is_older_than_the_cluster_removes_nothing(self) -> None:
        """The API server was unavailable during the new creation: the last status is that of the lost cluster."""
        cluster = kindcluster({"recreatePolicy": "Always"}, annotations=COMPLETE, finalizers=FINALIZER)
        done = settled(cluster)
        other = replace(done, access=replace(ACCESS, kube_system_uid="0c1e3c1e-0000-4000-8000-00000000000f"))
        begun = apply(other, decide(other))
        begun = replace(begun, engine=NOTHING_THERE, access=None)
        begun = apply(begun, decide(begun))
        made = replace(begun, engine=RUNNING, made="sha256:bbbb")
        plan = decide(made)
        assert plan.operation == ReadAccess("dev")
        assert plan.identity == "sha256:bbbb"

    def test_condition_is_asked_again_before_anything_is_removed(self) -> None:
        cluster = kindcluster({"recreatePolicy": "Always"}, annotations=COMPLETE, finalizers=FINALIZER)
        done = settled(cluster)
        verdict = {"type": Condition.CLUSTER_CREATED, "status": "False", "reason": Reason.DATA_LOST, "message": ""}
        kept = [one for one in done.object.conditions if one["type"] != Condition.CLUSTER_CREATED]
        times = {"lastTransitionTime": "2030-01-01T00:00:00Z", "observedGeneration": 1}
        status = {**done.object.status, "conditions": [*kept, {**verdict, **times}]}
        forged = seen_as(done, KINDCluster({**done.object.raw, "status": status}))
        assert decide(forged).operation == ReadAccess("dev")
        plan = decide(replace(forged, access=ACCESS))
        assert plan.operation is None
        assert condition(plan.status, Condition.CLUSTER_CREATED) == ("True", Reason.CREATED)

    def test_cluster_that_an_object_of_a_backup_does_not_know_is_not_removed(self) -> None:
        """Its certificate authority differs too, because it was created after the backup."""
        cluster = kindcluster({"recreatePolicy": "Always"}, annotations=COMPLETE, finalizers=FINALIZER)
        later = replace(ACCESS, fingerprint="sha256:later", kube_system_uid="0c1e3c1e-0000-4000-8000-00000000000f")
        seen = replace(settled(cluster), access=later)
        for _ in range(4):
            plan = decide(seen)
            assert not isinstance(plan.operation, Delete)
            seen = apply(seen, plan)
        assert seen.object.identity == "sha256:later"
        assert seen.object.kube_system_uid == later.kube_system_uid


def test_lone_load_balancer_is_not_removed_while_another_object_comes_first_for_the_name() -> None:
    """Its nodes may be about to appear."""
    engine = EngineFacts(was_listed=True, exists=True, nodes=(node("dev-external-load-balancer", mark=None),))
    cluster = kindcluster(annotations={**CLAIMED, names.IDENTITY_ANNOTATION: ""}, finalizers=FINALIZER)
    seen = observe(cluster, engine=engine, rival="other/dev")
    assert decide(seen).operation is None
    going = kindcluster(annotations=cluster.annotations, finalizers=FINALIZER, deletionTimestamp="2030-01-01T11:00:00Z")
    removal = decide(seen_as(seen, going)).operation
    assert isinstance(removal, Delete)
    assert removal.container_ids == frozenset(), "only what comes to light with its own mark goes"


class TestRefusals:
    def test_refused_secret_is_a_condition_with_the_servers_words(self) -> None:
        seen = observe(
            kindcluster(annotations=COMPLETE, finalizers=FINALIZER),
            engine=RUNNING,
            access=ACCESS,
            refusals={"secret dev-config": "exceeded quota: secrets=10"},
            held_back=frozenset({"secret dev-config"}),
        )
        plan = decide(seen)
        assert plan.secrets == ()
        assert condition(plan.status, Condition.KUBECONFIG_AVAILABLE) == ("False", Reason.WRITE_REFUSED)
        assert "exceeded quota: secrets=10" in message(plan.status, Condition.READY)
        assert "initialization" not in plan.status

    def test_refused_endpoint_is_a_condition_and_nothing_is_provisioned(self) -> None:
        cluster = kindcluster(annotations=COMPLETE, finalizers=FINALIZER)
        plan = decide(
            observe(
                cluster,
                engine=RUNNING,
                access=ACCESS,
                refusals={"endpoint": "immutable"},
                held_back=frozenset({"endpoint"}),
            )
        )
        assert plan.endpoint is None
        assert condition(plan.status, Condition.READY) == ("False", Reason.WRITE_REFUSED)
        assert "initialization" not in plan.status

    def test_complete_cluster_lives_though_its_kubeconfig_could_not_be_read(self) -> None:
        """One transient failure after a creation of minutes."""
        cluster = kindcluster(annotations={**CLAIMED, names.IDENTITY_ANNOTATION: ""}, finalizers=FINALIZER)
        unread = observe(cluster, engine=RUNNING, made=names.UNREAD, goals=failed(ReadAccess("dev"), ENGINE_DOWN))
        plan = decide(unread)
        assert plan.identity == names.UNREAD
        assert plan.operation is None
        assert plan.requeue_seconds == pytest.approx(5.0)
        assert condition(plan.status, Condition.KUBECONFIG_AVAILABLE) == ("False", Reason.KUBECONFIG_UNAVAILABLE)
        stored = apply(unread, plan)
        assert decide(replace(stored, made=None, goals={})).operation == ReadAccess("dev")
        assert decide(replace(stored, made=None, access=ACCESS)).identity == IDENTITY

    @pytest.mark.rule("C13")
    def test_foreign_kubeconfig_secret_ends_the_wait_for_the_control_plane(self) -> None:
        owner = owner_cluster(controlPlaneRef={"kind": "KINDControlPlane", "name": "dev"})
        cluster = kindcluster(annotations=COMPLETE, finalizers=FINALIZER, owner="dev")
        facts = {"engine": RUNNING, "access": ACCESS, "owner": owner, "control_plane": control_plane()}
        plan = decide(observe(cluster, **facts, foreign_secrets=frozenset({"dev-kubeconfig"})))
        assert condition(plan.status, Condition.READY) == ("False", Reason.NAME_CONFLICT)
        assert plan.requeue_seconds is not None

    @pytest.mark.rule("C19")
    @pytest.mark.parametrize("state", ["missing", "paused"])
    def test_secret_that_nobody_writes_is_named_and_does_not_make_the_object_flap(self, state) -> None:
        owner = owner_cluster(controlPlaneRef={"kind": "KINDControlPlane", "name": "dev"})
        paused = control_plane(annotations={names.PAUSED_ANNOTATION: ""})
        cluster = kindcluster(annotations=COMPLETE, finalizers=FINALIZER, owner="dev")
        facts = {"owner": owner, "control_plane": paused if state == "paused" else None}
        seen = observe(cluster, engine=RUNNING, access=ACCESS, **facts)
        done = replace(apply(seen, decide(seen)), access=None)
        plan = decide(done)
        assert plan.operation is None
        assert apply(done, plan) == done
        assert condition(plan.status, Condition.KUBECONFIG_AVAILABLE) == ("False", Reason.WAITING_FOR_CONTROL_PLANE)

    @pytest.mark.rule("C19")
    def test_refusal_stands_until_it_is_accepted_or_someone_else_has_written_it(self) -> None:
        """Between two tries there is no new information, so the message stays."""
        waiting = observe(
            kindcluster(annotations=COMPLETE, finalizers=FINALIZER),
            engine=RUNNING,
            refusals={"secret dev-config": "no"},
        )
        reading = replace(waiting, operation=running_operation(ReadAccess("dev")))
        assert condition(decide(reading).status, Condition.READY) == ("False", Reason.WRITE_REFUSED)
        there = replace(settled(), refusals={"secret dev-config": "no", "endpoint": "no", "identity": "no"})
        assert condition(decide(there).status, Condition.READY) == ("True", Reason.READY)

    def test_secret_that_something_else_changes_each_time_is_named(self) -> None:
        plan = decide(replace(settled(), contested=frozenset({"secret dev-config"})))
        assert condition(plan.status, Condition.READY) == ("False", Reason.CONTESTED)
        assert "Secret dev-config" in message(plan.status, Condition.READY)

    def test_kindcluster_shows_what_is_refused_to_its_control_plane(self) -> None:
        owner = owner_cluster(controlPlaneRef={"kind": "KINDControlPlane", "name": "dev"})
        cluster = kindcluster(annotations=COMPLETE, finalizers=FINALIZER, owner="dev")
        facts = {"engine": RUNNING, "access": ACCESS, "owner": owner, "control_plane": control_plane()}
        plan = decide(observe(cluster, **facts, refusals={"secret dev-kubeconfig": "exceeded quota"}))
        assert condition(plan.status, Condition.READY) == ("False", Reason.WRITE_REFUSED)
        assert "exceeded quota" in message(plan.status, Condition.READY)


class TestSeveralControlPlanes:
    NAMES = ("dev-external-load-balancer", "dev-control-plane", "dev-control-plane2", "dev-control-plane3")
    ADDRESSES = ("172.18.0.5", "172.18.0.10", "172.18.0.2", "172.18.0.9")
    MARK = node().mark
    SWAPPED = ("172.18.0.5", "172.18.0.2", "172.18.0.10", "172.18.0.9")

    def nodes(self, addresses=ADDRESSES, *, running=True):
        return tuple(
            node(name, address=address if running else "", running=running, container_id=name)
            for name, address in zip(self.NAMES, addresses, strict=True)
        )

    def engine(self, *args, restarted=False, **kwargs):
        return EngineFacts(was_listed=True, exists=True, nodes=self.nodes(*args, **kwargs), restarted=restarted)

    def test_stopped_nodes_start_in_the_order_of_the_addresses_that_they_had(self) -> None:
        done = settled(engine=self.engine())
        stopped = replace(done, engine=self.engine(running=False), health=HealthFacts())
        request = decide(stopped).operation
        assert isinstance(request, StartNodes)
        assert request.nodes == (self.NAMES[2], self.NAMES[0], self.NAMES[3], self.NAMES[1])
        assert request.addresses == dict(zip(self.NAMES[1:], self.ADDRESSES[1:], strict=True))
        assert request.preferred == {self.NAMES[0]: self.ADDRESSES[0]}
        assert request.stop == ()

    def test_stopped_nodes_get_the_addresses_that_were_seen_though_no_status_could_be_stored(self) -> None:
        seen = first_addresses(self.engine(), self.MARK)
        assert seen == dict(zip(self.NAMES[1:], self.ADDRESSES[1:], strict=True))
        lost = self.moved(first_addresses=seen, health=HealthFacts(answers=False, reached=True))
        request = decide(lost).operation
        assert isinstance(request, StartNodes)
        assert request.stop == (self.NAMES[1], self.NAMES[2])
        assert request.addresses == {name: seen[name] for name in (self.NAMES[1], self.NAMES[2])}

    @pytest.mark.parametrize("facts", [{"running": False}, {"restarted": True}])
    def test_addresses_of_nodes_that_may_have_been_restarted_are_not_taken_for_their_first_ones(self, facts) -> None:
        assert first_addresses(self.engine(**facts), self.MARK) == {}

    def test_first_addresses_are_those_of_several_control_planes_of_that_creation(self) -> None:
        assert first_addresses(self.engine(), Mark(UID, 2)) == {}
        assert first_addresses(RUNNING, self.MARK) == {}

    def test_addresses_are_remembered_while_the_nodes_are_stopped(self) -> None:
        done = settled(engine=self.engine())
        stopped = replace(done, engine=self.engine(running=False))
        later = apply(stopped, decide(stopped))
        assert [one["address"] for one in later.object.status["nodes"]] == [
            one["address"] for one in done.object.status["nodes"]
        ]

    def test_nodes_that_came_back_with_each_others_addresses_are_started_again_in_order(self) -> None:
        done = settled(engine=self.engine())
        wrong = replace(done, engine=self.engine(self.SWAPPED, restarted=True))
        request = decide(wrong).operation
        assert isinstance(request, StartNodes)
        assert request.stop == (self.NAMES[1], self.NAMES[2])
        assert request.nodes == (self.NAMES[2], self.NAMES[1])

    def test_quorum_that_answers_is_left_alone_and_proves_no_address(self) -> None:
        """Two have exchanged their addresses: one of them and the third form a quorum, which answers."""
        done = settled(engine=self.engine())
        moved = replace(done, engine=self.engine(self.SWAPPED), health=HealthFacts(answers=True))
        plan = decide(moved)
        assert plan.operation is None
        assert [one["address"] for one in plan.status["nodes"]] == [
            one["address"] for one in done.object.status["nodes"]
        ]

    @pytest.mark.parametrize("health", [HealthFacts(), HealthFacts(answers=False, reached=True)])
    def test_addresses_count_after_a_restart_of_the_provider_where_nothing_answers(self, health) -> None:
        """The machine was restarted with the provider, which has not noticed the restart of the nodes."""
        silent = replace(ACCESS, answered=False)
        done = settled(engine=self.engine())
        rebooted = replace(done, engine=self.engine(self.SWAPPED), health=health, access=silent)
        request = decide(rebooted).operation
        assert isinstance(request, StartNodes)
        assert request.nodes == (self.NAMES[2], self.NAMES[1])

    def test_quorum_is_asked_before_it_is_stopped_after_a_restart_of_the_provider(self) -> None:
        """A quorum may go on working: nothing shows whether the machine was restarted too."""
        done = settled(engine=self.engine())
        unasked = replace(done, engine=self.engine(self.SWAPPED), health=HealthFacts(), access=None)
        plan = decide(unasked)
        assert plan.operation == ReadAccess("dev")
        assert condition(plan.status, Condition.READY) == ("True", Reason.READY)
        under_way = replace(unasked, operation=running_operation(plan.operation))
        assert decide(under_way).operation is None
        assert decide(replace(unasked, access=ACCESS)).operation is None
        kubeconfig = Failure(Reason.KUBECONFIG_UNAVAILABLE, "no kubeconfig")
        assert isinstance(decide(replace(unasked, goals=failed(plan.operation, kubeconfig))).operation, StartNodes)

    def test_balancer_makes_room_for_the_control_plane_whose_address_it_got(self) -> None:
        done = settled(engine=self.engine())
        balancer, first, second, third = self.ADDRESSES
        wrong = replace(done, engine=self.engine((second, first, balancer, third), restarted=True))
        request = decide(wrong).operation
        assert isinstance(request, StartNodes)
        assert request.stop == (self.NAMES[2], self.NAMES[0])
        assert request.nodes == (self.NAMES[2], self.NAMES[0])

    MOVED = kindcluster(
        annotations={**COMPLETE, names.KUBE_SYSTEM_ANNOTATION: ACCESS.kube_system_uid}, finalizers=FINALIZER
    )
    SILENT = HealthFacts(answers=False, reached=True, said="connection refused")

    def moved(self, cluster=MOVED, **facts):
        """A move has lost the status, and a reboot came before the next one."""
        silent = {"access": replace(ACCESS, answered=False), "health": self.SILENT}
        return observe(cluster, **{"engine": self.engine(self.SWAPPED), **silent, **facts})

    def test_addresses_after_a_restart_that_a_move_has_hidden_are_not_noted_as_the_right_ones(self) -> None:
        plan = decide(self.moved())
        assert [one["address"] for one in plan.status["nodes"]] == [""] * 3 + ["172.18.0.5"]
        works = self.moved(access=ACCESS, health=HealthFacts(answers=True))
        assert [one["address"] for one in decide(works).status["nodes"]] == [*self.SWAPPED[1:], self.SWAPPED[0]]
        never = self.moved(kindcluster(annotations=COMPLETE, finalizers=FINALIZER), health=HealthFacts(answers=False))
        assert [one["address"] for one in decide(never).status["nodes"]] == [*self.SWAPPED[1:], self.SWAPPED[0]]

    def test_addresses_of_what_has_answered_this_process_are_doubted_though_no_status_could_be_stored(self) -> None:
        unstored = kindcluster(annotations=COMPLETE, finalizers=FINALIZER)
        plan = decide(self.moved(unstored, health=HealthFacts(answers=False, reached=True)))
        assert [one["address"] for one in plan.status["nodes"]] == [""] * 3 + ["172.18.0.5"]

    def test_silent_nodes_whose_addresses_are_lost_give_way_to_another_kind_cluster(self) -> None:
        request = decide(self.moved(needed_by_others=frozenset({"172.18.0.2", "172.18.0.5"}))).operation
        assert isinstance(request, StartNodes)
        assert request.stop == (self.NAMES[1], self.NAMES[0])
        assert request.addresses == {}

    @pytest.mark.parametrize(
        "facts",
        [
            {"access": ACCESS, "health": HealthFacts(answers=True)},
            {
                "cluster": kindcluster(annotations=COMPLETE, finalizers=FINALIZER),
                "health": HealthFacts(answers=False),
            },
        ],
        ids=["it answers", "nobody has ever reached it"],
    )
    def test_nodes_that_may_work_keep_an_address_that_another_kind_cluster_needs(self, facts) -> None:
        plan = decide(self.moved(**facts, needed_by_others=frozenset(self.SWAPPED)))
        assert not isinstance(plan.operation, StartNodes)

    def test_nodes_that_have_just_restarted_are_asked_before_they_give_way(self) -> None:
        engine = self.engine(self.SWAPPED, restarted=True)
        asked = decide(self.moved(engine=engine, needed_by_others=frozenset(self.SWAPPED))).operation
        assert asked == ReadAccess("dev", await_answer=True)

    def test_addresses_of_a_creation_that_ends_in_a_pause_are_noted(self) -> None:
        annotations = {**COMPLETE, names.ATTEMPT_ANNOTATION: "1", names.PAUSED_ANNOTATION: ""}
        paused = observe(kindcluster(annotations=annotations), engine=self.engine(), completed=1)
        status = decide(paused).status
        assert status["attempt"] == 1
        assert [one["address"] for one in status["nodes"]] == [*self.ADDRESSES[1:], self.ADDRESSES[0]]
        # They are not noted again: a restart may have changed them.
        later = replace(apply(paused, decide(paused)), engine=self.engine(self.SWAPPED))
        assert decide(later).status == status
        stopped = replace(paused, engine=self.engine(running=False))
        assert "nodes" not in decide(stopped).status

    def test_addresses_of_a_cluster_that_lost_its_data_are_forgotten_with_it(self) -> None:
        again = kindcluster({"recreatePolicy": "Always"}, annotations=COMPLETE, finalizers=FINALIZER)
        done = settled(again, engine=self.engine())
        lost = replace(done, access=replace(ACCESS, kube_system_uid="0c1e3c1e-0000-4000-8000-00000000000f"))
        assert "nodes" not in decide(lost).status

    def test_taken_address_is_named(self) -> None:
        taken = Failure(Reason.ADDRESS_TAKEN, "dev-control-plane needs its former address 172.18.0.10.")
        done = settled(engine=self.engine())
        stopped = replace(done, engine=self.engine(running=False))
        request = decide(stopped).operation
        plan = decide(replace(stopped, goals=failed(request, taken)))
        assert plan.operation is None
        assert condition(plan.status, Condition.READY) == ("False", Reason.ADDRESS_TAKEN)
        assert taken.message in message(plan.status, Condition.READY)

    def test_node_that_stops_again_and_again_is_started_at_longer_intervals(self) -> None:
        done = settled(engine=self.engine())
        stopped = replace(done, engine=self.engine(running=False))
        request = decide(stopped).operation
        again = decide(replace(stopped, goals=ended(request, attempts=4, seconds_ago=1.0)))
        assert again.operation is None
        assert again.requeue_seconds == pytest.approx(39.0)


class TestDeletion:
    GOING = kindcluster(annotations=COMPLETE, finalizers=FINALIZER, deletionTimestamp="2030-01-01T11:00:00Z")

    @pytest.mark.rule("C23")
    def test_kind_cluster_goes_first_then_secrets_and_finalizer(self) -> None:
        done = settled()
        going = seen_as(done, self.GOING)
        plan = decide(going)
        assert plan.operation == removal(Goal.GONE)
        assert not plan.remove_finalizer
        assert condition(plan.status, Condition.READY) == ("False", Reason.DELETING)
        last = decide(replace(going, engine=NOTHING_THERE))
        assert list(last.delete_secrets) == ["dev-config"]
        assert last.remove_finalizer

    @pytest.mark.rule("C23")
    def test_deletion_awaits_late_containers_of_a_creation_whatever_the_identity_holds(self) -> None:
        """The identity is an annotation. Someone may edit it before the creation is complete."""
        annotations = {**COMPLETE, names.ATTEMPT_ANNOTATION: "1", names.IDENTITY_ANNOTATION: "sha256:0000"}
        going = kindcluster(annotations=annotations, finalizers=FINALIZER, deletionTimestamp="2030-01-01T11:00:00Z")
        plan = decide(observe(going, engine=NOTHING_THERE))
        assert not plan.remove_finalizer
        assert isinstance(plan.operation, Delete)
        assert plan.operation.settle_seconds > 0
        stored = kindcluster(
            annotations=annotations,
            finalizers=FINALIZER,
            status={"attempt": 1},
            deletionTimestamp="2030-01-01T11:00:00Z",
        )
        assert decide(observe(stored, engine=NOTHING_THERE)).remove_finalizer

    @pytest.mark.rule("C23")
    def test_secret_of_the_control_plane_goes_too(self) -> None:
        """A management cluster without a garbage collector would keep it, and the keys in it, for ever."""
        owner = owner_cluster(controlPlaneRef={"kind": "KINDControlPlane", "name": "dev"})
        going = kindcluster(
            annotations=COMPLETE, finalizers=FINALIZER, owner="dev", deletionTimestamp="2030-01-01T11:00:00Z"
        )
        start = kindcluster(annotations=COMPLETE, finalizers=FINALIZER, owner="dev")
        done = settled(start, owner=owner, control_plane=control_plane())
        last = seen_as(done, going, engine=NOTHING_THERE, control_plane=None)
        assert sorted(decide(last).delete_secrets) == ["dev-config", "dev-kubeconfig"]

    @pytest.mark.rule("C23")
    def test_failed_deletion_keeps_the_finalizer_and_says_why(self) -> None:
        goals = failed(removal(Goal.GONE), ENGINE_DOWN, seconds_ago=1.0)
        plan = decide(observe(self.GOING, engine=RUNNING, goals=goals))
        assert not plan.remove_finalizer
        assert condition(plan.status, Condition.DELETING) == ("True", Reason.DELETION_FAILED)
        assert plan.requeue_seconds == pytest.approx(4.0)

    def test_unreachable_engine_holds_the_object(self) -> None:
        plan = decide(observe(self.GOING, engine=EngineFacts(failure=ENGINE_DOWN)))
        assert plan.operation is None
        assert not plan.remove_finalizer
        assert condition(plan.status, Condition.DELETING) == ("True", Reason.ENGINE_UNREACHABLE)

    def test_running_creation_is_ended_first(self) -> None:
        plan = decide(observe(self.GOING, engine=RUNNING, operation=running_operation(create_request())))
        assert plan.cancel_operation
        assert plan.operation is None

    @pytest.mark.rule("C23")
    def test_creation_whose_identity_was_taken_off_is_waited_for_all_the_same(self) -> None:
        annotations = {**CLAIMED, names.ATTEMPT_ANNOTATION: "1"}
        going = kindcluster(annotations=annotations, finalizers=FINALIZER, deletionTimestamp="2030-01-01T11:00:00Z")
        request = decide(observe(going, engine=NOTHING_THERE)).operation
        assert isinstance(request, Delete)
        assert request.settle_seconds > 0

    @pytest.mark.rule("C23")
    def test_creation_that_was_cut_short_is_removed_although_no_node_is_seen(self) -> None:
        """A container may still appear, also after a restart of the provider."""
        annotations = {**CLAIMED, names.IDENTITY_ANNOTATION: ""}
        going = kindcluster(annotations=annotations, finalizers=FINALIZER, deletionTimestamp="2030-01-01T11:00:00Z")
        request = decide(observe(going, engine=NOTHING_THERE)).operation
        assert isinstance(request, Delete)
        assert request.settle_seconds > 0
        after = decide(observe(going, engine=NOTHING_THERE, goals=ended(request)))
        assert after.remove_finalizer

    def test_retained_cluster_stays(self) -> None:
        cluster = kindcluster(
            {"deletionPolicy": "Retain"},
            annotations=COMPLETE,
            finalizers=FINALIZER,
            deletionTimestamp="2030-01-01T11:00:00Z",
        )
        plan = decide(observe(cluster, engine=RUNNING))
        assert plan.operation is None
        assert plan.remove_finalizer

    def test_ruins_of_an_interrupted_creation_are_not_retained(self) -> None:
        cluster = kindcluster(
            {"deletionPolicy": "Retain"},
            annotations={**CLAIMED, names.IDENTITY_ANNOTATION: ""},
            finalizers=FINALIZER,
            deletionTimestamp="2030-01-01T11:00:00Z",
        )
        assert isinstance(decide(observe(cluster, engine=RUNNING)).operation, Delete)

    @pytest.mark.rule("C24")
    def test_object_that_never_had_a_cluster_goes_at_once(self) -> None:
        cluster = kindcluster(finalizers=FINALIZER, deletionTimestamp="2030-01-01T11:00:00Z")
        for engine in (NOTHING_THERE, EngineFacts(was_listed=True, exists=True, nodes=(node(mark="someone-else"),))):
            plan = decide(observe(cluster, engine=engine, cluster_api_installed=True))
            assert plan.remove_finalizer
            assert plan.operation is None

    def test_owner_that_is_gone_does_not_hold_the_deletion(self) -> None:
        cluster = kindcluster(
            annotations=COMPLETE, finalizers=FINALIZER, owner="dev", deletionTimestamp="2030-01-01T11:00:00Z"
        )
        assert decide(observe(cluster, engine=RUNNING, cluster_api_installed=True)).operation == removal(Goal.GONE)


class TestReport:
    @pytest.mark.rule("C17")
    def test_every_condition_is_there_from_the_first_visit(self) -> None:
        plan = decide(observe(cluster_api_installed=True))
        kinds = {seen["type"] for seen in plan.status["conditions"]}
        assert kinds == {
            Condition.READY,
            Condition.CLUSTER_CREATED,
            Condition.ENGINE_AVAILABLE,
            Condition.NODES_RUNNING,
            Condition.API_SERVER_AVAILABLE,
            Condition.KUBECONFIG_AVAILABLE,
            Condition.PAUSED,
            Condition.DELETING,
        }

    def test_history_tells_the_story_and_is_bounded(self) -> None:
        seen = observe(kindcluster(annotations=CLAIMED, finalizers=FINALIZER))
        steps = [Reason.PREPARING_NODES, Reason.STARTING_CONTROL_PLANE] * 20
        for step in steps:
            seen = apply(seen, decide(replace(seen, operation=running_operation(create_request(), step=step))))
        history = seen.object.status["history"]
        assert len(history) == 20
        assert history[-1]["reason"] == steps[-1]
