"""Long polls: nobody is forgotten, nobody is woken for another's news, and a stop wakes everybody."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.factories import run_row
from towerlog.engine.follow.polls import Polls
from towerlog.engine.follow.ticket import Ticket
from towerlog.model.lane import Lane, QueueState
from towerlog.model.pending import Pending
from towerlog.model.principal import shard_key
from towerlog.model.run import RunRow, Status
from towerlog.store.values import RunChange
from towerlog.wake.base import Commit

DEADLINE_S = 60
FOR_EVER_MS = 3_600_000
ONE, TWO = (shard_key(1, number) for number in (1, 2))


async def sleeper(polls: Polls, ticket: Ticket) -> asyncio.Task[None]:
    """Somebody who waits, and has begun to."""
    task = asyncio.create_task(polls.wait(ticket, FOR_EVER_MS))
    await asyncio.sleep(0)
    assert not task.done()
    return task


async def done(*tasks: asyncio.Task[None]) -> None:
    """All of them come back in time."""
    await asyncio.wait_for(asyncio.gather(*tasks), DEADLINE_S)


def changed(*rows: RunRow) -> Commit:
    """A commit that left these rows."""
    return Commit(runs={row.run: RunChange(run_row(), row) for row in rows})


def told(number: int) -> Commit:
    """A commit after which a command is pending for this run."""
    return changed(run_row(number, pending=(Pending(1, "cancel"),)))


async def test_all_who_wait_for_a_run_are_woken() -> None:
    polls = Polls()
    tasks = [await sleeper(polls, polls.enter_runs([ONE])) for _ in range(3)]
    polls.committed(told(1))
    await done(*tasks)


@pytest.mark.parametrize("number", [1, 2])
async def test_who_waits_for_several_runs_is_woken_by_any(number: int) -> None:
    polls = Polls()
    ticket = polls.enter_runs([ONE, TWO])
    task = await sleeper(polls, ticket)
    polls.committed(told(number))
    await done(task)
    polls.leave(ticket)
    assert not polls


async def test_an_end_is_news_and_nothing_else_but_a_command_is() -> None:
    polls = Polls()
    task = await sleeper(polls, polls.enter_runs([ONE]))
    polls.committed(changed(run_row(1), run_row(2, status=Status.COMPLETED)))
    polls.committed(changed(run_row(1, status=Status.WAITING)))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not task.done()
    polls.committed(changed(run_row(1, status=Status.LOST)))
    await done(task)


async def test_a_claim_and_those_who_wait_for_commands_are_apart() -> None:
    polls = Polls()
    claim, runs = polls.enter_claim(1, None, {}), polls.enter_runs([ONE])
    polls.committed(Commit(lanes={TWO: Lane(TWO, 1, QueueState.QUEUED, "a", 0)}))
    assert (claim.woken.is_set(), runs.woken.is_set()) == (True, False)
    polls.missed(claim)
    claim.woken.clear()
    polls.committed(told(1))
    assert (claim.woken.is_set(), runs.woken.is_set()) == (False, True)
    for ticket in (claim, runs):
        assert polls
        polls.leave(ticket)
    assert not polls


async def test_what_happens_between_entering_and_waiting_is_not_missed() -> None:
    polls = Polls()
    ticket = polls.enter_runs([ONE])
    polls.committed(told(1))
    await asyncio.wait_for(polls.wait(ticket, FOR_EVER_MS), DEADLINE_S)


async def test_whoever_has_left_is_forgotten_and_the_others_are_not() -> None:
    polls = Polls()
    assert not polls
    gone, stays = polls.enter_runs([ONE]), polls.enter_runs([ONE])
    polls.leave(gone)
    assert polls
    task = await sleeper(polls, stays)
    polls.committed(told(1))
    await done(task)
    assert not gone.woken.is_set()
    polls.leave(stays)
    polls.leave(stays)
    assert not polls
    assert not polls._by_run, "a run that nobody waits for is not kept"


async def test_a_wait_ends_after_its_time() -> None:
    polls = Polls()
    ticket = polls.enter_runs([ONE])
    for longest_ms in (0, 5):
        await asyncio.wait_for(polls.wait(ticket, longest_ms), DEADLINE_S)
    assert not ticket.woken.is_set()


async def test_a_stop_wakes_everybody_and_nobody_waits_any_more() -> None:
    polls = Polls()
    on_its_way = polls.enter_claim(1, None, {})
    polls.committed(Commit(lanes={TWO: Lane(TWO, 1, QueueState.QUEUED, "a", 0)}))
    on_its_way.woken.clear()
    tickets = [on_its_way, polls.enter_claim(1, ["a"], {}), polls.enter_runs([ONE, TWO])]
    tasks = [await sleeper(polls, ticket) for ticket in tickets]
    polls.stop()
    await done(*tasks)
    await asyncio.wait_for(polls.wait(polls.enter_claim(2, None, {}), FOR_EVER_MS), DEADLINE_S)
    assert polls.stopped
