"""The provider is killed at the worst moments; after a restart the result is the same as without the kill."""

import stat
from pathlib import Path

import pytest

from capk.api.names import KIND_CLUSTERS
from test.e2e.conftest import NewName, StartPlace
from test.e2e.real_kind import RealKind, processes_of
from test.integration.api import eventually
from test.integration.provider.journeys import standalone

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]
CREATE_SECONDS = 300


class HeldKind:
    """The real kind, whose creations can be held back after all their work, before they exit."""

    SCRIPT = """#!/bin/sh
{kind} "$@" || exit
case "$*" in
  "create cluster"*) if [ -e "{hold}" ]; then touch "{finished}"; sleep 900; fi ;;
esac
"""

    def __init__(self, kind: RealKind, directory: Path) -> None:
        self._hold, self.finished = directory / "hold", directory / "finished"
        self.command = directory / "kind"
        (word,) = kind.command
        self.command.write_text(self.SCRIPT.format(kind=word, hold=self._hold, finished=self.finished))
        self.command.chmod(stat.S_IRWXU)

    def hold(self, *, on: bool) -> None:
        """Hold back creations from now on, or let them exit."""
        if on:
            self._hold.touch()
        else:
            self._hold.unlink()


def test_killed_provider_cleans_up_and_creates_again_after_its_restart(
    start_place: StartPlace, kind: RealKind, new_name: NewName, tmp_path: Path
) -> None:
    name, held = new_name("killed"), HeldKind(kind, tmp_path)
    place = start_place("--kind-command", str(held.command))
    place.create(standalone(name))

    # In the middle of kind's work.
    place.await_condition(name, "ClusterCreated", reason="StartingControlPlane", seconds=120)
    place.process.kill()
    half_made = kind.containers(name)
    assert half_made
    eventually(lambda: not processes_of(name), 10)
    held.hold(on=True)
    place.process.start()

    # When kind has just finished, before the provider has noticed.
    eventually(held.finished.exists, CREATE_SECONDS, 0.5)
    unknown = kind.containers(name)
    assert not set(unknown.values()) & set(half_made.values())
    place.process.kill()
    assert not place.get(KIND_CLUSTERS, name)["status"].get("ready")
    eventually(lambda: not processes_of(name), 10)
    held.hold(on=False)
    place.process.start()

    place.await_condition(name, "Ready", seconds=CREATE_SECONDS)
    whole = kind.containers(name)
    assert list(whole) == [f"{name}-control-plane"]
    assert not set(whole.values()) & set(unknown.values())
    assert "CleaningUp" in place.events(name)

    # A kill in the middle of a deletion.
    place.delete(KIND_CLUSTERS, name)
    place.await_condition(name, "Deleting", seconds=60)
    place.process.kill()
    place.process.start()
    place.await_gone(name, seconds=120)
    assert kind.containers(name) == {}
    assert place.process.stop() == 0
    work = place.process.log.parent / "work"
    assert [path for path in work.rglob("*") if path.is_file()] == []
