"""Appending: which run is meant, ids and natural keys, late events, agents, tool calls, signs of life."""

from __future__ import annotations

import msgspec
import pytest

from tests.support.factories import draft, traced
from tests.support.fakes import START_MS
from tests.support.rig import Rig
from towerlog.errors import NotFound
from towerlog.model.command import Append, RegisterAgent
from towerlog.model.event import (
    AgentHeartbeat,
    Draft,
    EventType,
    History,
    HistoryBase,
    OpenRun,
    Refusal,
    RunByForeignId,
    RunById,
    RunByTrace,
)
from towerlog.model.facts import CheckpointFacts, Effects, Facts
from towerlog.model.names import NAME_BYTES, message_name, prefix_names
from towerlog.model.outcome import AgentView, Stored
from towerlog.model.run import Status
from towerlog.model.times import FUTURE_TOLERANCE_MS

E = EventType
START = Facts(effects=Effects(is_start=True))


async def stored(rig: Rig, *drafts: Draft) -> list[Stored]:
    """Appends; everything must be stored."""
    results = await rig.append(*drafts)
    assert all(isinstance(result, Stored) for result in results), results
    return [result for result in results if isinstance(result, Stored)]


async def one(rig: Rig, item: Draft) -> Stored:
    """Appends one event that must be stored."""
    return (await stored(rig, item))[0]


# Runs


async def test_a_trace_is_one_run_of_its_thread(rig: Rig) -> None:
    results = await stored(rig, *(draft(run=traced(t, h)) for h in ("a", "b") for t in ("x", "y", "x")))
    runs = [result.run_id for result in results]
    assert runs[0] == runs[2] != runs[1]
    assert runs[3] == runs[5] not in runs[:3]
    assert [result.seq for result in results] == [1, 1, 2, 1, 1, 2]
    row = await rig.run(runs[0])
    assert (row.thread_id, row.trace_id, row.source, row.created_by) == ("a", "x", "steps", rig.principal.user_id)


async def test_a_parent_by_its_senders_name_is_the_run_that_has_it(rig: Rig) -> None:
    parent = await one(rig, draft(run=RunByForeignId("sdk:p", "p")))
    named = {"p": f"run:{parent.run_id}", parent.run_id: f"run:{parent.run_id}", "later": "foreign:sdk:later"}
    for name, expected in named.items():
        child = RunByForeignId(f"sdk:child of {name}", "c")
        start = await one(
            rig,
            draft(E.RUN_STARTED, child, facts=Facts(effects=Effects(is_start=True, parent_key=f"foreign:sdk:{name}"))),
        )
        assert (await rig.run(start.run_id)).parent_key == expected
    later = await one(rig, draft(run=RunByForeignId("sdk:later", "l")))
    [child] = await rig.store.run_children(rig.org, await rig.run(later.run_id), 10)
    assert child.foreign_id == "sdk:child of later"


async def test_the_same_run_is_found_in_the_same_group_and_in_later_ones(rig: Rig) -> None:
    refs = (traced("x", "t"), OpenRun("t"), RunByForeignId("steps:f", "u"), OpenRun("u"))
    first = await stored(rig, *(draft(run=ref) for ref in refs))
    rig.engine.forget()
    second = await stored(rig, *(draft(run=ref) for ref in refs))
    third = await stored(rig, *(draft(run=ref) for ref in refs))
    runs = [result.run_id for result in first]
    assert runs[0] == runs[1] != runs[2] == runs[3]
    assert [result.run_id for result in second] == runs == [result.run_id for result in third]


async def test_a_foreign_id_may_be_one_of_our_run_ids(rig: Rig) -> None:
    known = await one(rig, draft(run=traced("x")))
    same = await one(rig, draft(run=RunByForeignId(f"steps:{known.run_id.upper()}", "elsewhere")))
    assert (same.run_id, same.seq) == (known.run_id, 2)


async def test_an_unknown_run_id_is_refused_and_poisons_nothing(rig: Rig) -> None:
    unknown = draft(run=RunById("00000000-0000-7000-8000-000000000000"))
    results = await rig.append(draft(run="t"), unknown, draft(run="t"))
    assert [type(result) for result in results] == [Stored, Refusal, Stored]
    assert isinstance(results[1], Refusal)
    assert (results[1].code, results[1].field) == ("not_found", "run_id")
    assert len(await rig.log()) == 2


async def test_a_refusal_travels_along_at_its_index(rig: Rig) -> None:
    refusal = Refusal("validation_failed", "no", "events.1")
    results = await rig.append(draft(), refusal, draft())
    assert results[1] == refusal
    assert len(await rig.log()) == 2


async def test_the_open_run_of_a_thread_is_its_newest_open_one_else_its_newest(rig: Rig) -> None:
    first = await one(rig, draft(run=traced("x", "t")))
    second = await one(rig, draft(run=traced("y", "t")))
    assert (await one(rig, draft(run=OpenRun("t")))).run_id == second.run_id
    await one(rig, draft(E.RUN_COMPLETED, traced("y", "t")))
    assert (await one(rig, draft(run=OpenRun("t")))).run_id == first.run_id
    await one(rig, draft(E.RUN_COMPLETED, traced("x", "t")))
    late = await one(rig, draft(run=OpenRun("t")))
    assert (late.run_id, late.late) == (second.run_id, True)
    anew = await one(rig, draft(run=OpenRun("t", reopen=True)))
    assert anew.run_id not in (first.run_id, second.run_id)
    assert (await rig.run(anew.run_id)).resumed_from == second.run_id


async def test_a_start_for_a_run_that_has_ended_begins_a_new_one(rig: Rig) -> None:
    ref = RunByTrace("t", "x", reopen=True)
    first = await one(rig, draft(E.RUN_STARTED, ref, facts=START))
    await one(rig, draft(E.RUN_COMPLETED, ref))
    again = await one(rig, draft(E.RUN_STARTED, ref, facts=START))
    assert again.run_id != first.run_id
    row = await rig.run(again.run_id)
    assert (row.resumed_from, row.trace_id, row.status) == (first.run_id, "x", Status.RUNNING)
    rig.engine.forget()
    assert (await one(rig, draft(run=traced("x", "t")))).run_id == again.run_id


async def test_a_start_that_was_overtaken_by_its_end_fills_in_and_begins_nothing(rig: Rig) -> None:
    ended = await one(rig, draft(E.RUN_COMPLETED, traced("x", "t")))
    assert (await rig.run(ended.run_id)).implicit
    start = Facts(effects=Effects(is_start=True, model="m"))
    late = await one(rig, draft(E.RUN_STARTED, RunByTrace("t", "x", reopen=True), facts=start))
    row = await rig.run(ended.run_id)
    assert (late.run_id, late.late, late.seq) == (ended.run_id, True, 2)
    assert (row.implicit, row.model, row.status) == (False, "m", Status.COMPLETED)


# Order and marks


async def test_late_events_are_kept_marked_and_change_nothing(rig: Rig) -> None:
    done = await one(rig, draft(E.RUN_COMPLETED, "t"))
    late = await stored(rig, draft(E.RUN_FAILED, "t"), draft(E.STEP, "t"))
    row = await rig.run(done.run_id)
    assert [result.late for result in late] == [True, True]
    assert (row.status, row.late_events, row.last_seq) == (Status.COMPLETED, 2, 3)
    assert [event.late for event in await rig.events(done.run_id)] == [False, True, True]


async def test_a_senders_clock_orders_nothing_and_the_future_is_marked(rig: Rig) -> None:
    now = rig.clock.now_ms()
    times = (now + FUTURE_TOLERANCE_MS + 1, now + FUTURE_TOLERANCE_MS, 5, None)
    await stored(rig, *(draft(occurred_at=time) for time in times))
    events = await rig.log()
    assert [event.occurred_at for event in events] == list(times)
    assert [event.future for event in events] == [True, False, False, False]
    assert {event.recorded_at for event in events} == {now}


async def test_a_group_is_stored_in_the_order_of_its_items(rig: Rig) -> None:
    results = await stored(rig, *(draft(run=traced(str(n % 3)), data={"n": n}) for n in range(30)))
    assert [result.position for result in results] == list(range(1, 31))
    assert [msgspec.json.decode(event.data)["n"] for event in await rig.log()] == list(range(30))


# Ids and keys


async def test_an_event_id_appends_once(rig: Rig) -> None:
    item = draft(run=traced("x"), data={"a": 1, "b": [1.5]}, event_id="id")
    first, twin = await stored(rig, item, item)
    assert (twin.position, twin.seq, twin.duplicate, first.duplicate) == (first.position, first.seq, True, False)
    for forget in (False, True):
        if forget:
            rig.engine.forget()
        other_spelling = draft(run=traced("x"), data=b'{ "b": [1.50], "a": 1 }', event_id="id")
        again = await one(rig, other_spelling)
        assert (again.position, again.duplicate) == (first.position, True)
    assert len(await rig.log()) == 1


@pytest.mark.parametrize("forget", [False, True])
async def test_an_id_with_another_body_is_refused_alone(rig: Rig, forget: bool) -> None:
    await one(rig, draft(run=traced("x"), data={"a": 1}, event_id="id"))
    if forget:
        rig.engine.forget()
    changed = (
        draft(run=traced("x"), data={"a": 2}, event_id="id"),
        draft(run=traced("x"), data={"a": 1, "b": None}, event_id="id"),
        draft(E.TOOL_RESULT, traced("x"), {"a": 1}, event_id="id"),
        draft(run=traced("x"), data={"a": 1}, event_id="id", facts=Facts(name="other")),
    )
    results = await rig.append(*changed, draft(run=traced("x")))
    codes = [result.code if isinstance(result, Refusal) else None for result in results]
    assert codes == ["id_reused"] * 4 + [None]


async def test_truth_is_not_a_number(rig: Rig) -> None:
    await one(rig, draft(run=traced("x"), data={"ok": True, "deep": [{"n": 0}]}, event_id="id"))
    for body in ({"ok": 1, "deep": [{"n": 0}]}, {"ok": True, "deep": [{"n": False}]}):
        [result] = await rig.append(draft(run=traced("x"), data=body, event_id="id"))
        assert isinstance(result, Refusal), body


async def test_an_id_is_of_its_run(rig: Rig) -> None:
    results = await stored(rig, *(draft(run=traced(trace), event_id="id") for trace in ("x", "y")))
    assert [result.duplicate for result in results] == [False, False]


async def test_a_reference_that_drafts_share_is_looked_up_again_once_its_run_has_ended(rig: Rig) -> None:
    again = OpenRun("shared", reopen=True)
    kinds = [EventType.STEP, EventType.STEP, EventType.RUN_COMPLETED, EventType.STEP, EventType.STEP]
    results = await rig.append(*(draft(kind, run=again) for kind in kinds))
    places = [(one.run_id, one.seq) for one in results if isinstance(one, Stored)]
    first, second = places[0][0], places[3][0]
    assert first != second
    assert places == [(first, 1), (first, 2), (first, 3), (second, 1), (second, 2)]


async def test_a_repeat_is_answered_with_its_place_after_the_end_and_in_any_other_group(rig: Rig) -> None:
    first = await one(rig, draft(E.STEP, traced("x"), event_id="id"))
    await one(rig, draft(E.RUN_COMPLETED, traced("x")))
    again = await one(rig, draft(E.STEP, traced("x"), event_id="id"))
    assert (again.seq, again.duplicate, again.late) == (first.seq, True, False)


async def test_a_natural_key_happens_once_and_another_content_is_one_more(rig: Rig) -> None:
    start = draft(E.RUN_STARTED, traced("x"), {"m": 1}, natural_key="run_start", facts=START)
    other = draft(E.RUN_STARTED, traced("x"), {"m": 2}, natural_key="run_start", facts=START)
    results = await stored(rig, start, start, other)
    assert [(result.seq, result.duplicate) for result in results] == [(1, False), (1, True), (2, False)]
    rig.engine.forget()
    results = await stored(rig, start, other)
    assert [(result.seq, result.duplicate) for result in results] == [(1, True), (3, False)]


async def test_a_senders_id_never_meets_a_natural_key(rig: Rig) -> None:
    results = await stored(
        rig,
        draft(E.RUN_STARTED, traced("x"), natural_key="k"),
        draft(E.RUN_STARTED, traced("x"), event_id="k"),
    )
    assert [result.duplicate for result in results] == [False, False]


async def test_a_batch_that_is_sent_again_whole_adds_nothing(rig: Rig) -> None:
    ref = RunByTrace("t", "x", reopen=True)
    batch = (
        draft(E.RUN_STARTED, ref, natural_key="thread_started", facts=START),
        draft(
            E.CHECKPOINT,
            traced("x", "t"),
            {"s": 0},
            facts=Facts(effects=Effects(checkpoint=CheckpointFacts(0, "idle"))),
        ),
        draft(E.RUN_COMPLETED, traced("x", "t"), natural_key="thread_completed"),
    )
    first = await stored(rig, *batch)
    for forget in (False, True):
        if forget:
            rig.engine.forget()
        again = await stored(rig, *batch)
        assert [result.duplicate for result in again] == [True] * 3
        assert [result.position for result in again] == [result.position for result in first]
    assert len(await rig.log()) == 3


@pytest.mark.parametrize("trace", [None, "x"])
async def test_the_same_work_on_another_day_is_another_run_and_sent_again_a_repeat(rig: Rig, trace: str | None) -> None:
    first = OpenRun("t", reopen=True) if trace is None else traced(trace, "t", reopen=True)
    ref = OpenRun("t") if trace is None else traced(trace, "t")
    state = Facts(effects=Effects(checkpoint=CheckpointFacts(1, "in_progress")))
    day, start = 86_400_000, Facts(effects=Effects(is_start=True))

    def night(number: int | None) -> list[Draft]:
        at = None if number is None else START_MS - (9 - number) * day
        return [
            draft(E.RUN_STARTED, first, natural_key="thread_started", facts=start, occurred_at=at),
            draft(E.CHECKPOINT, ref, {"step_index": 1}, facts=state, agent="a", occurred_at=at),
            draft(E.RUN_COMPLETED, ref, natural_key="thread_completed", occurred_at=at),
        ]

    runs: list[str] = []
    for number in (0, 1, 1, 2):
        stored = await rig.append(*night(number))
        assert all(isinstance(one, Stored) for one in stored)
        runs.append({one.run_id for one in stored if isinstance(one, Stored)}.pop())
    assert len(set(runs)) == 3
    assert runs[1] == runs[2]
    again = await rig.append(*night(None))
    assert all(isinstance(one, Stored) and one.duplicate for one in again), "who tells no time repeats itself"


async def test_of_what_goes_on_from_nothing_stored_no_part_is_kept(rig: Rig) -> None:
    """Whether a batch is sent again whole is asked of its items before their turn, and before they are refused."""
    unknown = HistoryBase(b"u" * NAME_BYTES, 1)
    facts = Facts(effects=Effects(checkpoint=CheckpointFacts(0, "idle", length=1)))
    batch = (
        draft(E.RUN_STARTED, RunByTrace("t", "x", reopen=True), natural_key="thread_started", facts=START),
        draft(E.CHECKPOINT, traced("x", "t"), {"s": 0}, facts=facts, history=History([b"1"], None, unknown)),
        draft(E.RUN_COMPLETED, traced("x", "t"), natural_key="thread_completed"),
    )
    for _ in range(2):
        results = await rig.append(*batch)
        assert isinstance(results[1], Refusal)
        assert results[1].code == "unknown_base"
    assert await rig.store.content(rig.org, "nodes", 0, 10) == []
    own = HistoryBase(prefix_names([message_name(b"1")], unknown.node)[-1], 2)
    [refused] = await rig.append(state(1, {}, history=History([b"2"], None, own)))
    assert isinstance(refused, Refusal), "nor is it a base from now on"


# Checkpoints


def state(step: int, data: object, *, status: str = "completed", history: History | None = None) -> Draft:
    """A checkpoint of agent `a`."""
    facts = Facts(effects=Effects(checkpoint=CheckpointFacts(step, status)))
    return draft(E.CHECKPOINT, traced("x"), data, facts=facts, agent="a", history=history)


async def test_the_same_checkpoint_again_stores_nothing_and_another_body_is_a_revision(rig: Rig) -> None:
    history = History([b'{"a":1}'], None)
    results = await stored(rig, state(0, {"t": 1}, history=history), state(0, {"t": 1}, history=history))
    assert [result.duplicate for result in results] == [False, True]
    rig.engine.forget()
    results = await stored(
        rig,
        state(0, {"t": 1}, history=history),
        state(0, {"t": 2}, history=history),
        state(0, {"t": 2}, history=History([b'{"a":2}'], None)),
        state(0, {"t": 2}, history=History([b'{"a":2}'], [b"{}"])),
    )
    assert [result.duplicate for result in results] == [True, False, False, False]
    row = await rig.run(results[0].run_id)
    [kept] = await rig.store.checkpoints(rig.org, row.run, 10, None)
    assert (kept.revision, kept.seq, kept.length) == (4, 4, 1)


# Agents


async def test_agents_register_themselves_by_name(rig: Rig) -> None:
    await stored(rig, draft(agent="a"), draft(agent="b"), draft(agent="a"), draft(run="other"))
    agents = {row.name: row for row in await rig.store.agents(rig.org, 10, None, None)}
    assert set(agents) == {"a", "b", "default"}
    assert [agents[name].event_count for name in ("a", "b", "default")] == [2, 1, 1]
    assert len({row.agent_id for row in agents.values()}) == 3


async def test_an_event_without_an_agent_is_its_runs(rig: Rig) -> None:
    first = await one(rig, draft(agent="a"))
    second = await one(rig, draft())
    assert (first.agent, second.agent) == ("a", "a")
    assert (await one(rig, draft(run="new", agent_default="guest"))).agent == "guest"


async def test_a_command_may_name_its_agent_by_id(rig: Rig) -> None:
    made = await rig.do(RegisterAgent("a"))
    assert isinstance(made, AgentView)
    done = await rig.do(Append("activity", [draft()], made.row.agent_id))
    assert done.results[0].agent == "a"
    with pytest.raises(NotFound, match="agent"):
        await rig.do(Append("activity", [draft()], "nobody"))
    assert len(await rig.log()) == 1


async def test_a_sign_of_life_adds_no_event(rig: Rig) -> None:
    rig.clock.advance(5)
    results = await stored(rig, AgentHeartbeat("a"), draft(agent="a"))  # type: ignore[arg-type]
    assert results[0].position == 0
    [agent] = await rig.store.agents(rig.org, 10, None, None)
    assert (agent.last_heartbeat_at, agent.event_count) == (rig.clock.now_ms(), 1)


# Tool calls


async def test_a_result_is_paired_with_the_newest_open_call_of_its_tool(rig: Rig) -> None:
    calls = [draft(E.TOOL_CALL, "t", {"n": n}, facts=Facts(tool=tool)) for n, tool in enumerate(("sh", "web", "sh"))]
    results = [draft(E.TOOL_RESULT, "t", {}, facts=Facts(tool=tool)) for tool in ("sh", "sh", "web", "sh")]
    await stored(rig, *calls, *results)
    ids = [msgspec.json.decode(event.data)["tool_call_id"] for event in await rig.log()]
    assert ids == ["call-1", "call-2", "call-3", "call-3", "call-1", "call-2", "call-7"]
    assert [event.facts.tool_call_id for event in await rig.log()] == ids


async def test_a_senders_own_call_id_is_left_as_it_is(rig: Rig) -> None:
    facts = Facts(tool="sh", tool_call_id="own")
    await one(rig, draft(E.TOOL_CALL, "t", b'{"x":1}', facts=facts))
    assert (await rig.log())[0].data == b'{"x":1}'


async def test_a_repeated_call_is_known_again_although_it_was_given_an_id(rig: Rig) -> None:
    call = draft(E.TOOL_CALL, traced("x"), {"n": 1}, facts=Facts(tool="sh"), event_id="id")
    results = await stored(rig, call, call)
    assert [result.duplicate for result in results] == [False, True]
