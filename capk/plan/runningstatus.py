"""Build the status of a complete kind cluster from its verdicts, nodes and endpoints."""

from collections.abc import Iterable
from typing import Any, Final

from capk.api.names import Condition
from capk.kindconfig.config import CONTROL_PLANE, WORKER, role_of
from capk.kindconfig.kubeconfig import server_url
from capk.plan.dataloss import due_etcd
from capk.plan.duewrites import standing_refusals
from capk.plan.facts import NodeFacts
from capk.plan.observed import Observed
from capk.plan.ownership import is_described, is_own, made_by
from capk.plan.repair import (
    known_addresses,
    needs_addresses,
    was_reached,
)
from capk.plan.secrets import (
    foreign_among,
)
from capk.plan.status import kindcluster_status
from capk.plan.verdicts import (
    api_server_verdict,
    created_verdict,
    kubeconfig_verdict,
    nodes_verdict,
    registries_verdict,
)

MOST_NODES: Final = 256
"""Limit of status.nodes in the CRD. A status with more would be refused, and the old one stay for good."""


def running_status(observed: Observed) -> dict[str, Any]:
    """Return the whole status of a complete kind cluster."""
    cluster, access = observed.object, observed.access
    verdicts = {
        Condition.CLUSTER_CREATED: created_verdict(observed),
        Condition.NODES_RUNNING: nodes_verdict(observed),
        Condition.KUBECONFIG_AVAILABLE: kubeconfig_verdict(observed),
    }
    if answer := api_server_verdict(observed):
        verdicts[Condition.API_SERVER_AVAILABLE] = answer
    if registries := registries_verdict(observed):
        verdicts[Condition.REGISTRIES_CONFIGURED] = registries
    fields: dict[str, Any] = {"nodes": _nodes(observed), "logs": None}
    if etcd := due_etcd(observed):
        fields["etcd"] = etcd
    if (attempt := made_by(observed)) and is_described(observed, attempt):
        fields["attempt"] = attempt
    if access is not None:
        fields["endpoints"] = {
            "external": server_url(*access.external_endpoint),
            "internal": server_url(*access.internal_endpoint),
        }
        fields["kubernetesVersion"] = access.version or cluster.status.get("kubernetesVersion")
    images = {node.image for node in observed.engine.nodes or () if node.image and node.role == "control-plane"}
    if images:
        fields["image"] = min(images)
    # The endpoint is stored before this status is (C10, C13).
    is_stored = not foreign_among(observed) and not standing_refusals(observed)
    if (access is not None and is_stored) or (cluster.is_provisioned and cluster.endpoint):
        fields |= {"ready": True, "initialization": {"provisioned": True}}
    return kindcluster_status(observed, verdicts, **fields)


def made_facts(observed: Observed) -> dict[str, Any]:
    """Return the part of the status that only a creation that has just ended can provide: its attempt, the addresses.

    The nodes are noted once, all of them running: later they may have been restarted in any order.
    """
    attempt = observed.completed or observed.object.attempt
    facts: dict[str, Any] = {"attempt": attempt} if attempt else {}
    nodes = observed.engine.nodes or ()
    if nodes and not observed.object.status.get("nodes") and all(node.running and node.address for node in nodes):
        facts["nodes"] = _nodes(observed)
    return facts


def _nodes(observed: Observed) -> list[dict[str, str]]:
    if observed.engine.nodes is not None:
        # Containers of workers that are still joining may stop, or go again.
        joined = (node for node in observed.engine.nodes if node.name not in observed.workers.joining)
        nodes = sorted(_most_important(observed, joined), key=lambda node: node.name)
        addresses = zip(nodes, _addresses(observed, nodes), strict=True)
        return [_entry(observed, node, address) for node, address in addresses]
    if observed.access is not None and observed.access.nodes:
        return [{"name": name, "role": role_of(name, observed.cluster_name)} for name in sorted(observed.access.nodes)]
    return list(observed.object.status.get("nodes") or ())


def _most_important(observed: Observed, nodes: Iterable[NodeFacts]) -> list[NodeFacts]:
    """Return as many nodes as the API server accepts in a status: anyone can run containers with our cluster's label.

    A repair needs the addresses of the control planes, so these come first.
    """

    def rank(node: NodeFacts) -> tuple[bool, bool, str]:
        return not is_own(observed, node), node.role == WORKER, node.name

    return sorted(nodes, key=rank)[:MOST_NODES]


def _entry(observed: Observed, node: NodeFacts, address: str) -> dict[str, str]:
    entry = {"name": node.name, "role": node.role, "address": address, "state": _state(node)}
    machine = observed.workers.names.get(node.name) if node.machine else None
    return {**entry, "machine": machine} if machine else entry


def _addresses(observed: Observed, nodes: list[NodeFacts]) -> list[str]:
    """Return the nodes' addresses: if there are several control planes, the ones that they were created with.

    A repair needs them. They never change during the life of the kind cluster, because etcd's certificates hold them.
    """
    if not needs_addresses(observed):
        return [node.address for node in nodes]
    known = known_addresses(observed)
    works = not observed.engine.restarted and (
        observed.health.answers or (observed.access and observed.access.answered)
    )
    # One that has answered and no longer does may have been restarted in any order since.
    is_doubted = not works and (observed.engine.restarted or was_reached(observed))

    def address(node: NodeFacts) -> str:
        if node.role != CONTROL_PLANE:
            return node.address if works and node.address else known.get(node.name, node.address)
        return known.get(node.name, "" if is_doubted else node.address)

    return [address(node) for node in nodes]


def _state(node: NodeFacts) -> str:
    return "Running" if node.running else "Stopped"
