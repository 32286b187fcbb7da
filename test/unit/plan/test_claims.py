"""Which claim counts, and which object comes first for the name of a kind cluster."""

from typing import Any

import pytest

from capk.api import names
from capk.api.objects import KINDCluster
from capk.plan.claims import Claim, claim_of, cluster_name, holds_name, precedes


def nobody(_: str) -> bool:
    return False


def wanting(
    name: str,
    uid: str,
    created: int = 0,
    *,
    claim_id: str | None = None,
    claim: str = "dev",
    spec: dict[str, Any] | None = None,
    owner: str | None = None,
    annotations: dict[str, str] | None = None,
) -> KINDCluster:
    claimed = {names.CLAIM_ANNOTATION: claim, names.CLAIM_ID_ANNOTATION: claim_id} if claim_id else {}
    metadata: dict[str, Any] = {
        "name": name,
        "namespace": "default",
        "uid": uid,
        "creationTimestamp": f"2030-01-01T00:00:{created:02}Z",
        "annotations": {**claimed, **(annotations or {})},
    }
    if owner:
        reference = {"apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Cluster", "name": owner, "uid": "u"}
        metadata["ownerReferences"] = [reference]
    return KINDCluster({"metadata": metadata, "spec": {"clusterName": "dev"} if spec is None else spec})


def first(one: KINDCluster, other: KINDCluster) -> bool:
    return precedes(one, claim_of(one, nobody), other, claim_of(other, nobody))


@pytest.mark.rule("C21")
def test_claim_wins_over_age_and_age_over_nothing() -> None:
    elder, younger = wanting("elder", "u1", 1), wanting("younger", "u2", 2)
    assert first(younger, elder)
    assert not first(elder, younger)
    assert first(elder, wanting("younger", "u2", 2, claim_id="u2"))


@pytest.mark.rule("C21")
def test_copy_of_an_object_never_wins_over_the_one_that_made_the_claim() -> None:
    original = wanting("original", "u1", 5, claim_id="u1")
    for created in (1, 9):
        copy = wanting("copy", "u2", created, claim_id="u1")
        assert first(copy, original)
        assert not first(original, copy)


@pytest.mark.rule("C21")
def test_claim_that_only_says_so_never_wins_over_one_that_was_carried_out() -> None:
    """The cluster was adopted, so it has no mark, and the claim names a container."""
    adopted = wanting("adopted", "u1", 9, claim_id="c" * 64)
    adopted = KINDCluster({**adopted.raw, "status": {"initialization": {"provisioned": True}}})
    forged = wanting("forged", "u2", 1, claim_id="u2")
    assert first(forged, adopted)
    assert not first(adopted, forged)


@pytest.mark.rule("C27")
def test_object_that_was_moved_wins_over_a_later_copy() -> None:
    moved, copy = wanting("moved", "u2", 1, claim_id="u1"), wanting("copy", "u3", 2, claim_id="u1")
    assert first(copy, moved)
    assert not first(moved, copy)


@pytest.mark.rule("C21")
def test_copy_of_a_living_object_has_no_claim() -> None:
    copy = wanting("copy", "u2", claim_id="u1")
    assert claim_of(copy, lambda uid: uid == "u1") is None
    assert claim_of(copy, nobody) == Claim("dev", "u1")


@pytest.mark.parametrize(
    ("claim", "spec", "owner", "counts"),
    [
        ("dev", {}, None, True),
        ("dev", {"clusterName": "dev"}, None, True),
        ("theirs", {}, "theirs", True),
        ("victim", {}, None, False),
        ("victim", {"clusterName": "dev"}, None, False),
    ],
)
def test_claim_of_another_object_counts_for_a_name_of_its_own_only(claim, spec, owner, counts) -> None:
    moved = wanting("dev", "u2", claim=claim, claim_id="u1", spec=spec, owner=owner)
    assert (claim_of(moved, nobody) is not None) is counts


def test_claim_from_the_middle_of_another_objects_creation_proves_nothing_of_its_kind_cluster() -> None:
    half_made = {names.IDENTITY_ANNOTATION: ""}
    restored = wanting("dev", "u2", claim_id="u1", annotations=half_made)
    assert claim_of(restored, nobody) is None
    assert claim_of(wanting("dev", "u1", claim_id="u1", annotations=half_made), nobody) == Claim("dev", "u1")
    # It has had that kind cluster itself, and is about to make another one.
    taken = KINDCluster({**restored.raw, "status": {"initialization": {"provisioned": True}}})
    assert claim_of(taken, nobody) == Claim("dev", "u1")


def test_own_claim_keeps_the_name_that_it_was_made_for() -> None:
    own = wanting("dev", "u1", claim="before", claim_id="u1", spec={}, owner="later")
    status = {"clusterName": "before", "initialization": {"provisioned": True}}
    for claimed in (own, wanting("dev", "u1", claim="edited", claim_id="u1", spec={}, owner="later")):
        made = KINDCluster({**claimed.raw, "status": status})
        assert cluster_name(made, claim_of(made, nobody)) == "before"


@pytest.mark.parametrize("claim", ["/home/me", "..", "a/b", "", "A", "x" * 64, "a\nb"])
def test_what_cannot_be_a_name_is_not_a_claim(claim) -> None:
    assert claim_of(wanting("dev", "u1", claim=claim, claim_id="u1"), nobody) is None


def test_only_an_object_that_may_act_holds_its_name() -> None:
    def holds(cluster: KINDCluster, *, has_owner: bool = False, installed: bool = False) -> bool:
        claim = claim_of(cluster, nobody)
        return holds_name(cluster, claim, has_owner=has_owner, cluster_api_installed=installed)

    assert holds(wanting("dev", "u1"))
    assert not holds(wanting("dev", "u1"), installed=True)
    assert holds(wanting("dev", "u1"), installed=True, has_owner=True)
    assert holds(wanting("dev", "u1", spec={"standalone": True}), installed=True)
    assert not holds(wanting("dev", "u1", annotations={names.MANAGED_BY_ANNOTATION: ""}))
    assert not holds(wanting("dev", "u1", annotations={names.PAUSED_ANNOTATION: ""}))
    assert holds(wanting("dev", "u1", claim_id="u1", annotations={names.PAUSED_ANNOTATION: ""}))
    assert holds(wanting("dev", "u1", claim_id="u1"), installed=True)
    assert holds(wanting("dev", "u1", claim_id="u0"))
    assert not holds(wanting("dev", "u1", claim_id="u0"), installed=True)
