"""The owner of a claim, among all objects that the provider knows."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capk.api import names
from capk.api.names import KIND_CLUSTERS
from capk.api.objects import Key, KINDCluster
from capk.manager.relations import Relations
from capk.plan.claims import Claim, claim_of, inheritance_rank
from capk.runtime.store import Store


class Clusters:
    """KINDClusters that all request the kind cluster `dev`."""

    def __init__(self) -> None:
        self.store = Store()
        self.relations = Relations(self.store)
        self._version = 0

    def put(self, namespace: str, *, claim_id: str, age: int, provisioned: bool = False) -> None:
        self._version += 1
        annotations = {names.CLAIM_ANNOTATION: "dev", names.CLAIM_ID_ANNOTATION: claim_id}
        raw: dict[str, Any] = {
            "apiVersion": KIND_CLUSTERS.api_version,
            "kind": KIND_CLUSTERS.kind,
            "metadata": {
                "name": "dev",
                "namespace": namespace,
                "uid": f"uid-of-{namespace}",
                "resourceVersion": str(self._version),
                "creationTimestamp": f"{2030 - age}-01-01T00:00:00Z",
                "annotations": annotations,
            },
            "status": {"initialization": {"provisioned": True}} if provisioned else {},
        }
        self.store.put(KIND_CLUSTERS, raw)

    def claim(self, namespace: str) -> Claim | None:
        return self.relations.claim(Key(KIND_CLUSTERS.kind, namespace, "dev"))


@pytest.fixture
def clusters() -> Clusters:
    return Clusters()


@pytest.mark.rule("C21")
@pytest.mark.parametrize("order", [("moved", "tenant"), ("tenant", "moved")])
@pytest.mark.parametrize("age", [0, 9])
def test_copied_claim_of_an_object_that_was_moved_counts_for_that_one_only(clusters, order, age) -> None:
    """Its creator is gone, so nothing else distinguishes the copy from the object that inherited the claim."""
    ages = {"moved": 5, "tenant": age}
    for namespace in order:
        clusters.put(namespace, claim_id="former", age=ages[namespace], provisioned=namespace == "moved")
    assert clusters.claim("moved") == Claim("dev", "former")
    assert clusters.claim("tenant") is None


def test_claim_passes_to_the_object_that_becomes_provisioned(clusters) -> None:
    clusters.put("later", claim_id="former", age=1)
    clusters.put("older", claim_id="former", age=5)
    assert clusters.claim("later") is None
    clusters.put("later", claim_id="former", age=1, provisioned=True)
    assert clusters.claim("later") == Claim("dev", "former")
    assert clusters.claim("older") is None


def test_claim_passes_on_when_the_first_one_goes(clusters) -> None:
    clusters.put("moved", claim_id="former", age=5, provisioned=True)
    clusters.put("restored", claim_id="former", age=1)
    gone = clusters.store.get(Key(KIND_CLUSTERS.kind, "moved", "dev"))
    clusters.store.apply_event(KIND_CLUSTERS, "DELETED", gone)
    assert clusters.claim("restored") == Claim("dev", "former")


def test_claim_of_a_living_object_counts_for_it_alone(clusters) -> None:
    clusters.put("copy", claim_id="uid-of-maker", age=9, provisioned=True)
    assert clusters.claim("copy") == Claim("dev", "uid-of-maker")
    clusters.put("maker", claim_id="uid-of-maker", age=1)
    assert clusters.claim("maker") == Claim("dev", "uid-of-maker")
    assert clusters.claim("copy") is None


class CountingStore(Store):
    """gets: how often an object was looked up."""

    gets = 0

    def get(self, key: Key) -> Any:
        self.gets += 1
        return super().get(key)


@pytest.mark.parametrize("has_one_name", [True, False])
def test_annotations_of_hundreds_of_objects_cost_no_more_with_each_event(has_one_name: bool) -> None:
    """Everyone who may create a KINDCluster can write the same id into each."""
    store = CountingStore()
    relations = Relations(store)
    for number in range(200):
        name = "dev" if has_one_name else f"dev-{number}"
        annotations = {names.CLAIM_ANNOTATION: name, names.CLAIM_ID_ANNOTATION: "former"}
        metadata = {"name": f"dev-{number}", "namespace": "tenant", "uid": f"uid-{number}", "annotations": annotations}
        changing = {"resourceVersion": str(number + 1), "creationTimestamp": f"{2200 - number}-01-01T00:00:00Z"}
        spec = {"clusterName": name}
        store.gets = 0
        store.put(KIND_CLUSTERS, {"kind": KIND_CLUSTERS.kind, "metadata": metadata | changing, "spec": spec})
        assert store.gets < 20
    claims = [relations.claim(key) for key in store.keys(KIND_CLUSTERS)]
    assert sum(claim is not None for claim in claims) == (1 if has_one_name else 200)


UIDS = ("a", "b", "c", "d")


def cluster(name: str, uid: str, claim: str, claim_id: str, provisioned: bool, year: int) -> dict[str, Any]:
    annotations = {names.CLAIM_ANNOTATION: claim, names.CLAIM_ID_ANNOTATION: claim_id}
    metadata = {"name": name, "namespace": "default", "uid": uid, "annotations": annotations}
    status = {"initialization": {"provisioned": provisioned}}
    metadata["creationTimestamp"] = f"20{year}-01-01T00:00:00Z"
    return {"kind": KIND_CLUSTERS.kind, "metadata": metadata, "spec": {"clusterName": claim}, "status": status}


STEPS = st.lists(
    st.one_of(
        st.sampled_from(UIDS),
        st.builds(
            lambda uid, *more: cluster(f"of-{uid}", uid, *more),
            st.sampled_from(UIDS),
            st.sampled_from(["of-a", "of-b", "of-c"]),
            st.sampled_from([*UIDS, "gone"]),
            st.booleans(),
            st.integers(10, 12),
        ),
    ),
    max_size=12,
)


@given(STEPS)
def test_claims_are_valid_by_the_rule_whatever_comes_and_goes(steps: list[str | dict[str, Any]]) -> None:
    """The rule: among the existing objects with a claim of an object that is gone, the first in rank has it."""
    store = Store()
    relations = Relations(store)
    for version, step in enumerate(steps, start=1):
        if isinstance(step, str):
            if raw := store.get(Key(KIND_CLUSTERS.kind, "default", f"of-{step}")):
                store.apply_event(KIND_CLUSTERS, "DELETED", raw)
        else:
            store.put(KIND_CLUSTERS, {**step, "metadata": {**step["metadata"], "resourceVersion": str(version)}})
        everyone = [KINDCluster(raw) for raw in store.values(KIND_CLUSTERS)]
        alive = {one.uid for one in everyone}
        wanted = {one.key: claim_of(one, alive.__contains__) for one in everyone}
        for one in everyone:
            claim = wanted[one.key]
            rivals = [other for other in everyone if wanted[other.key] == claim]
            is_first = claim is None or claim.uid == one.uid or one == min(rivals, key=inheritance_rank)
            assert relations.claim(one.key) == (claim if is_first else None)
            assert relations.copies_claim(one.key) == (one.claim_id != one.uid and one.claim_id in alive)
