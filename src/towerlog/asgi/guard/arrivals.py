"""Where connections come from, and in whose shares each of them stands: an address's, later a key's.

A connection from a trusted proxy carries requests of many. It counts for the process alone; each request on it counts
for the address that the proxy names, as if that had connected by itself.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from towerlog.asgi.guard.addresses import Addresses, counted_as
from towerlog.asgi.guard.ledger import Account, PlaceKind, Share, ShareLedger
from towerlog.asgi.guard.pace import Pace
from towerlog.asgi.replies import Message


class Arrivals:
    """All connections of a process."""

    def __init__(self, ledger: ShareLedger, addresses: Addresses) -> None:
        """`addresses` knows the proxies that are trusted."""
        self.ledger = ledger
        self.addresses = addresses
        self.pace = Pace()
        self.readers_cut = 0
        """Connections that were cut off because their replies were not taken."""

    @classmethod
    def unbounded(cls) -> Arrivals:
        """For an application that counts nothing."""
        return cls(ShareLedger(sys.maxsize, {}, {}), Addresses())

    def visit(self, peer: tuple[str, int] | None) -> Visit:
        """A new connection. It has no place yet."""
        return Visit(self, peer)


class Visit:
    """One connection, as the ledger sees it."""

    __slots__ = (
        "_arrivals",
        "_is_over",
        "_leave",
        "_leave_share",
        "_reply_bytes",
        "_reply_shares",
        "is_known",
        "is_proxied",
        "ledger",
        "peer",
        "shares",
    )

    def __init__(self, arrivals: Arrivals, peer: tuple[str, int] | None) -> None:
        self._arrivals = arrivals
        self.ledger = arrivals.ledger
        self.peer = peer
        self.is_proxied = peer is not None and arrivals.addresses.is_trusted(peer[0])
        self.is_known = False
        """Whether its requests have shown a good key: then it counts for that."""
        self.shares: tuple[Share, ...] = ()
        """In which shares the bytes that it has in hand are counted."""
        self._leave: Callable[[], None] = _nothing
        self._leave_share: Callable[[], None] = _nothing
        self._is_over = False
        self._reply_bytes = 0
        self._reply_shares: tuple[Share, ...] = ()

    @property
    def whose(self) -> object:
        """Whose its work is, where that has turns: an organisation's, or an address's."""
        return self.shares[1 if self.is_known else 0]

    def enter(self) -> None:
        """Takes its place. Raises Overloaded."""
        ledger = self.ledger
        self.shares = (ledger.unknown, ledger.process)
        self._leave = ledger.take_place((ledger.process,), PlaceKind.CONNECTION)
        if not self.is_proxied:
            try:
                self._stand_in(self._arrivals.addresses.of({"client": self.peer, "headers": ()}))
            except BaseException:
                self._leave()
                raise

    def begin(self, scope: Message) -> None:
        """A request of somebody behind a proxy begins. Raises Overloaded."""
        self._stand_in(self._arrivals.addresses.of(scope))

    def _stand_in(self, address: str) -> None:
        ledger = self.ledger
        share = ledger.address(counted_as(address))
        self._leave_share = ledger.take_place((share,), PlaceKind.CONNECTION)
        self.shares = (share, ledger.unknown, ledger.process)

    def admit(self, account: Account) -> None:
        """Its request has shown a good key: from now on it counts for that. Raises Overloaded.

        That may be said for each of its requests, and after it has left: a key that was looked up is known late.
        """
        if self._is_over or self.shares is account.shares:
            return
        leave = self.ledger.take_place((account.key, account.organisation), PlaceKind.CONNECTION)
        self._leave_share()
        self._leave_share, self.shares, self.is_known = leave, account.shares, True

    def end(self) -> None:
        """The request of somebody behind a proxy has its reply; the next may be another's."""
        self._leave_share()
        self._leave_share, self.shares, self.is_known = _nothing, (self.ledger.unknown, self.ledger.process), False

    def hold_reply(self, count: int) -> bool:
        """Counts so many bytes of replies that wait for their reader; whether there is room for them.

        They are here already: where there is no room, their reader has to be cut off. One reader alone always has room.
        """
        for share in self._reply_shares:
            share.free_bytes += self._reply_bytes
            share.reply_bytes -= self._reply_bytes
        self._reply_bytes, self._reply_shares = count, self.shares
        for share in self._reply_shares:
            share.free_bytes -= count
            share.reply_bytes += count
        return not count or all(
            (share.free_bytes >= 0 or share.held_bytes <= count)
            and share.reply_bytes <= max(share.bounds.reply_bytes, count)
            for share in self._reply_shares
        )

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
        self._is_over = True
        self.hold_reply(0)
        self._leave_share()
        self._leave()

    def cut(self) -> None:
        """It was cut off because its replies were not taken."""
        self._arrivals.readers_cut += 1


def _nothing() -> None:
    """There is nothing to give back."""
