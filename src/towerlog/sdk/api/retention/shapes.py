"""Replies about retention and erasure, as frozen values."""

from __future__ import annotations

from dataclasses import dataclass, field

from towerlog.sdk.api.shapes import Shape, many, texts


@dataclass(frozen=True, kw_only=True)
class Retention(Shape):
    """How long one kind of content is kept."""

    kind: str
    """`deltas`, `checkpoints` or `events`."""
    max_age_seconds: int | None = None
    max_bytes: int | None = None
    updated_at: str | None = None
    updated_by: str | None = None


@dataclass(frozen=True, kw_only=True)
class RetentionDue(Shape):
    """What one policy would erase now."""

    kind: str
    runs: int = 0
    has_more: bool = False
    oldest_ended_at: str | None = None
    held_bytes: int | None = None


@dataclass(frozen=True, kw_only=True)
class RetentionPass(Shape):
    """What the policies would erase, or have begun to."""

    data: tuple[RetentionDue, ...] = field(default=(), metadata={"read": many(RetentionDue)})
    dry_run: bool = True


@dataclass(frozen=True, kw_only=True)
class Erased(Shape):
    """Amount erased of one kind."""

    kind: str
    count: int = 0
    bytes: int = 0


@dataclass(frozen=True, kw_only=True)
class ErasedRun(Shape):
    """What was erased of one run."""

    run_id: str
    erased: tuple[Erased, ...] = field(default=(), metadata={"read": many(Erased)})


@dataclass(frozen=True, kw_only=True)
class Erasure(Shape):
    """What was erased, what is kept, and where the content may still be."""

    runs: tuple[ErasedRun, ...] = field(default=(), metadata={"read": many(ErasedRun)})
    thread_id: str | None = None
    erased_at: str | None = None
    kept: str = ""
    not_reached: tuple[str, ...] = field(default=(), metadata={"read": texts})
