"""A core of the contract v1beta1, which reads status.ready; run with `make test-older-core`."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from capk.api.names import KIND_CLUSTERS, KIND_CONTROL_PLANES, SECRETS, Resource
from capkdev.managementcluster.cluster import LocalManagementCluster
from capkdev.managementcluster.options import Options
from test.integration.api import Object, condition, connected, eventually
from test.integration.provider.journeys import (
    SHORT_PERIODS,
    Place,
    SwitchableKind,
    control_plane,
    kindcluster,
    node_names,
)
from test.integration.provider_process import StartProvider

OLDER_CORE = "CAPK_OLDER_CORE"
"""Environment variable: a directory with an older core-manager and its manifests, as in bin/."""
CLUSTERS = Resource("cluster.x-k8s.io", "v1beta1", "clusters", "Cluster")
NAME = "vintage"


@pytest.fixture
def older_management(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalManagementCluster]:
    """A management cluster with the older core."""
    if OLDER_CORE not in os.environ:
        pytest.skip(f"{OLDER_CORE} names no older core: `make test-older-core` builds one")
    options = Options(binaries=os.environ[OLDER_CORE])
    with LocalManagementCluster(tmp_path_factory.mktemp("older"), options) as started:
        yield started


@pytest.mark.rule("C2", "C5", "C12", "C41")
def test_older_core_takes_a_cluster_from_pending_to_connected_and_away(
    older_management: LocalManagementCluster, provider: StartProvider, tmp_path: Path
) -> None:
    with connected(older_management) as api:
        namespace = api.new_namespace()
        kind = SwitchableKind(tmp_path / "bin")
        process = provider(older_management, namespace, *SHORT_PERIODS, *kind.flags)
        place = Place(older_management, api, namespace, process, kind)
        place.create(_owner(namespace), kindcluster(NAME), control_plane(NAME, place.version))

        eventually(lambda: place.get(CLUSTERS, NAME)["status"].get("phase") == "Provisioned", 120)
        for kind_of_news in ("Ready", "InfrastructureReady", "ControlPlaneReady", "ControlPlaneInitialized"):
            place.await_condition(NAME, kind_of_news, status="True", resource=CLUSTERS)
        cluster = place.get(CLUSTERS, NAME)
        assert cluster["status"]["infrastructureReady"] is True
        assert cluster["status"]["controlPlaneReady"] is True
        assert cluster["spec"]["controlPlaneEndpoint"] == place.get(KIND_CLUSTERS, NAME)["spec"]["controlPlaneEndpoint"]
        _check_probe(place)
        assert node_names(place.get(SECRETS, f"{NAME}-kubeconfig"), tmp_path) == [f"{NAME}-control-plane"]

        place.delete(CLUSTERS, NAME)
        place.await_gone(NAME, CLUSTERS)
        assert process.home.names() == []
        for resource in (KIND_CLUSTERS, KIND_CONTROL_PLANES, SECRETS):
            assert api.list(resource, namespace) == []


def _check_probe(place: Place) -> None:
    def probed() -> bool:
        newer = {"status": place.get(CLUSTERS, NAME)["status"].get("v1beta2") or {}}
        return condition(newer, "RemoteConnectionProbe").get("status") == "True"

    eventually(probed, 60)


def _owner(namespace: str) -> Object:
    def reference(resource: Resource) -> dict[str, str]:
        return {
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "name": NAME,
            "namespace": namespace,
        }

    return {
        "apiVersion": CLUSTERS.api_version,
        "kind": "Cluster",
        "metadata": {"name": NAME},
        "spec": {
            "infrastructureRef": reference(KIND_CLUSTERS),
            "controlPlaneRef": reference(KIND_CONTROL_PLANES),
        },
    }
