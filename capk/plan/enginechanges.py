"""What a running engine in a Pod does not have of what its nodes, its spec or its class ask for by now. Pure.

A Pod keeps the resources that it was created with. It is never replaced for that: without a volume, the data would go.
"""

from bisect import bisect_left
from collections.abc import Iterator
from contextlib import suppress

from capk.api.podengines import PodEngines
from capk.api.quantities import MEMORY, RESOURCES, parse, text
from capk.errors import InvalidSpec
from capk.kindconfig.config import CONTROL_PLANE, with_control_planes
from capk.plan.enginepods import PodEngine, PodFacts, edited_authority
from capk.plan.enginespec import POWER_STATE, check_engine_spec, engine_amounts, needed_amounts, nodes_need
from capk.plan.observed import Observed


def nodes_to_create(observed: Observed, offer: PodEngines, *, has_data: bool) -> tuple[int, int]:
    """Return the numbers of control planes and workers that a new engine has to have room for.

    Workers are those of the spec, and those that join: the KINDMachines that exist, or the replicas that the topology
    of the owner Cluster asks for. Those do not keep an engine with data from coming back: it could not even lose them
    before. Raises InvalidSpec if the class does not offer what they need, or what the spec asks for.
    """
    control_planes, workers = _nodes_to_create(observed, offer, has_data=has_data)
    check_engine_spec(
        observed.object,
        offer,
        class_name=observed.engine_class,
        control_planes=control_planes,
        workers=workers,
        cluster_network=observed.owner.cluster_network if observed.owner else None,
    )
    return control_planes, workers


def _nodes_to_create(observed: Observed, offer: PodEngines, *, has_data: bool) -> tuple[int, int]:
    try:
        spec = with_control_planes(observed.object.spec, observed.wanted_control_planes)
    except InvalidSpec:
        spec = observed.object.spec
    nodes = spec.get("nodes") or [{"role": CONTROL_PLANE}]
    control_planes = sum(node.get("role", CONTROL_PLANE) == CONTROL_PLANE for node in nodes)
    workers, topology = len(nodes) - control_planes, observed.served.topology_workers if observed.served else 0
    joined = max(len(observed.workers.names), topology)
    if has_data:
        # By bisection, because a topology may ask for any number.
        joined = bisect_left(
            range(joined),
            True,
            key=lambda others: not _fits(observed, offer, control_planes, workers + others + 1),
        )
    return control_planes, workers + joined


def _fits(observed: Observed, offer: PodEngines, control_planes: int, workers: int) -> bool:
    """Return whether the engine may have the resources that so many nodes need."""
    with suppress(InvalidSpec):
        engine_amounts(
            observed.object,
            offer,
            class_name=observed.engine_class,
            control_planes=control_planes,
            workers=workers,
        )
        return True
    return False


def engine_warnings(observed: Observed) -> tuple[str, ...]:
    """Return what differs between a running engine in a Pod and a new one, each with the cause and what to do."""
    engine = observed.pod_engine
    pod = engine.facts.pod if engine and engine.facts else None
    if engine is None or pod is None or not pod.is_usable:
        return ()
    edited = (edited_authority(engine.authority),) if engine.is_authority_edited else ()
    if engine.offer is None:
        return edited
    return (
        *edited,
        *_too_small(observed, engine, engine.offer, pod),
        *_edited(observed, engine, pod),
        *_refused(observed, engine, engine.offer),
    )


def _too_small(observed: Observed, engine: PodEngine, offer: PodEngines, pod: PodFacts) -> Iterator[str]:
    """Compare memory only: it is a limit, whereas processor time and disk are merely requested for the nodes."""
    control_planes, workers = _nodes(observed)
    need = needed_amounts(offer, control_planes, workers).memory
    if not 0 < pod.requests.memory < need or (_given(observed, MEMORY) or 0) >= need:
        return
    amount, has = text(MEMORY, need), text(MEMORY, pod.requests.memory)
    yield (
        f"{nodes_need(control_planes, workers)} {amount} of memory, but {engine.title} has {has} and does not grow: "
        f"everything in it becomes slow, and nodes fail. {_way_to_more(pod, amount)}"
    )


def _way_to_more(pod: PodFacts, amount: str) -> str:
    wanted = f"spec.engine.resources.memory to {amount} or more"
    if pod.has_claim:
        return f"Set {wanted} and delete the Pod: the provider creates it again, and the kind cluster continues."
    return f"Use fewer workers, or create the KINDCluster again: set {wanted} before its engine exists."


def _edited(observed: Observed, engine: PodEngine, pod: PodFacts) -> Iterator[str]:
    has = pod.requests.by_name()
    wanted = {name: _given(observed, name) for name in RESOURCES}
    changed = [(name, given) for name, given in wanted.items() if given and has[name] and given != has[name]]
    if not changed:
        return
    words = " and ".join(f"spec.engine.resources.{name} is {text(name, given)}" for name, given in changed)
    present = " and ".join(f"{text(name, has[name])} of {name}" for name, _ in changed)
    remedy = "Delete the Pod: the provider creates it again, and the kind cluster continues."
    if not pod.has_claim:
        remedy = "The data would go with the Pod, so create the KINDCluster again if you need that."
    yield f"{words}, but {engine.title} has {present}: a change counts when the Pod is created. {remedy}"


def _refused(observed: Observed, engine: PodEngine, offer: PodEngines) -> Iterator[str]:
    """Check the spec again: it, or the class, may have changed since the Pod was created."""
    has_data = engine.facts is not None and engine.facts.claim is not None
    try:
        nodes_to_create(observed, offer, has_data=has_data)
    except InvalidSpec as wrong:
        if wrong.path != POWER_STATE:
            # A stop that is not possible has a warning of its own, for any engine.
            yield f"{engine.title} runs as it was created, but the provider could not create it again: {wrong}."


def _nodes(observed: Observed) -> tuple[int, int]:
    """Return how many control planes and workers the engine has, or is about to have."""
    nodes = [node for node in observed.engine.nodes or () if not node.is_load_balancer]
    control_planes = {node.name for node in nodes if node.role == CONTROL_PLANE}
    others = {node.name for node in nodes} - control_planes
    return len(control_planes), len(others | set(observed.workers.names))


def _given(observed: Observed, name: str) -> int | None:
    with suppress(ValueError):
        value = observed.object.engine_resources.get(name)
        return None if value is None else parse(name, value)
    return None
