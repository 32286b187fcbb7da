"""Decide what a complete kind cluster needs: Secrets, endpoint, status, repair."""

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
from capk.plan.ownership import adoptable_as, is_completed_attempt, leads_to_own, made_by, own_uids, unmarked_ids
from capk.plan.plan import Delete, Goal, Plan, ReadAccess, Request
from capk.plan.renewal import expiry_verdict, renewal_request, renewal_wait
from capk.plan.repair import (
    known_addresses,
    misplaced_nodes,
    must_be_asked_first,
    needs_addresses,
    start_request,
    stopped_entry_points,
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
"""Interval between attempts to write a Secret whose name someone else's Secret has."""


def keep_running(observed: Observed) -> Plan:
    """Return the plan that keeps a complete kind cluster running and its Secrets, endpoint and status current."""
    cluster, access = observed.object, observed.access
    if cluster.recreates and observed.operation is None and _has_answered_empty(observed):
        remaining = observed.remaining(Goal.UP)
        return Plan(status=_status(observed), requeue_seconds=remaining) if remaining > 0 else _start_over(observed)
    operation, requeue = _operation(observed)
    waits = access is not None and _awaits_control_plane_secret(observed)
    if waits or foreign_among(observed):
        requeue = min(requeue or FOREIGN_SECONDS, FOREIGN_SECONDS)
    is_held_back = CLAIM in observed.held_back
    if _corrected_etcd(observed) and not is_held_back:
        requeue = 0.0
    return Plan(
        add_finalizer=not (cluster.has_finalizer or is_held_back),
        annotations={} if is_held_back else _restored(observed),
        identity=due_identity(observed),
        kube_system_uid=access.kube_system_uid if access and cluster.kube_system_uid is None else None,
        engine_id=missing_engine_id(observed),
        operation=operation,
        secrets=_due_secrets(observed),
        endpoint=_due_endpoint(observed),
        # Reading the kubeconfig and writing the KINDControlPlane's Secret take a moment. Waiting saves a status write.
        status=None
        if not cluster.is_provisioned and (waits or _is_reading(observed, operation))
        else _status(observed),
        requeue_seconds=requeue,
    )


def _is_reading(observed: Observed, due: Request | None) -> bool:
    """Return whether the kubeconfig is being read and the read has just started."""
    if observed.operation is not None:
        return isinstance(observed.operation.request, ReadAccess) and not observed.operation.announced
    return isinstance(due, ReadAccess) and observed.failure(Goal.ACCESS) is None


def adopt(observed: Observed) -> Plan:
    """Return the next step of adopting a kind cluster for this object: read its kubeconfig, then claim it."""
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
    if observed.object.identity == observed.access.fingerprint:
        return Plan(add_finalizer=True, annotations=claim, requeue_seconds=0.0)
    # What the object has kept is of another kind cluster: this one would seem to have lost its data, and its nodes to
    # have other addresses than the members of its etcd expect.
    claim[names.KUBE_SYSTEM_ANNOTATION] = observed.access.kube_system_uid or None
    status = kindcluster_status(observed, {}, nodes=None, attempt=None)
    return Plan(add_finalizer=True, annotations=claim, requeue_seconds=0.0, status=status)


def _is_refused(observed: Observed, kind: Condition) -> bool:
    """Return whether the stored condition is a refusal, which holds until the next attempt."""
    stored = find(observed.object.conditions, kind)
    return stored is not None and stored["reason"] in (Reason.WRITE_REFUSED, Reason.NAME_CONFLICT)


def has_lost_its_data(observed: Observed) -> bool:
    """Return whether the workload cluster's etcd lost its data: its kube-system namespace has a new uid, or is gone."""
    if observed.object.kube_system_uid is None:
        # The creation of another cluster removes it, and the condition does not describe that cluster.
        return False
    known = observed.unedited_kube_system_uid or observed.object.kube_system_uid
    read = observed.access.kube_system_uid if observed.access else None
    # The last uid counts even after the kubeconfigs are forgotten: the write of the status may have been refused.
    if (found := observed.kube_system_uid if read is None else read) is not None:
        return found != known
    created = find(observed.object.conditions, Condition.CLUSTER_CREATED)
    return created is not None and created["reason"] == Reason.DATA_LOST


def _has_answered_empty(observed: Observed) -> bool:
    """Return whether the kind cluster that the object describes has just answered with an empty etcd.

    Only then may it be removed. A condition may be older than the cluster. If the certificate authority differs too,
    the object is outdated, for example restored from a backup.
    """
    access, cluster = observed.access, observed.object
    if access is None or access.kube_system_uid is None or not has_lost_its_data(observed):
        return False
    return cluster.identity in (names.UNREAD, access.fingerprint)


def _start_over(observed: Observed) -> Plan:
    """Remove a kind cluster that has lost its data; from now on it counts as incomplete.

    The uid of its kube-system namespace is kept until the next creation starts. Otherwise the cluster would count as
    complete if the removal fails and the status was not stored.
    """
    begin: dict[str, str | None] = {names.IDENTITY_ANNOTATION: ""}
    removal = Delete(
        observed.cluster_name,
        Goal.UP,
        uids=own_uids(observed),
        container_ids=unmarked_ids(observed),
        up_to_attempt=observed.object.attempt,
    )
    # The nodes' addresses belong to the lost cluster, and its creation no longer counts.
    status = {field: value for field, value in _status(observed).items() if field not in ("nodes", "attempt")}
    if observed.object.completed_attempt is not None:
        # This comes first: after a restart during the removal, the attempt would make the rest look complete.
        return Plan(status=status, requeue_seconds=0.0)
    return Plan(annotations=begin, operation=removal, status=status)


def _restored_etcd(observed: Observed) -> dict[str, str | None]:
    """Return the uid of kube-system as it was before someone edited it: the edit would look like a loss of data."""
    known, stored = observed.unedited_kube_system_uid, observed.object.kube_system_uid
    return {names.KUBE_SYSTEM_ANNOTATION: known} if known and stored and known != stored else {}


def _corrected_etcd(observed: Observed) -> dict[str, str | None]:
    """Return the uid of kube-system for an object that describes another kind cluster than its own.

    It is stored before the identity: with a new identity alone, the cluster would look as if it had lost its data. If
    the status and the marks name the same creation, the object describes its own cluster, and its identity was edited.
    """
    access, cluster = observed.access, observed.object
    if is_completed_attempt(observed):
        return {}
    if access is None or not observed.engine.nodes or cluster.identity in (None, names.UNREAD, access.fingerprint):
        return {}
    if cluster.kube_system_uid in (None, access.kube_system_uid):
        return {}
    return {names.KUBE_SYSTEM_ANNOTATION: access.kube_system_uid or None}


def due_identity(observed: Observed) -> str | None:
    """Return the fingerprint if the object lacks it or holds an edited one that the marks disprove."""
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
    """Return the Secrets that the KINDCluster keeps; the KINDControlPlane may keep Cluster API's (C14)."""
    access, cluster = observed.access, observed.object
    assert access is not None
    secrets = [wanted_config_secret(cluster, observed.cluster_name, access.external)]
    if observed.served and observed.control_plane_name is None:
        kubeconfig = access.kubeconfig(observed.policy.endpoint)
        secrets.append(wanted_kubeconfig_secret(cluster, observed.served.name, observed.cluster_name, kubeconfig))
    return tuple(secrets)


def standing_refusals(observed: Observed) -> dict[str, str]:
    """Return the refusals of parts that are still missing: someone else may have written a part since."""
    written = {f"{SECRET} {name}" for name, secret in observed.secrets.items() if is_as_written(secret)}
    written |= {ENDPOINT} if observed.object.endpoint else set()
    written |= {IDENTITY} if due_identity(observed) is None and observed.object.identity else set()
    written |= {CLAIM} if observed.object.has_finalizer and not _restored(observed) else set()
    return {part: words for part, words in observed.refusals.items() if part not in written}


def _awaits_control_plane_secret(observed: Observed) -> bool:
    """Return whether the KINDControlPlane is about to write the kubeconfig Secret (C13)."""
    if observed.owner is None or not writes(observed.control_plane):
        return False
    name = kubeconfig_secret_name(observed.owner.name)
    return not (name in observed.secrets or name in observed.foreign_secrets or standing_refusals(observed))


def _restored(observed: Observed) -> dict[str, str | None]:
    """Return the annotations to correct: they are missing, or describe another kind cluster."""
    etcd = _restored_etcd(observed) | _corrected_etcd(observed)
    return _restored_claim(observed) | corrected_engine(observed) | etcd


def _restored_claim(observed: Observed) -> dict[str, str | None]:
    """Return the claim again if the object's annotations were replaced; the marks have proven the owner."""
    if observed.claim is not None or not observed.engine.nodes:
        return {}
    return {
        names.CLAIM_ANNOTATION: observed.cluster_name,
        names.CLAIM_ID_ANNOTATION: observed.object.uid,
    }


def _operation(observed: Observed) -> tuple[Request | None, float | None]:
    """Return the operation that is due, and the seconds to wait if its back-off has not ended."""
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
    """Return whether the API server answers again after an outage: its data and certificates may have changed."""
    stored = find(observed.object.conditions, Condition.API_SERVER_AVAILABLE)
    return bool(observed.health.answers) and stored is not None and stored["status"] == "False"


def _may_have_lost_its_data(observed: Observed) -> bool:
    """Return whether the API server's data may have changed; only a new uid of kube-system proves it."""
    return observed.health.is_doubted and observed.object.kube_system_uid is not None


def _read(observed: Observed) -> tuple[Request | None, float | None]:
    if observed.operation is not None:
        return None, None
    return _when_due(observed, ReadAccess(observed.cluster_name))


def _when_due(observed: Observed, request: Request) -> tuple[Request | None, float | None]:
    """Hold a request back until the back-off of its goal ends."""
    remaining = observed.remaining(request.goal)
    return (None, remaining) if remaining > 0 else (request, None)


def _needs_access(observed: Observed) -> bool:
    """Return whether something has to be written that only the kubeconfigs hold (C27: all can be read again)."""
    if observed.access is not None:
        return False
    cluster = observed.object
    is_known = cluster.identity not in (None, names.UNREAD)
    complete = is_known and cluster.endpoint and cluster.status.get("endpoints") and cluster.is_provisioned
    # If the engine cannot list containers, only the kubeconfig holds the address of the API server.
    is_asked = observed.engine.lists_nodes or observed.health.is_watched
    # A condition alone never leads to a removal: read the kubeconfig again first.
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
    refusals = standing_refusals(observed)
    if words := refusals.get(CLAIM) or refusals.get(IDENTITY):
        message = f"The API server refuses to store the identity of the kind cluster: {words}"
        return false(Reason.WRITE_REFUSED, message)
    if not has_lost_its_data(observed):
        made = [node for node in observed.engine.nodes or () if node.role == CONTROL_PLANE]
        warnings = (*advice(observed), *replicas_warnings(observed.wanted_control_planes, len(made)))
        return true(Reason.CREATED, " ".join(filter(None, (*warnings, observed.creation.not_ready))))
    return false(
        Reason.DATA_LOST,
        f'The kind cluster "{observed.cluster_name}" runs, but its etcd has lost all data. '
        "Delete the object, or set spec.recreatePolicy to Always to get a new cluster.",
    )


def _api_server_verdict(observed: Observed) -> Verdict | None:
    """Return the verdict on the workload cluster's API server; None if nothing new is known."""
    health, access = observed.health, observed.access
    was_reached = health.reached or was_ever_reached(observed.object)
    if (stopped := stopped_entry_points(observed)) and not stopped_nodes(observed):
        message = f"{', '.join(stopped)} does not run and belongs to someone else. Ask its owner to start it."
        return false(Reason.NOT_ANSWERING, message)
    if health.answers or (health.answers is None and access and access.answered):
        return true(Reason.ANSWERING)
    if health.answers is False and was_reached:
        message = (
            f"The API server of the workload cluster does not answer: {health.said}. Its node containers run. Check "
            "the logs of kube-apiserver and etcd in the control-plane node, and the free space on the engine's disk. "
            "If the provider has moved, check that it can reach that address."
        )
        return false(Reason.NOT_ANSWERING, message)
    if was_reached or not (health.answers is False or access):
        return None
    said = health.said or (access.said if access else "")
    message = (
        "The provider cannot reach the API server of the workload cluster from where it runs"
        f"{': ' + said if said else ''}. Readiness depends on the container engine only."
    )
    return Verdict("Unknown", Reason.NOT_REACHABLE, message)


def was_ever_reached(cluster: KINDCluster) -> bool:
    """Return whether a provider has ever reached the API server of the workload cluster.

    A moved or replaced object has lost its status, but keeps the uid of its kube-system namespace. Only the API server
    can have provided that uid.
    """
    stored = find(cluster.conditions, Condition.API_SERVER_AVAILABLE)
    is_judged = stored is not None and stored["status"] in ("True", "False")
    return is_judged or cluster.kube_system_uid is not None


def _registries_verdict(observed: Observed) -> Verdict | None:
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


def _nodes_verdict(observed: Observed) -> Verdict:
    due = [*stopped_nodes(observed), *misplaced_nodes(observed)]
    if not due and observed.engine.restarted:
        waiting = "Nodes were restarted. Waiting for the kind cluster's API server."
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
    """Return the nodes' addresses: if there are several control planes, the ones that they were created with.

    A repair needs them. They never change during the life of the kind cluster, because etcd's certificates hold them.
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
