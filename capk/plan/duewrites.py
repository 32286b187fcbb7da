"""Find what a complete kind cluster lacks in its object and its Secrets: identity, claim, endpoint, kubeconfigs."""

from typing import Any

from capk.api import names
from capk.plan.dataloss import corrected_etcd, restored_etcd
from capk.plan.engineid import corrected_engine
from capk.plan.observed import Observed
from capk.plan.ownership import is_completed_attempt, made_by
from capk.plan.parts import CLAIM, ENDPOINT, ENGINE, IDENTITY, SECRET
from capk.plan.secrets import (
    differs,
    is_as_written,
    kubeconfig_secret_name,
    wanted_config_secret,
    wanted_kubeconfig_secret,
    writes,
)


def due_identity(observed: Observed) -> str | None:
    """Return the fingerprint if the object lacks it or holds an edited one that the marks, or memory, disprove."""
    current = observed.object.identity
    if IDENTITY in observed.held_back or corrected_etcd(observed):
        return None
    if current in (None, names.UNREAD):
        known = observed.access.fingerprint if observed.access else observed.made
    elif observed.access and observed.engine.nodes:
        known = observed.access.fingerprint
    else:
        known = observed.made if observed.made != names.UNREAD else None
    return known if known != current else None


def due_endpoint(observed: Observed) -> tuple[str, int] | None:
    """Return the value of spec.controlPlaneEndpoint if the object lacks it and it is known."""
    access, cluster = observed.access, observed.object
    if access is None or cluster.endpoint is not None or ENDPOINT in observed.held_back:
        return None
    return access.endpoint(observed.policy.endpoint)


def due_secrets(observed: Observed) -> tuple[dict[str, Any], ...]:
    """Return the Secrets to write: they are missing or differ, and nothing forbids to write them."""
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
    written |= {CLAIM} if observed.object.has_finalizer and not restored_annotations(observed) else set()
    # Those of an engine in a Pod are part of its own condition, and someone else may have done what was refused.
    return {
        part: words for part, words in observed.refusals.items() if part not in written and part.split(" ")[0] != ENGINE
    }


def awaits_control_plane_secret(observed: Observed) -> bool:
    """Return whether the KINDControlPlane is about to write the kubeconfig Secret (C13)."""
    if observed.owner is None or not writes(observed.control_plane):
        return False
    name = kubeconfig_secret_name(observed.owner.name)
    return not (name in observed.secrets or name in observed.foreign_secrets or standing_refusals(observed))


def restored_annotations(observed: Observed) -> dict[str, str | None]:
    """Return the annotations to correct: they are missing, or describe another kind cluster."""
    etcd = restored_etcd(observed) | corrected_etcd(observed)
    return _restored_claim(observed) | _restored_attempt(observed) | corrected_engine(observed) | etcd


def _restored_attempt(observed: Observed) -> dict[str, str | None]:
    """Return the number of the creation that has made the kind cluster if the object names none, or an earlier one.

    It was adopted, or its annotations were replaced. A removal goes only up to the number that the object names.
    """
    attempt = made_by(observed) if is_completed_attempt(observed) else None
    return {names.ATTEMPT_ANNOTATION: str(attempt)} if attempt and attempt > observed.object.attempt else {}


def _restored_claim(observed: Observed) -> dict[str, str | None]:
    """Return the claim again if the object's annotations were replaced; marks or fingerprint have proven the owner."""
    is_compared = observed.access is not None and observed.access.fingerprint == observed.object.identity
    if observed.claim is not None or not (observed.engine.nodes or is_compared):
        return {}
    return {
        names.CLAIM_ANNOTATION: observed.cluster_name,
        names.CLAIM_ID_ANNOTATION: observed.object.uid,
    }
