"""Shares: what one address, key or organisation, or the process, holds of what all of them use.

They form a tree: keys below their organisation, addresses below all callers without a key, and both below the process.
What is taken counts in a share and in all above it. Who decides whether it may be taken is the law (`law.py`).
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable

import msgspec

from towerlog.asgi.shares.allowance import Allowance

MAX_BURST_FRAMES, FRAMES_PER_SECOND = 10_000, 400
"""Frames that may come at once on all WebSockets of one share, and after that in a second; a KiB of them counts as one
more. As many as the sockets of a key may have channels, for after a restart of the server all subscribe again."""
REPLY_PART = (1, 2)
"""What part of the bytes of a share may be replies that wait for their readers. Past it no more pages are made."""


class Resource(enum.Enum):
    """What is shared; the value is its name in a refusal."""

    BYTES = "bytes in hand"
    REPLIES = "bytes of replies unread"
    CONNECTION = "connections"
    STREAM = "streams"
    POLL = "long polls"

    __hash__ = object.__hash__
    """There is one of each. An enum's own is several times as slow, and all addresses may be looked through."""


PLACES = (Resource.CONNECTION, Resource.STREAM, Resource.POLL)
"""What is counted by the piece."""


class Bounds(msgspec.Struct, frozen=True):
    """How much one holder of a share may hold."""

    holder: str
    """As a refusal names it."""
    byte_count: int
    places: dict[Resource, int]
    """Of PLACES; a kind that is absent has no bound of its own here."""

    @property
    def reply_bytes(self) -> int:
        """How many bytes of replies may wait for their readers."""
        return part(self.byte_count, REPLY_PART)


class Hold:
    """Something that is held for long, and that can be given up at any time for somebody who holds less."""

    __slots__ = ("let_go", "worth")

    def __init__(self, let_go: Callable[[], None], worth: Callable[[], int] = lambda: 0) -> None:
        """`let_go` gives it back at once and tells whoever waits for it. What has most `worth` goes first."""
        self.let_go = let_go
        self.worth = worth


class Share:
    """What one of them holds now."""

    __slots__ = ("aside", "bounds", "children", "frames", "free_bytes", "holds", "places", "reply_bytes")

    def __init__(self, bounds: Bounds) -> None:
        """Holds nothing."""
        self.bounds = bounds
        self.children: dict[str, Share] = {}
        """The shares whose holdings count here as well, by their names."""
        self.free_bytes = bounds.byte_count
        """What may still be taken; below zero while one body that is larger than the share is alone in it."""
        self.reply_bytes = 0
        """How many bytes of replies wait for their readers."""
        self.places = dict.fromkeys(PLACES, 0)
        self.holds: dict[Resource, dict[Hold, None]] = {}
        """What can be given up of that which was taken here and not below; the oldest first."""
        self.frames = Allowance(MAX_BURST_FRAMES, FRAMES_PER_SECOND)
        """What may come on the WebSockets that count here and not below. A new socket brings no new one."""
        self.aside = asyncio.Lock()
        """Held while a body is opened or decoded beside the event loop: one at a time of each organisation, so that
        a crowd of them from one delays another organisation's by one. The body counts here: the share is kept."""

    @property
    def held_bytes(self) -> int:
        """What is taken now."""
        return self.bounds.byte_count - self.free_bytes

    @property
    def is_idle(self) -> bool:
        """Whether it holds nothing."""
        return not self.held_bytes and not any(self.places.values())

    def held(self, resource: Resource) -> int:
        """How much of a resource is taken now."""
        if resource is Resource.BYTES:
            return self.held_bytes
        return self.reply_bytes if resource is Resource.REPLIES else self.places[resource]

    def bound(self, resource: Resource) -> int | None:
        """How much of it may be taken; None where there is no bound here."""
        if resource is Resource.BYTES:
            return self.bounds.byte_count
        return self.bounds.reply_bytes if resource is Resource.REPLIES else self.bounds.places.get(resource)

    def reply_room(self, count: int) -> int:
        """How many more bytes are held here with so many of replies more.

        Of all replies no more than may be: one reader alone may have more, and what others send finds its part free.
        """
        bound = self.bounds.reply_bytes
        return min(self.reply_bytes + count, bound) - min(self.reply_bytes, bound)

    def note_reply(self, count: int) -> None:
        """So many bytes of replies wait for their readers; below 0: no more."""
        self.free_bytes -= self.reply_room(count)
        self.reply_bytes += count

    def offer(self, resource: Resource, hold: Hold) -> None:
        """From now on this can be given up."""
        self.holds.setdefault(resource, {})[hold] = None

    def withdraw(self, resource: Resource, hold: Hold) -> None:
        """It was given back, or cannot be given up any more."""
        self.holds.get(resource, {}).pop(hold, None)


def part(whole: int, of: tuple[int, int]) -> int:
    """Such a part of it, and never nothing."""
    return max(1, whole * of[0] // of[1])
