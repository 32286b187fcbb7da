"""The questions to a workload API server when its kubeconfig is read."""

import json
from types import SimpleNamespace
from typing import Any

import pytest

from capk.api.endpoint import EndpointMode
from capk.engine.inventory import Inventory
from capk.kindconfig.kubeconfig import Kubeconfig
from capk.manager.operations.access import LOGIN_TRIES, VERSION, AccessReader
from capk.plan.facts import Access
from capk.plan.plan import ReadAccess
from capk.workload.answer import Answer
from capk.workload.ask import KUBE_SYSTEM
from capk.workload.connection import Target
from capkdev.certificates import Authority
from capkdev.fakekind.kubeconfig import render
from test.unit.manager.test_manager_executor import Engine, container

pytestmark = pytest.mark.virtual_time

UID = "7713a44d-485b-4273-bb54-07281125da3c"
FOUND = Answer(200, "HTTP 200", json.dumps({"gitVersion": "v1.36.3", "metadata": {"uid": UID}}).encode())
UNAUTHORIZED = Answer(401, "HTTP 401: Unauthorized")
SILENT = Answer(0, "no answer within 3 s")


class Server:
    """An API server that answers administrators and anonymous users differently."""

    def __init__(self, administrator: Answer, anonymous: Answer) -> None:
        self.answers = {True: administrator, False: anonymous}
        self.asked: list[tuple[str, str]] = []

    async def ask(self, target: Target, path: str, login: Kubeconfig | None) -> Answer:
        self.asked.append((path, "administrator" if login else "anonymous"))
        return self.answers[login is not None]


async def read(server: Server) -> Access:
    authority = Authority("kubernetes")
    credentials = authority.certificate, *authority.issue_client("kubernetes-admin", "system:masters")
    record: Any = SimpleNamespace(external=render("dev", "https://127.0.0.1:6443", credentials), completed=None)
    engine: Any = Engine(container("dev-control-plane"))
    inventory = Inventory(engine, engine)
    reader = AccessReader(engine, engine, inventory, server.ask, endpoint=EndpointMode.EXTERNAL, wait_seconds=0)
    return await reader.run(record, ReadAccess("dev"))


async def test_both_questions_have_the_same_login_so_that_one_connection_carries_them() -> None:
    server = Server(FOUND, FOUND)
    access = await read(server)
    assert (access.version, access.kube_system_uid) == ("v1.36.3", UID)
    assert server.asked == [(VERSION, "administrator"), (KUBE_SYSTEM, "administrator")]


@pytest.mark.parametrize("refusal", [UNAUTHORIZED, Answer(0, "certificate rejected", is_tls_failure=True)])
async def test_login_that_is_refused_hides_neither_the_version_nor_that_the_server_answers(refusal: Answer) -> None:
    server = Server(refusal, FOUND)
    access = await read(server)
    assert (access.answered, access.version, access.kube_system_uid) == (True, "v1.36.3", None)
    tries = LOGIN_TRIES if refusal is UNAUTHORIZED else 1
    assert server.asked[: tries + 1] == [*[(VERSION, "administrator")] * tries, (VERSION, "anonymous")]


async def test_silent_server_is_asked_once() -> None:
    server = Server(SILENT, SILENT)
    access = await read(server)
    assert (access.answered, access.said) == (False, SILENT.said)
    assert server.asked == [(VERSION, "administrator")]


@pytest.mark.parametrize("refused", [1, 3])
async def test_login_counts_as_refused_if_the_server_keeps_to_it(refused: int) -> None:
    """An API server that has just started may not know the authority of its clients yet."""
    server = Server(UNAUTHORIZED, FOUND)
    asked = server.ask

    async def ask(target: Target, path: str, login: Kubeconfig | None) -> Answer:
        if login is not None and len(server.asked) >= refused:
            server.answers[True] = FOUND
        return await asked(target, path, login)

    server.ask = ask  # type: ignore[method-assign]
    access = await read(server)
    assert access.refused == (UNAUTHORIZED.said if refused == 3 else "")
    assert access.answered


async def test_login_that_is_accepted_but_not_allowed_is_not_refused() -> None:
    assert (await read(Server(Answer(403, "HTTP 403: forbidden"), FOUND))).refused == ""
