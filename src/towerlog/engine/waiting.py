"""Long polls: who waits for what, and its waking. As with followers, a wake-up is only a reason to look again."""

from __future__ import annotations

import asyncio

Topic = tuple[str, int]
"""(`queue`, organisation) or (`run`, run number)."""


class Ticket:
    """One waiting caller."""

    __slots__ = ("topics", "woken")

    def __init__(self, topics: tuple[Topic, ...]) -> None:
        """Not woken yet."""
        self.topics = topics
        self.woken = asyncio.Event()


class Waiting:
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
