"""Certificates that expired while no provider ran are renewed soon, and none is renewed again and again."""

import asyncio
import base64
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import trustme
import yaml

from capk.engine.command import Output
from capk.engine.nodescripts import INSTALL_KUBELET, READ_KUBELET
from capk.manager import observe
from capk.workload.answer import NOT_ACCEPTED, Answer
from test.provider.world import World, authority, kubeconfig

pytestmark = pytest.mark.virtual_time

START = datetime(2026, 6, 1, tzinfo=UTC)
YEAR = timedelta(days=365)
AUTHORITY = trustme.CA()
EXPIRED = Answer(0, "its certificate is not accepted: certificate has expired")


class Clocks:
    """The clock of the engine's machine, which issues certificates, and that of the provider."""

    def __init__(self) -> None:
        self.passed = timedelta()
        self.provider_is_ahead = timedelta()

    def engine(self) -> datetime:
        return START + self.passed + timedelta(seconds=asyncio.get_running_loop().time())

    def provider(self) -> datetime:
        return self.engine() + self.provider_is_ahead


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    clocks = Clocks()
    monkeypatch.setattr(observe, "now", clocks.provider)
    return clocks


def issued(begins: datetime, lifetime: timedelta) -> str:
    """Return a kubeconfig whose client certificate was issued at that time."""
    pair = AUTHORITY.issue_cert("admin", not_before=begins, not_after=begins + lifetime)
    document = yaml.safe_load(kubeconfig())
    encoded = [
        base64.b64encode(pem).decode()
        for pem in (AUTHORITY.cert_pem.bytes(), pair.cert_chain_pems[0].bytes(), pair.private_key_pem.bytes())
    ]
    document["clusters"][0]["cluster"]["certificate-authority-data"] = encoded[0]
    document["users"][0]["user"] = {"client-certificate-data": encoded[1], "client-key-data": encoded[2]}
    return str(yaml.safe_dump(document))


def on_renewal(world: World, renew: Callable[[], None]) -> None:
    """Have kubeadm do that when the provider renews the certificates."""
    run = world.containers.run

    async def renewing(node: str, command: Sequence[str], **options: Any) -> Output:
        if "renew" in command:
            renew()
        return await run(node, command, **options)

    world.containers.run = renewing  # type: ignore[method-assign]


async def test_certificates_that_expired_while_everything_was_off_are_renewed_within_minutes(tmp_path, clocks):
    world = World(tmp_path)
    world.kind.text = issued(START, YEAR)
    async with world.running():
        world.add()
        await world.ready()
    clocks.passed, answer, world.answer = timedelta(days=400), world.answer, EXPIRED

    def renew() -> None:
        world.kind.text, world.answer = issued(clocks.engine(), YEAR), answer

    on_renewal(world, renew)
    async with world.running():
        await world.until(lambda: world.engine.called("kubeadm certs renew") != [], 300)
        await asyncio.sleep(120)
        assert world.reason() == "Ready"


@pytest.mark.parametrize("lifetime", [YEAR, timedelta(minutes=1)], ids=["clocks differ", "root issues short ones"])
async def test_new_certificates_that_expire_soon_are_not_renewed_again_and_again(tmp_path, clocks, lifetime):
    world = World(tmp_path)
    world.kind.text = issued(START, lifetime)
    on_renewal(world, lambda: setattr(world.kind, "text", issued(clocks.engine(), lifetime)))
    async with world.running():
        world.add()
        await asyncio.sleep(60)
        clocks.provider_is_ahead = timedelta(days=360)
        world.annotate(ADOPT="whatever wakes it")
        await asyncio.sleep(3600)
        assert 1 <= len(world.engine.called("kubeadm certs renew")) <= 8


async def test_kubelets_that_were_off_for_too_long_get_certificates_and_the_cluster_comes_back(tmp_path):
    world = World(tmp_path)
    async with world.running():
        world.add(spec={"nodes": [{"role": "control-plane"}, {"role": "worker"}]})
        await world.ready()
        answer, run, renewed = world.answer, world.containers.run, set()
        world.answer = Answer(0, "connection refused")

        async def running(node: str, command: Sequence[str], **options: Any) -> Output:
            if READ_KUBELET in command:
                ended = "" if node in renewed else issued_certificate(START - YEAR)
                return Output(ended, "")
            if INSTALL_KUBELET in command:
                renewed.add(node)
                world.answer = answer
            return Output(world.kind.text, "") if "user" in command else await run(node, command, **options)

        world.containers.run = running  # type: ignore[method-assign]
        await world.until(lambda: len(renewed) == 2, 300)
        await asyncio.sleep(120)
        assert renewed == {node.container_id for node in world.engine.of()}
        assert world.reason() == "Ready"


def issued_certificate(ends: datetime) -> str:
    pair = AUTHORITY.issue_cert("node", not_before=ends - YEAR, not_after=ends)
    return pair.cert_chain_pems[0].bytes().decode()


REFUSED = Answer(401, "HTTP 401: Unauthorized")


class TestRefusedLogin:
    """Anonymous users get answers, so that the API server is alive, but the kubeconfig in the Secret is of no use."""

    async def test_object_is_not_ready_until_the_login_is_accepted_again(self, tmp_path):
        world = World(tmp_path)
        world.to_login = REFUSED
        async with world.running():
            world.add()
            await world.until(lambda: world.reason() == "KubeconfigUnavailable")
            await asyncio.sleep(1800)
            assert world.reason() == "KubeconfigUnavailable"
            assert world.condition("APIServerAvailable")[0] == "True"
            status, _, message = world.condition("KubeconfigAvailable")
            assert status == "False"
            assert "does not accept the login" in message
            assert REFUSED.said in message
            assert "`kubeadm certs renew all --config=/kind/kubeadm.conf`" in message
            assert len(world.engine.called("kubeconfig")) < 20
            world.to_login = None
            await world.until(lambda: world.reason() == "Ready", 400)

    async def test_refusal_after_an_outage_is_noticed(self, tmp_path):
        """A new authority of clients mostly needs a restart of the API server."""
        world = World(tmp_path)
        async with world.running():
            world.add()
            await world.ready()
            await asyncio.sleep(120)
            world.answer = Answer(0, "connection refused")
            await world.until(lambda: world.reason() == "NotAnswering")
            world.answer, world.to_login = Answer(200, "HTTP 200"), REFUSED
            await world.until(lambda: world.reason() == "KubeconfigUnavailable")
            await asyncio.sleep(120)
            assert world.reason() == "KubeconfigUnavailable"

    async def test_login_that_is_refused_for_a_moment_changes_nothing(self, tmp_path):
        world = World(tmp_path)
        world.to_login = REFUSED
        async with world.running():
            world.add()
            await world.creating()
            asyncio.get_running_loop().call_later(world.kind.create_seconds, setattr, world, "to_login", None)
            await world.ready()
            assert "KubeconfigUnavailable" not in world.history()
            assert len(world.engine.called("kubeconfig")) < 3

    async def test_anonymous_users_who_are_refused_leave_it_ready(self, tmp_path):
        """An API server may be set up to answer nobody without a login."""
        world = World(tmp_path)
        world.answer, world.to_login = REFUSED, Answer(200, "HTTP 200", b'{"gitVersion": "v1.36.1"}')
        async with world.running():
            world.add()
            await world.ready()
            await asyncio.sleep(1800)
            assert world.reason() == "Ready"


async def test_authority_that_was_replaced_reaches_the_secrets_within_minutes(tmp_path):
    world = World(tmp_path)
    async with world.running():
        world.add()
        await world.ready()
        await asyncio.sleep(120)
        world.answer = Answer(0, f"{NOT_ACCEPTED}: self-signed certificate in certificate chain", is_tls_failure=True)
        await world.until(lambda: world.reason() == "NotAnswering")
        await asyncio.sleep(120)
        before = len(world.engine.called("kubeconfig"))
        await asyncio.sleep(3600)
        assert len(world.engine.called("kubeconfig")) - before < 20
        world.kind.text = kubeconfig(ca="another")

        def is_known() -> bool:
            cluster = world.read("dev-config")["clusters"][0]["cluster"]
            return cluster["certificate-authority-data"] == authority("another")[0]

        await world.until(is_known, 400)
        world.answer = Answer(200, "HTTP 200")
        await world.ready()


async def test_certificate_of_an_api_server_that_was_never_reached_is_asked_for_once(tmp_path):
    """Something else may answer at that address."""
    world = World(tmp_path)
    world.answer = Answer(0, f"{NOT_ACCEPTED}: self-signed certificate in certificate chain", is_tls_failure=True)
    async with world.running():
        world.add()
        await world.until(lambda: world.reason() == "Ready")
        await asyncio.sleep(7200)
        assert len(world.engine.called("kubeconfig")) < 2
