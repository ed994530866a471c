"""The access log: a line for each request that was answered, when the operator asks for it.

Without the query string, which may hold what nobody should find in a log.
"""

from __future__ import annotations

import structlog

from towerlog.asgi.exchange import Exchange

_log = structlog.get_logger("towerlog.access")


def log_request(exchange: Exchange, address: str, status: int, elapsed_ms: int) -> None:
    """Logs a request under the address that it came from."""
    _log.info(
        "request",
        method=exchange.scope["method"],
        path=exchange.scope["path"],
        status=status,
        ms=elapsed_ms,
        address=address,
        key_id=None if exchange.principal is None else exchange.principal.key_id,
        trace_id=exchange.trace_id,
    )
