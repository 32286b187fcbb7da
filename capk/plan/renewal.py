"""Decide when to renew the certificates of a kind cluster, and what to report if that fails. Pure."""

import shlex

from capk.api.conditions import format_time
from capk.api.names import Reason
from capk.kindconfig.config import CONTROL_PLANE
from capk.kindconfig.expiry import CLIENT_CERTIFICATE_LIFETIME, RENEW_COMMAND, expires_soon
from capk.plan.observed import Observed, Validity
from capk.plan.plan import Goal, RenewCertificates
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
