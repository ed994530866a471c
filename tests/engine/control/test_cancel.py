"""Cancels: every stage has its time, the deadline ends what does not answer, and no child is left behind."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.factories import draft, facts_of, traced
from tests.support.rig import Rig, open_rig
from towerlog.dialects.run_json import CancelView, cancel_view
from towerlog.engine.verify import verify_org
from towerlog.errors import LeaseLost, NotFound, RunNotActive
from towerlog.model.command import Append, CancelRun, Claim, CreateRun, KillRun, Release, Report
from towerlog.model.event import EventType, RunByForeignId, RunById
from towerlog.model.facts import Effects, Facts
from towerlog.model.lane import QueueState
from towerlog.model.question import ListEvents
from towerlog.model.run import RunRow, Status
from towerlog.model.times import format_ms

E = EventType
LEASE_MS = 3_600_000
CANCEL_MS = 30_000


async def reporting(rig: Rig, trace: str = "x", thread: str = "thread", **facts: Any) -> str:
    """A run that only reports; its id."""
    told = await rig.append(draft(E.RUN_STARTED, traced(trace, thread), facts=facts_of(**facts, is_start=True)))
    return str(told[0].run_id)  # type: ignore[union-attr]


async def held(rig: Rig, thread: str = "t", **fields: Any) -> str:
    """A run that worker `w` holds; its id."""
    run_id = str((await rig.do(CreateRun(thread, **fields))).run_id)
    await rig.do(Claim("w", LEASE_MS))
    return run_id


async def stages(rig: Rig, run_id: str) -> tuple[int | None, ...]:
    """Requested, delivered, acknowledged, stopped, forced: seconds since the request, None where it did not happen."""
    row = await rig.run(run_id)
    assert row.cancel_requested_at is not None
    shown = cancel_view(row)
    assert shown is not None
    start = row.cancel_requested_at
    known = {format_ms(start + second * 1000): second for second in range(120)}
    names = ("requested_at", "delivered_at", "acknowledged_at", "stopped_at", "forced_at")
    return tuple(None if (at := getattr(shown, name)) is None else known[at] for name in names)


async def sound(rig: Rig) -> None:
    """A rebuild makes the same of the log."""
    complaints: list[str] = []
    assert await verify_org(rig.store, rig.org, complaints.append) == 0, complaints


# Stages


async def test_nobody_asked_is_no_cancel(rig: Rig) -> None:
    run_id = await reporting(rig)
    assert cancel_view(await rig.run(run_id)) is None
    await rig.append(draft(E.RUN_CANCELLED, traced("x")))
    assert cancel_view(await rig.run(run_id)) is None, "it ended of its own will"


@pytest.mark.parametrize("dialect", ["steps", "checkpoints", "native"])
async def test_each_stage_has_its_time(rig: Rig, dialect: str) -> None:
    run_id = await reporting(rig)
    await rig.do(CancelRun(run_id, "enough"))
    assert await stages(rig, run_id) == (0, None, None, None, None)
    rig.clock.advance(1000)
    [told] = await rig.append(draft(run=traced("x")), dialect=dialect)
    [command] = told.commands  # type: ignore[union-attr]
    assert await stages(rig, run_id) == (0, 1, None, None, None)
    rig.clock.advance(1000)
    taken = draft(E.COMMAND_ACKNOWLEDGED, traced("x"), facts=Facts(effects=Effects(command_id=command.command_id)))
    await rig.append(taken, dialect=dialect)
    assert await stages(rig, run_id) == (0, 1, 2, None, None)
    assert (await rig.run(run_id)).status is Status.CANCELLING, "taken is not stopped"
    rig.clock.advance(1000)
    await rig.append(draft(E.RUN_CANCELLED, traced("x")), dialect=dialect)
    assert await stages(rig, run_id) == (0, 1, 2, 3, None)
    view = cancel_view(await rig.run(run_id))
    assert view is not None
    assert view.reason == "enough"
    await sound(rig)


async def test_a_worker_goes_through_the_same_stages(rig: Rig) -> None:
    run_id = await held(rig)
    await rig.do(CancelRun(run_id))
    rig.clock.advance(1000)
    reported = await rig.do(Report(run_id, "w", []))
    [command] = reported.view.row.pending
    rig.clock.advance(1000)
    taken = draft(E.COMMAND_ACKNOWLEDGED, RunById(run_id), facts=Facts(effects=Effects(command_id=command.command_id)))
    await rig.do(Report(run_id, "w", [taken]))
    rig.clock.advance(1000)
    await rig.do(Report(run_id, "w", [draft(E.RUN_CANCELLED, RunById(run_id))]))
    assert await stages(rig, run_id) == (0, 1, 2, 3, None)
    await sound(rig)


async def test_who_ends_otherwise_has_stopped_too(rig: Rig) -> None:
    run_id = await reporting(rig)
    await rig.do(CancelRun(run_id))
    await rig.append(draft(E.RUN_COMPLETED, traced("x")))
    assert (await rig.run(run_id)).status is Status.COMPLETED
    assert await stages(rig, run_id) == (0, None, None, 0, None)


async def test_a_cancel_that_was_taken_and_not_carried_out_is_forced(rig: Rig) -> None:
    run_id = await reporting(rig)
    await rig.do(CancelRun(run_id))
    await rig.engine.sweep()
    rig.clock.advance(5000)
    await rig.append(draft(E.COMMAND_ACKNOWLEDGED, traced("x"), facts=Facts(effects=Effects(acknowledges="cancel"))))
    for _ in range(5):
        rig.clock.advance(5000)
        await rig.append(draft(run=traced("x")))
    await rig.engine.sweep()
    assert await stages(rig, run_id) == (0, None, 5, None, 30)
    row = await rig.run(run_id)
    assert (row.status, row.forced, row.pending) == (Status.CANCELLED, True, ())
    [late] = await rig.append(draft(run=traced("x")))
    assert late.late, "what goes on after it does so noticed"  # type: ignore[union-attr]
    assert (await rig.run(run_id)).late_events == 1
    await sound(rig)


async def test_a_queued_run_has_all_its_stages_at_once(rig: Rig) -> None:
    run_id = str((await rig.do(CreateRun("t"))).run_id)
    await rig.do(CancelRun(run_id, "no"))
    at = format_ms(rig.clock.now_ms())
    assert cancel_view(await rig.run(run_id)) == CancelView(at, None, None, at, None, "no")


@pytest.mark.parametrize("after_stage", range(4))
async def test_a_restart_in_the_middle_changes_nothing(tmp_path: Path, after_stage: int) -> None:
    steps: list[Any] = [
        lambda rig, run_id: rig.do(CancelRun(run_id)),
        lambda rig, run_id: rig.append(draft(run=traced("x"))),
        lambda rig, run_id: rig.append(
            draft(E.COMMAND_ACKNOWLEDGED, traced("x"), facts=Facts(effects=Effects(acknowledges="cancel")))
        ),
        lambda rig, run_id: rig.append(draft(E.RUN_CANCELLED, traced("x"))),
    ]
    async with open_rig(tmp_path) as rig:
        run_id = await reporting(rig)
        for step in steps[:after_stage]:
            await step(rig, run_id)
            rig.clock.advance(1000)
        clock, ids = rig.clock, rig.ids
    clock.restart()
    async with open_rig(tmp_path, clock=clock, ids=ids) as rig:
        for step in steps[after_stage:]:
            await step(rig, run_id)
            rig.clock.advance(1000)
        assert await stages(rig, run_id) == (0, 1, 2, 3, None)
        await sound(rig)


async def test_a_restart_while_nobody_answers_still_comes_to_an_end(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        run_id = await held(rig)
        await rig.do(CancelRun(run_id))
        await rig.engine.sweep()
        clock, ids = rig.clock, rig.ids
    clock.advance(5000)
    clock.restart()
    async with open_rig(tmp_path, clock=clock, ids=ids) as rig:
        await rig.engine.sweep()
        rig.clock.advance(CANCEL_MS)
        await rig.engine.sweep()
        assert (await rig.run(run_id)).status is Status.CANCELLED
        assert await stages(rig, run_id) == (0, None, None, None, 35)


# Children


async def statuses(rig: Rig, *run_ids: str) -> list[Status]:
    return [(await rig.run(run_id)).status for run_id in run_ids]


@pytest.mark.parametrize("by", ["run", "trace", "trace elsewhere", "linked late"])
async def test_a_child_of_the_very_same_group_is_cancelled_with_its_parent(rig: Rig, by: str) -> None:
    root = await reporting(rig, "root", "t")
    key = f"run:{root}" if by == "run" else "trace:root"
    thread = "u" if by == "trace elsewhere" else "t"
    if by == "linked late":
        await rig.append(draft(run=traced("child", thread)))
        grandchild = await reporting(rig, "grandchild", "v", parent_key="trace:child")
    else:
        grandchild = None
    told, _ = await asyncio.gather(
        rig.append(
            draft(E.RUN_STARTED, traced("child", thread), facts=Facts(effects=Effects(is_start=True, parent_key=key)))
        ),
        rig.do(CancelRun(root)),
    )
    child = str(told[0].run_id)  # type: ignore[union-attr]
    assert (await rig.events(child))[-1].recorded_at == (await rig.events(root))[-1].recorded_at
    family = [root, child, *([grandchild] if grandchild else [])]
    assert await statuses(rig, *family) == [Status.CANCELLING] * len(family)


async def test_a_stranger_in_the_group_is_left_alone(rig: Rig) -> None:
    root = await reporting(rig, "root", "t")
    near = await reporting(rig, "root", "u")
    told, theirs, _ = await asyncio.gather(
        rig.append(
            draft(E.RUN_STARTED, traced("a", "u"), facts=Facts(effects=Effects(is_start=True, parent_key="trace:root")))
        ),
        rig.append(
            draft(
                E.RUN_STARTED, traced("b", "t"), facts=Facts(effects=Effects(is_start=True, parent_key="trace:other"))
            )
        ),
        rig.do(CancelRun(root)),
    )
    others = [str(one[0].run_id) for one in (told, theirs)]  # type: ignore[union-attr]
    assert await statuses(rig, root, near, *others) == [Status.CANCELLING, *[Status.RUNNING] * 3]


@pytest.mark.parametrize("end", [E.RUN_CANCELLED, E.RUN_COMPLETED, E.RUN_FAILED, "released", "forced"])
async def test_a_child_that_is_born_meanwhile_is_cancelled_however_its_parent_ends(rig: Rig, end: str) -> None:
    root = await held(rig)
    await rig.do(CancelRun(root))
    reported = await reporting(rig, "born", "u", parent_key=f"run:{root}")
    queued = str((await rig.do(CreateRun("v", parent_run_id=root))).run_id)
    below = str((await rig.do(CreateRun("w", parent_run_id=reported))).run_id)
    assert await statuses(rig, reported, queued, below) == [Status.CANCELLING, Status.CANCELLED, Status.CANCELLED]
    assert (await rig.run(reported)).pending[0].type == "cancel", "its agent is told"
    assert not isinstance(await rig.do(Claim("other", LEASE_MS)), RunRow)
    if end == "released":
        await rig.do(Release(root, "w"))
    elif end == "forced":
        rig.clock.advance(CANCEL_MS)
        await rig.engine.sweep()
        rig.clock.advance(CANCEL_MS)
        await rig.engine.sweep()
    else:
        await rig.do(Report(root, "w", [draft(EventType(end), RunById(root))]))
    assert (await rig.run(root)).is_terminal()
    late = await reporting(rig, "late", "x", parent_key=f"run:{root}")
    is_cancelled = (await rig.run(root)).status is Status.CANCELLED
    assert await statuses(rig, late) == [Status.CANCELLING if is_cancelled else Status.RUNNING]
    await sound(rig)


async def test_a_run_that_is_linked_below_a_cancelled_one_ends_with_what_stands_below_it(rig: Rig) -> None:
    root = await reporting(rig, "root", "t")
    child = await reporting(rig, "child", "t")
    grandchild = await reporting(rig, "grandchild", "u", parent_key=f"run:{child}")
    await rig.do(CancelRun(root))
    await rig.append(draft(E.STEP, traced("child", "t"), facts=facts_of(parent_key="trace:root")))
    await rig.engine.sweep()
    assert await statuses(rig, root, child, grandchild) == [Status.CANCELLING] * 3


async def test_the_child_of_a_run_that_cancelled_itself_is_left_alone(rig: Rig) -> None:
    root = await reporting(rig, "root", "t")
    await rig.append(draft(E.RUN_CANCELLED, traced("root", "t")))
    assert await statuses(rig, await reporting(rig, "child", "u", parent_key=f"run:{root}")) == [Status.RUNNING]


async def test_a_loop_of_parents_ends(rig: Rig) -> None:
    own = await reporting(rig, "own", "t", parent_key="trace:own")
    first = await reporting(rig, "first", "t", parent_key="trace:second")
    second = await reporting(rig, "second", "t", parent_key="trace:first")
    await rig.do(CancelRun(own))
    await rig.do(CancelRun(second))
    assert await statuses(rig, own, first, second) == [Status.CANCELLING] * 3


# Killing


async def test_a_kill_asks_nobody(rig: Rig) -> None:
    run_id = await held(rig)
    child = await reporting(rig, "child", "u", parent_key=f"run:{run_id}")
    waiting = str((await rig.do(CreateRun("v", parent_run_id=run_id))).run_id)
    view = await rig.do(KillRun(run_id))
    assert (view.row.status, view.row.forced, view.lane.state) == (Status.CANCELLED, True, QueueState.DONE)
    rows: list[RunRow] = [await rig.run(one) for one in (run_id, child, waiting)]
    assert {(row.status, row.forced, row.cancel_reason) for row in rows} == {(Status.CANCELLED, True, "killed")}
    assert await stages(rig, run_id) == (0, None, None, None, 0)
    last = msgspec.json.decode((await rig.events(run_id))[-1].data)
    assert last == {"forced": True, "requested_by": rig.principal.user_id, "reason": "killed"}
    assert view.result is None
    with pytest.raises(LeaseLost):
        await rig.do(Report(run_id, "w", [draft(run=RunById(run_id))]))
    assert len((await rig.do(ListEvents(run_id, 10, quarantined=True))).rows) == 1
    await sound(rig)


async def test_a_kill_ends_a_cancel_that_waits_and_keeps_when_it_was_asked_for(rig: Rig) -> None:
    run_id = await held(rig)
    await rig.do(CancelRun(run_id, "please"))
    rig.clock.advance(7000)
    await rig.do(KillRun(run_id, "now"))
    assert await stages(rig, run_id) == (0, None, None, None, 7)
    assert (await rig.run(run_id)).cancel_reason == "please"


async def test_killing_again_is_the_same_and_what_ended_otherwise_is_refused(rig: Rig) -> None:
    run_id, done = await held(rig), await reporting(rig)
    first = await rig.do(KillRun(run_id))
    again = await rig.do(KillRun(run_id))
    assert again.row == first.row
    await rig.append(draft(E.RUN_COMPLETED, traced("x")))
    with pytest.raises(RunNotActive):
        await rig.do(KillRun(done))
    with pytest.raises(NotFound):
        await rig.do(KillRun(run_id), principal=await rig.make_org("other"))


async def test_a_release_while_cancelling_ends_the_run(rig: Rig) -> None:
    run_id = await held(rig)
    await rig.do(CancelRun(run_id))
    await rig.do(Release(run_id, "w"))
    assert await stages(rig, run_id) == (0, None, None, None, 0)


async def test_a_child_whose_parent_was_unknown_is_reached_in_the_very_group(rig: Rig) -> None:
    """The child names its parent before that is there; all of it and the cancel of the grandparent are one commit."""
    top = await reporting(rig, "top")
    child = RunByForeignId("sdk:child", "thread")
    parent = RunByForeignId("sdk:parent", "thread")
    story = Append(
        "sdk",
        [
            draft(E.RUN_STARTED, child, facts=Facts(effects=Effects(is_start=True, parent_key="foreign:sdk:parent"))),
            draft(E.RUN_STARTED, parent, facts=Facts(effects=Effects(is_start=True, parent_key=f"run:{top}"))),
        ],
    )
    told, _ = await asyncio.gather(rig.do(story), rig.do(CancelRun(top)))
    for result in told.results:
        assert (await rig.run(result.run_id)).status is Status.CANCELLING
    await sound(rig)
