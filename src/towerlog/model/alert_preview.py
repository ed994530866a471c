"""What an alert rule would have done over stored history: the question, and its answer."""

from __future__ import annotations

import msgspec

from towerlog.model.alert import CreateRule

MAX_PREVIEW_EVENTS = 100_000
MAX_PREVIEW_BYTES = 64 * 1024 * 1024
MAX_PREVIEW_MS = 5000
"""What one preview reads, the newest events of its time, with what their runs did before; and how long that takes."""
MAX_PREVIEW_RUNS = 2000
"""Runs that still last and have done nothing in its time, the newest, which it looks at."""
MAX_PREVIEW_FIRINGS = 1000
"""Firings that it tells of."""
DEFAULT_PREVIEW_MS = 7 * 24 * 3600 * 1000


class PreviewRule(msgspec.Struct, frozen=True, gc=False):
    """When a rule would have fired that was made at `since`, until another moment (wall ms; None: a week ago, now)."""

    rule: CreateRule
    since: int | None = None
    until: int | None = None


class Firing(msgspec.Struct, frozen=True, gc=False):
    """One alert that would have been."""

    at: int
    subject: str
    message: str
    agent: str | None = None
    run_id: str | None = None


class RulePreview(msgspec.Struct, frozen=True, gc=False):
    """The firings, oldest first."""

    fired: list[Firing]
    suppressed: int
    """Those that the cool-down would have kept quiet."""
    runs: int
    events: int
    """How many were looked at."""
    since: int
    until: int
    """The time that was looked at: less than was asked for where that is too much."""
    whole: bool
    """Whether that is all of the time, and all firings are told."""
