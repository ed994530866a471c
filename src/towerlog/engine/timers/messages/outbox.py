"""Which messages of the outbox are sent next: organisations in turn, and in each its receivers.

A look reads so much and no more, and the next one goes on after it. When all of it has been looked at, a new round
begins. Nothing is remembered but how far the round has come; what waits is in the store.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from typing import NamedTuple

from towerlog.model.delivery import Delivery, DueWanted
from towerlog.store.base import AlertStore

MAX_UNDER_WAY = 64
MAX_OF_ORGANISATION = 24
MAX_OF_RECEIVER = 4
"""Messages that are sent at a time: in all, of one organisation, to one receiver of an organisation."""
ORGANISATIONS_AT_ONCE = 32
RECEIVERS_AT_ONCE = 100
"""Organisations, and receivers of an organisation, that one look takes at most."""
MESSAGES_AT_ONCE = 2 * MAX_UNDER_WAY
"""Messages after which a look goes to no further organisation."""

Key = tuple[int, str]


class Next(NamedTuple):
    """What a look has found."""

    rows: list[Delivery]
    """To be begun, in this order."""
    goes_on: bool
    """The round is not over, and more may be found by the next look."""
    is_more: bool
    """Something is due that can be begun when something under way is done."""


class Outbox:
    """How far the round has come."""

    def __init__(self, store: AlertStore) -> None:
        """At its beginning."""
        self._store = store
        self._after_org = -1
        self._has_all = False
        """All organisations of this round are known."""
        self._queue: list[tuple[int, str]] = []
        """(organisation, its last receiver that was looked at), of those that this round is not done with."""
        self._stale: set[int] = set()
        """Organisations that got new messages since this round began with them."""
        self._passed_over = False

    def hear(self, orgs: Collection[int]) -> None:
        """These have new messages: they are looked at next, or once more if the round is on its way through them."""
        queued = {org for org, _ in self._queue}
        self._stale |= queued & set(orgs)
        self._queue[:0] = [(org, "") for org in orgs if org not in queued]

    async def look(self, now_ms: int, horizon_ms: int, under_way: Mapping[Key, Delivery]) -> Next:
        """What is to be begun now, beside what is under way. Wall ms; `horizon_ms`: see `AlertStore.deliveries_due`."""
        of_org = Counter(org for org, _ in under_way)
        free = MAX_UNDER_WAY - len(under_way)
        found: dict[int, list[Delivery]] = {}
        count = 0
        await self._fill(of_org)
        for _ in range(len(self._queue)):
            org, receiver = self._queue.pop(0)
            room = min(free, MAX_OF_ORGANISATION - of_org[org])
            if room <= 0 or count >= MESSAGES_AT_ONCE:
                self._queue.append((org, receiver))
                continue
            mine = {name: one for (whose, name), one in under_way.items() if whose == org}
            wanted = DueWanted(org, receiver, now_ms, horizon_ms, MAX_OF_RECEIVER, room, RECEIVERS_AT_ONCE, mine)
            due = await self._store.deliveries_due(wanted)
            found[org] = _by_rank(due.rows)
            count += len(due.rows)
            self._passed_over = self._passed_over or due.is_more
            is_stale = due.place is None and org in self._stale
            self._stale -= {org} if is_stale else set()
            if due.place is not None or is_stale:
                self._queue.append((org, due.place or ""))
        chosen = _in_turn(found, of_org, free)
        return self._told(chosen, of_org, left=count - len(chosen))

    async def _fill(self, of_org: Counter[int]) -> None:
        """Takes further organisations into the round, or begins a new one."""
        if self._has_all and not self._queue:
            self._after_org, self._has_all, self._passed_over = -1, False, False
        # One that has all its places keeps no other out.
        room = ORGANISATIONS_AT_ONCE - sum(of_org[org] < MAX_OF_ORGANISATION for org, _ in self._queue)
        if room > 0 and not self._has_all:
            orgs = await self._store.deliveries_waiting(self._after_org, room)
            queued = {org for org, _ in self._queue}
            # Those that this round has not seen at all come before those that it goes on with.
            self._queue[:0] = [(org, "") for org in orgs if org not in queued]
            self._after_org = orgs[-1] if orgs else self._after_org
            self._has_all = len(orgs) < room

    def _told(self, chosen: list[Delivery], of_org: Counter[int], left: int) -> Next:
        self._passed_over = self._passed_over or left > 0
        after = of_org + Counter(one.org for one in chosen)
        has_room = after.total() < MAX_UNDER_WAY
        goes_on = has_room and (not self._has_all or any(after[org] < MAX_OF_ORGANISATION for org, _ in self._queue))
        return Next(chosen, goes_on, self._passed_over or bool(self._queue) or not self._has_all)


def _by_rank(rows: list[Delivery]) -> list[Delivery]:
    """One of each receiver, then a second one of each, and so on; the longest due first."""
    seen: Counter[str] = Counter()
    ranked = []
    for index, one in enumerate(rows):
        receiver = one.channel.receiver()
        ranked.append((seen[receiver], one.due_at or 0, index, one))
        seen[receiver] += 1
    return [one for *_, one in sorted(ranked, key=lambda entry: entry[:3])]


def _in_turn(found: dict[int, list[Delivery]], of_org: Counter[int], free: int) -> list[Delivery]:
    """As many as there are places for, each of the organisation that has the fewest under way."""
    counts, places = of_org.copy(), dict.fromkeys(found, 0)
    chosen: list[Delivery] = []
    while len(chosen) < free:
        may = [org for org, rows in found.items() if places[org] < len(rows) and counts[org] < MAX_OF_ORGANISATION]
        if not may:
            break
        org = min(may, key=counts.__getitem__)
        chosen.append(found[org][places[org]])
        places[org] += 1
        counts[org] += 1
    return chosen
