"""What the log says of requests: a line for each that was answered, when the operator asks for it, and what failed.

Without the query string and without the token of a link or a stream, which nobody should find in a log. A path that is
not quite that of a link has a token that is still good: so a token is known by how it looks, in whichever path.
"""

from __future__ import annotations

import re
from contextlib import suppress

import structlog

from towerlog.asgi.exchange import Exchange
from towerlog.errors import EXHAUSTED

_log = structlog.get_logger("towerlog.access")
_failures = structlog.get_logger("towerlog.gate")

SECRET_PATHS = ("/a/",)
"""What comes after these is as good as a key."""
MAX_SHOWN_TOKEN_CHARS = 8
"""Of what looks like a token."""
_LIKE_A_TOKEN = re.compile(rf"([A-Za-z0-9_%-]{{{MAX_SHOWN_TOKEN_CHARS}}})[A-Za-z0-9_%-]{{32,}}")
"""All tokens have 40 characters or more; an id has 36 at most. A percent sign may be left of one that was encoded
twice."""


def shown_path(exchange: Exchange) -> str:
    """The path as it may stand in a log."""
    path: str = exchange.scope["path"]
    shown = next((f"{start}…" for start in SECRET_PATHS if path.startswith(start)), path)
    return _LIKE_A_TOKEN.sub(r"\1…", shown)


def log_request(exchange: Exchange, address: str, status: int, elapsed_ms: int) -> None:
    """Logs a request under the address that it came from."""
    _log.info(
        "request",
        method=exchange.scope["method"],
        path=shown_path(exchange),
        status=status,
        ms=elapsed_ms,
        address=address,
        key_id=None if exchange.principal is None else exchange.principal.key_id,
        trace_id=exchange.trace_id,
    )


def log_failure(exchange: Exchange, fault: BaseException, what: str = "a request failed") -> None:
    """Logs what nobody foresaw. Where memory is too little for that, nothing is logged."""
    with suppress(*EXHAUSTED):
        _failures.error(what, trace_id=exchange.trace_id, path=shown_path(exchange)[:200], exc_info=fault)
