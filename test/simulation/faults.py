"""Faults of the API server, the engine, kind, workload clusters and the provider process."""

import asyncio
from collections.abc import Sequence
from random import Random

from test.simulation import podfaults
from test.simulation.apiserver import Fault
from test.simulation.clock import now
from test.simulation.kindcommand import Planned
from test.simulation.life import Life, action
from test.simulation.objects import Body
from test.simulation.printed import FAILURES_OF_CREATION
from test.simulation.world import World

# --- the API server


@action("api")
def api(
    life: Life,
    kind: str = "error",
    seconds: float = 20.0,
    share: float = 1.0,
    status: int = 503,
    message: str = "the server is currently unable to handle the request",
    delay: float = 2.0,
    plural: str | None = None,
    verbs: Sequence[str] = (),
) -> None:
    """Requests fail, are slow, or succeed without an answer; see `apiserver.Fault`."""
    rng = Random(f"{life.world.seed} {kind} {len(life.world.api.faults)}")
    fault = Fault(kind, now() + seconds, share, status, message, delay, plural, tuple(verbs), rng)
    life.world.api.faults.append(fault)


@action("drop-watches")
def drop_watches(life: Life, seconds: float = 5.0, plural: str | None = None) -> None:
    """Watches break; only a list shows the changes until they are open again."""
    life.world.api.drop_watches(seconds=seconds, plural=plural)


@action("slow-watch")
def slow_watch(life: Life, plural: str, latency: float = 10.0, seconds: float = 60.0) -> None:
    """Events of one kind are late, so that events of different kinds arrive out of order."""
    life.world.api.slow_watches[plural] = (latency, now() + seconds)


@action("quota")
def quota(life: Life, limit: int = 0, namespace: str = "default", seconds: float = 900.0) -> None:
    """A namespace has a temporary quota of Secrets."""
    api_server = life.world.api
    api_server.secret_quota[namespace] = limit
    asyncio.get_running_loop().call_later(seconds, api_server.secret_quota.pop, namespace, None)


@action("webhook")
def webhook(life: Life, seconds: float = 300.0) -> None:
    """A mutating webhook changes the owner references of each written Secret."""

    def change(secret: Body) -> None:
        for reference in secret["metadata"].get("ownerReferences") or ():
            reference["blockOwnerDeletion"] = False

    life.world.api.edit_secrets = change
    asyncio.get_running_loop().call_later(seconds, setattr, life.world.api, "edit_secrets", None)


# --- the engine


@action("engine")
def engine(life: Life, trouble: str, seconds: float = 30.0) -> None:
    """The engine has a temporary fault; see `engine.Trouble`."""
    life.world.engine.has_crashed |= trouble == "crash"
    setattr(life.world.engine.trouble, trouble, now() + seconds)


@action("restart-engine")
def restart_engine(life: Life, order: str = "names", come_back: bool = True, seconds: float = 5.0) -> None:
    """The engine, or its machine, restarts."""
    life.world.engine.restart(order=order, come_back=come_back, down_seconds=seconds)


@action("another-engine")
def another_engine(life: Life, seconds: float = 300.0) -> None:
    """The engine's command uses another engine temporarily, as after `docker context use`."""
    if not life.world.options.lists:
        # Without a container engine there is only the fake kind, which has no context to switch.
        return
    if any(one.doing == "create" for one in life.world.kind.running):
        # A kind cluster that is split between two engines cannot be repaired.
        return
    life.world.engine.switch(away=True)
    life.later(seconds, lambda: _switch_back(life.world))


def _switch_back(world: World) -> None:
    creating = {one.name for one in world.kind.running if one.doing == "create"}
    world.engine.switch(away=False, creating=creating)


@action("kind-fails")
def kind_fails(life: Life, fixture: str, times: int = 1, name: str | None = None) -> None:
    """The next creations fail with a recorded output."""
    life.world.kind.planned.append(Planned(FAILURES_OF_CREATION[fixture], fixture, times, name))


@action("node")
def node(life: Life, name: str, how: str, role: str = "control-plane", seconds: float = 300.0) -> None:
    """A node container has a temporary fault: `stuck` cannot be removed, `exits` exits after each start."""
    for container in life.world.engine_for(name).of(name):
        if container.role != role:
            continue
        attribute = "is_stuck" if how == "stuck" else "exits_again"
        setattr(container, attribute, True)
        asyncio.get_running_loop().call_later(seconds, setattr, container, attribute, False)
        if how == "exits":
            life.world.engine_for(name).stop(container)


@action("balancer-restarts")
def balancer_restarts(life: Life, name: str) -> None:
    """The load balancer's container restarts."""
    engine = life.world.engine_for(name)
    for container in engine.of(name):
        if container.role == "external-load-balancer":
            engine.stop(container)
            engine.start(container)


# --- workload clusters


@action("plane")
def plane(life: Life, name: str, how: str, seconds: float = 300.0) -> None:
    """An API server dies temporarily in a running container, or its etcd comes back empty.

    how: dead; empty, with a restart of the containers; emptied, without one.
    """
    engine = life.world.engine_for(name)
    births = {one.birth.number: one.birth for one in engine.of(name)}
    for birth in births.values():
        if how == "empty" and birth.number in life.world.workload.identified:
            birth.empties += 1
            for container in engine.of(name):
                engine.stop(container)
                engine.start(container)
        elif how == "emptied" and birth.number in life.world.workload.identified and not birth.hides_data:
            birth.empties += 1
            birth.lacks_system = True
        elif how == "dead":
            birth.is_dead = True
            asyncio.get_running_loop().call_later(seconds, setattr, birth, "is_dead", False)


@action("hostile-node")
def hostile_node(life: Life, name: str) -> None:
    """An administrator of a workload cluster adds fields to the kubeconfig of its node."""
    for container in life.world.engine_for(name).of(name):
        container.birth.hostile = {"tokenFile": "/var/run/secrets/kubernetes.io/serviceaccount/token", "as": "root"}


@action("slow-workload")
def slow_workload(life: Life, seconds: float = 120.0) -> None:
    """Workload API servers answer later than the provider waits."""
    life.world.workload.slow = now() + seconds


# --- the provider process


@action("kill")
def kill(life: Life, linger: float = 0.0) -> None:
    """SIGKILL; kind commands continue for a moment if linger is not 0."""
    life.deployment.kill(linger)


@action("restart")
def restart(life: Life) -> None:
    """SIGTERM, and another process follows."""
    life.deployment.restart()


@action("replace-provider")
def replace_provider(life: Life, overlap: float = 5.0, hard: bool = True) -> None:
    """Another provider starts; with leader election, the old one continues for a while."""
    if not (life.world.options.lease or life.world.options.lists):
        # Without leader election only the marks keep two providers apart, and nothing lists them.
        life.deployment.restart()
        return
    overlap = overlap if life.world.options.lease else 0.0
    life.deployment.replace(overlap, hard=hard)


@action("cut-off")
def cut_off(life: Life, seconds: float = 20.0) -> None:
    """The provider temporarily cannot reach the API server; its lease expires."""
    life.deployment.cut_off(seconds)


def end_all(life: Life) -> None:
    """End all faults, so that everything can settle."""
    world = life.world
    world.engine.trouble.end()
    _switch_back(world)
    world.engine.occupied.clear()
    world.api.faults.clear()
    world.api.slow_watches.clear()
    world.api.secret_quota.clear()
    world.api.edit_secrets = None
    podfaults.end(life)
    world.kind.planned.clear()
    world.engine.failing_joins = 0
    world.workload.slow = 0.0
    for birth in world.engine.births:
        birth.is_dead = False
    for container in world.engine.containers.values():
        container.is_stuck = container.exits_again = False
