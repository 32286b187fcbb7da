import functools
import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from hack.crds.__main__ import BASES, rendered
from hack.crds.definition import all_definitions

CRDS = {crd["spec"]["names"]["kind"]: crd for crd in all_definitions()}
SAMPLES = Path(__file__).parents[3] / "config" / "samples"
written = functools.cache(rendered)
EMPTY = {"KINDConfig": ".spec", "KINDConfigTemplate": ".spec.template.spec"}
"""Objects that have no fields on purpose."""
EVERY_CRD = pytest.mark.parametrize("crd", CRDS.values(), ids=CRDS.keys())


def schema(kind: str) -> dict[str, Any]:
    return CRDS[kind]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


def nodes_of(node: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, node
    for name, child in (node.get("properties") or {}).items():
        yield from nodes_of(child, f"{path}.{name}")
    for name, child in (("[]", node.get("items")), ("{}", node.get("additionalProperties"))):
        if child:
            yield from nodes_of(child, path + name)


def test_written_crds_are_up_to_date() -> None:
    for path, text in written().items():
        assert path.read_text() == text, f"{path.name} is stale; run `make generate`"


def test_no_other_crd_lies_around() -> None:
    (folder,) = {path.parent for path in written()}
    assert set(folder.iterdir()) == set(written())
    listed = yaml.safe_load((folder.parent / "kustomization.yaml").read_text())["resources"]
    assert {folder.parent / resource for resource in listed} == set(written())


@pytest.mark.rule("C1", "C40", "C47")
@EVERY_CRD
def test_crd_is_named_as_cluster_api_computes_it(crd: dict[str, Any]) -> None:
    names = crd["spec"]["names"]
    ending = "es" if names["kind"].endswith("s") else "s"
    assert crd["metadata"]["name"] == f"{names['kind'].lower()}{ending}.{crd['spec']['group']}"
    assert names["listKind"] == f"{names['kind']}List"
    assert names["categories"] == ["cluster-api"]
    assert crd["spec"]["scope"] == ("Cluster" if names["kind"] == "KINDEngineClass" else "Namespaced")


@pytest.mark.rule("C1", "C40")
@EVERY_CRD
def test_status_is_a_subresource_where_there_is_one(crd: dict[str, Any]) -> None:
    (version,) = crd["spec"]["versions"]
    has_status = "status" in version["schema"]["openAPIV3Schema"]["properties"]
    assert set(version.get("subresources", {})) - {"scale"} == ({"status"} if has_status else set())
    assert has_status != crd["spec"]["names"]["kind"].endswith("Template")


@pytest.mark.rule("C2", "C31", "C40", "C44", "C47")
@EVERY_CRD
def test_contract_labels_name_served_versions(crd: dict[str, Any]) -> None:
    served = {version["name"] for version in crd["spec"]["versions"] if version["served"]}
    for contract in ("v1beta1", "v1beta2"):
        assert crd["metadata"]["labels"][f"cluster.x-k8s.io/{contract}"] in served
    folder = BASES.parent
    (labels,) = yaml.safe_load((folder / "kustomization.yaml").read_text())["labels"]
    assert labels["pairs"] == crd["metadata"]["labels"]


def test_short_names_do_not_collide() -> None:
    short = list(itertools.chain.from_iterable(crd["spec"]["names"]["shortNames"] for crd in CRDS.values()))
    assert len(set(short)) == len(short)
    assert "kcp" not in short, "Cluster API's KubeadmControlPlane has it"


@pytest.mark.rule("C3", "C32")
@EVERY_CRD
def test_schema_is_closed_bounded_and_without_defaults(crd: dict[str, Any]) -> None:
    root = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    for path, node in nodes_of(root):
        assert node["type"], path
        assert "default" not in node, path
        assert not any(field.startswith("x-kubernetes-preserve") or field == "nullable" for field in node), path
        if node["type"] == "array":
            assert node["x-kubernetes-list-type"] in ("atomic", "map"), path
            assert node["maxItems"], path
        if node["type"] == "string" and path not in (".apiVersion", ".kind"):
            assert node.keys() & {"maxLength", "enum", "format"}, path
        if "additionalProperties" in node:
            assert node["maxProperties"], path
        if node["type"] == "object" and path not in (".metadata", EMPTY.get(crd["spec"]["names"]["kind"])):
            assert node.get("properties") or node.get("additionalProperties"), path


@EVERY_CRD
def test_every_field_is_described(crd: dict[str, Any]) -> None:
    root = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    for path, node in nodes_of(root):
        if path != ".metadata" and not path.endswith("{}"):
            assert node["description"].strip().endswith((".", "`.")), path
            assert "\n" not in node["description"], path


@EVERY_CRD
def test_every_rule_says_what_to_do(crd: dict[str, Any]) -> None:
    root = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    for path, node in nodes_of(root):
        for rule in node.get("x-kubernetes-validations", ()):
            assert re.search(r"\b(must|cannot|may not|Choose)\b", rule["message"]), path
            assert len(rule["message"]) <= 2048, path


def test_kindcluster_and_its_template_share_one_schema() -> None:
    own = schema("KINDCluster")["properties"]["spec"]["properties"]
    template = schema("KINDClusterTemplate")["properties"]["spec"]["properties"]["template"]["properties"]["spec"]
    assert set(own) - set(template["properties"]) == {"clusterName", "controlPlaneEndpoint", "standalone"}
    assert all(own[field] == node for field, node in template["properties"].items())


def test_every_field_of_a_template_is_fixed_at_creation_or_takes_effect_later() -> None:
    rules = schema("KINDCluster")["x-kubernetes-validations"]
    fixed = {rule["fieldPath"] for rule in rules if "oldSelf" in rule["rule"]}
    template = schema("KINDClusterTemplate")["properties"]["spec"]["properties"]["template"]["properties"]["spec"]
    later = {field for field in template["properties"] if f".spec.{field}" not in fixed}
    assert later == {"deletionPolicy", "recreatePolicy"}


def test_kindmachine_and_its_template_share_one_schema() -> None:
    own = schema("KINDMachine")["properties"]["spec"]["properties"]
    template = schema("KINDMachineTemplate")["properties"]["spec"]["properties"]["template"]["properties"]["spec"]
    assert set(own) - set(template["properties"]) == {"clusterName", "providerID"}
    assert all(own[field] == node for field, node in template["properties"].items())


def test_all_of_a_kindmachine_but_its_provider_id_is_immutable() -> None:
    rules = schema("KINDMachine")["x-kubernetes-validations"]
    fixed = {rule["fieldPath"].removeprefix(".spec.") for rule in rules if "oldSelf" in rule["rule"]}
    assert fixed == set(schema("KINDMachine")["properties"]["spec"]["properties"]) - {"providerID"}


@pytest.mark.rule("C47")
def test_template_of_machines_may_change() -> None:
    """The topology controller tries a changed template out by a dry run of server-side apply."""
    rules = [rule["rule"] for _, node in nodes_of(schema("KINDMachineTemplate")) for rule in _rules(node)]
    assert rules
    assert not any("oldSelf" in rule for rule in rules)


def _rules(node: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = node.get("x-kubernetes-validations", [])
    return found


@pytest.mark.rule("C50")
def test_addresses_of_a_machine_are_of_the_types_that_core_knows() -> None:
    addresses = schema("KINDMachine")["properties"]["status"]["properties"]["addresses"]["items"]["properties"]
    assert set(addresses["type"]["enum"]) == {"Hostname", "InternalIP", "ExternalIP", "InternalDNS", "ExternalDNS"}
    assert addresses["address"]["maxLength"] == 256


@pytest.mark.rule("C16", "C20", "C50")
@pytest.mark.parametrize("kind", ["KINDCluster", "KINDControlPlane", "KINDMachine"])
def test_status_leaves_out_what_must_not_be_there(kind: str) -> None:
    status = schema(kind)["properties"]["status"]["properties"]
    assert not {"failureDomain", "failureDomains", "failureReason", "failureMessage"} & set(status)


@pytest.mark.rule("C46")
def test_only_a_control_plane_has_the_scale_subresource_and_the_fields_behind_it() -> None:
    scales = {kind: crd["spec"]["versions"][0].get("subresources", {}).get("scale") for kind, crd in CRDS.items()}
    assert {kind for kind, scale in scales.items() if scale} == {"KINDControlPlane"}
    for path in scales["KINDControlPlane"].values():
        part, field = path.lstrip(".").split(".")
        assert field in schema("KINDControlPlane")["properties"][part]["properties"]


@pytest.mark.rule("C43", "C44")
def test_control_plane_template_requires_neither_version_nor_replicas() -> None:
    template = schema("KINDControlPlaneTemplate")["properties"]["spec"]["properties"]["template"]["properties"]["spec"]
    assert {"version", "replicas"} <= set(template["properties"])
    assert "required" not in template


def test_crds_fit_into_the_annotation_of_kubectl_apply() -> None:
    assert max(len(text.encode()) for text in written().values()) < 256 * 1024


def test_samples_cover_the_ways_to_use_it() -> None:
    names = {path.stem for path in SAMPLES.glob("*.yaml")}
    ways = {"standalone", "versioned", "multi-node", "ports-and-mounts", "registry-mirrors", "ha", "workers"}
    ways |= {"cluster", "machine-deployment", "engine-class", "engine-class-pods"}
    assert ways <= names


@EVERY_CRD
def test_schema_is_stored_as_it_is_applied(crd: dict[str, Any]) -> None:
    """The API server drops empty maps and lists, and then the same file conflicts with itself for another manager."""
    for version in crd["spec"]["versions"]:
        assert list(empty(version["schema"], "schema")) == []


def empty(value: Any, path: str) -> Iterator[str]:
    """Yield the paths of empty maps and lists below a value."""
    if isinstance(value, dict | list) and not value:
        yield path
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in pairs:
        yield from empty(item, f"{path}.{key}")


@EVERY_CRD
def test_no_text_names_a_rule_of_the_contract(crd: dict[str, Any]) -> None:
    """People read descriptions and messages; the numbers of rules are for tests."""
    assert re.findall(r"\([CK][0-9]+\)", json.dumps(crd)) == []


@pytest.mark.parametrize("sample", sorted((SAMPLES / "invalid").glob("*.yaml")), ids=lambda sample: sample.stem)
def test_invalid_sample_says_how_it_is_refused_and_is_short(sample: Path) -> None:
    text = sample.read_text()
    assert text.startswith("# Refused: ")
    assert len(text.splitlines()) <= 16
