"""Rate limits: a true sliding window per key or address. In no sixty seconds are more than the limit let through.

(A bucket that refills lets twice its size through in the worst minute.) Windows are few bytes each, and bounded in
number; the one that was used longest ago gives way.
"""

from __future__ import annotations

from array import array

from towerlog.asgi.replies import Headers
from towerlog.errors import RateLimited

WINDOW_MS = 60_000
MAX_WINDOWS = 50_000


class _Window:
    """The times of the newest requests: a ring that grows up to the limit."""

    __slots__ = ("_count", "_head", "_times")

    def __init__(self) -> None:
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
        self._longest_wait_s = longest_wait_s
        self._limit_header = (b"x-ratelimit-limit", b"%d" % limit)
        self._windows: dict[str, _Window] = {}

    def take(self, who: str, steady_ms: int, wall_ms: int) -> tuple[Headers, RateLimited | None]:
        """Counts a request. The headers that its reply must carry, and the refusal where there was no room."""
        window = self._window(who)
        used = window.used(steady_ms, self.limit)
        if used < self.limit:
            window.add(steady_ms, self.limit)
            return self._headers(self.limit - used - 1, window.oldest() + WINDOW_MS - steady_ms, wall_ms), None
        wait_ms = window.oldest() + WINDOW_MS - steady_ms
        self.refused += 1
        wait_s = min(max(1, -(-wait_ms // 1000)), self._longest_wait_s)
        return self._headers(0, wait_ms, wall_ms), RateLimited(retry_after=wait_s)

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
