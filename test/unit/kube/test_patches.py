from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recording_kube import merge

from capk.kube.patches import merge_diff, metadata_patch, status_patch, without_nulls

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
    result = obj if patch is None else merge(obj, patch)
    assert result["status"] == without_nulls(want)
    assert result["metadata"] == obj["metadata"]


@pytest.mark.rule("C19")
@given(objects, objects)
def test_status_patch_is_none_if_and_only_if_nothing_changes(have: dict, want: dict) -> None:
    obj = seen(status=without_nulls(have))
    assert (status_patch(obj, want) is None) == (without_nulls(have) == without_nulls(want))


@pytest.mark.rule("K22")
def test_every_patch_is_guarded_by_version_and_uid() -> None:
    guard = {"resourceVersion": "7", "uid": "u1"}
    status = status_patch(seen(), {"ready": True})
    assert status == {"metadata": guard, "status": {"ready": True}}
    metadata = metadata_patch(seen(), add_finalizer="ours")
    assert metadata == {"metadata": {**guard, "finalizers": ["ours"]}}


def test_status_patch_removes_what_is_not_wanted() -> None:
    obj = seen(status={"a": 1, "b": {"c": 1, "d": 2}})
    patch = status_patch(obj, {"b": {"d": 2}})
    assert patch is not None
    assert patch["status"] == {"a": None, "b": {"c": None}}


@pytest.mark.rule("C3")
def test_nulls_are_never_written() -> None:
    assert status_patch(seen(), {"a": None, "b": [{"c": None}]}) == {
        "metadata": {"resourceVersion": "7", "uid": "u1"},
        "status": {"b": [{}]},
    }
    assert status_patch(seen(), {"a": None}) is None


@pytest.mark.rule("C8", "C29")
@given(st.lists(st.sampled_from(["a", "b", "ours"]), unique=True), st.booleans())
def test_finalizers_of_others_are_kept_in_order(existing: list[str], add: bool) -> None:
    obj = seen(metadata={"finalizers": existing})
    change = {"add_finalizer": "ours"} if add else {"remove_finalizer": "ours"}
    patch = metadata_patch(obj, **change)
    result = obj if patch is None else merge(obj, patch)
    finalizers = result["metadata"]["finalizers"]
    assert [name for name in finalizers if name != "ours"] == [name for name in existing if name != "ours"]
    assert finalizers.count("ours") == int(add)
    assert (patch is None) == (finalizers == existing)


@pytest.mark.rule("C29")
@given(string_maps, st.dictionaries(names, st.none() | st.text("xy", max_size=2), max_size=3))
def test_annotations_are_set_or_removed_and_others_kept(existing: dict, changes: dict) -> None:
    obj = seen(metadata={"annotations": existing, "labels": {"keep": "me"}})
    patch = metadata_patch(obj, annotations=changes)
    result = obj if patch is None else merge(obj, patch)
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
    result = merge(obj, patch)
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
    patch = metadata_patch(obj, spec=without_nulls(named))
    result = obj if patch is None else merge(obj, patch)
    assert result["spec"] == merge(without_nulls(have), without_nulls(named))
    if patch is None:
        assert result["spec"] == obj["spec"]


def test_spec_field_can_be_removed() -> None:
    patch = metadata_patch(seen(spec={"a": 1, "b": {"c": 1}}), spec={"a": None, "b": {"c": None, "d": None}})
    assert patch is not None
    assert patch["spec"] == {"a": None, "b": {"c": None}}


def test_nothing_asked_for_gives_no_patch() -> None:
    assert metadata_patch(seen()) is None


@given(objects, objects)
def test_merge_diff_leads_from_one_document_to_the_other(have: dict, want: dict) -> None:
    have, want = without_nulls(have), without_nulls(want)
    diff = merge_diff(have, want)
    assert merge(have, diff) == want
    assert (not diff) == (have == want)
