"""One provider that drives its own engine and that of a class, with a real API server and the rights of the role."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from capk.api.names import KIND_CLUSTERS, KIND_ENGINE_CLASSES, NAMESPACES, SECRETS, WATCH_FILTER_LABEL
from capkdev.fakekind.clusters import Home
from capkdev.fakekind.listing import HOSTS
from capkdev.managementcluster.cluster import LocalManagementCluster
from test.integration.api import Object, connected, eventually
from test.integration.provider.journeys import SHORT_PERIODS, Place, SwitchableKind, node_names, standalone
from test.integration.provider_process import ProviderProcess
from test.unit.engine.test_remotekeys import tls_data

FILTER = "engine-classes"
CLASS = "integration-lab"
ENGINE = "127.0.0.1:2376"


@pytest.fixture
def place(management: LocalManagementCluster, tmp_path: Path) -> Iterator[Place]:
    """A provider for all namespaces, with objects that no other one manages; only such a one reads classes."""
    with connected(management) as api:
        namespace, kind = api.new_namespace(), SwitchableKind(tmp_path / "bin")
        flags = ["--watch-filter", FILTER, "--leader-election-namespace", namespace, *SHORT_PERIODS, *kind.flags]
        process = ProviderProcess(management, tmp_path, flags, {}).start()
        yield Place(management, api, namespace, process, kind)
        api.delete(KIND_ENGINE_CLASSES, "", CLASS)
        process.kill()
        process.remove_clusters()
        for cluster in far(process).clusters():
            far(process).remove(cluster)
        print(process.log_text())


def far(process: ProviderProcess) -> Home:
    """Return the kind clusters on the engine of the class."""
    return Home(process.home.directory / HOSTS / ENGINE)


def engine_class(**spec: object) -> Object:
    host = {"host": f"tcp://{ENGINE}", "secretRef": {"name": "lab"}}
    return {
        "apiVersion": KIND_ENGINE_CLASSES.api_version,
        "kind": "KINDEngineClass",
        "metadata": {"name": CLASS, "labels": {WATCH_FILTER_LABEL: FILTER}},
        "spec": {"docker": host, "namespaceSelector": {"matchLabels": {"kind-engines": "lab"}}, **spec},
    }


def managed(name: str, **spec: object) -> Object:
    cluster = standalone(name, **spec)
    cluster["metadata"]["labels"] = {WATCH_FILTER_LABEL: FILTER}
    return cluster


def test_cluster_lives_on_the_engine_of_its_class(place: Place, tmp_path: Path) -> None:
    place.create(managed("near"), managed("far", engine={"className": CLASS}))
    place.await_condition("far", "EngineAvailable", "EngineClassNotFound")

    place.create(engine_class())
    place.await_condition("far", "EngineAvailable", "EngineUnreachable")
    ready = place.api.get(KIND_ENGINE_CLASSES, "", CLASS)["status"]["conditions"][0]
    assert f"Secret {place.namespace}/lab of KINDEngineClass {CLASS} does not exist" in ready["message"]

    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "lab"}, "data": tls_data()}
    place.create(secret)
    place.await_condition("far", "ClusterCreated", "EngineNotAllowed")
    place.api.patch(NAMESPACES, "", place.namespace, {"metadata": {"labels": {"kind-engines": "lab"}}})

    place.await_condition("far")
    place.await_condition("near")
    assert (place.process.home.names(), far(place.process).names()) == (["near"], ["far"])
    networking = place.kind.configuration("far")["networking"]
    assert networking["apiServerAddress"] == "127.0.0.1"
    assert 20000 <= networking["apiServerPort"] <= 29999
    status = place.get(KIND_CLUSTERS, "far")["status"]
    assert status["engine"] == {"className": CLASS}
    assert status["endpoints"]["external"] == f"https://127.0.0.1:{networking['apiServerPort']}"
    assert node_names(place.get(SECRETS, "far-config"), tmp_path, key="config") == ["far-control-plane"]
    eventually(lambda: place.api.get(KIND_ENGINE_CLASSES, "", CLASS)["status"]["clusters"] == 1)
    assert "far" in [path.parent.name for path in far(place.process).directory.rglob("containers")]

    place.delete(KIND_CLUSTERS, "far")
    place.await_gone("far")
    assert (place.process.home.names(), far(place.process).names()) == (["near"], [])
    place.await_condition("near")


def test_private_files_of_the_class_go_with_it(place: Place, tmp_path: Path) -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "lab"}, "data": tls_data()}
    place.create(secret, engine_class())
    keys = eventually(lambda: list((tmp_path / "work").rglob("key.pem")))
    assert keys[0].stat().st_mode & 0o077 == 0
    place.api.delete(KIND_ENGINE_CLASSES, "", CLASS)
    eventually(lambda: not list((tmp_path / "work").rglob("key.pem")))
