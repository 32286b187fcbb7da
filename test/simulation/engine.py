"""A simulated container engine: containers, addresses, volumes, and their faults.

It does not depend on the provider. `kindcommand` drives it as kind does, `doors` connects the provider to it.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from test.simulation.clock import now
from test.simulation.identities import Identity, identity

LOAD_BALANCER: Final = "external-load-balancer"
CONTROL_PLANE: Final = "control-plane"
WORKER: Final = "worker"
FOREIGN: Final = "stranger"
"""Maker of clusters that were not created for our objects."""


@dataclass
class Birth:
    """One run of `kind create cluster`, and its kind cluster.

    maker: the mark in its configuration, or FOREIGN. is_up: kubeadm has done its work.
    is_dead: its API server does not answer although all containers run. system_uid: changes when etcd came back empty.
    """

    number: int
    cluster: str
    maker: str
    port: int
    control_planes: int
    is_up: bool = False
    reported: tuple[float, str] | None = None
    """Provider -> time at which kind reported success to it."""
    is_dead: bool = False
    balancer_knows: bool = True
    balancer_forgets: bool = False
    """Whether its load balancer loses its configuration when it stops, and so can be seen."""
    empties: int = 0
    lacks_system: bool = False
    """Whether its API server kept running while its etcd was emptied: it does not create kube-system again."""
    hostile: dict[str, object] = field(default_factory=dict)
    engine: "SimulatedEngine | None" = field(default=None, repr=False)
    nodes: dict[str, str] = field(default_factory=dict)
    """Node -> id of the container whose kubelet registered it; only those of workers that joined later."""
    joined: dict[str, str] = field(default_factory=dict)
    """Label of a worker that has ever joined later -> the provider that has let it join."""

    @property
    def answers(self) -> bool:
        """Return whether its API server can be reached at the address in its kubeconfig."""
        return self.engine is not None and self.engine.answers(self)

    @property
    def identity(self) -> Identity:
        """Return the certificate authority and the administrator's credentials."""
        return identity(self.number % 64)

    @property
    def hides_data(self) -> bool:
        """Return whether anonymous users may not read what kubeadm lets them read."""
        return self.number % 5 == 4

    @property
    def data_uid(self) -> str:
        """Return the uid of what kubeadm lets anonymous users read."""
        return f"{self.number:08x}-0000-4000-8000-da7a00000000"

    @property
    def system_uid(self) -> str:
        """Return the uid of the namespace kube-system."""
        return f"{self.number:08x}-0000-4000-8000-{self.empties:012x}"


@dataclass
class Container:
    """A container of the engine.

    home: its address when the kind cluster was created. is_listed: whether listings show it yet.
    exits_again: ends a moment after each start. is_stuck: cannot be removed.
    machine: the label with the id of a KINDMachine. boot_seconds: from its start until commands can run in it.
    """

    id: str
    name: str
    cluster: str
    role: str
    image: str
    birth: Birth
    mark: str | None
    running: bool = False
    address: str = ""
    home: str = ""
    started_at: str = ""
    is_listed: bool = True
    exits_again: bool = False
    is_stuck: bool = False
    files: dict[str, str] = field(default_factory=dict)
    machine: str = ""
    boot_seconds: float = 0.0

    @property
    def has_joined(self) -> bool:
        """Return whether its kubelet has registered the Node of a worker that joined later."""
        return self.birth.nodes.get(self.name) == self.id

    @property
    def is_added(self) -> bool:
        """Return whether it was created for a KINDMachine."""
        return bool(self.machine)


SETTLE_SECONDS: Final = 5.0
"""Maximum time that the provider needs to know that nothing is left of a creation that has failed."""


@dataclass
class Trouble:
    """Faults of engine calls, each until a virtual time."""

    down: float = 0.0
    hang: float = 0.0
    slow: float = 0.0
    garble: float = 0.0
    crash: float = 0.0
    """Listings raise an error outside the contract (a parser's error)."""
    disagree: float = 0.0
    """Listings of containers are older than kind's."""
    full_disk: float = 0.0

    def end(self) -> None:
        """End all faults."""
        self.__init__()  # type: ignore[misc]


class SimulatedEngine:
    """All containers, and the rules of names and addresses.

    on_remove: called with (container, who) before a container is removed.
    on_add: called with the container of a KINDMachine when it has been created.
    balancer_survives: kind 0.33's load balancer keeps its configuration over a restart, 0.32's does not.
    address: where it publishes API servers. births: of all engines; those of one world share it. first_id: of its
    containers.
    """

    def __init__(
        self,
        rng: Random,
        *,
        balancer_survives: bool = True,
        address: str = "127.0.0.1",
        births: "list[Birth] | None" = None,
        first_id: int = 0,
    ) -> None:
        self.rng = rng
        self.address = address
        self.is_off = False
        """Whether Docker itself does not run."""
        self.trouble = Trouble()
        self.balancer_survives = balancer_survives
        self.containers: dict[str, Container] = {}
        self._elsewhere: dict[str, Container] = {}
        self.on_remove: Callable[[Container, str], None] = lambda container, who: None
        self.on_halt: Callable[[Container], None] = lambda container: None
        self.on_add: Callable[[Container], None] = lambda container: None
        self.births: list[Birth] = [] if births is None else births
        self.failing_joins = 0
        """The number of next joins that fail."""
        self.clients: list[Any] = []
        """Calls of `run` whose client lives, `kindcommand.KindProcess`."""
        self.occupied: dict[str, str] = {}
        """Address -> name of a container that is not a kind node."""
        self.held: dict[str, tuple[str, str]] = {}
        """Placeholders: id -> its address, and the kind cluster that it helps to start."""
        self.removals: list[tuple[float, str, str]] = []
        self.number = 1
        self.touched: dict[str, float] = {}
        """Kind cluster -> when kind last ended on it, or a container of it was last removed."""
        self.left_early: set[tuple[int, str]] = set()
        """Engines and kind clusters whose creation ran, or had just failed, when another engine began to answer."""
        self.has_crashed = False
        """Whether listings have raised an error outside the contract."""
        self._ids = first_id
        self._resting: list[Container] = []
        """What ran when Docker ended."""
        self._ports = 40000
        self._past: list[tuple[float, list[Container]]] = []

    def switch(self, *, away: bool, creating: Iterable[str] = ()) -> None:
        """Let another, empty engine answer, or the first one again; the first one's containers keep running.

        creating: names of kind clusters whose creation runs. Nobody can remove any more what it leaves.
        """
        if away != (self.number == 1):
            return
        self.left_early |= {(self.number, one) for one in creating}
        self.left_early |= {(self.number, one) for one, at in self.touched.items() if now() - at < SETTLE_SECONDS}
        self.number = 2 if away else 1
        self.containers, self._elsewhere = self._elsewhere, self.containers
        self._past.clear()

    @property
    def is_down(self) -> bool:
        """Return whether it does not answer."""
        return self.is_off or self.trouble.down > now()

    def switch_off(self) -> None:
        """End Docker, with everything that runs in it."""
        if not self.is_off:
            self.is_off = True
            self._resting = [one for one in self.containers.values() if one.running]
            self.held.clear()
            for container in self._resting:
                self.stop(container)

    def switch_on(self, order: str = "random") -> None:
        """Start Docker, which starts what ran before; order: as of `restart`, names or random."""
        if not self.is_off:
            return
        self.is_off = False
        resting = sorted(self._resting, key=lambda one: one.name)
        if order == "random":
            self.rng.shuffle(resting)
        for place, container in enumerate(resting):
            asyncio.get_running_loop().call_later(0.1 + 0.1 * place, self.start, container)

    # --- state

    def everywhere(self) -> list[Container]:
        """Return all containers, including those of an engine that does not answer now."""
        return [*self.containers.values(), *self._elsewhere.values()]

    def is_elsewhere(self, birth: Birth) -> bool:
        """Return whether an engine that does not answer now has that kind cluster."""
        return any(one.birth is birth for one in self._elsewhere.values())

    def of(self, cluster: str, *, unlisted: bool = False) -> list[Container]:
        """Return the containers of a kind cluster, by name."""
        found = [one for one in self.containers.values() if one.cluster == cluster and (one.is_listed or unlisted)]
        return sorted(found, key=lambda one: one.name)

    def listed(self) -> list[Container]:
        """Return all containers of kind clusters that a listing shows, by name."""
        return sorted((one for one in self.containers.values() if one.is_listed), key=lambda one: one.name)

    def named(self, name: str) -> Container | None:
        """Return the container of that name."""
        return next((one for one in self.containers.values() if one.name == name), None)

    def answers(self, birth: Birth) -> bool:
        """Return whether the API server of that kind cluster can be reached at the address in its kubeconfig."""
        own = [one for one in self.everywhere() if one.birth is birth]
        planes = [one for one in own if one.role == CONTROL_PLANE and one.running]
        if not birth.is_up or birth.is_dead or not planes:
            return False
        if birth.control_planes == 1:
            return True
        members = [one for one in planes if one.address == one.home]
        balancers = [one for one in own if one.role == LOAD_BALANCER and one.running]
        return len(members) > birth.control_planes // 2 and bool(balancers) and birth.balancer_knows

    def port_owner(self, birth: Birth) -> Birth | None:
        """Return another kind cluster that runs with the port that this one wants on the machine."""
        others = (one.birth for one in self.containers.values() if one.running and one.birth is not birth)
        return next((other for other in others if other.port == birth.port), None)

    def has_no_port(self, container: Container) -> bool:
        """Return whether a container cannot start because another one has the port that it publishes."""
        publishes = LOAD_BALANCER if container.birth.control_planes > 1 else CONTROL_PLANE
        return container.role == publishes and self.port_owner(container.birth) is not None

    # --- events

    def begin(self, cluster: str, maker: str, port: int, control_planes: int) -> Birth:
        """Note that a creation begins; port 0 chooses a free one."""
        if not port:
            self._ports += 1
            port = self._ports
        birth = Birth(len(self.births) + 1, cluster, maker, port, control_planes, engine=self)
        birth.balancer_forgets = not self.balancer_survives
        self.births.append(birth)
        self.left_early.discard((self.number, cluster))
        return birth

    def make(
        self,
        birth: Birth,
        name: str,
        role: str,
        mark: str | None,
        image: str,
        *,
        is_listed: bool = True,
        machine: str = "",
    ) -> Container:
        """Create a container without starting it; raises KeyError with the other's id if the name is taken."""
        if taken := self.named(name):
            raise KeyError(taken.id)
        self._ids += 1
        container_id = f"{self._ids:06x}{'5eed' * 15}"[:64]
        container = Container(
            container_id, name, birth.cluster, role, image, birth, mark, is_listed=is_listed, machine=machine
        )
        self.containers[container_id] = container
        if machine:
            self.on_add(container)
        return container

    def start(self, container: Container) -> None:
        """Start a container: it gets the lowest free address."""
        if self.is_off or container.running or container.id not in self.containers or self.has_no_port(container):
            return
        container.running = True
        container.started_at = f"{now():.3f}"
        container.birth.lacks_system = False
        container.address = self._free_address()
        container.home = container.home or container.address
        if container.role == LOAD_BALANCER and container.birth.is_up:
            container.birth.balancer_knows = self.balancer_survives
        if container.exits_again:
            self.stop(container)

    def stop(self, container: Container) -> None:
        """Stop a container: its address is free again."""
        container.running = False
        container.address = ""

    def remove(self, container: Container, who: str) -> None:
        """Remove a container with its volumes."""
        if container.id in self.containers:
            self.on_remove(container, who)
            self.removals.append((now(), container.cluster, who))
            self.touched[container.cluster] = now()
            del self.containers[container.id]

    def hold(self, cluster: str) -> tuple[str, str]:
        """Start a placeholder, which ends by itself after 300 s; return its id and its address."""
        self._ids += 1
        container_id, address = f"{self._ids:06x}{'401d' * 15}"[:64], self._free_address()
        self.held[container_id] = (address, cluster)
        asyncio.get_running_loop().call_later(300, self.held.pop, container_id, None)
        return container_id, address

    def restart(self, *, order: str, come_back: bool, down_seconds: float) -> None:
        """Restart the engine: every container stops. If they restart by themselves, they do so in an order.

        order: names, random or addresses (the one that gives each its own address again).
        """
        running = [one for one in self.listed() if one.running]
        addresses = {one.id: one.address for one in running}
        for container in running:
            self.stop(container)
        self.held.clear()
        self.trouble.down = max(self.trouble.down, now() + down_seconds)
        if not come_back:
            return
        if order == "random":
            self.rng.shuffle(running)
        elif order == "addresses":
            running.sort(key=lambda one: _as_number(addresses[one.id]))
        loop = asyncio.get_running_loop()
        for place, container in enumerate(running):
            loop.call_later(down_seconds + 0.1 * place, self.start, container)

    def _free_address(self) -> str:
        taken = {one.address for one in self.containers.values() if one.running} | set(self.occupied)
        taken |= {address for address, _ in self.held.values()}
        return next(address for address in _addresses() if address not in taken)

    # --- stale listings

    def remember(self) -> None:
        """Keep the current listing for a later stale one."""
        self._past = [(when, shown) for when, shown in self._past if when > now() - 10][-20:]
        self._past.append((now(), self.listed()))

    def a_while_ago(self) -> list[Container]:
        """Return a listing that is up to ten seconds old."""
        return self._past[0][1] if self._past else []


def _addresses() -> Iterable[str]:
    return (f"172.18.{number // 256}.{number % 256}" for number in range(2, 65536))


def _as_number(address: str) -> tuple[int, ...]:
    return tuple(int(part) for part in address.split("."))
