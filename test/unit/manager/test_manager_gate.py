"""Whether a queued operation is still wanted when it starts."""

from dataclasses import replace
from typing import Any

import pytest

from capk.api import names
from capk.manager.cache import new_store
from capk.manager.gate import Gate
from capk.manager.record import Record
from capk.manager.relations import Relations
from capk.plan.joining import join_request
from capk.plan.marks import Mark
from capk.plan.plan import Goal, ReadAccess, RemoveWorker, StartNodes, StopNodes
from test.unit.plan.builders import (
    CLAIMED,
    FINALIZER,
    MACHINE_FINALIZER,
    MACHINE_UID,
    NODE,
    UID,
    begun_machine,
    create_request,
    kindcluster,
    observe_machine,
    owner_cluster,
    removal,
)

CREATING = {**CLAIMED, names.IDENTITY_ANNOTATION: "", names.ATTEMPT_ANNOTATION: "1"}
CREATE = create_request()
DELETING = {"deletionTimestamp": "2030-01-01T11:00:00Z", "finalizers": FINALIZER}
GONE, MAKE_ROOM = removal(Goal.GONE), removal(Goal.UP)
EVERYTHING = [CREATE, GONE, MAKE_ROOM, ReadAccess("dev"), StartNodes("dev", ("a",))]


def wanted(request: Any, *, paused: bool = False, vanished: bool = False, **metadata: Any) -> bool:
    """Ask the gate about an object with that metadata."""
    metadata = {"annotations": CREATING, **metadata}
    cluster = kindcluster(owner="dev" if paused else None, **metadata)
    store = new_store()
    relations = Relations(store)
    if not vanished:
        store.put(names.KIND_CLUSTERS, cluster.raw)
    owner = owner_cluster("dev", paused=paused).raw
    store.put(names.CLUSTERS, {**owner, "metadata": {**owner["metadata"], "resourceVersion": "1"}})
    record = Record(cluster.key, UID, vanished=vanished)
    return Gate(store, relations).still_wanted(record, request)


def test_object_that_is_back_wants_what_it_wants_itself() -> None:
    """An object that leaves the watch filter for a moment looks like one that has vanished."""
    cluster = kindcluster(annotations=CREATING, **DELETING)
    store = new_store()
    relations = Relations(store)
    store.put(names.KIND_CLUSTERS, cluster.raw)
    record = Record(cluster.key, UID, vanished=True)
    assert Gate(store, relations).still_wanted(record, GONE)


def test_creation_is_wanted_while_its_attempt_is_the_one_that_is_stored() -> None:
    assert wanted(CREATE)
    assert not wanted(CREATE, annotations={**CREATING, names.ATTEMPT_ANNOTATION: "2"})
    assert not wanted(replace(CREATE, mark=Mark(UID, 2)))


def test_creation_that_is_known_to_be_complete_is_not_repeated() -> None:
    assert not wanted(CREATE, annotations={**CREATING, names.IDENTITY_ANNOTATION: "sha256:aaaa"})


def test_object_that_goes_away_wants_its_removal_and_nothing_made() -> None:
    assert not wanted(CREATE, **DELETING)
    assert wanted(GONE, **DELETING)
    assert not wanted(GONE)


def test_nodes_are_stopped_and_started_only_as_the_object_asks_by_then() -> None:
    off: dict[str, Any] = {"spec": {"engine": {"powerState": "Stopped"}}}
    stop, start = StopNodes("dev", frozenset({UID})), StartNodes("dev", ("a",))
    assert wanted(stop, **off)
    assert not wanted(stop)
    assert not wanted(stop, **off, **DELETING)
    assert not wanted(stop, paused=True, **off)
    assert not wanted(stop, vanished=True, **off)
    assert wanted(start)
    assert not wanted(start, **off)
    assert wanted(replace(start, although_stopped=True), **off)


def test_room_for_the_next_attempt_is_made_for_a_living_object() -> None:
    assert wanted(MAKE_ROOM)


@pytest.mark.rule("C7", "C6", "C25")
@pytest.mark.parametrize("request_", EVERYTHING, ids=lambda request: type(request).__name__)
def test_nothing_is_done_for_an_object_that_others_hold(request_: Any) -> None:
    going = DELETING if request_ is GONE else {}
    assert wanted(request_, **going)
    for held in (names.PAUSED_ANNOTATION, names.MANAGED_BY_ANNOTATION, names.DELETE_FOR_MOVE_ANNOTATION):
        assert not wanted(request_, annotations={**CREATING, held: ""}, **going)
    assert not wanted(request_, paused=True, **going)


@pytest.mark.parametrize("request_", EVERYTHING, ids=lambda request: type(request).__name__)
def test_nothing_is_done_for_an_object_that_is_not_there(request_: Any) -> None:
    store = new_store()
    record = Record(kindcluster().key, UID)
    gate = Gate(store, Relations(store))
    assert not gate.still_wanted(record, request_)
    store.put(names.KIND_CLUSTERS, kindcluster(uid="another").raw)
    assert not gate.still_wanted(record, request_)


def test_of_a_vanished_object_only_what_was_made_is_removed() -> None:
    assert wanted(GONE, vanished=True)
    assert not wanted(CREATE, vanished=True)
    assert not wanted(ReadAccess("dev"), vanished=True)


def test_whole_cluster_does_not_go_once_its_object_retains_it() -> None:
    retained: dict[str, Any] = {**DELETING, "spec": {"deletionPolicy": "Retain"}}
    assert wanted(GONE, **DELETING)
    assert not wanted(GONE, **retained)
    assert wanted(replace(GONE, is_of_whole=False), **retained)


JOIN = join_request(observe_machine(begun_machine()))
LEAVE = RemoveWorker("dev", NODE, MACHINE_UID, frozenset({UID}))
CLEAN_UP = replace(LEAVE, goal=Goal.JOINED)
GOING = {"deletionTimestamp": "2030-01-01T11:00:00Z", "finalizers": MACHINE_FINALIZER}


def worker_wanted(
    request: Any,
    *,
    paused: bool = False,
    vanished: bool = False,
    cluster: dict[str, Any] | None = None,
    **metadata: Any,
) -> bool:
    """Ask the gate about a KINDMachine with that metadata; cluster: metadata of its KINDCluster, if there is one."""
    machine = begun_machine(**metadata)
    store = new_store()
    relations = Relations(store)
    if not vanished:
        store.put(names.KIND_MACHINES, machine.raw)
    if cluster is not None:
        store.put(names.KIND_CLUSTERS, kindcluster(owner="dev", **cluster).raw)
    owner = owner_cluster("dev", paused=paused).raw
    references = {"infrastructureRef": {"kind": "KINDCluster", "name": "dev"}}
    metadata = {**owner["metadata"], "resourceVersion": "1"}
    store.put(names.CLUSTERS, {**owner, "metadata": metadata, "spec": {**owner["spec"], **references}})
    record = Record(machine.key, MACHINE_UID, vanished=vanished)
    return Gate(store, relations).still_wanted(record, request)


def test_join_is_wanted_while_machine_and_kindcluster_stay() -> None:
    assert worker_wanted(JOIN, cluster={})
    assert not worker_wanted(JOIN, cluster={}, **GOING)
    assert not worker_wanted(JOIN)
    assert not worker_wanted(JOIN, cluster=DELETING)


def test_join_is_not_wanted_once_the_object_has_another_machine_id() -> None:
    """Nothing would find its container."""
    assert not worker_wanted(JOIN, cluster={}, annotations={names.MACHINE_ID_ANNOTATION: "another"})


def test_node_leaves_with_its_object_and_makes_room_for_the_next_attempt() -> None:
    assert worker_wanted(LEAVE, cluster={}, **GOING)
    assert not worker_wanted(LEAVE, cluster={})
    assert worker_wanted(CLEAN_UP, cluster={})


@pytest.mark.rule("C54")
@pytest.mark.parametrize("request_", [JOIN, LEAVE, CLEAN_UP], ids=["join", "leave", "clean up"])
def test_nothing_is_done_for_a_machine_that_others_hold(request_: Any) -> None:
    going = GOING if request_ is LEAVE else {}
    stored = {names.MACHINE_ID_ANNOTATION: MACHINE_UID}
    assert worker_wanted(request_, cluster={}, **going)
    for held in (names.PAUSED_ANNOTATION, names.MANAGED_BY_ANNOTATION, names.DELETE_FOR_MOVE_ANNOTATION):
        assert not worker_wanted(request_, cluster={}, annotations={**stored, held: ""}, **going)
    assert not worker_wanted(request_, paused=True, cluster={}, **going)


def test_edited_label_neither_redirects_a_join_nor_holds_a_removal() -> None:
    """The label leads to a paused Cluster; the request was made for the kind cluster of another one."""
    store = new_store()
    relations = Relations(store)
    store.put(names.KIND_CLUSTERS, kindcluster(owner="dev").raw)
    store.put(names.KIND_CLUSTERS, kindcluster(owner="prod", name="prod", uid="another").raw)
    for name, paused in (("dev", False), ("prod", True)):
        owner = owner_cluster(name, paused=paused).raw
        references = {"infrastructureRef": {"kind": "KINDCluster", "name": name}}
        metadata = {**owner["metadata"], "resourceVersion": "1"}
        store.put(names.CLUSTERS, {**owner, "metadata": metadata, "spec": {**owner["spec"], **references}})
    gate, labels = Gate(store, relations), {names.CORE_CLUSTER_NAME_LABEL: "prod"}
    spec = {"providerID": f"kind://docker/dev/{NODE}"}
    for request, metadata in ((LEAVE, GOING), (JOIN, {})):
        machine = begun_machine(spec, labels=labels, **metadata)
        store.clear(names.KIND_MACHINES)
        store.put(names.KIND_MACHINES, machine.raw)
        assert gate.still_wanted(Record(machine.key, MACHINE_UID), request) is (request is LEAVE)


def test_container_of_a_vanished_machine_goes_unless_another_object_has_its_id() -> None:
    assert worker_wanted(LEAVE, vanished=True)
    assert not worker_wanted(JOIN, vanished=True)
    store = new_store()
    relations = Relations(store)
    restored = begun_machine(uid="another")
    store.put(names.KIND_MACHINES, restored.raw)
    record = Record(restored.key, MACHINE_UID, vanished=True)
    assert not Gate(store, relations).still_wanted(record, LEAVE)
