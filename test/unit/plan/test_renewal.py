"""Certificates of a kind cluster are renewed before they expire; a failure is reported."""

from dataclasses import replace
from datetime import timedelta

import pytest

from capk.api.conditions import find
from capk.api.names import Condition, Reason
from capk.diagnosis.failures import Failure
from capk.plan.events import event_of, warning_of
from capk.plan.facts import GoalFacts, HealthFacts, Validity, Workers
from capk.plan.kindcluster import decide
from capk.plan.plan import Goal, ReadAccess, RenewCertificates, RenewKubelets, StartNodes
from capk.plan.renewal import kubelets_request
from test.unit.plan.builders import (
    NOW,
    RUNNING,
    apply,
    condition,
    failed,
    message,
    node,
    settled,
)

YEAR = timedelta(days=365)
SOON = Validity(NOW + timedelta(days=30), YEAR)
OVER = Validity(NOW - timedelta(days=1), YEAR)
CAUSE = Failure(Reason.COMMAND_FAILED, "kubeadm is not there.")
LISTED = replace(RUNNING, nodes=(node("dev-worker", container_id="c3"), node("dev-control-plane2"), node()))


def renewal(validity: Validity) -> RenewCertificates:
    return RenewCertificates("dev", ("dev-control-plane",), validity.not_after, frozenset({"c1"}))


def seen(validity: Validity | None, **facts):
    return replace(settled(), **{"validity": validity, **facts})


class TestRequest:
    def test_certificates_are_renewed_in_every_control_plane_when_a_tenth_of_their_life_is_left(self) -> None:
        request = decide(seen(SOON, engine=LISTED)).operation
        names = ("dev-control-plane", "dev-control-plane2")
        assert request == RenewCertificates("dev", names, SOON.not_after, frozenset({"c1"}))
        assert request.goal is Goal.RENEWED

    @pytest.mark.parametrize(
        "validity",
        [None, Validity(NOW + timedelta(days=40), YEAR), Validity(NOW + timedelta(hours=5), timedelta(days=1))],
        ids=["token", "a year", "a day"],
    )
    def test_certificates_with_time_left_stay(self, validity) -> None:
        assert decide(seen(validity)).operation is None

    def test_nodes_start_before_anything_is_renewed(self) -> None:
        stopped = replace(RUNNING, nodes=(node(running=False),))
        assert not isinstance(decide(seen(SOON, engine=stopped)).operation, RenewCertificates)

    def test_failed_renewal_is_tried_again_after_an_hour_and_holds_no_reading_up(self) -> None:
        tried = seen(SOON, goals=failed(renewal(SOON), CAUSE, attempts=1, seconds_ago=600.0))
        plan = decide(tried)
        assert plan.operation is None
        assert plan.requeue_seconds == pytest.approx(3000.0)
        assert decide(replace(tried, secrets={})).operation == ReadAccess("dev")
        later = seen(SOON, goals=failed(renewal(SOON), CAUSE, attempts=1, seconds_ago=3601.0))
        assert decide(later).operation == renewal(SOON)

    @pytest.mark.parametrize(
        ("lifetime", "seconds"),
        [(YEAR, 86400.0), (timedelta(hours=2), 3600.0), (timedelta(seconds=1), 600.0), (-YEAR, 600.0), (None, 86400.0)],
    )
    def test_certificates_that_expire_soon_after_a_renewal_are_not_renewed_again_and_again(
        self, lifetime, seconds
    ) -> None:
        """The clock of the provider may be ahead, and root in a node issues what certificates it likes."""
        over = Validity(NOW - timedelta(days=1), lifetime)
        renewed = seen(over, goals={Goal.RENEWED: GoalFacts(1, seconds - 1, None, renewal(over))})
        plan = decide(renewed)
        assert plan.operation is None
        assert plan.requeue_seconds == pytest.approx(1.0)
        assert "compare the clocks" in message(plan.status, Condition.READY)
        later = replace(renewed, goals={Goal.RENEWED: GoalFacts(1, seconds + 1, None, renewal(over))})
        assert decide(later).operation == renewal(over)


class TestVerdict:
    def test_renewal_on_its_way_is_no_news(self) -> None:
        before = seen(SOON)
        assert apply(before, decide(before)) == before

    @pytest.mark.rule("C19")
    def test_failure_is_told_while_the_certificate_is_valid_and_the_cluster_stays_ready(self) -> None:
        tried = seen(SOON, goals=failed(renewal(SOON), CAUSE))
        status = decide(tried).status
        assert condition(status, Condition.KUBECONFIG_AVAILABLE) == ("True", Reason.PROVISIONED)
        said = message(status, Condition.KUBECONFIG_AVAILABLE)
        for words in ("expires at 2030-01-31T12:00:00Z", CAUSE.message, "kubeadm certs renew all"):
            assert words in said
        assert condition(status, Condition.READY) == ("True", Reason.READY)
        assert message(status, Condition.READY) == ""
        warning = warning_of(None, find(status["conditions"], Condition.KUBECONFIG_AVAILABLE))
        assert warning == ("Warning", "RenewalFailed", said)
        told = apply(tried, decide(tried))
        assert apply(told, decide(told)) == told

    @pytest.mark.parametrize("goals", [{}, failed(renewal(OVER), CAUSE)], ids=["not tried", "failed"])
    def test_expired_certificate_is_not_available(self, goals) -> None:
        status = decide(seen(OVER, goals=goals)).status
        assert condition(status, Condition.READY) == ("False", Reason.CERTIFICATE_EXPIRED)
        assert "expired at 2029-12-31T12:00:00Z" in message(status, Condition.READY)
        (event,) = {event_of(one) for one in status["conditions"] if one["type"] == Condition.KUBECONFIG_AVAILABLE}
        assert event.type == "Warning"

    def test_new_certificate_ends_it(self) -> None:
        tried = seen(OVER, goals=failed(renewal(OVER), CAUSE))
        told = apply(tried, decide(tried))
        renewed = replace(told, goals={}, validity=Validity(NOW + YEAR, YEAR))
        status = decide(renewed).status
        assert condition(status, Condition.READY) == ("True", Reason.READY)
        assert message(status, Condition.KUBECONFIG_AVAILABLE) == ""

    def test_where_no_node_can_be_reached_a_person_is_asked_to_do_it(self) -> None:
        unlisted = replace(RUNNING, nodes=None, lists_nodes=False)
        plan = decide(seen(SOON, engine=unlisted))
        assert plan.operation is None
        assert "kubeadm certs renew all" in message(plan.status, Condition.KUBECONFIG_AVAILABLE)


class TestKubelets:
    """A kubelet whose certificate has expired does not start, and without it no API server."""

    SILENT = HealthFacts(answers=False, reached=True, said="connection refused")
    WORKER = node("dev-worker", container_id="c3")
    BALANCER = node("dev-external-load-balancer", container_id="c0", mark=None)
    NODES = replace(RUNNING, nodes=(WORKER, BALANCER, node("dev-control-plane2", container_id="c2"), node()))

    def request(self, *names: str, ids: str = "c1 c2 c3") -> RenewKubelets:
        every = names or ("dev-control-plane", "dev-control-plane2", "dev-worker")
        return RenewKubelets("dev", every, "dev-control-plane", frozenset(ids.split()))

    def test_they_are_checked_when_an_api_server_that_was_reached_falls_silent_control_planes_first(self) -> None:
        assert decide(seen(None, engine=self.NODES, health=self.SILENT)).operation == self.request()
        assert decide(seen(None, engine=self.NODES, health=HealthFacts(answers=True))).operation is None
        unreached = seen(None, engine=self.NODES, health=HealthFacts(answers=False))
        status = {**unreached.object.status, "conditions": []}
        never = type(unreached.object)({**unreached.object.raw, "metadata": {"name": "dev"}, "status": status})
        assert kubelets_request(replace(unreached, object=never)) is None

    def test_nodes_that_do_not_run_or_are_still_joining_are_left_out(self) -> None:
        stopped = replace(self.NODES, nodes=(*self.NODES.nodes[1:], replace(self.WORKER, running=False)))
        tried = failed(StartNodes("dev", ("dev-worker",), container_ids=frozenset({"c3"})), CAUSE)
        waiting = decide(seen(None, engine=stopped, health=self.SILENT, goals=tried))
        assert waiting.operation is None
        joining = Workers(joining=frozenset({"dev-worker"}))
        plan = decide(seen(None, engine=self.NODES, health=self.SILENT, workers=joining))
        assert plan.operation == self.request("dev-control-plane", "dev-control-plane2", ids="c1 c2")

    def test_no_certificate_goes_to_a_container_of_someone_else(self) -> None:
        strange = node("dev-worker2", container_id="c4", mark="another")
        mixed = replace(self.NODES, nodes=(*self.NODES.nodes, strange))
        assert decide(seen(None, engine=mixed, health=self.SILENT)).operation == self.request()
        planes = replace(self.NODES, nodes=(*self.NODES.nodes, node("dev-control-plane3", mark="another")))
        assert decide(seen(None, engine=planes, health=self.SILENT)).operation is None

    def test_an_outage_with_another_cause_is_checked_once_an_hour(self) -> None:
        checked = {Goal.KUBELETS: GoalFacts(1, 600.0, None, self.request())}
        plan = decide(seen(None, engine=self.NODES, health=self.SILENT, goals=checked))
        assert (plan.operation, plan.requeue_seconds) == (None, pytest.approx(3000.0))
        later = {Goal.KUBELETS: GoalFacts(1, 3601.0, None, self.request())}
        assert decide(seen(None, engine=self.NODES, health=self.SILENT, goals=later)).operation == self.request()

    def test_failure_is_shown_and_tried_again_even_if_only_workers_are_down(self) -> None:
        tried = failed(self.request(), CAUSE)
        silent = decide(seen(None, engine=self.NODES, health=self.SILENT, goals=tried)).status
        words = "The provider could not check or renew the kubelets' certificates: kubeadm is not there."
        assert message(silent, Condition.READY).endswith(words)
        again = seen(None, engine=self.NODES, health=HealthFacts(answers=True), goals=tried)
        status = decide(again).status
        assert condition(status, Condition.READY) == ("True", Reason.READY)
        assert message(status, Condition.NODES_RUNNING) == words
        later = failed(self.request(), CAUSE, seconds_ago=400.0)
        assert decide(replace(again, goals=later)).operation == self.request()


class TestExpiryThatNobodySaw:
    def test_kubeconfig_is_read_if_the_api_server_has_an_expired_certificate(self) -> None:
        health = HealthFacts(answers=False, reached=True, said="certificate has expired", has_expired=True)
        expired = seen(None, access=None, health=health)
        assert decide(expired).operation == ReadAccess("dev")
        assert decide(replace(expired, validity=OVER)).operation == renewal(OVER)

    def test_api_server_that_is_silent_for_another_cause_costs_no_reading(self) -> None:
        health = HealthFacts(answers=False, reached=True, said="connection refused")
        assert not isinstance(decide(seen(None, access=None, health=health)).operation, ReadAccess)
