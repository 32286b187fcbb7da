"""The CRDs on a real API server: accepted and rejected objects, messages, and immutable fields."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import yaml

from capk.api import names
from capk.plan.bootstrap import COMPLETE
from capkdev.managementcluster.cluster import LocalManagementCluster
from capkdev.rest import Rest
from test.integration.api import eventually

ROOT = Path(__file__).parents[2]
TABLES = ROOT / "test" / "fixtures" / "admission"
SAMPLES = ROOT / "config" / "samples"
RESOURCES = {
    resource.kind: resource
    for resource in (
        names.KIND_CLUSTERS,
        names.KIND_CLUSTER_TEMPLATES,
        names.KIND_CONTROL_PLANES,
        names.KIND_CONTROL_PLANE_TEMPLATES,
        names.KIND_MACHINES,
        names.KIND_MACHINE_TEMPLATES,
        names.KIND_CONFIGS,
        names.KIND_CONFIG_TEMPLATES,
        names.KIND_ENGINE_CLASSES,
    )
}


def documents(path: Path) -> list[dict[str, Any]]:
    return [document for document in yaml.load_all(path.read_text(), yaml.CSafeLoader) if document]


def table(file: str) -> list[Any]:
    cases = yaml.load((TABLES / file).read_text(), yaml.CSafeLoader)
    return [pytest.param(case, id=case["case"].replace(" ", "_")) for case in cases]


def path(manifest: Mapping[str, Any], *, with_name: bool = False) -> str:
    resource = RESOURCES[manifest["kind"]]
    namespace = "" if resource is names.KIND_ENGINE_CLASSES else "namespaces/default/"
    collection = f"/apis/{resource.api_version}/{namespace}{resource.plural}"
    return f"{collection}/{manifest['metadata']['name']}" if with_name else collection


def manifest(kind: str, name: str, spec: Any = None, **fields: Any) -> dict[str, Any]:
    resource = RESOURCES[kind]
    given = {} if spec is None else {"spec": spec}
    return {"apiVersion": resource.api_version, "kind": kind, "metadata": {"name": name}, **given, **fields}


class ApiServer:
    """An API server whose rejections are normal answers."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest

    def request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        content_type: str = "application/json",
        accept: str = "application/json",
        **query: str,
    ) -> tuple[int, dict[str, Any]]:
        """Return the HTTP status and the decoded answer."""
        payload = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": content_type, "Accept": accept}
        status, answer = self._rest.send(method, f"{path}?{urlencode(query)}", payload, headers)
        # For a kind that is not served yet, the answer is plain text.
        return status, json.loads(answer) if answer.startswith(b"{") else {"message": answer.decode()}


@pytest.fixture
def api(bare_management: LocalManagementCluster) -> Iterator[ApiServer]:
    """No provider manages its namespace `default`."""
    with bare_management.rest() as rest:
        yield ApiServer(rest)


def judge(api: ApiServer, kind: str, case: Mapping[str, Any]) -> None:
    """Check that the API server accepts the case, or rejects it with the field and the accepted values."""
    body = manifest(kind, case.get("name", "case"), case.get("spec"))
    status, answer = api.request("POST", path(body), body, dryRun="All", fieldValidation="Strict")
    if "refused" not in case:
        assert status == 201, answer["message"]
        return
    assert status in (400, 422), f"accepted: {answer}"
    if status == 400 and "unknown field" in answer["message"]:
        assert f'unknown field "{case["refused"]}"' in answer["message"]
        return
    said = [cause["message"] for cause in answer["details"]["causes"] if cause["field"] == case["refused"]]
    assert any(case["says"] in message for message in said), answer["message"]


@pytest.mark.rule("C3", "C32")
@pytest.mark.parametrize("case", table("kindcluster.yaml"))
def test_kindcluster_is_judged_at_admission(api: ApiServer, case: Mapping[str, Any]) -> None:
    judge(api, "KINDCluster", case)


@pytest.mark.parametrize("case", table("configurations.yaml"))
def test_configuration_of_another_project_is_judged_at_admission(api: ApiServer, case: Mapping[str, Any]) -> None:
    judge(api, "KINDCluster", case)


@pytest.mark.rule("C40", "C43")
@pytest.mark.parametrize("case", table("kindcontrolplane.yaml"))
def test_kindcontrolplane_is_judged_at_admission(api: ApiServer, case: Mapping[str, Any]) -> None:
    judge(api, "KINDControlPlane", case)


@pytest.mark.rule("C47")
@pytest.mark.parametrize("case", table("kindmachine.yaml"))
def test_kindmachine_is_judged_at_admission(api: ApiServer, case: Mapping[str, Any]) -> None:
    judge(api, "KINDMachine", case)


@pytest.mark.rule("C31", "C44", "C47", "C55")
@pytest.mark.parametrize("case", table("templates.yaml"))
def test_template_is_judged_at_admission(api: ApiServer, case: Mapping[str, Any]) -> None:
    judge(api, case["kind"], case)


@pytest.mark.parametrize("case", table("kindengineclass.yaml"))
def test_engine_class_is_judged_at_admission(api: ApiServer, case: Mapping[str, Any]) -> None:
    judge(api, "KINDEngineClass", case)


def test_a_machine_has_64_mounts_and_no_more(api: ApiServer) -> None:
    mounts = [{"hostPath": f"/a/{n}", "containerPath": f"/b/{n}"} for n in range(65)]
    judge(api, "KINDMachine", {"spec": {"extraMounts": mounts[:64]}})
    too_many = {"spec": {"extraMounts": mounts}, "refused": "spec.extraMounts", "says": "must have at most 64 items"}
    judge(api, "KINDMachine", too_many)


@pytest.mark.rule("C55")
def test_status_of_a_bootstrap_configuration_takes_the_empty_name(stored: Any) -> None:
    config = stored("KINDConfig", {})
    config.set_status(COMPLETE)
    assert config.api.request("GET", config.path)[1]["status"] == COMPLETE


def test_256_published_ports_can_be_compared_and_no_more(api: ApiServer) -> None:
    def ports(first: int, count: int) -> list[dict[str, int]]:
        return [{"containerPort": 80, "hostPort": 30000 + first + n} for n in range(count)]

    nodes = [{"extraPortMappings": ports(0, 128)}, {"extraPortMappings": ports(128, 127)}]
    judge(api, "KINDCluster", {"spec": {"nodes": [*nodes, {"extraPortMappings": ports(255, 1)}]}})
    twice = {"nodes": [*nodes, {"extraPortMappings": ports(254, 1)}]}
    judge(api, "KINDCluster", {"spec": twice, "refused": "spec.nodes", "says": "take the same port"})
    many = {"nodes": [*nodes, {"extraPortMappings": ports(255, 128)}]}
    judge(api, "KINDCluster", {"spec": many, "refused": "spec.nodes", "says": "must not have more than 256"})


def patch_lists(scope: str) -> list[Any]:
    json_patch = {"kind": "ClusterConfiguration", "patch": ""}
    lists: dict[str, Any] = {"kubeadmConfigPatches": "", "kubeadmConfigPatchesJSON6902": json_patch}
    if scope == "spec":
        lists |= {"containerdConfigPatches": "", "containerdConfigPatchesJSON6902": ""}
    return [pytest.param(scope, field, empty, id=f"{scope}.{field}") for field, empty in lists.items()]


@pytest.mark.parametrize(("scope", "field", "empty"), [*patch_lists("spec"), *patch_lists("spec.nodes[0]")])
def test_patches_have_room_for_what_people_write_and_an_end(api: ApiServer, scope: str, field: str, empty: Any) -> None:
    def judged(length: int, times: int, **refusal: str) -> None:
        text = "[]".ljust(length)
        patches = [text if empty == "" else {**empty, "patch": text}] * times
        spec = {field: patches} if scope == "spec" else {"nodes": [{field: patches}]}
        judge(api, "KINDCluster", {"spec": spec, **refusal})

    place = f"{scope}.{field}"
    # A policy for audits or a scheduler's configuration has some KiB; etcd limits an object to 1.5 MiB.
    judged(64 * 1024, 16)
    judged(2, 64)
    too_long = f"{place}[0]" if empty == "" else f"{place}[0].patch"
    judged(64 * 1024 + 1, 1, refused=too_long, says="may not be more than 65536")
    judged(2, 65, refused=place, says="must have at most 64 items")


@pytest.mark.parametrize("kind", ["KINDClusterTemplate", "KINDControlPlaneTemplate", "KINDMachineTemplate"])
def test_metadata_of_a_template_takes_what_an_object_can_have(api: ApiServer, kind: str) -> None:
    inner = {"spec": {}}

    def judged(metadata: Any, **refusal: str) -> None:
        judge(api, kind, {"spec": {"template": {"metadata": metadata, **inner}}, **refusal})

    place = "spec.template.metadata"
    judged({"labels": {"a": "v" * 63}, "annotations": {"a": "v" * 200_000, "b": ""}})
    judged({"labels": {"a": "v" * 64}}, refused=f"{place}.labels.a", says="may not be more than 63")
    many = {f"a{n}": "" for n in range(1025)}
    judged({"annotations": many}, refused=f"{place}.annotations", says="must have at most 1024 items")


# --- samples ---


WITHOUT_OUR_KINDS = {"kustomization", "machine-health-check"}


@pytest.mark.parametrize("sample", sorted(SAMPLES.glob("*.yaml")), ids=lambda sample: sample.stem)
def test_sample_is_accepted(api: ApiServer, sample: Path) -> None:
    ours = [document for document in documents(sample) if document["kind"] in RESOURCES]
    assert ours or sample.stem in WITHOUT_OUR_KINDS
    for document in ours:
        status, answer = api.request("POST", path(document), document, dryRun="All", fieldValidation="Strict")
        assert status == 201, answer["message"]


@pytest.mark.parametrize("sample", sorted((SAMPLES / "invalid").glob("*.yaml")), ids=lambda sample: sample.stem)
def test_invalid_sample_is_refused(api: ApiServer, sample: Path) -> None:
    expected = sample.read_text().splitlines()[0].removeprefix("# Refused: ")
    (document,) = documents(sample)
    status, answer = api.request("POST", path(document), document, dryRun="All", fieldValidation="Strict")
    assert status in (400, 422)
    assert expected in answer["message"]


# --- immutable fields ---

PROVISIONED = {"initialization": {"provisioned": True}, "clusterName": "fixed"}
CREATED = {
    "clusterName": "fixed",
    "conditions": [
        {
            "type": "ClusterCreated",
            "status": "True",
            "reason": "Created",
            "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
    ],
}
FAILED = {"conditions": [{**CREATED["conditions"][0], "status": "False", "reason": "ImageNotFound"}]}
FULL_SPEC = {
    "kubernetesVersion": "v1.34.3",
    "image": "kindest/node:v1.34.3",
    "nodes": [{"role": "control-plane"}],
    "networking": {"podSubnet": "10.244.0.0/16"},
    "featureGates": {"A": True},
    "runtimeConfig": {"api/all": "true"},
    "kubeadmConfigPatches": ["kind: ClusterConfiguration\n"],
    "kubeadmConfigPatchesJSON6902": [{"kind": "ClusterConfiguration", "patch": "[]"}],
    "containerdConfigPatches": ["[debug]\n"],
    "containerdConfigPatchesJSON6902": ["[]"],
    "registries": {"mirrors": [{"host": "docker.io", "endpoints": ["http://mirror:5000"]}]},
}
OTHER_SPEC = {
    "kubernetesVersion": "v1.35.0",
    "image": "kindest/node:v1.35.0",
    "nodes": [{"role": "control-plane"}, {"role": "worker"}],
    "networking": {"podSubnet": "10.245.0.0/16"},
    "featureGates": {"A": False},
    "runtimeConfig": {"api/all": "false"},
    "kubeadmConfigPatches": ["kind: InitConfiguration\n"],
    "kubeadmConfigPatchesJSON6902": [],
    "containerdConfigPatches": ["[grpc]\n"],
    "containerdConfigPatchesJSON6902": [],
    "registries": {"mirrors": [{"host": "docker.io", "endpoints": ["http://other:5000"]}]},
}


class Stored:
    """An object on the API server that a test changes step by step."""

    def __init__(self, api: ApiServer, body: Mapping[str, Any]) -> None:
        self.api = api
        self.body = body
        self.path = path(body, with_name=True)
        status, answer = api.request("POST", path(body), body)
        assert status == 201, answer

    def set_status(self, status: Mapping[str, Any]) -> None:
        code, answer = self._merge(f"{self.path}/status", {"status": status})
        assert code == 200, answer

    def change_spec(self, **fields: Any) -> tuple[int, dict[str, Any]]:
        """Merge fields into the spec; None removes a field."""
        return self._merge(self.path, {"spec": fields})

    def scale(self, replicas: int) -> tuple[int, dict[str, Any]]:
        """Ask for replicas as `kubectl scale` does."""
        return self._merge(f"{self.path}/scale", {"spec": {"replicas": replicas}})

    def scaled(self) -> dict[str, Any]:
        """Return what the subresource `scale` shows."""
        return self.api.request("GET", f"{self.path}/scale")[1]

    def _merge(self, path: str, patch: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        return self.api.request("PATCH", path, patch, content_type="application/merge-patch+json")

    def delete(self) -> None:
        assert self.api.request("DELETE", self.path)[0] == 200


@pytest.fixture
def stored(api: ApiServer) -> Iterator[Any]:
    objects: list[Stored] = []

    def store(kind: str, spec: Any = None) -> Stored:
        objects.append(Stored(api, manifest(kind, f"stored-{len(objects)}", spec)))
        return objects[-1]

    yield store
    for one in objects:
        one.delete()


def assert_refused(answer: tuple[int, dict[str, Any]], field: str, says: str) -> None:
    status, body = answer
    assert status == 422, body
    assert any(cause["field"] == field and says in cause["message"] for cause in body["details"]["causes"]), body


def assert_accepted(answer: tuple[int, dict[str, Any]]) -> None:
    assert answer[0] == 200, answer[1]["message"]


@pytest.mark.parametrize(
    ("field", "empty"),
    [
        ("nodes", []),
        ("featureGates", {}),
        ("runtimeConfig", {}),
        ("kubeadmConfigPatches", []),
        ("kubeadmConfigPatchesJSON6902", []),
        ("containerdConfigPatches", []),
        ("containerdConfigPatchesJSON6902", []),
    ],
)
def test_empty_list_or_map_of_a_running_cluster_means_the_same_as_none(stored: Any, field: str, empty: Any) -> None:
    cluster = stored("KINDCluster", {})
    cluster.set_status(PROVISIONED)
    assert_accepted(cluster.change_spec(**{field: empty}))
    assert_refused(cluster.change_spec(**{field: FULL_SPEC[field]}), f"spec.{field}", "cannot change")
    assert_accepted(cluster.change_spec(**{field: None}))


@pytest.mark.parametrize("field", FULL_SPEC)
@pytest.mark.parametrize("status", [PROVISIONED, CREATED], ids=["provisioned", "created"])
def test_configuration_of_a_running_cluster_cannot_change(stored: Any, field: str, status: Mapping[str, Any]) -> None:
    cluster = stored("KINDCluster", FULL_SPEC)
    cluster.set_status(status)
    assert_refused(
        cluster.change_spec(**{field: OTHER_SPEC[field]}), f"spec.{field}", "Delete this object and create it"
    )
    assert_refused(cluster.change_spec(**{field: None}), f"spec.{field}", "cannot change")
    assert_accepted(cluster.change_spec(**{field: FULL_SPEC[field]}))


@pytest.mark.parametrize("field", FULL_SPEC)
def test_configuration_cannot_be_added_to_a_running_cluster(stored: Any, field: str) -> None:
    cluster = stored("KINDCluster")
    cluster.set_status(PROVISIONED)
    assert_refused(
        cluster.change_spec(**{field: FULL_SPEC[field]}), f"spec.{field}", "create another one under a new name"
    )


def test_configuration_can_change_before_and_after_a_failed_creation(stored: Any) -> None:
    cluster = stored("KINDCluster", FULL_SPEC)
    assert_accepted(cluster.change_spec(image="kindest/node:v9.9.9"))
    cluster.set_status(FAILED)
    assert_accepted(cluster.change_spec(**OTHER_SPEC))


MACHINE = {
    "clusterName": "dev",
    "image": "kindest/node:v1.34.3",
    "labels": {"a": "b"},
    "taints": [{"key": "a", "effect": "NoSchedule"}],
    "extraMounts": [{"hostPath": "/a", "containerPath": "/b"}],
    "kubeadmConfigPatches": ["kind: JoinConfiguration\n"],
}


@pytest.mark.parametrize("field", MACHINE)
def test_spec_of_a_machine_cannot_change(stored: Any, field: str) -> None:
    machine, empty = stored("KINDMachine", MACHINE), stored("KINDMachine")
    assert_refused(machine.change_spec(**{field: None}), f"spec.{field}", "Change the KINDMachineTemplate")
    assert_refused(empty.change_spec(**{field: MACHINE[field]}), f"spec.{field}", "cannot change")
    assert_accepted(machine.change_spec(**{field: MACHINE[field]}))


@pytest.mark.rule("C48")
def test_provider_id_of_a_machine_can_be_written(stored: Any) -> None:
    for spec in ({}, None, MACHINE):
        assert_accepted(stored("KINDMachine", spec).change_spec(providerID="kind://docker/dev/dev-a"))


@pytest.mark.rule("C47")
def test_template_of_machines_can_change(stored: Any) -> None:
    template = stored("KINDMachineTemplate", {"template": {"spec": {"image": "kindest/node:v1.34.3"}}})
    assert_accepted(template.change_spec(template={"spec": {"image": "kindest/node:v1.34.4"}}))


def test_policies_and_standalone_can_always_change(stored: Any) -> None:
    cluster = stored("KINDCluster", FULL_SPEC)
    cluster.set_status(PROVISIONED | CREATED)
    assert_accepted(cluster.change_spec(deletionPolicy="Retain", recreatePolicy="Always", standalone=True))
    assert_accepted(cluster.change_spec(deletionPolicy=None, recreatePolicy="Never", standalone=None))


def test_engine_cannot_change_whether_the_cluster_exists_or_not(stored: Any) -> None:
    engine = {"className": "lab"}
    cluster, without = stored("KINDCluster", {"engine": engine}), stored("KINDCluster")
    assert_refused(cluster.change_spec(engine={"className": "other"}), "spec.engine", "cannot change")
    assert_refused(cluster.change_spec(engine=None), "spec.engine", "create it again with the other engine")
    assert_refused(without.change_spec(engine=engine), "spec.engine", "cannot be added or removed")
    assert_accepted(cluster.change_spec(engine=engine, deletionPolicy="Retain"))


def test_resources_and_power_state_of_an_engine_can_always_change(stored: Any) -> None:
    cluster = stored("KINDCluster", {"engine": {"className": "pods"}})
    cluster.set_status(PROVISIONED | CREATED)
    wanted = {"className": "pods", "powerState": "Stopped", "resources": {"memory": "4Gi"}}
    assert_accepted(cluster.change_spec(engine=wanted))
    assert_accepted(cluster.change_spec(engine={"className": "pods", "powerState": "Running", "resources": None}))
    shared = stored("KINDCluster")
    assert_accepted(shared.change_spec(engine={"powerState": "Stopped"}))
    assert_accepted(shared.change_spec(engine=None))


def test_class_of_engines_in_pods_cannot_become_one_of_a_machine(stored: Any) -> None:
    docker = {"host": "tcp://10.0.0.7:2376", "secretRef": {"name": "lab"}}
    engines = stored("KINDEngineClass", {"pods": {"image": "docker:dind"}})
    assert_accepted(engines.change_spec(pods={"image": "docker:29-dind", "hostModules": True}))
    assert_refused(engines.change_spec(pods=None, docker=docker), "spec", "cannot change between docker and pods")


def test_cluster_name_cannot_change_once_set(stored: Any) -> None:
    cluster = stored("KINDCluster", {"clusterName": "one"})
    assert_refused(cluster.change_spec(clusterName="two"), "spec.clusterName", "cannot change once set")
    assert_refused(cluster.change_spec(clusterName=None), "spec.clusterName", "cannot change once set")
    assert_accepted(cluster.change_spec(clusterName="one", deletionPolicy="Retain"))


def test_cluster_name_of_a_running_cluster_can_only_be_the_one_it_has(stored: Any) -> None:
    cluster = stored("KINDCluster")
    cluster.set_status(PROVISIONED)
    assert_refused(cluster.change_spec(clusterName="other"), "spec.clusterName", "status.clusterName")
    assert_accepted(cluster.change_spec(clusterName="fixed"))


def test_cluster_name_can_be_chosen_before_the_cluster_exists(stored: Any) -> None:
    cluster = stored("KINDCluster")
    cluster.set_status(FAILED | {"clusterName": "stored-0"})
    assert_accepted(cluster.change_spec(clusterName="chosen"))


@pytest.mark.rule("C10")
def test_endpoint_cannot_change_once_set_but_may_be_left_out(stored: Any) -> None:
    cluster = stored("KINDCluster", {"controlPlaneEndpoint": {"host": "", "port": 0}})
    assert_accepted(cluster.change_spec(controlPlaneEndpoint={"host": "127.0.0.1", "port": 6443}))
    for other in ({"host": "127.0.0.2"}, {"port": 6444}, {"host": None}, {"port": None}, {"host": ""}):
        assert_refused(
            cluster.change_spec(controlPlaneEndpoint=other), "spec.controlPlaneEndpoint", "cannot change once set"
        )
    assert_accepted(cluster.change_spec(controlPlaneEndpoint=None))
    assert_accepted(cluster.change_spec(controlPlaneEndpoint={"host": "127.0.0.1", "port": 6443}))


@pytest.mark.rule("C10")
def test_endpoint_is_refused_unless_it_has_both_parts(stored: Any) -> None:
    cluster = stored("KINDCluster")
    for half in ({"host": "a"}, {"host": "a", "port": 0}, {"host": "", "port": 6443}):
        assert_refused(
            cluster.change_spec(controlPlaneEndpoint=half), "spec.controlPlaneEndpoint", "must have both host and port"
        )
    assert_accepted(cluster.change_spec(controlPlaneEndpoint={"host": "a", "port": 6443}))


def test_mirrors_cannot_be_added_to_a_running_cluster_one_by_one(stored: Any) -> None:
    cluster = stored("KINDCluster", FULL_SPEC)
    cluster.set_status(PROVISIONED)
    more = [*FULL_SPEC["registries"]["mirrors"], {"host": "*", "endpoints": ["http://mirror:5000"]}]
    assert_refused(cluster.change_spec(registries={"mirrors": more}), "spec.registries", "kind sets the registries")


def test_status_can_still_change_when_the_spec_cannot(stored: Any) -> None:
    cluster = stored("KINDCluster", FULL_SPEC)
    cluster.set_status(PROVISIONED)
    cluster.set_status({"ready": False, "nodes": [{"name": "fixed-control-plane", "state": "exited"}]})


@pytest.mark.rule("C43")
def test_version_of_an_initialized_control_plane_cannot_change(stored: Any) -> None:
    control_plane = stored("KINDControlPlane", {"version": "v1.34.3"})
    assert_accepted(control_plane.change_spec(version="v1.34.2"))
    control_plane.set_status({"initialization": {"controlPlaneInitialized": True}, "version": "v1.34.2"})
    assert_refused(control_plane.change_spec(version="v1.35.0"), "spec.version", "Create a new Cluster")
    assert_refused(control_plane.change_spec(version=None), "spec.version", "cannot change")
    assert_accepted(control_plane.change_spec(version="v1.34.2"))


def test_version_of_an_initialized_control_plane_can_become_the_running_one(stored: Any) -> None:
    control_plane = stored("KINDControlPlane")
    control_plane.set_status({"initialization": {"controlPlaneInitialized": True}, "version": "v1.36.1", "replicas": 1})
    assert_accepted(control_plane.change_spec(replicas=1))
    assert_refused(
        control_plane.change_spec(version="v1.35.0"), "spec.version", "kind cannot upgrade a running cluster"
    )
    assert_accepted(control_plane.change_spec(version="v1.36.1"))


@pytest.mark.rule("C46")
def test_replicas_can_change_until_the_control_plane_is_initialized(stored: Any) -> None:
    control_plane = stored("KINDControlPlane", {"replicas": 1})
    control_plane.set_status({"initialization": {"controlPlaneInitialized": False}, "replicas": 0})
    assert_accepted(control_plane.change_spec(replicas=3))


@pytest.mark.rule("C46")
def test_replicas_of_an_initialized_control_plane_cannot_change(stored: Any) -> None:
    control_plane = stored("KINDControlPlane", {"replicas": 3})
    control_plane.set_status({"initialization": {"controlPlaneInitialized": True}, "replicas": 3})
    for replicas in (1, 5):
        assert_refused(
            control_plane.change_spec(replicas=replicas), "spec.replicas", "Create a new Cluster with as many"
        )
    assert_refused(control_plane.scale(5), "spec.replicas", "kind creates the control-plane nodes of a cluster once")
    assert_accepted(control_plane.scale(3))


@pytest.mark.rule("C46")
def test_replicas_may_be_left_out_and_become_the_number_that_was_made(stored: Any) -> None:
    control_plane = stored("KINDControlPlane", {"replicas": 3})
    control_plane.set_status({"initialization": {"controlPlaneInitialized": True}, "replicas": 3})
    assert_accepted(control_plane.change_spec(replicas=None))
    assert_refused(control_plane.change_spec(replicas=1), "spec.replicas", "cannot change")
    assert_accepted(control_plane.change_spec(replicas=3))


def test_replicas_that_an_older_release_ignored_may_stay_or_be_put_right(stored: Any) -> None:
    control_plane = stored("KINDControlPlane", {"replicas": 3})
    control_plane.set_status({"initialization": {"controlPlaneInitialized": True}, "version": "v1.36.1", "replicas": 1})
    assert_accepted(control_plane.change_spec(version="v1.36.1"))
    assert_refused(control_plane.change_spec(replicas=5), "spec.replicas", "cannot change")
    assert_accepted(control_plane.change_spec(replicas=1))
    assert_refused(control_plane.change_spec(replicas=3), "spec.replicas", "cannot change")


@pytest.mark.rule("C46")
def test_scale_subresource_shows_what_is_there_and_how_to_find_it(stored: Any) -> None:
    control_plane = stored("KINDControlPlane", {"replicas": 3})
    control_plane.set_status({"replicas": 2, "selector": "node-role.kubernetes.io/control-plane"})
    seen = control_plane.scaled()
    assert seen["spec"] == {"replicas": 3}
    assert seen["status"] == {"replicas": 2, "selector": "node-role.kubernetes.io/control-plane"}


# --- objects of a less strict release ---

OLDER_GROUP = "older.example.org"
OLDER_SPECS = [
    {"nodes": [{"extraMounts": [{"hostPath": "/a:b", "containerPath": "/etc/capk/x"}]}]},
    {"nodes": [{"extraMounts": [{"hostPath": "C:\\a", "containerPath": "/x//y"}]}]},
    {"networking": {"apiServerPort": -1}},
    {"controlPlaneEndpoint": {"host": "a"}},
]


def without_rules(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: without_rules(value) for key, value in node.items() if key != "x-kubernetes-validations"}
    return [without_rules(item) for item in node] if isinstance(node, list) else node


@pytest.fixture
def older(api: ApiServer) -> Iterator[Any]:
    """A copy of the definition in another group, so that its rules can be removed and restored."""
    definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    status, shipped = api.request("GET", f"{definitions}/{names.KIND_CLUSTERS.plural}.{names.KIND_CLUSTERS.group}")
    assert status == 200
    name = f"{names.KIND_CLUSTERS.plural}.{OLDER_GROUP}"
    spec = shipped["spec"] | {"group": OLDER_GROUP, "names": shipped["spec"]["names"] | {"categories": []}}
    spec["names"].pop("shortNames")
    body = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": name}}
    status, answer = api.request("POST", definitions, {**body, "spec": without_rules(spec)})
    assert status == 201, answer

    def with_rules() -> None:
        patch = {"spec": {"versions": spec["versions"]}}
        assert (
            api.request("PATCH", f"{definitions}/{name}", patch, content_type="application/merge-patch+json")[0] == 200
        )

    yield with_rules
    api.request("DELETE", f"{definitions}/{name}")


def test_object_that_would_be_refused_today_can_still_be_written_and_deleted(api: ApiServer, older: Any) -> None:
    collection = f"/apis/{OLDER_GROUP}/{names.VERSION}/namespaces/default/{names.KIND_CLUSTERS.plural}"

    def post(number: int, **query: str) -> int:
        body = manifest("KINDCluster", f"older-{number}", OLDER_SPECS[number])
        return api.request("POST", collection, body | {"apiVersion": f"{OLDER_GROUP}/{names.VERSION}"}, **query)[0]

    def patch(url: str, body: Mapping[str, Any]) -> None:
        assert_accepted(api.request("PATCH", url, body, content_type="application/merge-patch+json"))

    eventually(lambda: post(0, dryRun="All") == 201)
    assert [post(number) for number in range(len(OLDER_SPECS))] == [201] * len(OLDER_SPECS)
    older()
    eventually(lambda: post(0, dryRun="All") == 422)
    for number in range(len(OLDER_SPECS)):
        url = f"{collection}/older-{number}"
        patch(url, {"metadata": {"finalizers": ["example.org/kept"]}})
        patch(f"{url}/status", {"status": {"ready": True}})
        patch(url, {"spec": {"controlPlaneEndpoint": {"host": "127.0.0.1", "port": 6443}}})
        patch(url, {"metadata": {"finalizers": []}})
        assert api.request("DELETE", url)[0] == 200


# --- status, server-side apply, columns ---


@pytest.mark.rule("C4")
@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"reason": "not a word"}, "reason"),
        ({"reason": ""}, "reason"),
        ({"message": "x" * 10241}, "message"),
        ({"message": None}, "message"),
        ({"status": "Maybe"}, "status"),
        ({"lastTransitionTime": "yesterday"}, "lastTransitionTime"),
        ({"observedGeneration": "1"}, "observedGeneration"),
    ],
)
@pytest.mark.parametrize("kind", ["KINDCluster", "KINDControlPlane"])
def test_condition_that_would_break_cluster_api_is_refused(
    stored: Any, kind: str, change: Mapping[str, Any], says: str
) -> None:
    one = stored(kind)
    good = CREATED["conditions"][0]
    one.set_status({"conditions": [good | {"message": "x" * 10240}]})
    bad = {field: value for field, value in (good | change).items() if value is not None}
    code, answer = one._merge(f"{one.path}/status", {"status": {"conditions": [bad]}})
    assert code == 422
    assert f"status.conditions[0].{says}" in answer["message"]


@pytest.mark.rule("C4")
def test_more_than_32_conditions_are_refused(stored: Any) -> None:
    cluster = stored("KINDCluster")
    conditions = [{**CREATED["conditions"][0], "type": f"Type{n}"} for n in range(33)]
    cluster.set_status({"conditions": conditions[:32]})
    assert cluster._merge(f"{cluster.path}/status", {"status": {"conditions": conditions}})[0] == 422


@pytest.mark.rule("C32")
def test_server_side_apply_settles_at_once(api: ApiServer, stored: Any) -> None:
    cluster = stored("KINDCluster")
    body = manifest("KINDCluster", cluster.body["metadata"]["name"], FULL_SPEC)

    def apply() -> dict[str, Any]:
        status, answer = api.request(
            "PATCH",
            cluster.path,
            body,
            content_type="application/apply-patch+yaml",
            fieldManager="capi-topology",
            force="true",
            fieldValidation="Strict",
        )
        assert status == 200, answer
        return answer

    first = apply()
    assert first["spec"] == FULL_SPEC, "the API server added or dropped something"
    endpoint = {"controlPlaneEndpoint": {"host": "127.0.0.1", "port": 6443}}
    cluster.change_spec(**endpoint)
    second = apply()
    assert second["spec"] == FULL_SPEC | endpoint
    assert second["metadata"]["resourceVersion"] != first["metadata"]["resourceVersion"]
    assert apply()["metadata"]["resourceVersion"] == second["metadata"]["resourceVersion"]


@pytest.mark.parametrize(
    ("kind", "columns", "wide"),
    [
        (
            "KINDCluster",
            ["Name", "Cluster", "Ready", "Reason", "Version", "Endpoint", "Age"],
            ["Owner", "Image", "Engine", "Node", "Internal", "Paused", "Since"],
        ),
        (
            "KINDControlPlane",
            ["Name", "Cluster", "Initialized", "Available", "Version", "Age"],
            ["Reason", "Wanted", "Replicas", "Paused"],
        ),
        ("KINDEngineClass", ["Name", "Host", "Ready", "Reason", "Clusters", "Default", "Age"], ["Image"]),
    ],
)
def test_kubectl_get_shows_what_people_look_for(api: ApiServer, kind: str, columns: list[str], wide: list[str]) -> None:
    body = manifest(kind, "unused")
    status, answer = api.request("GET", path(body), accept="application/json;as=Table;v=v1;g=meta.k8s.io")
    assert status == 200
    shown = [column["name"] for column in answer["columnDefinitions"] if not column["priority"]]
    assert shown == columns
    assert [column["name"] for column in answer["columnDefinitions"] if column["priority"]] == wide
