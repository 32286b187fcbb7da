"""The list of rights equals that of the manifests, and has the form of the API server's access reviews."""

from pathlib import Path

import pytest
import yaml

from capk.api.definitions import DEFINITIONS, expected, fingerprint
from capk.api.rights import ENGINE_RULES, LEADER_ELECTION_RULES, RULES, Access, needed, needed_to_lead

CONFIG = Path(__file__).parents[3] / "config"
RBAC = CONFIG / "rbac"


def granted(file: str, kind: str, folder: Path = RBAC) -> list[tuple]:
    """Each rule of a role, split up by group and resource, as in the list."""
    (role,) = (one for one in yaml.safe_load_all((folder / file).read_text()) if one["kind"] == kind)
    return [
        (group, resource, tuple(rule["verbs"]), name)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for name in rule.get("resourceNames") or [""]
    ]


@pytest.mark.rule("C39")
def test_list_of_rights_is_that_of_the_roles() -> None:
    assert [rule[:4] for rule in RULES] == granted("role.yaml", "ClusterRole")
    assert [rule[:4] for rule in LEADER_ELECTION_RULES] == granted("leader_election.yaml", "Role")
    assert [rule[:4] for rule in ENGINE_RULES] == granted("role.yaml", "Role", CONFIG / "engine-namespace")


def test_provider_of_one_namespace_needs_nothing_outside_of_it() -> None:
    assert {access.namespace for access in needed("dev")} == {"dev"}
    assert len(needed("dev")) == len(needed()) - sum(len(rule.verbs) for rule in RULES if rule.cluster_wide)
    assert {access.namespace for access in needed()} == {""}


def test_subresources_and_names_are_asked_for_apart() -> None:
    assert Access("update", "g", "kinds/finalizers", "ns").attributes() == {
        "verb": "update",
        "group": "g",
        "resource": "kinds",
        "subresource": "finalizers",
        "namespace": "ns",
    }
    lease = needed_to_lead("system")[-1]
    assert lease.attributes()["name"] == "capk-leader-election"
    assert str(lease) == "patch leases.coordination.k8s.io capk-leader-election"
    assert Access("get", "", "secrets").attributes() == {"verb": "get", "group": "", "resource": "secrets"}


def test_fingerprints_are_those_of_the_shipped_definitions() -> None:
    shipped = [yaml.load(path.read_text(), yaml.CSafeLoader) for path in (CONFIG / "crd" / "bases").glob("*.yaml")]
    assert {one["metadata"]["name"]: fingerprint(one) for one in shipped} == expected()
    assert {one["kind"] for one in shipped} == {DEFINITIONS.kind}


def test_fingerprint_changes_with_the_schema_and_with_nothing_that_a_server_adds() -> None:
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object"}}}}
    one = {"spec": {"versions": [{"name": "v1", "schema": schema}]}}
    stored = {
        "spec": {"conversion": {"strategy": "None"}, "versions": [{"schema": schema, "name": "v1", "served": True}]},
        "status": {},
    }
    other = {"spec": {"versions": [{"name": "v1", "schema": {"openAPIV3Schema": {"type": "object"}}}]}}
    assert fingerprint(one) == fingerprint(stored)
    assert fingerprint(one) != fingerprint(other)
    assert fingerprint({}) == fingerprint({"spec": None})
