"""Decisions about a KINDCluster's mirrors: ConfigMaps before, files during, and a condition after its creation."""

import base64
from dataclasses import replace
from datetime import timedelta

import pytest

from capk.api.endpoint import EndpointMode
from capk.api.names import Condition, Reason
from capk.diagnosis.failures import Failure
from capk.plan.creation import awaited_authorities
from capk.plan.facts import Authorities, CreationFacts
from capk.plan.kindcluster import decide
from capk.plan.plan import Create
from capk.plan.policy import Policy
from test.unit.plan.builders import (
    COMPLETE,
    FINALIZER,
    NOTHING_THERE,
    RUNNING,
    apply,
    condition,
    control_plane,
    create_request,
    failed,
    kindcluster,
    message,
    observe,
    owner_cluster,
    running_operation,
    settled,
)

MIRROR = {"host": "docker.io", "endpoints": ["https://mirror.example"], "caConfigMapRef": {"name": "ca"}}
SPEC = {"registries": {"mirrors": [MIRROR]}}
PEM = f"-----BEGIN CERTIFICATE-----\n{base64.b64encode(b'der').decode()}\n-----END CERTIFICATE-----\n"
READ = Authorities({"ca": PEM})
ABSENT = Authorities(missing={"ca": "does not exist"})
BROKEN = Failure(Reason.CREATION_FAILED, "It failed.")
FOLDER = "/etc/containerd/certs.d/docker.io"


class TestBeforeACreation:
    def test_config_maps_are_read_only_while_a_creation_may_begin(self) -> None:
        cluster = kindcluster(SPEC)
        assert awaited_authorities(observe(cluster)) == ("ca",)
        assert awaited_authorities(observe()) == ()
        for facts in ({"engine": RUNNING}, {"operation": running_operation(create_request())}):
            assert awaited_authorities(observe(cluster, **facts)) == ()
        going = kindcluster(SPEC, deletionTimestamp="2030-01-01T11:00:00Z")
        assert awaited_authorities(observe(going)) == ()

    def test_creation_brings_the_files_for_the_nodes(self) -> None:
        request = decide(observe(kindcluster(SPEC), authorities=READ)).operation
        assert isinstance(request, Create)
        assert list(request.files) == [f"{FOLDER}/ca.crt", f"{FOLDER}/hosts.toml"]
        assert request.files[f"{FOLDER}/ca.crt"] == PEM
        assert PEM not in repr(request)

    def test_missing_config_map_is_a_condition_before_kind_starts(self) -> None:
        plan = decide(observe(kindcluster(SPEC), authorities=ABSENT))
        assert plan.operation is None
        assert not plan.add_finalizer
        assert condition(plan.status, Condition.CLUSTER_CREATED) == ("False", Reason.WAITING_FOR_CONFIG_MAP)
        said = message(plan.status, Condition.CLUSTER_CREATED)
        assert said.startswith("ConfigMap ca does not exist. ")
        assert "namespace default" in said

    def test_missing_config_map_is_looked_for_at_growing_intervals(self) -> None:
        seen = observe(kindcluster(SPEC), authorities=ABSENT)
        waits = []
        for _ in range(9):
            plan = decide(seen)
            waits.append(plan.requeue_seconds)
            after = apply(seen, plan)
            seen = replace(after, now=after.now + timedelta(seconds=plan.requeue_seconds))
        assert waits[:5] == [5.0, 5.0, 10.0, 20.0, 40.0]
        assert waits[-1] == 300.0

    @pytest.mark.parametrize(
        ("since", "wait"),
        [
            ("2030-01-01T12:00:02Z", 5.0),
            ("9999-12-31T23:59:59Z", 300.0),
            ("0001-01-01T00:00:00Z", 300.0),
            ("2030-01-01T11:59:00", 300.0),
            ("-2030-01-01T11:59:00Z", 300.0),
            ("soon", 300.0),
        ],
    )
    def test_time_that_someone_has_written_into_the_status_bounds_the_interval_as_well(self, since, wait) -> None:
        seen = observe(kindcluster(SPEC), authorities=ABSENT)
        seen = apply(seen, decide(seen))
        conditions = [{**one, "lastTransitionTime": since} for one in seen.object.status["conditions"]]
        forged = kindcluster(SPEC, status={**seen.object.status, "conditions": conditions})
        assert decide(observe(forged, authorities=ABSENT)).requeue_seconds == wait

    @pytest.mark.rule("C19")
    def test_nothing_is_written_while_a_config_map_stays_away(self) -> None:
        seen = observe(kindcluster(SPEC), authorities=ABSENT)
        seen = apply(seen, decide(seen))
        later = replace(seen, now=seen.now + timedelta(minutes=3))
        assert apply(later, decide(later)) == later

    def test_bad_certificate_is_invalid_and_looked_at_again(self) -> None:
        plan = decide(observe(kindcluster(SPEC), authorities=Authorities({"ca": "no certificate"})))
        assert plan.operation is None
        assert condition(plan.status, Condition.CLUSTER_CREATED) == ("False", Reason.INVALID_CONFIG)
        assert plan.requeue_seconds is not None

    def test_corrected_certificate_is_tried_immediately(self) -> None:
        first = decide(observe(kindcluster(SPEC), authorities=READ)).operation
        goals = failed(first, BROKEN, attempts=9)
        assert decide(observe(kindcluster(SPEC), authorities=READ, goals=goals)).operation is None
        other = PEM.replace(base64.b64encode(b"der").decode(), base64.b64encode(b"new").decode())
        again = decide(observe(kindcluster(SPEC), authorities=Authorities({"ca": other}), goals=goals))
        assert isinstance(again.operation, Create)


class TestAfterACreation:
    DONE = kindcluster(SPEC, annotations=COMPLETE, finalizers=FINALIZER)

    def test_failed_mirrors_show_and_do_not_gate_ready(self) -> None:
        status = settled(
            self.DONE, creation=CreationFacts(registries="dev-worker: read-only file system")
        ).object.status
        assert condition(status, Condition.REGISTRIES_CONFIGURED) == ("False", Reason.NOT_CONFIGURED)
        assert "dev-worker: read-only file system" in message(status, Condition.REGISTRIES_CONFIGURED)
        assert condition(status, Condition.READY) == ("True", Reason.READY)

    @pytest.mark.rule("C19")
    @pytest.mark.parametrize("cause", ["", "dev-worker: read-only file system"])
    def test_verdict_outlives_a_restart_of_the_provider_without_a_write(self, cause) -> None:
        done = settled(self.DONE, creation=CreationFacts(registries=cause))
        again = replace(done, creation=CreationFacts())
        assert apply(again, decide(again)) == again

    def test_mirrors_of_an_adopted_cluster_are_not_known(self) -> None:
        status = settled(self.DONE).object.status
        assert condition(status, Condition.REGISTRIES_CONFIGURED)[0] == "Unknown"
        assert condition(status, Condition.READY) == ("True", Reason.READY)

    def test_condition_is_absent_where_no_mirrors_are_asked_for(self) -> None:
        kinds = {one["type"] for one in settled().object.status["conditions"]}
        assert Condition.REGISTRIES_CONFIGURED not in kinds


class TestChecksBeforeACreation:
    OWNER = owner_cluster(controlPlaneRef={"kind": "KINDControlPlane", "name": "dev"})

    def refusal(self, spec, **facts) -> str:
        facts = {"owner": self.OWNER, "control_plane": control_plane("v1.36.1"), "engine": NOTHING_THERE, **facts}
        plan = decide(observe(kindcluster(spec, owner="dev"), **facts))
        if plan.operation is not None:
            return ""
        assert condition(plan.status, Condition.CLUSTER_CREATED) == ("False", Reason.INVALID_CONFIG)
        return message(plan.status, Condition.CLUSTER_CREATED)

    def test_image_of_another_version_than_the_control_plane_asks_for_is_refused(self) -> None:
        nodes = [{"role": "control-plane", "image": "kindest/node:v1.34.0"}]
        assert "requests v1.36.1" in self.refusal({"nodes": nodes})
        assert self.refusal({"nodes": [{"role": "control-plane", "image": "kindest/node:v1.36.1"}]}) == ""

    def test_address_that_no_client_can_connect_to_is_not_published(self) -> None:
        spec = {"networking": {"apiServerAddress": "0.0.0.0"}}
        assert "apiServerAddress" in self.refusal(spec)
        assert self.refusal(spec, policy=Policy(endpoint=EndpointMode.INTERNAL)) == ""
