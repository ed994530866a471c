"""Commands whose reply is held back: a claim until there is a run, a report or a batch until there is a command.

What is submitted here goes through the writer like everything else. What comes of the wait is told by the reply only
after it is on record as delivered.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec

from towerlog.ambient import Clock
from towerlog.engine.commands.lanes import LANES
from towerlog.engine.control.receipts import with_end
from towerlog.engine.follow.polls import Polls
from towerlog.errors import TowerlogError
from towerlog.model.command import Append, Claim, Deliver, Idempotency, Report
from towerlog.model.outcome import Appended, Delivered, NothingToClaim, Outcome, Reported
from towerlog.model.principal import Principal
from towerlog.model.run import RunRow, Status

Submit = Callable[[Principal, Append | Claim | Deliver | Report, str, Idempotency | None], Awaitable[Outcome]]
"""Carries out one command by the writer."""
LookUp = Callable[[int, Sequence[int]], Awaitable[Mapping[int, RunRow]]]
"""(organisation, run numbers) → the rows as they are stored."""

_replace = msgspec.structs.replace


class Waits:
    """Carries out commands that wait."""

    def __init__(self, polls: Polls, submit: Submit, look_up: LookUp, clock: Clock) -> None:
        """`polls` must hear of every commit."""
        self._polls = polls
        self._submit = submit
        self._look_up = look_up
        self._clock = clock

    async def claim(
        self, principal: Principal, command: Claim, dialect: str, idempotency: Idempotency | None
    ) -> Outcome:
        """Tries, waits for a run that it may take, tries again, up to the command's time."""
        deadline = self._clock.steady_ms() + command.wait_ms
        ticket = self._polls.enter_claim(principal.org, command.agents, command.labels)
        try:
            while True:
                left_ms = max(deadline - self._clock.steady_ms(), 0)
                last = left_ms == 0 or self._polls.stopped
                attempt = _replace(command, wait_ms=0 if last else left_ms)
                ticket.woken.clear()
                outcome = await self._submit(principal, attempt, dialect, idempotency)
                if last or not isinstance(outcome, NothingToClaim):
                    return outcome
                if not ticket.woken.is_set():
                    self._polls.missed(ticket)
                    await self._polls.wait(ticket, left_ms)
        finally:
            self._polls.leave(ticket)

    async def hold(self, principal: Principal, command: Append | Report, outcome: Outcome, dialect: str) -> Outcome:
        """The reply to telemetry that is stored: at once when there is a command, else up to the command's time."""
        if isinstance(outcome, Appended):
            return await self._batch(principal, outcome, command.wait_ms, dialect)
        if isinstance(outcome, Reported) and isinstance(command, Report):
            return await self._report(principal, command, outcome, dialect)
        return outcome

    async def _report(self, principal: Principal, command: Report, outcome: Reported, dialect: str) -> Outcome:
        """Waits for a command to the run, unless the reply carries a new one already."""
        if outcome.has_news or not _may_get_command([outcome.view.row]):
            return outcome
        # Never past the lease: the worker must be told in time to renew it.
        wait_ms = min(command.wait_ms, outcome.lane.lease_ms // 2)
        [row] = await self._until_command(principal.org, [outcome.view.row], wait_ms)
        if row.pending:
            # Also what was carried before: the row as it is stored has no long texts.
            # Taken from it meanwhile? Then it is told nothing here; its next report will be told so.
            deliver = Deliver((command.run_id,), command.worker_id, outcome.lane.epoch, LANES)
            rows = await self._delivered(principal, deliver, dialect)
            if command.run_id not in rows:
                return outcome
            row = rows[command.run_id]
        elif row.lease_epoch != outcome.lane.epoch or row.status is Status.QUEUED:
            return outcome  # as above
        return _replace(outcome, view=_replace(outcome.view, row=row))

    async def _batch(self, principal: Principal, outcome: Appended, wait_ms: int, dialect: str) -> Outcome:
        """Waits for a command to any of the polled runs, unless the reply carries a new one already."""
        if outcome.has_news:
            return outcome
        going_on = frozenset(one.row.run for one in outcome.polled if one.goes_on)
        rows = await self._until_command(principal.org, [one.row for one in outcome.polled], wait_ms, going_on)
        # Also what was carried before: the run may have become another key's meanwhile, and then it is told nothing.
        pending = tuple(row.run_id for row in rows if row.pending and not row.is_terminal())
        told = await self._delivered(principal, Deliver(pending, by=dialect), dialect) if pending else {}
        shown = [told.get(row.run_id) or _replace(row, pending=()) for row in rows]
        polled = [with_end(_replace(one, row=row)) for one, row in zip(outcome.polled, shown, strict=True)]
        return _replace(outcome, polled=tuple(polled))

    async def _delivered(self, principal: Principal, command: Deliver, dialect: str) -> Mapping[str, RunRow]:
        """Run id → its row with what is pending on record as delivered; empty when that was refused."""
        try:
            outcome = await self._submit(principal, command, dialect, None)
        except TowerlogError:
            return {}  # what was sent is stored, and must not be sent again for this; the next reply tells it
        return outcome.rows if isinstance(outcome, Delivered) else {}

    async def _until_command(
        self, org: int, rows: list[RunRow], wait_ms: int, going_on: frozenset[int] = frozenset()
    ) -> list[RunRow]:
        """The same runs as they are when one has a new command, all have ended, one of `going_on`
        ends, or time is up."""
        deadline, left_ms = self._clock.steady_ms() + wait_ms, wait_ms
        had_ended = _ended(rows, going_on)

        def is_over(rows: list[RunRow]) -> bool:
            return not _may_get_command(rows) or _ended(rows, going_on) != had_ended

        while left_ms > 0 and not self._polls.stopped and not is_over(rows):
            ticket = self._polls.enter_runs(row.run for row in rows if not row.is_terminal())
            try:
                # Looked up after entering: what was committed before is seen here, what comes later wakes.
                rows = await self._current(org, rows)
                if is_over(rows):
                    break
                await self._polls.wait(ticket, left_ms)
                rows = await self._current(org, rows)
            finally:
                self._polls.leave(ticket)
            left_ms = deadline - self._clock.steady_ms() if ticket.woken.is_set() else 0
        return rows

    async def _current(self, org: int, rows: list[RunRow]) -> list[RunRow]:
        found = await self._look_up(org, [row.run for row in rows])
        return [found.get(row.run, row) for row in rows]


def _ended(rows: list[RunRow], going_on: frozenset[int]) -> int:
    return sum(row.run in going_on and row.is_terminal() for row in rows)


def _may_get_command(rows: list[RunRow]) -> bool:
    """Whether it is worth waiting: there is no new command, and to a run that has not ended one may come.

    A command that a reply has carried before ends no wait: an agent that does not take it would poll without a pause.
    """
    return not any(row.has_undelivered() for row in rows) and not all(row.is_terminal() for row in rows)
