"""An end that names a thread and no run: whose it is where several runs of the thread are open."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.engine.ingest.test_restarts import Json, agrees, rows
from tests.support.rig import Rig
from towerlog.dialects.base import DialectSettings, stored_warnings
from towerlog.dialects.checkpoints.events import Places, RunnerEvent, draft_of
from towerlog.model.command import Append
from towerlog.model.event import Item
from towerlog.model.run import Status

RUNNING, COMPLETED = Status.RUNNING, Status.COMPLETED
THREAD = "shared"


def event(kind: str, **data: Any) -> Item:
    """An event of a runner in the thread."""
    told: Json = {"type": kind, "data": msgspec.Raw(msgspec.json.encode({"thread_id": THREAD, **data}))}
    return draft_of(msgspec.convert(told, RunnerEvent), DialectSettings(), Places(), [])


async def tell(rig: Rig, *events: Item) -> list[tuple[str, ...]]:
    """One post, to an engine that has nothing in memory; the members of which it warns, by event."""
    rig.engine.forget()
    outcome = await rig.do(Append("checkpoints", list(events)), dialect="checkpoints")
    return [tuple(member for member, _ in one.unused) for one in outcome.results]


async def lead_and_peer(rig: Rig, lead: str | None, peer: str | None) -> None:
    """Two open runs with these models; the second one is a child of the first, and its runner another process."""
    start = event("thread_started", trace_id="lead", agent_id="chief", **({} if lead is None else {"model": lead}))
    await tell(rig, start)
    more = {} if peer is None else {"model": peer}
    await tell(rig, event("thread_started", trace_id="peer", parent_trace_id="lead", agent_id="scout", **more))


async def ended(rig: Rig) -> list[Status]:
    return [row.status for row in await rows(rig, THREAD)]


@pytest.mark.parametrize("end", ["thread_completed", "thread_error", "thread_budget_exceeded"])
@pytest.mark.parametrize("named", [{"model": "small"}, {"agent_id": "scout"}, {"agent_id": "scout", "model": "big"}])
async def test_it_is_that_of_the_only_run_with_its_agent_or_its_model(rig: Rig, end: str, named: Json) -> None:
    await lead_and_peer(rig, "big", "small")
    assert await tell(rig, event(end, **named)) == [()]
    lead, peer = await ended(rig)
    assert (lead, peer is RUNNING) == (RUNNING, False)
    assert await tell(rig, event("thread_completed", model="big")) == [()]
    assert (await ended(rig))[0] is COMPLETED
    await agrees(rig)


@pytest.mark.parametrize(
    ("lead", "peer", "named"),
    [
        ("big", "big", {"model": "big"}),
        ("big", "small", {"model": "of neither"}),
        ("big", "small", {}),
        (None, "small", {"model": "small"}),
    ],
)
async def test_otherwise_it_is_that_of_the_threads_own_with_a_warning(
    rig: Rig, lead: str | None, peer: str, named: Json
) -> None:
    await lead_and_peer(rig, lead, peer)
    assert await tell(rig, event("thread_completed", **named)) == [("trace_id",)]
    assert await ended(rig) == [COMPLETED, RUNNING]
    await agrees(rig)


async def test_the_warning_says_what_is_missing(rig: Rig) -> None:
    await lead_and_peer(rig, "big", "big")
    command = Append("checkpoints", [event("thread_completed")], data_field="data")
    [warning] = stored_warnings(await rig.do(command, dialect="checkpoints"), command)
    why = "is missing, and several runs of the thread are open: its own one has ended."
    assert (warning.field, warning.message) == ("data.trace_id", f"data.trace_id: {why}")


async def test_nobody_is_warned_where_it_is_clear(rig: Rig) -> None:
    await lead_and_peer(rig, "big", "small")
    assert await tell(rig, event("thread_completed", model="big")) == [()]
    assert await ended(rig) == [COMPLETED, RUNNING]
    assert await tell(rig, event("thread_completed", trace_id="peer", model="big")) == [()]


async def test_a_run_ends_after_the_one_above_it(rig: Rig) -> None:
    await lead_and_peer(rig, "big", "small")
    assert await tell(rig, event("thread_completed", model="big")) == [()]
    assert await tell(rig, event("thread_completed", model="small")) == [()]
    assert await ended(rig) == [COMPLETED, COMPLETED]


@pytest.mark.parametrize("peer", ["big", "small"])
async def test_what_ends_a_run_again_ends_no_other(rig: Rig, peer: str) -> None:
    """The end of the lead, sent again after a lost reply."""
    await lead_and_peer(rig, "big", peer)
    for _ in range(2):
        await tell(rig, event("thread_completed", model="big"))
    assert await ended(rig) == [COMPLETED, RUNNING]
