"""A tenant of another namespace gains nothing from another one's cluster by writing annotations."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from capk.api import names
from capk.api.names import CLUSTERS, KIND_CLUSTERS, KIND_CONTROL_PLANES, SECRETS, Reason
from capk.engine.progress import Step
from capk.errors import ApiError, Forbidden
from test.provider.world import OWNER as DEV
from test.provider.world import World, trouble

pytestmark = pytest.mark.virtual_time

IN_THE_WAY = (
    "ERROR: failed to create cluster: docker run error: command failed: docker: Error response from daemon: "
    'Conflict. The container name "/dev-control-plane" is already in use by container "5eed". You have to remove (or '
    "rename) that container to be able to reuse that name."
)

OWNER = {"apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Cluster", "name": "thief", "uid": "uid-of-thief"}


def put_thief(world: World, **annotations: str) -> None:
    """Add a Cluster, its KINDCluster, older than the others, and its KINDControlPlane, in a separate namespace."""
    references = {
        "infrastructureRef": {"kind": "KINDCluster", "name": "thief"},
        "controlPlaneRef": {"kind": "KINDControlPlane", "name": "thief"},
    }
    common: dict[str, Any] = {"name": "thief", "namespace": "tenant"}
    world.kube.put(CLUSTERS, {"metadata": {**common, "uid": OWNER["uid"]}, "spec": references})
    found = {getattr(names, f"{key}_ANNOTATION"): value for key, value in annotations.items()}
    older = {"ownerReferences": [OWNER], "creationTimestamp": "2020-01-01T00:00:00Z"}
    metadata = {**common, **older, "uid": "thief", "annotations": found}
    world.kube.put(KIND_CLUSTERS, {"metadata": metadata, "spec": {"clusterName": "dev"}})
    control_plane = {"metadata": {**common, "ownerReferences": [OWNER]}, "spec": {"version": "v1.36.1"}}
    world.kube.put(KIND_CONTROL_PLANES, control_plane)


def stolen(world: World) -> list[str]:
    return [
        name for plural, namespace, name in world.kube.objects if plural == SECRETS.plural and namespace == "tenant"
    ]


async def test_cluster_of_a_living_object_is_not_adopted_while_it_is_made(tmp_path):
    """Its owner is not provisioned yet, so a forged claim of an older object counts as much as the true one."""
    world = World(tmp_path, capi="v1beta2")
    world.kind.create_seconds = 60.0
    async with world.running():
        world.add_owned()
        await world.creating()
        owner = world.get()["metadata"]["uid"]
        put_thief(world, CLAIM="dev", CLAIM_ID="thief", IDENTITY="sha256:forged", ADOPT=owner)
        await world.ready()
        assert stolen(world) == []
        assert world.reason("thief", "tenant") == "NameConflict"


async def test_adopted_cluster_of_a_living_object_is_not_adopted_again(tmp_path):
    world = World(tmp_path, capi="v1beta2")
    world.engine.run_node("dev-control-plane")

    def refuse(verb: str, resource: Any, name: str, body: Any) -> ApiError | None:
        is_owners = verb == "create" and resource is SECRETS and name == "dev-config"
        return Forbidden(verb, "secrets", 403, "exceeded quota") if is_owners else None

    world.kube.refuse = refuse
    async with world.running():
        world.add_owned()
        world.annotate(ADOPT="true")
        await world.until(lambda: world.get()["metadata"]["annotations"].get(names.CLAIM_ANNOTATION) is not None)
        put_thief(world, CLAIM="dev", CLAIM_ID="thief", IDENTITY="sha256:forged", ADOPT="true")
        await asyncio.sleep(60)
        assert stolen(world) == []
        world.kube.refuse = None
        await world.ready()


async def test_adopted_cluster_that_the_status_shows_is_not_an_older_objects_with_the_same_claim(tmp_path):
    """The claim to an adopted cluster is the id of a container, which everyone who reads the annotations knows."""
    world = World(tmp_path, capi="v1beta2")
    container = world.engine.run_node("dev-control-plane")

    def refuse(verb: str, resource: Any, name: str, body: Any) -> ApiError | None:
        is_owners = verb == "create" and resource is SECRETS and body["metadata"]["namespace"] == "default"
        return Forbidden(verb, "secrets", 403, "exceeded quota") if is_owners else None

    world.kube.refuse = refuse
    async with world.running():
        world.add_owned()
        world.annotate(ADOPT="true")
        await world.until(lambda: world.condition("ClusterCreated")[0] == "True")
        put_thief(world, CLAIM="dev", CLAIM_ID=container, IDENTITY="sha256:forged")
        await asyncio.sleep(60)
        assert stolen(world) == []
        world.kube.refuse = None
        await world.ready()


@pytest.mark.parametrize("others", [["dev-worker"], ["dev-control-plane2", "dev-external-load-balancer"]])
async def test_adopted_cluster_is_nobody_elses_who_claims_another_of_its_containers(tmp_path, others):
    """Each container that nobody marked has an id that a claim may name; several objects may name one each."""
    world = World(tmp_path, capi="v1beta2")
    container = [world.engine.run_node(name) for name in ("dev-control-plane", *others)][1]
    async with world.running():
        world.add_owned()
        world.annotate(ADOPT="true")
        await world.ready()
        put_thief(world, CLAIM="dev", CLAIM_ID=container, IDENTITY="sha256:forged")
        await world.until(lambda: world.reason("thief", "tenant") == "NameConflict")
        await asyncio.sleep(60)
        assert stolen(world) == []
        assert world.reason() == "Ready"
        finalizers = [names.KIND_CLUSTER_FINALIZER]
        world.kube.edit(KIND_CLUSTERS, "thief", {"metadata": {"finalizers": finalizers}}, "tenant")
        world.delete("thief", "tenant")
        await world.until(lambda: world.get("thief", "tenant") is None)
        assert world.engine.called("remove") == []
        world.delete()
        await world.gone()
        assert world.engine.of("dev") == []


@pytest.mark.parametrize("identity", ["unread", "sha256:forged"])
async def test_without_an_engine_command_a_forged_claim_gets_nothing_of_a_cluster_that_is_made(tmp_path, identity):
    world = World(tmp_path, capi="v1beta2", engine_lists=False)
    world.kind.create_seconds = 60.0
    async with world.running():
        world.add_owned()
        await world.creating()
        put_thief(world, CLAIM="dev", CLAIM_ID="thief", IDENTITY=identity)
        await world.ready()
        assert stolen(world) == []


async def test_without_an_engine_command_a_forged_claim_gets_nothing_of_a_cluster_that_is_up(tmp_path):
    world = World(tmp_path, capi="v1beta2", engine_lists=False)
    async with world.running():
        world.add_owned()
        await world.ready()
        put_thief(world, CLAIM="dev", CLAIM_ID="thief", IDENTITY="unread")
        await world.until(lambda: world.reason("thief", "tenant") != "")
        assert stolen(world) == []
        assert world.reason("thief", "tenant") == "NameConflict"
        world.delete("thief", "tenant")
        await world.until(lambda: world.get("thief", "tenant") is None)
        assert world.engine.called("delete") == []
        assert world.engine.of("dev")


@pytest.mark.parametrize("identity", ["", "unread", "sha256:forged"])
async def test_without_an_engine_command_no_forged_claim_deletes_a_cluster_that_cannot_be_read(tmp_path, identity):
    world = World(tmp_path, capi="v1beta2", engine_lists=False)
    async with world.running():
        world.add_owned()
        await world.ready()
        world.kind.kubeconfigs = [trouble("ERROR: container is not running") for _ in range(1000)]
        put_thief(world, CLAIM="dev", CLAIM_ID="thief", IDENTITY=identity)
        finalizers = [names.KIND_CLUSTER_FINALIZER]
        world.kube.edit(KIND_CLUSTERS, "thief", {"metadata": {"finalizers": finalizers}}, "tenant")
        await asyncio.sleep(5)
        world.delete("thief", "tenant")
        await asyncio.sleep(120)
        assert world.engine.called("delete") == []
        assert world.engine.of("dev")
        assert world.reason() == "Ready"


@pytest.mark.parametrize("end", ["it stays", "it is deleted", "it vanishes"])
async def test_without_an_engine_command_nothing_is_removed_where_a_container_was_in_the_way(tmp_path, end):
    """kind would remove all containers of that name, and so the nodes of a stranger who was quicker."""
    world = World(tmp_path, engine_lists=False)
    world.kind.creates = [trouble(IN_THE_WAY)]
    async with world.running():
        world.add()
        await world.until(lambda: world.reason() == "NameConflict")
        if end == "it is deleted":
            world.delete()
            await world.gone()
        elif end == "it vanishes":
            world.vanish()
        await asyncio.sleep(900)
        assert world.engine.called("delete") == []
        assert world.engine.of("dev")


@pytest.mark.parametrize("end", ["it is deleted", "it is edited", "it is paused for a while"])
async def test_without_an_engine_command_nothing_is_removed_for_a_creation_that_only_waited(tmp_path, end):
    """A person has made a kind cluster of that name meanwhile."""
    world = World(tmp_path, engine_lists=False, max_concurrent_creates=1)
    world.kind.create_seconds = 60.0
    async with world.running():
        world.add("first")
        await world.until(lambda: world.engine.called("create") != [])
        world.add()
        await world.until(lambda: world.reason() == "Queued")
        theirs = world.engine.run_node("dev-control-plane")
        if end == "it is deleted":
            world.delete()
            await world.gone()
        elif end == "it is edited":
            world.kube.edit(KIND_CLUSTERS, "dev", {"spec": {"image": "kindest/node:v1.35.0"}})
        else:
            world.kube.edit(KIND_CLUSTERS, "dev", {"metadata": {"annotations": {names.PAUSED_ANNOTATION: ""}}})
            await asyncio.sleep(200)
            world.kube.edit(KIND_CLUSTERS, "dev", {"metadata": {"annotations": {names.PAUSED_ANNOTATION: None}}})
        await asyncio.sleep(300)
        assert world.engine.called("delete") == []
        assert theirs in world.engine.containers


NO_IMAGE = 'ERROR: failed to create cluster: failed to pull image "kindest/node:v1.36.1": manifest unknown'


@pytest.mark.parametrize("end", ["it stays", "it is deleted", "it vanishes", "the provider restarts"])
async def test_without_an_engine_command_a_creation_that_left_nothing_gives_no_right_to_the_name(tmp_path, end):
    """A person who waits for the image in vain makes a kind cluster of that name by hand."""
    world = World(tmp_path, engine_lists=False)

    async def fails(name: str, config: Any, *, on_step: Callable[[Step], None], **_: Any) -> str:
        world.engine.note("create", name)
        if world.engine.of(name):
            raise trouble(
                f'ERROR: failed to create cluster: node(s) already exist for a cluster with the name "{name}"'
            )
        on_step(Step(Reason.ENSURING_NODE_IMAGE, "Ensuring node image"))
        await asyncio.sleep(1)
        raise trouble(NO_IMAGE)

    world.kind.create_cluster = fails
    async with world.running():
        world.add()
        await world.until(lambda: len(world.engine.called("create")) == 3)
        await asyncio.sleep(6)
        assert world.reason() == "ImageNotFound"
        if end != "the provider restarts":
            await _nothing_of_a_person_goes(world, end)
    if end == "the provider restarts":
        async with world.running():
            await _nothing_of_a_person_goes(world, end)


async def test_without_an_engine_command_a_cluster_that_a_person_makes_while_kind_pulls_an_image_stays(tmp_path):
    world = World(tmp_path, engine_lists=False)

    async def pulls(name: str, config: Any, *, on_step: Callable[[Step], None], **_: Any) -> str:
        world.engine.note("create", name)
        on_step(Step(Reason.ENSURING_NODE_IMAGE, "Ensuring node image"))
        await asyncio.sleep(60)
        raise trouble(NO_IMAGE)

    world.kind.create_cluster = pulls
    async with world.running():
        world.add()
        await world.until(lambda: world.engine.called("create") != [])
        await _nothing_of_a_person_goes(world, "it stays")


async def _nothing_of_a_person_goes(world: World, end: str) -> None:
    theirs = world.engine.run_node("dev-control-plane")
    if end == "it is deleted":
        world.delete()
        await world.gone()
    elif end == "it vanishes":
        world.vanish()
    await asyncio.sleep(900)
    assert world.engine.called("delete") == []
    assert theirs in world.engine.containers
    assert end not in ("it stays", "the provider restarts") or world.reason() == "NameConflict"


async def test_containers_go_though_the_claim_names_another_cluster(tmp_path):
    world = World(tmp_path)
    async with world.running():
        world.add()
        await world.ready()
        world.annotate(CLAIM="another")
        world.delete()
        await world.gone()
        assert world.engine.containers == {}


async def test_removal_of_a_half_made_cluster_whose_attempt_is_not_known_does_not_spin(tmp_path):
    world = World(tmp_path)
    world.kind.create_seconds = 60.0
    async with world.running():
        world.add()
        await world.creating()
    world.annotate(ATTEMPT=None)
    async with world.running():
        before = world.kube.requests
        looks, nodes = [], world.containers.nodes

        async def counted(cluster=None):
            looks.append(1)
            return await nodes(cluster)

        world.containers.nodes = counted
        await asyncio.sleep(60)
        assert world.kube.requests - before < 60
        assert len(looks) < 60
        assert "a later attempt" in world.condition("Ready")[2]
        world.delete()
        await world.gone()
        assert world.engine.containers == {}


async def test_deletion_goes_on_though_the_finalizer_was_taken_off(tmp_path):
    world = World(tmp_path)
    world.containers.remove_seconds = 20.0
    world.containers.removes = [trouble("the engine is busy")]
    async with world.running():
        world.add()
        await world.ready()
        world.delete()
        await world.until(lambda: world.engine.called("remove") != [])
        world.vanish()
        await asyncio.sleep(120)
        assert world.engine.containers == {}
        assert len(world.app.records) == 0


async def test_control_plane_of_someone_else_is_not_read_through_an_own_worker(tmp_path):
    world = World(tmp_path)
    world.engine.run_node("dev-control-plane", mark="another.1")
    world.engine.run_node("dev-worker", mark="own.1")
    annotations = {
        names.CLAIM_ANNOTATION: "dev",
        names.CLAIM_ID_ANNOTATION: "own",
        names.IDENTITY_ANNOTATION: "sha256:x",
    }
    async with world.running():
        world.add(uid="own", annotations=annotations)
        await asyncio.sleep(60)
        assert world.engine.called("kubeconfig") == []
        assert [key for key in world.kube.objects if key[0] == SECRETS.plural] == []


async def test_copied_owner_reference_deletes_no_secret_of_the_cluster(tmp_path):
    world = World(tmp_path, capi="v1beta2")
    async with world.running():
        world.add_owned()
        await world.ready()
        before = world.kube.find(SECRETS, "dev-kubeconfig")["metadata"]["uid"]
        world.add("copy", spec={"clusterName": "dev"}, ownerReferences=[DEV], finalizers=[names.KIND_CLUSTER_FINALIZER])
        await world.until(lambda: world.reason("copy") == "NameConflict")
        world.delete("copy")
        await world.until(lambda: world.get("copy") is None)
        assert world.kube.find(SECRETS, "dev-kubeconfig")["metadata"]["uid"] == before


FORGERIES = [
    {"CLAIM": "dev"},
    {"CLAIM": "dev", "IDENTITY": ""},
    {"CLAIM": "dev", "IDENTITY": "", "ATTEMPT": "1"},
    {"CLAIM": "dev", "IDENTITY": "unread", "ATTEMPT": "1"},
    {"CLAIM": "dev", "IDENTITY": "sha256:forged"},
    {"CLAIM": "dev", "IDENTITY": "sha256:forged", "CLAIM_ID": "uid-of-nobody"},
]


@pytest.mark.parametrize("readable", [True, False], ids=["it runs", "it is stopped"])
@pytest.mark.parametrize("forged", FORGERIES, ids=str)
async def test_without_an_engine_command_no_annotation_deletes_the_cluster_of_a_person(tmp_path, forged, readable):
    """That no object claims: a person made it with kind."""
    world = World(tmp_path, engine_lists=False)
    if not readable:
        world.kind.kubeconfigs = [trouble("ERROR: the container is not running")] * 1000
    async with world.running():
        theirs = world.engine.run_node("dev-control-plane")
        await asyncio.sleep(20)
        put_thief(world, **forged)
        await asyncio.sleep(120)
        assert world.condition("ClusterCreated", "thief", "tenant")[0] == "False"
        assert stolen(world) == []
        world.delete("thief", "tenant")
        await asyncio.sleep(600)
        assert world.engine.called("delete") == []
        assert list(world.engine.containers) == [theirs]


async def test_without_an_engine_command_the_rest_of_an_interrupted_creation_is_removed_after_a_restart(tmp_path):
    """The status shows that it began, also in its first second."""
    world = World(tmp_path, engine_lists=False)
    async with world.killed():
        world.add()
        await world.until(lambda: world.engine.called("create") != [])
        await asyncio.sleep(0.3)
    async with world.running():
        await world.ready()
        assert world.engine.called("delete")
