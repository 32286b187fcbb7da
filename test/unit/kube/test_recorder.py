import asyncio
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from capk.api.names import EVENTS
from capk.errors import Forbidden, Unreachable
from capk.kube.recorder import MESSAGE_LIMIT, PATIENCE_SECONDS, EventRecorder
from test.unit.recording_kube import RecordingKube
from test.unit.virtual_time import now, run

DEV = {
    "apiVersion": "infrastructure.cluster.x-k8s.io/v1alpha1",
    "kind": "KINDCluster",
    "metadata": {"name": "dev", "namespace": "default", "uid": "u1", "resourceVersion": "7"},
}


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


@pytest.fixture
def kube() -> RecordingKube:
    return RecordingKube()


@pytest.fixture
def recorder(kube: RecordingKube) -> EventRecorder:
    return EventRecorder(kube, "capk", clock=Clock())


def events(kube: RecordingKube) -> list[dict[str, Any]]:
    return [obj for (plural, _, _), obj in kube.objects.items() if plural == EVENTS.plural]


async def test_event_names_the_object_and_what_happened(kube: RecordingKube, recorder: EventRecorder) -> None:
    await recorder.record(DEV, "Warning", "ImageNotFound", "no such image")
    (event,) = events(kube)
    assert event["involvedObject"] == {
        "apiVersion": DEV["apiVersion"],
        "kind": "KINDCluster",
        "name": "dev",
        "namespace": "default",
        "uid": "u1",
        "resourceVersion": "7",
    }
    said = {key: event[key] for key in ("type", "reason", "message", "count", "source", "reportingComponent")}
    assert said == {
        "type": "Warning",
        "reason": "ImageNotFound",
        "message": "no such image",
        "count": 1,
        "source": {"component": "capk"},
        "reportingComponent": "capk",
    }
    assert event["firstTimestamp"] == event["lastTimestamp"] == "2026-01-02T03:04:06Z"
    assert event["metadata"]["namespace"] == "default"


@pytest.mark.rule("K42")
async def test_same_event_again_is_counted(kube: RecordingKube, recorder: EventRecorder) -> None:
    for _ in range(3):
        await recorder.record(DEV, "Normal", "Created", "")
    (event,) = events(kube)
    assert event["count"] == 3
    assert event["firstTimestamp"] == "2026-01-02T03:04:06Z"
    assert event["lastTimestamp"] == "2026-01-02T03:04:08Z"
    assert [verb for verb, *_ in kube.writes] == ["create", "patch", "patch"]


async def test_event_is_counted_on_after_a_restart(kube: RecordingKube, recorder: EventRecorder) -> None:
    await recorder.record(DEV, "Normal", "Created", "")
    await recorder.record(DEV, "Normal", "Created", "")
    await EventRecorder(kube, "capk").record(DEV, "Normal", "Created", "")
    assert [event["count"] for event in events(kube)] == [3]


@pytest.mark.parametrize(
    "other",
    [("Normal", "Failed", "m"), ("Warning", "Created", "m"), ("Normal", "Created", "another message")],
)
async def test_another_reason_type_or_message_is_another_event(
    other: tuple, kube: RecordingKube, recorder: EventRecorder
) -> None:
    await recorder.record(DEV, "Normal", "Created", "m")
    await recorder.record(DEV, *other)
    assert [event["count"] for event in events(kube)] == [1, 1]


async def test_another_object_of_that_name_has_its_own_events(kube: RecordingKube, recorder: EventRecorder) -> None:
    await recorder.record(DEV, "Normal", "Created", "m")
    await recorder.record({**DEV, "metadata": {**DEV["metadata"], "uid": "u2"}}, "Normal", "Created", "m")
    assert {event["involvedObject"]["uid"] for event in events(kube)} == {"u1", "u2"}


async def test_expired_event_is_written_anew(kube: RecordingKube, recorder: EventRecorder) -> None:
    await recorder.record(DEV, "Normal", "Created", "m")
    kube.objects.clear()
    await recorder.record(DEV, "Normal", "Created", "m")
    assert [event["count"] for event in events(kube)] == [1]


async def test_failure_is_logged_and_never_raised(
    kube: RecordingKube, recorder: EventRecorder, caplog: pytest.LogCaptureFixture
) -> None:
    for error in (Forbidden("create", "events", 403, "no"), Unreachable("create", "events", 0, "gone")):
        kube.fail = [error]
        await recorder.record(DEV, "Normal", "Created", "m")
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
    assert events(kube) == []


def test_slow_api_server_does_not_hold_up_the_reconcile(caplog: pytest.LogCaptureFixture) -> None:
    class SlowKube(RecordingKube):
        async def create(self, *_: Any) -> dict[str, Any]:
            await asyncio.sleep(1000)
            return {}

    async def body() -> float:
        await EventRecorder(SlowKube(), "capk").record(DEV, "Normal", "Created", "m")
        return now()

    assert run(body()) == PATIENCE_SECONDS
    assert "took longer" in caplog.text


async def test_secrets_and_novels_are_kept_out(kube: RecordingKube, recorder: EventRecorder) -> None:
    await recorder.record(DEV, "Warning", "CommandFailed", "token: abcdefgh " + "x" * 5000)
    (event,) = events(kube)
    assert "abcdefgh" not in event["message"]
    assert len(event["message"]) == MESSAGE_LIMIT


async def test_long_object_name_makes_a_valid_event_name(kube: RecordingKube, recorder: EventRecorder) -> None:
    await recorder.record({**DEV, "metadata": {**DEV["metadata"], "name": "n" * 253}}, "Normal", "Created", "")
    assert len(events(kube)[0]["metadata"]["name"]) <= 253


async def test_forgotten_event_is_counted_on_all_the_same(kube: RecordingKube) -> None:
    recorder = EventRecorder(kube, "capk", remembered=2)
    for message in "abcabc":
        await recorder.record(DEV, "Normal", "Created", message)
    assert [event["count"] for event in events(kube)] == [2, 2, 2]


@pytest.mark.parametrize("end", ["-", ".", "-.-"])
async def test_name_that_is_cut_at_a_hyphen_makes_a_valid_event_name(
    kube: RecordingKube, recorder: EventRecorder, end: str
) -> None:
    name = f"{'a' * (200 - len(end))}{end}bcd"
    await recorder.record({**DEV, "metadata": {**DEV["metadata"], "name": name}}, "Normal", "Created", "")
    (event,) = events(kube)
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*", event["metadata"]["name"])


async def test_message_is_one_line_that_does_not_control_a_terminal(
    kube: RecordingKube, recorder: EventRecorder
) -> None:
    await recorder.record(DEV, "Warning", "WriteRefused", "no\x1b]0;x\x07\nreally")
    (event,) = events(kube)
    assert event["message"] == "no ]0;x really"


async def test_event_of_an_object_without_a_namespace_is_in_the_default_one(
    kube: RecordingKube, recorder: EventRecorder
) -> None:
    metadata = {key: value for key, value in DEV["metadata"].items() if key != "namespace"}
    await recorder.record({**DEV, "metadata": metadata}, "Warning", "NotReconciled", "Why.")
    (event,) = events(kube)
    assert (event["metadata"]["namespace"], event["involvedObject"]["namespace"]) == ("default", "")
