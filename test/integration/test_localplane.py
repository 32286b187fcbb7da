"""The embedded plane and the stand-in with a real provider: what the other integration tests stand on."""

from api import Api, condition, eventually
from conftest import StartProvider

from capk.api.names import KIND_CLUSTERS, SECRETS
from capk.localplane.plane import LocalPlane

KIND_CLUSTER = {"apiVersion": KIND_CLUSTERS.api_version, "kind": "KINDCluster"}


def test_provider_brings_a_standalone_kindcluster_to_ready_and_leaves_nothing(
    bare_plane: LocalPlane, bare_api: Api, bare_namespace: str, provider: StartProvider
) -> None:
    process = provider(bare_plane, bare_namespace)
    bare_api.create(bare_namespace, {**KIND_CLUSTER, "metadata": {"name": "dev"}, "spec": {}})

    def ready() -> bool:
        return condition(bare_api.get(KIND_CLUSTERS, bare_namespace, "dev"), "Ready").get("status") == "True"

    eventually(ready, 60)
    assert process.home.names() == ["dev"]
    assert bare_api.list(SECRETS, bare_namespace)

    bare_api.delete(KIND_CLUSTERS, bare_namespace, "dev")
    eventually(lambda: bare_api.find(KIND_CLUSTERS, bare_namespace, "dev") is None)
    assert process.home.names() == []
    assert bare_api.list(SECRETS, bare_namespace) == []
