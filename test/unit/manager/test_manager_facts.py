"""Who is first for the name of a kind cluster, and which kind is worth a note."""

import pytest

from capk.api import names
from capk.api.objects import KINDCluster
from capk.kindcfg.images import kind_release
from capk.manager.facts import comes_first, version_note


def wanting(name: str, uid: str, created: int, *, claim_id: str | None = None) -> KINDCluster:
    annotations = {names.CLAIM_ANNOTATION: "dev", names.CLAIM_ID_ANNOTATION: claim_id} if claim_id else {}
    metadata = {
        "name": name,
        "namespace": "default",
        "uid": uid,
        "creationTimestamp": f"2030-01-01T00:00:{created:02}Z",
        "annotations": annotations,
    }
    return KINDCluster({"metadata": metadata, "spec": {"clusterName": "dev"}})


@pytest.mark.rule("C21")
def test_claim_wins_over_age_and_age_over_nothing() -> None:
    elder, younger = wanting("elder", "u1", 1), wanting("younger", "u2", 2)
    assert comes_first(younger, elder)
    assert not comes_first(elder, younger)
    assert comes_first(elder, wanting("younger", "u2", 2, claim_id="u2"))


@pytest.mark.rule("C21")
def test_copy_of_an_object_never_wins_over_the_one_that_made_the_claim() -> None:
    original = wanting("original", "u1", 5, claim_id="u1")
    for created in (1, 9):
        copy = wanting("copy", "u2", created, claim_id="u1")
        assert comes_first(copy, original)
        assert not comes_first(original, copy)


@pytest.mark.rule("C27")
def test_object_that_was_moved_wins_over_a_later_copy() -> None:
    moved, copy = wanting("moved", "u2", 1, claim_id="u1"), wanting("copy", "u3", 2, claim_id="u1")
    assert comes_first(copy, moved)
    assert not comes_first(moved, copy)


def test_only_another_release_of_kind_is_worth_a_note():
    release = kind_release()
    assert version_note(release) is None
    assert version_note(f"{release}-alpha+1") is None
    assert version_note("") is None
    note = version_note("v0.20.0")
    assert note is not None
    assert "kind is v0.20.0" in note
    assert f"Install {release}" in note
