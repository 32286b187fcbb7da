from typing import Any

import jsonpatch
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capk.kube.jsonpatches import changed, metadata_patch, secret_patch, status_patch, without_nulls

scalars = st.sampled_from(["", "x", 0, 7])
documents = st.recursive(
    scalars | st.none(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=2),
    max_leaves=4,
)
objects = st.dictionaries(st.sampled_from("abc"), documents, max_size=3)
names = st.sampled_from(["a", "b", "ours"])
string_maps = st.dictionaries(names, st.text("xy", max_size=2), max_size=3)


def seen(**parts: Any) -> dict[str, Any]:
    metadata = {"name": "dev", "namespace": "default", "uid": "u1", "resourceVersion": "7", **parts.pop("metadata", {})}
    return {"metadata": metadata, **parts}


@given(objects, objects)
def test_status_patch_applied_gives_exactly_the_wanted_status(have: dict, want: dict) -> None:
    obj = seen(status=without_nulls(have))
    patch = status_patch(obj, want)
    result = obj if patch is None else jsonpatch.apply_patch(obj, patch)
    assert result["status"] == without_nulls(want)
    assert result["metadata"] == obj["metadata"]


@pytest.mark.rule("C19")
@given(objects, objects)
def test_status_patch_is_none_if_and_only_if_nothing_changes(have: dict, want: dict) -> None:
    obj = seen(status=without_nulls(have))
    assert (status_patch(obj, want) is None) == (without_nulls(have) == without_nulls(want))


@pytest.mark.rule("K22")
def test_every_patch_is_guarded_by_version_and_uid() -> None:
    secret = {"metadata": {"labels": {}, "annotations": {}, "ownerReferences": []}, "data": {}, "type": "Opaque"}
    patches = (
        status_patch(seen(), {"ready": True}),
        metadata_patch(seen(), add_finalizer="ours"),
        secret_patch(seen()["metadata"], secret),
    )
    for patch in patches:
        assert patch is not None
        assert patch[:2] == [
            {"op": "test", "path": "/metadata/uid", "value": "u1"},
            {"op": "test", "path": "/metadata/resourceVersion", "value": "7"},
        ]
        for stale in ({"uid": "u2"}, {"resourceVersion": "8"}):
            with pytest.raises(jsonpatch.JsonPatchTestFailed):
                jsonpatch.apply_patch(seen(metadata=stale), patch)


def test_status_patch_removes_what_is_not_wanted() -> None:
    obj = seen(status={"a": 1, "b": {"c": 1, "d": 2}})
    patch = status_patch(obj, {"b": {"d": 2}})
    assert patch is not None
    assert sorted(one["path"] for one in patch if one["op"] == "remove") == ["/status/a", "/status/b/c"]


@pytest.mark.rule("C3")
def test_nulls_are_never_written() -> None:
    patch = status_patch(seen(), {"a": None, "b": [{"c": None}]})
    assert patch is not None
    assert patch[2:] == [{"op": "add", "path": "/status", "value": {"b": [{}]}}]
    assert status_patch(seen(), {"a": None}) is None


@pytest.mark.rule("C8", "C29")
@given(st.lists(st.sampled_from(["a", "b", "ours"]), unique=True), st.booleans())
def test_finalizers_of_others_are_kept_in_order(existing: list[str], add: bool) -> None:
    obj = seen(metadata={"finalizers": existing})
    change = {"add_finalizer": "ours"} if add else {"remove_finalizer": "ours"}
    patch = metadata_patch(obj, **change)
    result = obj if patch is None else jsonpatch.apply_patch(obj, patch)
    finalizers = result["metadata"]["finalizers"]
    assert [name for name in finalizers if name != "ours"] == [name for name in existing if name != "ours"]
    assert finalizers.count("ours") == int(add)
    assert (patch is None) == (finalizers == existing)


@pytest.mark.rule("C29")
@given(string_maps, st.dictionaries(names, st.none() | st.text("xy", max_size=2), max_size=3))
def test_annotations_are_set_or_removed_and_others_kept(existing: dict, changes: dict) -> None:
    obj = seen(metadata={"annotations": existing, "labels": {"keep": "me"}})
    patch = metadata_patch(obj, annotations=changes)
    result = obj if patch is None else jsonpatch.apply_patch(obj, patch)
    wanted = {key: value for key, value in {**existing, **changes}.items() if value is not None}
    assert result["metadata"]["annotations"] == wanted
    assert result["metadata"]["labels"] == {"keep": "me"}
    assert (patch is None) == (wanted == existing)


def test_one_patch_carries_all_changes_of_the_object() -> None:
    obj = seen(spec={"clusterName": "dev"})
    patch = metadata_patch(
        obj,
        add_finalizer="ours",
        annotations={"claim": "dev"},
        spec={"controlPlaneEndpoint": {"host": "h", "port": 1}},
    )
    assert patch is not None
    result = jsonpatch.apply_patch(obj, patch)
    assert result["spec"] == {"clusterName": "dev", "controlPlaneEndpoint": {"host": "h", "port": 1}}
    assert result["metadata"] == {
        **obj["metadata"],
        "finalizers": ["ours"],
        "annotations": {"claim": "dev"},
    }
    assert metadata_patch(result, add_finalizer="ours", annotations={"claim": "dev"}) is None


@given(objects, objects)
def test_spec_patch_sets_the_named_fields_and_leaves_the_rest(have: dict, named: dict) -> None:
    obj = seen(spec=without_nulls(have))
    patch = metadata_patch(obj, spec=named)
    result = obj if patch is None else jsonpatch.apply_patch(obj, patch)
    wanted = {key: value for key, value in {**without_nulls(have), **named}.items() if value is not None}
    assert result["spec"] == wanted
    assert (patch is None) == (wanted == obj["spec"])


def test_nothing_asked_for_gives_no_patch() -> None:
    assert metadata_patch(seen()) is None


@given(objects, objects)
def test_patch_leads_from_one_document_to_the_other(have: dict, want: dict) -> None:
    have, want = without_nulls(have), without_nulls(want)
    patch = changed(seen()["metadata"], have, want)
    assert (patch is None) == (have == want)
    if patch is not None:
        assert jsonpatch.apply_patch({**seen(), **have}, patch) == {**seen(), **want}


@pytest.mark.rule("C29")
def test_secret_patch_replaces_the_data_and_keeps_labels_and_owners_of_others() -> None:
    other, gone = {"uid": "u8", "name": "other"}, {"uid": "u9", "name": "former", "controller": True}
    current = seen(
        metadata={"labels": {"theirs": "1", "ours": "old"}, "ownerReferences": [gone, other]},
        data={"value": "b2xk", "stray": "eA=="},
        type="Opaque",
    )
    owner = {"uid": "u7", "name": "dev", "controller": True}
    wanted = {
        "metadata": {"labels": {"ours": "1"}, "annotations": {"digest": "d"}, "ownerReferences": [owner]},
        "data": {"value": "bmV3"},
        "type": "Opaque",
    }
    result = jsonpatch.apply_patch(current, secret_patch(current["metadata"], wanted))
    assert result["data"] == {"value": "bmV3"}
    assert result["metadata"]["labels"] == {"theirs": "1", "ours": "1"}
    assert result["metadata"]["annotations"] == {"digest": "d"}
    assert result["metadata"]["ownerReferences"] == [owner, other]
