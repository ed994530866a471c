"""What people want of a run holds for its runner when that is begun again, under the same trace or under another."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.support.factories import draft
from tests.support.rig import Rig
from towerlog.dialects.base import DialectSettings
from towerlog.dialects.checkpoints.events import Places, RunnerEvent, draft_of
from towerlog.engine.verify import verify_org
from towerlog.errors import NotWaiting, QuestionClosed, RunNotActive
from towerlog.model.approval import AnswerApproval, ApprovalRef, ApprovalState, GetApproval
from towerlog.model.approval_views import ApprovalView
from towerlog.model.budget import BudgetAction, BudgetScope, CreateBudget, Period
from towerlog.model.checkpoint import CheckpointView
from towerlog.model.command import Append, CancelRun, Decide, GiveInput, SteerRun
from towerlog.model.event import EventType, Item, RunById
from towerlog.model.facts import Facts
from towerlog.model.question import LatestCheckpoint, ListApprovals
from towerlog.model.retention import EraseRun
from towerlog.model.run import RunRow, Status

Json = dict[str, Any]
Told = list[tuple[str, str | None]]
START: Json = {"type": "thread_started", "data": {"model": "m"}}
PAUSE, CANCEL = [("pause", "look")], [("cancel", "enough")]


def state(step: int, word: str = "a", **more: Any) -> Json:
    history = [{"role": "assistant", "content": f"{word}{index}"} for index in range(step)]
    return {"type": "checkpoint", "data": {"step_index": step, "status": "in_progress", "history": history, **more}}


def item(event: Json, trace: str) -> Item:
    named = {"thread_id": "t", "agent_id": "writer", "trace_id": trace}
    whole = msgspec.convert({**event, "data": msgspec.Raw(msgspec.json.encode(named | event["data"]))}, RunnerEvent)
    return draft_of(whole, DialectSettings(), Places(), [])


async def tell(rig: Rig, *events: Json, trace: str = "A") -> Told:
    """One post; what the reply wants."""
    done = await rig.do(Append("checkpoints", [item(one, trace) for one in events]), dialect="checkpoints")
    return [(one.type, one.content) for one in done.results[-1].commands]  # type: ignore[union-attr]


async def rows(rig: Rig) -> list[RunRow]:
    """The runs of the thread, oldest first."""
    born = [event.effects.origin for event in await rig.log()]
    return [await rig.run(one.run_id) for one in born if one is not None]


async def statuses(rig: Rig) -> list[str]:
    return [row.status.value for row in await rows(rig)]


async def acknowledge(rig: Rig, trace: str = "A") -> None:
    pending = (await rows(rig))[-1].pending
    await tell(rig, {"type": "command_acknowledged", "data": {"command_id": pending[0].command_id}}, trace=trace)


async def sound(rig: Rig) -> None:
    complaints: list[str] = []
    assert await verify_org(rig.store, rig.org, complaints.append) == 0, complaints


async def asked(rig: Rig, what: str, *, taken: bool) -> RunRow:
    """A run whose runner was asked to pause or to end, and has acknowledged that where it is `taken`."""
    await tell(rig, START, state(1))
    [row] = await rows(rig)
    await rig.do(SteerRun(row.run_id, "pause", "look") if what == "pause" else CancelRun(row.run_id, "enough"))
    assert await tell(rig, state(2)) == (PAUSE if what == "pause" else CANCEL)
    if taken:
        await acknowledge(rig)
        assert await statuses(rig) == ["paused" if what == "pause" else "cancelling"]
    return row


@pytest.mark.parametrize("what", ["pause", "cancel"])
async def test_a_runner_begun_again_under_its_trace_is_told_again(rig: Rig, what: str) -> None:
    await asked(rig, what, taken=True)
    wanted = PAUSE if what == "pause" else CANCEL
    assert await tell(rig, START) == wanted
    assert await tell(rig, state(3)) == wanted, "until it is acknowledged"
    assert await statuses(rig) == ["running" if what == "pause" else "cancelling"], "nobody who works on is paused"
    await acknowledge(rig)
    assert await statuses(rig) == ["paused" if what == "pause" else "cancelling"]
    await sound(rig)


@pytest.mark.parametrize("what", ["pause", "cancel"])
async def test_a_runner_that_works_on_without_a_start_is_told_again(rig: Rig, what: str) -> None:
    await asked(rig, what, taken=True)
    for step in (3, 4):
        assert await tell(rig, state(step)) == (PAUSE if what == "pause" else CANCEL)
    await sound(rig)


@pytest.mark.parametrize("taken", [True, False])
@pytest.mark.parametrize("trace", ["A", "B"])
async def test_the_next_run_of_a_thread_inherits_the_pause(rig: Rig, trace: str, taken: bool) -> None:
    old = await asked(rig, "pause", taken=taken)
    steps = [START, state(1, "b")]
    told = [await tell(rig, one, trace=trace) for one in steps]
    assert told[-1] == PAUSE
    if trace == "B":
        assert told[0] == PAUSE, "with its first reply"
    now = await rows(rig)
    assert (len(now), now[1].resumed_from) == (2, old.run_id)
    assert now[0].status is (Status.LOST if taken or trace == "A" else Status.RUNNING), "nobody is paused there"
    await acknowledge(rig, trace)
    assert (await rows(rig))[1].status is Status.PAUSED
    await rig.do(SteerRun(now[1].run_id, "resume"))
    assert await tell(rig, state(2, "b"), trace=trace) == [("resume", None)]
    await acknowledge(rig, trace)
    assert (await rows(rig))[1].status is Status.RUNNING
    await sound(rig)


@pytest.mark.parametrize("taken", [True, False])
async def test_the_next_run_of_a_thread_that_is_being_cancelled_is_cancelled(rig: Rig, taken: bool) -> None:
    await asked(rig, "cancel", taken=taken)
    assert await tell(rig, START, trace="B") == CANCEL
    assert await tell(rig, state(3), trace="B") == CANCEL
    assert await statuses(rig) == ["cancelling", "cancelling"]
    await sound(rig)


async def test_the_next_run_after_an_end_or_a_resume_is_asked_nothing(rig: Rig) -> None:
    old = await asked(rig, "pause", taken=True)
    await rig.do(SteerRun(old.run_id, "resume"))
    assert await tell(rig, START, trace="B") == []
    assert await statuses(rig) == ["lost", "running"], "nobody reads of a pause that is over"
    await rig.do(CancelRun((await rows(rig))[1].run_id))
    await tell(rig, {"type": "thread_error", "data": {"error": "stopped"}}, trace="B")
    assert await tell(rig, START, trace="C") == []
    await sound(rig)


async def test_a_pause_of_a_budget_is_told_again_and_is_the_budgets_in_the_next_run(rig: Rig) -> None:
    scope = BudgetScope(agent="writer")
    await rig.do(
        CreateBudget(name="b", scope=scope, amount_nanos=10**9, period=Period.TOTAL, action=BudgetAction.PAUSE)
    )
    [(kind, reason)] = await tell(rig, START, state(1, run_cost_usd=2))
    assert kind == "pause"
    await acknowledge(rig)
    assert await tell(rig, state(2, run_cost_usd=3)) == [("pause", reason)], "who spends on is asked again"
    await acknowledge(rig)
    assert [kind for kind, _ in await tell(rig, START, trace="B")] == ["pause"]
    [_, after] = await rows(rig)
    assert [(one.type, one.budget_id is None) for one in after.pending] == [("pause", False)]
    await sound(rig)


# What waits for a person

WAITS: Json = {"status": "waiting_for_approval", "pending_tool_calls": [{"id": "c1", "name": "rm"}]}
END: Json = {"type": "thread_completed", "data": {}}


async def inbox(rig: Rig) -> list[str]:
    """The traces of what waits."""
    page = await rig.do(ListApprovals(50))
    return [one.run.trace_id for one in page.rows]  # type: ignore[attr-defined]


async def refs(rig: Rig) -> list[ApprovalRef]:
    """What it is called."""
    page = await rig.do(ListApprovals(50))
    return [one.row.ref(one.run.run_id) for one in page.rows]


async def resumable(rig: Rig) -> tuple[str, int, str]:
    view = await rig.do(LatestCheckpoint("t"))
    assert isinstance(view, CheckpointView)
    return view.trace_id, view.row.step_index, view.row.status


@pytest.mark.parametrize("paused", [False, True])
async def test_a_runner_begun_again_under_another_trace_may_wait_on(rig: Rig, paused: bool) -> None:
    await tell(rig, START, state(1), state(2, **WAITS))
    [old] = await rows(rig)
    if paused:
        await rig.do(SteerRun(old.run_id, "pause", "look"))
        await acknowledge(rig)
        assert await statuses(rig) == ["paused"]
    assert await tell(rig, START, trace="B") == (PAUSE if paused else [])
    [asked] = await refs(rig)
    assert (await resumable(rig), await inbox(rig)) == (("A", 2, "waiting_for_approval"), ["A"])
    if paused:
        await acknowledge(rig, "B")
        assert await statuses(rig) == ["waiting_for_input", "paused"], "there is one run to resume"
    await rig.do(Decide("A", 2, "approved"))
    assert await resumable(rig) == ("A", 2, "approved")
    await tell(rig, state(3), trace="B")
    view = await rig.do(GetApproval(asked))
    assert isinstance(view, ApprovalView)
    assert view.closed is not None
    assert view.closed.state is ApprovalState.APPROVED, "the new run has taken it"
    first, second = await rows(rig)
    assert (first.status, first.error) == (
        Status.LOST,
        f"its runner was restarted and began anew as run {second.run_id}",
    )
    await sound(rig)


@pytest.mark.parametrize("goes_on", ["later", "lower", "end"])
async def test_what_nobody_waits_for_any_more_is_withdrawn(rig: Rig, goes_on: str) -> None:
    await tell(rig, START, state(1), state(2, **WAITS))
    await tell(rig, START, trace="B")
    [asked] = await refs(rig)
    assert await inbox(rig) == ["A"]
    await tell(rig, END if goes_on == "end" else state(3 if goes_on == "later" else 1, "b"), trace="B")
    first, second = await rows(rig)
    assert (first.status, await inbox(rig)) == (Status.LOST, [])
    [told] = [one for one in await rig.events(first.run_id) if b"withdrawn" in bytes(one.data)]
    data = msgspec.json.decode(told.data)
    assert (data["step_index"], data["status"], data["resumed_by"]) == (2, "withdrawn", second.run_id)
    with pytest.raises(NotWaiting, match=second.run_id):
        await rig.do(Decide("A", 2, "approved"))
    view = await rig.do(GetApproval(asked))
    assert isinstance(view, ApprovalView)
    assert view.closed is not None
    assert view.closed.state is ApprovalState.WITHDRAWN
    await tell(rig, START, trace="C")
    assert (await rows(rig))[2].resumed_from == second.run_id
    await sound(rig)
    await rig.do(EraseRun(first.run_id))
    await sound(rig)


async def test_a_question_is_withdrawn_with_its_run(rig: Rig) -> None:
    await tell(rig, START, state(1))
    [old] = await rows(rig)
    asks = draft(EventType.RUN_WAITING, RunById(old.run_id), {"question": "ok?"}, facts=Facts(question="ok?"))
    await rig.do(Append("native", [asks]))
    await tell(rig, START, trace="B")
    [asked] = await refs(rig)
    await tell(rig, state(2), trace="B")
    assert await refs(rig) == []
    view = await rig.do(GetApproval(asked))
    assert isinstance(view, ApprovalView)
    assert view.closed is not None
    assert view.closed.state is ApprovalState.WITHDRAWN
    after = (await rows(rig))[1].run_id
    with pytest.raises(QuestionClosed, match=after):
        await rig.do(AnswerApproval(asked, content="yes"))
    for question_id, kind in ((asked.seq, "input"), (None, "message")):
        with pytest.raises(RunNotActive, match=after):
            await rig.do(GiveInput(old.run_id, "yes", question_id, kind))
    await sound(rig)


async def test_a_run_with_an_answer_that_nobody_took_ends_once_the_next_one_goes_on(rig: Rig) -> None:
    """Whoever has answered sees that the run is lost, and that nobody takes the answer."""
    await tell(rig, START, state(1))
    [old] = await rows(rig)
    asks = draft(EventType.RUN_WAITING, RunById(old.run_id), {"question": "ok?"}, facts=Facts(question="ok?"))
    await rig.do(Append("native", [asks]))
    [asked] = await refs(rig)
    await rig.do(AnswerApproval(asked, content="yes"))
    await tell(rig, START, trace="B")
    assert await statuses(rig) == ["running", "running"], "it may take the answer still"
    await tell(rig, state(2), trace="B")
    first, second = await rows(rig)
    assert (first.status, second.run_id in (first.error or "")) == (Status.LOST, True)
    view = await rig.do(GetApproval(asked))
    assert isinstance(view, ApprovalView)
    assert view.closed is not None
    assert (view.closed.state, view.closed.resumed_at) == (ApprovalState.WITHDRAWN, None)
    await sound(rig)


@pytest.mark.parametrize(
    ("trace", "told", "state_of"),
    [
        ("B", [START, state(1, "b")], ApprovalState.WITHDRAWN),
        ("B", [START, state(1, "b"), state(2, "bb")], ApprovalState.WITHDRAWN),
        ("A", [START, state(1, "b")], ApprovalState.WITHDRAWN),
        ("B", [START, state(3)], ApprovalState.APPROVED),
        ("B", [START, state(1), state(2), state(3)], ApprovalState.APPROVED),
        ("B", [START, {**state(3), "data": {**state(3)["data"], "step_index": 1}}], ApprovalState.APPROVED),
    ],
)
async def test_an_approval_that_the_next_run_does_not_go_on_from_is_withdrawn(
    rig: Rig, trace: str, told: list[Json], state_of: ApprovalState
) -> None:
    """Nobody has made the call. Of a run that goes on from that state, under whatever number, it counts."""
    await tell(rig, START, state(1), state(2, **WAITS))
    [asked] = await refs(rig)
    await rig.do(AnswerApproval(asked, decision="approve"))
    for one in told:
        await tell(rig, one, trace=trace)
    assert await statuses(rig) == ["lost", "running"]
    view = await rig.do(GetApproval(asked))
    assert isinstance(view, ApprovalView)
    assert view.closed is not None
    assert (view.closed.state, view.closed.by is not None) == (state_of, True)
    await sound(rig)


async def test_a_run_that_broke_off_leaves_the_wait_to_the_next_one(rig: Rig) -> None:
    await tell(rig, START, state(1), state(2, **WAITS))
    await tell(rig, START, {"type": "thread_error", "data": {"error": "out of memory"}}, trace="B")
    await tell(rig, START, trace="C")
    assert (await resumable(rig), await inbox(rig)) == (("A", 2, "waiting_for_approval"), ["A"])
    # Two that were begun from it and are open: the one that goes on withdraws it all the same.
    await tell(rig, START, trace="D")
    await tell(rig, state(3), trace="D")
    assert (await inbox(rig), (await statuses(rig))[0]) == ([], "lost")
    await sound(rig)


async def test_another_agent_of_the_thread_withdraws_nothing(rig: Rig) -> None:
    await tell(rig, START, state(1, **WAITS))
    other = {"agent_id": "peer"}
    started = {**START, "data": {**START["data"], **other}}
    await tell(rig, started, state(3, **other), trace="B")
    assert await inbox(rig) == ["A"]
    await tell(rig, {**END, "data": other}, trace="B")
    assert (await inbox(rig), await statuses(rig)) == (["A"], ["waiting_for_input", "completed"])


@pytest.mark.parametrize("trace", ["A", "B"])
async def test_what_a_sub_agent_waits_for_goes_with_the_run_above_it(rig: Rig, trace: str) -> None:
    below = {"agent_id": "scout", "parent_trace_id": "A"}
    await tell(rig, START, state(1))
    await tell(rig, state(1, **WAITS, **below), trace="sub")
    await tell(rig, START, trace=trace)
    assert await inbox(rig) == ["sub"], "its runner may wait on"
    await tell(rig, state(1, "b") if trace == "A" else state(2), trace=trace)
    assert await inbox(rig) == []
    with pytest.raises(NotWaiting, match=(await rows(rig))[-1].run_id):
        await rig.do(Decide("sub", 1, "approved"))
    assert sorted(await statuses(rig)) == ["failed", "lost", "running"]
    await sound(rig)


@pytest.mark.parametrize("text", ["use staging", "use staging " * 500], ids=["short", "long"])
async def test_a_message_that_nobody_has_taken_goes_over_once(rig: Rig, text: str) -> None:
    """A long one stands in its event alone."""
    await tell(rig, START, state(1))
    [old] = await rows(rig)
    await rig.do(GiveInput(old.run_id, text, None, "message"))
    assert await tell(rig, START, trace="B") == [("message", text)]
    await acknowledge(rig, "B")
    assert await tell(rig, state(2), END, trace="B") == []
    assert await tell(rig, START, trace="C") == [], "it was read"
    [told] = [one for one in await rig.events((await rows(rig))[1].run_id) if one.type.value == "run.message"]
    data = msgspec.json.decode(told.data)
    assert (data["content"], data["resumed_from"], "by" in data) == (text, old.run_id, True)
    await sound(rig)


@pytest.mark.parametrize("is_long", [False, True], ids=["short", "long"])
async def test_a_message_goes_over_although_its_event_is_damaged(rig: Rig, is_long: bool) -> None:
    """No runner is kept from its start by what cannot be read."""
    text = "use staging" * (500 if is_long else 1)
    await tell(rig, START, state(1))
    [old] = await rows(rig)
    await rig.do(GiveInput(old.run_id, text, None, "message"))
    seq = (await rig.run(old.run_id)).pending[0].command_id
    sql = "UPDATE event SET type = 'tool.cull' WHERE run = ? AND seq = ?"
    await rig.store.writer.call(lambda db: db.execute(sql, (old.run, seq)).get)
    rig.engine.forget()
    [(kind, told)] = await tell(rig, START, trace="B")
    assert (kind, f"event {seq} of the run" in told if is_long else told == text) == ("message", True)
