"""Tool calls and their results: which belong together, and how long a call took."""

from __future__ import annotations

from typing import Any

import msgspec

from tests.support.factories import draft
from tests.support.rig import Rig
from towerlog.engine.verify import verify_org
from towerlog.model.event import Draft, EventType
from towerlog.model.facts import Facts
from towerlog.model.outcome import Stored
from towerlog.model.times import FUTURE_TOLERANCE_MS

E = EventType


def told(rig: Rig, kind: EventType, at: int | None = None, **facts: Any) -> Draft:
    """An event of a tool, so many ms before now by its sender's clock."""
    occurred_at = None if at is None else rig.clock.now_ms() - at
    return draft(kind, "t", {}, facts=Facts(**{"tool": "sh", **facts}), occurred_at=occurred_at)


async def spans(rig: Rig, *drafts: Draft) -> list[int | None]:
    """Stores them at once; how long each of the results so far took."""
    results = await rig.append(*drafts)
    assert all(isinstance(result, Stored) for result in results), results
    return [event.facts.duration_ms for event in await rig.log() if event.type is E.TOOL_RESULT]


async def test_a_call_took_what_its_sender_says_between_it_and_its_result(rig: Rig) -> None:
    for facts in ({"tool_call_id": "c"}, {}, {"tool_call_id": "id/" * 2000}):
        found = await spans(rig, told(rig, E.TOOL_CALL, 5000, **facts), told(rig, E.TOOL_RESULT, 2900, **facts))
        assert found[-1] == 2100, facts


async def test_a_duration_that_was_told_counts(rig: Rig) -> None:
    calls = told(rig, E.TOOL_CALL, 5000), told(rig, E.TOOL_RESULT, 2900, duration_ms=7)
    assert await spans(rig, *calls) == [7]


async def test_a_span_that_runs_backwards_is_unknown(rig: Rig) -> None:
    assert await spans(rig, told(rig, E.TOOL_CALL, 1000), told(rig, E.TOOL_RESULT, 1001)) == [None]


async def test_what_no_clock_of_the_sender_measured_is_measured_by_arrival(rig: Rig) -> None:
    absurd = -2 * FUTURE_TOLERANCE_MS
    for at in ((None, None), (5000, None), (None, 10), (5000, absurd), (absurd, 10)):
        await spans(rig, told(rig, E.TOOL_CALL, at[0]))
        rig.clock.advance(40)
        assert (await spans(rig, told(rig, E.TOOL_RESULT, at[1])))[-1] == 40, at


async def test_what_arrives_together_without_times_has_not_been_measured(rig: Rig) -> None:
    assert await spans(rig, told(rig, E.TOOL_CALL), told(rig, E.TOOL_RESULT)) == [None]


async def test_results_without_ids_of_calls_that_overlap_take_an_unknown_time(rig: Rig) -> None:
    """Which of the two calls each is of is a guess. Ids tell."""
    calls = [told(rig, E.TOOL_CALL, at) for at in (9000, 8000)]
    assert await spans(rig, *calls, *(told(rig, E.TOOL_RESULT, at) for at in (3000, 1000))) == [None, None]
    calls = [told(rig, E.TOOL_CALL, at, tool_call_id=name) for name, at in (("a", 9000), ("b", 8000))]
    results = [told(rig, E.TOOL_RESULT, at, tool_call_id=name) for name, at in (("a", 3000), ("b", 1000))]
    assert (await spans(rig, *calls, *results))[2:] == [6000, 7000]
    one_by_one = [told(rig, kind, at) for kind, at in ((E.TOOL_CALL, 900), (E.TOOL_RESULT, 800))]
    assert (await spans(rig, *one_by_one))[-1] == 100


async def test_results_after_the_end_belong_to_their_calls(rig: Rig) -> None:
    """Whether the call came before the end or after it, with an id or without one."""
    await spans(rig, told(rig, E.TOOL_CALL, 9000), told(rig, E.TOOL_CALL, 8000, tool="web", tool_call_id="w"))
    await spans(rig, draft(E.RUN_COMPLETED, "t"))
    await spans(rig, told(rig, E.TOOL_CALL, 7000, tool="late"))
    found = await spans(
        rig,
        told(rig, E.TOOL_RESULT, 6500, tool="late"),
        told(rig, E.TOOL_RESULT, 6000),
        told(rig, E.TOOL_RESULT, 5000, tool="web", tool_call_id="w"),
    )
    assert found == [500, 3000, 3000]
    log = await rig.log()
    ids = [msgspec.json.decode(event.data).get("tool_call_id", event.facts.tool_call_id) for event in log]
    assert ids == ["call-1", "w", None, "call-4", "call-4", "call-1", "w"]
    assert [event.late for event in log] == [False] * 3 + [True] * 4
    assert await verify_org(rig.store, rig.org) == 0


async def test_a_step_took_the_time_between_its_two_ends(rig: Rig) -> None:
    """By what both call it; not where that is not clear, or was told, or where the beginning is not known."""

    def step(at: int, **facts: Any) -> Draft:
        return draft(E.STEP, "t", {}, facts=Facts(**facts), occurred_at=rig.clock.now_ms() - at)

    long = "node " * 1000
    begun = [step(at, begins=name) for name, at in (("plan", 9000), ("inner", 8000), (long, 7000), ("told", 7000))]
    ended = [
        step(6000, ends="inner"),
        step(5000, ends=long),
        step(4000, ends="told", duration_ms=3),
        step(3000, ends="x"),
    ]
    await rig.append(*begun, *ended, draft(E.RUN_COMPLETED, "t"), step(1000, ends="plan"))
    await rig.append(step(9000, begins="twice"), step(8000, begins="twice"), step(7000, ends="twice"))
    took = {event.facts.ends: event.facts.duration_ms for event in await rig.log() if event.facts.ends}
    assert took == {"inner": 2000, long: 2000, "told": 3, "x": None, "plan": 8000, "twice": None}
    assert (await rig.run((await rig.store.rows(rig.org)).runs[0].run_id)).open_tools == ()
    assert await verify_org(rig.store, rig.org) == 0


async def test_a_long_id_is_never_given_to_a_result_without_one(rig: Rig) -> None:
    """The row has only its digest."""
    await spans(rig, told(rig, E.TOOL_CALL, 9000, tool_call_id="i" * 300), told(rig, E.TOOL_RESULT, 8000))
    assert (await rig.log())[-1].facts.tool_call_id == "call-2"
