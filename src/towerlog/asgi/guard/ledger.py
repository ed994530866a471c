"""The ledger: who holds how much of what all share. Bytes in hand, connections, streams and long polls.

Before a key is known they count for the address that they come from, from then on for the key and its organisation, and
always for the process. Each has a share, and no share but the process's is the whole: whoever uses up its own is
refused. Where a share that several use is full, who holds most gives way (`shares/law.py`). Bytes count as they arrive,
never as they are declared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from towerlog.asgi.shares.law import make_room
from towerlog.asgi.shares.share import Bounds, Hold, Resource, Share, part
from towerlog.asgi.shares.turns import Turns
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
"""The same of one organisation, and of one key."""
MAX_SEARCHES = 2
"""Questions that may take as long as a search does, a second, at a time: fewer than a store has readers, so that the
others find one."""
MAX_SEARCHES_OF_ONE = 1
"""The same of one organisation, and of one key."""
ADDRESS_PART, KEY_PART, ORGANISATION_PART = (1, 4), (1, 2), (3, 4)
"""What part of the process's bytes, connections and long polls one of them may hold."""
UNKNOWN_PART, UNKNOWN_CONNECTION_PART = (1, 2), (1, 4)
"""What part of the process's bytes, bodies and replies, and of its connections callers without a key may have, all of
them together: the other connections are kept for those who have shown one."""


class Account:
    """The shares that count for one key."""

    __slots__ = ("key", "key_id", "org_id", "organisation", "shares")

    def __init__(self, principal: Principal, key: Share, organisation: Share, process: Share) -> None:
        """`shares` are all three."""
        self.key_id, self.org_id = principal.key_id, principal.org_id
        self.key = key
        self.organisation = organisation
        self.shares = (key, organisation, process)


class HeldPlace:
    """A place in each of several shares. Made by `ShareLedger.take_place`."""

    __slots__ = ("_hold", "_ledger", "_resource", "_shares")

    def __init__(self, ledger: ShareLedger, shares: Sequence[Share], resource: Resource) -> None:
        self._ledger = ledger
        self._resource = resource
        self._shares: Sequence[Share] = ()
        self._hold: Hold | None = None
        self._stand_in(shares)

    def offer(self, told: Callable[[], None], worth: Callable[[], int] = lambda: 0) -> None:
        """From now on it may be taken away for somebody who has fewer; then it is given back, and `told` is called."""

        def let_go() -> None:
            self.give_back()
            told()

        self._hold = Hold(let_go, worth)
        if self._shares:
            self._shares[0].offer(self._resource, self._hold)

    def move(self, shares: Sequence[Share]) -> None:
        """Gives it back for one in these. Raises Overloaded where there is none, and is as it was."""
        self._ledger.check_place(shares, self._resource, self._shares)
        self._stand_in(shares)

    def give_back(self) -> None:
        """Gives it back; may be called again."""
        self._stand_in(())
        self._hold = None  # the two know each other, and so would wait for the collector with what they hold

    def _stand_in(self, shares: Sequence[Share]) -> None:
        resource, hold = self._resource, self._hold
        if hold is not None and self._shares:
            self._shares[0].withdraw(resource, hold)
        for share in self._shares:
            share.places[resource] -= 1
        for share in shares:
            share.places[resource] += 1
        if hold is not None and shares:
            shares[0].offer(resource, hold)
        self._shares = shares


class ShareLedger:
    """All shares of a process."""

    def __init__(self, max_bytes: int, places: dict[Resource, int], own: dict[str, dict[Resource, int]]) -> None:
        """`places`: of the process; `own`: what settings say of one `address`, `key` or `organisation`."""
        self.process = Share(Bounds("server", max_bytes, places))
        few = {kind: part(places[kind], UNKNOWN_CONNECTION_PART) for kind in (Resource.CONNECTION,) if kind in places}
        unknown = Bounds("part for callers without a key", part(max_bytes, UNKNOWN_PART), few)
        self.unknown = self.process.children[""] = Share(unknown)
        """All that callers who have shown no good key send and leave waiting, from however many addresses."""
        self.accounts: dict[str, Account] = {}
        """By key id, the youngest last."""
        self.refused = 0
        """How often somebody was refused, or had to give something up."""
        self.frames = Turns(MAX_LARGE_FRAMES, MAX_LARGE_FRAMES_OF_ORGANISATION, MAX_LARGE_FRAMES_OF_KEY)
        """For frames larger than a chunk."""
        self.reads = Turns(MAX_READS, MAX_READS_OF_ONE, MAX_READS_OF_ONE)
        """For questions."""
        self.searches = Turns(MAX_SEARCHES, MAX_SEARCHES_OF_ONE, MAX_SEARCHES_OF_ONE)
        """For questions that may take long."""
        parts = {"address": ADDRESS_PART, "key": KEY_PART, "organisation": ORGANISATION_PART}
        self._bounds = {
            holder: Bounds(
                holder,
                part(max_bytes, of),
                {kind: part(count, of) for kind, count in places.items()} | own.get(holder, {}),
            )
            for holder, of in parts.items()
        }

    def account(self, principal: Principal) -> Account:
        """The account of a key; made where there is none."""
        account = self.accounts.get(principal.key_id)
        if account is None:
            if len(self.accounts) >= MAX_ACCOUNTS:
                self._forget_idle()
            organisation = self._share(self.process, "organisation", principal.org_id)
            key = self._share(organisation, "key", principal.key_id)
            account = self.accounts[principal.key_id] = Account(principal, key, organisation, self.process)
        return account

    def address(self, name: str) -> Share:
        """The share of an address. Whoever takes from it first keeps it until it is given back."""
        return self._share(self.unknown, "address", name)

    def check_room(self, shares: Sequence[Share], count: int, own: int = 0) -> None:
        """Raises Overloaded where a share lacks room for so many bytes more, and nobody else gives way.

        Who has `own` bytes in it and is alone with them may go on: one body alone is always let in.
        """
        for at, share in enumerate(shares):
            if count > share.free_bytes and share.held_bytes > own and not make_room(shares, at, Resource.BYTES, count):
                text = f"This {share.bounds.holder} has as many bytes in hand as it may have"
                raise self._overloaded(f"{text} ({share.bounds.byte_count}); nothing was stored.")

    def take_bytes(self, shares: Sequence[Share], count: int, own: int = 0) -> None:
        """Counts bytes that have come, beside `own` that were counted before. Raises Overloaded."""
        self.check_room(shares, count, own)
        for share in shares:
            share.free_bytes -= count

    def take_reply(self, shares: Sequence[Share], count: int) -> bool:
        """Counts bytes of a reply that waits for its reader; False, and they are not, where it is to be given up.

        One reader alone always has room.
        """
        for at, share in enumerate(shares):
            more = share.reply_room(count)
            if more > share.free_bytes and share.held_bytes and not make_room(shares, at, Resource.BYTES, more):
                return False
            if share.reply_bytes and not make_room(shares, at, Resource.REPLIES, count):
                return False
        for share in shares:
            share.note_reply(count)
        return True

    def check_replies(self, shares: Sequence[Share]) -> None:
        """Raises Overloaded where as many bytes of replies as may be wait for readers who do not take them.

        Of the process they may be more only for a moment, and that is no reason to refuse anybody.
        """
        for share in shares:
            if share is not self.process and share.reply_bytes > share.bounds.reply_bytes:
                text = f"This {share.bounds.holder} has as many bytes of replies unread as it may have"
                raise self._overloaded(f"{text} ({share.bounds.reply_bytes}); nothing was read.")

    @staticmethod
    def give_bytes(shares: Sequence[Share], count: int) -> None:
        """Takes a `take_bytes` back."""
        for share in shares:
            share.free_bytes += count

    def take_place(self, shares: Sequence[Share], resource: Resource) -> HeldPlace:
        """A place in each of the shares. Raises Overloaded."""
        self.check_place(shares, resource)
        return HeldPlace(self, shares, resource)

    def check_place(self, shares: Sequence[Share], resource: Resource, besides: Sequence[Share] = ()) -> None:
        """Raises Overloaded where one of the shares, of those not among `besides`, has no place."""
        for at, share in enumerate(shares):
            if share not in besides and not make_room(shares, at, resource, 1):
                bound = share.bound(resource)
                text = f"This {share.bounds.holder} has as many {resource.value} open as it may have ({bound})."
                raise self._overloaded(text)

    def given_up(self) -> Overloaded:
        """What somebody is told who had to give way."""
        return self._overloaded("This was given up for somebody who holds less; nothing was stored.")

    def is_idle(self) -> bool:
        """Whether nothing is in hand: no body, no answer in work, no reply that is not taken."""
        return not self.process.held_bytes and not self.reads.taken and not self.searches.taken

    def tick(self, _: int) -> None:
        """Forgets addresses and organisations that hold nothing, once there are many."""
        for parent in (self.unknown, self.process):
            if len(parent.children) > MAX_IDLE_SHARES:
                parent.children = {name: share for name, share in parent.children.items() if not self._is_over(share)}

    def _share(self, parent: Share, holder: str, name: str) -> Share:
        share = parent.children.get(name)
        if share is None:
            share = parent.children[name] = Share(self._bounds[holder])
        return share

    def _is_over(self, share: Share) -> bool:
        """Whether nobody has anything to do with it any more."""
        return share.is_idle and not share.children and share is not self.unknown

    def _forget_idle(self) -> None:
        """Forgets the accounts that hold nothing; those that hold something are bounded by what they hold."""
        for account in [account for account in self.accounts.values() if account.key.is_idle]:
            del self.accounts[account.key_id], account.organisation.children[account.key_id]

    def _overloaded(self, message: str) -> Overloaded:
        self.refused += 1
        return Overloaded(message, retry_after=RETRY_SECONDS[self.refused % len(RETRY_SECONDS)])
