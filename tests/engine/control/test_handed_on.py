"""What is asked of a run whose runner began anew reaches the run that goes on from it, or is refused and names it."""

from __future__ import annotations

import pytest

from tests.engine.reactions.test_next_runs import START, Told, acknowledge, rows, sound, state, statuses, tell
from tests.support.rig import Rig
from towerlog.errors import RunNotActive
from towerlog.model.command import CancelRun, GiveInput, KillRun, SteerRun
from towerlog.model.outcome import RunView
from towerlog.model.question import GetRun
from towerlog.model.run import RunRow

ASKED = {
    "pause": (lambda run_id: SteerRun(run_id, "pause", "look"), [("pause", "look")]),
    "cancel": (lambda run_id: CancelRun(run_id, "enough"), [("cancel", "enough")]),
    "message": (lambda run_id: GiveInput(run_id, "hello", None, "message"), [("message", "hello")]),
}


async def begun_anew(rig: Rig, *traces: str) -> list[RunRow]:
    """A run, and those of the same runner that go on from it one after the other."""
    await tell(rig, START, state(1))
    for trace in traces or ("B",):
        rig.clock.advance(1_000)
        await tell(rig, START, state(2), trace=trace)
    return await rows(rig)


async def resumed_by(rig: Rig, run_id: str) -> str | None:
    view = await rig.do(GetRun(run_id))
    assert isinstance(view, RunView)
    return view.resumed_by


@pytest.mark.parametrize("what", ASKED)
@pytest.mark.parametrize("order", ["before", "after"])
async def test_it_is_the_same_a_moment_before_the_next_run_and_after(rig: Rig, what: str, order: str) -> None:
    ask, wanted = ASKED[what]
    await tell(rig, START, state(1))
    [old] = await rows(rig)
    if order == "before":
        await rig.do(ask(old.run_id))
    rig.clock.advance(1_000)
    await tell(rig, START, trace="B")
    if order == "after":
        await rig.do(ask(old.run_id))
    assert await tell(rig, state(2), trace="B") == wanted
    assert await resumed_by(rig, old.run_id) == (await rows(rig))[1].run_id
    left: Told = [(one.type, one.content) for one in (await rows(rig))[0].pending]
    assert left == ([] if what == "message" else wanted), "a message has one reader"
    await sound(rig)


async def test_the_pause_that_went_over_is_ended_where_it_was_made(rig: Rig) -> None:
    await tell(rig, START, state(1))
    [old] = await rows(rig)
    await rig.do(SteerRun(old.run_id, "pause", "look"))
    rig.clock.advance(1_000)
    await tell(rig, START, trace="B")
    await acknowledge(rig, "B")
    assert await statuses(rig) == ["running", "paused"]
    await rig.do(SteerRun(old.run_id, "resume"))
    assert await tell(rig, state(2), trace="B") == [("resume", None)]
    await sound(rig)


async def test_a_kill_ends_both(rig: Rig) -> None:
    old, _ = await begun_anew(rig)
    done = await rig.do(KillRun(old.run_id))
    assert (done.row.run_id, await statuses(rig)) == (old.run_id, ["cancelled", "cancelled"])
    assert done.resumed_by == (await rows(rig))[1].run_id, "the reply names it"
    await sound(rig)


async def test_it_reaches_the_last_of_several(rig: Rig) -> None:
    old, _, last = await begun_anew(rig, "B", "C")
    await rig.do(SteerRun(old.run_id, "pause", "look"))
    assert await tell(rig, state(3), trace="C") == [("pause", "look")]
    assert await resumed_by(rig, old.run_id) == last.run_id


async def test_two_that_are_at_work_beside_each_other_are_asked_alone(rig: Rig) -> None:
    old, _ = await begun_anew(rig)
    rig.clock.advance(1_000)
    await tell(rig, state(2))
    await rig.do(CancelRun(old.run_id))
    assert await tell(rig, state(3), trace="B") == []
    assert await statuses(rig) == ["cancelling", "running"]
    assert await resumed_by(rig, old.run_id) is None
    await sound(rig)


async def test_a_run_that_was_lost_names_the_one_that_goes_on(rig: Rig) -> None:
    """It is paused, so it ends where the next one begins."""
    await tell(rig, START, state(1))
    [old] = await rows(rig)
    await rig.do(SteerRun(old.run_id, "pause"))
    await acknowledge(rig)
    await tell(rig, START, trace="B")
    _, new = await rows(rig)
    message = GiveInput(old.run_id, "hello", None, "message")
    for command in (SteerRun(old.run_id, "resume"), CancelRun(old.run_id), KillRun(old.run_id), message):
        with pytest.raises(RunNotActive, match=new.run_id) as refused:
            await rig.do(command)
        assert refused.value.details == {"resumed_by": new.run_id}
    assert await resumed_by(rig, old.run_id) == new.run_id


@pytest.mark.parametrize("end", ["completed", "killed"])
async def test_the_next_run_after_an_end_is_nobodys_restart(rig: Rig, end: str) -> None:
    await tell(rig, START, state(1))
    [old] = await rows(rig)
    if end == "killed":
        await rig.do(KillRun(old.run_id))
    else:
        await tell(rig, {"type": "thread_completed", "data": {}})
    rig.clock.advance(1_000)
    await tell(rig, START, state(1), trace="B")
    with pytest.raises(RunNotActive) as refused:
        await rig.do(SteerRun(old.run_id, "pause"))
    assert (refused.value.details, await resumed_by(rig, old.run_id)) == ({}, None)


async def test_a_message_that_cannot_reach_it_says_whose_it_was(rig: Rig) -> None:
    old, new = await begun_anew(rig)
    await rig.do(SteerRun(new.run_id, "pause"))
    await acknowledge(rig, "B")
    with pytest.raises(RunNotActive, match=f"{new.run_id}, which goes on from this one, is paused"):
        await rig.do(GiveInput(old.run_id, "hello", None, "message"))
