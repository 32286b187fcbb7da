from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from capk.api import names
from capk.api.engineclasses import KINDEngineClass
from capk.api.names import Reason
from capk.diagnosis.failures import Failure
from capk.errors import InvalidSpec
from capk.kindconfig.patches import kubeadm_documents
from capk.plan.claims import Claim
from capk.plan.creationrequest import creation_request
from capk.plan.engineclass import chosen_class, default_class, missing_class, refusal
from capk.plan.facts import EngineFacts
from capk.plan.kindcluster import decide
from capk.plan.plan import Create, Delete
from capk.plan.policy import Policy
from test.unit.plan.builders import (
    CLAIMED,
    COMPLETE,
    FINALIZER,
    NOTHING_THERE,
    NOW,
    RUNNING,
    UID,
    kindcluster,
    node,
    observe,
)

ON_LAB = {"engine": {"className": "lab"}}
REFUSED = Failure(Reason.ENGINE_NOT_ALLOWED, "KINDEngineClass lab does not allow namespace default.")
LAB = Policy(api_server_address="10.0.0.7", endpoint_host="10.0.0.7", allowed_host_paths=())


def engine_class(name: str = "lab", *, default: bool = True, age: int = 0, **spec: Any) -> KINDEngineClass:
    metadata = {
        "name": name,
        "creationTimestamp": (NOW - timedelta(days=age)).isoformat(),
        "annotations": {names.DEFAULT_CLASS_ANNOTATION: str(default).lower()},
    }
    return KINDEngineClass({"metadata": metadata, "spec": {"namespaceSelector": {}, **spec}})


def condition(plan: Any, kind: str) -> tuple[str, str]:
    found = next(one for one in plan.status["conditions"] if one["type"] == kind)
    return found["reason"], found["message"]


# --- the default class ---


def test_newest_default_class_that_allows_the_namespace_is_its_default() -> None:
    classes = [
        engine_class("old", age=2),
        engine_class("new", age=1),
        engine_class("others", namespaceSelector={"matchLabels": {"a": "b"}}),
        engine_class("plain", default=False),
    ]
    assert default_class(classes, {}) == "new"
    assert default_class(classes, {"a": "b"}) == "others"
    assert default_class(classes[3:], {}) == ""


# --- which class ---


def test_spec_decides_before_everything_else() -> None:
    cluster = kindcluster(ON_LAB, annotations={**COMPLETE, names.ENGINE_CLASS_ANNOTATION: "other"})
    assert chosen_class(cluster, Claim("dev", UID), kept="other", default="other") == "lab"


def test_object_without_anything_gets_the_default_class() -> None:
    assert chosen_class(kindcluster(), None, kept=None, default="lab") == "lab"
    assert chosen_class(kindcluster(), None, kept=None, default="") == ""


def test_claim_keeps_the_class_when_another_becomes_the_default() -> None:
    on_lab = kindcluster(annotations={**CLAIMED, names.ENGINE_CLASS_ANNOTATION: "lab"})
    on_own = kindcluster(annotations=COMPLETE)
    assert chosen_class(on_lab, Claim("dev", UID), kept=None, default="new") == "lab"
    assert chosen_class(on_own, Claim("dev", UID), kept=None, default="new") == ""


def test_edited_annotation_moves_neither_a_running_creation_nor_a_complete_cluster() -> None:
    cluster = kindcluster(annotations={**COMPLETE, names.ENGINE_CLASS_ANNOTATION: "other"})
    assert chosen_class(cluster, Claim("dev", UID), kept="lab", default="") == "lab"
    status = {"attempt": 1, "engine": {"className": "lab"}}
    complete = kindcluster(annotations=dict(cluster.annotations), status=status)
    assert chosen_class(complete, Claim("dev", UID), kept=None, default="") == "lab"


def test_cluster_of_an_earlier_release_stays_on_the_providers_own_engine() -> None:
    cluster = kindcluster(status={"initialization": {"provisioned": True}})
    assert chosen_class(cluster, None, kept=None, default="lab") == ""


def test_lost_claim_does_not_move_a_creation_that_has_begun() -> None:
    begun = {names.ATTEMPT_ANNOTATION: "1", names.ENGINE_CLASS_ANNOTATION: "lab"}
    assert chosen_class(kindcluster(annotations=begun), None, kept=None, default="new") == "lab"


def test_copied_claim_does_not_choose_a_class() -> None:
    copied = {**COMPLETE, names.CLAIM_ID_ANNOTATION: "another", names.ENGINE_CLASS_ANNOTATION: "gone"}
    assert chosen_class(kindcluster(annotations=copied), None, kept=None, default="lab") == "lab"


# --- who may ---


def test_namespace_that_is_not_selected_or_not_known_is_refused() -> None:
    closed = engine_class(namespaceSelector={"matchLabels": {"kind": "allowed"}})
    for labels in ({}, None):
        found = refusal(closed, labels, namespace="team-a", others=0)
        assert found is not None
        assert found.reason is Reason.ENGINE_NOT_ALLOWED
        assert "does not allow namespace team-a" in found.message
    assert refusal(closed, {"kind": "allowed"}, namespace="team-a", others=99) is None


def test_namespace_has_at_most_as_many_clusters_as_the_class_allows() -> None:
    limited = engine_class(limits={"clustersPerNamespace": 2})
    assert refusal(limited, {}, namespace="a", others=1) is None
    found = refusal(limited, {}, namespace="a", others=2)
    assert found is not None
    assert "allows 2 kind clusters per namespace, and a has 2 already" in found.message


# --- decisions ---


def test_object_without_its_class_waits_and_names_what_is_missing() -> None:
    plan = decide(observe(kindcluster(ON_LAB), engine=EngineFacts(failure=missing_class("lab")), engine_class="lab"))
    assert plan.operation is None
    assert plan.annotations == {}
    reason, message = condition(plan, "EngineAvailable")
    assert reason == "EngineClassNotFound"
    assert "KINDEngineClass lab does not exist" in message
    assert plan.status is not None
    assert plan.status["engine"] == {"className": "lab"}


def test_object_that_is_not_allowed_creates_nothing() -> None:
    plan = decide(observe(kindcluster(ON_LAB), engine=NOTHING_THERE, engine_class="lab", engine_refusal=REFUSED))
    assert plan.operation is None
    assert not plan.add_finalizer
    assert condition(plan, "ClusterCreated")[0] == "EngineNotAllowed"


@pytest.mark.parametrize("annotations", [COMPLETE, {names.ADOPT_ANNOTATION: "true"}, {}])
def test_annotations_do_not_lead_to_a_cluster_on_an_engine_that_is_not_allowed(annotations: dict[str, str]) -> None:
    theirs = EngineFacts(was_listed=True, exists=True, nodes=(node(mark=None),), lists_nodes=True)
    cluster = kindcluster(ON_LAB, annotations=annotations)
    plan = decide(observe(cluster, engine=theirs, engine_class="lab", engine_refusal=REFUSED))
    assert plan.operation is None
    assert condition(plan, "ClusterCreated")[0] == "EngineNotAllowed"


def test_deletion_of_an_object_that_is_not_allowed_leaves_a_cluster_that_is_not_its_own() -> None:
    theirs = EngineFacts(was_listed=True, exists=True, nodes=(node(mark="former.1"),))
    forged = {**COMPLETE, names.CLAIM_ID_ANNOTATION: "former"}
    gone = kindcluster(ON_LAB, annotations=forged, finalizers=FINALIZER, deletionTimestamp="2030-01-01T12:00:00Z")
    assert isinstance(decide(observe(gone, engine=theirs, engine_class="lab")).operation, Delete)
    plan = decide(observe(gone, engine=theirs, engine_class="lab", engine_refusal=REFUSED))
    assert plan.operation is None
    assert plan.remove_finalizer


def test_running_cluster_goes_on_when_its_namespace_is_no_longer_allowed() -> None:
    status = {"attempt": 1, "engine": {"className": "lab"}, "clusterName": "dev"}
    cluster = kindcluster(ON_LAB, annotations=COMPLETE, status=status, finalizers=FINALIZER)
    allowed = decide(observe(cluster, engine=RUNNING, engine_class="lab"))
    refused = decide(observe(cluster, engine=RUNNING, engine_class="lab", engine_refusal=REFUSED))
    assert refused == allowed
    going = kindcluster(
        ON_LAB, annotations=COMPLETE, status=status, finalizers=FINALIZER, deletionTimestamp="2030-01-01T12:00:00Z"
    )
    plan = decide(observe(going, engine=RUNNING, engine_class="lab", engine_refusal=REFUSED))
    assert isinstance(plan.operation, Delete)


@pytest.mark.parametrize(
    "proof", [{"attempt": 1}, {"initialization": {"provisioned": True}}], ids=["created", "adopted"]
)
def test_status_proves_that_a_cluster_is_the_objects_own_while_no_mark_is_listed(proof: dict[str, Any]) -> None:
    status = {**proof, "engine": {"className": "lab"}, "clusterName": "dev"}
    cluster = kindcluster(ON_LAB, annotations=COMPLETE, status=status, finalizers=FINALIZER)
    unlisted = EngineFacts(was_listed=True, exists=True)
    allowed = decide(observe(cluster, engine=unlisted, engine_class="lab"))
    assert decide(observe(cluster, engine=unlisted, engine_class="lab", engine_refusal=REFUSED)) == allowed


def test_lost_cluster_is_not_created_again_where_the_namespace_is_no_longer_allowed() -> None:
    status = {"attempt": 1, "engine": {"className": "lab"}, "clusterName": "dev"}
    cluster = kindcluster({**ON_LAB, "recreatePolicy": "Always"}, annotations=COMPLETE, status=status)
    allowed = decide(observe(cluster, engine=NOTHING_THERE, engine_class="lab"))
    assert isinstance(allowed.operation, Create)
    refused = decide(observe(cluster, engine=NOTHING_THERE, engine_class="lab", engine_refusal=REFUSED))
    assert refused.operation is None
    assert condition(refused, "ClusterCreated")[0] == "EngineNotAllowed"


def test_class_is_stored_with_the_claim() -> None:
    plan = decide(observe(kindcluster(), engine=NOTHING_THERE, engine_class="lab"))
    assert plan.annotations[names.ENGINE_CLASS_ANNOTATION] == "lab"
    own = decide(observe(kindcluster(), engine=NOTHING_THERE))
    assert names.ENGINE_CLASS_ANNOTATION not in own.annotations
    stale = kindcluster(annotations={names.ENGINE_CLASS_ANNOTATION: "lab"})
    assert decide(observe(stale, engine=NOTHING_THERE)).annotations[names.ENGINE_CLASS_ANNOTATION] is None


def test_deletion_waits_for_the_class_and_names_the_way_out() -> None:
    engine = EngineFacts(failure=missing_class("lab"))
    going: dict[str, Any] = {"finalizers": FINALIZER, "deletionTimestamp": "2030-01-01T12:00:00Z"}
    plan = decide(observe(kindcluster(ON_LAB, annotations=COMPLETE, **going), engine=engine, engine_class="lab"))
    assert not plan.remove_finalizer
    message = condition(plan, "Deleting")[1]
    assert "continues when the class is there again" in message
    assert "spec.deletionPolicy Retain" in message
    retained = kindcluster({**ON_LAB, "deletionPolicy": "Retain"}, annotations=COMPLETE, **going)
    assert decide(observe(retained, engine=engine, engine_class="lab")).remove_finalizer


# --- kind's configuration ---


def test_class_gives_the_address_of_the_api_server() -> None:
    request = creation_request(observe(kindcluster(ON_LAB), engine=NOTHING_THERE, engine_class="lab", policy=LAB))
    assert request.config["networking"]["apiServerAddress"] == "10.0.0.7"
    assert "kubeadmConfigPatches" not in request.config


def test_certificate_is_valid_for_the_endpoint_host_of_the_class() -> None:
    policy = replace(LAB, api_server_address="0.0.0.0", endpoint_host="lab.example")
    observed = observe(kindcluster(ON_LAB, owner="dev"), engine=NOTHING_THERE, engine_class="lab", policy=policy)
    config = creation_request(observed).config
    assert config["networking"]["apiServerAddress"] == "0.0.0.0"
    (patch,) = config["kubeadmConfigPatches"]
    (document,) = kubeadm_documents(patch)
    assert document["apiServer"]["certSANs"] == ["localhost", "0.0.0.0", "lab.example"]


def test_address_of_the_spec_is_refused_where_the_default_class_gives_one() -> None:
    cluster = kindcluster({"networking": {"apiServerAddress": "127.0.0.1"}})
    with pytest.raises(InvalidSpec, match="KINDEngineClass lab gives the address; leave it out"):
        creation_request(observe(cluster, engine=NOTHING_THERE, engine_class="lab", policy=LAB))
