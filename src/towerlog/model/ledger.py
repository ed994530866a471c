"""The gap ledger: which numbers of a client have arrived in a run, which were dropped at the source, which are missing.

A client numbers its events within a run 1, 2, 3 …, so a lost event leaves a hole. Only the numbers of the keys whose
run it is are counted (`engine/control/rights`). Numbers are kept as ranges, at most `MAX_RANGES` of them. Past that
bound the highest ranges are forgotten, and `horizon` marks the number above which nothing is known any more. A number
above the horizon is never reported as missing.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

MAX_CLIENTS = 64
"""Clients of a run whose numbers are counted."""
MAX_RANGES = 128
"""Ranges of received numbers, and as many of dropped ones, that are kept of a client."""

MAX_ALL_RANGES = 256
"""Ranges that are kept of all clients of a run together; past it, those of the client that opens another hole are cut
to FEW_RANGES."""
FEW_RANGES = 4
MAX_CLIENTS_BYTES = 6_656
"""Of the ledgers of all clients of a run, as JSON."""
FEW_CLIENTS, FEW_OF_ALL = 4, 64
"""So few clients with so few ranges together fit in any case: their size is not looked at."""

Range = tuple[int, int]
"""From and to, both included."""
Ranges = tuple[Range, ...]
"""In rising order, and never adjacent: ranges that touch are merged."""

_replace = msgspec.structs.replace
_encode = msgspec.json.Encoder().encode


class Ledger(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What is known of one client's numbers. A number is received, dropped or missing, never two of these."""

    received: Ranges = ()
    dropped: Ranges = ()
    highest: int = 0
    """The highest number that arrived or was reported as dropped."""
    horizon: int | None = None
    """Above this number nothing is known; None: everything is known."""
    beyond: int = 0
    """How many events arrived with a number above the horizon."""
    key: str | None = None
    """Id of the API key that numbers under this client id; None: the key that reports the run."""

    def with_received(self, seq: int) -> Ledger:
        """After the event with this number was stored."""
        highest = max(self.highest, seq)
        # Above the horizon ranges are not kept, so a repeated number would count twice; duplicates are removed before.
        if self.horizon is not None and seq > self.horizon:
            return _replace(self, highest=highest, beyond=self.beyond + 1)
        received = _with(self.received, (seq, seq))
        dropped = _without(self.dropped, (seq, seq)) if self.dropped else self.dropped
        return _bounded(_replace(self, received=received, dropped=dropped, highest=highest))

    def with_all_received(self, first: int, last: int) -> Ledger:
        """After all numbers from one to another, in their order: what `with_received` makes of one after the other."""
        is_newest = not self.received or first > self.received[-1][1]
        if is_newest and self.horizon is None and not self.dropped:
            # Nothing between them can be cut off or split, so they are one range from the start.
            received = _with(self.received, (first, last))
            return _bounded(_replace(self, received=received, highest=max(self.highest, last)))
        ledger = self
        for seq in range(first, last + 1):
            ledger = ledger.with_received(seq)
        return ledger

    def with_dropped(self, first: int, last: int) -> Ledger:
        """After the client reported that it dropped these numbers. Any of them that arrived stays received."""
        highest = max(self.highest, last)
        known_to = last if self.horizon is None else min(last, self.horizon)
        # A number cannot be both: what arrived stays received, whatever the client believes.
        lost: Ranges = ((first, known_to),) if first <= known_to else ()
        for one in self.received:
            lost = _without(lost, one)
        dropped = self.dropped
        for one in lost:
            dropped = _with(dropped, one)
        return _bounded(_replace(self, dropped=dropped, highest=highest))

    def missing(self) -> Ranges:
        """Ranges up to the highest known number that neither arrived nor were dropped."""
        end = self.highest if self.horizon is None else min(self.highest, self.horizon)
        holes: Ranges = ((1, end),) if end else ()
        for one in (*self.received, *self.dropped):
            holes = _without(holes, one)
        return holes

    def received_count(self) -> int:
        """How many numbers have arrived; above the horizon every event counts."""
        return _size(self.received) + self.beyond

    def range_count(self) -> int:
        """How many ranges it holds."""
        return len(self.received) + len(self.dropped)

    def dropped_count(self) -> int:
        """How many numbers the client has dropped, as far as is known."""
        return _size(self.dropped)

    def is_truncated(self) -> bool:
        """True when some ranges had to be forgotten."""
        return self.horizon is not None

    def is_complete(self) -> bool:
        """True when every number up to the highest has arrived and nothing had to be forgotten."""
        return not self.is_truncated() and not self.dropped and not self.missing()


def within_all(ledgers: Mapping[str, Ledger], client_id: str) -> Ledger:
    """The ledger of a client that an event was counted in, cut where all ledgers together hold too many ranges."""
    ledger = ledgers[client_id]
    if ledger.range_count() <= FEW_RANGES or sum(one.range_count() for one in ledgers.values()) <= MAX_ALL_RANGES:
        return ledger
    return _bounded(ledger, FEW_RANGES)


def put(ledgers: dict[str, Ledger], client_id: str, ledger: Ledger) -> bool:
    """Puts the ledger of a client in place of the one that there was, within the bounds that all of them share.

    Of one that does not fit the first range is kept, and what is above it forgotten. False where there is no room for
    that either: all stays as it was.
    """
    known = ledgers.get(client_id)
    ledgers[client_id] = ledger
    ledgers[client_id] = ledger = within_all(ledgers, client_id)
    if _fit(ledgers):
        return True
    ledgers[client_id] = _bounded(ledger, 1)
    if _fit(ledgers):
        return True
    if known is None:
        del ledgers[client_id]
    else:
        ledgers[client_id] = known
    return False


def _fit(ledgers: Mapping[str, Ledger]) -> bool:
    if len(ledgers) <= FEW_CLIENTS and sum([one.range_count() for one in ledgers.values()]) <= FEW_OF_ALL:
        return True
    return len(_encode(ledgers)) + len('{"clients":}') <= MAX_CLIENTS_BYTES


def _bounded(ledger: Ledger, few: int | None = None) -> Ledger:
    """Keeps both lists within `MAX_RANGES`, or as few: from the first range that is too many on, everything above is
    forgotten."""
    most = MAX_RANGES if few is None else few
    cuts = [ranges[most][0] for ranges in (ledger.received, ledger.dropped) if len(ranges) > most]
    if not cuts:
        return ledger
    horizon = min(cuts) - 1
    # One horizon for both lists: a number above it cannot be told to be missing from either.
    kept = _below(ledger.received, horizon)
    forgotten = _size(ledger.received) - _size(kept)
    return _replace(
        ledger,
        received=kept,
        dropped=_below(ledger.dropped, horizon),
        horizon=horizon,
        beyond=ledger.beyond + forgotten,
    )


def _with(ranges: Ranges, new: Range) -> Ranges:
    """The ranges with one more; ranges that touch are merged."""
    first, last = new
    if not ranges or first > ranges[-1][1] + 1:
        return (*ranges, new)
    if first == ranges[-1][1] + 1:  # the next number: nearly every event
        return (*ranges[:-1], (ranges[-1][0], last))
    before = tuple(one for one in ranges if one[1] + 1 < first)
    after = tuple(one for one in ranges if one[0] - 1 > last)
    touched = ranges[len(before) : len(ranges) - len(after)]
    if touched:
        first, last = min(first, touched[0][0]), max(last, touched[-1][1])
    return (*before, (first, last), *after)


def _without(ranges: Ranges, gone: Range) -> Ranges:
    """The ranges without this one, which may split one of them in two."""
    first, last = gone
    left: list[Range] = []
    for start, end in ranges:
        if end < first or start > last:
            left.append((start, end))
            continue
        if start < first:
            left.append((start, first - 1))
        if end > last:
            left.append((last + 1, end))
    return tuple(left)


def _below(ranges: Ranges, horizon: int) -> Ranges:
    return tuple((start, min(end, horizon)) for start, end in ranges if start <= horizon)


def _size(ranges: Ranges) -> int:
    return sum(end - start + 1 for start, end in ranges)
