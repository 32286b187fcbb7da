"""The expected state of a KINDMachine, from the simulation's facts alone, without the provider's reasons."""

from collections.abc import Iterator

from capk.api import names
from capk.api.names import Condition
from capk.plan.machines import node_name
from test.simulation.engine import FOREIGN, Container
from test.simulation.life import Life
from test.simulation.machines import identities
from test.simulation.objects import Body, is_to_be_stopped
from test.simulation.outcomes import EITHER, UNTOUCHED
from test.simulation.truth import is_left_alone, is_made_for, name_of, owner_of, said, wanted_name


def cluster_of(life: Life, obj: Body) -> Body | None:
    """Return the Cluster that the label of a KINDMachine names."""
    label = (obj["metadata"].get("labels") or {}).get(names.CORE_CLUSTER_NAME_LABEL)
    return life.world.api.find(names.CLUSTERS, obj["metadata"]["namespace"], label) if label else None


def infrastructure_of(life: Life, obj: Body) -> Body | None:
    """Return the KINDCluster of a KINDMachine."""
    api, namespace = life.world.api, obj["metadata"]["namespace"]
    if not obj["metadata"].get("ownerReferences"):
        return api.find(names.KIND_CLUSTERS, namespace, obj["spec"].get("clusterName") or "")
    cluster = cluster_of(life, obj)
    name = (cluster["spec"].get("infrastructureRef") or {}).get("name") if cluster else None
    return api.find(names.KIND_CLUSTERS, namespace, name) if name else None


def container_of(life: Life, obj: Body) -> Container | None:
    """Return the container of a KINDMachine on any engine."""
    recorded = (obj.get("status") or {}).get("containerID")
    known, name = identities(obj), _node_of(life, obj)
    found = [
        container
        for container in life.world.everywhere()
        if container.is_added and (container.machine in known or container.id == recorded)
    ]
    # Of two with a copied id, the name shows whose each is.
    return next((one for one in found if one.name == name), None if name else next(iter(found), None))


def _node_of(life: Life, obj: Body) -> str:
    """Return the name of the node; empty without a KINDCluster."""
    infrastructure = infrastructure_of(life, obj)
    return node_name(wanted_name(life, infrastructure), obj["metadata"]["name"]) if infrastructure else ""


def is_untouched(life: Life, obj: Body) -> bool:
    """Return whether the provider must leave the object alone."""
    cluster = cluster_of(life, obj)
    infrastructure = infrastructure_of(life, obj)
    pauses = cluster or (owner_of(life, infrastructure) if infrastructure else None)
    return is_left_alone(life, obj) or bool(pauses and pauses["spec"].get("paused"))


def obstacle(life: Life, obj: Body) -> str | None:
    """Return why a KINDMachine cannot be Ready, or None if it must be."""
    if is_untouched(life, obj):
        return UNTOUCHED
    return next(_obstacles(life, obj), None)


def _obstacles(life: Life, obj: Body) -> Iterator[str]:
    world, infrastructure = life.world, infrastructure_of(life, obj)
    if not world.options.lists:
        yield "the engine cannot add workers"
    if name_of(obj) in world.forged or _is_shared(life, obj):
        yield EITHER
    if infrastructure is None:
        yield "there is no KINDCluster"
        return
    birth = world.birth_of(infrastructure)
    if name_of(infrastructure) in world.forged and not (birth and is_made_for(birth, infrastructure)):
        # With an edited claim it loses what was made for the object before it.
        yield EITHER
    if _is_unserved(life, infrastructure):
        yield EITHER
    container = container_of(life, obj)
    if container is not None and container.has_joined:
        if birth is not container.birth or world.engine.is_elsewhere(birth):
            yield EITHER
        if not container.running:
            yield "its container does not run"
        return
    metadata = infrastructure["metadata"]
    taken = world.engine_for(metadata["name"], metadata["namespace"]).named(_node_of(life, obj))
    if taken is not None and taken is not container:
        yield "a container of someone else has its name"
    if _was_joined(obj) and infrastructure["spec"].get("recreatePolicy") != "Always":
        yield "its container was removed"
    if infrastructure["spec"].get("recreatePolicy") != "Always" and _is_remembered(life, obj):
        yield EITHER
    yield from _unready(life, infrastructure)


def _is_unserved(life: Life, infrastructure: Body) -> bool:
    """Return whether the engine of a KINDCluster is a Pod that does not run, or that no Service leads to."""
    pods, uid = life.world.pods, infrastructure["metadata"]["uid"]
    return pods.has(infrastructure) and None in (pods.own(names.SERVICES, uid), pods.own(names.PODS, uid))


def _is_shared(life: Life, obj: Body) -> bool:
    """Return whether another object holds its machine id and has a node of the same name."""
    others = (one for one in life.world.api.all(names.KIND_MACHINES) if one is not obj)
    node = _node_of(life, obj)
    return any(identities(obj) & identities(one) and _node_of(life, one) == node for one in others)


def _unready(life: Life, infrastructure: Body) -> Iterator[str]:
    if infrastructure["metadata"].get("deletionTimestamp"):
        yield "its KINDCluster is being deleted"
    if is_left_alone(life, infrastructure):
        yield "its KINDCluster is left alone"
    if _status_of(life, infrastructure) != "True":
        yield "its KINDCluster is not Ready"
    birth = life.world.birth_of(infrastructure)
    if birth is None or not birth.answers:
        yield "its API server does not answer"
    owner = owner_of(life, infrastructure)
    reference = (owner["spec"].get("controlPlaneRef") or {}).get("name") if owner else None
    if reference:
        plane = life.world.api.find(names.KIND_CONTROL_PLANES, infrastructure["metadata"]["namespace"], reference)
        status = (plane or {}).get("status") or {}
        if not (status.get("initialization") or {}).get("controlPlaneInitialized"):
            yield "its control plane is not initialized"


def _was_joined(obj: Body) -> bool:
    initialization = (obj.get("status") or {}).get("initialization") or {}
    annotations = obj["metadata"].get("annotations") or {}
    is_own = annotations.get(names.MACHINE_ID_ANNOTATION) == obj["metadata"]["uid"]
    return bool(initialization.get("provisioned")) or (is_own and names.JOINED_CONTAINER_ANNOTATION in annotations)


def _is_remembered(life: Life, obj: Body) -> bool:
    """Return whether the provider has let a container of the machine join, which it could not store."""
    current, known = life.deployment.current, identities(obj)
    return current is not None and any(
        by == current.id for birth in life.world.engine.births for one, by in birth.joined.items() if one in known
    )


def _status_of(life: Life, obj: Body) -> str:
    return str((life.world.conditions(obj).get(Condition.READY) or {}).get("status"))


def unsettled_machines(life: Life) -> list[str]:
    """Return the problems that remain with workers after all faults have ended."""
    found = [problem for obj in life.world.api.all(names.KIND_MACHINES) if (problem := _problem(life, obj))]
    return [*found, *_machines_left(life), *_workers_of_nobody(life)]


def _problem(life: Life, obj: Body) -> str | None:
    conditions, label = life.world.conditions(obj), f"KINDMachine {name_of(obj)}"
    if obj["metadata"].get("deletionTimestamp"):
        return None if _may_stay(life, obj) else f"{label} is still there, long after its deletion: {said(conditions)}"
    why = obstacle(life, obj)
    is_ready = _status_of(life, obj) == "True"
    if why in (UNTOUCHED, EITHER):
        return None
    if is_ready:
        return f"{label} is Ready, but {why}" if why else None
    if why is None:
        return f"{label} should be Ready: {said(conditions)}"
    if not any(one["status"] == "False" and one.get("message") for one in conditions.values()):
        return f"{label} says nothing of its trouble ({why}): {said(conditions)}"
    return None


def _may_stay(life: Life, obj: Body) -> bool:
    if is_untouched(life, obj) or names.KIND_MACHINE_FINALIZER not in (obj["metadata"].get("finalizers") or ()):
        return True
    infrastructure = infrastructure_of(life, obj)
    if infrastructure is not None and is_to_be_stopped(infrastructure):
        return True
    engine = ((infrastructure or {"metadata": {}})["metadata"].get("annotations") or {}).get(names.ENGINE_ANNOTATION)
    return engine not in (None, f"engine-{life.world.engine.number}")


def _machines_left(life: Life) -> list[str]:
    return [
        f"Machine {name_of(obj)} is still there, long after its deletion"
        for obj in life.world.api.all(names.MACHINES)
        if obj["metadata"].get("deletionTimestamp")
        and not life.world.api.find(names.KIND_MACHINES, obj["metadata"]["namespace"], obj["metadata"]["name"])
    ]


def _workers_of_nobody(life: Life) -> list[str]:
    """Return the workers whose KINDMachine is gone although their kind cluster lives; see also `truth.orphans`."""
    world = life.world
    objects = world.api.all(names.KIND_MACHINES)
    known = {one for obj in objects for one in identities(obj)} | world.forced
    recorded = {(obj.get("status") or {}).get("containerID") for obj in objects}
    left = [
        container.name
        for container in world.answering()
        if container.is_added
        and not (container.birth.maker == FOREIGN and container.mark is None)
        and container.machine not in known
        and container.id not in recorded
        and not any(container.birth.maker.startswith(uid) for uid in world.forced)
        # A retained kind cluster keeps its workers, but nothing that is half joined.
        and not (container.has_joined and any(container.birth.maker.startswith(uid) for uid in world.retained))
    ]
    return [f"workers of nobody: {', '.join(sorted(left))}"] if left else []


def machine_lies(life: Life, obj: Body) -> Iterator[str]:
    """Yield what is wrong with a KINDMachine that is Ready."""
    if _status_of(life, obj) != "True" or is_untouched(life, obj) or not life.world.options.lists:
        return
    infrastructure = infrastructure_of(life, obj)
    if infrastructure is None or is_left_alone(life, infrastructure) or obj["metadata"].get("deletionTimestamp"):
        return
    container = container_of(life, obj)
    if container is None or not container.running:
        yield f"KINDMachine {name_of(obj)} is Ready, but its container does not run"
