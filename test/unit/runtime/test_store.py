import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capk.api.names import KIND_CLUSTERS, PODS, SECRETS
from capk.api.objects import Key
from capk.runtime.store import Store

DEV = Key("KINDCluster", "default", "dev")


def cluster(version: int, *, name: str = "dev", uid: str = "u1", namespace: str = "default", **parts: Any) -> dict:
    metadata = {"name": name, "namespace": namespace, "uid": uid, "resourceVersion": str(version)}
    return {"kind": "KINDCluster", "metadata": {**metadata, **parts.pop("metadata", {})}, **parts}


def version_of(store: Store, key: Key = DEV) -> str | None:
    kept = store.get(key)
    return kept["metadata"]["resourceVersion"] if kept else None


def test_event_is_stored_and_found() -> None:
    store = Store()
    assert store.get(DEV) is None
    assert store.apply_event(KIND_CLUSTERS, None, cluster(5, spec={"a": 1}))
    assert store.get(DEV)["spec"] == {"a": 1}
    assert store.keys(KIND_CLUSTERS) == [DEV]
    assert store.keys(SECRETS) == []
    assert store.values(KIND_CLUSTERS) == [store.get(DEV)]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON)
def test_stored_object_equals_what_the_api_server_sent(spec: Any) -> None:
    store = Store()
    store.put(KIND_CLUSTERS, cluster(5, spec={"field": spec}))
    assert store.get(DEV) == cluster(5, spec={"field": spec})


def test_stored_objects_share_their_strings() -> None:
    store = Store()
    for name in ("dev", "prod"):
        # Two responses, so nothing is shared when they arrive.
        store.put(KIND_CLUSTERS, json.loads(json.dumps(cluster(5, name=name, status={"conditions": [{"a": "Ready"}]}))))
    [[one]], [[other]] = ([found["status"]["conditions"][0].items()] for found in store.values(KIND_CLUSTERS))
    assert one[0] is other[0]
    assert one[1] is other[1]


def test_stored_object_keeps_no_part_of_the_response() -> None:
    sent = cluster(5, spec={"nodes": [{"role": "worker"}]})
    store = Store()
    store.put(KIND_CLUSTERS, sent)
    kept = store.get(DEV)
    assert kept["spec"] is not sent["spec"]
    assert kept["spec"]["nodes"] is not sent["spec"]["nodes"]
    assert kept["spec"]["nodes"][0] is not sent["spec"]["nodes"][0]


@pytest.mark.rule("K22")
def test_old_event_does_not_undo_our_own_write() -> None:
    store = Store()
    store.put(KIND_CLUSTERS, cluster(10))
    assert not store.apply_event(KIND_CLUSTERS, "MODIFIED", cluster(9))
    assert version_of(store) == "10"


def test_versions_are_compared_as_numbers() -> None:
    store = Store()
    store.put(KIND_CLUSTERS, cluster(9))
    assert store.apply_event(KIND_CLUSTERS, "MODIFIED", cluster(10))
    assert version_of(store) == "10"


@pytest.mark.rule("K28")
def test_repeated_listing_tells_nothing_new() -> None:
    store = Store()
    store.apply_event(KIND_CLUSTERS, "ADDED", cluster(5))
    assert not store.apply_event(KIND_CLUSTERS, None, cluster(5))


@given(st.permutations(range(1, 6)))
def test_newest_version_wins_in_any_order(order: list[int]) -> None:
    store = Store()
    for version in order:
        store.apply_event(KIND_CLUSTERS, "MODIFIED", cluster(version))
    assert version_of(store) == "5"


def test_deleted_object_is_gone_and_late_answers_do_not_bring_it_back() -> None:
    store = Store()
    store.put(KIND_CLUSTERS, cluster(5))
    assert store.apply_event(KIND_CLUSTERS, "DELETED", cluster(8))
    assert store.get(DEV) is None
    assert not store.put(KIND_CLUSTERS, cluster(7))
    assert not store.put(KIND_CLUSTERS, cluster(8))
    assert store.get(DEV) is None


def test_object_that_matches_the_selector_of_its_watch_again_is_back() -> None:
    """A watch with a selector reports an object that no longer matches as DELETED, although it may still exist."""
    store = Store()
    store.put(KIND_CLUSTERS, cluster(5))
    assert store.apply_event(KIND_CLUSTERS, "DELETED", cluster(8))
    assert store.put(KIND_CLUSTERS, cluster(9))
    assert not store.apply_event(KIND_CLUSTERS, "DELETED", cluster(8))
    assert version_of(store) == "9"


def test_answer_to_the_removal_of_the_last_finalizer_is_a_deletion() -> None:
    store = Store()
    store.put(KIND_CLUSTERS, cluster(5))
    store.put(KIND_CLUSTERS, cluster(6, metadata={"deletionTimestamp": "2030-01-01T00:00:00Z"}))
    assert store.get(DEV) is None


@pytest.mark.parametrize("seconds_left", [10, 0])
def test_pod_that_is_ending_is_there_until_its_deletion_is_reported(seconds_left: int) -> None:
    store, times = Store(), {"deletionTimestamp": "2030-01-01T00:00:00Z", "deletionGracePeriodSeconds": seconds_left}
    store.linger(PODS)
    pod = {**cluster(6, metadata=times), "kind": "Pod"}
    assert store.put(PODS, pod)
    assert store.get(DEV._replace(kind="Pod")) is not None
    assert store.apply_event(PODS, "DELETED", pod)
    assert store.get(DEV._replace(kind="Pod")) is None


def test_deletion_that_arrives_before_the_object_counts() -> None:
    store = Store()
    assert not store.apply_event(KIND_CLUSTERS, "DELETED", cluster(8))
    assert not store.put(KIND_CLUSTERS, cluster(7))


def test_listeners_hear_of_what_is_stored_and_of_what_is_dropped() -> None:
    store, heard = Store(), []
    store.listen(KIND_CLUSTERS, lambda key: heard.append((key.name, store.get(key) is not None)))
    store.put(KIND_CLUSTERS, cluster(5))
    store.put(KIND_CLUSTERS, cluster(5))
    store.put(SECRETS, cluster(6, uid="s1"))
    store.apply_event(KIND_CLUSTERS, "DELETED", cluster(8))
    store.put(KIND_CLUSTERS, cluster(9, uid="u2"))
    store.prune(KIND_CLUSTERS, [], "10")
    assert heard == [("dev", True), ("dev", False), ("dev", True), ("dev", False)]


@given(st.permutations(["add1", "change1", "delete1", "add2"]))
def test_recreated_object_replaces_the_old_one_in_any_order(order: list[str]) -> None:
    events = {
        "add1": ("ADDED", cluster(1, uid="u1")),
        "change1": ("MODIFIED", cluster(2, uid="u1")),
        "delete1": ("DELETED", cluster(3, uid="u1")),
        "add2": ("ADDED", cluster(4, uid="u2")),
    }
    store = Store()
    for name in order:
        store.apply_event(KIND_CLUSTERS, *events[name])
    assert store.get(DEV)["metadata"]["uid"] == "u2"


def test_managed_fields_are_dropped_and_the_given_object_is_left_alone() -> None:
    store = Store()
    obj = cluster(1, metadata={"managedFields": [{"manager": "x"}]})
    store.put(KIND_CLUSTERS, obj)
    assert "managedFields" not in store.get(DEV)["metadata"]
    assert "managedFields" in obj["metadata"]


def test_projection_keeps_secrets_out_of_memory() -> None:
    store = Store()
    store.project(SECRETS, lambda secret: sorted(secret["data"]))
    store.index("owner", lambda obj: [obj["data"]["value"]] if "data" in obj else [])
    secret = {**cluster(1, name="s"), "kind": "Secret", "data": {"value": "hush"}}
    store.put(SECRETS, secret)
    assert store.get(Key("Secret", "default", "s")) == ["value"]
    assert store.find("owner", "hush") == [Key("Secret", "default", "s")]


def test_kinds_of_one_name_do_not_mix() -> None:
    store = Store()
    store.put(KIND_CLUSTERS, cluster(1))
    store.put(SECRETS, cluster(9, uid="s1"))
    assert version_of(store) == "1"
    assert version_of(store, Key("Secret", "default", "dev")) == "9"


def test_custom_index_finds_by_value() -> None:
    store = Store()
    store.index("cluster-name", lambda obj: [obj.get("spec", {}).get("clusterName", obj["metadata"]["name"])])
    store.put(KIND_CLUSTERS, cluster(1, name="a", uid="a", spec={"clusterName": "one"}))
    store.put(KIND_CLUSTERS, cluster(2, name="one", uid="b"))
    assert [key.name for key in store.find("cluster-name", "one", KIND_CLUSTERS)] == ["a", "one"]
    assert store.find("cluster-name", "one", SECRETS) == []


@pytest.mark.rule("K27")
def test_missed_deletion_is_found_by_the_list() -> None:
    store = Store()
    store.put(KIND_CLUSTERS, cluster(5))
    store.put(KIND_CLUSTERS, cluster(6, name="kept", uid="u2"))
    drift = store.prune(KIND_CLUSTERS, [cluster(6, name="kept", uid="u2")], "9")
    assert drift.vanished == (DEV,)
    assert drift.behind == ()
    assert store.get(DEV) is None
    assert not store.put(KIND_CLUSTERS, cluster(8))


def test_object_that_was_stored_after_the_list_stays() -> None:
    store = Store()
    store.put(KIND_CLUSTERS, cluster(10))
    assert store.prune(KIND_CLUSTERS, [], "9").vanished == ()
    assert version_of(store) == "10"


def test_list_tells_which_objects_the_watch_is_behind_of() -> None:
    store = Store()
    store.put(KIND_CLUSTERS, cluster(5))
    listed = [cluster(7), cluster(3, name="never-seen", uid="u2")]
    drift = store.prune(KIND_CLUSTERS, listed, "9")
    assert drift.vanished == ()
    assert drift.behind == (DEV, Key("KINDCluster", "default", "never-seen"))


def test_object_recreated_during_an_outage_is_vanished_and_behind() -> None:
    store = Store()
    store.put(KIND_CLUSTERS, cluster(5))
    drift = store.prune(KIND_CLUSTERS, [cluster(7, uid="u2")], "9")
    assert drift.vanished == drift.behind == (DEV,)
    assert store.put(KIND_CLUSTERS, cluster(7, uid="u2"))


def test_list_of_one_namespace_leaves_the_others_alone() -> None:
    store = Store()
    store.put(KIND_CLUSTERS, cluster(5))
    store.put(KIND_CLUSTERS, cluster(6, namespace="other", uid="u2"))
    assert store.prune(KIND_CLUSTERS, [], "9", namespace="other").vanished == (Key("KINDCluster", "other", "dev"),)
    assert store.get(DEV) is not None


def test_list_of_one_kind_leaves_the_others_alone() -> None:
    store = Store()
    store.put(KIND_CLUSTERS, cluster(5))
    assert store.prune(SECRETS, [], "9").vanished == ()
    assert store.get(DEV) is not None


def test_storage_restored_from_a_backup_replaces_everything() -> None:
    store = Store()
    store.put(KIND_CLUSTERS, cluster(100))
    store.prune(KIND_CLUSTERS, [cluster(100)], "100")
    store.apply_event(KIND_CLUSTERS, "DELETED", cluster(110))
    store.put(KIND_CLUSTERS, cluster(105, name="new", uid="u2"))
    drift = store.prune(KIND_CLUSTERS, [cluster(40)], "50")
    assert drift.vanished == (Key("KINDCluster", "default", "new"),)
    assert drift.behind == (DEV,)
    assert store.apply_event(KIND_CLUSTERS, None, cluster(40))


def test_memory_of_deleted_objects_is_bounded() -> None:
    store = Store()
    store.apply_event(KIND_CLUSTERS, "DELETED", cluster(1))
    store.prune(KIND_CLUSTERS, [], "2")
    assert not store.put(KIND_CLUSTERS, cluster(1))
    store.prune(KIND_CLUSTERS, [], "3")
    assert store.put(KIND_CLUSTERS, cluster(1))
