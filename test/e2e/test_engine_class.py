"""The real kind on the engine of a KINDEngineClass, which the provider reaches over TLS."""

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from capk.api.names import KIND_CLUSTERS, KIND_ENGINE_CLASSES, SECRETS, WATCH_FILTER_LABEL
from capkdev.managementcluster.cluster import LocalManagementCluster
from test.e2e.conftest import NewName
from test.e2e.real_kind import RealKind
from test.e2e.terminal import Terminal
from test.e2e.tls_front import TLSFront
from test.integration.api import Api, Object
from test.integration.provider.journeys import Place, standalone
from test.integration.provider_process import ProviderProcess

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]
CREATE_SECONDS = 500
FILTER = "engine-class"


@pytest.fixture
def front(kind: RealKind, tmp_path: Path) -> Iterator[TLSFront]:
    """The engine of this machine over TLS."""
    assert kind.is_docker, "a KINDEngineClass has a Docker engine"
    front = TLSFront(tmp_path)
    with front.running():
        yield front


@pytest.fixture
def place(management: LocalManagementCluster, api: Api, kind: RealKind, tmp_path: Path) -> Iterator[Place]:
    """A provider for all namespaces: only such a one reads classes."""
    namespace = api.new_namespace()
    flags = ["--watch-filter", FILTER, "--leader-election-namespace", namespace, *kind.provider_flags]
    process = ProviderProcess(management, tmp_path, flags, {}).start()
    yield Place(management, api, namespace, process, kind)
    api.delete(KIND_ENGINE_CLASSES, "", FILTER)
    process.kill()
    print(process.log_text())


def engine_class(front: TLSFront) -> Object:
    docker = {
        "host": f"tcp://127.0.0.1:{front.port}",
        "secretRef": {"name": "engine"},
        "apiServerAddress": "0.0.0.0",
        "endpointHost": "localhost",
    }
    return {
        "apiVersion": KIND_ENGINE_CLASSES.api_version,
        "kind": "KINDEngineClass",
        "metadata": {"name": FILTER, "labels": {WATCH_FILTER_LABEL: FILTER}},
        "spec": {"namespaceSelector": {}, "docker": docker},
    }


def secret(front: TLSFront) -> Object:
    data = {"ca.crt": front.authority, "tls.crt": front.client.certificate, "tls.key": front.client.key}
    encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "engine"}, "data": encoded}


def test_cluster_is_created_and_deleted_over_tls_and_reached_at_the_endpoint_host(
    place: Place, front: TLSFront, kind: RealKind, new_name: NewName, tmp_path: Path
) -> None:
    name = new_name("class")
    cluster = standalone(name, engine={"className": FILTER}, image=kind.image, nodes=[{"role": "control-plane"}])
    cluster["metadata"]["labels"] = {WATCH_FILTER_LABEL: FILTER}
    place.create(secret(front), engine_class(front), cluster)
    place.await_condition(name, seconds=CREATE_SECONDS)
    assert front.connections > 10

    (published,) = kind.inspect(f"{name}-control-plane")["NetworkSettings"]["Ports"]["6443/tcp"]
    assert published["HostIp"] == "0.0.0.0"
    assert 20000 <= int(published["HostPort"]) <= 29999
    status = place.get(KIND_CLUSTERS, name)["status"]
    assert status["endpoints"]["external"] == f"https://localhost:{published['HostPort']}"
    workload = Terminal.of_secret(place.get(SECRETS, f"{name}-config"), "config", tmp_path)
    assert workload.ready_nodes() == [f"{name}-control-plane"]

    place.delete(KIND_CLUSTERS, name)
    place.await_gone(name, seconds=120)
    assert name not in kind.names()
