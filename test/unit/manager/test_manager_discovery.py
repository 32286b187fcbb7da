"""Whether Cluster API is installed: a single negative answer is never enough."""

import asyncio

import pytest

from capk.errors import Unreachable
from capk.manager.cache import new_store
from capk.manager.discovery import BETWEEN_SECONDS, FRESH_SECONDS, Discovery
from capk.manager.relations import Relations

pytestmark = pytest.mark.virtual_time


class Server:
    """Answers in order, and repeats the last answer."""

    def __init__(self, *answers: str | Exception | None) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def serves(self, group: str) -> str | None:
        assert group == "cluster.x-k8s.io"
        self.asked += 1
        await asyncio.sleep(0.01)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def asking(*answers: str | Exception | None) -> tuple[Discovery, Relations, Server]:
    server, relations = Server(*answers), Relations(new_store())
    return Discovery(server, relations), relations, server


async def test_absence_takes_two_answers_some_seconds_apart():
    discovery, relations, server = asking(None)
    wait = await discovery.confirm_absence()
    assert wait == pytest.approx(BETWEEN_SECONDS, abs=0.1)
    await asyncio.sleep(wait)
    assert await discovery.confirm_absence() == 0.0
    assert (relations.core_version, server.asked) == (None, 2)


async def test_two_answers_in_quick_succession_take_nothing_back():
    """Both may come from an API server that has just started."""
    discovery, relations, _ = asking("v1beta2", None)
    for _ in range(3):
        await discovery.ask()
    assert relations.core_version == "v1beta2"


async def test_second_answer_that_it_is_there_counts():
    discovery, relations, _ = asking(None, "v1beta2")
    await asyncio.sleep(await discovery.confirm_absence())
    assert await discovery.confirm_absence() == 0.0
    assert relations.core_version == "v1beta2"


async def test_installation_after_the_start_is_noticed_when_it_matters():
    discovery, relations, server = asking(None, None, "v1beta2")
    await discovery.ask()
    await asyncio.sleep(BETWEEN_SECONDS)
    assert await discovery.confirm_absence() == 0.0
    await asyncio.sleep(600)
    assert await discovery.confirm_absence() == 0.0
    assert (relations.core_version, server.asked) == ("v1beta2", 3)


async def test_one_answer_without_it_takes_nothing_back():
    discovery, relations, _ = asking("v1beta2", None, "v1beta2")
    for _ in range(3):
        await discovery.ask()
        assert relations.core_version == "v1beta2"


async def test_object_that_was_seen_is_proof():
    discovery, relations, server = asking(None)
    await discovery.ask()
    discovery.found("v1beta1")
    assert relations.core_version == "v1beta1"
    assert await discovery.confirm_absence() > 0
    assert server.asked == 2


async def test_many_that_ask_together_share_the_answers():
    discovery, _, server = asking(None)
    await asyncio.gather(*(discovery.confirm_absence() for _ in range(50)))
    assert server.asked == 1
    await asyncio.sleep(BETWEEN_SECONDS)
    await asyncio.gather(*(discovery.confirm_absence() for _ in range(50)))
    assert server.asked <= 51
    before = server.asked
    await asyncio.sleep(FRESH_SECONDS - 1)
    await discovery.confirm_absence()
    assert server.asked == before


async def test_api_server_that_does_not_answer_proves_nothing():
    discovery, relations, _ = asking(Unreachable("get", "apis", 0, "connection refused"), None)
    with pytest.raises(Unreachable):
        await discovery.confirm_absence()
    assert await discovery.confirm_absence() > 0
    assert relations.core_version is None


async def test_uninstalled_cluster_api_takes_two_answers_some_seconds_apart():
    discovery, relations, server = asking("v1beta2", None)
    await discovery.settle()
    assert (relations.core_version, server.asked) == ("v1beta2", 1)
    began = asyncio.get_running_loop().time()
    await discovery.settle()
    assert (relations.core_version, server.asked) == (None, 3)
    assert asyncio.get_running_loop().time() - began >= BETWEEN_SECONDS
    await discovery.settle()
    assert server.asked == 4


async def test_cluster_api_that_was_away_for_one_answer_stays():
    discovery, relations, _ = asking("v1beta2", None, "v1beta2")
    await discovery.settle()
    await discovery.settle()
    assert relations.core_version == "v1beta2"
