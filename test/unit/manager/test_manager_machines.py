"""Which KINDMachines belong to which KINDCluster, and what an event concerns."""

from typing import Any

import pytest

from capk.api import names
from capk.api.objects import Key, KINDMachine
from capk.engine.place import SHARED
from capk.manager.cache import new_store
from capk.manager.relations import Relations
from test.unit.plan.builders import MACHINE_UID, NODE, begun_machine, kindcluster, kindmachine, owner_cluster

CLUSTER = Key("KINDCluster", "default", "dev")
MACHINE = Key("KINDMachine", "default", NODE)
STORED = {names.MACHINE_ID_ANNOTATION: MACHINE_UID}


def relations(*machines: KINDMachine, named: str | None = "dev", **cluster: Any) -> Relations:
    """Return the relations of a KINDCluster, its Cluster and these machines; named: what the Cluster references."""
    store = new_store()
    made = Relations(store)
    store.put(names.KIND_CLUSTERS, kindcluster(**{"owner": "dev", **cluster}).raw)
    if named:
        owner = owner_cluster("dev").raw
        references = {"infrastructureRef": {"kind": "KINDCluster", "name": named}}
        metadata = {**owner["metadata"], "resourceVersion": "1"}
        store.put(names.CLUSTERS, {**owner, "metadata": metadata, "spec": references})
    for machine in machines:
        store.put(names.KIND_MACHINES, machine.raw)
    return made


def standalone(**metadata: Any) -> KINDMachine:
    return kindmachine({"clusterName": "dev"}, owned=False, **metadata)


def found(made: Relations, machine: KINDMachine) -> str | None:
    cluster = made.machines.infrastructure(machine)
    return cluster.name if cluster else None


def test_machine_belongs_to_the_kindcluster_that_its_cluster_names() -> None:
    machine = kindmachine()
    assert found(relations(machine), machine) == "dev"
    assert found(relations(machine, named="another"), machine) is None
    assert relations(machine, named="another").workers(kindcluster(owner="dev")) == set()


def test_without_its_cluster_the_owner_reference_of_the_kindcluster_counts() -> None:
    machine = kindmachine()
    made = relations(machine, named=None)
    assert found(made, machine) == "dev"
    assert made.workers(kindcluster(owner="dev")) == {MACHINE}
    assert found(relations(machine, named=None, owner=None), machine) is None


def test_standalone_machine_belongs_to_the_kindcluster_that_it_names_in_its_namespace() -> None:
    assert found(relations(owner=None), standalone()) == "dev"
    assert found(relations(owner=None), standalone(namespace="other")) is None
    assert relations(standalone(), owner=None).workers(kindcluster()) == {MACHINE}


def test_machine_of_a_machine_belongs_where_its_label_leads_whatever_it_names() -> None:
    machine = kindmachine({"clusterName": "elsewhere"})
    assert found(relations(machine), machine) == "dev"


def test_events_concern_the_machines_of_a_kindcluster_and_the_other_way_round() -> None:
    machine, cluster = kindmachine(), kindcluster(owner="dev")
    made = relations(machine)
    assert made.keys_for_event(names.KIND_MACHINES, machine.raw) == {MACHINE, CLUSTER}
    assert made.keys_for_event(names.KIND_CLUSTERS, cluster.raw) == {CLUSTER, MACHINE}
    assert made.keys_for_names(SHARED, ["dev"]) == {CLUSTER, MACHINE}
    assert made.siblings(MACHINE) == {CLUSTER}
    owner = owner_cluster("dev").raw
    assert MACHINE in made.keys_for_event(names.CLUSTERS, owner)


def test_event_of_a_kindcluster_that_is_gone_concerns_its_machines() -> None:
    store = new_store()
    made = Relations(store)
    store.put(names.KIND_MACHINES, standalone().raw)
    assert made.keys_for_event(names.KIND_CLUSTERS, kindcluster().raw) == {CLUSTER, MACHINE}


def test_machine_id_is_a_copy_while_the_object_that_it_belongs_to_exists() -> None:
    original, copy = kindmachine(), kindmachine(name="copy", uid="two", annotations=STORED)
    assert relations(original, copy).machines.is_copy(copy)
    assert not relations(original, copy).machines.is_copy(original)
    moved = begun_machine(uid="moved")
    assert not relations(moved).machines.is_copy(moved)


def test_of_several_objects_with_a_machine_id_the_oldest_has_it() -> None:
    moved = begun_machine(uid="moved")
    copy = begun_machine(name="copy", uid="a", creationTimestamp="2035-01-01T00:00:00Z")
    made = relations(moved, copy)
    assert (made.machines.is_copy(moved), made.machines.is_copy(copy)) == (False, True)


def test_event_concerns_copies_only_if_an_object_comes_or_goes_or_gets_another_machine_id() -> None:
    """Everyone can write one id into hundreds of objects."""
    moved, copy = begun_machine(uid="moved"), begun_machine(name="copy", uid="a")
    original, other = kindmachine(), begun_machine(uid="moved", annotations={names.MACHINE_ID_ANNOTATION: "other"})
    for known, event, is_concerned in (
        ((copy,), moved, True),
        ((copy,), original, True),
        ((moved, copy), moved, False),
        ((moved, copy), begun_machine(uid="moved", labels={"seen": "again"}), False),
        ((moved, copy), other, True),
        ((other, copy), moved, True),
        ((original, copy), moved, True),
    ):
        assert (copy.key in relations(*known).keys_for_event(names.KIND_MACHINES, event.raw)) is is_concerned


@pytest.mark.parametrize(
    ("name", "namespace", "shares"),
    [
        (NODE.removeprefix("dev-"), "default", True),
        ("copy", "default", False),
        (NODE.removeprefix("dev-"), "elsewhere", False),
    ],
)
def test_copy_may_have_a_node_of_the_same_name(name: str, namespace: str, shares: bool) -> None:
    original = kindmachine()
    copy = kindmachine(name=name, namespace=namespace, uid="two", annotations=STORED)
    machines = relations(original, copy).machines
    assert (machines.is_copy(copy), machines.shares_node(copy, "dev")) == (True, shares)
    assert not machines.shares_node(original, "dev")
