"""An API server that rejects, fails, does not answer or drops watches: everything recovers, nothing happens twice."""

import time
from collections import Counter
from collections.abc import Callable, Mapping

import pytest

from capk.api.names import KIND_CLUSTERS
from test.chaos.counters import Counters
from test.chaos.kills import live
from test.chaos.proxy import Call, Fault, Trouble
from test.chaos.scenario import PATIENCE_SECONDS, Stage

pytestmark = pytest.mark.timeout(1800)

REFUSALS: Mapping[str, Fault] = {
    "conflict": Fault(forwarded=False, answer=(409, {})),
    "too many requests": Fault(forwarded=False, answer=(429, {"Retry-After": "1"})),
    "internal error": Fault(forwarded=False, answer=(500, {})),
    "unavailable": Fault(forwarded=False, answer=(503, {"Retry-After": "1"})),
    "internal error after the write": Fault(answer=(500, {})),
    "connection refused": Fault(forwarded=False, cut=True),
    "lost answer": Fault(cut=True),
    "late and lost answer": Fault(delay_seconds=2, cut=True),
}


def every_other(fault: Fault) -> Trouble:
    """Return a fault for every other write to one path: the first attempt fails, the second one passes.

    Every other write of all would not do: a status that reports a refusal would take the turn of what was refused.
    """
    writes: Counter[tuple[str, str]] = Counter()

    def trouble(call: Call) -> Fault | None:
        if not call.write:
            return None
        writes[call.method, call.path] += 1
        return fault if writes[call.method, call.path] % 2 == 1 else None

    return trouble


@pytest.mark.rule("K21", "K29", "C21")
def test_write_that_fails_is_made_good_whatever_it_was(stage: Callable[..., Stage], counters: Counters) -> None:
    owned = stage(owned=True)
    owned.process.start()
    undisturbed = live(owned, "peace")
    for number, (name, fault) in enumerate(REFUSALS.items()):
        life = live(owned, f"trouble{number}", every_other(fault))
        assert life.outcome == undisturbed.outcome, name
        assert life.creations == 1, f"{name}: created twice"
        assert life.writes < 6 * undisturbed.writes, f"{name}: {life.writes} writes, {undisturbed.writes} in peace"
        counters.add("failed writes", (life.writes + 1) // 2)


@pytest.mark.rule("K27", "K28")
@pytest.mark.parametrize("expired", [False, True], ids=["cut", "410"])
def test_broken_watches_lose_no_change(stage: Callable[..., Stage], expired: bool, counters: Counters) -> None:
    broken = stage("--sync-period", "20s")
    broken.process.start()
    for number in range(4):
        name = f"watched{number}"
        broken.create_cluster(name)
        counters.add("watches broken", broken.proxy.break_watches(expired=expired))
        broken.await_ready(name)
        broken.proxy.break_watches(expired=expired)
        broken.end(name)
        broken.proxy.break_watches(expired=expired)
        broken.await_end(name)
        assert broken.kind.creations(name) == 1
    broken.check_residue()


@pytest.mark.rule("K29")
def test_api_server_that_fails_is_not_flooded(stage: Callable[..., Stage], counters: Counters) -> None:
    failing = stage()
    failing.process.start()
    names = [f"patient{number}" for number in range(5)]
    for name in names:
        failing.create_cluster(name)
    for name in names:
        failing.await_ready(name)
    # Every write is due, none succeeds.
    seconds = 12.0
    failing.proxy.begin(lambda call: Fault(forwarded=False, answer=(500, {})) if call.write else None)
    for name in names:
        failing.end(name)
    time.sleep(seconds)
    asked = len(failing.proxy.calls)
    failing.proxy.begin()
    assert asked < 200, f"{asked} requests in {seconds} s for {len(names)} objects"
    for name in names:
        failing.await_end(name)
    failing.check_residue()
    counters.add("requests for 5 objects in 12 s of failures", asked)


@pytest.mark.rule("K29")
def test_api_server_that_asks_for_silence_gets_it(stage: Callable[..., Stage]) -> None:
    silenced = stage()
    silenced.process.start()
    silenced.create_cluster("first")
    silenced.await_ready("first")
    refusals: list[float] = []

    def refuse_once(call: Call) -> Fault | None:
        if call.write != 1:
            return None
        refusals.append(call.at)
        return Fault(forwarded=False, answer=(429, {"Retry-After": "3"}))

    silenced.proxy.begin(refuse_once)
    silenced.patch(KIND_CLUSTERS, "first", {"spec": {"deletionPolicy": "Retain"}})
    for number in range(4):
        silenced.create_cluster(f"more{number}")
    silenced.await_ready("more3")
    (refused,) = refusals
    later = [call.at - refused for call in silenced.proxy.writes if call.write > 1]
    # Requests that were already sent could not be held back.
    assert [wait for wait in later if 0.5 < wait < 2.9] == []
    for name in ("first", *(f"more{number}" for number in range(4))):
        silenced.patch(KIND_CLUSTERS, name, {"spec": {"deletionPolicy": "Delete"}})
        silenced.end(name)
        silenced.await_end(name)


@pytest.mark.rule("K29")
def test_outage_during_creation_makes_no_second_cluster(stage: Callable[..., Stage]) -> None:
    dark = stage(create_seconds=3)
    dark.process.start()
    dark.proxy.begin()
    dark.create_cluster("dark")
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not dark.kind.creations("dark"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    dark.proxy.begin(lambda call: Fault(forwarded=False, cut=True))
    dark.proxy.break_watches(expired=False)
    time.sleep(8)
    dark.proxy.begin()
    dark.await_ready("dark")
    assert dark.kind.creations("dark") == 1
    dark.end("dark")
    dark.await_end("dark")
    dark.check_residue()
