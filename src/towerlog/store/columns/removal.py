"""Which tables hold something of an organisation that is removed, and in which order their rows go.

What lets people and programs in, and what acts by itself, goes with the removal; then messages, so that none is sent;
then the rows of runs, so many runs at a time with all that a timer finds them by, the newest first: a timer sees a run
whole or not at all, and none whose parent has gone. The rest is in no order: nobody looks for it any more.
"""

from __future__ import annotations

from typing import Any

import msgspec

from towerlog.errors import NotFound
from towerlog.model.removal import CALM_MS, SETTLED_MS, RemovedOrg
from towerlog.store.columns.tables import TABLES

STEP_ROWS = 512
STEP_BYTES = 1024 * 1024
"""Of one step."""
RUNS_AT_ONCE = 128
"""Whose rows a step takes, each of a few tables."""
AT_ONCE = (
    "api_key", "session", "sign_in_link", "user_name", "org_user", "alert_rule", "budget_pause", "budget", "retention",
)  # fmt: skip
"""Gone with the removal: of each an organisation has few."""
MESSAGES = ("delivery", "delivery_body")
OF_RUN = ("approval", "cancel_spread", "erasing", "lane", "quarantine", "reservation", "run_text", "run")
KEPT = ("org", "removed_org")
SIZES = {
    "audit_entry": "doc", "checkpoint": "doc", "delivery": "doc", "delivery_body": "body", "event": "data",
    "message": "body", "meta_list": "body", "node": "block", "reply": "body",
}  # fmt: skip
"""The column of a table that may be long."""
REST = tuple(one.name for one in TABLES if one.name not in (*KEPT, *MESSAGES, *OF_RUN))
"""All others, those that went at once among them: what was let in before has written some of them again."""
HIDDEN = "org NOT IN (SELECT org FROM removed_org)"
"""Of an organisation that is not removed."""

IN_USE = "NOT EXISTS (SELECT 1 FROM removed_org WHERE removed_org.org = org.org)"
"""The same, beside a row of `org`: of what was on its way into the store when it was removed nobody is let in."""


def removed_row(removed: RemovedOrg) -> tuple[Any, ...]:
    """(org, removed_at, erased_at, doc)."""
    return removed.org, removed.removed_at, removed.erased_at, msgspec.json.encode(removed)


def removed_value(doc: bytes) -> RemovedOrg:
    """A row's `doc`."""
    return _DECODER.decode(doc)


def is_calm(removed: RemovedOrg, now_ms: int) -> bool:
    """Whether the log may go."""
    return now_ms - removed.removed_at >= CALM_MS


def after_step(removed: RemovedOrg, rows: int, now_ms: int) -> RemovedOrg:
    """With so many rows erased by a step. One that has found none is the last, once nothing is on its way any more."""
    if rows:
        return msgspec.structs.replace(removed, erased_rows=removed.erased_rows + rows)
    is_over = now_ms - removed.removed_at >= SETTLED_MS
    return msgspec.structs.replace(removed, erased_at=now_ms) if is_over else removed


def gone_already() -> NotFound:
    """What is said where somebody else has removed it meanwhile."""
    return NotFound("organisation")


_DECODER = msgspec.json.Decoder(RemovedOrg)
