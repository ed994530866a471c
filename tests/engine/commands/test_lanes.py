"""Leases, case by case. What random callers can do to them is in tests/simulation."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.factories import draft, traced
from tests.support.fakes import FakeClock, SeededIds
from tests.support.rig import Rig, at_rest, open_rig
from tests.support.tables import table
from towerlog.engine.commands import lanes
from towerlog.errors import AlreadyClaimed, LeaseLost, NotFound, RunEnded
from towerlog.model.command import CancelRun, Claim, ClaimRun, CreateRun, Finish, Idempotency, Release, Report
from towerlog.model.event import Draft, EventType, History, RunById
from towerlog.model.facts import CheckpointFacts, Effects, Facts
from towerlog.model.lane import MAX_ATTEMPTS, Lane, QueueState
from towerlog.model.outcome import Claimed, NothingToClaim, Refusal, Replayed, Stored
from towerlog.model.principal import shard_key
from towerlog.model.question import ListEvents
from towerlog.model.run import Status
from towerlog.store.values import Changes

E = EventType
LEASE_MS = 60_000


async def create(rig: Rig, thread: str = "t", **fields: Any) -> str:
    """A queued run's id."""
    return (await rig.do(CreateRun(thread, **fields))).run_id


async def claim(rig: Rig, worker: str = "w", lease_ms: int = LEASE_MS, **fields: Any) -> Claimed | None:
    """What the queue gives."""
    answer = await rig.do(Claim(worker, lease_ms, **fields))
    return None if isinstance(answer, NothingToClaim) else answer


async def lane(rig: Rig, run_id: str) -> Lane:
    """The lane as it is stored."""
    found = await rig.store.lane(rig.org, (await rig.run(run_id)).run)
    assert found is not None
    return found


def finish(run_id: str, worker: str, kind: EventType = E.RUN_COMPLETED, epoch: int | None = None) -> Finish:
    """The end as its holder says it."""
    return Finish(run_id, worker, draft(kind, RunById(run_id), {"result": 1}), epoch)


# Claiming


async def test_a_claim_hands_out_the_run_with_all_a_worker_needs(rig: Rig) -> None:
    run_id = await create(rig, input=b'{"q":"\\u0000"}', agent="a")
    claimed = await claim(rig)
    assert claimed is not None
    assert (claimed.view.row.run_id, claimed.input, claimed.checkpoint) == (run_id, b'{"q":"\\u0000"}', None)
    now = rig.clock.steady_ms()
    held = claimed.lane
    assert (held.state, held.worker_id, held.epoch, held.attempt) == (QueueState.HELD, "w", 1, 1)
    assert (held.expires_at, held.claimed_at, held.last_heartbeat) == (now + LEASE_MS, now, now)
    assert claimed.view.row.status is Status.RUNNING
    assert claimed.view.agent_id is not None
    assert await lane(rig, run_id) == held
    data = [msgspec.json.decode(event.data) for event in await rig.events(run_id)]
    assert data[1:] == [{"worker_id": "w", "lease_epoch": 1, "attempt": 1}, {"attempt": 1}]


async def test_the_oldest_that_matches_is_claimed(rig: Rig) -> None:
    first = await create(rig, "t1", agent="a", labels={"gpu": "yes"})
    rig.clock.advance(1)
    second = await create(rig, "t2", agent="b")
    rig.clock.advance(1)
    third = await create(rig, "t3", agent="a")
    assert await claim(rig, agents=("c",)) is None
    got = [
        await claim(rig, agents=("b", "c")),
        await claim(rig),
        await claim(rig),
        await claim(rig, labels={"gpu": "yes"}),
    ]
    assert [one and one.view.row.run_id for one in got] == [second, third, None, first]


async def test_labels_must_all_be_among_the_workers(rig: Rig) -> None:
    await create(rig, labels={"gpu": "yes", "region": "eu"})
    for labels in ({}, {"gpu": "yes"}, {"gpu": "no", "region": "eu"}):
        assert await claim(rig, labels=labels) is None
    assert await claim(rig, labels={"gpu": "yes", "region": "eu", "more": "x"}) is not None


async def test_many_that_do_not_match_hide_none_that_does(rig: Rig) -> None:
    for number in range(40):
        await create(rig, f"t{number}", labels={"gpu": "yes"})
    wanted = await create(rig, "last")
    found = await claim(rig)
    assert found is not None
    assert found.view.row.run_id == wanted


async def test_this_very_run_is_claimed_or_its_deadline_named(rig: Rig) -> None:
    run_id = await create(rig)
    await rig.do(ClaimRun(run_id, "w", LEASE_MS))
    rig.clock.advance(1000)
    again = await rig.do(ClaimRun(run_id, "w", 2 * LEASE_MS))
    assert (again.lane.epoch, again.lane.attempt, again.lane.expires_at) == (2, 1, rig.clock.steady_ms() + 2 * LEASE_MS)
    with pytest.raises(AlreadyClaimed) as refused:
        await rig.do(ClaimRun(run_id, "other", LEASE_MS))
    assert refused.value.details["lease_expires_at"].endswith("Z")
    assert "w" not in refused.value.details.values()


async def test_what_is_not_in_the_queue_cannot_be_claimed(rig: Rig) -> None:
    first, blocked = await create(rig), await create(rig)
    [reporter] = await rig.append(draft(run=traced("x", "other")))
    for run_id in (blocked, reporter.run_id):
        with pytest.raises(AlreadyClaimed):
            await rig.do(ClaimRun(run_id, "w", LEASE_MS))
    await rig.do(CancelRun(first))
    with pytest.raises(RunEnded):
        await rig.do(ClaimRun(first, "w", LEASE_MS))
    with pytest.raises(NotFound):
        await rig.do(ClaimRun("nothing", "w", LEASE_MS))


async def test_a_run_that_somebody_works_on_without_a_claim_is_nobodys_to_take(rig: Rig) -> None:
    run_id = await create(rig)
    await rig.append(draft(E.RUN_STARTED, RunById(run_id)))
    assert await claim(rig) is None
    assert (await lane(rig, run_id)).state is QueueState.DONE


async def test_a_later_attempt_gets_the_state_that_the_lost_one_left(rig: Rig) -> None:
    run_id = await create(rig)
    await claim(rig, "first")
    texts = [b'{"role":"user","content":"hi"}', b'{"b":1,"a":2}']
    facts = Facts(effects=Effects(checkpoint=CheckpointFacts(4, "completed", length=2)))
    state = Draft(E.CHECKPOINT, RunById(run_id), b'{"step_index":4}', facts, history=History(texts, None))
    await rig.do(Report(run_id, "first", [state]))
    rig.clock.advance(LEASE_MS)
    second = await claim(rig, "second")
    assert second is not None
    assert second.checkpoint is not None
    assert (second.checkpoint.row.step_index, second.checkpoint.history) == (4, texts)
    assert second.checkpoint.figures == b'{"step_index":4}'


# Reporting


async def test_a_report_renews_from_now_by_the_leases_own_length(rig: Rig) -> None:
    run_id = await create(rig)
    await claim(rig)
    rig.clock.advance(40_000)
    answer = await rig.do(Report(run_id, "w", [draft(run=RunById(run_id))]))
    assert answer.lane.expires_at == rig.clock.steady_ms() + LEASE_MS
    assert (answer.lane.reported, answer.lane.last_heartbeat) == (True, rig.clock.steady_ms())
    assert [type(result) for result in answer.results] == [Stored]
    answer = await rig.do(Report(run_id, "w", [], lease_ms=5000))
    assert answer.lane.expires_at == rig.clock.steady_ms() + 5000, "shorter only when it is asked for"


async def test_a_changed_phase_or_log_line_is_an_event_and_the_same_again_is_none(rig: Rig) -> None:
    run_id = await create(rig)
    await claim(rig)
    for phase, line in (("packing", "one"), ("packing", "one"), ("packing", "two"), ("sealing", None)):
        await rig.do(Report(run_id, "w", [], phase=phase, log_line=line))
    told = [msgspec.json.decode(event.data) for event in await rig.events(run_id) if event.type is E.LANE_REPORT]
    assert told == [{"phase": "packing", "log_line": "one"}, {"log_line": "two"}, {"phase": "sealing"}]
    found = await lane(rig, run_id)
    assert (found.phase, found.log_line) == ("sealing", "two")
    assert (await rig.run(run_id)).phase == "sealing"


async def test_a_new_claim_forgets_phase_and_log_line(rig: Rig) -> None:
    run_id = await create(rig)
    await claim(rig)
    await rig.do(Report(run_id, "w", [], phase="packing", log_line="one"))
    rig.clock.advance(LEASE_MS)
    second = await claim(rig, "second")
    assert second is not None
    assert (second.lane.phase, second.lane.log_line, second.lane.reported) == (None, None, False)


@pytest.mark.parametrize(("worker", "epoch"), [("other", None), ("other", 1), ("w", 0), ("w", 2)])
async def test_only_the_holder_reports_and_what_others_send_is_kept_beside_the_run(
    rig: Rig, worker: str, epoch: int | None
) -> None:
    run_id = await create(rig)
    await claim(rig)
    before = (await rig.run(run_id), await lane(rig, run_id))
    rig.clock.advance(1000)
    items = [draft(run=RunById(run_id), data={"n": 1}, facts=Facts(name="own")), Refusal("x", "y")]
    with pytest.raises(LeaseLost) as lost:
        await rig.do(Report(run_id, worker, items, lease_epoch=epoch, phase="stolen"))
    assert "w" not in lost.value.message.split()
    assert (await rig.run(run_id), await lane(rig, run_id)) == before
    [(_, kept)] = await rig.store.quarantined(rig.org, before[0].run, 10, 0)
    assert (kept.worker_id, kept.lease_epoch, kept.type, kept.name, kept.data) == (
        worker,
        epoch,
        "step",
        "own",
        b'{"n":1}',
    )
    page = await rig.do(ListEvents(run_id, 10, quarantined=True))
    assert [event.data for event in page.rows] == [b'{"n":1}']


async def test_what_a_loser_reports_is_kept_one_by_one(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each may be as long as a body: between any two the event loop may go on with something else."""
    run_id = await create(rig)
    await claim(rig)
    steps, keep = 0, lanes._quarantine

    def counted(*args: Any) -> Any:
        nonlocal steps
        keeping = keep(*args)
        while True:
            try:
                next(keeping)
            except StopIteration as done:
                return done.value
            steps += 1
            yield

    monkeypatch.setattr(lanes, "_quarantine", counted)
    with pytest.raises(LeaseLost):
        await rig.do(Report(run_id, "other", [draft(run=RunById(run_id), data={"n": n}) for n in range(30)]))
    kept = await rig.store.quarantined(rig.org, (await rig.run(run_id)).run, 100, 0)
    assert (steps, len(kept)) == (30, 30)


async def test_a_run_without_a_lane_has_no_holder(rig: Rig) -> None:
    [told] = await rig.append(draft())
    with pytest.raises(LeaseLost):
        await rig.do(Report(told.run_id, "w", []))
    with pytest.raises(LeaseLost):
        await rig.do(Release(told.run_id, "w"))


async def test_what_the_holder_sends_after_the_end_is_late_not_lost(rig: Rig) -> None:
    run_id = await create(rig)
    await claim(rig)
    await rig.do(finish(run_id, "w"))
    answer = await rig.do(Report(run_id, "w", [draft(run=RunById(run_id))]))
    assert [result.late for result in answer.results] == [True]
    with pytest.raises(LeaseLost):
        await rig.do(Report(run_id, "other", []))


# Releasing and finishing


async def test_a_release_puts_it_back_at_once_at_the_end_and_costs_no_attempt(rig: Rig) -> None:
    first = await create(rig, "t1")
    rig.clock.advance(1)
    second = await create(rig, "t2")
    await claim(rig)
    rig.clock.advance(1)
    await rig.do(Release(first, "w"))
    found = await lane(rig, first)
    assert (found.state, found.worker_id, found.attempt, found.epoch) == (QueueState.QUEUED, None, 0, 1)
    assert (await rig.run(first)).status is Status.QUEUED
    order = [await claim(rig, "x"), await claim(rig, "y")]
    assert [one and one.view.row.run_id for one in order] == [second, first]
    assert order[1] is not None
    assert (order[1].lane.epoch, order[1].lane.attempt) == (2, 1)


async def test_a_release_is_idempotent_for_who_released_and_refused_for_others(rig: Rig) -> None:
    run_id = await create(rig)
    await claim(rig)
    for wrong in (Release(run_id, "other"), Release(run_id, "w", 7)):
        with pytest.raises(LeaseLost):
            await rig.do(wrong)
    await rig.do(Release(run_id, "w", 1))
    log = await rig.log()
    await rig.do(Release(run_id, "w", 1))
    assert await rig.log() == log
    with pytest.raises(LeaseLost):
        await rig.do(Release(run_id, "other"))
    await claim(rig, "other")
    with pytest.raises(LeaseLost):
        await rig.do(Release(run_id, "w", 1))


async def test_a_release_of_a_run_that_is_being_cancelled_ends_it(rig: Rig) -> None:
    run_id = await create(rig)
    await claim(rig)
    await rig.do(CancelRun(run_id))
    answer = await rig.do(Release(run_id, "w"))
    assert answer.view.row.status is Status.CANCELLED
    row = await rig.run(run_id)
    assert (row.status, row.forced) == (Status.CANCELLED, True)
    found = await lane(rig, run_id)
    assert (found.state, found.worker_id) == (QueueState.DONE, None)


async def test_the_holder_ends_its_run_once(rig: Rig) -> None:
    run_id = await create(rig)
    await claim(rig)
    for wrong in (finish(run_id, "other"), finish(run_id, "w", epoch=2)):
        with pytest.raises(LeaseLost):
            await rig.do(wrong)
    for _ in range(2):
        answer = await rig.do(finish(run_id, "w", epoch=1))
        assert answer.view.row.status is Status.COMPLETED
    with pytest.raises(RunEnded):
        await rig.do(finish(run_id, "w", E.RUN_FAILED))
    with pytest.raises(RunEnded):
        await rig.do(finish(run_id, "other"))
    with pytest.raises(RunEnded):
        await rig.do(Release(run_id, "w"))
    types = [event.type for event in await rig.events(run_id)]
    assert types.count(E.RUN_COMPLETED) == 1
    assert types.count(E.RUN_FAILED) == 0
    assert len(await rig.store.quarantined(rig.org, (await rig.run(run_id)).run, 10, 0)) == 3  # a repeat is kept once


async def test_an_end_lets_the_next_of_the_thread_go(rig: Rig) -> None:
    first, second = await create(rig), await create(rig)
    await claim(rig)
    assert await claim(rig, "x") is None
    await rig.do(finish(first, "w", E.RUN_FAILED))
    found = await claim(rig, "x")
    assert found is not None
    assert found.view.row.run_id == second


# Losing


async def test_after_so_many_lost_attempts_the_run_is_lost(rig: Rig) -> None:
    run_id = await create(rig)
    for attempt in range(1, MAX_ATTEMPTS + 1):
        claimed = await claim(rig, f"w{attempt}")
        assert claimed is not None
        assert (claimed.lane.attempt, claimed.lane.epoch) == (attempt, attempt)
        rig.clock.advance(LEASE_MS)
    assert await claim(rig) is None
    row = await rig.run(run_id)
    assert (row.status, row.error, row.attempt) == (Status.LOST, "lost by its worker 3 times", 3)
    types = [event.type for event in await rig.events(run_id)]
    assert types[-2:] == [E.LANE_LOST, E.RUN_LOST]
    with pytest.raises(LeaseLost):
        await rig.do(Report(run_id, f"w{MAX_ATTEMPTS}", []))
    with pytest.raises(RunEnded):
        await rig.do(ClaimRun(run_id, "w", LEASE_MS))


async def test_a_claim_of_this_run_ends_it_when_no_attempt_is_left(rig: Rig) -> None:
    run_id = await create(rig)
    for attempt in range(MAX_ATTEMPTS):
        await rig.do(ClaimRun(run_id, f"w{attempt}", LEASE_MS))
        rig.clock.advance(LEASE_MS)
    with pytest.raises(RunEnded):
        await rig.do(ClaimRun(run_id, "late", LEASE_MS))
    assert (await rig.run(run_id)).status is Status.LOST, "what the refused claim found out is kept"


async def test_the_wall_clock_ends_no_lease(rig: Rig) -> None:
    run_id = await create(rig)
    await claim(rig)
    for hours in (1, -2, 1):
        rig.clock.jump(hours * 3_600_000)
        await rig.engine.sweep()
        assert await claim(rig, "thief") is None
    answer = await rig.do(Report(run_id, "w", []))
    assert answer.lane.expires_at == rig.clock.steady_ms() + LEASE_MS


async def test_a_release_gives_the_attempt_back_in_the_runs_row_too(rig: Rig) -> None:
    run_id = await create(rig)
    await claim(rig)
    assert (await rig.run(run_id)).attempt == 1
    await rig.do(Release(run_id, "w"))
    row = await rig.run(run_id)
    assert (row.attempt, row.lease_epoch, (await lane(rig, run_id)).attempt) == (0, 1, 0)
    [told] = await rig.append(draft(E.RUN_STARTED, RunById(run_id)))
    assert isinstance(told, Stored)
    assert (await rig.run(run_id)).status is Status.QUEUED, "it waits for a claim, whoever says that it runs"
    await claim(rig)
    assert (await rig.run(run_id)).attempt == 1


# The queue


async def test_a_worker_with_labels_is_not_starved_by_runs_that_ask_for_others(rig: Rig) -> None:
    """More lanes than any look at the queue would read, all older than the one that fits."""
    others = [
        Lane(shard_key(rig.org, 500_000 + n), rig.org, QueueState.QUEUED, "a", 0, {"tenant": f"t{n % 7}"}, 0)
        for n in range(3000)
    ]
    async with rig.store.begin() as unit:
        await unit.commit(Changes(lanes={one.run: one for one in others}))
    wanted = await create(rig, agent="a", labels={"tenant": "mine", "gpu": "yes"})
    assert await claim(rig, labels={"tenant": "mine"}) is None
    found = await claim(rig, agents=("a",), labels={"tenant": "mine", "gpu": "yes", "disk": "yes"})
    assert found is not None
    assert found.view.row.run_id == wanted


async def test_workers_that_ask_at_once_each_get_the_next_one(rig: Rig) -> None:
    runs = [await create(rig, f"t{n}", labels={"n": str(n % 2)}) for n in range(6)]
    asked = [Claim(f"w{n}", LEASE_MS, None, {"n": str(n % 2)}) for n in range(8)]
    answers = await asyncio.gather(*(rig.do(one) for one in asked))
    assert [getattr(one, "view", None) and one.view.row.run_id for one in answers] == [*runs, None, None]


async def test_a_clock_that_was_set_back_before_a_restart_puts_nobody_in_front(
    tmp_path: Path,
) -> None:
    clock, ids = FakeClock(), SeededIds()
    async with open_rig(tmp_path, clock=clock, ids=ids) as rig:
        first = await create(rig, "t1")
        given_back = await create(rig, "t2")
    clock.jump(-3_600_000)
    clock.restart()
    async with open_rig(tmp_path, clock=clock, ids=ids) as rig:
        third = await create(rig, "t3")
        await rig.do(ClaimRun(given_back, "w", LEASE_MS))
        await rig.do(Release(given_back, "w"))
        fourth = await create(rig, "t4")
        order = [await claim(rig, f"w{n}") for n in range(4)]
        assert [one and one.view.row.run_id for one in order] == [first, third, given_back, fourth]


# An Idempotency-Key


def keyed(name: str) -> Idempotency:
    """A key that keeps the class of the first answer."""
    return Idempotency(f"/{name}", "key", b"digest", lambda outcome: (200, type(outcome).__name__.encode()))


def guarded(run_id: str) -> list[Report | Finish | ClaimRun]:
    """Each command of a holder whose answer is kept."""
    return [ClaimRun(run_id, "w", LEASE_MS), Report(run_id, "w", []), finish(run_id, "w")]


async def test_a_holder_is_told_again_what_it_was_told(rig: Rig) -> None:
    run_id = await create(rig)
    for number, command in enumerate(guarded(run_id)):
        first = await rig.do(command, idempotency=keyed(str(number)))
        for _ in range(2):
            again = await rig.do(command, idempotency=keyed(str(number)))
            assert again == Replayed(200, type(first).__name__.encode())


@table("number", [0, 1])
@table("taken_by", ["sweep", "worker", "cancel"])
async def test_no_success_is_told_again_once_the_lease_is_gone(rig: Rig, number: int, taken_by: str) -> None:
    rig.principal = await rig.make_org(rig.ids.uuid())
    run_id = await create(rig)
    await rig.do(ClaimRun(run_id, "w", LEASE_MS))
    command = guarded(run_id)[number]
    await rig.do(command, idempotency=keyed("x"))
    if taken_by == "cancel":
        await rig.do(CancelRun(run_id))
    await at_rest(rig.store)
    rig.clock.advance(LEASE_MS)
    if taken_by == "worker":
        await claim(rig, "other")
    else:
        await rig.engine.sweep()
    with pytest.raises(LeaseLost):
        await rig.do(command, idempotency=keyed("x"))


async def test_a_claim_is_told_again_while_its_own_lease_holds(rig: Rig) -> None:
    """Whoever lost the run is told so, even when the same worker has it once more under another epoch."""
    run_id = await create(rig)
    command = Claim("w", LEASE_MS)
    assert isinstance(await rig.do(command, idempotency=keyed("claim")), Claimed)
    assert await rig.do(command, idempotency=keyed("claim")) == Replayed(200, b"Claimed")
    await at_rest(rig.store)
    rig.clock.advance(LEASE_MS)
    await rig.engine.sweep()
    with pytest.raises(LeaseLost):
        await rig.do(command, idempotency=keyed("claim"))
    await rig.do(ClaimRun(run_id, "w", LEASE_MS))
    with pytest.raises(LeaseLost):
        await rig.do(command, idempotency=keyed("claim"))


async def test_a_claim_that_found_nothing_is_told_so_again(rig: Rig) -> None:
    command = Claim("w", LEASE_MS)
    await rig.do(command, idempotency=keyed("claim"))
    await create(rig)
    assert await rig.do(command, idempotency=keyed("claim")) == Replayed(200, b"NothingToClaim")
