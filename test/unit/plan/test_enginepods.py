"""What is read of the objects of an engine in a Pod. The texts are those that Kubernetes 1.36 wrote."""

from datetime import timedelta
from typing import Any

import pytest

from capk.api import names
from capk.api.names import Reason
from capk.api.objects import Key
from capk.diagnosis.failures import Failure
from capk.plan.enginepods import (
    EnginePodFacts,
    PodEngine,
    claim_facts,
    engine_failure,
    lost_engine,
    newest_message,
    pod_facts,
    service_facts,
    unanswered,
)
from test.unit.plan.builders import NOW, UID

LABELS = {names.ENGINE_CLUSTER_LABEL: UID, names.MANAGED_BY_LABEL: names.MANAGED_BY}
ANNOTATIONS = {
    names.ENGINE_CLUSTER_NAMESPACE_ANNOTATION: "default",
    names.ENGINE_CLUSTER_NAME_ANNOTATION: "dev",
    names.ENGINE_CLASS_ANNOTATION: "pods",
}


def pod(status: Any = None, *, node: str = "worker-7", age_seconds: float = 10, **spec: Any) -> dict[str, Any]:
    metadata = {
        "name": "kc-1",
        "namespace": "capkind-engines",
        "uid": "pod-1",
        "creationTimestamp": (NOW - timedelta(seconds=age_seconds)).isoformat(),
        "labels": LABELS,
        "annotations": ANNOTATIONS,
    }
    return {"metadata": metadata, "spec": {**({"nodeName": node} if node else {}), **spec}, "status": status or {}}


def engine(raw: Any, **fields: Any) -> PodEngine:
    return PodEngine("capkind-engines", "kc-1", EnginePodFacts(pod_facts(raw)), **fields)


def failure(raw: Any, **fields: Any) -> tuple[str, str]:
    found = engine_failure(engine(raw, **fields), NOW)
    assert found is not None
    return found.reason, found.message


def container(**fields: Any) -> dict[str, Any]:
    return {"phase": "Running", "containerStatuses": [fields]}


READY = {
    "phase": "Running",
    "conditions": [{"type": "Ready", "status": "True"}],
    "containerStatuses": [{"containerID": "containerd://1", "restartCount": 2, "state": {"running": {}}}],
}


def test_ready_pod_is_usable() -> None:
    facts = pod_facts(pod(READY))
    assert (facts.is_usable, facts.node, facts.restarts, facts.container_id) == (True, "worker-7", 2, "containerd://1")
    assert (facts.cluster, facts.cluster_uid, facts.class_name) == (Key("KINDCluster", "default", "dev"), UID, "pods")
    assert engine_failure(engine(pod(READY)), NOW) is None


def test_pod_that_is_being_deleted_is_not() -> None:
    raw = pod(READY)
    raw["metadata"]["deletionTimestamp"] = NOW.isoformat()
    assert not pod_facts(raw).is_usable
    assert failure(raw)[0] == Reason.ENGINE_UNREACHABLE


def test_message_of_the_scheduler_is_quoted() -> None:
    words = "0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 Insufficient memory."
    scheduled = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": words}
    assert failure(pod({"phase": "Pending", "conditions": [scheduled]}, node="")) == (
        Reason.ENGINE_UNSCHEDULABLE,
        f"No node has room for Pod capkind-engines/kc-1 of the engine: {words}",
    )


def test_pod_without_a_node_and_without_a_word_waits_for_the_scheduler() -> None:
    reason, message = failure(pod({"phase": "Pending"}, node=""))
    assert (reason, "waits for the scheduler" in message) == (Reason.STARTING_ENGINE, True)


@pytest.mark.parametrize("waiting", ["ErrImagePull", "ImagePullBackOff", "InvalidImageName"])
def test_image_that_cannot_be_pulled_is_named(waiting: str) -> None:
    state = {"waiting": {"reason": waiting, "message": "docker:x: not found"}}
    reason, message = failure(pod(container(state=state, restartCount=0)))
    assert (reason, "docker:x: not found" in message) == (Reason.ENGINE_IMAGE_NOT_FOUND, True)
    assert "KINDEngineClass pods" in message
    assert "delete the Pod" in message


def test_cause_of_an_image_that_cannot_be_pulled_stays_between_two_attempts() -> None:
    def waits(reason: str, message: str) -> PodEngine:
        state = {"waiting": {"reason": reason, "message": message}}
        return engine(pod(container(state=state, restartCount=0)))

    attempt = engine_failure(waits("ErrImagePull", "unauthorized"), NOW)
    assert attempt is not None
    between = waits("ImagePullBackOff", 'Back-off pulling image "docker:x"')
    for said, expected in ((attempt.message, "unauthorized"), ("something else", "Back-off")):
        found = engine_failure(between, NOW, [{"type": "EngineAvailable", "message": said}])
        assert found is not None
        assert expected in found.message


def test_crash_has_its_exit_code_and_the_way_to_the_output() -> None:
    status = container(
        state={"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 5m0s"}},
        lastState={"terminated": {"reason": "Error", "exitCode": 2}},
        restartCount=7,
    )
    reason, message = failure(pod(status))
    assert reason == Reason.ENGINE_CRASHING
    assert "crashed 7 times: Error, exit code 2." in message
    assert "kubectl logs --previous -n capkind-engines kc-1" in message


def test_out_of_memory_has_the_limit() -> None:
    status = container(state={"running": {}}, lastState={"terminated": {"reason": "OOMKilled"}}, restartCount=1)
    limits = {"resources": {"limits": {"memory": "1Gi"}}}
    reason, message = failure(pod(status, containers=[limits]))
    assert (reason, "limit of 1Gi of memory" in message) == (Reason.OUT_OF_MEMORY, True)
    assert message.endswith(
        "Raise spec.engine.resources.memory and delete the Pod; the kind cluster then loses its data."
    )
    volume = {"name": "data", "persistentVolumeClaim": {"claimName": "kc-1"}}
    assert failure(pod(status, volumes=[volume]))[1].endswith("the kind cluster then continues with its data.")


def test_late_pod_shows_what_its_events_say_and_an_early_one_does_not() -> None:
    event = "MountVolume.SetUp failed for volume certs"
    assert event not in failure(pod({"phase": "Pending"}, age_seconds=59), event=event)[1]
    assert event in failure(pod({"phase": "Pending"}, age_seconds=61), event=event)[1]


@pytest.mark.parametrize(("unready_seconds", "is_shown"), [(59, False), (61, True)])
def test_pod_is_late_only_so_long_after_it_was_ready(unready_seconds: float, is_shown: bool) -> None:
    since = (NOW - timedelta(seconds=unready_seconds)).isoformat()
    unready = {"type": "Ready", "status": "False", "lastTransitionTime": since}
    raw = pod({"phase": "Running", "conditions": [unready]}, age_seconds=5000)
    assert ("probe" in failure(raw, event="a probe was cut short")[1]) is is_shown


@pytest.mark.parametrize("when", ["", "yesterday", "2026-01-01T00:00:00", 7])
def test_time_that_is_none_is_not_read(when: Any) -> None:
    unready = {"type": "Ready", "status": "False", "lastTransitionTime": when}
    assert pod_facts(pod({"conditions": [unready]})).unready_since is None


def test_docker_that_does_not_answer_in_a_ready_pod_is_reported_with_what_helps_there() -> None:
    general = Failure(Reason.ENGINE_UNREACHABLE, "The container engine does not answer. Check DOCKER_HOST.")
    found = unanswered(engine(pod(READY)), general)
    assert found is not None
    assert found.reason is Reason.ENGINE_UNREACHABLE
    assert "Pod capkind-engines/kc-1" in found.message
    assert "DOCKER_HOST" not in found.message


def test_other_failures_of_an_inventory_are_reported_as_they_are() -> None:
    disk = Failure(Reason.OUT_OF_DISK, "The disk is full.")
    assert unanswered(engine(pod(READY)), disk) is disk
    assert unanswered(engine(pod(READY)), None) is None


def test_pod_that_has_ended_is_gone_with_its_data_but_not_with_a_volume() -> None:
    raw = pod({"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory. "})
    evicted = engine(raw)
    assert (evicted.is_gone, pod_facts(raw).is_usable) == (True, False)
    assert lost_engine(evicted).startswith(
        "Pod capkind-engines/kc-1 of the engine ended: Evicted: The node was low on resource: memory. The data"
    )
    claim = claim_facts({"metadata": {"uid": "claim", "labels": LABELS, "annotations": ANNOTATIONS}})
    kept = PodEngine("capkind-engines", "kc-1", EnginePodFacts(pod_facts(raw), claim=claim))
    assert not kept.is_gone


def test_engine_is_neither_there_nor_gone_until_all_have_been_listed() -> None:
    unknown = PodEngine("capkind-engines", "kc-1")
    assert (unknown.is_gone, engine_failure(unknown, NOW)) == (False, None)
    assert PodEngine("capkind-engines", "kc-1", EnginePodFacts()).is_gone


@pytest.mark.parametrize(
    ("given", "address"),
    [("10.96.0.7", "10.96.0.7"), ("None", ""), (None, "")],
    ids=["address", "headless", "none yet"],
)
def test_service_has_an_address(given: str | None, address: str) -> None:
    raw = {"metadata": {"uid": "service", "labels": LABELS}, "spec": {"clusterIP": given}}
    assert service_facts(raw).address == address


def test_texts_are_bounded_on_one_line_and_without_secrets() -> None:
    words = "pull failed\ntoken: abcdefghijklmnop\x1b[31m " + "x" * 100_000
    status = container(state={"waiting": {"reason": "ErrImagePull", "message": words}})
    message = failure(pod(status))[1]
    assert len(message) < 800
    assert "abcdefghijklmnop" not in message
    assert "\n" not in message
    assert "\x1b" not in message


@pytest.mark.parametrize(
    "status",
    [
        {},
        {"containerStatuses": [{}]},
        {"conditions": [{}]},
        {"containerStatuses": [{"restartCount": "many", "lastState": {"terminated": {"exitCode": None}}}]},
    ],
    ids=["empty", "container without fields", "condition without fields", "wrong types"],
)
def test_incomplete_status_is_an_engine_that_starts(status: Any) -> None:
    assert failure(pod(status))[0] == Reason.STARTING_ENGINE


def test_newest_event_counts() -> None:
    events = [
        {"message": "older", "lastTimestamp": "2030-01-01T00:00:01Z"},
        {"message": "newest", "lastTimestamp": "2030-01-01T00:00:03Z"},
        {"message": "new", "eventTime": "2030-01-01T00:00:02.000000Z"},
    ]
    assert newest_message(events) == "newest"
    assert newest_message([]) == ""
