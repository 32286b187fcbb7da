"""The cluster templates and the ClusterClass: variables, flavors and references that fit together."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from test.packaging.packaged import ROOT

TEMPLATES = ROOT / "templates"
FLAVORS = ["", "-development", "-ha", "-pods", "-ports", "-registry", "-standalone", "-topology"]
COMMON = {
    "CLUSTER_NAME": "dev",
    "NAMESPACE": "team-a",
    "KUBERNETES_VERSION": "v1.37.0",
    "CONTROL_PLANE_MACHINE_COUNT": "3",
    "WORKER_MACHINE_COUNT": "2",
}
VARIABLE = re.compile(r"\$\{(\w+)(?::=(?P<default>[^${}]*)|/(?P<prefix>#?)(?P<seen>\w+)/(?P<put>\w+))?\}")


def rendered(path: Path, values: Mapping[str, str]) -> list[dict[str, Any]]:
    """Render as clusterctl does: values first, then defaults, which may hold variables; a missing one is an error."""

    def value(match: re.Match[str]) -> str:
        if match["default"] is not None:
            return values.get(match[1], match["default"])
        if match["seen"] and (not match["prefix"] or values[match[1]].startswith(match["seen"])):
            return values[match[1]].replace(match["seen"], match["put"], 1)
        return values[match[1]]

    text = path.read_text()
    while VARIABLE.search(text):
        text = VARIABLE.sub(value, text)
    return [one for one in yaml.load_all(text, yaml.CSafeLoader) if one]


def flavor(suffix: str, **values: str) -> dict[str, dict[str, Any]]:
    """The objects of a flavor by kind."""
    objects = rendered(TEMPLATES / f"cluster-template{suffix}.yaml", {**COMMON, **values})
    assert len({one["kind"] for one in objects}) == len(objects)
    return {one["kind"]: one for one in objects}


def cluster_class() -> dict[str, dict[str, Any]]:
    return {one["kind"]: one for one in rendered(TEMPLATES / "clusterclass-kind.yaml", {})}


@pytest.mark.rule("C37")
def test_flavors_are_those_of_the_documentation() -> None:
    assert {path.name for path in TEMPLATES.iterdir()} == {
        *(f"cluster-template{suffix}.yaml" for suffix in FLAVORS),
        "clusterclass-kind.yaml",
    }


@pytest.mark.rule("C37")
@pytest.mark.parametrize("suffix", FLAVORS)
def test_template_needs_nothing_but_the_common_variables(suffix: str) -> None:
    for one in flavor(suffix).values():
        assert one["metadata"]["namespace"] == "team-a"
        of_workers = one["kind"] in ("MachineDeployment", "KINDMachineTemplate")
        assert one["metadata"]["name"] == ("dev-workers" if of_workers else "dev")


@pytest.mark.rule("C37")
@pytest.mark.parametrize("suffix", ["", "-ha", "-pods", "-ports", "-registry"])
def test_cluster_refers_to_the_objects_beside_it(suffix: str) -> None:
    objects = flavor(suffix)
    assert set(objects) == {"Cluster", "KINDCluster", "KINDControlPlane", "MachineDeployment", "KINDMachineTemplate"}
    for field, kind in (("infrastructureRef", "KINDCluster"), ("controlPlaneRef", "KINDControlPlane")):
        reference = objects["Cluster"]["spec"][field]
        assert reference == {
            "apiGroup": objects[kind]["apiVersion"].partition("/")[0],
            "kind": kind,
            "name": objects[kind]["metadata"]["name"],
        }
    assert objects["KINDControlPlane"]["spec"] == {"version": "v1.37.0", "replicas": 3}


@pytest.mark.rule("C22", "C37")
@pytest.mark.parametrize("suffix", [one for one in FLAVORS if one != "-standalone"])
def test_network_of_the_cluster_can_be_set_as_in_the_quick_start(suffix: str) -> None:
    network = flavor(suffix, POD_CIDR='["10.1.0.0/16"]', SERVICE_CIDR='["10.2.0.0/16"]', SERVICE_DOMAIN="x.local")
    assert network["Cluster"]["spec"]["clusterNetwork"] == {
        "pods": {"cidrBlocks": ["10.1.0.0/16"]},
        "services": {"cidrBlocks": ["10.2.0.0/16"]},
        "serviceDomain": "x.local",
    }


@pytest.mark.rule("C37", "C46")
@pytest.mark.parametrize(
    ("suffix", "asked", "made"),
    [("", "1", 1), ("", "3", 3), ("-ha", "1", 3), ("-ha", "5", 5), ("-pods", "3", 3), ("-ports", "1", 1)],
)
def test_count_of_clusterctl_becomes_the_replicas(suffix: str, asked: str, made: int) -> None:
    """Without the option, clusterctl fills in 1."""
    objects = flavor(suffix, CONTROL_PLANE_MACHINE_COUNT=asked)
    assert objects["KINDControlPlane"]["spec"]["replicas"] == made
    assert [one["role"] for one in objects["KINDCluster"]["spec"]["nodes"]].count("control-plane") == 1


@pytest.mark.rule("C37")
@pytest.mark.parametrize(
    ("suffix", "asked", "made"),
    [
        ("", "0", 0),
        ("", "10", 10),
        ("-pods", "2", 2),
        ("-ports", "2", 2),
        ("-ha", "0", 1),
        ("-ha", "10", 10),
        ("-registry", "2", 2),
    ],
)
def test_count_of_workers_becomes_the_replicas_of_a_machine_deployment(suffix: str, asked: str, made: int) -> None:
    """Without the option, clusterctl fills in 0; Pods of a highly available cluster need a worker."""
    objects = flavor(suffix, WORKER_MACHINE_COUNT=asked)
    workers = objects["MachineDeployment"]["spec"]
    assert workers["replicas"] == made
    assert workers["clusterName"] == workers["template"]["spec"]["clusterName"] == "dev"
    machine = workers["template"]["spec"]
    assert machine["version"] == "v1.37.0"
    assert machine["bootstrap"] == {"dataSecretName": ""}
    assert machine["deletion"]["nodeDrainTimeoutSeconds"] == 60
    template = objects["KINDMachineTemplate"]
    assert machine["infrastructureRef"] == {
        "apiGroup": template["apiVersion"].partition("/")[0],
        "kind": template["kind"],
        "name": template["metadata"]["name"],
    }
    assert [one["role"] for one in objects["KINDCluster"]["spec"]["nodes"]] == ["control-plane"]


def test_pods_flavor_names_the_class_and_the_memory_that_the_variables_say() -> None:
    assert flavor("-pods")["KINDCluster"]["spec"]["engine"] == {"className": "pods", "resources": {"memory": "4Gi"}}
    chosen = flavor("-pods", KIND_ENGINE_CLASS="sysbox", KIND_ENGINE_MEMORY="8Gi")["KINDCluster"]["spec"]["engine"]
    assert chosen == {"className": "sysbox", "resources": {"memory": "8Gi"}}


def test_ports_flavor_publishes_what_the_variables_say() -> None:
    (node,) = flavor("-ports", KIND_HTTP_PORT="81", KIND_LISTEN_ADDRESS="0.0.0.0")["KINDCluster"]["spec"]["nodes"]
    assert node["extraPortMappings"] == [
        {"containerPort": 80, "hostPort": 81, "listenAddress": "0.0.0.0", "protocol": "TCP"},
        {"containerPort": 443, "hostPort": 8443, "listenAddress": "0.0.0.0", "protocol": "TCP"},
    ]


def test_registry_flavor_names_the_mirror_that_the_variables_say() -> None:
    spec = flavor("-registry", KIND_REGISTRY="docker.io", KIND_REGISTRY_ENDPOINT="https://mirror.example")[
        "KINDCluster"
    ]["spec"]
    assert spec["registries"] == {"mirrors": [{"host": "docker.io", "endpoints": ["https://mirror.example"]}]}


@pytest.mark.parametrize("file", sorted(TEMPLATES.iterdir()), ids=lambda file: file.stem)
def test_no_template_sets_mirrors_in_the_configuration_of_containerd(file: Path) -> None:
    assert "containerdConfigPatches" not in file.read_text()


def test_standalone_flavor_needs_no_cluster_api() -> None:
    objects = flavor("-standalone")
    assert set(objects) == {"KINDCluster"}
    assert objects["KINDCluster"]["spec"]["standalone"] is True
    assert objects["KINDCluster"]["spec"]["kubernetesVersion"] == "v1.37.0"


@pytest.mark.rule("C37")
@pytest.mark.parametrize("suffix", ["-topology", "-development"])
def test_topology_passes_the_counts_on(suffix: str) -> None:
    topology = flavor(suffix)["Cluster"]["spec"]["topology"]
    values = {one["name"]: one["value"] for one in topology.get("variables", ())}
    assert topology["controlPlane"] == {"replicas": 3}
    assert topology["workers"] == {"machineDeployments": [{"class": "worker", "name": "workers", "replicas": 2}]}
    classes = cluster_class()["ClusterClass"]["spec"]["workers"]["machineDeployments"]
    assert [one["class"] for one in classes] == ["worker"]
    assert topology["classRef"] == {"name": "kind", "namespace": "team-a"}
    assert topology["version"] == "v1.37.0"
    known = {one["name"] for one in cluster_class()["ClusterClass"]["spec"]["variables"]}
    assert set(values) <= known


def test_class_may_live_in_another_namespace() -> None:
    topology = flavor("-topology", CLUSTER_CLASS_NAMESPACE="classes")["Cluster"]["spec"]["topology"]
    assert topology["classRef"]["namespace"] == "classes"


@pytest.mark.rule("C31", "C37", "C44", "C47", "C55")
def test_class_refers_to_the_templates_beside_it() -> None:
    objects = cluster_class()
    spec = objects["ClusterClass"]["spec"]
    (workers,) = spec["workers"]["machineDeployments"]
    assert workers["deletion"] == {"nodeDrainTimeoutSeconds": 60}
    for part, kind in (
        (spec["infrastructure"], "KINDClusterTemplate"),
        (spec["controlPlane"], "KINDControlPlaneTemplate"),
        (workers["infrastructure"], "KINDMachineTemplate"),
        (workers["bootstrap"], "KINDConfigTemplate"),
    ):
        template = objects[kind]
        assert part["templateRef"] == {
            "apiVersion": template["apiVersion"],
            "kind": kind,
            "name": template["metadata"]["name"],
        }
        assert template["spec"]["template"]["spec"] == {}
    assert "namespace" not in "".join(str(one["metadata"]) for one in objects.values())


def test_class_has_no_dollar_that_clusterctl_could_take_for_a_variable() -> None:
    assert not re.search(r"\$[{$\w]", (TEMPLATES / "clusterclass-kind.yaml").read_text())


@pytest.mark.rule("C37")
def test_every_variable_of_the_class_is_used_and_has_a_default_unless_it_is_deprecated() -> None:
    spec = cluster_class()["ClusterClass"]["spec"]
    patches = str(spec["patches"])
    for variable in spec["variables"]:
        schema = variable["schema"]["openAPIV3Schema"]
        assert ("default" in schema) != schema["description"].startswith("Deprecated"), variable["name"]
        assert f".{variable['name']}" in patches or f"'variable': '{variable['name']}'" in patches


@pytest.mark.rule("C32")
def test_patches_never_touch_the_endpoint() -> None:
    patches = cluster_class()["ClusterClass"]["spec"]["patches"]
    paths = [
        one["path"] for patch in patches for definition in patch["definitions"] for one in definition["jsonPatches"]
    ]
    assert paths
    assert not any("controlPlaneEndpoint" in path for path in paths)


# --- the KINDCluster accepts whatever the class accepts ---


def variable(name: str) -> dict[str, Any]:
    """The schema of a variable of the class."""
    (found,) = (one for one in cluster_class()["ClusterClass"]["spec"]["variables"] if one["name"] == name)
    schema: dict[str, Any] = found["schema"]["openAPIV3Schema"]
    return schema


def field(*names: str) -> dict[str, Any]:
    """The schema of a field of `KINDCluster.spec`; `[]` is an item of a list."""
    path = ROOT / "config" / "crd" / "bases" / "infrastructure.cluster.x-k8s.io_kindclusters.yaml"
    (version,) = yaml.load(path.read_text(), yaml.CSafeLoader)["spec"]["versions"]
    schema: dict[str, Any] = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
    for name in names:
        schema = schema["items"] if name == "[]" else schema["properties"][name]
    return schema


def patterns_of(schema: Mapping[str, Any]) -> set[str]:
    """The patterns that a text must match, directly or in CEL rules."""
    rules = [one["rule"] for one in schema.get("x-kubernetes-validations", ())]
    return {schema.get("pattern", "")} | {found for rule in rules for found in re.findall(r"matches\(r'([^']+)'", rule)}


def test_class_allows_as_many_nodes_as_a_kindcluster_may_have() -> None:
    most = variable("controlPlaneCount")["maximum"] + variable("workerCount")["maximum"]
    assert most <= field("nodes")["maxItems"]


@pytest.mark.parametrize("name", ["controlPlaneCount", "workerCount"])
def test_deprecated_variable_names_the_release_that_removes_it(name: str) -> None:
    found = re.search(r"Deprecated: release (\d+\.\d+\.\d+) removes it", variable(name)["description"])
    assert found, "the description is what users of the class see"
    page = (ROOT / "docs" / "install.md").read_text()
    assert f"| `{name}` | none | {found[0]}." in page
    current = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert tuple(map(int, found[1].split("."))) > tuple(map(int, current.split("."))), "the release has come: remove it"


MIRROR = ("registries", "mirrors", "[]")


@pytest.mark.parametrize(
    ("of_class", "of_cluster"),
    [
        (variable("nodeImage"), field("image")),
        (variable("portMappings"), field("nodes", "[]", "extraPortMappings")),
        (variable("registryMirrors"), field("registries", "mirrors")),
        (variable("registryMirrors")["items"]["properties"]["registry"], field(*MIRROR, "host")),
        (variable("registryMirrors")["items"]["properties"]["endpoints"], field(*MIRROR, "endpoints")),
        (variable("registryMirrors")["items"]["properties"]["endpoints"]["items"], field(*MIRROR, "endpoints", "[]")),
        (
            variable("registryMirrors")["items"]["properties"]["caConfigMapRef"]["properties"]["name"],
            field(*MIRROR, "caConfigMapRef", "name"),
        ),
        (variable("featureGates"), field("featureGates")),
        (variable("engineClass"), field("engine", "className")),
        (variable("engineMemory"), field("engine", "resources", "memory")),
    ],
)
def test_class_refuses_what_the_schema_of_the_kindcluster_refuses(
    of_class: dict[str, Any], of_cluster: dict[str, Any]
) -> None:
    for limit in ("maxItems", "maxLength", "maxProperties"):
        assert of_class.get(limit, 0) <= of_cluster.get(limit, 0)
    for limit in ("minItems", "minLength"):
        # The empty default of a text omits the field.
        assert of_class.get(limit, 0) >= of_cluster.get(limit, 0) or of_class.get("default") == ""
    assert patterns_of(of_cluster) - {""} <= patterns_of(of_class)


def test_class_has_every_power_state() -> None:
    assert variable("powerState")["enum"] == field("engine", "powerState")["enum"]


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "::", "::1", "fd00:1::2", "::ffff:127.0.0.1"])
def test_class_takes_an_ip_address_to_listen_on(address: str) -> None:
    pattern = variable("portMappings")["items"]["properties"]["listenAddress"]["pattern"]
    assert re.search(pattern, address)


@pytest.mark.parametrize("address", ["", "localhost", "127.0.0", "10.0.0.256", "10.0.0.0/8", "[::1]", "beef"])
def test_class_takes_nothing_else_to_listen_on(address: str) -> None:
    pattern = variable("portMappings")["items"]["properties"]["listenAddress"]["pattern"]
    assert not re.search(pattern, address)


def test_class_has_every_field_of_a_mirror() -> None:
    mirror = set(variable("registryMirrors")["items"]["properties"])
    assert mirror == set(field(*MIRROR)["properties"]) - {"host"} | {"registry"}
