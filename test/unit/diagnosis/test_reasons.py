"""Every reason has a page, and no page is empty."""

import re
from itertools import chain

import pytest

from capk.api.names import Reason
from capk.diagnosis.reasons import BY_REASON, PAGES, Group, find, nearest
from capk.plan.events import event_of

LONGEST_MEANING = 140
ALL = list(chain.from_iterable(PAGES.values()))


def test_every_reason_has_one_page_and_every_page_a_reason() -> None:
    assert sorted(page.reason for page in ALL) == sorted(Reason)


@pytest.mark.parametrize("page", ALL, ids=lambda page: page.reason)
def test_page_names_meaning_cause_and_remedy_in_sentences(page) -> None:
    for text in (page.meaning, page.cause, page.remedy):
        assert re.match(r"[A-Z`]|kind |kubeadm ", text), text
        assert text.endswith("."), text
        assert "\n" not in text
        assert "|" not in text
        assert text.count("`") % 2 == 0, text
    assert len(page.meaning) <= LONGEST_MEANING
    assert set(page.see) <= BY_REASON.keys() - {page.reason}


def test_reasons_that_are_called_failures_are_warning_events() -> None:
    conditions = [{"type": "ClusterCreated", "reason": page.reason, "message": "x"} for page in PAGES[Group.FAILED]]
    events = {one["reason"]: event_of(one) for one in conditions}
    assert [reason for reason, event in events.items() if event is None or event.type != "Warning"] == []


@pytest.mark.parametrize("name", ["ImageNotFound", "imagenotfound", "IMAGENOTFOUND"])
def test_reason_is_found_in_any_case(name: str) -> None:
    page = find(name)
    assert page is not None
    assert page.reason is Reason.IMAGE_NOT_FOUND


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("ImageNotFond", "ImageNotFound"),
        ("portconflict.", "PortConflict"),
        ("disk", "OutOfDisk"),
        ("Kubeadm", "KubeadmFailed"),
    ],
)
def test_unknown_name_leads_to_the_nearest_reasons(name: str, first: str) -> None:
    assert find(name) is None
    assert nearest(name)[0] == first
    assert len(nearest(name)) <= 3


@pytest.mark.parametrize("name", ["", "xyzzy", "é" * 1000])
def test_name_that_is_like_no_reason_leads_nowhere(name: str) -> None:
    assert nearest(name) == []
