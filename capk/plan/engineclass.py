"""Decide which engine a KINDCluster gets: the provider's own one, or that of a KINDEngineClass. Pure.

The choice stays the same for as long as the kind cluster exists, whichever class is the default one later. What is
allowed may change: that holds only for kind clusters that do not exist yet.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from capk.api.conditions import find
from capk.api.engineclasses import KINDEngineClass
from capk.api.names import ENGINE_CLASS_ANNOTATION, WATCH_FILTER_LABEL, Condition, Reason
from capk.api.objects import KINDCluster
from capk.diagnosis.failures import Failure
from capk.plan.claims import Claim
from capk.plan.observed import Observed
from capk.plan.status import false, kindcluster_status

OWN_ENGINE: Final = ""
"""Instead of the name of a class: the provider's own engine."""


def default_class(classes: Iterable[KINDEngineClass], labels: Mapping[str, str]) -> str:
    """Return the default class for a namespace with these labels; OWN_ENGINE if there is none.

    Only a class that allows the namespace is its default. Of several, the newest is, as for a StorageClass.
    """
    candidates = [one for one in classes if one.is_default and one.allows(labels)]

    def rank(candidate: KINDEngineClass) -> tuple[datetime, str]:
        return candidate.created_at, candidate.name

    return max(candidates, key=rank).name if candidates else OWN_ENGINE


def chosen_class(cluster: KINDCluster, claim: Claim | None, *, kept: str | None, default: str) -> str:
    """Return the class of an object, OWN_ENGINE for the provider's own engine.

    claim: if it is valid. kept: the class of the creation that this process has started, whatever annotations hold now.
    default: the default class of the namespace, which counts only as long as nothing was created for the object.
    """
    if name := cluster.engine_class_name:
        return name
    if kept is not None:
        return kept
    if cluster.completed_attempt is not None or cluster.is_provisioned:
        return cluster.used_engine_class
    if claim is not None or has_begun(cluster):
        return cluster.annotations.get(ENGINE_CLASS_ANNOTATION) or OWN_ENGINE
    return default


def overridden_class(cluster: KINDCluster, claim: Claim | None, *, kept: str | None, default: str) -> str:
    """Return the default class if nothing but annotations keeps the object on the provider's own engine instead.

    OWN_ENGINE otherwise. Everyone who may create the object can write annotations. Arguments: see `chosen_class`.
    """
    is_proven = kept is not None or cluster.completed_attempt is not None or cluster.is_provisioned
    is_there = chosen_class(cluster, claim, kept=kept, default=default) == OWN_ENGINE
    return default if is_there and not is_proven else OWN_ENGINE


def has_begun(cluster: KINDCluster) -> bool:
    """Return whether a creation for this very object has begun; a copied annotation proves nothing."""
    return cluster.claim_id == cluster.uid and (cluster.attempt > 0 or cluster.identity is not None)


def refusal(
    engine_class: KINDEngineClass, labels: Mapping[str, str] | None, *, namespace: str, others: int
) -> Failure | None:
    """Return why a namespace may not have another kind cluster on the engine of a class; None if it may.

    labels: of the namespace; None if it is not known. others: kind clusters that it has there, or that come first.
    """
    if labels is None or not engine_class.allows(labels):
        return Failure(
            Reason.ENGINE_NOT_ALLOWED,
            f"KINDEngineClass {engine_class.name} does not allow namespace {namespace}. Ask the administrator to give "
            "the namespace a label that the class selects, or use another class.",
        )
    limit = engine_class.clusters_per_namespace
    if limit is not None and others >= limit:
        clusters = "1 kind cluster" if limit == 1 else f"{limit} kind clusters"
        return Failure(
            Reason.ENGINE_NOT_ALLOWED,
            f"KINDEngineClass {engine_class.name} allows {clusters} per namespace, and "
            f"{namespace} has {others} already. Delete one, or ask the administrator for a higher limit.",
        )
    return None


def missing_class(name: str, watch_filter: str | None = None) -> Failure:
    """Return the failure of an object whose class does not exist, or lacks the label that the provider requires."""
    label = f" with the label {WATCH_FILTER_LABEL}={watch_filter}" if watch_filter else ""
    return Failure(
        Reason.ENGINE_CLASS_NOT_FOUND,
        f"KINDEngineClass {name}{label} does not exist. Create it; `kubectl get kindengineclasses` lists the "
        "existing ones.",
    )


def unreadable_class(name: str, namespace: str) -> Failure:
    """Return the failure of an object with a class under a provider that manages one namespace only."""
    return Failure(
        Reason.ENGINE_CLASS_NOT_FOUND,
        f"This provider manages only namespace {namespace} (--namespace) and therefore does not read KINDEngineClass "
        f"{name}. Create the object again without spec.engine, or let a provider of all namespaces manage it.",
    )


def incomplete_class(name: str) -> Failure:
    """Return the failure of an object whose class names no engine that this release knows."""
    return Failure(
        Reason.ENGINE_CLASS_NOT_FOUND,
        f"KINDEngineClass {name} has no engine that this release of the provider can use. Correct its spec.",
    )


def another_kind_of_class(name: str) -> Failure:
    """Return the failure of an object whose kind cluster is on the engine of an earlier class of the same name."""
    return Failure(
        Reason.ENGINE_CLASS_NOT_FOUND,
        f"KINDEngineClass {name} describes engines in Pods, but the kind cluster is on the engine that an earlier "
        "class of this name described. Delete this class, and create that one again.",
    )


def no_own_engine() -> Failure:
    """Return the failure of an object without a class under a provider without an engine of its own."""
    return Failure(
        Reason.ENGINE_CLASS_NOT_FOUND,
        "This provider has no container engine of its own (--no-shared-engine), and no KINDEngineClass is the "
        "default one of this namespace. Create the object again with spec.engine.className; "
        "`kubectl get kindengineclasses` lists the classes.",
    )


def is_proven_own(observed: Observed) -> bool:
    """Return whether the object has, or may have, a kind cluster on the engine, by proofs that users cannot write."""
    if observed.made is not None or observed.completed is not None or observed.is_unfinished:
        return True
    cluster = observed.object
    if cluster.completed_attempt is not None or (cluster.is_provisioned and bool(cluster.used_engine_class)):
        return True
    return any(node.mark is not None and node.mark.uid == cluster.uid for node in observed.engine.nodes or ())


def is_refused(cluster: KINDCluster) -> bool:
    """Return whether an object reports that it may not have a kind cluster on its engine."""
    created = find(cluster.conditions, Condition.CLUSTER_CREATED)
    return created is not None and created["reason"] == Reason.ENGINE_NOT_ALLOWED


def not_allowed_status(observed: Observed, refused: Failure) -> dict[str, Any]:
    """Return the status of an object that may not have a kind cluster on its engine."""
    return kindcluster_status(observed, {Condition.CLUSTER_CREATED: false(refused.reason, refused.message)})
