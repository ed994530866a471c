"""Replies that are held back: a batch until there is a command for one of its runs, and never longer than asked."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest

from tests.support.factories import draft
from tests.support.rig import Rig
from tests.support.wait import wait_until_async
from towerlog.model import command as c
from towerlog.model.event import EventType, RunByForeignId
from towerlog.model.outcome import Appended
from towerlog.model.pending import Pending

DEADLINE_S = 60
LONG_MS = 3_600_000
A, B, NOBODY = (RunByForeignId(f"sdk:{name}", name) for name in ("a", "b", "nobody"))


async def soon(work: Awaitable[Any]) -> Any:
    """The result, which must come in time."""
    return await asyncio.wait_for(work, DEADLINE_S)


async def begun(rig: Rig, *refs: RunByForeignId) -> list[str]:
    """Runs under these names; their ids."""
    return [result.run_id for result in await rig.append(*(draft(run=ref) for ref in refs))]  # type: ignore[union-attr]


def watching(*refs: RunByForeignId, wait_ms: int = LONG_MS) -> c.Append:
    """Nothing to store, only a question."""
    return c.Append("sdk", [], polled=refs, wait_ms=wait_ms)


async def polling(rig: Rig, *refs: RunByForeignId, wait_ms: int = LONG_MS) -> asyncio.Task[Appended]:
    """A long poll that waits."""
    task = asyncio.create_task(rig.do(watching(*refs, wait_ms=wait_ms)))
    await wait_until_async(lambda: bool(rig.engine._polls), "somebody to wait")
    return task


def pending(outcome: Appended) -> dict[str, list[str]]:
    """Foreign id → types of the commands that are pending."""
    return {one.ref.foreign_id: [command.type for command in one.row.pending] for one in outcome.polled}


async def test_without_waiting_it_tells_of_the_runs_that_there_are(rig: Rig) -> None:
    run_id, _ = await begun(rig, A, B)
    await rig.do(c.CancelRun(run_id))
    outcome = await rig.do(watching(B, A, NOBODY, wait_ms=0))
    assert pending(outcome) == {"sdk:b": [], "sdk:a": ["cancel"]}
    assert (await rig.do(c.Append("sdk", [draft(run=A)]))).polled == ()


async def test_runs_of_the_same_batch_and_of_a_cold_cache_are_there(rig: Rig) -> None:
    await begun(rig, A)
    rig.engine.forget()
    outcome = await rig.do(c.Append("sdk", [draft(run=B)], polled=(A, B)))
    assert pending(outcome) == {"sdk:a": [], "sdk:b": []}
    assert [one.row.last_seq for one in outcome.polled] == [1, 1]


@pytest.mark.parametrize("number", [0, 1])
async def test_a_command_for_any_of_them_ends_the_wait(rig: Rig, number: int) -> None:
    ids = await begun(rig, A, B)
    task = await polling(rig, A, B)
    await rig.do(c.CancelRun(ids[number]))
    outcome = await soon(task)
    assert pending(outcome) == {"sdk:a": ["cancel"][number:], "sdk:b": ["cancel"][: number and 1]}
    assert not rig.engine._polls, "nothing is left behind"


async def test_what_is_pending_already_is_told_at_once(rig: Rig) -> None:
    (run_id,) = await begun(rig, A)
    await rig.do(c.GiveInput(run_id, "yes"))
    (watched,) = (await soon(rig.do(watching(A)))).polled
    assert watched.row.pending == (Pending(2, "message", "yes", delivered=True),)


async def test_the_end_of_one_run_leaves_it_waiting_for_the_others(rig: Rig) -> None:
    _, second = await begun(rig, A, B)
    task = await polling(rig, A, B)
    await rig.append(draft(EventType.RUN_COMPLETED, A))
    await wait_until_async(lambda: len(awaited(rig)) == 1, "only b to be waited for")
    assert not task.done()
    await rig.do(c.CancelRun(second))
    assert pending(await soon(task)) == {"sdk:a": [], "sdk:b": ["cancel"]}


def awaited(rig: Rig) -> list[int]:
    """The runs that are waited for."""
    return list(rig.engine._polls._by_run)


async def test_when_all_have_ended_nobody_waits_on(rig: Rig) -> None:
    await begun(rig, A)
    task = await polling(rig, A)
    await rig.append(draft(EventType.RUN_COMPLETED, A))
    assert pending(await soon(task)) == {"sdk:a": []}
    assert pending(await soon(rig.do(watching(A)))) == {"sdk:a": []}
    assert pending(await soon(rig.do(watching(NOBODY)))) == {}


async def test_time_passes_without_news(rig: Rig) -> None:
    await begun(rig, A)
    assert pending(await soon(rig.do(watching(A, wait_ms=1)))) == {"sdk:a": []}
    assert not rig.engine._polls


async def test_being_woken_does_not_make_the_wait_longer(rig: Rig) -> None:
    """Each turn waits for what is left of the time, by the engine's clock."""
    await begun(rig, A, B)
    task = await polling(rig, A, B)
    rig.clock.advance(LONG_MS)
    await rig.append(draft(EventType.RUN_COMPLETED, A))
    assert pending(await soon(task)) == {"sdk:a": [], "sdk:b": []}


async def test_a_command_between_look_and_wait_is_not_lost(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    (run_id,) = await begun(rig, A)
    wait = rig.engine._polls.wait

    async def late(*arguments: Any) -> None:
        monkeypatch.undo()
        await rig.do(c.CancelRun(run_id))
        await wait(*arguments)

    monkeypatch.setattr(rig.engine._polls, "wait", late)
    assert pending(await soon(rig.do(watching(A)))) == {"sdk:a": ["cancel"]}


async def test_a_command_between_commit_and_wait_is_not_lost(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    (run_id,) = await begun(rig, A)
    until_command = rig.engine._waits._until_command

    async def after_somebody_else(*arguments: Any) -> Any:
        await rig.do(c.CancelRun(run_id))
        return await until_command(*arguments)

    monkeypatch.setattr(rig.engine._waits, "_until_command", after_somebody_else)
    assert pending(await soon(rig.do(watching(A)))) == {"sdk:a": ["cancel"]}


async def test_a_drain_lets_everybody_go(rig: Rig) -> None:
    await begun(rig, A)
    task = await polling(rig, A)
    rig.engine.drain()
    assert pending(await soon(task)) == {"sdk:a": []}
    assert pending(await soon(rig.do(watching(A)))) == {"sdk:a": []}


async def test_what_a_held_back_reply_tells_is_on_record_as_delivered(rig: Rig) -> None:
    """Once, in the log, before the reply; the next reply repeats the command and not the delivery."""
    (run_id,) = await begun(rig, A)
    task = await polling(rig, A)
    await rig.do(c.GiveInput(run_id, "yes"))
    (watched,) = (await soon(task)).polled
    assert watched.row.pending == (Pending(2, "message", "yes", delivered=True),)
    assert [event.type for event in await rig.events(run_id)][-1] is EventType.COMMAND_DELIVERED
    before = len(await rig.events(run_id))
    (again,) = (await soon(rig.do(watching(A, wait_ms=1)))).polled
    assert again.row.pending == watched.row.pending
    assert len(await rig.events(run_id)) == before
