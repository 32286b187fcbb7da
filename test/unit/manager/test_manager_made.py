"""Facts about an object that outlive the operation and the kubeconfigs from which they come."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from capk.engine.lanes import Lane, Lanes
from capk.manager.outcome import Made
from capk.manager.record import Record
from capk.manager.records import ACCESS_SECONDS, Records
from capk.plan.facts import CreationFacts, Validity
from capk.plan.plan import OperationRequest, ReadAccess
from capk.plan.policy import Policy
from capk.runtime.metrics import Metrics
from test.unit.manager.places import HERE
from test.unit.manager.test_manager_executor import CREATE
from test.unit.plan.builders import ACCESS, NOW, kindcluster

pytestmark = pytest.mark.virtual_time


async def after(result: Any, request: OperationRequest = CREATE) -> tuple[Records, Record]:
    """Return records, and the record of an object, after an operation with this result."""

    class Executor:
        place = HERE

        async def carry_out(self, *_: Any) -> Any:
            return result

    clock = asyncio.get_running_loop().time
    lanes = Lanes(dict.fromkeys(Lane, 1), on_change=lambda uid: None, clock=clock)
    records = Records(lanes, Metrics(), Policy(), clock)
    record = records.of(kindcluster())
    records.start(record, request, Executor())
    await asyncio.sleep(1)
    return records, record


async def test_what_a_creation_had_to_say_stays_until_the_api_server_answers():
    facts = CreationFacts(registries="no space left", not_ready="It is still starting.")
    records, record = await after(Made("sha256:aaaa", "kubeconfig", facts))
    assert record.creation == facts
    records.answered(record)
    assert record.creation == CreationFacts(registries="no space left")


async def test_validity_is_known_for_longer_than_the_kubeconfigs():
    year = timedelta(days=365)
    _, record = await after(replace(ACCESS, not_after=NOW, lifetime=year), ReadAccess("dev"))
    await asyncio.sleep(ACCESS_SECONDS + 1)
    assert (record.access, record.validity) == (None, Validity(NOW, year))


async def test_token_has_no_validity():
    _, record = await after(ACCESS, ReadAccess("dev"))
    assert record.validity is None
