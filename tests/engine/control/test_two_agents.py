"""Two agents in one thread, each with a run of its own: what is asked of one reaches no run of the other."""

from __future__ import annotations

import pytest

from tests.engine.control.test_handed_on import ASKED, resumed_by
from tests.engine.reactions.test_next_runs import START, WAITS, Told, item, rows, sound, state, statuses, tell
from tests.support.factories import draft
from tests.support.rig import Rig
from towerlog.engine.load.lives import MAX_LATER
from towerlog.errors import RunNotActive
from towerlog.model.budget import BudgetAction, BudgetScope, CreateBudget, Period
from towerlog.model.command import Append, CancelRun, KillRun, SteerRun
from towerlog.model.event import EventType, RunById
from towerlog.model.facts import Facts
from towerlog.model.run import RunRow


async def begin(rig: Rig, trace: str, agent: str | None, step: int = 1) -> Told:
    """An agent's start and its first state, a second later than what was before; what it is told. None: it names no
    agent."""
    rig.clock.advance(1_000)
    named = {"agent_id": agent}
    return await tell(rig, {"type": "thread_started", "data": {"model": "m", **named}}, say(agent, step), trace=trace)


def say(agent: str | None, step: int, **more: object) -> dict[str, object]:
    return state(step, agent_id=agent, **more)


async def two(rig: Rig) -> list[RunRow]:
    """Runs of the agents a and b, both at work."""
    await begin(rig, "A", "a")
    await begin(rig, "B", "b")
    rig.clock.advance(1_000)
    await tell(rig, say("a", 2), trace="A")
    await tell(rig, say("b", 2), trace="B")
    return await rows(rig)


@pytest.mark.parametrize("what", ASKED)
@pytest.mark.parametrize("order", ["before", "after"])
@pytest.mark.parametrize("which", [0, 1])
async def test_when_one_begins_anew_it_gets_what_is_asked_of_it_alone(
    rig: Rig, what: str, order: str, which: int
) -> None:
    ask, wanted = ASKED[what]
    both = await two(rig)
    if order == "before":
        await rig.do(ask(both[which].run_id))
    await begin(rig, "A2", "a", 3)
    if order == "after":
        await rig.do(ask(both[which].run_id))
    told_a = await tell(rig, say("a", 4), trace="A2")
    told_b = await tell(rig, say("b", 3), trace="B")
    assert (told_a, told_b) == ((wanted, []) if which == 0 else ([], wanted))
    a, b, new = await rows(rig)
    assert (new.resumed_from, b.resumed_from) == (a.run_id, None)
    assert (await resumed_by(rig, a.run_id), await resumed_by(rig, b.run_id)) == (new.run_id, None)
    assert "lost" not in await statuses(rig)
    await sound(rig)


async def test_each_begins_anew_from_its_own(rig: Rig) -> None:
    a, b = await two(rig)
    await begin(rig, "A2", "a", 3)
    await begin(rig, "B2", "b", 3)
    assert [row.resumed_from for row in (await rows(rig))[2:]] == [a.run_id, b.run_id]


async def test_the_pause_of_the_other_holds_where_it_was_made(rig: Rig) -> None:
    _, b = await two(rig)
    await rig.do(SteerRun(b.run_id, "pause", "look"))
    [pause] = (await rig.run(b.run_id)).pending
    await tell(rig, {"type": "command_acknowledged", "data": {"command_id": pause.command_id}}, trace="B")
    assert await begin(rig, "A2", "a", 3) == []
    assert await statuses(rig) == ["running", "paused", "running"]
    await sound(rig)


async def test_a_budget_of_one_agent_asks_no_run_of_the_other(rig: Rig) -> None:
    await rig.do(
        CreateBudget(
            name="m", scope=BudgetScope(agent="a"), amount_nanos=10**9, period=Period.TOTAL, action=BudgetAction.CANCEL
        )
    )
    await begin(rig, "A", "a")
    await tell(rig, say("a", 2, run_cost_usd=2.0), trace="A")
    assert await begin(rig, "B", "b") == []
    assert await statuses(rig) == ["cancelling", "running"]


async def test_a_run_goes_on_from_an_ended_one_of_another_agent(rig: Rig) -> None:
    """An agent hands its thread to the next one."""
    await begin(rig, "A", "a")
    await tell(rig, {"type": "thread_completed", "data": {"agent_id": "a"}}, trace="A")
    await begin(rig, "B", "b")
    a, b = await rows(rig)
    assert b.resumed_from == a.run_id


@pytest.mark.parametrize(("first", "second"), [(None, "a"), ("a", None)])
async def test_where_one_is_not_named_it_may_be_the_same(rig: Rig, first: str | None, second: str | None) -> None:
    await begin(rig, "A", first)
    await begin(rig, "A2", second)
    old, new = await rows(rig)
    assert new.resumed_from == old.run_id


async def test_one_that_turns_out_to_be_another_agents_is_asked_alone(rig: Rig) -> None:
    """So it is with what was stored before a run went on from its own agent's alone."""
    await begin(rig, "A", "a")
    await begin(rig, "B", None)
    rig.clock.advance(1_000)
    await tell(rig, say("b", 2), trace="B")
    a, b = await rows(rig)
    assert (b.agent, b.resumed_from) == ("b", a.run_id)
    await rig.do(CancelRun(a.run_id, "enough"))
    assert await tell(rig, say("b", 3), trace="B") == []
    assert (await statuses(rig), await resumed_by(rig, a.run_id)) == (["cancelling", "running"], None)


async def test_what_waits_in_one_is_not_withdrawn_where_the_other_tells_the_same_sub_agent(rig: Rig) -> None:
    await begin(rig, "A", "a")
    await tell(rig, say("c", 2, **WAITS), trace="A")
    await begin(rig, "B", None)
    await tell(rig, say("b", 2), trace="B")
    await tell(rig, say("c", 3), trace="B")
    a, b = await rows(rig)
    assert b.resumed_from == a.run_id
    assert [share.awaited_step for agent, share in a.shares.items() if agent == "c"] == [2]
    assert not a.is_terminal()
    await sound(rig)


async def test_a_run_that_one_agent_has_handed_to_another_is_begun_anew_by_either(rig: Rig) -> None:
    """Both tell states in one run; the runner begins where it was."""
    await begin(rig, "A", "a")
    await tell(rig, say("b", 2), trace="A")
    await begin(rig, "C", "c")
    await begin(rig, "A2", "b", 3)
    a, c, new = await rows(rig)
    assert (c.resumed_from, new.resumed_from) == (None, a.run_id)
    await rig.do(SteerRun(a.run_id, "pause", "look"))
    assert await tell(rig, say("b", 4), trace="A2") == [("pause", "look")]
    assert await tell(rig, say("c", 2), trace="C") == []


async def test_the_named_one_is_nearer_than_one_without_a_name(rig: Rig) -> None:
    await begin(rig, "A", "a")
    await begin(rig, "N", None)
    await begin(rig, "A2", "a")
    old, _, new = await rows(rig)
    assert new.resumed_from == old.run_id


async def test_two_told_of_in_one_post_are_asked_alone(rig: Rig) -> None:
    post = [(START, "A"), (state(1), "A"), (START, "B"), (state(1), "B"), (state(2), "A")]
    await rig.do(Append("checkpoints", [item(event, trace) for event, trace in post]), dialect="checkpoints")
    a, b = await rows(rig)
    assert b.resumed_from == a.run_id
    await rig.do(CancelRun(a.run_id, "enough"))
    assert await statuses(rig) == ["cancelling", "running"]
    assert await resumed_by(rig, a.run_id) is None
    assert await tell(rig, state(3), trace="B") == []


@pytest.mark.parametrize("before", ["cancel", "message", "pause"])
async def test_who_kills_a_run_that_was_asked_already_is_told_what_else_ended(rig: Rig, before: str) -> None:
    await begin(rig, "A", "a")
    [a] = await rows(rig)
    if before == "message":
        await rig.do(ASKED[before][0](a.run_id))
    await begin(rig, "B", "a", 2)
    rig.clock.advance(1_000)
    if before != "message":
        await rig.do(ASKED[before][0](a.run_id))
    rig.clock.advance(1_000)
    done = await rig.do(KillRun(a.run_id))
    _, b = await rows(rig)
    assert await statuses(rig) == ["cancelled", "cancelled"]
    assert (done.resumed_by, await resumed_by(rig, a.run_id)) == (b.run_id, b.run_id)
    await sound(rig)


@pytest.mark.parametrize("what", ASKED)
@pytest.mark.parametrize("is_forgotten", [True, False])
async def test_it_reaches_the_last_of_as_many_as_are_looked_through(rig: Rig, what: str, is_forgotten: bool) -> None:
    ask, wanted = ASKED[what]
    assert MAX_LATER >= 32
    for life in range(MAX_LATER + 1):
        await begin(rig, f"A{life}", "a", life + 1)
    first, *_, last = await rows(rig)
    if is_forgotten:
        rig.engine.forget()
    assert await resumed_by(rig, first.run_id) == last.run_id
    await rig.do(ask(first.run_id))
    assert await tell(rig, say("a", 50), trace=last.trace_id) == wanted


@pytest.mark.parametrize("what", [*ASKED, "kill"])
async def test_past_that_it_is_refused_and_the_newest_is_named(rig: Rig, what: str) -> None:
    for life in range(MAX_LATER + 2):
        await begin(rig, f"A{life}", "a", life + 1)
    first, second, *_, last = await rows(rig)
    ask = KillRun if what == "kill" else ASKED[what][0]
    with pytest.raises(RunNotActive, match=last.run_id) as refused:
        await rig.do(ask(first.run_id))
    assert refused.value.details == {"resumed_by": last.run_id}
    assert set(await statuses(rig)) == {"running"}
    await rig.do(ask(second.run_id))


async def test_what_goes_on_beside_one_between_does_not_count(rig: Rig) -> None:
    """The runner that was begun anew for the 20th time told more when the next one had begun."""
    for life in range(MAX_LATER + 2):
        await begin(rig, f"A{life}", "a", life + 1)
        if life == 21:
            rig.clock.advance(1_000)
            await tell(rig, say("a", 60), trace="A20")
    first = (await rows(rig))[0]
    await rig.do(SteerRun(first.run_id, "pause", "look"))
    assert await tell(rig, say("a", 61), trace="A20") == [("pause", "look")]
    assert await tell(rig, say("a", 62), trace="A21") == []


@pytest.mark.parametrize("taken", [True, False])
async def test_a_run_that_waits_for_a_person_still_counts_as_left(rig: Rig, taken: bool) -> None:
    """Where its pause goes over, the server says of it that it is resumed."""
    await begin(rig, "A", "a")
    await tell(rig, say("a", 2, **WAITS), trace="A")
    [old] = await rows(rig)
    await rig.do(SteerRun(old.run_id, "pause", "look"))
    if taken:
        [pause] = (await rig.run(old.run_id)).pending
        await tell(rig, {"type": "command_acknowledged", "data": {"command_id": pause.command_id}}, trace="A")
    rig.clock.advance(1_000)
    await tell(rig, {"type": "thread_started", "data": {"agent_id": "a"}}, trace="B")
    rig.clock.advance(1_000)
    await rig.do(CancelRun(old.run_id, "enough"))
    assert await resumed_by(rig, old.run_id) == (await rows(rig))[1].run_id
    assert await statuses(rig) == ["cancelling", "cancelling"]


@pytest.mark.parametrize("waits", ["approval", "question"])
async def test_one_whose_wait_was_withdrawn_later_names_the_next(rig: Rig, waits: str) -> None:
    await begin(rig, "A", "a")
    [old] = await rows(rig)
    if waits == "approval":
        await tell(rig, say("a", 2, **WAITS), trace="A")
    else:
        asks = draft(EventType.RUN_WAITING, RunById(old.run_id), {"question": "ok?"}, facts=Facts(question="ok?"))
        await rig.do(Append("native", [asks]))
    rig.clock.advance(1_000)
    await tell(rig, {"type": "thread_started", "data": {"agent_id": "a"}}, trace="B")
    rig.clock.advance(1_000)
    await tell(rig, say("a", 3), trace="B")
    assert await statuses(rig) == ["lost", "running"]
    assert await resumed_by(rig, old.run_id) == (await rows(rig))[1].run_id
