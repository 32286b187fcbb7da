"""Two replicas: one acts, the other is a standby, and continues where the first stopped."""

import time
from pathlib import Path

import pytest

from capk.api.names import KIND_CLUSTERS
from capk.api.rights import LEASE
from capk.kube.lease import LEASES
from capkdev.fakekind.create import MODE_VARIABLE, SECONDS_VARIABLE
from capkdev.fakekind.listing import HOME_VARIABLE
from capkdev.managementcluster.cluster import LocalManagementCluster
from test.integration.api import Api, eventually
from test.integration.provider.journeys import SHORT_PERIODS, Place, SwitchableKind, standalone
from test.integration.provider_process import ProviderProcess, StartProvider
from test.integration.service_account import NAMESPACE

LEADING = "Leading: acquired Lease"


@pytest.fixture
def replicas(
    management: LocalManagementCluster, api: Api, namespace: str, provider: StartProvider, tmp_path: Path
) -> tuple[Place, Place]:
    """Two providers of one engine and one namespace; the first one leads."""
    kind = SwitchableKind(tmp_path / "bin")
    home = {HOME_VARIABLE: str(tmp_path / "provider" / "kind")}
    flags = [*SHORT_PERIODS, *kind.flags, "--leader-elect", "--leader-election-namespace", NAMESPACE]

    def replica() -> ProviderProcess:
        return provider(management, namespace, *flags, **{MODE_VARIABLE: "instant", SECONDS_VARIABLE: "2", **home})

    first = replica()
    eventually(lambda: LEADING in first.log_text())
    return tuple(Place(management, api, namespace, process, kind) for process in (first, replica()))  # type: ignore[return-value]


@pytest.mark.rule("K41")
def test_killed_leader_is_succeeded_and_its_work_finished(
    replicas: tuple[Place, Place], capsys: pytest.CaptureFixture[str]
) -> None:
    leader, standby = replicas
    leader.create(standalone("going"))
    leader.await_condition("going")
    assert LEADING not in standby.process.log_text()

    leader.kind.hold_deletions(True)
    cluster = leader.kind_cluster("going")
    leader.delete(KIND_CLUSTERS, "going")
    eventually(lambda: leader.kind.removals(cluster))
    leader.create(standalone("coming"))
    eventually(lambda: leader.kind.creations("coming"))
    before, killed_at = transitions(leader), time.monotonic()
    leader.process.kill()
    eventually(lambda: LEADING in standby.process.log_text(), interval_seconds=0.02)
    with capsys.disabled():
        print(f"\nA killed leader was succeeded after {time.monotonic() - killed_at:.1f} s.")

    leader.kind.hold_deletions(False)
    leader.await_condition("coming")
    leader.await_gone("going")
    assert leader.process.home.names() == ["coming"]
    assert transitions(leader) == before + 1

    leader.process.start()
    leader.create(standalone("later"))
    leader.await_condition("later")
    assert transitions(leader) == before + 1
    assert standby.process.stop() == 0
    eventually(lambda: leader.process.log_text().count(LEADING) == 2)


@pytest.mark.rule("K41")
def test_replica_that_waits_is_well_and_touches_nothing(replicas: tuple[Place, Place]) -> None:
    leader, standby = replicas
    leader.create(standalone("mine"))
    leader.await_condition("mine")
    assert standby.process.ask("/healthz") == "ok\n"
    assert standby.process.ask("/readyz") == "ok\n"
    assert "KINDCluster=" not in standby.process.log_text()
    assert leader.kind.creations("mine") == 1


def transitions(place: Place) -> int:
    """Return the number of transitions of the Lease."""
    lease = place.api.get(LEASES, NAMESPACE, LEASE)
    return int(lease["spec"]["leaseTransitions"])
