"""Long polls: who waits for what. Listens to the wake; as with followers, a wake-up is only a reason to look again.

The pattern is always the same: enter, look, wait, look again, leave. Entering comes before the look, so what was
committed before is seen by it and what is committed later wakes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from towerlog.engine.follow.claims import Claims, ClaimTicket
from towerlog.engine.follow.ticket import Ticket
from towerlog.wake.base import Commit, Wake, has_news


class RunsTicket(Ticket):
    """Waits for a command to any of these runs, or for an end. Made by `Polls.enter_runs`."""

    __slots__ = ("runs",)

    def __init__(self, runs: tuple[int, ...]) -> None:
        """By run number."""
        super().__init__()
        self.runs = runs


class Polls:
    """All long polls of this process."""

    def __init__(self) -> None:
        """Nobody waits."""
        self._by_run: dict[int, set[RunsTicket]] = {}
        self._claims = Claims()
        self._waiting: set[Ticket] = set()
        """All who wait, for whatever."""
        self.stopped = False
        """True once nobody is to wait any more."""

    def __bool__(self) -> bool:
        """True while anybody waits."""
        return bool(self._waiting)

    def listen_to(self, wake: Wake) -> None:
        """Hears of each commit while somebody waits."""
        wake.subscribe(self.committed, self._waiting)

    def enter_runs(self, runs: Iterable[int]) -> RunsTicket:
        """Announces a caller who waits for commands to these runs."""
        ticket = RunsTicket(tuple(runs))
        for run in ticket.runs:
            self._by_run.setdefault(run, set()).add(ticket)
        self._waiting.add(ticket)
        return ticket

    def enter_claim(self, org: int, agents: Iterable[str] | None, labels: Mapping[str, str]) -> ClaimTicket:
        """Announces a caller who waits for a run to claim; `agents` None serves any."""
        ticket = self._claims.enter(org, agents, labels)
        self._waiting.add(ticket)
        return ticket

    def missed(self, ticket: ClaimTicket) -> None:
        """A look that began after the ticket was woken found nothing to claim."""
        self._claims.missed(ticket)

    def leave(self, ticket: RunsTicket | ClaimTicket) -> None:
        """Forgets a caller. Call it always."""
        self._waiting.discard(ticket)
        if isinstance(ticket, ClaimTicket):
            self._claims.leave(ticket)
            return
        for run in ticket.runs:
            tickets = self._by_run.get(run)
            if tickets is not None:
                tickets.discard(ticket)
                if not tickets:
                    del self._by_run[run]

    async def wait(self, ticket: Ticket, longest_ms: int) -> None:
        """Returns when woken, or after that many ms, or when everything stops."""
        if self.stopped:
            return
        try:
            async with asyncio.timeout(longest_ms / 1000):
                await ticket.woken.wait()
        except TimeoutError:
            return

    def committed(self, commit: Commit) -> None:
        """Wakes those for whom this commit is a reason to look."""
        if self._by_run:
            for run, change in commit.runs.items():
                tickets = self._by_run.get(run)
                if tickets is not None and has_news(change):
                    for ticket in tickets:
                        ticket.woken.set()
        if self._claims:
            self._claims.committed(commit.lanes)

    def stop(self) -> None:
        """Wakes everybody; nobody waits any more."""
        self.stopped = True
        for tickets in self._by_run.values():
            for ticket in tickets:
                ticket.woken.set()
        for claim in self._claims:
            claim.woken.set()
