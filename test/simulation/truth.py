"""The expected state of an object, from the simulation's facts alone, without the provider's reasons."""

import base64
from collections.abc import Iterator

from capk.api import names
from capk.api.names import Condition
from test.simulation.engine import CONTROL_PLANE, FOREIGN, LOAD_BALANCER, WORKER, Birth, Container
from test.simulation.identities import encoded
from test.simulation.life import Life
from test.simulation.objects import Body, is_to_be_stopped
from test.simulation.outcomes import EITHER, RESTS, SILENT, STOPPED, UNTOUCHED
from test.simulation.podtruth import engine_obstacles, may_stay


def name_of(obj: Body) -> str:
    """Return namespace and name of an object."""
    return f"{obj['metadata']['namespace']}/{obj['metadata']['name']}"


def wanted_name(life: Life, obj: Body) -> str:
    """Return the name of the kind cluster that an object requests."""
    owner = owner_of(life, obj)
    return str(obj["spec"].get("clusterName") or (owner or obj)["metadata"]["name"])


def owner_of(life: Life, obj: Body) -> Body | None:
    """Return the living Cluster that owns an object."""
    for reference in obj["metadata"].get("ownerReferences") or ():
        cluster = life.world.api.find(names.CLUSTERS, obj["metadata"]["namespace"], reference["name"])
        if reference["kind"] == "Cluster" and cluster:
            return cluster
    return None


def is_left_alone(life: Life, obj: Body) -> bool:
    """Return whether the provider must leave the object alone."""
    metadata, options = obj["metadata"], life.world.options
    annotations, labels = metadata.get("annotations") or {}, metadata.get("labels") or {}
    owner = owner_of(life, obj)
    if owner and owner["spec"].get("paused"):
        return True
    if options.watch_filter and labels.get(names.WATCH_FILTER_LABEL) != options.watch_filter:
        return True
    return any(
        mark in annotations
        for mark in (names.PAUSED_ANNOTATION, names.MANAGED_BY_ANNOTATION, names.DELETE_FOR_MOVE_ANNOTATION)
    )


def obstacle(life: Life, obj: Body) -> str | None:
    """Return why an object cannot be Ready, or None if it must be."""
    if is_left_alone(life, obj):
        return UNTOUCHED
    return next((_obstacles_in_pod if life.world.pods.has(obj) else _obstacles)(life, obj), None)


def _obstacles_in_pod(life: Life, obj: Body) -> Iterator[str]:
    """Yield the same for an object whose engine is a Pod, where nothing else is but what its user makes by hand."""
    name, birth = wanted_name(life, obj), life.world.birth_of(obj)
    if birth is None and any(not is_made_for(one.birth, obj) for one in life.world.engine_for(name).of(name)):
        yield "a kind cluster of that name is not ours"
    if name_of(obj) in life.world.forged:
        yield EITHER
    yield from _obstacles_of_owner(life, obj, birth)
    yield from _foreign_secrets(life, obj, name)
    for other in life.world.api.all(names.KIND_CLUSTERS):
        if other["metadata"]["uid"] != obj["metadata"]["uid"] and wanted_name(life, other) == name:
            # Both want the same Secret.
            yield EITHER
    yield from _missing_kubeconfig(life, obj, birth)
    yield from engine_obstacles(life, obj, birth)
    if birth is not None:
        yield from _obstacles_of_nodes(life, obj, birth)


def _obstacles(life: Life, obj: Body) -> Iterator[str]:
    world = life.world
    name, birth = wanted_name(life, obj), world.birth_of(obj)
    if name_of(obj) in world.forged and not (world.options.lists and birth and is_made_for(birth, obj)):
        yield EITHER
    if birth and not world.options.lists and not (obj.get("status") or {}).get("initialization"):
        # Without a list of containers only the status shows a creation, and no status may have been written.
        yield EITHER
    yield from _obstacles_of_owner(life, obj, birth)
    yield from _conflicts(life, obj, name, birth)
    port = (obj["spec"].get("controlPlaneEndpoint") or {}).get("port")
    if birth is None and port and any(one.birth.port == port for one in world.engine.containers.values()):
        yield "another kind cluster has its port"
    yield from _missing_kubeconfig(life, obj, birth)
    if birth is None and _may_have_left_containers(life, obj, name):
        yield "its last creation may have left containers on another engine"
    if birth is None:
        if name in world.lost and obj["spec"].get("recreatePolicy") != "Always":
            yield "its kind cluster was removed"
        return
    if world.engine.is_elsewhere(birth):
        yield "its kind cluster is on another engine"
        return
    if is_to_be_stopped(obj):
        yield RESTS if can_rest(life, birth) else EITHER
    yield from _obstacles_of_nodes(life, obj, birth)


def _obstacles_of_owner(life: Life, obj: Body, birth: Birth | None) -> Iterator[str]:
    world, metadata, owner = life.world, obj["metadata"], owner_of(life, obj)
    if f"{metadata['namespace']}/{metadata['name']}" in life.invalid:
        yield "its spec cannot work"
    if owner is None and birth is None and world.api.core_version and not obj["spec"].get("standalone"):
        yield "no Cluster owns it"
    if owner and owner["metadata"].get("deletionTimestamp"):
        # Core deletes it only after the Machines, which may be paused; `machinetruth` judges them.
        yield EITHER if _has_machines(life, owner) else "its Cluster goes away"
    if owner and birth is None and "controlPlaneRef" in owner["spec"] and not _control_plane(life, owner):
        yield "its KINDControlPlane does not exist"


def _missing_kubeconfig(life: Life, obj: Body, birth: Birth | None) -> Iterator[str]:
    world, metadata, owner = life.world, obj["metadata"], owner_of(life, obj)
    if birth and owner and "controlPlaneRef" in owner["spec"] and not _control_plane(life, owner):
        kubeconfig = f"{owner['metadata']['name']}-kubeconfig"
        if world.api.find(names.SECRETS, metadata["namespace"], kubeconfig) is None:
            yield "nobody writes its kubeconfig"


def _obstacles_of_nodes(life: Life, obj: Body, birth: Birth) -> Iterator[str]:
    world, engine = life.world, birth.engine
    assert engine is not None
    own = [one for one in engine.of(birth.cluster, unlisted=True) if one.birth is birth and _is_node(one)]
    if world.is_lost(birth) and _created(own) < _size(obj, birth):
        yield "some of its containers were removed"
    if birth.port != 0 and engine.port_owner(birth) and not all(one.running for one in own):
        yield "another kind cluster has its port"
    if not all(one.running for one in own) and world.options.lists:
        yield STOPPED
    if birth.number not in world.workload.reached and (birth.empties or not birth.answers):
        yield EITHER
    if birth.empties:
        # Without a list of containers no restart shows, and the data itself only if anonymous users may read it.
        yield EITHER if birth.hides_data and not world.options.lists else "its etcd came back empty"
    if not birth.answers:
        yield SILENT
    if any(_is_forestalled(life, one) for one in own):
        yield EITHER


def can_rest(life: Life, birth: Birth) -> bool:
    """Return whether a kind cluster is certainly stopped where its user wants that, and comes back.

    Several control planes may be at addresses that the provider does not know. One whose control plane was removed is
    Missing, and its workers stay as they are.
    """
    if not (life.world.options.lists and birth.is_up and birth.control_planes == 1):
        return False
    return any(one.birth is birth and one.role == CONTROL_PLANE for one in life.world.engine.of(birth.cluster))


def still_running(life: Life, birth: Birth) -> list[str]:
    """Return the containers of a kind cluster that run; a stranger's beside them are none of ours."""
    return [one.name for one in life.world.engine.of(birth.cluster) if one.birth is birth and one.running]


def _is_forestalled(life: Life, container: Container) -> bool:
    """Return whether a container that need not move has the address of a member of etcd.

    A member of another etcd at a wrong address does not work, so it must move.
    """
    if not _needs_its_home(container) or container.address == container.home:
        return False
    engine = container.birth.engine or life.world.engine
    others = (one for one in engine.containers.values() if one.birth is not container.birth)
    return any(
        one.running
        and one.address == container.home
        and not (_needs_its_home(one) and one.address != one.home and one.birth.maker != FOREIGN)
        for one in others
    )


def _needs_its_home(container: Container) -> bool:
    return container.role == CONTROL_PLANE and container.birth.control_planes > 1


def _can_be_repaired(life: Life, obj: Body) -> bool:
    """Return whether the provider can repair the kind cluster with its own knowledge."""
    birth = life.world.birth_of(obj)
    if birth is None or not life.world.options.lists or not birth.is_up or birth.empties or not birth.balancer_knows:
        return False
    engine = birth.engine or life.world.engine
    own = [one for one in engine.of(birth.cluster, unlisted=True) if one.birth is birth]
    # The addresses of several control planes are in the status, which clusterctl does not move.
    knows_homes = birth.control_planes == 1 or birth.maker.startswith(obj["metadata"]["uid"])
    is_whole = _created(own) >= _size(obj, birth) and not _is_shared(life, birth.cluster)
    return knows_homes and is_whole and not any(_is_forestalled(life, one) for one in own)


def _conflicts(life: Life, obj: Body, name: str, birth: Birth | None) -> Iterator[str]:
    world, metadata = life.world, obj["metadata"]
    for other in world.api.all(names.KIND_CLUSTERS):
        if world.pods.has(other):
            continue
        is_other = other["metadata"]["uid"] != metadata["uid"] and wanted_name(life, other) == name
        if is_other and birth is None and _may_be_created(life, other):
            yield f"{name_of(other)} wants the same name"
    theirs = [one for one in world.engine.of(name) if one.birth is not birth and not is_made_for(one.birth, obj)]
    if theirs and birth is None:
        yield "a kind cluster of that name is not ours"
    if birth and any(one.role != WORKER for one in theirs):
        yield EITHER
    yield from _foreign_secrets(life, obj, name)


def _foreign_secrets(life: Life, obj: Body, name: str) -> Iterator[str]:
    world, metadata, owner = life.world, obj["metadata"], owner_of(life, obj)
    secrets = [f"{name}-config", *([f"{owner['metadata']['name']}-kubeconfig"] if owner else [])]
    for secret in secrets:
        stored = world.api.find(names.SECRETS, metadata["namespace"], secret)
        if stored and f"secret {metadata['namespace']}/{secret}" in life.invalid:
            yield f"Secret {secret} is not ours"


def _may_be_created(life: Life, obj: Body) -> bool:
    """Return whether an object holds its name; one that is left alone or waits for an owner does not."""
    if life.world.birth_of(obj):
        return True
    needs_owner = life.world.api.core_version and not obj["spec"].get("standalone")
    return not is_left_alone(life, obj) and not (needs_owner and owner_of(life, obj) is None)


def is_made_for(birth: Birth, obj: Body) -> bool:
    """Return whether a kind cluster has the mark of the object."""
    return birth.maker.startswith(obj["metadata"]["uid"])


def _control_plane(life: Life, owner: Body) -> Body | None:
    reference = owner["spec"]["controlPlaneRef"]
    return life.world.api.find(names.KIND_CONTROL_PLANES, owner["metadata"]["namespace"], reference["name"])


def _has_machines(life: Life, cluster: Body) -> bool:
    wanted = (cluster["metadata"]["namespace"], cluster["metadata"]["name"])
    machines = (one["metadata"] for one in life.world.api.all(names.MACHINES))
    return any((one["namespace"], one["labels"][names.CORE_CLUSTER_NAME_LABEL]) == wanted for one in machines)


def _is_node(container: Container) -> bool:
    """Return whether a container counts as a node; those that are joining do not yet."""
    return container.has_joined or not container.is_added


def _created(own: list[Container]) -> int:
    """Return the number of containers that kind has created."""
    return sum(not one.is_added for one in own)


def _size(obj: Body, birth: Birth) -> int:
    workers = [node for node in obj["spec"].get("nodes") or () if node.get("role") == "worker"]
    return birth.control_planes + (birth.control_planes > 1) + len(workers)


def unsettled(life: Life) -> list[str]:
    """Return the problems that remain after all faults have ended; empty if there are none."""
    found = [problem for obj in life.world.api.all(names.KIND_CLUSTERS) if (problem := _problem(life, obj))]
    # With a watch filter, no provider knows whose engine is left when a finalizer was removed by force.
    excused = life.world.forced if life.world.options.watch_filter else set()
    return [*found, *orphans(life), *_secrets_left(life), *life.world.pods.leftovers(excused)]


def _problem(life: Life, obj: Body) -> str | None:
    conditions, label = life.world.conditions(obj), name_of(obj)
    if obj["metadata"].get("deletionTimestamp"):
        if is_left_alone(life, obj) or names.KIND_CLUSTER_FINALIZER not in (obj["metadata"].get("finalizers") or ()):
            return None
        if may_stay(life, obj):
            return None
        if (birth := life.world.birth_of(obj)) and life.world.engine.is_elsewhere(birth):
            return None
        if _is_unknowable(life, obj) or _may_have_left_containers(life, obj, wanted_name(life, obj)):
            return None
        return f"{label} is still there, long after its deletion: {said(conditions)}"
    why = obstacle(life, obj)
    if why in (UNTOUCHED, EITHER):
        return None
    if why is RESTS and (birth := life.world.birth_of(obj)) and (running := still_running(life, birth)):
        return f"{label} is to be stopped, but {', '.join(running)} run: {said(conditions)}"
    ready = conditions.get(Condition.READY)
    if ready and ready["status"] == "True":
        return f"{label} is Ready, but {why}" if why else _wrong_secret(life, obj) or _uncounted(life, obj)
    if why in (STOPPED, SILENT) and _can_be_repaired(life, obj):
        return f"{label} is not repaired: {said(conditions)}"
    if why is None:
        return f"{label} should be Ready: {said(conditions)}"
    if not any(one["status"] == "False" and one.get("message") for one in conditions.values()):
        return f"{label} says nothing of its trouble ({why}): {said(conditions)}"
    return None


def _is_unknowable(life: Life, obj: Body) -> bool:
    """Return whether another engine answers, and the process that has removed the kind cluster has ended since."""
    annotations, current = obj["metadata"].get("annotations") or {}, life.deployment.current
    removers = [who for _, cluster, who in life.world.engine.removals if cluster == wanted_name(life, obj)]
    is_elsewhere = annotations.get(names.ENGINE_ANNOTATION) not in (None, f"engine-{life.world.engine.number}")
    return is_elsewhere and bool(removers) and current is not None and removers[-1] != current.id


def _may_have_left_containers(life: Life, obj: Body, name: str) -> bool:
    """Return whether the object's last creation had just failed when another engine began to answer."""
    engine, stored = life.world.engine, (obj["metadata"].get("annotations") or {}).get(names.ENGINE_ANNOTATION)
    doubted = {f"engine-{number}" for number, cluster in engine.left_early if cluster == name}
    return stored in doubted and stored != f"engine-{engine.number}"


def _wrong_secret(life: Life, obj: Body) -> str | None:
    birth, name = life.world.birth_of(obj), wanted_name(life, obj)
    secret = life.world.api.find(names.SECRETS, obj["metadata"]["namespace"], f"{name}-config")
    if secret is None:
        return f"{name_of(obj)} is Ready, but Secret {name}-config does not exist"
    text = base64.b64decode((secret.get("data") or {}).get("config") or "").decode(errors="replace")
    if birth and encoded(birth.identity.authority)[:200] not in text.replace("\n      ", ""):
        return f"{name_of(obj)} is Ready, but Secret {name}-config is of another kind cluster"
    if any(word in text for word in ("tokenFile", "exec:", "proxy-url", "insecure", "as:")):
        return f"{name_of(obj)}: Secret {name}-config passes on what the node has put into it"
    return None


def _uncounted(life: Life, obj: Body) -> str | None:
    """A KINDControlPlane shows how many nodes are wanted, whether its user has said so or not."""
    owner = owner_of(life, obj)
    found = _control_plane(life, owner) if owner and "controlPlaneRef" in owner["spec"] else None
    if found is None or is_left_alone(life, found) or (found.get("spec") or {}).get("replicas"):
        return None
    return f"{name_of(obj)} is Ready, but its KINDControlPlane has no replicas"


def _is_shared(life: Life, cluster: str) -> bool:
    """Return whether several owners have nodes with the name: then nothing proves who owns an unmarked container."""
    return any(one.birth.maker == FOREIGN for one in life.world.engine.of(cluster))


def _is_of_forged(life: Life, container: Container) -> bool:
    """Return whether the annotations of the object that a container was made for were edited.

    Without a list of containers they prove whose a creation is that no status calls complete.
    """
    return life.world.names_of.get(container.birth.maker.partition(".")[0]) in life.world.forged


def orphans(life: Life) -> list[str]:
    """Return our containers that belong to no object."""
    world = life.world
    living = set()
    for obj in world.api.all(names.KIND_CLUSTERS):
        living |= {obj["metadata"]["uid"], (obj["metadata"].get("annotations") or {}).get(names.CLAIM_ID_ANNOTATION)}
    excused = world.forced | world.retained | living
    left = [
        container.name
        for container in world.engine.containers.values()
        if container.birth.maker != FOREIGN
        and not (container.role == LOAD_BALANCER and _is_shared(life, container.cluster))
        and not any(uid and container.birth.maker.startswith(uid) for uid in excused)
        and not (_is_of_forged(life, container) and not world.options.lists)
    ]
    return [f"containers of nobody: {', '.join(sorted(left))}"] if left else []


def _secrets_left(life: Life) -> list[str]:
    left = [
        name_of(secret)
        for secret in life.world.api.all(names.SECRETS)
        if names.DIGEST_ANNOTATION in (secret["metadata"].get("annotations") or {})
        and secret["metadata"].get("ownerReferences")
        and not any(
            reference["uid"] in life.world.api.living for reference in secret["metadata"].get("ownerReferences") or ()
        )
    ]
    return [f"Secrets of nobody: {', '.join(left)}"] if left else []


def said(conditions: dict[str, Body]) -> str:
    """Return the conditions that are not True, with their messages."""
    return "; ".join(
        f"{type}={one['status']} {one['reason']} {one.get('message', '')!r}"
        for type, one in conditions.items()
        if one["status"] != "True" and type not in (Condition.PAUSED,)
    )[:600]
