"""Where connections come from, and in whose shares each of them stands: an address's, later a key's.

A connection from a trusted proxy carries requests of many. It counts for the process alone; each request on it counts
for the address that the proxy names, as if that had connected by itself.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from towerlog.asgi.guard.addresses import Addresses, counted_as
from towerlog.asgi.guard.ledger import Account, HeldPlace, ShareLedger
from towerlog.asgi.guard.pace import Pace
from towerlog.asgi.replies import Message
from towerlog.asgi.shares.share import Hold, Resource, Share


class Caller(Protocol):
    """What a visit needs of its connection, to give up for others what it holds."""

    @property
    def is_idle(self) -> bool:
        """Whether nothing of a request has come and no reply is owed."""
        ...

    def make_place(self) -> None:
        """Ends it: another needs its place."""
        ...

    def cut_reader(self) -> None:
        """Cuts it off: its reader does not take what there is."""
        ...


class Arrivals:
    """All connections of a process."""

    def __init__(self, ledger: ShareLedger, addresses: Addresses, steady_ms: Callable[[], int] | None = None) -> None:
        """`addresses` knows the proxies that are trusted; `steady_ms` is the clock of the turns, if they have one."""
        self.ledger = ledger
        self.addresses = addresses
        self.pace = Pace(steady_ms)
        self.out_of_memory = 0
        """Requests that a connection has refused because it had not the memory to read or to serve them."""
        self.readers_cut = 0
        """Connections that were cut off because their replies were not taken."""

    @classmethod
    def unbounded(cls) -> Arrivals:
        """For an application that counts nothing."""
        return cls(ShareLedger(sys.maxsize, {}, {}), Addresses())

    def visit(self, peer: tuple[str, int] | None, caller: Caller | None = None) -> Visit:
        """A new connection. It has no place yet; without a `caller` it gives nothing up."""
        return Visit(self, peer, caller)


class Visit:
    """One connection, as the ledger sees it."""

    __slots__ = (
        "_arrivals",
        "_caller",
        "_is_over",
        "_kept_bytes",
        "_kept_hold",
        "_kept_shares",
        "_place",
        "_reply_bytes",
        "_reply_hold",
        "_reply_shares",
        "_standing",
        "is_known",
        "is_proxied",
        "is_stranger",
        "ledger",
        "peer",
        "shares",
    )

    def __init__(self, arrivals: Arrivals, peer: tuple[str, int] | None, caller: Caller | None) -> None:
        self._arrivals = arrivals
        self._caller = caller
        self.ledger = arrivals.ledger
        self.peer = peer
        self.is_proxied = peer is not None and arrivals.addresses.is_trusted(peer[0])
        self.is_known = False
        """Whether its requests have shown a good key: then it counts for that."""
        self.is_stranger = not self.is_proxied
        """Whether none of its requests has, so that its work is a stranger's. What a proxy sends is nobody's own."""
        self.shares: tuple[Share, ...] = ()
        """In which shares the bytes that it has in hand are counted."""
        self._place: HeldPlace | None = None
        """Of a proxy's connection, among all."""
        self._standing: HeldPlace | None = None
        """Among those of its address, or of its key; of a proxy's connection, while a request is served."""
        self._is_over = False
        self._reply_bytes = self._kept_bytes = 0
        self._reply_shares: tuple[Share, ...] = ()
        self._kept_shares: tuple[Share, ...] = ()
        self._reply_hold = Hold(self._cut_reader, lambda: self._reply_bytes)
        self._kept_hold = Hold(self._make_place, lambda: self._kept_bytes)

    @property
    def pace(self) -> Pace:
        """The turns that its work has."""
        return self._arrivals.pace

    @property
    def whose(self) -> object:
        """Whose its work is, where that has turns: an organisation's, or an address's."""
        return self.shares[1 if self.is_known else 0]

    def enter(self) -> None:
        """Takes its place, where it has none yet. Raises Overloaded."""
        if self._is_over or self._place is not None or self._standing is not None:
            return
        ledger = self.ledger
        self.shares = (ledger.unknown, ledger.process)
        if self.is_proxied:
            self._place = ledger.take_place((ledger.process,), Resource.CONNECTION)
        else:
            self._stand_in(self._arrivals.addresses.of({"client": self.peer, "headers": ()}))

    def begin(self, scope: Message) -> None:
        """A request of somebody behind a proxy begins. Raises Overloaded."""
        self._stand_in(self._arrivals.addresses.of(scope))

    def _stand_in(self, address: str) -> None:
        ledger = self.ledger
        shares = (ledger.address(counted_as(address)), ledger.unknown, ledger.process)
        self._standing = ledger.take_place(self._counted(shares), Resource.CONNECTION)
        if self._caller is not None:
            self._standing.offer(self._make_place, lambda: self._caller is not None and self._caller.is_idle)
        self.shares = shares

    def _counted(self, shares: tuple[Share, ...]) -> tuple[Share, ...]:
        """In which of them it has a place as a connection: a proxy's has that of the process already."""
        return shares[:-1] if self.is_proxied else shares

    def admit(self, account: Account) -> None:
        """Its request has shown a good key: from now on it counts for that. Raises Overloaded.

        That may be said for each of its requests, and after it has left: a key that was looked up is known late.
        """
        if self._is_over or self.shares is account.shares or self._standing is None:
            return
        self._standing.move(self._counted(account.shares))
        self.shares, self.is_known, self.is_stranger = account.shares, True, False

    def hand_over(self, caller: Caller) -> None:
        """The connection is somebody else's from now on: what it holds is given up by him."""
        self._caller = caller

    def end(self) -> None:
        """The request of somebody behind a proxy has its reply; the next may be another's."""
        if self._standing is not None:
            self._standing.give_back()
        self._standing, self.shares, self.is_known = None, (self.ledger.unknown, self.ledger.process), False

    def hold_reply(self, count: int) -> bool:
        """Counts so many bytes of replies that wait for their reader; whether there is room for them.

        They are here already: where there is no room, their reader has to be cut off. One reader alone always has room.
        """
        old, self._reply_bytes = self._reply_bytes, 0
        for share in self._reply_shares:
            share.note_reply(-old)
        if old:
            self._reply_shares[0].withdraw(Resource.BYTES, self._reply_hold)
            self._reply_shares[0].withdraw(Resource.REPLIES, self._reply_hold)
        self._reply_shares = ()
        if not count:
            return True
        if not self.ledger.take_reply(self.shares, count):
            return False
        self._reply_bytes, self._reply_shares = count, self.shares
        if self._caller is not None:
            self.shares[0].offer(Resource.BYTES, self._reply_hold)
            self.shares[0].offer(Resource.REPLIES, self._reply_hold)
        return True

    def keep(self, count: int) -> None:
        """Counts so many bytes that have come and wait to be looked at, until `unkeep`. Raises Overloaded."""
        self._kept_shares = self.take(count)
        self._kept_bytes = count
        if self._caller is not None:
            self._kept_shares[0].offer(Resource.BYTES, self._kept_hold)

    def unkeep(self) -> None:
        """They are looked at, or there is nobody any more."""
        if self._kept_bytes:
            self._kept_shares[0].withdraw(Resource.BYTES, self._kept_hold)
            self.ledger.give_bytes(self._kept_shares, self._kept_bytes)
            self._kept_bytes, self._kept_shares = 0, ()

    def take(self, count: int) -> tuple[Share, ...]:
        """Counts so many bytes that have come and wait; in which shares. Raises Overloaded."""
        shares = self.shares
        self.ledger.take_bytes(shares, count)
        return shares

    @contextmanager
    def hold_body(self, count: int) -> Iterator[None]:
        """Counts so many bytes of a body, which have come and are in the count of no key yet. Raises Overloaded."""
        shares = self.take(count)
        try:
            yield
        finally:
            self.ledger.give_bytes(shares, count)

    def leave(self) -> None:
        """Gives everything back, for good."""
        self._is_over, self._caller = True, None
        self.hold_reply(0)
        self.unkeep()
        for place in (self._standing, self._place):
            if place is not None:
                place.give_back()

    def lack(self) -> None:
        """There was no memory for its request."""
        self._arrivals.out_of_memory += 1

    def cut(self) -> None:
        """It was cut off because its replies were not taken."""
        self._arrivals.readers_cut += 1

    # What it gives up for others: at once, and then its caller ends the connection

    def _cut_reader(self) -> None:
        self.hold_reply(0)
        if self._caller is not None:
            self._caller.cut_reader()

    def _make_place(self) -> None:
        caller = self._caller
        self.leave()
        if caller is not None:
            caller.make_place()
