"""Control: create by the thread's policy, cancel with descendants, answer, decide; threads and agents by hand."""

from __future__ import annotations

import msgspec
import pytest

from tests.support.factories import draft, traced
from tests.support.rig import Rig
from towerlog.engine.verify import verify_org
from towerlog.errors import Conflict, Invalid, NotFound, NotWaiting, QuestionClosed, RunNotActive, ThreadBusy
from towerlog.model.command import (
    CancelRun,
    Claim,
    CreateRun,
    CreateThread,
    Decide,
    GiveInput,
    RegisterAgent,
    Release,
    Report,
    SteerRun,
)
from towerlog.model.event import EventType, RunById
from towerlog.model.facts import CheckpointFacts, Effects, Facts
from towerlog.model.lane import QueueState
from towerlog.model.outcome import Claimed, Decided, NothingToClaim, RunCreated
from towerlog.model.pending import MAX_MESSAGES
from towerlog.model.question import GetRun, ListApprovals
from towerlog.model.run import MAX_THREAD_QUEUE, Status
from towerlog.store.values import Changes

E = EventType
LEASE_MS = 60_000


async def create(rig: Rig, thread: str = "t", **fields: object) -> str:
    """A queued run's id."""
    made = await rig.do(CreateRun(thread, **fields), dialect="runs")  # type: ignore[arg-type]
    assert isinstance(made, RunCreated)
    return made.run_id


async def lane_state(rig: Rig, run_id: str) -> QueueState:
    """Where the run stands in the queue."""
    lane = await rig.store.lane(rig.org, (await rig.run(run_id)).run)
    assert lane is not None
    return lane.state


async def statuses(rig: Rig, *run_ids: str) -> list[Status]:
    """Each run's status."""
    return [(await rig.run(run_id)).status for run_id in run_ids]


# Creating


async def test_a_run_is_made_as_it_was_asked_for(rig: Rig) -> None:
    made = await rig.do(CreateRun("t", "trace", "a", input=b'"hi"', metadata=b'{"k":1.50}', labels={"gpu": "yes"}))
    row = await rig.run(made.run_id)
    assert (row.status, row.thread_id, row.trace_id, row.agent, row.has_lane) == (
        Status.QUEUED,
        "t",
        "trace",
        "a",
        True,
    )
    assert (row.created_by, row.source, bytes(row.metadata)) == (rig.principal.user_id, "runs", b'{"k":1.50}')
    lane = await rig.store.lane(rig.org, row.run)
    assert lane is not None
    assert (lane.labels, lane.agent, lane.queued_at) == ({"gpu": "yes"}, "a", rig.clock.steady_ms())
    [event] = await rig.events(made.run_id)
    assert event.type is E.RUN_QUEUED
    assert event.data == b'{"input":"hi","metadata":{"k":1.50},"labels":{"gpu":"yes"}}'
    assert event.effects.metadata == msgspec.Raw(b'{"k":1.50}')


async def test_its_trace_names_it_for_those_who_report(rig: Rig) -> None:
    made = await rig.do(CreateRun("t", "trace"))
    [told] = await rig.append(draft(run=traced("trace", "t")))
    assert told.run_id == made.run_id


@pytest.mark.parametrize("field", ["parent_run_id", "persona_id", "route_id"])
async def test_what_does_not_exist_cannot_be_referred_to(rig: Rig, field: str) -> None:
    with pytest.raises(Invalid) as refused:
        await create(rig, **{field: "nothing"})
    assert refused.value.field == field
    assert await rig.log() == []


async def test_a_busy_thread_lets_the_next_run_wait(rig: Rig) -> None:
    first, second, third = [await create(rig) for _ in range(3)]
    states = [await lane_state(rig, run_id) for run_id in (first, second, third)]
    assert states == [QueueState.QUEUED, QueueState.BLOCKED, QueueState.BLOCKED]
    await rig.do(CancelRun(first))
    assert await lane_state(rig, second) is QueueState.QUEUED
    assert await lane_state(rig, third) is QueueState.BLOCKED


async def test_a_run_that_only_reports_keeps_no_worker_waiting(rig: Rig) -> None:
    await rig.append(draft(run=traced("x", "t")))
    assert await lane_state(rig, await create(rig)) is QueueState.QUEUED


async def test_a_thread_may_reject_while_it_is_busy(rig: Rig) -> None:
    await rig.do(CreateThread("t", policy="reject"))
    first = await create(rig)
    with pytest.raises(ThreadBusy):
        await create(rig)
    await rig.do(CancelRun(first))
    await create(rig)


async def test_a_thread_may_cancel_what_went_before(rig: Rig) -> None:
    await rig.do(CreateThread("t", policy="cancel_previous"))
    first = await create(rig)
    second = await create(rig)
    assert await statuses(rig, first, second) == [Status.CANCELLED, Status.QUEUED]
    assert await lane_state(rig, second) is QueueState.QUEUED
    claimed = await rig.do(Claim("w", LEASE_MS))
    assert claimed.view.row.run_id == second
    third = await create(rig)
    assert await statuses(rig, second, third) == [Status.CANCELLING, Status.QUEUED]
    assert await lane_state(rig, third) is QueueState.BLOCKED, "its turn comes when the one before has ended"


# Cancelling


async def test_a_queued_run_is_cancelled_at_once(rig: Rig) -> None:
    run_id = await create(rig)
    changed = await rig.do(CancelRun(run_id, "no more"))
    assert changed.row.status == Status.CANCELLED
    assert await lane_state(rig, run_id) is QueueState.DONE
    assert isinstance(await rig.do(Claim("w", LEASE_MS)), NothingToClaim)
    last = (await rig.events(run_id))[-1]
    assert msgspec.json.decode(last.data) == {"requested_by": rig.principal.user_id, "reason": "no more"}


async def test_a_running_run_is_asked_to_end_and_told_in_its_next_reply(rig: Rig) -> None:
    run_id = await create(rig)
    await rig.do(Claim("w", LEASE_MS))
    for _ in range(2):
        assert (await rig.do(CancelRun(run_id))).row.status == Status.CANCELLING
    report = await rig.do(Report(run_id, "w", []))
    assert [pending.type for pending in report.view.row.pending] == ["cancel"]
    types = [event.type for event in await rig.events(run_id)]
    assert types.count(E.RUN_CANCEL_REQUESTED) == 1


async def test_cancelling_is_idempotent_and_refused_after_another_end(rig: Rig) -> None:
    run_id = await create(rig)
    for _ in range(2):
        assert (await rig.do(CancelRun(run_id))).row.status == Status.CANCELLED
        assert [event.type for event in await rig.events(run_id)].count(E.RUN_CANCELLED) == 1
    [done] = await rig.append(draft(E.RUN_COMPLETED, "other"))
    with pytest.raises(RunNotActive):
        await rig.do(CancelRun(done.run_id))
    with pytest.raises(NotFound):
        await rig.do(CancelRun("nothing"))


async def test_descendants_are_cancelled_with_it(rig: Rig) -> None:
    root = await create(rig, "t0")
    child = await create(rig, "t1", parent_run_id=root)
    grandchild = await create(rig, "t2", parent_run_id=child)
    stranger = await create(rig, "t3")
    [reporter] = await rig.append(
        draft(run=traced("x", "t4"), facts=Facts(effects=Effects(parent_key=f"run:{grandchild}")))
    )
    await rig.do(CancelRun(root))
    expected = [Status.CANCELLED, Status.CANCELLED, Status.CANCELLED, Status.QUEUED, Status.CANCELLING]
    assert await statuses(rig, root, child, grandchild, stranger, reporter.run_id) == expected


async def test_a_run_of_another_organisation_is_not_there(rig: Rig) -> None:
    other = await rig.make_org("other")
    run_id = await create(rig)
    for command in (CancelRun(run_id), GiveInput(run_id, "x"), GetRun(run_id)):
        with pytest.raises(NotFound):
            await rig.do(command, principal=other)
    assert await statuses(rig, run_id) == [Status.QUEUED]


# Answering


async def test_an_answer_ends_the_wait_and_stays_until_it_is_taken(rig: Rig) -> None:
    [asked] = await rig.append(draft(E.RUN_WAITING, "t", facts=Facts(question="which?")))
    changed = await rig.do(GiveInput(asked.run_id, "this one\0"))
    assert changed.row.status is Status.RUNNING
    row = await rig.run(asked.run_id)
    assert [(pending.type, pending.content) for pending in row.pending] == [("input", "this one\0")]
    assert row.questions == ()
    await rig.append(draft(E.COMMAND_ACKNOWLEDGED, "t", facts=Facts(effects=Effects(acknowledges="input"))))
    assert (await rig.run(asked.run_id)).pending == ()


@pytest.mark.parametrize("kind", [E.RUN_PAUSED, E.RUN_CANCEL_REQUESTED, E.RUN_COMPLETED])
async def test_a_run_that_neither_waits_nor_runs_takes_no_input(rig: Rig, kind: EventType) -> None:
    [told] = await rig.append(draft(kind, "t"))
    with pytest.raises(RunNotActive):
        await rig.do(GiveInput(told.run_id, "x"))


async def test_inputs_that_nobody_takes_are_bounded(rig: Rig) -> None:
    [told] = await rig.append(draft(run="t"))
    for number in range(MAX_MESSAGES):
        await rig.do(GiveInput(told.run_id, str(number)))
    with pytest.raises(Conflict):
        await rig.do(GiveInput(told.run_id, "one too many"))
    changed = await rig.do(CancelRun(told.run_id))
    contents = [pending.content for pending in changed.row.pending]
    assert contents == [*map(str, range(MAX_MESSAGES)), None], "a cancel always has room, and drops nothing"


# Deciding


async def waiting(rig: Rig, agent: str = "a", step: int = 3, trace: str = "x") -> str:
    """A run whose checkpoint waits."""
    facts = Facts(effects=Effects(checkpoint=CheckpointFacts(step, "waiting_for_approval"), status=Status.WAITING))
    [told] = await rig.append(draft(E.CHECKPOINT, traced(trace, "t"), {"s": step}, facts=facts, agent=agent))
    return told.run_id


@pytest.mark.parametrize("status", ["approved", "rejected"])
async def test_a_decision_is_made_once(rig: Rig, status: str) -> None:
    run_id = await waiting(rig)
    assert len((await rig.do(ListApprovals(10))).rows) == 1
    assert await rig.do(Decide("x", 3, status, reason="because")) == Decided("x", 3, status)
    assert (await rig.run(run_id)).status is Status.RUNNING
    assert (await rig.do(ListApprovals(10))).rows == []
    [row] = await rig.store.checkpoints(rig.org, (await rig.run(run_id)).run, 10, None)
    assert (row.status, row.seq) == (status, 1)
    with pytest.raises(NotWaiting, match=status):
        await rig.do(Decide("x", 3, status))


async def test_a_decision_names_its_agent_where_several_wait(rig: Rig) -> None:
    await waiting(rig, "a")
    run_id = await waiting(rig, "b")
    await rig.do(Decide("x", 3, "approved", agent="b"))
    rows = await rig.store.checkpoints(rig.org, (await rig.run(run_id)).run, 10, None)
    assert {row.agent: row.status for row in rows} == {"a": "waiting_for_approval", "b": "approved"}


async def test_there_is_nothing_to_decide_about_what_is_not_there_or_over(rig: Rig) -> None:
    await waiting(rig)
    for wrong in (Decide("y", 3, "approved"), Decide("x", 4, "approved"), Decide("x", 3, "approved", agent="z")):
        with pytest.raises(NotFound):
            await rig.do(wrong)
    await rig.append(draft(E.RUN_FAILED, traced("x", "t")))
    with pytest.raises(NotWaiting):
        await rig.do(Decide("x", 3, "approved"))
    assert (await rig.do(ListApprovals(10))).rows == []


async def test_what_is_being_cancelled_can_be_rejected_and_not_approved(rig: Rig) -> None:
    """Whoever polls for the decision would carry out the calls of a run that somebody has cancelled."""
    run_id = await waiting(rig)
    await rig.do(CancelRun(run_id, "enough"))
    assert (await rig.run(run_id)).status is Status.CANCELLING
    with pytest.raises(NotWaiting, match="is being cancelled"):
        await rig.do(Decide("x", 3, "approved"))
    assert (await rig.do(Decide("x", 3, "rejected"))).status == "rejected"
    assert (await rig.run(run_id)).status is Status.CANCELLING


async def test_what_can_no_longer_be_decided_hides_nothing_that_can(rig: Rig) -> None:
    for number in range(3):
        await waiting(rig, trace=f"over {number}")
        await rig.append(draft(E.RUN_FAILED, traced(f"over {number}", "t")))
    await waiting(rig, trace="live")
    assert [view.run.trace_id for view in (await rig.do(ListApprovals(2))).rows] == ["live"]


# Threads and agents


async def test_a_thread_is_made_once_and_changed_where_told(rig: Rig) -> None:
    made = await rig.do(CreateThread("t", "Title", "reject"))
    again = await rig.do(CreateThread("t"))
    renamed = await rig.do(CreateThread("t", "Other"))
    assert (made.created, again.created, renamed.created) == (True, False, False)
    assert again.row == made.row
    assert (renamed.row.title, renamed.row.policy) == ("Other", "reject")
    assert (await rig.do(CreateThread())).row.thread_id != "t"


async def test_an_agent_is_registered_once(rig: Rig) -> None:
    made, again = await rig.do(RegisterAgent("a")), await rig.do(RegisterAgent("a"))
    assert (made.created, again.created) == (True, False)
    assert made.row.agent_id == again.row.agent_id
    await rig.append(draft(agent="b"))
    assert (await rig.do(RegisterAgent("b"))).created is False


async def test_control_leaves_a_sound_log(rig: Rig) -> None:
    await rig.do(CreateThread("t", policy="cancel_previous"))
    for _ in range(3):
        await create(rig)
        await rig.do(Claim("w", LEASE_MS))
    assert isinstance(await rig.do(Claim("w", LEASE_MS)), NothingToClaim | Claimed)
    run_id = await waiting(rig, trace="y")
    await rig.do(Decide("y", 3, "approved"))
    await rig.do(GiveInput(run_id, "x"))
    complaints: list[str] = []
    assert await verify_org(rig.store, rig.org, complaints.append) == 0, complaints
    assert isinstance(await rig.append(draft(run=RunById(run_id))), list)


async def test_a_threads_queue_has_an_end(rig: Rig) -> None:
    first = await create(rig)
    thread = await rig.store.thread(rig.org, "t")
    assert thread is not None
    crowd = (*thread.lane_runs, *range(10**6, 10**6 + MAX_THREAD_QUEUE - 2))
    async with rig.store.begin() as unit:
        await unit.commit(Changes(threads={(rig.org, "t"): msgspec.structs.replace(thread, lane_runs=crowd)}))
    rig.engine.forget()
    await create(rig)
    log = await rig.log()
    with pytest.raises(ThreadBusy) as refused:
        await create(rig)
    assert str(MAX_THREAD_QUEUE) in refused.value.message
    assert await rig.log() == log
    await create(rig, "another")
    await rig.do(CancelRun(first))
    await create(rig)


# Pausing


async def steered(rig: Rig) -> str:
    """A run that only reports; its id."""
    [told] = await rig.append(draft(E.RUN_STARTED, traced("x")))
    return told.run_id


async def pending_types(rig: Rig, run_id: str) -> list[str]:
    """What is pending."""
    return [pending.type for pending in (await rig.run(run_id)).pending]


@pytest.mark.parametrize("kind", [E.RUN_PAUSED, E.COMMAND_ACKNOWLEDGED])
async def test_a_run_is_paused_when_its_agent_says_so_and_not_before(rig: Rig, kind: EventType) -> None:
    run_id = await steered(rig)
    view = await rig.do(SteerRun(run_id, "pause", "lunch"))
    assert (view.row.status, await pending_types(rig, run_id)) == (Status.RUNNING, ["pause"])
    assert msgspec.json.decode((await rig.events(run_id))[-1].data) == {
        "requested_by": rig.principal.user_id,
        "reason": "lunch",
    }
    await rig.append(draft(kind, traced("x"), facts=Facts(effects=Effects(acknowledges="pause"))))
    assert (await statuses(rig, run_id), await pending_types(rig, run_id)) == ([Status.PAUSED], [])
    await rig.do(SteerRun(run_id, "resume"))
    assert await pending_types(rig, run_id) == ["resume"]
    back = E.RUN_RESUMED if kind is E.RUN_PAUSED else E.COMMAND_ACKNOWLEDGED
    await rig.append(draft(back, traced("x"), facts=Facts(effects=Effects(acknowledges="resume"))))
    assert (await statuses(rig, run_id), await pending_types(rig, run_id)) == ([Status.RUNNING], [])


async def test_asking_again_adds_nothing(rig: Rig) -> None:
    run_id = await steered(rig)
    await rig.do(SteerRun(run_id, "resume"))
    assert await pending_types(rig, run_id) == [], "it is running"
    for _ in range(2):
        await rig.do(SteerRun(run_id, "pause"))
    assert await pending_types(rig, run_id) == ["pause"]
    await rig.append(draft(E.RUN_PAUSED, traced("x"), facts=Facts(effects=Effects(acknowledges="pause"))))
    count = len(await rig.events(run_id))
    await rig.do(SteerRun(run_id, "pause"))
    assert len(await rig.events(run_id)) == count
    for _ in range(2):
        await rig.do(SteerRun(run_id, "resume"))
    assert await pending_types(rig, run_id) == ["resume"]


async def test_a_wish_takes_the_place_of_its_opposite(rig: Rig) -> None:
    run_id = await steered(rig)
    await rig.do(GiveInput(run_id, "x"))
    await rig.do(SteerRun(run_id, "pause"))
    await rig.do(SteerRun(run_id, "resume"))
    assert await pending_types(rig, run_id) == ["message", "resume"]
    await rig.append(draft(E.COMMAND_ACKNOWLEDGED, traced("x"), facts=Facts(effects=Effects(acknowledges="pause"))))
    assert await statuses(rig, run_id) == [Status.RUNNING], "nobody asks for that any more"
    await rig.do(SteerRun(run_id, "pause"))
    assert await pending_types(rig, run_id) == ["message", "pause"]


async def paused_by_its_worker(rig: Rig, thread: str = "t") -> str:
    """A run whose worker has taken a pause, and then given the run back."""
    run_id = await create(rig, thread)
    await rig.do(Claim("w", LEASE_MS))
    await rig.do(SteerRun(run_id, "pause", "lunch"))
    taken = draft(E.RUN_PAUSED, RunById(run_id), facts=Facts(effects=Effects(acknowledges="pause")))
    await rig.do(Report(run_id, "w", [taken]))
    assert (await statuses(rig, run_id), await pending_types(rig, run_id)) == ([Status.PAUSED], [])
    await rig.do(Release(run_id, "w"))
    return run_id


async def test_a_pause_outlives_the_worker_that_has_taken_it(rig: Rig) -> None:
    run_id = await paused_by_its_worker(rig)
    count = len(await rig.events(run_id))
    await rig.do(SteerRun(run_id, "pause"))
    assert len(await rig.events(run_id)) == count, "it is paused already"
    claimed = await rig.do(Claim("w2", LEASE_MS))
    assert [(one.type, one.content) for one in claimed.view.row.pending] == [("pause", "lunch")]
    kinds = [event.type for event in await rig.events(run_id)]
    assert E.COMMAND_DELIVERED in kinds[len(kinds) - kinds[::-1].index(E.LANE_CLAIMED) :], "with a receipt of its own"
    taken = draft(E.COMMAND_ACKNOWLEDGED, RunById(run_id), facts=Facts(effects=Effects(acknowledges="pause")))
    await rig.do(Report(run_id, "w2", [taken]))
    assert await statuses(rig, run_id) == [Status.PAUSED]
    complaints: list[str] = []
    assert await verify_org(rig.store, rig.org, complaints.append) == 0, complaints


async def test_a_pause_that_was_ended_does_not_come_back_with_the_next_worker(rig: Rig) -> None:
    run_id = await paused_by_its_worker(rig)
    await rig.do(SteerRun(run_id, "resume"))
    claimed = await rig.do(Claim("w2", LEASE_MS))
    assert [one.type for one in claimed.view.row.pending] == ["resume"]
    other = await paused_by_its_worker(rig, "other")
    await rig.do(Claim("w2", LEASE_MS))
    taken = draft(E.RUN_PAUSED, RunById(other), facts=Facts(effects=Effects(acknowledges="pause")))
    await rig.do(Report(other, "w2", [taken]))
    await rig.do(Report(other, "w2", [draft(E.RUN_RESUMED, RunById(other))]))
    await rig.do(Release(other, "w2"))
    claimed = await rig.do(Claim("w3", LEASE_MS))
    assert claimed.view.row.pending == (), "its agent went on by itself"


async def test_a_pause_that_nobody_asked_for_ends_with_its_worker(rig: Rig) -> None:
    run_id = await create(rig)
    await rig.do(Claim("w", LEASE_MS))
    await rig.do(Report(run_id, "w", [draft(E.RUN_PAUSED, RunById(run_id))]))
    await rig.do(Release(run_id, "w"))
    assert (await rig.do(Claim("w2", LEASE_MS))).view.row.pending == ()


async def test_what_has_ended_or_is_about_to_is_not_paused(rig: Rig) -> None:
    run_id = await steered(rig)
    await rig.do(CancelRun(run_id))
    for action in ("pause", "resume"):
        with pytest.raises(RunNotActive):
            await rig.do(SteerRun(run_id, action))
    await rig.append(draft(E.RUN_COMPLETED, traced("x")))
    with pytest.raises(RunNotActive):
        await rig.do(SteerRun(run_id, "pause"))
    with pytest.raises(NotFound):
        await rig.do(SteerRun(run_id, "pause"), principal=await rig.make_org("other"))


async def test_a_run_that_waits_is_no_less_waiting_for_a_resume_that_was_taken(rig: Rig) -> None:
    run_id = await steered(rig)
    await rig.do(SteerRun(run_id, "pause"))
    await rig.do(SteerRun(run_id, "resume"))
    await rig.append(draft(E.RUN_WAITING, traced("x")))
    await rig.append(draft(E.COMMAND_ACKNOWLEDGED, traced("x"), facts=Facts(effects=Effects(acknowledges="resume"))))
    assert await statuses(rig, run_id) == [Status.WAITING]


# A question without a worker


async def test_a_question_outlives_its_worker(rig: Rig) -> None:
    run_id = await create(rig)
    await rig.do(Claim("w", LEASE_MS))
    await rig.do(Report(run_id, "w", [draft(E.RUN_WAITING, RunById(run_id), facts=Facts(question="which?"))]))
    rig.clock.advance(LEASE_MS)
    await rig.engine.sweep()
    assert await statuses(rig, run_id) == [Status.QUEUED]
    changed = await rig.do(GiveInput(run_id, "this one"))
    assert changed.row.status is Status.QUEUED, "it still waits for a worker"
    with pytest.raises(QuestionClosed):
        await rig.do(GiveInput(run_id, "once is enough"))
    claimed = await rig.do(Claim("w2", LEASE_MS))
    assert [(one.type, one.content) for one in claimed.view.row.pending] == [("input", "this one")]
    assert claimed.view.row.status is Status.RUNNING
    complaints: list[str] = []
    assert await verify_org(rig.store, rig.org, complaints.append) == 0, complaints


@pytest.mark.parametrize("asked", [True, False])
async def test_only_a_question_makes_a_queued_run_take_input(rig: Rig, asked: bool) -> None:
    run_id = await create(rig)
    with pytest.raises(RunNotActive):
        await rig.do(GiveInput(run_id, "too early"))
    await rig.do(Claim("w", LEASE_MS))
    if asked:
        await rig.do(Report(run_id, "w", [draft(E.RUN_WAITING, RunById(run_id))]))
        await rig.do(GiveInput(run_id, "answered"))
    rig.clock.advance(LEASE_MS)
    await rig.engine.sweep()
    with pytest.raises(QuestionClosed if asked else RunNotActive):
        await rig.do(GiveInput(run_id, "nobody asks"))
