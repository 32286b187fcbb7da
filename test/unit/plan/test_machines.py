"""Names of workers, and which container belongs to which KINDMachine."""

import re
from dataclasses import replace

import pytest

from capk.plan.facts import Workers
from capk.plan.machines import has_joined, node_name, own_container, was_joined, workers_of
from test.unit.plan.builders import (
    JOINED,
    MACHINE_UID,
    NODE,
    begun_machine,
    cluster_with,
    joined_machine,
    kindmachine,
    node,
    observe_machine,
    worker,
)

LONG = "dev-" + "a" * 70


class TestNames:
    @pytest.mark.parametrize(
        ("machine", "name"),
        [("workers-x7k2p", "dev-workers-x7k2p"), ("dev-workers-x7k2p", "dev-workers-x7k2p"), ("dev", "dev-dev")],
    )
    def test_name_of_the_cluster_comes_first_and_once(self, machine: str, name: str) -> None:
        assert node_name("dev", machine) == name

    def test_name_of_63_characters_is_kept(self) -> None:
        assert node_name("dev", LONG[:63]) == LONG[:63]

    def test_longer_name_is_cut_and_ends_with_a_digest(self) -> None:
        cut = node_name("dev", LONG)
        assert len(cut) == 63
        assert re.fullmatch(r"dev-a{50}-[0-9a-f]{8}", cut)
        assert cut != node_name("dev", LONG + "b")

    def test_cut_never_leaves_a_dot_or_dash_before_the_digest(self) -> None:
        name = node_name("dev", "a" * 49 + ".-." + "b" * 30)
        assert re.fullmatch(r"dev-a{49}-[0-9a-f]{8}", name)


class TestOwnership:
    def test_name_label_and_mark_together_prove_the_container(self) -> None:
        observed = observe_machine(begun_machine(), infrastructure=cluster_with(worker()))
        assert own_container(observed) == worker()

    @pytest.mark.parametrize(
        "other",
        [
            worker(name="dev-other"),
            worker(machine="another"),
            worker(machine=""),
            worker(mark="another"),
            worker(mark=None),
        ],
    )
    def test_less_proves_nothing(self, other: object) -> None:
        observed = observe_machine(begun_machine(), infrastructure=cluster_with(other))
        assert own_container(observed) is None

    def test_machine_that_was_moved_keeps_its_container(self) -> None:
        moved = joined_machine(uid="new-uid", status={})
        assert own_container(observe_machine(moved, infrastructure=cluster_with(worker()))) == worker()

    def test_copy_whose_node_has_the_name_of_the_originals_has_no_container(self) -> None:
        copy = kindmachine(uid="copy", name=NODE.removeprefix("dev-"), annotations=JOINED)
        observed = observe_machine(copy, infrastructure=cluster_with(worker()), is_copy=True, shares_node=True)
        assert own_container(observed) is None
        assert not was_joined(observed)

    def test_machine_that_was_moved_beside_its_copy_keeps_its_container(self) -> None:
        moved = joined_machine(uid="new-uid", status={})
        observed = observe_machine(moved, infrastructure=cluster_with(worker()), is_copy=True)
        assert own_container(observed) == worker()
        assert has_joined(observed, worker())

    @pytest.mark.parametrize("is_copy", [True, False])
    def test_container_of_another_name_is_none_that_a_copy_has_lost(self, is_copy: bool) -> None:
        copy = kindmachine(uid="copy", name="copy", annotations=JOINED)
        observed = observe_machine(copy, infrastructure=cluster_with(worker()), is_copy=is_copy)
        assert own_container(observed) is None
        assert not was_joined(observed)

    def test_status_proves_the_container_of_a_machine_that_lost_its_annotations(self) -> None:
        bare = joined_machine(uid="new-uid", annotations={})
        assert own_container(observe_machine(bare, infrastructure=cluster_with(worker()))) == worker()


class TestWorkersOfACluster:
    def known(self, *machines: object, nodes: object = (worker(),), **facts: object) -> Workers:
        return workers_of("dev", nodes, machines, **{"joined": {}, "under_way": frozenset(), **facts})  # type: ignore[arg-type]

    def test_container_is_joining_until_its_machine_has_recorded_it(self) -> None:
        assert self.known(begun_machine()).joining == {NODE}
        assert self.known(joined_machine()).joining == frozenset()
        assert self.known(begun_machine(), joined={MACHINE_UID: "w1"}).joining == frozenset()

    def test_another_container_of_a_machine_is_joining_again(self) -> None:
        assert self.known(joined_machine(), nodes=(worker(container_id="w2"),)).joining == {NODE}

    def test_container_is_joining_while_the_operation_runs_whatever_is_recorded(self) -> None:
        assert self.known(joined_machine(), under_way=frozenset({NODE})).joining == {NODE}

    def test_container_without_a_machine_is_an_ordinary_node(self) -> None:
        assert self.known().joining == frozenset()

    def test_node_that_kind_made_is_never_joining(self) -> None:
        own = replace(node(), name=NODE)
        assert self.known(begun_machine(), nodes=(own,), under_way=frozenset({NODE})).joining == frozenset()

    def test_machines_are_named_by_their_nodes(self) -> None:
        short = kindmachine(name="x")
        assert self.known(joined_machine(), short).names == {NODE: NODE, "dev-x": "x"}

    def test_node_leaves_while_its_object_is_deleted_or_its_removal_runs(self) -> None:
        going = joined_machine(deletionTimestamp="2030-01-01T11:00:00Z")
        assert self.known(going).leaving == {NODE}
        assert self.known(joined_machine()).leaving == frozenset()
        assert self.known(leaving=frozenset({NODE})).leaving == {NODE}
