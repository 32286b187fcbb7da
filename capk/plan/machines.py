"""Names and ownership of the nodes of KINDMachines: which container belongs to which machine. Pure.

A container belongs to a machine only if three things agree: its name, which follows from the names of the objects; its
label with the machine id; and its mark, which proves the KINDCluster. Anyone who may edit an object can write the
machine id, and every user of the engine can write labels and marks.
"""

from collections.abc import Iterable, Mapping
from hashlib import sha256
from ipaddress import ip_address

from capk.api.objects import KINDMachine
from capk.kindconfig.config import ip_versions
from capk.plan.facts import NodeFacts, Workers
from capk.plan.observed import MachineObserved
from capk.plan.ownership import Ownership, own_uids, ownership
from capk.plan.plan import Goal

LONGEST_NAME = 63
"""Characters of a host name."""
_DIGEST_LENGTH = 8


def node_name(cluster_name: str, machine_name: str) -> str:
    """Return the name of a machine's container, host and Node.

    cluster_name: of the kind cluster. machine_name: metadata.name of the KINDMachine.
    The cluster's name comes first, as in kind's own node names. A long name keeps its beginning and ends with a digest.
    """
    prefix = f"{cluster_name}-"
    name = machine_name if machine_name.startswith(prefix) else f"{prefix}{machine_name}"
    if len(name) <= LONGEST_NAME:
        return name
    digest = sha256(name.encode()).hexdigest()[:_DIGEST_LENGTH]
    return f"{name[: LONGEST_NAME - 1 - _DIGEST_LENGTH].rstrip('-.')}-{digest}"


def node_of(observed: MachineObserved) -> str:
    """Return the name of the machine's node; empty as long as its KINDCluster does not exist."""
    infrastructure = observed.infrastructure
    return node_name(infrastructure.cluster_name, observed.object.name) if infrastructure else ""


def provider_id(observed: MachineObserved) -> str:
    """Return the provider id of the machine's Node, in the form that kind gives to its nodes (C48)."""
    cluster_name = observed.infrastructure.cluster_name if observed.infrastructure else ""
    return f"kind://{observed.engine_name}/{cluster_name}/{node_of(observed)}"


def addresses_of(observed: MachineObserved, container: NodeFacts) -> list[dict[str, str]]:
    """Return the addresses of the machine's Node, as Cluster API lists them; empty if its container has none now.

    The kubelet reports the same ones: those of the IP families of the kind cluster, and the host name (C50).
    """
    assert observed.infrastructure is not None
    there = container.addresses or tuple(filter(None, [container.address]))
    owner = observed.infrastructure.owner
    families = ip_versions(observed.infrastructure.object.spec, owner.cluster_network if owner else None)
    internal = [address for family in families for address in there if ip_address(address).version == family] or there
    found = [{"type": "InternalIP", "address": address} for address in internal]
    return [*found, {"type": "Hostname", "address": node_of(observed)}] if found else []


def machine_id(observed: MachineObserved) -> str:
    """Return the machine id: the stored one, unless it was copied from another object; otherwise the object's uid."""
    stored = None if observed.is_copy else observed.object.stored_machine_id
    return stored or observed.object.uid


def named_clusters(observed: MachineObserved) -> list[str]:
    """Return the kind clusters that may have the machine's container, whatever labels and references lead to.

    Before the provider id is stored, the operations of this process know it, and then the status.
    """
    machine, operation = observed.object, observed.operation
    _, _, path = (machine.provider_id or "").partition("://")
    requests = [operation.request] if operation else []
    requests += [facts.request for facts in observed.goals.values() if facts.request]
    return [*path.split("/")[1:2], *(request.name for request in requests), str(machine.status.get("clusterName", ""))]


def has_its_node_in(observed: MachineObserved) -> bool:
    """Return whether the observed kind cluster has the machine's container, whatever labels and references lead to.

    Also while an operation adds or removes it there, or if it was just removed, so that the deletion ends there, or if
    the containers are not listed yet.
    """
    infrastructure, left = observed.infrastructure, observed.goals.get(Goal.LEFT)
    if infrastructure is None:
        return False
    requests = [observed.operation.request if observed.operation else None, left.request if left else None]
    is_handled = any(request is not None and request.name == infrastructure.cluster_name for request in requests)
    return own_container(observed) is not None or is_handled or ownership(infrastructure) is Ownership.UNSEEN


def containers_named(observed: MachineObserved) -> list[NodeFacts]:
    """Return the containers of the kind cluster with the name of the machine's node; an engine allows one."""
    infrastructure = observed.infrastructure
    nodes = (infrastructure.engine.nodes or ()) if infrastructure else ()
    return [node for node in nodes if node.name == node_of(observed)]


def own_container(observed: MachineObserved) -> NodeFacts | None:
    """Return the machine's container, proven by name, label and mark; None if there is none."""
    return next((node for node in containers_named(observed) if _is_own(observed, node)), None)


def container_in_the_way(observed: MachineObserved) -> NodeFacts | None:
    """Return a container with the name of the machine's node that is not the machine's."""
    return next((node for node in containers_named(observed) if not _is_own(observed, node)), None)


def _is_own(observed: MachineObserved, node: NodeFacts) -> bool:
    if observed.infrastructure is None or node.mark is None or node.mark.uid not in own_uids(observed.infrastructure):
        return False
    # Only the provider writes a status: it proves the container of a moved object that has lost its machine id.
    is_recorded = bool(node.machine) and node.container_id == observed.object.status.get("containerID")
    # The uid cannot be edited: it proves the container whatever the annotation holds. A copied id proves it too if the
    # original's node has another name: the object that has the name was moved, and its copy is older.
    stored = None if observed.shares_node else observed.object.stored_machine_id
    return node.machine in (machine_id(observed), observed.object.uid, stored or observed.object.uid) or is_recorded


def joined_ids(observed: MachineObserved) -> frozenset[str]:
    """Return the ids of the container that has joined, by annotation, status and memory.

    The annotation of a copied manifest names the container of the original, which has another name.
    """
    machine, container = observed.object, own_container(observed)
    nodes = (observed.infrastructure.engine.nodes or ()) if observed.infrastructure else ()
    others = {node.container_id for node in nodes if node.name != node_of(observed)}
    stored = machine.joined_containers - others
    if observed.is_copy:
        stored &= {container.container_id} if container else frozenset()
    return stored | ({observed.joined} if observed.joined else frozenset())


def has_joined(observed: MachineObserved, container: NodeFacts) -> bool:
    """Return whether the node of a container of this machine has joined; otherwise it is the remains of a join."""
    return container.container_id in joined_ids(observed)


def was_joined(observed: MachineObserved) -> bool:
    """Return whether a node of this machine has ever joined."""
    return observed.object.is_provisioned or bool(joined_ids(observed))


def has_lost_its_node(observed: MachineObserved) -> bool:
    """Return whether a node of this very object has joined: if it has no container, someone has removed it.

    An object with the annotations of a former one was moved, restored, or applied again from a saved manifest. If the
    former one's container is gone, this one lets its node join like any new object.
    """
    machine = observed.object
    is_recorded = machine.stored_machine_id == machine.uid and bool(joined_ids(observed))
    return machine.is_provisioned or bool(observed.joined) or is_recorded


def workers_of(
    cluster_name: str,
    nodes: Iterable[NodeFacts],
    machines: Iterable[KINDMachine],
    *,
    joined: Mapping[str, str],
    under_way: frozenset[str],
    leaving: frozenset[str] = frozenset(),
) -> Workers:
    """Return what decisions about a KINDCluster need to know of its machines.

    machines: the KINDMachines of this KINDCluster. joined: container ids that this process has joined, by the uid of
    the KINDMachine. under_way: names of nodes for which an AddWorker is queued or running. leaving: the same for a
    RemoveWorker.
    A container whose KINDMachine does not exist any more counts as a complete node.
    """
    by_node = {node_name(cluster_name, machine.name): machine for machine in machines}

    def is_joining(node: NodeFacts) -> bool:
        if not node.machine or node.name in under_way:
            return bool(node.machine)
        machine = by_node.get(node.name)
        known = (machine.joined_containers | {joined.get(machine.uid, "")}) if machine else frozenset()
        return machine is not None and node.container_id not in known

    return Workers(
        names={node: machine.name for node, machine in by_node.items()},
        joining=frozenset(node.name for node in nodes if is_joining(node)),
        under_way=under_way,
        leaving=leaving | {name for name, machine in by_node.items() if machine.is_deleting},
    )
