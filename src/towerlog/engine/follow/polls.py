"""Long polls: who waits for what, and its waking. As with followers, a wake-up is only a reason to look again."""

from __future__ import annotations

import asyncio

import msgspec

from towerlog.ambient import Clock
from towerlog.model.outcome import Appended, Watched
from towerlog.store.base import Store

Topic = tuple[str, int]
"""(`queue`, organisation) or (`run`, run number)."""


class Ticket:
    """One waiting caller."""

    __slots__ = ("topics", "woken")

    def __init__(self, topics: tuple[Topic, ...]) -> None:
        """Not woken yet."""
        self.topics = topics
        self.woken = asyncio.Event()


class Polls:
    """All long polls of this process."""

    def __init__(self) -> None:
        """Nobody waits."""
        self._tickets: dict[Topic, set[Ticket]] = {}
        self.stopped = False

    def __bool__(self) -> bool:
        """True while anybody waits."""
        return bool(self._tickets)

    def enter(self, *topics: Topic) -> Ticket:
        """Announces a caller; do it before looking, so that nothing falls between the look and the wait."""
        ticket = Ticket(topics)
        for topic in topics:
            self._tickets.setdefault(topic, set()).add(ticket)
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """Forgets a caller."""
        for topic in ticket.topics:
            tickets = self._tickets.get(topic)
            if tickets is not None:
                tickets.discard(ticket)
                if not tickets:
                    del self._tickets[topic]

    async def wait(self, ticket: Ticket, longest_ms: int) -> None:
        """Returns when woken, or after that many ms, or when everything stops."""
        if self.stopped:
            return
        try:
            await asyncio.wait_for(ticket.woken.wait(), longest_ms / 1000)
        except TimeoutError:
            return

    def wake(self, topic: Topic) -> None:
        """Wakes all who wait for a topic."""
        for ticket in self._tickets.get(topic, ()):
            ticket.woken.set()

    def stop(self) -> None:
        """Wakes everybody; nobody waits any more."""
        self.stopped = True
        for topic in list(self._tickets):
            self.wake(topic)


_replace = msgspec.structs.replace


class Wanted:
    """Looks at runs until something is wanted of one of them."""

    def __init__(self, store: Store, clock: Clock, waiting: Polls) -> None:
        """`waiting` is the engine's: whatever is committed wakes it."""
        self._store = store
        self._clock = clock
        self._waiting = waiting

    async def until_wanted(self, org: int, outcome: Appended, wait_ms: int) -> Appended:
        """The outcome with its runs as they are when a command is pending, all have ended, or time is up."""
        deadline = self._clock.steady_ms() + wait_ms
        watched, left_ms = outcome.watched, wait_ms
        while left_ms > 0 and not self._waiting.stopped and _may_be_wanted(watched):
            ticket = self._waiting.enter(*(("run", one.row.run) for one in watched if not one.row.is_terminal()))
            try:
                # Asked for after entering: what was committed before is seen here, what comes later wakes.
                watched = await self._looked_up_again(org, watched)
                if not _may_be_wanted(watched):
                    break
                await self._waiting.wait(ticket, left_ms)
                watched = await self._looked_up_again(org, watched)
            finally:
                self._waiting.leave(ticket)
            left_ms = deadline - self._clock.steady_ms() if ticket.woken.is_set() else 0
        return _replace(outcome, watched=watched)

    async def _looked_up_again(self, org: int, watched: tuple[Watched, ...]) -> tuple[Watched, ...]:
        rows = await self._store.runs_by_number(org, [one.row.run for one in watched])
        return tuple(_replace(one, row=rows.get(one.row.run, one.row)) for one in watched)


def _may_be_wanted(watched: tuple[Watched, ...]) -> bool:
    """Whether it is worth waiting: nothing is wanted yet, and of a run that has not ended something still may be."""
    return not any(one.row.pending for one in watched) and not all(one.row.is_terminal() for one in watched)
