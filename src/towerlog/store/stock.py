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


class DatabaseHealth(msgspec.Struct, frozen=True):
    """How a database server keeps the store, as far as it says."""

    version: str
    size_bytes: int
    is_reader: bool
    """It is a standby: nothing can be written there."""
    lossy: tuple[str, ...]
    """Settings by which it may lose what it has acknowledged, in words."""
    doubts: tuple[str, ...]
    """What may be meant so, and should be known."""
    acts_as: str
    """The role under which servers see one organisation's rows alone; empty where there is none."""
    now_ms: int
    """Its clock."""
    commit_mean_ms: float
    commit_slowest_ms: int
    """Of a commit that changes one row, waited for before the next."""
