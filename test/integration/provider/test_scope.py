"""Which objects a provider manages: a namespace, a watch filter, and objects that others manage."""

from collections.abc import Callable, Iterator
from pathlib import Path

import kopf
import pytest

from capk.api.names import (
    KIND_CLUSTERS,
    MANAGED_BY_ANNOTATION,
    SECRET_CLUSTER_LABEL,
    SECRETS,
    WATCH_FILTER_LABEL,
)
from capkdev.fakekind.create import MODE_VARIABLE
from capkdev.managementcluster.cluster import LocalManagementCluster
from test.integration.api import Api, eventually
from test.integration.provider.journeys import SHORT_PERIODS, Place, SwitchableKind, standalone, unchanged
from test.integration.provider_process import ProviderProcess


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


@pytest.fixture
def everywhere(management: LocalManagementCluster, tmp_path: Path) -> Iterator[ProviderProcess]:
    """A provider for all namespaces, with objects that no other one manages."""
    flags = [*SHORT_PERIODS, "--watch-filter", "everywhere", "--wait-for-nodes", "0"]
    process = ProviderProcess(management, tmp_path, flags, {MODE_VARIABLE: "instant"}).start()
    yield process
    process.kill()
    process.remove_clusters()
    print(process.log_text())


@pytest.mark.rule("C21")
def test_two_namespaces_with_one_cluster_name_share_nothing(
    everywhere: ProviderProcess, management: LocalManagementCluster, api: Api, tmp_path: Path
) -> None:
    kind = SwitchableKind(tmp_path / "bin")
    first, second = (Place(management, api, api.new_namespace(), everywhere, kind) for _ in range(2))
    cluster = standalone("dev")
    cluster["metadata"]["labels"] = {WATCH_FILTER_LABEL: "everywhere"}
    first.create(cluster)
    first.await_condition("dev")
    uid = first.kind_cluster("dev").uid
    second.create(cluster)
    seen = second.await_condition("dev", reason="NameConflict")
    assert f"{first.namespace}/dev" in seen["message"]
    assert second.find(SECRETS, "dev-config") is None

    # The waiting one is deleted: this removes nothing of the other.
    second.delete(KIND_CLUSTERS, "dev")
    second.await_gone("dev")
    assert first.kind_cluster("dev").uid == uid
    assert first.find(SECRETS, "dev-config")

    # The one with the cluster is deleted: the next one gets its own kind cluster.
    second.create(cluster)
    second.await_condition("dev", reason="NameConflict")
    first.delete(KIND_CLUSTERS, "dev")
    first.await_gone("dev")
    second.await_condition("dev")
    assert second.kind_cluster("dev").uid != uid
    assert first.find(SECRETS, "dev-config") is None


@pytest.mark.rule("K13")
def test_finalizer_of_another_operator_that_uses_kopf_stays(quick_place: Place) -> None:
    """kopf has one for all of its operators, and removes it where it needs none."""
    theirs = kopf.OperatorSettings().persistence.finalizer
    cluster, name = standalone("shared"), "shared-copy"
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "labels": {SECRET_CLUSTER_LABEL: name}}}
    for document in (cluster, secret):
        document["metadata"]["finalizers"] = [theirs]
        quick_place.create(document)
    quick_place.await_condition("shared")
    for resource, found in ((KIND_CLUSTERS, "shared"), (SECRETS, name)):
        unchanged(lambda: quick_place.get(resource, found)["metadata"]["finalizers"], 2)  # noqa: B023
        assert theirs in quick_place.get(resource, found)["metadata"]["finalizers"]

    for resource, found in ((KIND_CLUSTERS, "shared"), (SECRETS, name)):
        quick_place.delete(resource, found)
    quick_place.patch(SECRETS, name, {"metadata": {"finalizers": None}})
    eventually(lambda: quick_place.get(KIND_CLUSTERS, "shared")["metadata"]["finalizers"] == [theirs])
    quick_place.patch(KIND_CLUSTERS, "shared", {"metadata": {"finalizers": None}})
    quick_place.await_gone("shared")


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
