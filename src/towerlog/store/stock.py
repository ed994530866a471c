"""What a whole store holds, counted for its operator."""

from __future__ import annotations

import msgspec


class Stock(msgspec.Struct, frozen=True):
    """What a whole store holds, counted for its operator."""

    events: int
    """Events of all logs."""
    runs: dict[str, int]
    """Status → runs."""
    silent: int
    """Open runs whose silence was noted and goes on."""
    queued: int
    held: int
    oldest_queued_at: int | None
    """Wall ms."""
    database_bytes: int
    wal_bytes: int
