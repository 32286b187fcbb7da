"""The expected state of an object whose engine is a Pod, from the simulation's facts alone."""

from collections.abc import Iterator

from capk.api import names
from capk.plan.engineobjects import engine_name
from test.simulation.engine import Birth
from test.simulation.life import Life
from test.simulation.objects import Body
from test.simulation.outcomes import EITHER
from test.simulation.podengines import CLASS, KINDS, NAMESPACE


def engine_obstacles(life: Life, obj: Body, birth: Birth | None) -> Iterator[str]:
    """Yield why the engine of an object cannot run, or why it has no kind cluster."""
    world, uid = life.world, obj["metadata"]["uid"]
    pods, spec = world.pods, obj["spec"]
    has_volume = pods.own(names.VOLUME_CLAIMS, uid) is not None
    found = world.api.find(names.KIND_ENGINE_CLASSES, None, CLASS)
    is_filtered = world.options.watch_filter not in (
        "",
        ((found or {"metadata": {}})["metadata"].get("labels") or {}).get(names.WATCH_FILTER_LABEL),
    )
    offered = None if is_filtered or found is None else found
    if spec.get("deletionPolicy") == "Retain" or (spec.get("engine") or {}).get("powerState") == "Stopped":
        # What an engine with data does then depends on what was known when it was edited.
        yield EITHER if birth else "its spec cannot work"
    if birth is None and uid in pods.lost and spec.get("recreatePolicy") != "Always":
        yield "its engine was lost" if pods.lost[uid] else EITHER
    if pods.own(names.PODS, uid) is None and offered is None:
        yield "its class does not exist"
    if pods.own(names.PODS, uid) is None and offered and offered["spec"]["pods"]["image"].startswith("missing"):
        yield "the image does not exist"
    running = pods.own(names.PODS, uid)
    if running and running["spec"]["containers"][0]["image"].startswith("missing"):
        yield "the image does not exist"
    if birth is None and offered and offered["spec"].get("namespaceSelector") is None:
        yield "its class does not allow its namespace"
    if any(_is_taken(life, resource, uid) for resource in KINDS):
        yield EITHER if birth or has_volume else "someone else has the name of its engine"


def _is_taken(life: Life, resource: names.Resource, uid: str) -> bool:
    """Return whether someone else has the name that an object of the engine needs."""
    found = life.world.api.find(resource, NAMESPACE, engine_name(uid))
    return found is not None and life.world.pods.own(resource, uid) is None


def may_stay(life: Life, obj: Body) -> bool:
    """Return whether an object that is being deleted waits for its user, with reason."""
    return life.world.pods.has(obj) and obj["spec"].get("deletionPolicy") == "Retain"
