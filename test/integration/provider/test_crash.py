"""The provider is killed at any moment: what it finds and leaves after a restart."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from capk.api.names import KIND_CLUSTERS, SECRETS
from capkdev.fakekind.create import SECONDS_VARIABLE
from test.integration.api import eventually
from test.integration.provider.journeys import Place, standalone


def processes_of(place: Place) -> list[str]:
    """Return the command lines of all processes that work for a place."""
    mark = str(place.process.home.directory).encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (process / "environ").read_bytes() and int(process.name) != os.getpid():
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except (OSError, ValueError):
            continue
    return found


def folders_of_calls(place: Place) -> list[Path]:
    """Return the private folders of past and present providers here, each with the files of its kind calls."""
    return list((place.process.home.directory.parent / "work").iterdir())


@pytest.mark.rule("C21", "K37")
def test_creation_cut_short_is_finished_after_a_restart(own_place: Callable[..., Place]) -> None:
    place = own_place(**{SECONDS_VARIABLE: "4"})
    place.create(standalone("half-made"))
    eventually(lambda: place.process.home.find("half-made"), 60)
    place.process.kill()
    eventually(lambda: not processes_of(place))
    half_made = place.kind_cluster("half-made").uid
    assert place.find(SECRETS, "half-made-config") is None

    place.process.start()
    place.await_condition("half-made", "ClusterCreated", "CleaningUp")
    place.await_condition("half-made")
    assert place.process.home.names() == ["half-made"]
    assert place.kind_cluster("half-made").uid != half_made
    assert len(folders_of_calls(place)) == 1


@pytest.mark.rule("C23", "K15")
def test_deletion_cut_short_is_finished_after_a_restart(own_place: Callable[..., Place]) -> None:
    place = own_place()
    place.create(standalone("half-gone"))
    place.await_condition("half-gone")
    place.kind.hold_deletions(True)
    place.delete(KIND_CLUSTERS, "half-gone")
    cluster = place.kind_cluster("half-gone")
    eventually(lambda: place.kind.removals(cluster), 60)
    place.process.kill()
    eventually(lambda: not processes_of(place))
    assert place.kind_cluster("half-gone")

    place.kind.hold_deletions(False)
    place.process.start()
    place.await_gone("half-gone")
    assert place.process.home.names() == []
    assert place.find(SECRETS, "half-gone-config") is None
    assert len(folders_of_calls(place)) <= 1


@pytest.mark.rule("C21", "K36")
def test_provider_that_is_told_to_end_leaves_no_process(own_place: Callable[..., Place]) -> None:
    place = own_place(**{SECONDS_VARIABLE: "60"})
    place.create(standalone("unfinished"))
    eventually(lambda: place.process.home.find("unfinished"), 60)
    assert place.process.stop() == 0
    assert processes_of(place) == []
    assert folders_of_calls(place) == []


@pytest.mark.rule("C19", "C27")
def test_restart_writes_nothing_and_looks_at_no_kubeconfig(own_place: Callable[..., Place]) -> None:
    place = own_place()
    for number in range(5):
        place.create(standalone(f"steady-{number}"))
    for number in range(5):
        place.await_condition(f"steady-{number}")
    place.process.stop()
    before, asked = place.resource_versions(), len(place.kind.calls("kubeconfig"))
    place.process.start()
    # A new object shows that everything was reconciled, because keys are taken in order.
    place.create(standalone("steady-last"))
    place.await_condition("steady-last")
    after = place.resource_versions()
    assert {key: after[key] for key in before} == before
    assert len(place.kind.calls("kubeconfig")) - asked <= 2


@pytest.mark.rule("C27")
def test_lost_status_is_rebuilt(own_place: Callable[..., Place]) -> None:
    """As after `clusterctl move` or a restored backup, everything is read again."""
    place = own_place()
    place.create(standalone("amnesiac"))
    place.await_condition("amnesiac")
    before = place.get(KIND_CLUSTERS, "amnesiac")["status"]
    container = place.kind_cluster("amnesiac").uid
    place.process.stop()
    place.patch(KIND_CLUSTERS, "amnesiac", {"status": None}, "status")
    place.process.start()
    place.await_condition("amnesiac")
    after = place.get(KIND_CLUSTERS, "amnesiac")["status"]
    for field in ("ready", "initialization", "nodes", "endpoints", "clusterName", "image"):
        assert after.get(field) == before.get(field), field
    assert place.kind_cluster("amnesiac").uid == container
