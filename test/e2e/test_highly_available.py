"""Three control planes and their load balancer: the effects of a reboot, and obstacles to their recovery."""

from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from capk.api.names import KIND_CLUSTERS
from test.e2e.conftest import NewName, StartPlace
from test.e2e.real_kind import RealKind
from test.integration.api import eventually
from test.integration.provider.journeys import Place, standalone

# Minutes each, so not part of `make test-e2e`.
pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.timeout(1200)]
CREATE_SECONDS = 400
NODES = [{"role": "control-plane"}] * 3


@pytest.fixture
def squatter(kind: RealKind) -> Iterator[list[str]]:
    """Containers that a test starts on kind's network; they are removed with it."""
    names: list[str] = []
    yield names
    for name in names:
        kind.engine("rm", "--force", "--volumes", name)


def test_nodes_come_back_in_order_after_a_reboot_and_name_who_has_an_address(
    start_place: StartPlace, kind: RealKind, new_name: NewName, squatter: list[str]
) -> None:
    name, place = new_name("reboot"), start_place("--health-period", "5s")
    balancer = f"{name}-external-load-balancer"
    place.create(standalone(name, nodes=NODES))
    place.await_condition(name, "Ready", seconds=CREATE_SECONDS)
    place.await_condition(name, "APIServerAvailable", seconds=30)
    containers, addresses = kind.containers(name), known(place, name)
    assert len(containers) == 4

    # Everything stops concurrently.
    place.process.kill()
    kind.engine("stop", "-t", "1", *containers)
    place.process.start()
    await_back(place, name)
    assert kind.containers(name) == containers
    assert actual(kind, containers) == known(place, name) == addresses

    # The engine restarted them in another order, as it does for containers that exit with an error.
    place.process.kill()
    kind.engine("stop", "-t", "1", *containers)
    kind.engine("start", *sorted(containers, key=lambda node: ip_address(addresses[node]), reverse=True))
    place.process.start()
    await_back(place, name)
    eventually(lambda: actual(kind, containers) == addresses, 60, 1)

    kind.engine("restart", "-t", "1", balancer)
    await_back(place, name)

    # Another container was quicker.
    place.process.kill()
    kind.engine("stop", "-t", "1", *containers)
    taken = take_lowest_addresses(kind, squatter, f"{name}-squatter", addresses, balancer)
    place.process.start()
    told = place.await_condition(name, "Ready", reason="AddressTaken", seconds=60)
    assert taken in told["message"]
    assert f"{name}-squatter" in told["message"]
    kind.engine("rm", "--force", *squatter)
    squatter.clear()
    await_back(place, name)

    place.delete(KIND_CLUSTERS, name)
    place.await_gone(name, seconds=60)
    assert kind.containers(name) == {}


def await_back(place: Place, name: str) -> None:
    """Wait until the nodes have been started and the API server answers again."""
    place.await_condition(name, "NodesRunning", status="False", seconds=60)
    place.await_condition(name, "Ready", seconds=300)


def known(place: Place, name: str) -> dict[str, str]:
    return {node["name"]: node["address"] for node in place.get(KIND_CLUSTERS, name)["status"]["nodes"]}


def actual(kind: RealKind, containers: dict[str, str]) -> dict[str, str]:
    return {node: kind.inspect(node)["NetworkSettings"]["Networks"]["kind"]["IPAddress"] for node in containers}


def take_lowest_addresses(
    kind: RealKind, squatters: list[str], name: str, addresses: dict[str, str], balancer: str
) -> str:
    """Start containers on kind's network until one has the address of a control plane; return that address."""
    wanted = {address for node, address in addresses.items() if node != balancer}
    for number in range(10):
        squatters.append(f"{name}{number}")
        kind.engine(
            "run", "--detach", "--network", "kind", "--name", squatters[-1], "--entrypoint", "sleep", kind.image, "600"
        )
        (address,) = actual(kind, {squatters[-1]: ""}).values()
        if address in wanted:
            return address
    raise AssertionError(f"none of {wanted} was given out")
