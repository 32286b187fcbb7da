"""What to do for a kind cluster that stands: Secrets, endpoint, status, repair."""

from typing import Any

from capk.api import names
from capk.api.conditions import find
from capk.api.names import Condition, Reason
from capk.api.objects import KINDCluster
from capk.kindconfig.advice import replicas_warnings
from capk.kindconfig.config import CONTROL_PLANE, role_of
from capk.kindconfig.kubeconfig import server_url
from capk.plan.creation import advice
from capk.plan.engineid import claimed_engine, corrected_engine, missing_engine_id
from capk.plan.observed import CLAIM, ENDPOINT, IDENTITY, SECRET, NodeFacts, Observed
from capk.plan.ownership import adoptable_as, leads_to_own, made_by, own_uids, unmarked_ids
from capk.plan.plan import Delete, Goal, Plan, ReadAccess, Request
from capk.plan.renewal import expiry_verdict, renewal_request, renewal_wait
from capk.plan.repair import (
    closed_doors,
    known_addresses,
    misplaced_nodes,
    must_be_asked_first,
    needs_addresses,
    start_request,
    stopped_nodes,
)
from capk.plan.secrets import (
    are_intact,
    differs,
    foreign_among,
    is_as_written,
    kubeconfig_secret_name,
    unkept,
    wanted_config_secret,
    wanted_kubeconfig_secret,
    writes,
)
from capk.plan.status import Verdict, false, kindcluster_status, true

FOREIGN_SECONDS = 60.0
"""How often a Secret's name that someone else has is tried again."""


def keep_running(observed: Observed) -> Plan:
    """Return what keeps Secrets, endpoint and status true to a kind cluster that is complete."""
    cluster, access = observed.object, observed.access
    if cluster.recreates and observed.operation is None and _is_seen_empty(observed):
        remaining = observed.remaining(Goal.UP)
        return Plan(status=_status(observed), requeue_seconds=remaining) if remaining > 0 else _start_over(observed)
    operation, requeue = _operation(observed)
    waits = access is not None and _awaits_control_plane_secret(observed)
    if waits or foreign_among(observed):
        requeue = min(requeue or FOREIGN_SECONDS, FOREIGN_SECONDS)
    if _corrected_etcd(observed):
        requeue = 0.0
    return Plan(
        add_finalizer=not cluster.has_finalizer,
        annotations=_restored_claim(observed) | corrected_engine(observed) | _corrected_etcd(observed),
        identity=due_identity(observed),
        kube_system_uid=access.kube_system_uid if access and cluster.kube_system_uid is None else None,
        engine_id=missing_engine_id(observed),
        operation=operation,
        secrets=_due_secrets(observed),
        endpoint=_due_endpoint(observed),
        # The kubeconfig is read, and the KINDControlPlane writes its Secret, within a moment: one status less to write.
        status=None if not cluster.is_provisioned and (waits or _reads(observed, operation)) else _status(observed),
        requeue_seconds=requeue,
    )


def _reads(observed: Observed, due: Request | None) -> bool:
    """Whether the kubeconfig is being read, and has not been for long."""
    if observed.operation is not None:
        return isinstance(observed.operation.request, ReadAccess) and not observed.operation.announced
    return isinstance(due, ReadAccess) and observed.failure(Goal.ACCESS) is None


def adopt(observed: Observed) -> Plan:
    """Return how a kind cluster that the user pointed at becomes this object's: read it, then claim it."""
    if observed.access is None:
        operation, requeue = _read(observed)
        failure = observed.failure(Goal.ACCESS)
        if _is_refused(observed, Condition.CLUSTER_CREATED) and failure is None:
            return Plan(operation=operation, requeue_seconds=requeue)
        message = f"Adopting the kind cluster: {failure.message}" if failure else "Adopting the kind cluster."
        reason = failure.reason if failure else Reason.NOT_PROVISIONED
        status = kindcluster_status(observed, {Condition.CLUSTER_CREATED: false(reason, message)})
        return Plan(operation=operation, requeue_seconds=requeue, status=status)
    if CLAIM in observed.held_back and (refusal := observed.refusals.get(CLAIM)):
        refused = false(Reason.WRITE_REFUSED, f"The API server refuses the claim to the kind cluster: {refusal}")
        return Plan(status=kindcluster_status(observed, {Condition.CLUSTER_CREATED: refused}))
    claim: dict[str, str | None] = {
        names.CLAIM_ANNOTATION: observed.cluster_name,
        names.CLAIM_ID_ANNOTATION: adoptable_as(observed),
        names.IDENTITY_ANNOTATION: observed.access.fingerprint,
        **claimed_engine(observed),
    }
    return Plan(add_finalizer=True, annotations=claim, requeue_seconds=0.0)


def _is_refused(observed: Observed, kind: Condition) -> bool:
    """Whether the last that is known is a refusal: it holds until what was refused has been tried again."""
    stored = find(observed.object.conditions, kind)
    return stored is not None and stored["reason"] in (Reason.WRITE_REFUSED, Reason.NAME_CONFLICT)


def has_lost_its_data(observed: Observed) -> bool:
    """Return whether the workload cluster's etcd came back empty: its kube-system namespace is another one, or gone."""
    known = observed.object.kube_system_uid
    if known is None:
        # It goes with the creation of another cluster, which the condition does not speak of.
        return False
    read = observed.access.kube_system_uid if observed.access else None
    # What was read counts for longer than the kubeconfigs are kept: a status that says it may have been refused.
    if (found := observed.kube_system_uid if read is None else read) is not None:
        return found != known
    created = find(observed.object.conditions, Condition.CLUSTER_CREATED)
    return created is not None and created["reason"] == Reason.DATA_LOST


def _is_seen_empty(observed: Observed) -> bool:
    """Whether the very kind cluster that the object describes has just answered with an empty etcd.

    Only that is reason to remove it. A condition may be older than the cluster; and where the certificate authority is
    another one too, it is the object that is out of date, restored from a backup perhaps.
    """
    access, cluster = observed.access, observed.object
    if access is None or access.kube_system_uid is None or not has_lost_its_data(observed):
        return False
    return cluster.identity in (names.UNREAD, access.fingerprint)


def _start_over(observed: Observed) -> Plan:
    """Remove a kind cluster that has lost its data; what stands from now on counts as half made.

    Which kube-system it had stays known until the next creation begins: if the removal fails and the status was not
    stored, the cluster would pass for one that is complete.
    """
    begin: dict[str, str | None] = {names.IDENTITY_ANNOTATION: ""}
    removal = Delete(
        observed.cluster_name,
        Goal.UP,
        uids=own_uids(observed),
        container_ids=unmarked_ids(observed),
        up_to_attempt=observed.object.attempt,
    )
    # The addresses of the nodes are those of the lost cluster, and its creation counts for nothing any more.
    status = {field: value for field, value in _status(observed).items() if field not in ("nodes", "attempt")}
    if observed.object.completed_attempt is not None:
        # First of all: with it, what a restart finds in the middle of the removal would look complete.
        return Plan(status=status, requeue_seconds=0.0)
    return Plan(annotations=begin, operation=removal, status=status)


def _corrected_etcd(observed: Observed) -> dict[str, str | None]:
    """Return the uid of kube-system for an object that describes another kind cluster than the one that is its own.

    Stored before the identity: with that one alone, the cluster would look as if its etcd had come back empty.
    """
    access, cluster = observed.access, observed.object
    if access is None or not observed.engine.nodes or cluster.identity in (None, names.UNREAD, access.fingerprint):
        return {}
    if cluster.kube_system_uid in (None, access.kube_system_uid):
        return {}
    return {names.KUBE_SYSTEM_ANNOTATION: access.kube_system_uid or None}


def due_identity(observed: Observed) -> str | None:
    """Return the fingerprint, where the object does not hold it: nothing yet, or an edit that the marks disprove."""
    current = observed.object.identity
    if IDENTITY in observed.held_back or _corrected_etcd(observed):
        return None
    if current in (None, names.UNREAD):
        known = observed.access.fingerprint if observed.access else observed.made
    else:
        known = observed.access.fingerprint if observed.access and observed.engine.nodes else None
    return known if known != current else None


def _due_endpoint(observed: Observed) -> tuple[str, int] | None:
    access, cluster = observed.access, observed.object
    if access is None or cluster.endpoint is not None or ENDPOINT in observed.held_back:
        return None
    return access.endpoint(observed.policy.endpoint)


def _due_secrets(observed: Observed) -> tuple[dict[str, Any], ...]:
    return tuple(
        secret
        for secret in (wanted_secrets(observed) if observed.access else ())
        if (name := secret["metadata"]["name"]) not in observed.foreign_secrets
        and f"{SECRET} {name}" not in observed.held_back
        and differs(secret, observed.secrets.get(name))
    )


def wanted_secrets(observed: Observed) -> tuple[dict[str, Any], ...]:
    """Return the Secrets that the KINDCluster keeps; Cluster API's may be the KINDControlPlane's (C14)."""
    access, cluster = observed.access, observed.object
    assert access is not None
    secrets = [wanted_config_secret(cluster, observed.cluster_name, access.external)]
    if observed.served and observed.control_plane_name is None:
        kubeconfig = access.kubeconfig(observed.policy.endpoint)
        secrets.append(wanted_kubeconfig_secret(cluster, observed.served.name, observed.cluster_name, kubeconfig))
    return tuple(secrets)


def standing_refusals(observed: Observed) -> dict[str, str]:
    """Return the refusals of what is still missing: someone else may have written it since."""
    written = {f"{SECRET} {name}" for name, secret in observed.secrets.items() if is_as_written(secret)}
    written |= {ENDPOINT} if observed.object.endpoint else set()
    written |= {IDENTITY} if due_identity(observed) is None and observed.object.identity else set()
    return {part: words for part, words in observed.refusals.items() if part not in written}


def _awaits_control_plane_secret(observed: Observed) -> bool:
    """Whether the kubeconfig Secret is the KINDControlPlane's to write, and it is about to (C13)."""
    if observed.owner is None or not writes(observed.control_plane):
        return False
    name = kubeconfig_secret_name(observed.owner.name)
    return not (name in observed.secrets or name in observed.foreign_secrets or standing_refusals(observed))


def _restored_claim(observed: Observed) -> dict[str, str | None]:
    """The claim again, where the object's annotations were replaced; the marks have proven whose the cluster is."""
    if observed.claim is not None or not observed.engine.nodes:
        return {}
    return {
        names.CLAIM_ANNOTATION: observed.cluster_name,
        names.CLAIM_ID_ANNOTATION: observed.object.uid,
    }


def _operation(observed: Observed) -> tuple[Request | None, float | None]:
    """Return the operation that is due, and when to look again if it has to wait."""
    if observed.operation is not None:
        return None, None
    if must_be_asked_first(observed):
        return _read(observed)
    if (request := start_request(observed)) is not None:
        return _when_due(observed, request)
    if not leads_to_own(observed):
        return None, None
    if observed.engine.restarted:
        return _when_due(observed, ReadAccess(observed.cluster_name, await_answer=True))
    renewal = renewal_request(observed)
    if renewal and renewal_wait(observed) <= 0:
        return renewal, None
    if observed.access is None and (observed.recheck or _needs_access(observed) or _is_back(observed)):
        return _read(observed)
    if _may_have_lost_its_data(observed):
        return _read(observed)
    return None, renewal_wait(observed) if renewal else None


def _is_back(observed: Observed) -> bool:
    """Whether the API server answers again after it did not: what it holds, and its certificates, may be others."""
    stored = find(observed.object.conditions, Condition.API_SERVER_AVAILABLE)
    return bool(observed.health.answers) and stored is not None and stored["status"] == "False"


def _may_have_lost_its_data(observed: Observed) -> bool:
    """Whether the API server holds something else than before; only another uid of kube-system proves it."""
    return observed.health.is_doubted and observed.object.kube_system_uid is not None


def _read(observed: Observed) -> tuple[Request | None, float | None]:
    if observed.operation is not None:
        return None, None
    return _when_due(observed, ReadAccess(observed.cluster_name))


def _when_due(observed: Observed, request: Request) -> tuple[Request | None, float | None]:
    """Hold a request back until the back-off of its goal is over."""
    remaining = observed.remaining(request.goal)
    return (None, remaining) if remaining > 0 else (request, None)


def _needs_access(observed: Observed) -> bool:
    """Whether something has to be written that only the kubeconfigs tell (C27: all can be read again)."""
    if observed.access is not None:
        return False
    cluster = observed.object
    is_known = cluster.identity not in (None, names.UNREAD)
    complete = is_known and cluster.endpoint and cluster.status.get("endpoints") and cluster.is_provisioned
    # Where the engine cannot list containers, only the kubeconfig tells where the API server is asked.
    is_asked = observed.engine.lists_nodes or observed.health.is_watched
    # A condition alone removes nothing: it is asked again first.
    is_doubted = cluster.recreates and has_lost_its_data(observed)
    return is_doubted or not (complete and is_asked and are_intact(observed))


def _status(observed: Observed) -> dict[str, Any]:
    cluster, access = observed.object, observed.access
    verdicts = {
        Condition.CLUSTER_CREATED: _created_verdict(observed),
        Condition.NODES_RUNNING: _nodes_verdict(observed),
        Condition.KUBECONFIG_AVAILABLE: _kubeconfig_verdict(observed),
    }
    if answer := _api_server_verdict(observed):
        verdicts[Condition.API_SERVER_AVAILABLE] = answer
    if registries := _registries_verdict(observed):
        verdicts[Condition.REGISTRIES_CONFIGURED] = registries
    fields: dict[str, Any] = {"nodes": _nodes(observed), "logs": None}
    if attempt := made_by(observed):
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


def _created_verdict(observed: Observed) -> Verdict:
    if words := standing_refusals(observed).get(IDENTITY):
        message = f"The API server refuses to store which kind cluster this is: {words}"
        return false(Reason.WRITE_REFUSED, message)
    if not has_lost_its_data(observed):
        made = [node for node in observed.engine.nodes or () if node.role == CONTROL_PLANE]
        warnings = (*advice(observed), *replicas_warnings(observed.wanted_control_planes, len(made)))
        return true(Reason.CREATED, " ".join(filter(None, (*warnings, observed.creation.not_ready))))
    return false(
        Reason.DATA_LOST,
        f'The kind cluster "{observed.cluster_name}" runs, but its etcd came back empty: everything that was stored in '
        "it is gone. Delete the object, or set spec.recreatePolicy to Always to get a new cluster.",
    )


def _api_server_verdict(observed: Observed) -> Verdict | None:
    """What the API server of the workload cluster answers; None where nothing new is known of it."""
    health, access = observed.health, observed.access
    was_reached = health.reached or was_ever_reached(observed.object)
    if (closed := closed_doors(observed)) and not stopped_nodes(observed):
        return false(Reason.NOT_ANSWERING, f"{', '.join(closed)} does not run, and is not this KINDCluster's to start.")
    if health.answers or (health.answers is None and access and access.answered):
        return true(Reason.ANSWERING)
    if health.answers is False and was_reached:
        message = (
            f"The API server of the workload cluster does not answer: {health.said}. Its node containers run: see the "
            "logs of kube-apiserver and etcd in the control-plane node, and the space left on the engine's disk. If "
            "the provider has moved, see whether it can reach that address from where it runs now."
        )
        return false(Reason.NOT_ANSWERING, message)
    if was_reached or not (health.answers is False or access):
        return None
    said = health.said or (access.said if access else "")
    message = (
        "The provider cannot reach the API server of the workload cluster from where it runs"
        f"{': ' + said if said else ''}. Readiness is what the container engine knows."
    )
    return Verdict("Unknown", Reason.NOT_REACHABLE, message)


def was_ever_reached(cluster: KINDCluster) -> bool:
    """Return whether a provider is known to have reached the API server of the workload cluster once.

    The status of an object that was moved or replaced is gone. The uid of its namespace kube-system goes with it, which
    only the API server can have given.
    """
    stored = find(cluster.conditions, Condition.API_SERVER_AVAILABLE)
    is_judged = stored is not None and stored["status"] in ("True", "False")
    return is_judged or cluster.kube_system_uid is not None


def _registries_verdict(observed: Observed) -> Verdict | None:
    """Whether the nodes have the mirrors of the spec; None where none are asked for, or what is stored still holds."""
    if not (observed.object.spec.get("registries") or {}).get("mirrors"):
        return None
    cause = observed.creation.registries
    if cause:
        message = (
            f"The mirrors of spec.registries are not in every node: {cause}. Such a node pulls images from the "
            "registries themselves. To try again, delete the object and create it again."
        )
        return false(Reason.NOT_CONFIGURED, message)
    if cause is not None:
        return true(Reason.CONFIGURED)
    if find(observed.object.conditions, Condition.REGISTRIES_CONFIGURED) is not None:
        return None
    message = (
        "Whether the nodes have the mirrors of spec.registries is not known: the kind cluster was adopted, or the "
        "status was lost after its creation."
    )
    return Verdict("Unknown", Reason.UNKNOWN, message)


def _nodes_verdict(observed: Observed) -> Verdict:
    due = [*stopped_nodes(observed), *misplaced_nodes(observed)]
    if not due and observed.engine.restarted:
        waiting = "Nodes were started again; waiting for the kind cluster's API server."
        failure = observed.failure(Goal.ACCESS)
        return false(Reason.STARTING_NODES, f"{waiting} {failure.message}" if failure else waiting)
    if not due:
        return true(Reason.RUNNING)
    listed = ", ".join(sorted(node.name for node in due))
    if failure := observed.failure(Goal.REPAIRED):
        reason = Reason.ADDRESS_TAKEN if failure.reason is Reason.ADDRESS_TAKEN else Reason.NODES_STOPPED
        return false(reason, f"Could not start {listed}: {failure.message}")
    return false(Reason.STARTING_NODES, f"Starting stopped nodes: {listed}.")


def _kubeconfig_verdict(observed: Observed) -> Verdict:
    if foreign := foreign_among(observed):
        message = (
            f"Secret {', '.join(foreign)} exists and is not this provider's, so it is not overwritten. "
            "Delete or rename it."
        )
        return false(Reason.NAME_CONFLICT, message)
    for part, words in standing_refusals(observed).items():
        if part == ENDPOINT or part.startswith(SECRET):
            what = "spec.controlPlaneEndpoint" if part == ENDPOINT else part.capitalize()
            return false(Reason.WRITE_REFUSED, f"The API server refuses {what}: {words}")
    if contested := sorted(observed.contested):
        message = (
            f"{', '.join(part.capitalize() for part in contested)} does not stay as the provider writes it: something "
            "else changes it each time, such as an admission webhook. Exempt it there; it is written ever less often."
        )
        return false(Reason.CONTESTED, message)
    if missing := unkept(observed):
        message = (
            f"Secret {missing} is missing. KINDControlPlane {observed.control_plane_name} writes it, and that one does "
            "not exist, is paused, or is managed externally."
        )
        return false(Reason.WAITING_FOR_CONTROL_PLANE, message)
    if expiry := expiry_verdict(observed):
        return expiry
    if observed.access is not None or not _needs_access(observed):
        return true(Reason.PROVISIONED)
    if failure := observed.failure(Goal.ACCESS):
        return false(Reason.KUBECONFIG_UNAVAILABLE, failure.message)
    if _is_refused(observed, Condition.KUBECONFIG_AVAILABLE):
        stored = find(observed.object.conditions, Condition.KUBECONFIG_AVAILABLE) or {}
        return false(Reason(stored["reason"]), stored.get("message", ""))
    return false(Reason.NOT_PROVISIONED, "Reading the kubeconfig.")


def _nodes(observed: Observed) -> list[dict[str, str]]:
    if observed.engine.nodes is not None:
        nodes = sorted(observed.engine.nodes, key=lambda node: node.name)
        return [
            {"name": node.name, "role": node.role, "address": address, "state": _state(node)}
            for node, address in zip(nodes, _addresses(observed, nodes), strict=True)
        ]
    if observed.access is not None and observed.access.nodes:
        return [{"name": name, "role": role_of(name, observed.cluster_name)} for name in sorted(observed.access.nodes)]
    return list(observed.object.status.get("nodes") or ())


def _addresses(observed: Observed, nodes: list[NodeFacts]) -> list[str]:
    """The nodes' addresses. Of several control planes those that they were created with: a repair needs them.

    They stay as long as the kind cluster does, whatever answers: the certificates of etcd hold them.
    """
    if not needs_addresses(observed):
        return [node.address for node in nodes]
    known = known_addresses(observed)
    works = not observed.engine.restarted and (
        observed.health.answers or (observed.access and observed.access.answered)
    )

    def address(node: NodeFacts) -> str:
        is_free = works and node.address and node.role != CONTROL_PLANE
        return node.address if is_free else known.get(node.name, node.address)

    return [address(node) for node in nodes]


def _state(node: NodeFacts) -> str:
    return "Running" if node.running else "Stopped"
