"""Decide what to do for a KINDConfig: nodes need no bootstrap data, so it is complete from the start (C55).

A ClusterClass must name a bootstrap template for its workers. The provider itself writes the
configuration with which kubeadm joins a node.
"""

from capk.api.names import Condition, Reason
from capk.plan.observed import ConfigObserved
from capk.plan.plan import Plan
from capk.plan.status import conditions_only, false, paused_status, true

COMPLETE = {"ready": True, "initialization": {"dataSecretCreated": True}, "dataSecretName": ""}
"""Cluster API takes an empty name for bootstrap data that consist of nothing."""


def decide(observed: ConfigObserved) -> Plan:
    """Return the next plan for a KINDConfig."""
    config, generation, now = observed.object, observed.object.generation, observed.now
    if config.is_left_to_others or config.is_deleting:
        return Plan()
    if observed.is_paused:
        return Plan(status=paused_status(config, observed.owner, now))
    verdicts = {Condition.READY: true(Reason.READY), Condition.PAUSED: false(Reason.NOT_PAUSED)}
    status = {**config.status, **COMPLETE, "observedGeneration": generation}
    return Plan(status=conditions_only(status, verdicts, generation=generation, now=now))
