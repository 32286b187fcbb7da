"""The authority of the certificates of engines in Pods: what a KINDCluster shows if someone edits or replaces it."""

import asyncio
import base64
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from capk.api.names import EVENTS, KIND_ENGINE_CLASSES, SECRETS
from capk.engine.certificates import new_authority
from capk.manager.enginekeys import AUTHORITY_SECRET
from test.provider.podworld import NAMESPACE, PodWorld
from test.provider.world import trouble

pytestmark = pytest.mark.virtual_time

ENGINE = "kc-0a1b2c3d4e5f4a6b"
SECRET = f"Secret default/{AUTHORITY_SECRET}"
KEY = SECRETS.plural, "default", AUTHORITY_SECRET
DISTRUST = trouble(
    'error during connect: Get "https://kc-0a1b.capkind-engines.svc:2376/v1.24/version": tls: failed to verify '
    "certificate: x509: certificate signed by unknown authority",
    "docker",
    "ps",
)


@pytest.fixture(params=[False, True], ids=["without a volume", "with a volume"])
def has_volume(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def world(tmp_path: Path, has_volume: bool) -> PodWorld:
    world = PodWorld(tmp_path)
    world.add_class(claim=has_volume)
    return world


def authority(world: PodWorld) -> dict[str, str]:
    """Return the data of the Secret with the authority."""
    return dict(world.kube.objects[KEY]["data"])


def replace_authority(world: PodWorld) -> dict[str, str]:
    """Write another authority into the Secret, as a user does; return the data."""
    pair = new_authority("another", now=datetime(2026, 1, 1, tzinfo=UTC))
    data = {"tls.crt": pair.certificate, "tls.key": pair.key}
    edited = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    world.kube.put(SECRETS, {**world.kube.objects[KEY], "data": edited})
    return edited


def engine(world: PodWorld) -> tuple[str, str, str]:
    return world.condition("EngineAvailable")


def class_message(world: PodWorld) -> str:
    found = world.kube.objects[KIND_ENGINE_CLASSES.plural, None, "pods"]["status"]["conditions"]
    return str(found[0].get("message", ""))


def warnings(world: PodWorld) -> list[dict[str, Any]]:
    found = [one for (plural, *_), one in world.kube.objects.items() if plural == EVENTS.plural]
    return [one for one in found if one["reason"] == "EngineWithWarnings"]


async def test_edited_authority_is_shown_before_it_does_harm_and_is_not_replaced(world):
    async with world.running():
        world.add()
        await world.ready()
        before = authority(world)
        edited = replace_authority(world)
        await world.until(lambda: f"{SECRET} does not hold the authority" in engine(world)[2], 1300)
        assert (engine(world)[0], world.reason()) == ("True", "Ready")
        await world.until(lambda: f"{SECRET} does not hold the authority" in class_message(world))
        await asyncio.sleep(1300)
        assert authority(world) == edited
        assert [one["count"] for one in warnings(world)] == [1]
        del world.kube.objects[KEY]
        await world.until(lambda: SECRET not in engine(world)[2], 1300)
        await world.until(lambda: SECRET not in class_message(world))
        assert authority(world) == before


async def test_engine_of_another_authority_is_named_with_its_cause(world, has_volume):
    async with world.running():
        world.add()
        await world.ready()
        before = authority(world)
    replace_authority(world)
    world.kubelet.distrust = DISTRUST
    async with world.running():
        await world.until(lambda: "another authority has issued" in engine(world)[2])
        assert (engine(world)[:2], world.reason()) == (("False", "EngineUnreachable"), "EngineUnreachable")
        message = engine(world)[2]
        assert f"{SECRET}, which was edited or replaced" in message
        assert "restart the provider" in message
        assert ("delete the Pod: the provider creates it again" in message) == has_volume
        assert ("delete the KINDCluster and create it again" in message) != has_volume
        reads = len([one for one in world.kube.asked if one == ("get", "secrets")])
        await asyncio.sleep(1300)
        assert len([one for one in world.kube.asked if one == ("get", "secrets")]) - reads <= 6
        assert len(world.pods()) == 1
    world.kube.put(SECRETS, {**world.kube.objects[KEY], "data": before})
    world.kubelet.distrust = None
    async with world.running():
        await world.ready()


@pytest.mark.parametrize("has_volume", [True], ids=[""], indirect=True)
async def test_pod_with_a_volume_gets_a_certificate_of_the_present_authority(world):
    async with world.running():
        world.add()
        await world.ready()
        first = world.kube.objects[SECRETS.plural, NAMESPACE, ENGINE]["data"]["ca.crt"]
    edited = replace_authority(world)
    world.kubelet.distrust = DISTRUST
    async with world.running():
        await world.until(lambda: "another authority has issued" in engine(world)[2])
        uid = world.pod()["metadata"]["uid"]
        world.delete_pod()
        await world.until(lambda: world.pods() != [] and world.pod()["metadata"]["uid"] != uid)
        world.kubelet.distrust = None
        await world.ready()
        assert world.kube.objects[SECRETS.plural, NAMESPACE, ENGINE]["data"]["ca.crt"] not in ("", first)
        assert authority(world) == edited


async def test_engine_of_the_present_authority_that_does_not_answer_has_another_cause(world):
    async with world.running():
        world.add()
        await world.ready()
    world.kubelet.distrust = DISTRUST
    async with world.running():
        await world.until(lambda: engine(world)[:2] == ("False", "EngineUnreachable"))
        await asyncio.sleep(700)
        assert "NetworkPolicies" in engine(world)[2]
        assert "another authority" not in engine(world)[2]
