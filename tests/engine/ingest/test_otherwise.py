"""Two accounts of one thing: the first is what it is, any other what it is otherwise; each may be repeated."""

from __future__ import annotations

import msgspec
import pytest

from tests.support.factories import draft, facts_of
from tests.support.rig import Rig
from towerlog.model.event import Draft, EventType, Refusal, RunByForeignId
from towerlog.model.outcome import Stored
from towerlog.model.usage import Usage, UsageReport

RUN = RunByForeignId("otlp:x", "x")
CALL = facts_of(report=UsageReport(Usage(input_tokens=5, output_tokens=7), "delta"), model="m")


def account(said: str) -> Draft:
    """A model call of one response, or a step where that is told of already."""
    found = draft(EventType.MODEL_CALL, RUN, {"said": said}, facts=CALL, event_id="response:r")
    other = draft(EventType.STEP, RUN, {"said": said}, event_id=said)
    return msgspec.structs.replace(found, otherwise=other)


@pytest.mark.parametrize("together", [True, False], ids=["in one request", "one by one"])
async def test_a_second_account_is_stored_and_does_not_count(rig: Rig, together: bool) -> None:
    told = [account(said) for said in ("one", "two", "one", "two", "three")]
    results = await rig.append(*told) if together else [(await rig.append(one))[0] for one in told]
    assert all(isinstance(one, Stored) for one in results)
    assert [one.seq for one in results if isinstance(one, Stored)] == [1, 2, 1, 2, 3]
    row = await rig.run(next(one.run_id for one in results if isinstance(one, Stored)))
    assert (row.usage.input_tokens, row.usage.output_tokens) == (5, 7)


async def test_a_second_account_is_known_after_a_restart(rig: Rig) -> None:
    [first] = await rig.append(account("one"))
    await rig.append(account("two"))
    assert isinstance(first, Stored)
    rig.engine.forget()
    again = await rig.append(account("two"), account("one"))
    assert [one.seq for one in again if isinstance(one, Stored)] == [2, 1]


async def test_what_is_neither_is_refused(rig: Rig) -> None:
    await rig.append(account("one"), account("two"))
    odd = msgspec.structs.replace(account("three"), otherwise=draft(EventType.STEP, RUN, {"x": 1}, event_id="two"))
    [refused] = await rig.append(odd)
    assert isinstance(refused, Refusal)
    assert refused.code == "id_reused"
