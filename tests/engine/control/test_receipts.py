"""Deliveries: the reply that carries a command first puts that on record, once, and never when it does not."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from tests.support.factories import draft, traced
from tests.support.rig import Rig, at_rest, open_rig
from tests.support.wait import wait_until
from towerlog.engine.commit.queue import CommandQueue
from towerlog.engine.commit.submission import Submission
from towerlog.engine.verify import verify_org
from towerlog.errors import NotFound
from towerlog.model.command import (
    Append,
    CancelRun,
    Claim,
    ClaimRun,
    CreateRun,
    Deliver,
    GiveInput,
    Idempotency,
    Release,
    Report,
    SteerRun,
)
from towerlog.model.event import EventType, RunById
from towerlog.model.facts import Effects, Facts
from towerlog.model.outcome import Replayed
from towerlog.model.question import GetRun, ListLanes

E = EventType
LEASE_MS = 60_000


async def deliveries(rig: Rig, run_id: str) -> list[tuple[int, str, str]]:
    """(command id, type, dialect) of each delivery on record."""
    found = [event for event in await rig.events(run_id) if event.type is E.COMMAND_DELIVERED]
    sent = [(msgspec.json.decode(event.data), event) for event in found]
    assert all(event.facts == Facts(effects=Effects(delivers=data["command_id"])) for data, event in sent)
    return [(data["command_id"], data["type"], event.dialect) for data, event in sent]


async def telling(rig: Rig) -> str:
    """A run that only reports; its id."""
    [told] = await rig.append(draft(E.RUN_STARTED, traced("x"), facts=Facts(effects=Effects(is_start=True))))
    return str(told.run_id)  # type: ignore[union-attr]


async def held(rig: Rig) -> str:
    """A run that worker `w` holds; its id."""
    run_id = str((await rig.do(CreateRun("t"))).run_id)
    await rig.do(Claim("w", LEASE_MS))
    return run_id


@pytest.mark.parametrize("dialect", ["steps", "checkpoints", "native"])
async def test_an_ingest_reply_delivers_once_and_repeats_until_it_is_acknowledged(rig: Rig, dialect: str) -> None:
    run_id = await telling(rig)
    await rig.do(GiveInput(run_id, "yes"))
    assert await deliveries(rig, run_id) == [], "nobody was told yet"
    for _ in range(3):
        [told] = await rig.append(draft(run=traced("x")), dialect=dialect)
        assert [(one.command_id, one.content) for one in told.commands] == [(2, "yes")]  # type: ignore[union-attr]
    assert await deliveries(rig, run_id) == [(2, "message", dialect)]
    [told] = await rig.append(
        draft(E.COMMAND_ACKNOWLEDGED, traced("x"), facts=Facts(effects=Effects(command_id=2))), dialect=dialect
    )
    assert told.commands == ()  # type: ignore[union-attr]
    assert len(await deliveries(rig, run_id)) == 1


async def test_a_batch_repeats_what_is_wanted_by_its_end(rig: Rig) -> None:
    run_id = await telling(rig)
    await rig.do(GiveInput(run_id, "one"))
    await rig.do(GiveInput(run_id, "two"))
    taken = draft(E.COMMAND_ACKNOWLEDGED, traced("x"), facts=Facts(effects=Effects(command_id=2)))
    results = await rig.append(draft(run=traced("x")), taken, draft(run=traced("other")))
    assert [[one.content for one in told.commands] for told in results] == [["two"], ["two"], []]  # type: ignore[union-attr]
    assert [kind for _, kind, _ in await deliveries(rig, run_id)] == ["message"], (
        "what was acknowledged came some other way"
    )


async def test_what_carries_no_commands_delivers_none(rig: Rig) -> None:
    run_id = await telling(rig)
    await rig.do(CancelRun(run_id))
    await rig.do(Append("activity", [draft(run=traced("x"))], shows_commands=False), dialect="activity")
    await rig.do(GetRun(run_id))
    await rig.do(ListLanes(10))
    assert await deliveries(rig, run_id) == []


async def test_a_repeated_event_is_told_too(rig: Rig) -> None:
    run_id = await telling(rig)
    again = draft(run=traced("x"), event_id="e")
    await rig.append(again)
    await rig.do(CancelRun(run_id))
    [told] = await rig.append(again)
    assert (told.duplicate, len(told.commands)) == (True, 1)  # type: ignore[union-attr]
    assert len(await deliveries(rig, run_id)) == 1


async def test_a_report_and_both_claims_deliver(rig: Rig) -> None:
    run_id = await held(rig)
    await rig.do(GiveInput(run_id, "one"))
    reported = await rig.do(Report(run_id, "w", []))
    assert [one.delivered for one in reported.view.row.pending] == [True]
    await rig.do(Release(run_id, "w"))
    await rig.do(SteerRun(run_id, "pause"))
    claimed = await rig.do(Claim("w2", LEASE_MS))
    assert [one.type for one in claimed.view.row.pending] == ["message", "pause"], "the next holder is told all of it"
    await rig.do(GiveInput(run_id, "three"))
    await rig.do(ClaimRun(run_id, "w2", LEASE_MS))
    assert [kind for _, kind, _ in await deliveries(rig, run_id)] == ["message", "pause", "message"]
    assert {dialect for *_, dialect in await deliveries(rig, run_id)} == {"lanes"}


@pytest.mark.parametrize("dialect", ["lanes", "sdk"])
async def test_a_report_delivers_under_the_dialect_that_it_was_sent_in(rig: Rig, dialect: str) -> None:
    run_id = await held(rig)
    await rig.do(GiveInput(run_id, "one"))
    await rig.do(Report(run_id, "w", [], dialect=dialect))
    assert [name for *_, name in await deliveries(rig, run_id)] == [dialect]


async def test_a_loser_is_told_nothing(rig: Rig) -> None:
    run_id = await held(rig)
    await rig.do(CancelRun(run_id))
    with pytest.raises(Exception, match="does not hold"):
        await rig.do(Report(run_id, "stranger", []))
    assert await deliveries(rig, run_id) == []


async def test_a_long_poll_delivers_when_it_is_answered(rig: Rig) -> None:
    run_id = await held(rig)
    poll = asyncio.create_task(rig.do(Report(run_id, "w", [], wait_ms=60_000)))
    await asyncio.to_thread(wait_until, lambda: bool(rig.engine._polls), "a poll that waits")
    await rig.do(CancelRun(run_id))
    answer = await asyncio.wait_for(poll, 30)
    assert [one.type for one in answer.view.row.pending] == ["cancel"]
    assert [kind for _, kind, _ in await deliveries(rig, run_id)] == ["cancel"]


async def test_a_long_poll_of_who_lost_the_run_meanwhile_carries_nothing(rig: Rig) -> None:
    run_id = await held(rig)
    poll = asyncio.create_task(rig.do(Report(run_id, "w", [], wait_ms=60_000)))
    await asyncio.to_thread(wait_until, lambda: bool(rig.engine._polls), "a poll that waits")
    await at_rest(rig.store)
    rig.clock.advance(LEASE_MS)
    await rig.do(Claim("w2", LEASE_MS))
    await rig.do(CancelRun(run_id))
    answer = await asyncio.wait_for(poll, 30)
    assert answer.view.row.pending == ()
    assert await deliveries(rig, run_id) == []


async def test_a_held_back_reply_asks_for_its_runs_by_name(rig: Rig) -> None:
    run_id, other = await telling(rig), await rig.make_org("other")
    await rig.do(CancelRun(run_id))
    with pytest.raises(NotFound):
        await rig.do(Deliver((run_id,)), principal=other)
    carried = await rig.do(Deliver((run_id,)))
    assert [one.type for one in carried.rows[run_id].pending] == ["cancel"]
    assert (await rig.do(Deliver((run_id,), "w"))).rows == {}, "nobody holds what has no lane"
    assert len(await deliveries(rig, run_id)) == 1


async def test_a_repeated_request_delivers_nothing_again(rig: Rig) -> None:
    run_id = await telling(rig)
    await rig.do(CancelRun(run_id))
    keyed = Idempotency("/x", "key", b"digest", lambda _: (200, b"told"))
    again = Append("steps", [draft(run=RunById(run_id))])
    await rig.do(again, idempotency=keyed)
    assert await rig.do(again, idempotency=keyed) == Replayed(200, b"told")
    assert len(await deliveries(rig, run_id)) == 1


async def test_what_was_delivered_is_known_after_a_restart(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        run_id = await telling(rig)
        await rig.do(CancelRun(run_id))
        await rig.append(draft(run=traced("x")))
        clock, ids = rig.clock, rig.ids
    async with open_rig(tmp_path, clock=clock, ids=ids) as rig:
        [told] = await rig.append(draft(run=traced("x")))
        assert [one.delivered for one in told.commands] == [True]  # type: ignore[union-attr]
        assert len(await deliveries(rig, run_id)) == 1
        complaints: list[str] = []
        assert await verify_org(rig.store, rig.org, complaints.append) == 0, complaints


async def test_a_long_poll_whose_report_is_stored_does_not_fail_for_a_command(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its sender would send the report again."""
    run_id = await held(rig)
    poll = asyncio.create_task(rig.do(Report(run_id, "w", [], wait_ms=60_000)))
    await asyncio.to_thread(wait_until, lambda: bool(rig.engine._polls), "a poll that waits")
    take = CommandQueue.take

    def last(queue: CommandQueue) -> list[Submission]:
        monkeypatch.setattr(queue, "_max_commands", 0)
        return take(queue)

    # Whoever comes once the cancel is taken finds no room: the poll, when it is told of it.
    monkeypatch.setattr(CommandQueue, "take", last)
    await rig.do(CancelRun(run_id))
    answer = await asyncio.wait_for(poll, 30)
    assert answer.view.row.pending == ()
    monkeypatch.undo()
    assert await deliveries(rig, run_id) == []
    assert len((await rig.do(Report(run_id, "w", []))).view.row.pending) == 1
