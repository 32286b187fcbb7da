"""The uid of kube-system: from the API server, or from the node if the kubeconfig has lost its rights."""

from typing import Any

import pytest

from capk.engine.command import Output
from capk.errors import CommandFailed
from capk.manager.operations.kubesystem import KUBE_SYSTEM_COMMAND, kube_system_uid
from capk.workload.answer import Answer
from test.unit.manager.test_manager_executor import Engine

UID = "7713a44d-485b-4273-bb54-07281125da3c"
FOUND = Answer(200, "HTTP 200", b'{"metadata": {"uid": "%s"}}' % UID.encode())
FORBIDDEN = Answer(403, 'HTTP 403: namespaces "kube-system" is forbidden')


class Node(Engine):
    """A node with some output, or with a failing kubectl."""

    def __init__(self, printed: str | None, *, fails_with: str = "no such file") -> None:
        super().__init__()
        self.printed = printed
        self.fails_with = fails_with

    async def run(self, node: str, command: tuple[str, ...], **_: Any) -> Output:
        self.calls.append((node, command))
        if self.printed is None:
            raise CommandFailed(["docker", "exec", node, *command], self.fails_with, 1)
        return Output(self.printed, "")


async def uid(engine: Engine, answer: Answer) -> str | None:
    async def ask(*_: Any) -> Answer:
        return answer

    return await kube_system_uid(ask, engine, "dev", None, None)


async def test_api_server_says_it():
    engine = Node(printed=None)
    assert await uid(engine, FOUND) == UID
    assert engine.calls == []


async def test_node_is_asked_where_the_kubeconfig_has_lost_its_rights():
    """As with an empty etcd, which had contained the rights."""
    engine = Node(UID)
    assert await uid(engine, FORBIDDEN) == UID
    assert engine.calls == [("dev-control-plane", KUBE_SYSTEM_COMMAND)]


async def test_api_server_says_that_there_is_none():
    """As if it kept running while its etcd was emptied."""
    engine = Node(printed=None)
    assert await uid(engine, Answer(404, 'HTTP 404: namespaces "kube-system" not found')) == ""
    assert engine.calls == []


@pytest.mark.parametrize("said", ["HTTP 404: 404 page not found", 'HTTP 500: namespaces "kube-system" not found'])
async def test_other_words_prove_nothing(said):
    status = int(said.split()[1].rstrip(":"))
    assert await uid(Node(printed=None), Answer(status, said)) is None


async def test_node_says_that_there_is_none():
    printed = 'Error from server (NotFound): namespaces "kube-system" not found'
    assert await uid(Node(None, fails_with=printed), FORBIDDEN) == ""


@pytest.mark.parametrize("printed", [None, "", "error: no configuration", "7713a44d"])
async def test_node_that_does_not_know_decides_nothing(printed):
    assert await uid(Node(printed), FORBIDDEN) is None


async def test_engine_without_a_command_decides_nothing():
    engine = Node(UID)
    engine.command = None
    assert await uid(engine, FORBIDDEN) is None
    assert engine.calls == []
