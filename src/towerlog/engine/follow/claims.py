"""Which waiting claim is woken when a run becomes claimable: for each such lane one, the oldest that may take it.

A claim that waits is a ticket. A ticket that was woken for a lane is on its way to it, and is woken for no other. It
comes to one of three ends:

* The lane is taken, by it or by anybody: the commit says so, and the ticket has no lane any more.
* It looks, after it was woken, and finds nothing: the lane is gone, and the ticket is in line again at its old place.
* It leaves (its caller is gone, its key was revoked, it took another lane, its claim failed): the next one is woken.

So no lane lies free while a claim that may take it sleeps, unless somebody is on the way to it. A wake-up too many
costs one look that finds nothing.

What a commit costs depends on the lanes that became claimable in it and on how many different sets of labels wait for
their agents, not on how many claims wait.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Mapping
from operator import attrgetter

from towerlog.engine.follow.ticket import Ticket
from towerlog.model.lane import Lane, QueueState

SETS_COMPARED = 256
"""So many sets of labels are compared for the oldest ticket; past them, the first that matches will do."""

Labels = frozenset[tuple[str, str]]
Line = list["ClaimTicket"]
"""Tickets of one agent and one set of labels that are not on their way, oldest first."""

_number = attrgetter("number")


class ClaimTicket(Ticket):
    """One waiting claim. Made by `Claims.enter`."""

    __slots__ = ("agents", "labels", "lane", "number", "org")

    def __init__(self, number: int, org: int, agents: tuple[str | None, ...], labels: Labels) -> None:
        """`number` rises with each ticket. `agents`: those it serves; None among them is any."""
        super().__init__()
        self.number = number
        self.org = org
        self.agents = agents
        self.labels = labels
        self.lane: Lane | None = None
        """The lane that it is on its way to; while there is one it stands in no line."""


class Claims:
    """All waiting claims of this process. Matches as the store does (`Kind.CLAIMS`)."""

    def __init__(self) -> None:
        """Nobody waits."""
        self._lines: dict[tuple[int, str | None], dict[Labels, Line]] = {}
        """(organisation, agent or None for any) → set of labels → line; no line is empty."""
        self._on_the_way: dict[int, ClaimTicket] = {}
        """Run number → who was woken for its lane."""
        self._entered = 0

    def __bool__(self) -> bool:
        """True while anybody waits."""
        return bool(self._lines or self._on_the_way)

    def __iter__(self) -> Iterator[ClaimTicket]:
        """Every ticket, some more than once."""
        for lines in self._lines.values():
            for line in lines.values():
                yield from line
        yield from self._on_the_way.values()

    def enter(self, org: int, agents: Iterable[str] | None, labels: Mapping[str, str]) -> ClaimTicket:
        """Puts a claim in line. Do it before its first look, so that nothing falls between the look and the wait."""
        self._entered += 1
        served: tuple[str | None, ...] = (None,) if agents is None else tuple(dict.fromkeys(agents))
        ticket = ClaimTicket(self._entered, org, served, frozenset(labels.items()))
        self._stand(ticket)
        return ticket

    def leave(self, ticket: ClaimTicket) -> None:
        """Forgets a claim, whatever came of it; the lane that it was woken for, if still free, is for the next."""
        lane = ticket.lane
        if lane is None:
            self._step_out(ticket)
        else:
            self._let_go(ticket)
            self._offer(lane)

    def missed(self, ticket: ClaimTicket) -> None:
        """A look that began after its wake-up found nothing, so its lane is gone: back into line."""
        if ticket.lane is not None:
            self._let_go(ticket)
            self._stand(ticket)

    def committed(self, lanes: Mapping[int, Lane]) -> None:
        """Wakes for each lane that may be claimed now whoever is next. `lanes`: those that a commit changed."""
        free: list[Lane] = []
        for run, lane in lanes.items():
            if lane.state is QueueState.QUEUED:
                free.append(lane)
            elif (ticket := self._on_the_way.get(run)) is not None:
                self._let_go(ticket)
                self._stand(ticket)
        # Only now, so that whoever has lost its lane in this very commit can be sent to another one.
        for lane in free:
            self._offer(lane)

    def _offer(self, lane: Lane) -> None:
        """Sees to it that somebody is on the way to a free lane, if anybody who may take it waits."""
        ticket = self._on_the_way.get(lane.run)
        if ticket is None:
            ticket = self._next_for(lane)
            if ticket is None:
                return
            self._step_out(ticket)
            ticket.lane = lane
            self._on_the_way[lane.run] = ticket
        # Also one that was on its way already: its look may have begun before this.
        ticket.woken.set()

    def _next_for(self, lane: Lane) -> ClaimTicket | None:
        """The oldest ticket in line that serves the lane's agent and has all of its labels."""
        first = self._oldest(lane, lane.agent)
        other = self._oldest(lane, None)
        if first is None or other is None:
            return first or other
        return first if first.number < other.number else other

    def _oldest(self, lane: Lane, agent: str | None) -> ClaimTicket | None:
        wanted, oldest = lane.labels.items(), None
        for compared, (labels, line) in enumerate(self._lines.get((lane.org, agent), {}).items()):
            if oldest is not None and compared >= SETS_COMPARED:
                break
            if wanted <= labels and (oldest is None or line[0].number < oldest.number):
                oldest = line[0]
        return oldest

    def _let_go(self, ticket: ClaimTicket) -> None:
        """It is on its way to nowhere."""
        if ticket.lane is not None:
            del self._on_the_way[ticket.lane.run]
            ticket.lane = None

    def _stand(self, ticket: ClaimTicket) -> None:
        for agent in ticket.agents:
            lines = self._lines.setdefault((ticket.org, agent), {})
            insort(lines.setdefault(ticket.labels, []), ticket, key=_number)

    def _step_out(self, ticket: ClaimTicket) -> None:
        """Out of every line it stands in; one that stands in none is no error."""
        for agent in ticket.agents:
            lines = self._lines.get((ticket.org, agent), {})
            line = lines.get(ticket.labels, [])
            at = bisect_left(line, ticket.number, key=_number)
            if at == len(line) or line[at] is not ticket:
                continue
            del line[at]
            # To the back, so that past SETS_COMPARED no set is passed over for ever.
            del lines[ticket.labels]
            if line:
                lines[ticket.labels] = line
            elif not lines:
                del self._lines[ticket.org, agent]
