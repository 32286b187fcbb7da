"""Judge a complete kind cluster: one verdict per condition."""

import shlex

from capk.api import names
from capk.api.conditions import find
from capk.api.names import Condition, Reason
from capk.kindconfig.advice import replicas_warnings
from capk.kindconfig.config import CONTROL_PLANE, LOAD_BALANCER, node_names
from capk.kindconfig.expiry import RENEW_COMMAND
from capk.kindconfig.kubeconfig import server_url
from capk.plan.blockedmove import blocked_move_warning
from capk.plan.creationrequest import advice
from capk.plan.dataloss import has_lost_its_data, noted_kube_system_uid
from capk.plan.dueoperation import needs_access
from capk.plan.duewrites import standing_refusals
from capk.plan.observed import Observed
from capk.plan.ownership import Ownership, made_by, ownership
from capk.plan.parts import CLAIM, ENDPOINT, IDENTITY, SECRET
from capk.plan.plan import Goal
from capk.plan.power import STOPPED, is_to_rest, resting_nodes
from capk.plan.renewal import expiry_verdict, kubelets_warning
from capk.plan.repair import (
    has_lost_its_load_balancer,
    is_known_to_answer,
    misplaced_nodes,
    stopped_nodes,
    was_reached,
)
from capk.plan.secrets import (
    foreign_among,
    unkept,
)
from capk.plan.status import Verdict, false, is_refused, true


def created_verdict(observed: Observed) -> Verdict:
    """Return whether the kind cluster that was created still holds its data and its identity is stored."""
    refusals = standing_refusals(observed)
    if words := refusals.get(CLAIM) or refusals.get(IDENTITY):
        message = f"The API server refuses to store the identity of the kind cluster: {words}"
        return false(Reason.WRITE_REFUSED, message)
    if not has_lost_its_data(observed):
        made = [node for node in observed.engine.nodes or () if node.role == CONTROL_PLANE]
        replicas = replicas_warnings(observed.wanted_control_planes, len(made))
        warnings = (*advice(observed), *replicas, moved_port_warning(observed))
        late = (observed.creation.not_ready, blocked_move_warning(observed))
        return true(Reason.CREATED, " ".join(filter(None, (*warnings, *late))))
    return false(Reason.DATA_LOST, _loss(observed))


def moved_port_warning(observed: Observed) -> str:
    """Return a warning if the engine publishes another port than the endpoint that the object holds for good."""
    cluster, access = observed.object, observed.access
    networking = cluster.spec.get("networking") or {}
    if networking.get("apiServerPort") != -1 or not cluster.endpoint:
        return ""
    stored = str((cluster.status.get("endpoints") or {}).get("external") or "")
    now, noted = server_url(*access.external_endpoint) if access else stored, server_url(*cluster.endpoint)
    # An endpoint with another host is the one within kind's network, or a choice of the user.
    if now == noted or now.rpartition(":")[0] != noted.rpartition(":")[0]:
        return ""
    return (
        f"spec.controlPlaneEndpoint is {noted}, but spec.networking.apiServerPort is -1: since its last start the API "
        f"server is at {now}. The Secrets and status.endpoints follow, spec.controlPlaneEndpoint cannot change."
    )


def _loss(observed: Observed) -> str:
    name = observed.cluster_name
    if noted_kube_system_uid(observed):
        return (
            f'The kind cluster "{name}" runs, but its etcd has lost all data. '
            "Delete the object, or set spec.recreatePolicy to Always to get a new cluster."
        )
    return (
        f'The kind cluster "{name}" runs, but its namespace kube-system is not the one that the annotation '
        f"{names.KUBE_SYSTEM_ANNOTATION} names: its etcd has lost all data, or the annotation was edited. If the data "
        "is there, remove the annotation. Otherwise delete the object."
    )


def api_server_verdict(observed: Observed) -> Verdict | None:
    """Return the verdict on the workload cluster's API server; None if nothing new is known."""
    health, access = observed.health, observed.access
    is_known = was_reached(observed)
    if is_to_rest(observed):
        return false(Reason.STOPPED, f"It is not asked, {STOPPED}.") if is_known else None
    if is_known_to_answer(observed):
        return true(Reason.ANSWERING)
    if health.answers is False and is_known:
        message = (
            f"The API server of the workload cluster does not answer: {health.said}. Its node containers run. Check "
            "the logs of kube-apiserver and etcd in the control-plane node, and the free space on the engine's disk. "
            f"If the provider has moved, check that it can reach that address.{_balancer_hint(observed)}"
        )
        return false(Reason.NOT_ANSWERING, " ".join(filter(None, (message, kubelets_warning(observed)))))
    stored = find(observed.object.conditions, Condition.API_SERVER_AVAILABLE)
    if stored is not None and stored["reason"] == Reason.STOPPED:
        return false(Reason.STARTING_NODES, "Waiting for the API server of the workload cluster.")
    if is_known or not (health.answers is False or access):
        return None
    said = health.said or (access.said if access else "")
    message = (
        "The provider cannot reach the API server of the workload cluster from where it runs"
        f"{': ' + said if said else ''}. Readiness depends on the container engine only."
    )
    return Verdict("Unknown", Reason.NOT_REACHABLE, message)


def _balancer_hint(observed: Observed) -> str:
    if not any(node.is_load_balancer for node in observed.engine.nodes or ()):
        return ""
    return (
        " A load balancer that kind v0.32 or earlier created loses its configuration when it restarts. If that is the "
        "cause, delete the object and create it again with a later kind."
    )


def registries_verdict(observed: Observed) -> Verdict | None:
    """Return whether the nodes have the mirrors of the spec; None if it sets none or the stored condition holds."""
    if not (observed.object.spec.get("registries") or {}).get("mirrors"):
        return None
    cause = observed.creation.registries
    if cause:
        message = (
            f"Some nodes lack the mirrors of spec.registries: {cause}. They pull images directly from the registries. "
            "To retry, delete the object and create it again."
        )
        return false(Reason.NOT_CONFIGURED, message)
    if cause is not None:
        return true(Reason.CONFIGURED)
    if find(observed.object.conditions, Condition.REGISTRIES_CONFIGURED) is not None:
        return None
    message = (
        "It is not known whether the nodes have the mirrors of spec.registries: the kind cluster was adopted, or its "
        "status was lost after the creation."
    )
    return Verdict("Unknown", Reason.UNKNOWN, message)


def nodes_verdict(observed: Observed) -> Verdict:
    """Return whether all nodes run, with the addresses that they need."""
    if has_lost_its_load_balancer(observed):
        message = (
            f"The container {observed.cluster_name}-{LOAD_BALANCER} was removed, but not through this object. No "
            "kubeconfig leads to the kind cluster any more, and kind cannot create another load balancer. Save what "
            "you need through the ports of the control-plane containers, then delete the object."
        )
        return false(Reason.MISSING, message)
    if is_to_rest(observed):
        return rest_verdict(observed)
    due = [*stopped_nodes(observed), *misplaced_nodes(observed)]
    if not due and observed.engine.restarted:
        waiting = "Nodes were restarted. Waiting for the kind cluster's API server."
        failure = observed.failure(Goal.ACCESS)
        return false(Reason.STARTING_NODES, f"{waiting} {failure.message}" if failure else waiting)
    if not due:
        warnings = (_removed_nodes_warning(observed), kubelets_warning(observed))
        return true(Reason.RUNNING, " ".join(filter(None, warnings)))
    listed = ", ".join(sorted(node.name for node in due))
    if failure := observed.failure(Goal.REPAIRED):
        reason = Reason.ADDRESS_TAKEN if failure.reason is Reason.ADDRESS_TAKEN else Reason.NODES_STOPPED
        return false(reason, f"Could not start {listed}: {failure.message}")
    return false(Reason.STARTING_NODES, f"Starting stopped nodes: {listed}.")


def rest_verdict(observed: Observed) -> Verdict:
    """Return how far the stop of the node containers got."""
    running = ", ".join(sorted(node.name for node in resting_nodes(observed)))
    if not running:
        message = f"The node containers do not run, {STOPPED}. Their data is kept. Set Running to start them."
        return false(Reason.STOPPED, message)
    if failure := observed.failure(Goal.STOPPED):
        return false(Reason.STOPPING_NODES, f"Could not stop {running}: {failure.message} The provider tries again.")
    return false(Reason.STOPPING_NODES, f"Stopping {running}, {STOPPED}.")


def _removed_nodes_warning(observed: Observed) -> str:
    """Return a warning if nodes that the spec lists were removed by hand; the others may work without them.

    Nothing is known of a kind cluster that was adopted, or has no marks.
    """
    if ownership(observed) is not Ownership.OURS or made_by(observed) is None or observed.engine.nodes is None:
        return ""
    there = {node.name for node in observed.engine.nodes}
    removed = [name for name in node_names(observed.object.spec, observed.cluster_name) if name not in there]
    if not removed:
        return ""
    listed = ", ".join(removed)
    return f"Removed, but not through this object: {listed}. kind cannot add nodes; a new kind cluster has them again."


def kubeconfig_verdict(observed: Observed) -> Verdict:
    """Return whether the Secrets and the endpoint are stored, and the certificates in them valid for a while."""
    if foreign := foreign_among(observed):
        message = (
            f"Secret {', '.join(foreign)} exists and does not belong to this provider. "
            "Copy its data if you need it, and delete it."
        )
        return false(Reason.NAME_CONFLICT, message)
    for part, words in standing_refusals(observed).items():
        if part == ENDPOINT or part.startswith(SECRET):
            what = "spec.controlPlaneEndpoint" if part == ENDPOINT else part.capitalize()
            return false(Reason.WRITE_REFUSED, f"The API server refuses {what}: {words}")
    if contested := sorted(observed.contested):
        message = (
            "Something else, such as an admission webhook, changes "
            f"{', '.join(part.capitalize() for part in contested)} each time the provider writes it. Exempt it there. "
            "The provider retries with exponential back-off."
        )
        return false(Reason.CONTESTED, message)
    if missing := unkept(observed):
        message = (
            f"Secret {missing} is missing. KINDControlPlane {observed.control_plane_name} writes it, but does not "
            "exist, is paused, or is managed externally."
        )
        return false(Reason.WAITING_FOR_CONTROL_PLANE, message)
    if expiry := expiry_verdict(observed):
        return expiry
    if observed.refused:
        message = (
            "The API server of the workload cluster does not accept the login of the kubeconfigs, although it has not "
            f"expired: {observed.refused}. Its clock may be wrong, or someone has replaced the certificate authority "
            f"of its clients. For a new login, run `{shlex.join(RENEW_COMMAND)}` in each control-plane node. The "
            "provider reads it again."
        )
        return false(Reason.KUBECONFIG_UNAVAILABLE, message)
    if observed.access is not None or not needs_access(observed):
        return true(Reason.PROVISIONED)
    if failure := observed.failure(Goal.ACCESS):
        return false(Reason.KUBECONFIG_UNAVAILABLE, failure.message)
    if is_refused(observed, Condition.KUBECONFIG_AVAILABLE):
        stored = find(observed.object.conditions, Condition.KUBECONFIG_AVAILABLE) or {}
        return false(Reason(stored["reason"]), stored.get("message", ""))
    return false(Reason.NOT_PROVISIONED, "Reading the kubeconfig.")
