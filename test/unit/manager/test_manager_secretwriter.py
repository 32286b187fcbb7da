"""Existing Secrets, written or edited by anyone."""

import asyncio
from typing import Any

import pytest

from capk.api import names
from capk.api.names import SECRETS
from capk.errors import ApiError, Conflict, Forbidden, NotFound, Unreachable
from capk.manager.facts import project_secret, secret_facts
from capk.manager.observe import FOREIGN_SECONDS, ForeignSecrets
from capk.manager.secretwriter import ForeignSecret, SecretWriter
from capk.plan.secrets import differs, wanted_config_secret, wanted_kubeconfig_secret
from test.unit.plan.builders import ACCESS, kindcluster
from test.unit.recording_kube import RecordingKube
from test.unit.virtual_time import now

pytestmark = pytest.mark.virtual_time

CLUSTER = kindcluster()
WANTED = wanted_config_secret(CLUSTER, "dev", ACCESS.external)
THEIRS = {"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "theirs"}


class World:
    def __init__(self) -> None:
        self.kube = RecordingKube()
        self.foreign = ForeignSecrets(self.kube, now)
        self.writer = SecretWriter(self.kube, self.foreign)

    def there(self, **metadata: Any) -> dict[str, Any]:
        """Store our Secret with metadata that differs, as someone has edited it."""
        return self.kube.put(SECRETS, {**WANTED, "metadata": {**WANTED["metadata"], **metadata}})

    def stored(self) -> dict[str, Any]:
        return self.kube.objects["secrets", "default", "dev-config"]


def facts(raw: Any) -> Any:
    return secret_facts(project_secret(raw))


@pytest.fixture
async def world() -> World:
    return World()


async def test_new_secret_is_created_in_one_write(world):
    answer = await world.writer.write(WANTED, None)
    assert [verb for verb, *_ in world.kube.writes] == ["create"]
    assert not differs(WANTED, facts(answer))


@pytest.mark.rule("C14")
async def test_secret_of_someone_else_is_left_alone_for_a_while(world):
    theirs = world.kube.put(
        SECRETS, {"metadata": {"name": "dev-config", "namespace": "default"}, "data": {"a": "eA=="}}
    )
    with pytest.raises(ForeignSecret, match="default/dev-config"):
        await world.writer.write(WANTED, None)
    assert world.stored() == theirs
    assert await world.foreign.among("default", ["dev-config", "x"]) == {"dev-config"}
    assert await world.foreign.among("other", ["dev-config"]) == frozenset()


async def test_name_is_looked_at_again_now_and_then_until_it_is_free(world):
    wanted = ["dev-config"]
    theirs = {"metadata": {"name": "dev-config", "namespace": "default"}, "data": {"a": "eA=="}}
    world.kube.put(SECRETS, theirs)
    world.foreign.found("default", "dev-config")
    world.foreign.freed("default", "dev-config")
    assert await world.foreign.among("default", wanted) == frozenset()
    world.foreign.found("default", "dev-config")
    await asyncio.sleep(FOREIGN_SECONDS + 1)
    assert await world.foreign.among("default", wanted) == {"dev-config"}
    await world.kube.delete(SECRETS, "default", "dev-config")
    assert await world.foreign.among("default", wanted) == {"dev-config"}, "it was looked at a moment ago"
    world.foreign.expire()
    assert await world.foreign.among("default", wanted) == frozenset()


async def test_name_that_nothing_wants_any_more_is_forgotten(world):
    """Objects come and go, and no watch reports Secrets of others."""
    for name in ("dev-config", "gone-config"):
        world.kube.put(SECRETS, {"metadata": {"name": name, "namespace": "default"}, "data": {}})
        world.foreign.found("default", name)
    for _ in range(2):
        world.foreign.expire()
        assert await world.foreign.among("default", ["dev-config"]) == {"dev-config"}
    assert await world.foreign.among("default", ["gone-config"]) == frozenset()


async def test_name_that_may_not_be_read_stays_taken(world):
    """Otherwise the object could not even be deleted."""
    world.foreign.found("default", "dev-config")
    world.foreign.expire()
    world.kube.fail = [Forbidden("get", "secrets default/dev-config", 403, "not allowed")]
    assert await world.foreign.among("default", ["dev-config"]) == {"dev-config"}


@pytest.mark.parametrize("lost", [{"labels": {}}, {"annotations": {}}, {"ownerReferences": []}])
async def test_secret_that_lost_one_of_our_traces_is_known_by_the_others(world, lost):
    world.there(**lost)
    answer = await world.writer.write(WANTED, None)
    assert not differs(WANTED, facts(answer))


async def test_key_that_someone_put_in_goes(world):
    edited = world.there()
    edited["data"] = {**edited["data"], "value": "eA=="}
    answer = await world.writer.write(WANTED, facts(world.kube.put(SECRETS, edited)))
    assert answer["data"] == WANTED["data"]


async def test_new_controller_takes_the_place_of_the_old_and_other_owners_stay(world):
    before = world.there(ownerReferences=[CLUSTER.owner_reference(controller=True), THEIRS])
    wanted = wanted_config_secret(kindcluster(uid="another", name="other"), "dev", ACCESS.external)
    answer = await world.writer.write(wanted, facts(before))
    references = answer["metadata"]["ownerReferences"]
    assert [one["uid"] for one in references] == ["another", "theirs"]
    assert sum(bool(one.get("controller")) for one in references) == 1


async def test_labels_of_others_stay(world):
    before = world.there(labels={**WANTED["metadata"]["labels"], "backup": "no"}, annotations={"backup": "no"})
    answer = await world.writer.write(WANTED, facts(before))
    assert answer["metadata"]["labels"]["backup"] == answer["metadata"]["annotations"]["backup"] == "no"
    assert not differs(WANTED, facts(answer))


async def test_owners_that_are_too_much_to_remember_stay(world):
    large = [{**THEIRS, "uid": f"theirs-{number}", "name": "x" * 100_000} for number in range(3)]
    before = world.there(ownerReferences=[*large, CLUSTER.owner_reference(controller=True)])
    assert not differs(WANTED, facts(before))
    wanted = wanted_config_secret(kindcluster(uid="another", name="other"), "dev", ACCESS.external)
    answer = await world.writer.write(wanted, facts(before))
    owner, *others = answer["metadata"]["ownerReferences"]
    assert (owner["uid"], others) == ("another", large)


async def test_secret_that_changed_meanwhile_is_a_conflict_and_stays(world):
    seen = facts(world.there())
    world.there(labels={"new": "label"})
    with pytest.raises(Conflict):
        await world.writer.write(WANTED, seen)
    assert world.stored()["metadata"]["labels"] == {"new": "label"}


async def test_namesake_that_was_created_again_is_a_conflict(world):
    seen = facts(world.there())
    world.there(uid="another")
    with pytest.raises(Conflict):
        await world.writer.write(WANTED, seen)


GONE = NotFound("patch", "secrets default/dev-config", 404, "not found")


async def test_secret_that_was_deleted_unseen_is_created_again(world):
    """The watch may have broken off before the deletion."""
    seen = facts(world.there())
    await world.kube.delete(SECRETS, "default", "dev-config")
    answer = await world.writer.write(WANTED, seen)
    assert not differs(WANTED, facts(answer))
    assert world.stored()["data"] == WANTED["data"]


@pytest.mark.parametrize("second", [None, Unreachable("get", "secrets default/dev-config", 404, "no such route")])
async def test_secret_is_created_again_only_if_the_api_server_confirms_that_it_is_gone(world, second):
    """The answer to the patch alone may be that of a replica of the API server that is behind."""
    there = world.there()
    world.kube.fail = [GONE] if second is None else [GONE, second]
    with pytest.raises(NotFound if second is None else Unreachable):
        await world.writer.write(WANTED, facts(there))
    assert world.stored() == there


async def test_name_that_someone_else_took_meanwhile_is_left_alone(world):
    seen = facts(world.there())
    theirs = {"metadata": {"name": "dev-config", "namespace": "default"}, "data": {"a": "eA=="}}
    await world.kube.delete(SECRETS, "default", "dev-config")
    create = world.kube.create

    async def late(*arguments: Any) -> Any:
        world.kube.put(SECRETS, theirs)
        return await create(*arguments)

    world.kube.create = late
    with pytest.raises(ForeignSecret):
        await world.writer.write(WANTED, seen)
    assert world.stored()["data"] == theirs["data"]


@pytest.mark.parametrize(
    "said", ["data: Forbidden: field is immutable when `immutable` is set", "type: Invalid value: field is immutable"]
)
async def test_secret_that_cannot_be_changed_is_a_refusal_with_the_servers_words(world, said):
    before = facts(world.there())
    world.kube.fail = [ApiError("patch", "secrets default/dev-config", 422, said)]
    with pytest.raises(ApiError) as refused:
        await world.writer.write(WANTED, before)
    assert (refused.value.is_refusal, refused.value.message) == (True, said)


async def test_type_is_part_of_what_is_written(world):
    wanted = wanted_kubeconfig_secret(CLUSTER, "dev", "dev", ACCESS.external)
    metadata = {**wanted["metadata"], "annotations": {}}
    world.kube.put(SECRETS, {**wanted, "metadata": metadata, "type": "Opaque"})
    answer = await world.writer.write(wanted, None)
    assert answer["type"] == names.SECRET_TYPE
