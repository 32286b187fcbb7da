"""The owner of a claim, among all objects that the provider knows."""

from typing import Any

import pytest

from capk.api import names
from capk.api.names import KIND_CLUSTERS
from capk.api.objects import Key
from capk.manager.relations import Relations
from capk.plan.claims import Claim
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
