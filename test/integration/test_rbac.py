"""The roles of config/ grant exactly the provider's actual requests: none is denied, no right is unused."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from capk.api.names import (
    KIND_CLUSTERS,
    KIND_CONFIGS,
    KIND_CONTROL_PLANES,
    KIND_ENGINE_CLASSES,
    KIND_MACHINES,
    MACHINES,
    SECRETS,
    Resource,
)
from capkdev.fakekind.create import MODE_VARIABLE
from capkdev.managementcluster.cluster import LocalManagementCluster
from test.integration.api import CLUSTERS, Object, condition, connected, eventually
from test.integration.documented import commands, run_commands
from test.integration.provider.journeys import (
    SHORT_PERIODS,
    Place,
    SwitchableKind,
    control_plane,
    kindcluster,
    owner,
    standalone,
)
from test.integration.provider_process import ProviderProcess
from test.integration.service_account import (
    NAMESPACE,
    Asked,
    account_kubeconfig,
    allowed,
    asked,
    audited,
    bound_roles,
    refused,
    requests,
    shipped,
)

CLUSTER_ROLES = Resource("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole")
ROLE = "capkind-system-manager"
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nZGVy\n-----END CERTIFICATE-----\n"
ENGINE_CLASS = {
    "apiVersion": KIND_ENGINE_CLASSES.api_version,
    "kind": "KINDEngineClass",
    "metadata": {"name": "lab"},
    "spec": {"docker": {"host": "tcp://127.0.0.1:1", "secretRef": {"name": "missing"}}},
}
NOBODY = {
    "apiVersion": CLUSTERS.api_version,
    "kind": "Cluster",
    "name": "nobody",
    "uid": "5e7f0d2c-0000-4000-8000-000000000000",
}


@pytest.fixture(scope="module")
def management(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalManagementCluster]:
    """A separate management cluster, because other providers' requests prove nothing, and roles change."""
    with audited(tmp_path_factory.mktemp("rbac")) as started:
        yield started


@pytest.fixture
def place(management: LocalManagementCluster, tmp_path: Path) -> Iterator[Place]:
    """A provider with its Deployment's settings, not started yet."""
    with connected(management) as api:
        kind = SwitchableKind(tmp_path / "bin")
        flags = [*SHORT_PERIODS, *kind.flags, "--leader-elect", "--leader-election-namespace", NAMESPACE]
        process = ProviderProcess(management, tmp_path, flags, {})
        yield Place(management, api, api.new_namespace(), process, kind)
        process.kill()
        process.remove_clusters()


@pytest.mark.rule("C39")
def test_every_right_is_used_and_none_is_missing(place: Place) -> None:
    place.process.start()
    live(place)
    used, granted = asked(requests(place.management)), allowed(bound_roles())
    assert refused(requests(place.management)) == []
    assert used - granted == set()
    for_owners = {
        Asked("update", f"{group}.cluster.x-k8s.io/{plural}/finalizers")
        for group, plural in (("infrastructure", "kindclusters"), ("controlplane", "kindcontrolplanes"))
    }
    assert granted - used == for_owners
    check_that_finalizers_are_needed(place)


@pytest.mark.rule("C39")
@pytest.mark.parametrize("overlay", ["podman", "pods", "remote"])
def test_every_way_to_an_engine_has_the_same_rights(overlay: str) -> None:
    """What is audited here counts for all of them; test_engine_pods.py audits the one that has engines in Pods only."""
    assert bound_roles(overlay) == bound_roles()


def live(place: Place) -> None:
    """Trigger every kind of request that the provider makes, once."""
    # A foreign Secret, and an owner outside all watches: both are requested by name.
    place.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "taken-config"}})
    place.create({**kindcluster("orphan"), "metadata": {"name": "orphan", "ownerReferences": [NOBODY]}})
    mirror = {"host": "docker.io", "endpoints": ["https://mirror.example"], "caConfigMapRef": {"name": "ca"}}
    taken = standalone("taken", registries={"mirrors": [mirror]})
    place.create(taken, owner("owned"), kindcluster("owned"), control_plane("owned"))
    place.await_condition("taken", "ClusterCreated", "WaitingForConfigMap")
    place.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "ca"}, "data": {"ca.crt": CERTIFICATE}})
    place.await_condition("taken", "RegistriesConfigured")
    place.await_condition("taken", "KubeconfigAvailable", status="False")
    place.await_condition("orphan", reason="WaitingForCluster")
    place.await_condition("owned", "Available", resource=KIND_CONTROL_PLANES)
    place.create(*worker("owned-worker"))
    place.await_condition("owned-worker", resource=KIND_MACHINES)
    place.await_condition("owned-worker", resource=KIND_CONFIGS)
    place.create(ENGINE_CLASS)
    eventually(lambda: condition(place.api.find(KIND_ENGINE_CLASSES, "", "lab"), "Ready")["status"] == "False")

    place.delete(SECRETS, "owned-config")
    eventually(lambda: place.find(SECRETS, "owned-config"))
    place.patch(SECRETS, "owned-config", {"data": {"config": "eA=="}})
    eventually(lambda: place.get(SECRETS, "owned-config")["data"]["config"] != "eA==")

    for paused in (True, None):
        place.patch(CLUSTERS, "owned", {"spec": {"paused": paused}})
        place.await_condition("owned", "Paused", "Paused" if paused else "NotPaused")

    # The same before and after a restart, which continues the count of an existing Event.
    lose_nodes(place, times=1)
    assert place.process.stop() == 0
    place.process.start()
    lose_nodes(place, times=2)

    place.delete(CLUSTERS, "owned")
    place.delete(KIND_CLUSTERS, "taken")
    for name in ("owned", "taken"):
        place.await_gone(name)
    assert place.process.home.names() == []


def worker(name: str) -> list[Object]:
    """Return a Machine of the Cluster `owned`, its KINDMachine and its KINDConfig."""
    kinds = {"infrastructureRef": KIND_MACHINES, "configRef": KIND_CONFIGS}
    objects = {
        field: {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {"name": name}, "spec": {}}
        for field, resource in kinds.items()
    }
    references = {
        field: {"apiGroup": resource.group, "kind": resource.kind, "name": name} for field, resource in kinds.items()
    }
    machine = {
        "apiVersion": MACHINES.api_version,
        "kind": MACHINES.kind,
        "metadata": {"name": name},
        "spec": {
            "clusterName": "owned",
            "bootstrap": {"configRef": references["configRef"]},
            "infrastructureRef": references["infrastructureRef"],
        },
    }
    return [machine, *objects.values()]


def lose_nodes(place: Place, times: int) -> None:
    """Stop a node, and wait until the Event about its start has this count."""
    place.stop_node("owned-control-plane")
    eventually(lambda: place.events("owned")["StartingNodes"]["count"] == times)
    place.await_condition("owned")


def check_that_finalizers_are_needed(place: Place) -> None:
    """No request uses `finalizers`, but an admission plugin checks this right for owner references."""
    place.create(standalone("proof"))
    place.await_condition("proof")
    role = place.api.get(CLUSTER_ROLES, "", ROLE)
    without = [rule for rule in role["rules"] if not rule["resources"][0].endswith("/finalizers")]
    assert len(without) == len(role["rules"]) - 2
    place.api.patch(CLUSTER_ROLES, "", ROLE, {"rules": without})
    place.delete(SECRETS, "proof-config")
    message = eventually(lambda: refused(requests(place.management)))[0]
    assert "cannot set blockOwnerDeletion" in message
    assert place.find(SECRETS, "proof-config") is None
    place.api.patch(CLUSTER_ROLES, "", ROLE, {"rules": role["rules"]})
    eventually(lambda: place.find(SECRETS, "proof-config"))


@pytest.mark.rule("C9", "C39")
def test_one_namespace_is_all_that_a_provider_of_one_needs(management: LocalManagementCluster, tmp_path: Path) -> None:
    with connected(management) as api:
        (binding,) = shipped("ClusterRoleBinding")
        before = len(requests(management))
        bind_to_one_namespace(management)
        kind = SwitchableKind(tmp_path / "bin")
        flags = [*SHORT_PERIODS, *kind.flags, "--namespace", "default"]
        process = ProviderProcess(management, tmp_path, flags, {MODE_VARIABLE: "instant"}).start()
        place = Place(management, api, "default", process, kind)
        try:
            place.create(standalone("alone"), owner("owned"), kindcluster("owned"), control_plane("owned"))
            place.await_condition("alone")
            place.await_condition("owned", "Available", resource=KIND_CONTROL_PLANES)
            place.delete(KIND_CLUSTERS, "alone")
            place.delete(CLUSTERS, "owned")
            for name in ("alone", "owned"):
                place.await_gone(name)
        finally:
            process.kill()
            process.remove_clusters()
            api.apply("", binding)
        assert refused(requests(management)[before:]) == []


def bind_to_one_namespace(management: LocalManagementCluster) -> None:
    """Follow docs/permissions.md."""
    account_kubeconfig(management)
    [script] = commands("namespaced")
    run_commands(script, management.kubeconfig)
