"""The containers of one kind cluster: as the engine lists them now, and as it listed them last."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from capk.engine.containers import Containers, Node
from capk.engine.inventory import Inventory
from capk.errors import CommandError
from capk.manager.outcome import Withdrawn
from capk.plan.plan import RenewCertificates, RenewKubelets, StartNodes


async def list_nodes(containers: Containers, name: str) -> list[Node]:
    """Ask the engine for the containers of a kind cluster, now."""
    return await containers.nodes(name) or []


def listed_nodes(inventory: Inventory, name: str) -> tuple[Node, ...]:
    """Return the containers of a kind cluster by the latest listing."""
    latest = inventory.latest
    entry = latest.clusters.get(name) if latest else None
    return (entry.nodes if entry else None) or ()


async def check_containers(
    inventory: Inventory, request: StartNodes | RenewCertificates | RenewKubelets
) -> dict[str, str]:
    """Raise Withdrawn where one of the containers is not there any more: its name may be someone else's by now.

    The next decision then rests on the listing that has shown it. Return the ids of the containers by name; none if the
    request names none.
    """
    if not request.container_ids:
        return {}
    snapshot = await inventory.refresh()
    if snapshot.error:
        raise snapshot.error
    entry = snapshot.clusters.get(request.name)
    ids = {node.name: node.container_id for node in (entry.nodes if entry else None) or ()}
    if not request.container_ids <= set(ids.values()):
        raise Withdrawn
    return ids


@contextmanager
def naming(ids: Mapping[str, str]) -> Iterator[None]:
    """Have errors of commands that address containers by id show the names, by which people know them.

    ids: by name. Another container may get the name meanwhile, so the commands themselves need the id.
    """
    try:
        yield
    except CommandError as error:
        names = {container_id: name for name, container_id in ids.items()}
        error.command = [names.get(word, word) for word in error.command]
        raise
