"""Decide when to renew the certificates of a kind cluster, and what to report if that fails. Pure."""

import shlex

from capk.api.conditions import format_time
from capk.api.names import Reason
from capk.kindconfig.config import CONTROL_PLANE, WORKER
from capk.kindconfig.expiry import CLIENT_CERTIFICATE_LIFETIME, RENEW_COMMAND, expires_soon
from capk.plan.facts import Validity
from capk.plan.observed import Observed
from capk.plan.ownership import Ownership, is_own, leads_to_own, ownership
from capk.plan.plan import Goal, RenewCertificates, RenewKubelets
from capk.plan.repair import was_reached
from capk.plan.status import Verdict, false, true

AGAIN_SECONDS = 3600.0
"""Interval after a failed renewal: weeks of validity are left."""

LEAST_SECONDS, MOST_SECONDS = 600.0, 86400.0
"""Limits of the interval after a successful renewal, which is half of the new certificates' lifetime."""


def renewal_request(observed: Observed) -> RenewCertificates | None:
    """Return the renewal that is due; None if none is due, or not all control planes are known to run."""
    validity = _short_validity(observed)
    nodes = [node for node in observed.engine.nodes or () if node.role == CONTROL_PLANE]
    if validity is None or not nodes or not all(node.running for node in nodes):
        return None
    names, ids = tuple(sorted(node.name for node in nodes)), frozenset(node.container_id for node in nodes)
    return RenewCertificates(observed.cluster_name, names, validity.not_after, ids)


def renewal_wait(observed: Observed) -> float:
    """Return the seconds until the renewal may start.

    Another renewal does not help if the new certificates expire soon too: the clocks of provider and engine differ, or
    root in the node has issued them.
    """
    facts = observed.goals.get(Goal.RENEWED)
    if facts is None:
        return 0.0
    if facts.failure is not None:
        return max(observed.remaining(Goal.RENEWED), AGAIN_SECONDS - facts.seconds_ago)
    lifetime = observed.validity.lifetime if observed.validity else None
    half = (lifetime or CLIENT_CERTIFICATE_LIFETIME).total_seconds() / 2
    return min(max(half, LEAST_SECONDS), MOST_SECONDS) - facts.seconds_ago


def kubelets_request(observed: Observed) -> RenewKubelets | None:
    """Return the check of the kubelets' certificates, if one of them may explain that the API server is silent.

    Also repeat a check that has failed, for the workers. None if not all control planes are known to run, or not all of
    them are the object's own: the certificates give the rights of a node.
    """
    is_silent = observed.health.answers is False and was_reached(observed)
    if not (is_silent or observed.failure(Goal.KUBELETS)) or not leads_to_own(observed):
        return None
    nodes = [node for node in observed.engine.nodes or () if not node.is_load_balancer]
    planes = sorted((node for node in nodes if node.role == CONTROL_PLANE), key=lambda node: node.name)
    if not planes or not all(node.running for node in planes):
        return None
    is_whole = ownership(observed) is Ownership.OURS
    workers = [node for node in nodes if node.role == WORKER and (is_whole or is_own(observed, node))]
    joined = sorted((node for node in workers if node.name not in observed.workers.joining), key=lambda node: node.name)
    due = [*planes, *(node for node in joined if node.running)]
    names, ids = tuple(node.name for node in due), frozenset(node.container_id for node in due)
    return RenewKubelets(observed.cluster_name, names, planes[0].name, ids)


def kubelets_wait(observed: Observed) -> float:
    """Return the seconds until the kubelets' certificates may be checked: an outage mostly has another cause."""
    facts = observed.goals.get(Goal.KUBELETS)
    if facts is None:
        return 0.0
    return observed.remaining(Goal.KUBELETS) if facts.failure else AGAIN_SECONDS - facts.seconds_ago


def kubelets_warning(observed: Observed) -> str:
    """Return why the kubelets' certificates could not be checked or renewed; empty if there is nothing to report."""
    failure, words = observed.failure(Goal.KUBELETS), "The provider could not check or renew the kubelets' certificates"
    return f"{words}: {failure.message}" if failure else ""


def expiry_verdict(observed: Observed) -> Verdict | None:
    """Return the verdict on the kubeconfigs' client certificate; None if it is valid for long, or is being renewed."""
    validity = _short_validity(observed)
    if validity is None:
        return None
    ends, has_ended = format_time(validity.not_after), validity.not_after <= observed.now
    failure = observed.failure(Goal.RENEWED)
    if failure is None and observed.engine.lists_nodes:
        next_step = (
            "It was renewed just before: compare the clocks of the provider's and of the container engine's machine."
            if renewal_wait(observed) > 0
            else "The provider renews it."
        )
        expired = f"The client certificate of the kubeconfigs expired at {ends}. {next_step}"
        return false(Reason.CERTIFICATE_EXPIRED, expired) if has_ended else None
    message = (
        f"The client certificate of the kubeconfigs {'expired' if has_ended else 'expires'} at {ends}, and the "
        f"provider could not renew it: {failure.message if failure else 'no container engine command is available.'} "
        f"To renew it by hand, run `{shlex.join(RENEW_COMMAND)}` in each control-plane node and restart the provider."
    )
    return false(Reason.CERTIFICATE_EXPIRED, message) if has_ended else true(Reason.PROVISIONED, message)


def _short_validity(observed: Observed) -> Validity | None:
    validity = observed.validity
    if validity is None or not expires_soon(validity.not_after, observed.now, lifetime=validity.lifetime):
        return None
    return validity
