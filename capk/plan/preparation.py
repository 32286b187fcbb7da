"""Decide which objects an engine in a Pod needs before it can have a kind cluster. Pure.

An engine that is not there answers with nothing: all decisions are those for any other engine. Only the creation of the
kind cluster waits until its engine was created.
"""

from dataclasses import replace
from typing import Final

from capk.api import names
from capk.api.names import Condition, Reason, Resource
from capk.api.podengines import PodEngines
from capk.errors import InvalidSpec
from capk.plan.enginechanges import nodes_to_create
from capk.plan.engineclass import missing_class
from capk.plan.engineobjects import (
    AUTHORITY,
    CERTIFICATE,
    KEY,
    engine_claim,
    engine_pod,
    engine_secret,
    engine_service,
)
from capk.plan.enginepods import EVENT_SECONDS, EnginePodFacts, PodEngine, PodFacts, ServiceFacts
from capk.plan.enginespec import published_ports
from capk.plan.observed import Observed
from capk.plan.parts import ENGINE
from capk.plan.plan import Create, EngineObject, EngineRemoval, Plan
from capk.plan.power import rests
from capk.plan.status import Verdict, false, kindcluster_status
from capk.plan.verdicts import rest_verdict

LOCAL: Final = ("localhost", "127.0.0.1")
"""For clients behind a forwarded port."""


def with_engine(observed: Observed, plan: Plan | None) -> Plan | None:
    """Return the plan to create a kind cluster; as long as there is no engine for it, that to create the engine."""
    engine = observed.pod_engine
    if plan is None or engine is None or not isinstance(plan.operation, Create):
        return plan
    if engine.is_gone:
        return _prepare(observed, engine)
    return plan if _leads_to_all_ports(observed, engine) else _replace_service(observed, engine)


def _leads_to_all_ports(observed: Observed, engine: PodEngine) -> bool:
    """Return whether the Service has the ports of the spec, which users may have edited since."""
    service = engine.facts.service if engine.facts else None
    return service is None or engine.offer is None or service.ports.issuperset(published_ports(observed.object.spec))


def _replace_service(observed: Observed, engine: PodEngine) -> Plan:
    words = f"The Service of {engine.title} is created again, because spec.nodes publishes other ports now."
    plan = _report(observed, Condition.ENGINE_AVAILABLE, false(Reason.STARTING_ENGINE, words))
    return replace(plan, remove_engine=replace(removal(observed, engine), service_only=True))


def keep_engine(observed: Observed) -> Plan | None:
    """Stop or start an engine that has data on a volume, or create a Service or a Secret that someone has deleted."""
    engine = observed.pod_engine
    if engine is None or engine.facts is None:
        return None
    pod, service, claim = engine.facts.pod, engine.facts.service, engine.facts.claim
    if engine.is_stopped or rests(observed):
        return _stop(observed, engine)
    if observed.operation is not None:
        return None
    if claim is not None and claim.is_deleting and pod is not None and pod.has_ended:
        # Kubernetes keeps the claim for as long as the Pod exists.
        return _drop(observed, engine, pod, "Its volume is being deleted, and the data with it.")
    if claim is not None and not claim.is_deleting and (pod is None or pod.has_ended):
        return _prepare(observed, engine)
    if pod is None or pod.is_deleting:
        return None
    if service is None:
        return _serve(observed, engine, pod)
    return _restore_secret(observed, engine, pod, service) if _lacks_its_secret(engine, pod) else None


def _serve(observed: Observed, engine: PodEngine, pod: PodFacts) -> Plan:
    """Create the Service of a Pod that has lost it: that needs neither the class nor a spec that it would accept."""
    service = engine_service(observed.object, class_name=pod.class_name, namespace=engine.namespace)
    objects = (EngineObject(names.SERVICES, service),)
    words = f"Creating the Service of {engine.title} again."
    plan = _report(observed, Condition.ENGINE_AVAILABLE, _progress(observed, engine, objects, words))
    return replace(plan, engine_objects=objects)


def _lacks_its_secret(engine: PodEngine, pod: PodFacts) -> bool:
    """Return whether the kubelet reports that the Secret is missing, without which it does not start the Pod again.

    It may have reported that up to an hour ago.
    """
    if pod.has_its_volumes:
        return False
    return any(f'{kind} "{engine.name}" not found' in engine.event for kind in ("secret", "secrets"))


def _restore_secret(observed: Observed, engine: PodEngine, pod: PodFacts, service: ServiceFacts) -> Plan:
    """Create the Secret again that someone has deleted: a Pod needs it when its node has restarted."""
    objects = (_secret(observed, engine, pod.class_name, service),)
    words = f"Creating the Secret of {engine.title} again, which its node does not find."
    plan = _report(observed, Condition.ENGINE_AVAILABLE, _progress(observed, engine, objects, words))
    return replace(plan, engine_objects=objects, requeue_seconds=EVENT_SECONDS)


def _secret(observed: Observed, engine: PodEngine, class_name: str, service: ServiceFacts) -> EngineObject:
    """Return the Secret, whose certificate the writer makes."""
    data = dict.fromkeys((AUTHORITY, CERTIFICATE, KEY), "")
    secret = engine_secret(observed.object, class_name=class_name, namespace=engine.namespace, data=data)
    return EngineObject(names.SECRETS, secret, (engine.host, service.address, *LOCAL))


def _stop(observed: Observed, engine: PodEngine) -> Plan:
    """Delete the Pod and keep the rest; its containers end in order, which takes up to a minute."""
    pod = engine.facts.pod if engine.facts else None
    status = kindcluster_status(observed, {Condition.NODES_RUNNING: rest_verdict(observed)})
    if observed.operation is not None or observed.workers.under_way:
        return Plan(cancel_operation=True, cancel_workers=bool(observed.workers.under_way), status=status)
    if pod is None or pod.is_deleting:
        return Plan(status=status)
    return Plan(status=status, remove_engine=removal(observed, engine, pod_only=True))


def _prepare(observed: Observed, engine: PodEngine) -> Plan:
    facts, offer = engine.facts or EnginePodFacts(), engine.offer
    if offer is None:
        failure = missing_class(observed.engine_class)
        return _report(observed, Condition.ENGINE_AVAILABLE, false(failure.reason, failure.message))
    try:
        nodes = nodes_to_create(observed, offer, has_data=facts.claim is not None)
        objects = _objects(observed, engine, offer, facts, nodes)
    except InvalidSpec as wrong:
        # A kind cluster whose data is on a volume exists, and lacks only its engine.
        condition = Condition.CLUSTER_CREATED if facts.claim is None else Condition.ENGINE_AVAILABLE
        return _report(observed, condition, false(Reason.INVALID_CONFIG, str(wrong)))
    if facts.pod is not None and facts.pod.has_ended:
        return _drop(observed, engine, facts.pod, "The provider creates it again.")
    words = f"Creating {engine.title} for the engine."
    plan = _report(observed, Condition.ENGINE_AVAILABLE, _progress(observed, engine, objects, words))
    held = {names.BLOCK_MOVE_ANNOTATION: names.HELD_BY_ENGINE}
    return replace(plan, add_finalizer=True, annotations=held, engine_objects=objects)


def _drop(observed: Observed, engine: PodEngine, ended: PodFacts, then: str) -> Plan:
    """Delete a Pod that has ended, so that the next one can be created, later and later if each one ends.

    then: what follows, as a sentence.
    """
    cause = f": {ended.why.rstrip('.')}" if ended.why else ""
    words = f"{engine.title} of the engine has ended{cause}. {then}"
    plan = _report(observed, Condition.ENGINE_AVAILABLE, false(Reason.STARTING_ENGINE, words))
    return replace(plan, remove_engine=replace(removal(observed, engine, pod_only=True), pod_uid=ended.uid))


def removal(observed: Observed, engine: PodEngine, *, pod_only: bool = False) -> EngineRemoval:
    """Return the removal of the objects of an engine."""
    return EngineRemoval(engine.namespace, engine.name, observed.object.uid, pod_only=pod_only)


def _objects(
    observed: Observed, engine: PodEngine, offer: PodEngines, facts: EnginePodFacts, nodes: tuple[int, int]
) -> tuple[EngineObject, ...]:
    """Return the objects to create now. The certificate needs the address of the Service, which has to come first.

    Raises InvalidSpec.
    """
    cluster, common = observed.object, {"class_name": observed.engine_class, "namespace": engine.namespace}
    if facts.service is None:
        return (EngineObject(names.SERVICES, engine_service(cluster, **common)),)
    if facts.pod is not None or facts.service.is_deleting or not facts.service.address:
        return ()
    has_claim = facts.claim is not None
    claim = None if has_claim else engine_claim(cluster, offer, **common)
    pod = engine_pod(cluster, offer, **common, control_planes=nodes[0], workers=nodes[1], has_claim=has_claim)
    secret = _secret(observed, engine, observed.engine_class, facts.service)
    volume = (EngineObject(names.VOLUME_CLAIMS, claim),) if claim else ()
    return secret, *volume, EngineObject(names.PODS, pod)


def _progress(observed: Observed, engine: PodEngine, objects: tuple[EngineObject, ...], doing: str) -> Verdict:
    for part in (part_of(one.resource) for one in objects):
        if words := observed.refusals.get(part):
            message = f"The API server refuses the {part} of {engine.namespace}/{engine.name}: {words}"
            return false(Reason.ENGINE_REFUSED, f"{message.rstrip('.')}. The provider tries again.")
    return false(Reason.STARTING_ENGINE, doing)


def part_of(resource: Resource) -> str:
    """Return the name of the part of a plan that an object of an engine is."""
    return f"{ENGINE} {resource.kind}"


def _report(observed: Observed, condition: Condition, verdict: Verdict) -> Plan:
    return Plan(status=kindcluster_status(observed, {condition: verdict}))
