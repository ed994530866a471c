"""What an alert rule would have done over stored history: the question, and its answer."""

from __future__ import annotations

import msgspec

from towerlog.model.alert import CreateRule

MAX_PREVIEW_RUNS = 1000
MAX_PREVIEW_EVENTS = 200_000
MAX_PREVIEW_FIRINGS = 1000
"""What one preview looks at, the newest runs first, and how many firings it tells of."""
DEFAULT_PREVIEW_MS = 7 * 24 * 3600 * 1000


class PreviewRule(msgspec.Struct, frozen=True, gc=False):
    """When a rule would have fired between two moments (wall ms; None: a week ago, and now)."""

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
    whole: bool
    """Whether those are all that there are in the time, and all firings are told."""
