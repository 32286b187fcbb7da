"""Facts about a kind cluster are forgotten when another one replaces it."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from capk.engine.lanes import Lane, Lanes
from capk.engine.progress import Step
from capk.manager.outcome import Made
from capk.manager.record import Record
from capk.manager.records import Records
from capk.plan.facts import Access
from capk.plan.plan import OperationRequest, ReadAccess
from capk.plan.policy import Policy
from capk.runtime.metrics import Metrics
from test.unit.manager.places import HERE
from test.unit.plan.builders import create_request, kindcluster
from test.unit.virtual_time import now

pytestmark = pytest.mark.virtual_time


class Engine:
    """Answers each request a second later."""

    place = HERE

    def __init__(self) -> None:
        self.answer: Any = None

    async def carry_out(self, record: Record, request: OperationRequest, on_step: Callable[[Step], None]) -> Any:
        await asyncio.sleep(1)
        return self.answer


async def test_new_cluster_is_not_taken_for_the_one_that_was_lost():
    engine = Engine()
    lanes = Lanes(dict.fromkeys(Lane, 1), on_change=lambda _: None, clock=now)
    records = Records(lanes, Metrics(), Policy(), now)
    record = records.of(kindcluster())

    async def run(request: OperationRequest, answer: Any) -> None:
        engine.answer = answer
        records.start(record, request, engine)
        await asyncio.sleep(2)

    await run(create_request(), Made("sha256:first", "first"))
    await run(ReadAccess("dev"), Access(external="first", internal="first"))
    assert record.access is not None
    records.start(record, create_request(), engine)
    assert (record.access, record.made, record.external, record.access_timer) == (None, None, None, None)
    await run(create_request(), Made("sha256:second", "second"))
    assert (record.access, record.made, record.external) == (None, "sha256:second", "second")
    records.forget(record.uid)
