"""The ledger: who holds how much of what all share. Bytes in hand, connections, streams and long polls.

Before a key is known they count for the address that they come from, from then on for the key and its organisation, and
always for the process. Each has a share, and no share but the process's is the whole: whoever uses up its own is
refused, and the others notice nothing. Bytes count as they arrive, never as they are declared.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable, Sequence

import msgspec

from towerlog.asgi.guard.turns import Turns
from towerlog.errors import Overloaded
from towerlog.model.principal import Principal

RETRY_SECONDS = (1, 2, 3)
"""Handed out in turn, so that those who were refused together do not come back together."""
MAX_POLLS = 12_000
"""Long polls of the process."""
MAX_ACCOUNTS = 10_000
"""Keys whose accounts are kept while they hold nothing."""
MAX_IDLE_SHARES = 1000
"""Addresses and organisations that are kept while they hold nothing."""
MAX_LARGE_FRAMES = 16
"""Frames larger than a chunk that are held at a time for their readers."""
MAX_LARGE_FRAMES_OF_ORGANISATION, MAX_LARGE_FRAMES_OF_KEY = 8, 4
"""The same for the readers of one."""
MAX_READS = 4
"""Lists, runs and other questions whose answers are made at a time, from before they are read until they are written to
their connections: what is made of a page takes several times its bytes."""
MAX_READS_OF_ONE = 2
"""The same of one organisation, and of one key: with as many reading threads, one is left for the others."""
ADDRESS_PART, KEY_PART, ORGANISATION_PART = (1, 4), (1, 2), (3, 4)
"""What part of the process's bytes, connections and long polls one of them may hold."""
REPLY_PART = (1, 2)
"""What part of the bytes of a share may be replies that wait for their readers. Past it no more pages are made."""
UNKNOWN_PART = (1, 2)
"""What part of the process's bytes callers without a key may have in hand, bodies and replies, all of them together."""


class PlaceKind(enum.Enum):
    """What is counted by the piece; the value is its name in a refusal."""

    CONNECTION = "connections"
    STREAM = "streams"
    POLL = "long polls"


class Bounds(msgspec.Struct, frozen=True):
    """How much one holder of a share may hold."""

    holder: str
    """As a refusal names it."""
    byte_count: int
    places: dict[PlaceKind, int]
    """A kind that is absent has no bound of its own here."""
    large_frames: int = MAX_LARGE_FRAMES
    """How many are held at a time."""
    reads: int = MAX_READS
    """How many are made at a time."""

    @property
    def reply_bytes(self) -> int:
        """How many bytes of replies may wait for their readers."""
        return _part(self.byte_count, REPLY_PART)


class Share:
    """What one address, key or organisation, or the process, holds now."""

    __slots__ = ("aside", "bounds", "free_bytes", "places", "reads", "reply_bytes", "turns")

    def __init__(self, bounds: Bounds) -> None:
        """Holds nothing."""
        self.bounds = bounds
        self.free_bytes = bounds.byte_count
        """What may still be taken; below zero while one body that is larger than the share is alone in it."""
        self.reply_bytes = 0
        """How many of the bytes that are taken are replies that wait for their readers."""
        self.places = dict.fromkeys(PlaceKind, 0)
        self.aside = asyncio.Lock()
        """Held while a body is opened or decoded beside the event loop: one at a time of each organisation, so that
        a crowd of them from one delays another organisation's by one. The body counts here: the share is kept."""
        self.turns = Turns(bounds.large_frames)
        """For frames larger than a chunk. Their streams have a place here, so the share is kept meanwhile."""
        self.reads = Turns(bounds.reads)
        """For questions. Their connections have a place here."""

    @property
    def held_bytes(self) -> int:
        """What is taken now."""
        return self.bounds.byte_count - self.free_bytes

    @property
    def is_idle(self) -> bool:
        """Whether it holds nothing."""
        return not self.held_bytes and not any(self.places.values())


class Account:
    """The shares that count for one key."""

    __slots__ = ("key", "organisation", "shares")

    def __init__(self, key: Share, organisation: Share, process: Share) -> None:
        """`shares` are all three."""
        self.key = key
        self.organisation = organisation
        self.shares = (key, organisation, process)


class ShareLedger:
    """All shares of a process."""

    def __init__(self, max_bytes: int, places: dict[PlaceKind, int], own: dict[str, dict[PlaceKind, int]]) -> None:
        """`places`: of the process; `own`: what settings say of one `address`, `key` or `organisation`."""
        self.process = Share(Bounds("server", max_bytes, places))
        self.unknown = Share(Bounds("part for callers without a key", _part(max_bytes, UNKNOWN_PART), {}))
        """All that callers who have shown no good key send and leave waiting, from however many addresses."""
        self.accounts: dict[str, Account] = {}
        """By key id, the youngest last."""
        self.refused = 0
        parts = {"address": ADDRESS_PART, "key": KEY_PART, "organisation": ORGANISATION_PART}
        frames = {"key": MAX_LARGE_FRAMES_OF_KEY, "organisation": MAX_LARGE_FRAMES_OF_ORGANISATION}
        reads = {"key": MAX_READS_OF_ONE, "organisation": MAX_READS_OF_ONE}
        self._bounds = {
            holder: Bounds(
                holder,
                _part(max_bytes, part),
                _parts(places, part) | own.get(holder, {}),
                frames.get(holder, MAX_LARGE_FRAMES),
                reads.get(holder, MAX_READS),
            )
            for holder, part in parts.items()
        }
        self._named: dict[tuple[str, str], Share] = {}

    def account(self, principal: Principal) -> Account:
        """The account of a key; made where there is none."""
        account = self.accounts.get(principal.key_id)
        if account is None:
            if len(self.accounts) >= MAX_ACCOUNTS:
                self._forget_idle()
            organisation = self._share("organisation", principal.org_id)
            account = Account(Share(self._bounds["key"]), organisation, self.process)
            self.accounts[principal.key_id] = account
        return account

    def address(self, name: str) -> Share:
        """The share of an address. Whoever takes from it first keeps it until it is given back."""
        return self._share("address", name)

    def check_room(self, shares: Sequence[Share], count: int, own: int = 0) -> None:
        """Raises Overloaded where a share lacks room for so many bytes more.

        Who has `own` bytes in it and is alone with them may go on: one body alone is always let in.
        """
        for share in shares:
            if count > share.free_bytes and share.held_bytes > own:
                text = f"This {share.bounds.holder} has as many bytes in hand as it may have"
                raise self._overloaded(f"{text} ({share.bounds.byte_count}); nothing was stored.")

    def take_bytes(self, shares: Sequence[Share], count: int, own: int = 0) -> None:
        """Counts bytes that have come, beside `own` that were counted before. Raises Overloaded."""
        self.check_room(shares, count, own)
        for share in shares:
            share.free_bytes -= count

    def check_replies(self, shares: Sequence[Share]) -> None:
        """Raises Overloaded where as many bytes of replies as may be wait for readers who do not take them."""
        for share in shares:
            if share.reply_bytes > share.bounds.reply_bytes:
                text = f"This {share.bounds.holder} has as many bytes of replies unread as it may have"
                raise self._overloaded(f"{text} ({share.bounds.reply_bytes}); nothing was read.")

    @staticmethod
    def give_bytes(shares: Sequence[Share], count: int) -> None:
        """Takes a `take_bytes` back."""
        for share in shares:
            share.free_bytes += count

    def take_place(self, shares: Sequence[Share], kind: PlaceKind) -> Callable[[], None]:
        """A place in each of the shares; what is returned gives it back, once. Raises Overloaded."""
        for share in shares:
            bound = share.bounds.places.get(kind)
            if bound is not None and share.places[kind] >= bound:
                text = f"This {share.bounds.holder} has as many {kind.value} open as it may have ({bound})."
                raise self._overloaded(text)
        held = list(shares)
        for share in held:
            share.places[kind] += 1

        def give() -> None:
            for share in held:
                share.places[kind] -= 1
            held.clear()

        return give

    def is_idle(self) -> bool:
        """Whether nothing is in hand: no body, no answer in work, no reply that is not taken."""
        return not self.process.held_bytes and not self.process.reads.taken

    def tick(self, _: int) -> None:
        """Forgets addresses and organisations that hold nothing, once there are many."""
        if len(self._named) > MAX_IDLE_SHARES:
            used = {account.organisation for account in self.accounts.values()}
            self._named = {name: share for name, share in self._named.items() if share in used or not share.is_idle}

    def _share(self, holder: str, name: str) -> Share:
        share = self._named.get((holder, name))
        if share is None:
            share = self._named[holder, name] = Share(self._bounds[holder])
        return share

    def _forget_idle(self) -> None:
        """Forgets the accounts that hold nothing; those that hold something are bounded by what they hold."""
        for name in [name for name, account in self.accounts.items() if account.key.is_idle]:
            del self.accounts[name]

    def _overloaded(self, message: str) -> Overloaded:
        self.refused += 1
        return Overloaded(message, retry_after=RETRY_SECONDS[self.refused % len(RETRY_SECONDS)])


def _part(whole: int, part: tuple[int, int]) -> int:
    return max(1, whole * part[0] // part[1])


def _parts(places: dict[PlaceKind, int], part: tuple[int, int]) -> dict[PlaceKind, int]:
    return {kind: _part(count, part) for kind, count in places.items()}
