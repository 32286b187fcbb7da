from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capk.api.conditions import (
    MESSAGE_LIMIT,
    find,
    fit_message,
    format_time,
    set_condition,
    transition_time,
)
from test.unit.characters import matches, texts

T0 = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
T1 = T0 + timedelta(hours=1)

types = st.sampled_from(["Ready", "ClusterCreated", "Paused", "Foreign"])
statuses = st.sampled_from(["True", "False", "Unknown"])
reasons = matches(r"[A-Za-z]([A-Za-z0-9_,:]{0,20}[A-Za-z0-9_])?")
steps = st.tuples(types, statuses, reasons, texts(max_size=50), st.integers(1, 5))


def after(*settings: tuple[str, str, str, str, int], now: datetime = T0) -> list[dict[str, object]]:
    conditions: list[dict[str, object]] = []
    for type, status, reason, message, generation in settings:
        conditions = set_condition(conditions, type, status, reason, message, now=now, generation=generation)
    return conditions


def test_new_condition_has_all_fields() -> None:
    assert set_condition([], "Ready", True, "Ready", now=T0, generation=3) == [
        {
            "type": "Ready",
            "status": "True",
            "reason": "Ready",
            "message": "",
            "lastTransitionTime": "2026-01-02T03:04:05Z",
            "observedGeneration": 3,
        }
    ]


def test_condition_without_generation_has_no_such_field() -> None:
    assert "observedGeneration" not in set_condition([], "Ready", None, "Unknown", now=T0)[0]


@pytest.mark.rule("C18")
@given(st.lists(steps, max_size=8), steps)
def test_setting_the_same_again_later_changes_nothing(before: list, step: tuple) -> None:
    conditions = after(*before, step)
    type, status, reason, message, generation = step
    assert set_condition(conditions, type, status, reason, message, now=T1, generation=generation) == conditions


@pytest.mark.rule("C18")
@given(st.lists(steps, max_size=8), steps)
def test_transition_time_moves_with_the_status_only(before: list, step: tuple) -> None:
    conditions = after(*before)
    type, status, reason, message, generation = step
    changed = set_condition(conditions, type, status, reason, message, now=T1, generation=generation)
    old, new = find(conditions, type), find(changed, type)
    assert new is not None
    moved = old is None or old["status"] != status
    assert new["lastTransitionTime"] == format_time(T1 if moved else T0)


@given(st.lists(steps, max_size=8), steps)
def test_other_conditions_stay_as_and_where_they_are(before: list, step: tuple) -> None:
    conditions = after(*before)
    type, status, reason, message, generation = step
    changed = set_condition(conditions, type, status, reason, message, now=T1, generation=generation)
    assert [c for c in changed if c["type"] != type] == [c for c in conditions if c["type"] != type]
    order = [c["type"] for c in conditions]
    assert [c["type"] for c in changed] == order + ([] if type in order else [type])


def test_foreign_fields_of_a_foreign_condition_are_kept() -> None:
    foreign = {"type": "Other", "status": "True", "severity": "Info"}
    assert set_condition([foreign], "Ready", True, "Ready", now=T0)[0] == foreign


def test_existing_conditions_are_not_changed_in_place() -> None:
    before = after(("Ready", "False", "NotReady", "", 1))
    copy = [dict(condition) for condition in before]
    set_condition(before, "Ready", True, "Ready", now=T1)
    assert before == copy


def test_doubled_condition_becomes_one() -> None:
    twice = [{"type": "Ready", "status": "False"}, {"type": "Other", "status": "True"}, {"type": "Ready"}]
    changed = set_condition(twice, "Ready", True, "Ready", now=T0)
    assert [condition["type"] for condition in changed] == ["Ready", "Other"]


def test_missing_transition_time_is_filled_in() -> None:
    changed = set_condition([{"type": "Ready", "status": "True"}], "Ready", True, "Ready", now=T0)
    assert changed[0]["lastTransitionTime"] == format_time(T0)


@pytest.mark.rule("C4")
@pytest.mark.parametrize("reason", ["", "not ready", "1st", "Ends:", "-", "A" * 257, "Ünicode", "Line\n"])
def test_reason_that_the_api_server_refuses_is_refused(reason: str) -> None:
    with pytest.raises(ValueError, match="reason"):
        set_condition([], "Ready", False, reason, now=T0)


@pytest.mark.rule("C4")
@given(texts(max_size=20), st.integers(0, 3))
def test_message_stays_under_the_limit(text: str, factor: int) -> None:
    message = fit_message(text * (MESSAGE_LIMIT * factor // max(len(text), 1)))
    assert len(message) <= MESSAGE_LIMIT < 10240


def test_cut_message_says_so() -> None:
    message = fit_message("x" * 20_000)
    assert len(message) == MESSAGE_LIMIT
    assert message.endswith(" … (cut)")


@pytest.mark.rule("C19")
def test_message_in_an_odd_encoding_is_what_the_api_server_stores() -> None:
    odd = b"caf\xe9".decode(errors="surrogateescape")
    assert fit_message(odd) == "caf?"


def test_time_is_utc_in_whole_seconds() -> None:
    assert format_time(T0.astimezone(timezone(timedelta(hours=5)))) == "2026-01-02T03:04:05Z"


@pytest.mark.parametrize(
    ("text", "known"),
    [
        ("2026-01-02T03:04:05Z", True),
        ("2026-01-02T03:04:05.123456789+05:30", True),
        ("9999-12-31T23:59:59-14:00", True),
        ("0001-01-01T00:00:00+14:00", True),
        ("2026-01-02T03:04:05", False),
        ("2026-01-02t03:04:05z", False),
        ("-0001-01-01T00:00:00Z", False),
        ("99999-01-01T00:00:00Z", False),
        ("2026-06-30T23:59:60Z", False),
        ("soon", False),
        ("", False),
        (None, False),
        (12, False),
        ({}, False),
    ],
)
def test_time_of_a_transition_that_someone_has_written_is_a_time_or_none(text: object, known: bool) -> None:
    moment = transition_time({"type": "Ready", "lastTransitionTime": text})
    assert (moment is not None) is known
    assert moment is None or isinstance((T0 - moment).total_seconds(), float)
    assert transition_time({"type": "Ready"}) is None


@pytest.mark.parametrize("control", ["\n", "\r\n", "\x1b[2J", "\x1b]0;title\x07", "\x9b", "\u2028", "\u202e", "\u061c"])
def test_message_is_one_line_that_does_not_control_a_terminal(control: str) -> None:
    said = fit_message(f"{control}refused: a{control}b{control}")
    assert said.startswith(("refused: a", "[2J", "]0;title"))
    assert not {*said} & {"\n", "\r", "\x1b", "\x07", "\x9b", "\u2028", "\u202e"}
