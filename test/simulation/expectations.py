"""Checking steps of a script: conditions that must hold at that moment of a life."""

from capk.api import names
from capk.api.names import Condition
from test.simulation.apiserver import RESOURCES
from test.simulation.clock import now
from test.simulation.life import Life, action


@action("wait")
def wait(life: Life) -> None:
    """Do nothing: all faults end after the last step."""


@action("expect")
def expect(
    life: Life,
    name: str,
    namespace: str = "default",
    kind: str = "kindclusters",
    ready: bool | None = None,
    words: str | None = None,
    exists: bool | None = None,
) -> None:
    """Expect that an object is Ready or not, that a condition contains some words, that it exists or not."""
    obj = life.world.api.find(RESOURCES[kind], namespace, name)
    if exists is not None and exists != (obj is not None):
        life.world.violate(f"{name} {'does not exist' if exists else 'still exists'}")
    conditions = life.world.conditions(obj or {})
    said = "; ".join(f"{one['type']}={one['status']} {one['reason']} {one['message']}" for one in conditions.values())
    is_ready = conditions.get(Condition.READY, {}).get("status") == "True"
    if ready is not None and ready != is_ready:
        life.world.violate(f"{name} {'should' if ready else 'should not'} be Ready: {said}")
    if words is not None and words not in said:
        life.world.violate(f"no condition of {name} says {words!r}: {said}")


@action("expect-secret")
def expect_secret(life: Life, name: str, namespace: str = "default", exists: bool = True) -> None:
    """Expect that a Secret exists, or not."""
    if exists != (life.world.api.find(names.SECRETS, namespace, name) is not None):
        life.world.violate(f"Secret {name} {'is gone' if exists else 'is still there'}")


@action("expect-writes")
def expect_writes(life: Life, plural: str, most: int) -> None:
    """Expect at most so many changes of a kind's objects by the provider within the last ten minutes."""
    count = sum(one == plural and when > now() - 600 for when, one, _ in life.world.writes)
    if count > most:
        life.world.violate(f"{count} times {plural} were changed within ten minutes, at most {most} are sane")


@action("expect-calls")
def expect_calls(life: Life, what: str, most: int) -> None:
    """Expect at most so many engine calls of one type within the last ten minutes."""
    count = sum(one == what for _, one, _ in life.world.calls)
    if count > most:
        life.world.violate(f"{count} times {what} within ten minutes, at most {most} are sane")
