"""The facts for decisions, from the engine and the API server."""

import base64
import sys
from dataclasses import replace

import pytest

from capk.api import names
from capk.api.endpoint import EndpointMode
from capk.errors import AddressTaken, InvalidSpec, NamesNotResolved
from capk.kindconfig.images import kind_release
from capk.kindconfig.kubeconfig import BadKubeconfig
from capk.kindconfig.registries import hosts_files
from capk.manager.facts import (
    authority_of,
    failure_of,
    health_facts,
    health_target,
    project_secret,
    ready_reason,
    secret_facts,
    version_note,
)
from capk.plan.facts import EngineFacts, HealthFacts
from capk.plan.policy import Policy
from capk.workload.connection import Target
from capk.workload.health import NOTHING, Health
from test.unit.plan.builders import ACCESS, RUNNING, node, observe, settled


def test_only_another_release_of_kind_is_worth_a_note():
    release = kind_release()
    assert version_note(release) is None
    assert version_note(f"{release}-alpha+1") is None
    assert version_note("") is None
    note = version_note("v0.20.0")
    assert note is not None
    assert "kind is v0.20.0" in note
    assert f"Install {release}" in note


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (BadKubeconfig("the kubeconfig names no server"), "The kubeconfig names no server."),
        (AddressTaken("dev-control-plane", "172.18.0.3", "web"), "container web has it"),
        (AddressTaken("dev-control-plane", "172.18.0.3", ""), "the container engine does not assign it. Stop or"),
        (NamesNotResolved("kind"), "`podman network rm kind`"),
        (OSError(28, "No space left on device", "/secret"), "needs: No space left on device. Check the space on"),
        (TimeoutError(), "TimeoutError. See the provider's log."),
        (ZeroDivisionError("secret value"), "ZeroDivisionError. See the provider's log."),
    ],
)
def test_every_failure_of_an_operation_has_words(error, said):
    failure = failure_of(error)
    assert failure is not None
    assert said in failure.message


class TestHealthTarget:
    def seen(self, host="127.0.0.1", *, endpoint=EndpointMode.EXTERNAL, **facts):
        published = replace(node(), api_port=(host, 40001))
        engine = EngineFacts(was_listed=True, exists=True, nodes=(published,))
        access = replace(ACCESS, authority="PEM")
        return observe(engine=engine, policy=Policy(endpoint=endpoint), **{"access": access, **facts})

    @pytest.mark.parametrize(
        ("host", "server", "certified"),
        [
            ("127.0.0.1", "127.0.0.1", None),
            ("0.0.0.0", "127.0.0.1", "kubernetes"),
            ("::", "[::1]", "kubernetes"),
            ("::1", "[::1]", None),
            ("10.0.0.7", "10.0.0.7", None),
        ],
    )
    def test_outside_it_is_the_port_that_the_engine_publishes(self, host, server, certified):
        """Published on every address, it has a certificate for 0.0.0.0 and not for the address that is asked."""
        assert health_target(self.seen(host)) == Target(f"https://{server}:40001", "PEM", certified)

    def test_inside_it_is_the_container_or_the_balancer(self):
        assert health_target(self.seen(endpoint=EndpointMode.INTERNAL)).server == "https://dev-control-plane:6443"
        balancer = node("dev-external-load-balancer", mark=None)
        several = replace(RUNNING, nodes=(node(), node("dev-control-plane2"), balancer))
        seen = replace(self.seen(endpoint=EndpointMode.INTERNAL), engine=several)
        assert health_target(seen).server == "https://dev-external-load-balancer:6443"

    def test_address_in_a_secret_is_never_asked(self):
        text = "clusters:\n- cluster:\n    certificate-authority-data: UEVN\n    server: https://10.96.0.1:443\n"
        data = {"config": base64.b64encode(text.encode()).decode()}
        metadata = {"name": "dev-config", "namespace": "default", "uid": "u", "resourceVersion": "1"}
        secret = secret_facts(project_secret({"metadata": metadata, "data": data}))
        target = health_target(self.seen(access=None, secrets={"dev-config": secret}))
        assert target.server == "https://127.0.0.1:40001"
        assert target.authority == "PEM"

    def test_nothing_is_asked_before_the_authority_is_known(self):
        assert health_target(self.seen(access=None)) is None
        assert health_target(replace(settled(), engine=RUNNING)) is None


@pytest.mark.parametrize(
    ("health", "facts"),
    [
        (None, HealthFacts(is_watched=False)),
        (Health(True, True, 0, "HTTP 200", 0.0), HealthFacts(True, True, "HTTP 200")),
        (Health(False, True, 2, "HTTP 500", 0.0), HealthFacts(False, True, "HTTP 500")),
        (Health(None, False, 1, "no answer", 0.0), HealthFacts(None, False, "no answer")),
        (Health(None, False, 3, "no answer", 0.0), HealthFacts(False, False, "no answer")),
    ],
)
def test_api_server_that_could_never_be_reached_does_not_answer(health, facts):
    assert health_facts(health) == facts


@pytest.mark.parametrize(
    ("doubted_since", "proven_at", "is_doubted"),
    [(None, None, False), (5.0, None, True), (5.0, 4.0, True), (5.0, 6.0, False), (None, 6.0, False)],
)
def test_data_is_doubted_until_a_reading_that_began_later_has_shown_it(doubted_since, proven_at, is_doubted):
    health = Health(True, True, 0, "HTTP 200", 0.0, NOTHING, doubted_since)
    assert health_facts(health, proven_at=proven_at).is_doubted is is_doubted


@pytest.mark.parametrize(
    ("asked_at", "unanswered_at", "answers"),
    [(5.0, None, True), (5.0, 6.0, False), (7.0, 6.0, True), (None, 6.0, False)],
)
def test_newest_answer_counts_whoever_has_asked(asked_at, unanswered_at, answers):
    health = Health(True, True, 0, "HTTP 200", 0.0, asked_at=asked_at)
    facts = health_facts(health, unanswered_at=unanswered_at, unanswered_because="no answer within 3 s")
    assert facts.answers is answers
    assert facts.said == ("HTTP 200" if answers else "no answer within 3 s")


def test_silence_of_what_was_never_reached_is_no_news():
    assert health_facts(Health(None, False, 0, "", 0.0), unanswered_at=6.0).answers is None


def test_data_of_a_secret_is_not_kept():
    metadata = {"name": "dev-config", "namespace": "default", "uid": "u", "resourceVersion": "1"}
    kept = project_secret({"metadata": metadata, "data": {"config": "c2VjcmV0", "other": "b3RoZXI="}})
    assert "c2VjcmV0" not in str(kept)


MANY = {f"{number}.example": "x" * 60 for number in range(5000)}
OWN = {"apiVersion": "v1", "kind": "KINDCluster", "name": "dev", "uid": "own", "controller": True}


@pytest.mark.parametrize(
    "hostile",
    [
        {"labels": {names.SECRET_CLUSTER_LABEL: "dev", **MANY}},
        {"annotations": {names.DIGEST_ANNOTATION: "x" * 200_000, **MANY}},
        {"ownerReferences": [{**OWN, "name": "x" * 1_000_000, "controller": False}, OWN]},
        {"ownerReferences": [*({**OWN, "uid": uid, "controller": False} for uid in MANY), OWN]},
    ],
    ids=["labels", "annotations", "a large owner", "many owners"],
)
def test_of_a_secret_of_anyone_no_more_is_kept_than_the_provider_writes(hostile):
    """Everyone who may create Secrets may create hundreds with our label, of a megabyte each."""
    metadata = {"name": "dev-config", "namespace": "default", "uid": "u", "resourceVersion": "1", **hostile}
    kept = project_secret({"metadata": metadata, "data": dict.fromkeys(MANY, "eA==")})
    assert len(str(kept)) < 3000
    if "ownerReferences" in hostile:
        assert OWN in kept["metadata"]["ownerReferences"]
        assert not secret_facts(kept).is_whole


def test_secret_with_a_null_under_a_key_is_as_one_with_nothing_there():
    metadata = {"name": "dev-config", "namespace": "default", "uid": "u", "resourceVersion": "1"}
    null, empty = (project_secret({"metadata": metadata, "data": {"config": value}}) for value in (None, ""))
    assert null == empty


@pytest.mark.parametrize(("reason", "counted"), [("Provisioned", "Provisioned"), ("SomethingElse", "Unknown")])
def test_only_reasons_of_the_provider_are_counted(reason: str, counted: str) -> None:
    """Others may write a status, and each text would be a series of its own."""
    ready = {"type": "Ready", "status": "True", "reason": reason, "message": ""}
    assert ready_reason({"status": {"conditions": [ready]}}) == counted


def test_object_without_a_status_is_counted_as_unknown() -> None:
    assert ready_reason({}) == "Unknown"


def test_configmap_of_certificates_takes_no_more_memory_than_certificates_may():
    """Sixteen workers may each look at an object that names sixteen of them."""
    text = authority_of({"data": {"ca.crt": "\N{GRINNING FACE}" + "x" * 10**6}})
    assert sys.getsizeof(text) < 300_000
    mirror = {"host": "a.io", "endpoints": ["https://m"], "caConfigMapRef": {"name": "ca"}}
    with pytest.raises(InvalidSpec, match="at most 256 KiB"):
        hosts_files({"registries": {"mirrors": [mirror]}}, {"ca": text})
