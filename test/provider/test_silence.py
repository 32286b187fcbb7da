"""What keeps the provider from its work for long is shown in the object, with its cause and the next step."""

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

import pytest

from capk.api import names
from capk.api.names import CLUSTERS, EVENTS, KIND_CLUSTERS, KIND_CONTROL_PLANES, SECRETS, Resource
from capk.errors import ApiError, Conflict, Forbidden, NotFound
from test.provider.world import OWNER, World, quiet
from test.unit.plan.builders import FINALIZER

pytestmark = pytest.mark.virtual_time

WORDS = "Operation cannot be fulfilled: the object has been modified"
TEN_MINUTES = 600


def conflict(*verbs: str, resource: Resource, field: str = "") -> Any:
    """Answer writes of a kind with a conflict, or only patches that touch a field."""

    def judge(verb: str, written: Resource, name: str, body: Any) -> ApiError | None:
        if written is not resource or verb not in verbs:
            return None
        paths = [operation["path"] for operation in body if operation["op"] != "test"] if verb == "patch" else [field]
        return Conflict(verb, written.plural, 409, WORDS) if any(path.startswith(field) for path in paths) else None

    return judge


def all_events(world: World) -> list[dict[str, Any]]:
    return [obj for (plural, _, _), obj in world.kube.objects.items() if plural == EVENTS.plural]


def refuse_reads(world: World, resource: Resource, error: ApiError) -> Callable[[], None]:
    """Refuse to hand out objects of a kind; return what ends it."""
    original = world.kube.get

    async def get(asked: Resource, namespace: str | None, name: str) -> dict[str, Any]:
        if asked.plural == resource.plural:
            raise error
        return await original(asked, namespace, name)

    world.kube.get = get  # type: ignore[method-assign]
    return lambda: setattr(world.kube, "get", original)


@pytest.mark.rule("C20")
class TestLastingConflict:
    async def test_on_the_claim_is_shown_and_nothing_is_made(self, tmp_path):
        world = World(tmp_path)
        world.kube.refuse = conflict("patch", resource=KIND_CLUSTERS, field="/metadata")
        async with world.running():
            world.add()
            await world.until(lambda: world.reason() == "WriteRefused", TEN_MINUTES)
            assert WORDS in world.condition("Ready")[2]
            assert "conflicts with another write" in world.condition("Ready")[2]
            assert await quiet(world, 3000) < 60
            assert world.engine.called("create") == []
            world.kube.refuse = None
            await world.until(lambda: world.reason() == "Ready", TEN_MINUTES)

    @pytest.mark.parametrize("verbs", [("create",), ("create", "patch")])
    async def test_on_a_secret_is_shown_and_does_not_stop_the_rest(self, tmp_path, verbs):
        """A name that exists for a write and does not for a read is nobody's."""
        world = World(tmp_path)
        world.kube.refuse = conflict(*verbs, resource=SECRETS)
        async with world.running():
            world.add()
            await world.until(lambda: world.reason() == "WriteRefused", TEN_MINUTES)
            assert "Secret dev-config" in world.condition("KubeconfigAvailable")[2]
            assert await quiet(world, 3000) < 60
            world.kube.refuse = None
            await world.until(lambda: world.reason() == "Ready", TEN_MINUTES)

    @pytest.mark.rule("C23")
    async def test_on_the_deletion_of_a_secret_is_shown_and_the_object_stays(self, tmp_path):
        world = World(tmp_path)
        async with world.running():
            world.add()
            await world.ready()
            world.kube.refuse = conflict("delete", resource=SECRETS)
            world.delete()
            await world.until(lambda: world.condition("Deleting")[1] == "WriteRefused", TEN_MINUTES)
            assert WORDS in world.condition("Deleting")[2]
            assert world.get()["metadata"]["finalizers"] == FINALIZER
            world.kube.refuse = None
            await world.until(lambda: world.get() is None, TEN_MINUTES)

    async def test_on_several_secrets_is_one_condition_and_not_a_change_between_two(self, tmp_path):
        world = World(tmp_path, capi="v1beta2")
        async with world.running():
            world.add_owned(control_plane=False)
            await world.ready()
            world.kube.refuse = conflict("delete", resource=SECRETS)
            world.delete()
            await world.until(lambda: world.condition("Deleting")[1] == "WriteRefused", TEN_MINUTES)
            await asyncio.sleep(TEN_MINUTES)
            assert "Secret dev-config" in world.condition("Deleting")[2]
            assert "Secret dev-kubeconfig" in world.condition("Deleting")[2]
            assert "NotReconciled" not in [event["reason"] for event in all_events(world)]

    @pytest.mark.rule("C23")
    async def test_on_the_finalizer_is_shown(self, tmp_path):
        world = World(tmp_path)
        async with world.running():
            world.add()
            await world.ready()
            world.kube.refuse = conflict("patch", resource=KIND_CLUSTERS, field="/metadata")
            world.delete()
            await world.until(lambda: world.condition("Deleting")[1] == "WriteRefused", TEN_MINUTES)
            assert await quiet(world, 3000) < 60

    async def test_on_the_status_is_an_event(self, tmp_path, caplog):
        world = World(tmp_path)
        world.kube.refuse = conflict("patch", resource=KIND_CLUSTERS, field="/status")
        async with world.running():
            world.add()
            await world.until(lambda: any(WORDS in event["message"] for event in all_events(world)), TEN_MINUTES)
            assert await quiet(world, 3000) < 300
            assert any(WORDS in record.message and record.levelname == "WARNING" for record in caplog.records)
            world.kube.refuse = None
            await world.until(lambda: world.reason() == "Ready", TEN_MINUTES)

    async def test_one_conflict_is_no_news(self, tmp_path):
        world = World(tmp_path)
        async with world.running():
            world.add()
            await world.ready()
            answers = iter([Conflict("create", "secrets", 409, WORDS)])
            world.kube.refuse = lambda verb, resource, *_: next(answers, None) if resource is SECRETS else None
            world.kube.edit(SECRETS, "dev-config", {"data": {"config": "eA=="}})
            await asyncio.sleep(60)
            assert next(answers, None) is None
            assert world.reason() == "Ready"
            assert "WriteRefused" not in world.history()


@pytest.mark.rule("C20")
class TestUnreadableCluster:
    """The owner Cluster is not in the cache, and the API server refuses to hand it out."""

    REFUSED = Forbidden("get", "clusters default/dev", 403, "clusters.cluster.x-k8s.io is forbidden")

    async def test_it_is_the_shown_cause_for_as_long_as_it_lasts(self, tmp_path):
        world = World(tmp_path, capi="v1beta2")
        over = refuse_reads(world, CLUSTERS, self.REFUSED)
        async with world.running():
            world.add(ownerReferences=[OWNER])
            world.add_control_plane()
            for kind, resource in (("Ready", KIND_CLUSTERS), ("Available", KIND_CONTROL_PLANES)):
                await world.until(lambda: world.condition(kind, resource=resource)[2] != "", TEN_MINUTES)  # noqa: B023
                condition = world.condition(kind, resource=resource)
                assert condition[:2] == ("Unknown", "NotReconciled")
                assert "clusters.cluster.x-k8s.io is forbidden" in condition[2]
                assert "capk doctor" in condition[2]
            assert await quiet(world, 3000) < 60
            over()
            owner = {"name": "dev", "namespace": "default", "uid": OWNER["uid"]}
            references = {"infrastructureRef": {"kind": "KINDCluster", "name": "dev"}}
            world.kube.put(CLUSTERS, {"metadata": owner, "spec": references})
            await world.until(lambda: world.reason() == "Ready", TEN_MINUTES)

    @pytest.mark.rule("C23")
    async def test_deletion_shows_it_too(self, tmp_path):
        world = World(tmp_path, capi="v1beta2")
        refuse_reads(world, CLUSTERS, self.REFUSED)
        async with world.running():
            world.add(ownerReferences=[OWNER], finalizers=FINALIZER)
            world.delete()
            await world.until(lambda: world.condition("Deleting")[1] == "NotReconciled", TEN_MINUTES)
            assert world.get()["metadata"]["finalizers"] == FINALIZER

    @pytest.mark.rule("C6", "C7")
    @pytest.mark.parametrize("mark", ["PAUSED", "MANAGED_BY"])
    async def test_object_that_is_left_alone_is_not_written(self, tmp_path, mark):
        world = World(tmp_path, capi="v1beta2")
        refuse_reads(world, CLUSTERS, self.REFUSED)
        async with world.running():
            annotations = {getattr(names, f"{mark}_ANNOTATION"): ""}
            world.add(ownerReferences=[OWNER], annotations=annotations)
            await asyncio.sleep(TEN_MINUTES)
            assert world.kube.written(KIND_CLUSTERS) == 0


async def test_error_that_nobody_expected_is_shown_without_its_text(tmp_path):
    world = World(tmp_path, capi="v1beta2")
    refuse_reads(world, CLUSTERS, ValueError("token=abc"))  # type: ignore[arg-type]
    async with world.running():
        world.add(ownerReferences=[OWNER])
        await world.until(lambda: world.reason() == "NotReconciled", TEN_MINUTES)
        assert "ValueError" in world.condition("Ready")[2]
        assert "abc" not in world.condition("Ready")[2]


async def test_secret_in_a_namespace_that_is_not_found_is_shown(tmp_path):
    world = World(tmp_path)
    async with world.running():
        world.kube.refuse = lambda verb, resource, *_: (
            NotFound(verb, "secrets", 404, 'namespaces "default" not found') if resource is SECRETS else None
        )
        world.add()
        await world.until(lambda: world.reason() == "WriteRefused", TEN_MINUTES)
        assert "not found" in world.condition("Ready")[2]


@pytest.mark.rule("C8")
async def test_refused_events_stop_nothing(tmp_path):
    world = World(tmp_path)
    world.kube.refuse = lambda verb, resource, *_: (
        Forbidden(verb, "events", 403, "events is forbidden") if resource is EVENTS else None
    )
    async with world.running():
        world.add()
        await world.ready()
        world.delete()
        await world.until(lambda: world.get() is None)


@pytest.mark.rule("C46")
async def test_refused_replicas_of_a_control_plane_are_shown(tmp_path):
    world = World(tmp_path, capi="v1beta2")

    def refuse(verb: str, resource: Resource, name: str, body: Any) -> ApiError | None:
        is_spec = verb == "patch" and any(one["path"].startswith("/spec") for one in body if one["op"] != "test")
        is_refused = resource is KIND_CONTROL_PLANES and is_spec
        return Forbidden(verb, "kindcontrolplanes", 403, "not on my watch") if is_refused else None

    world.kube.refuse = refuse
    async with world.running():
        world.add_owned()
        await world.ready()
        status, _, message = world.condition("Available", resource=KIND_CONTROL_PLANES)
        assert status == "True"
        assert "spec.replicas: not on my watch" in message


class TestControlPlaneWithoutAnOwner:
    @pytest.mark.rule("C41")
    async def test_it_says_what_it_waits_for(self, tmp_path):
        world = World(tmp_path, capi="v1beta2")
        async with world.running():
            world.add_control_plane(ownerReferences=[])
            await world.until(lambda: world.condition("Available", resource=KIND_CONTROL_PLANES)[0] == "False")
            _, reason, message = world.condition("Available", resource=KIND_CONTROL_PLANES)
            assert reason == "WaitingForCluster"
            assert "Create a Cluster whose controlPlaneRef names it" in message
            assert await quiet(world, TEN_MINUTES) < 30

    async def test_cluster_that_does_not_exist_is_named(self, tmp_path):
        world = World(tmp_path, capi="v1beta2")
        async with world.running():
            world.add_control_plane()
            await world.until(lambda: "Cluster dev" in world.condition("Available", resource=KIND_CONTROL_PLANES)[2])


async def test_status_that_is_written_before_each_failure_makes_no_loop_with_related_objects(tmp_path):
    """The two statuses would alternate, and the KINDControlPlane would follow each change and wake the KINDCluster."""
    world = World(tmp_path, capi="v1beta2")
    async with world.running():
        world.add_owned()
        await world.ready()
        answers = itertools.count()

        async def fail(*arguments: Any) -> Any:
            raise Conflict("delete", "secrets", 409, f"{WORDS} {next(answers)}")

        world.app.reconciler._writers["KINDCluster"].finish_deletion = fail  # type: ignore[method-assign]
        world.delete()
        await world.until(lambda: world.condition("Deleting")[1] == "NotReconciled", TEN_MINUTES)
        assert await quiet(world, TEN_MINUTES) < 100
