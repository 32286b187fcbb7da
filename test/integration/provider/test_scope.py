"""Which objects a provider looks after: a namespace, a watch filter, and what others manage."""

from collections.abc import Callable

import pytest
from api import Api
from journeys import Place, standalone, unchanged

from capk.api.names import KIND_CLUSTERS, MANAGED_BY_ANNOTATION, WATCH_FILTER_LABEL


@pytest.mark.rule("C9", "K7")
def test_provider_leaves_alone_what_is_outside_its_namespace_and_filter(
    own_place: Callable[..., Place], api: Api
) -> None:
    place, elsewhere = own_place("--watch-filter", "blue"), api.new_namespace()
    for name, value in (("ours", "blue"), ("theirs", "green"), ("nobodys", None)):
        cluster = standalone(name)
        cluster["metadata"]["labels"] = {WATCH_FILTER_LABEL: value} if value else {}
        place.create(cluster)
    outside = standalone("outside")
    outside["metadata"]["labels"] = {WATCH_FILTER_LABEL: "blue"}
    api.create(elsewhere, outside)

    place.await_condition("ours")
    for seen in (
        place.get(KIND_CLUSTERS, "theirs"),
        place.get(KIND_CLUSTERS, "nobodys"),
        api.get(KIND_CLUSTERS, elsewhere, "outside"),
    ):
        assert "status" not in seen
        assert "finalizers" not in seen["metadata"]
    assert place.process.home.names() == ["ours"]

    place.patch(KIND_CLUSTERS, "nobodys", {"metadata": {"labels": {WATCH_FILTER_LABEL: "blue"}}})
    place.await_condition("nobodys")


@pytest.mark.rule("C6")
def test_object_that_another_system_manages_is_not_touched(quick_place: Place) -> None:
    managed = standalone("managed")
    managed["metadata"]["annotations"] = {MANAGED_BY_ANNOTATION: ""}
    before = quick_place.create(managed)
    unchanged(lambda: quick_place.get(KIND_CLUSTERS, "managed"), 4)
    assert quick_place.get(KIND_CLUSTERS, "managed") == before
    assert quick_place.kind.creations("managed") == 0

    quick_place.patch(KIND_CLUSTERS, "managed", {"metadata": {"annotations": {MANAGED_BY_ANNOTATION: None}}})
    quick_place.await_condition("managed")
    quick_place.delete(KIND_CLUSTERS, "managed")
