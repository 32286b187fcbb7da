import re
from datetime import UTC, datetime, timedelta

import pytest

from capk.kindconfig.expiry import RENEW_COMMAND, RESTART_COMMAND, expires_soon

NOW = datetime(2031, 5, 6, tzinfo=UTC)


@pytest.mark.rule("C15")
@pytest.mark.parametrize(
    ("days", "soon"), [(365, False), (37, False), (36.5, True), (1, True), (0, True), (-400, True)]
)
def test_certificate_of_a_year_is_renewed_in_its_last_tenth(days: float, soon: bool) -> None:
    assert expires_soon(NOW + timedelta(days=days), NOW) is soon


@pytest.mark.parametrize(("minutes", "soon"), [(59, False), (7, False), (6, True)])
def test_short_certificate_has_a_short_last_tenth(minutes: float, soon: bool) -> None:
    assert expires_soon(NOW + timedelta(minutes=minutes), NOW, lifetime=timedelta(hours=1)) is soon


def test_certificate_that_ends_before_it_begins_has_expired() -> None:
    assert expires_soon(NOW - timedelta(days=1), NOW, lifetime=timedelta(days=-9000))


def test_token_never_expires_as_far_as_one_can_see() -> None:
    assert not expires_soon(None, NOW)
    assert not expires_soon(NOW + timedelta(days=300), NOW, lifetime=None)


def test_commands_name_nothing_that_the_cluster_chooses() -> None:
    assert not [word for word in (*RENEW_COMMAND, *RESTART_COMMAND) if re.search(r"[{}%`]|\$\(", word)]
