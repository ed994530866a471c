"""Rate limits: a true sliding window per key or address. In no sixty seconds are more than the limit let through.

(A bucket that refills lets twice its size through in the worst minute.) Windows are few bytes each, and bounded in
number; the one that was used longest ago gives way.

Where several nodes serve one store, each tells the others what it lets through, and counts what it is told. What the
others do not know of yet is no more than its part: of the whole limit where no other is asked, else of what is left.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import NamedTuple

from towerlog.asgi.replies import Headers
from towerlog.errors import RateLimited

WINDOW_MS = 60_000
MAX_WINDOWS = 50_000
UNTOLD_MS = 100
"""So long it may take until another node is told."""
ASKED_MS = 10_000
"""For so long after news of another node it counts as being asked as well."""


class Sharing(NamedTuple):
    """The nodes among which a limit is shared."""

    nodes: Callable[[], int]
    """How many there are, with this one."""
    tell: Callable[[str], None]
    """Tells the others of a request of this key or address that was let through."""


class _Recent:
    """How many came in about the last `UNTOLD_MS`."""

    __slots__ = ("_before", "_now", "_since")

    def __init__(self) -> None:
        self._since = self._now = self._before = 0

    def count(self, steady_ms: int, more: int = 0) -> int:
        """With so many more."""
        passed = steady_ms - self._since
        if passed >= UNTOLD_MS:
            self._before = self._now if passed < 2 * UNTOLD_MS else 0
            self._now, self._since = 0, steady_ms
            passed = 0
        self._now += more
        return self._now + self._before * (UNTOLD_MS - passed) // UNTOLD_MS


class _Window:
    """The times of the newest requests: a ring that grows up to the limit."""

    __slots__ = ("_count", "_head", "_times", "own", "serving_ms")

    def __init__(self) -> None:
        self.own: _Recent | None = None
        """What this node has let through lately, where a limit is shared."""
        self.serving_ms: int | None = None
        """When another node has let something through, as far as was told."""
        self._times = array("q")
        self._head = 0
        self._count = 0

    def used(self, steady_ms: int, limit: int) -> int:
        """How many are in the window; those that have left it are forgotten."""
        edge = steady_ms - WINDOW_MS
        while self._count and self._times[self._head] <= edge:
            self._head = (self._head + 1) % limit
            self._count -= 1
        return self._count

    def add(self, steady_ms: int, limit: int) -> None:
        """One more; `used` must have said that there is room."""
        at = (self._head + self._count) % limit
        if at < len(self._times):
            self._times[at] = steady_ms
        else:
            self._times.append(steady_ms)
        self._count += 1

    def oldest(self) -> int:
        """When the oldest came."""
        return self._times[self._head]


class Limiter:
    """One dialect's limit: so many requests a minute for each key or address."""

    def __init__(self, limit: int, longest_wait_s: int = 60) -> None:
        """`longest_wait_s` caps what `Retry-After` says: who must not be late is told to look again sooner."""
        self.limit = limit
        self.refused = 0
        self.sharing: Sharing | None = None
        """The other nodes; None where there are none."""
        self._longest_wait_s = longest_wait_s
        self._limit_header = (b"x-ratelimit-limit", b"%d" % limit)
        self._windows: dict[str, _Window] = {}

    def take(self, who: str, steady_ms: int, wall_ms: int) -> tuple[Headers, RateLimited | None]:
        """Counts a request. The headers that its reply must carry, and the refusal where there was no room."""
        window = self._window(who)
        used = window.used(steady_ms, self.limit)
        if used < self.limit and self.sharing is not None and not self._may_share(window, used, steady_ms):
            self.refused += 1
            return self._headers(0, UNTOLD_MS, wall_ms), RateLimited(retry_after=1)
        if used < self.limit:
            window.add(steady_ms, self.limit)
            if self.sharing is not None:
                self.sharing.tell(who)
            return self._headers(self.limit - used - 1, window.oldest() + WINDOW_MS - steady_ms, wall_ms), None
        wait_ms = window.oldest() + WINDOW_MS - steady_ms
        self.refused += 1
        wait_s = min(max(1, -(-wait_ms // 1000)), self._longest_wait_s)
        return self._headers(0, wait_ms, wall_ms), RateLimited(retry_after=wait_s)

    def hear(self, who: str, count: int, steady_ms: int) -> None:
        """Another node has let so many through."""
        window = self._window(who)
        room = self.limit - window.used(steady_ms, self.limit)
        for _ in range(min(count, room)):
            window.add(steady_ms, self.limit)
        window.serving_ms = steady_ms

    def _may_share(self, window: _Window, used: int, steady_ms: int) -> bool:
        """Whether there is room as well for what others let through meanwhile; counts the request if so."""
        sharing = self.sharing
        if sharing is None:
            return True
        own = window.own = window.own or _Recent()
        untold, nodes = own.count(steady_ms), sharing.nodes()
        is_asked = window.serving_ms is not None and steady_ms - window.serving_ms < ASKED_MS
        room = self.limit - used + untold if is_asked else self.limit
        if nodes > 1 and untold >= -(-room // nodes):
            return False
        own.count(steady_ms, 1)
        return True

    def _window(self, who: str) -> _Window:
        """Found or made, and moved to the end of the queue of those that may give way."""
        window = self._windows.pop(who, None)
        if window is None:
            window = _Window()
            if len(self._windows) >= MAX_WINDOWS:
                del self._windows[next(iter(self._windows))]
        self._windows[who] = window
        return window

    def _headers(self, remaining: int, reset_ms: int, wall_ms: int) -> Headers:
        """`Reset` is a time: the second (Unix) from which on there is room for one more."""
        return (
            self._limit_header,
            (b"x-ratelimit-remaining", b"%d" % remaining),
            (b"x-ratelimit-reset", b"%d" % -(-(wall_ms + reset_ms) // 1000)),
        )
