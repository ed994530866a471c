"""Pages of other origins: which may call this server, and what their browsers are told (the CORS protocol)."""

from __future__ import annotations

from collections.abc import Mapping

from towerlog.asgi.replies import Headers

MAX_AGE_S = 600
"""How long a browser may remember the answer to a preflight."""
_METHODS = b"GET, HEAD, POST, PATCH, DELETE"
_ASKED = b"authorization, content-type, idempotency-key, last-event-id, traceparent, x-api-key, x-lease-epoch"
_SHOWN = (
    b"link, retry-after, x-cursor, x-damaged, x-live-cursor, x-log-epoch,"
    b" x-ratelimit-limit, x-ratelimit-remaining, x-ratelimit-reset, x-trace-id"
)
_VARY = (b"vary", b"origin")


class Cors:
    """The origins that the setting names. A caller is known by its key, so no browser is ever asked for a cookie."""

    def __init__(self, origins: str) -> None:
        """`origins`, comma-separated; none: no page of another origin is served."""
        named = {origin.strip().lower().encode("ascii") for origin in origins.split(",") if origin.strip()}
        self.is_on = bool(named)
        self._any = b"*" in named
        self._named = frozenset(named)

    def headers(self, origin: bytes) -> Headers:
        """What every reply to a request of this origin carries, refusals too."""
        if not self.is_on:
            return ()
        if not (self._any or origin.lower() in self._named):
            return (_VARY,)
        return (
            _VARY,
            (b"access-control-allow-origin", origin),
            (b"access-control-expose-headers", _SHOWN),
        )

    def lets_in(self, headers: Mapping[bytes, bytes]) -> bool:
        """Whether a page may open a socket or speak MCP: one of ours, or of an origin that is named.

        No preflight asks for a socket, and MCP wants its servers to look. Who is no browser names no origin.
        """
        origin = headers.get(b"origin")
        if origin is None or self._any or origin.lower() in self._named:
            return True
        return origin.lower().partition(b"://")[2] == headers.get(b"host", b"").lower()

    def is_preflight(self, method: str, headers: Mapping[bytes, bytes]) -> bool:
        """Whether a browser asks first what a page may ask. Such a request has no key."""
        return self.is_on and method == "OPTIONS" and b"access-control-request-method" in headers


PREFLIGHT_HEADERS: Headers = (
    (b"access-control-allow-methods", _METHODS),
    (b"access-control-allow-headers", _ASKED),
    (b"access-control-max-age", b"%d" % MAX_AGE_S),
)
"""What the answer to a preflight says beside `Cors.headers`: the same for every path."""
