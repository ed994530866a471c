"""What a store holds, table by table, in the form in which one backend gives it away and another takes it.

A row has the values of these columns in this order; truth is 0 or 1. What a backend derives from a row for itself
(columns that are searched by, whose a digest is) is not among them.
"""

from __future__ import annotations

import msgspec

from towerlog.store.columns.entries import COLUMNS as ENTRY_COLUMNS
from towerlog.store.columns.people import LINK_COLUMNS, SESSION_COLUMNS, USER_COLUMNS
from towerlog.store.columns.questions.searches import TEXT_COLUMNS
from towerlog.store.columns.rows import KEY_COLUMNS, LANE_COLUMNS, REPLY_COLUMNS, RUN_COLUMNS, USAGE_FIGURES


class Table(msgspec.Struct, frozen=True):
    """One table; by its key each row is there once."""

    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]


def _table(name: str, key: str, columns: str) -> Table:
    return Table(name, tuple(columns.split(", ")), tuple(key.split(", ")))


_CHECKPOINT = (
    "run, agent, step_index, org, thread_id, status, initial, position, node, metas, held_node, held_metas, doc"
)
_DELIVERY = "org, delivery_id, number, rule_id, alert_id, state, receiver, due_at, created_at, body_id, doc"
_EVENT = (
    "org, position, run, seq, type, recorded_at, occurred_at, dialect, event_id, agent, feed, flags, hash, facts,"
    " data, content"
)
_USAGE = f"org, hour, agent, model, status, events, runs_started, runs_ended, {', '.join(USAGE_FIGURES)}, price_version"
TABLES = (
    _table("org", "org", "org, org_id, name, created_at, position, runs, agents, audited, audit_hash"),
    _table("removed_org", "org", "org, removed_at, erased_at, doc"),
    _table("org_user", "org, user_id", f"{USER_COLUMNS}, number"),
    _table("user_name", "org, folded, user_id", "org, folded, user_id, is_member"),
    _table("api_key", "org, key_id", f"{KEY_COLUMNS}, number"),
    _table("session", "org, user_id, number", f"{SESSION_COLUMNS}, number"),
    _table("sign_in_link", "org, link_id", f"{LINK_COLUMNS}, number"),
    _table("persona", "org, number", "org, number, persona_key, version, doc"),
    _table("provider_route", "org, number", "org, number, route_id, version, doc"),
    _table("audit_entry", "org, number", f"org, number, {ENTRY_COLUMNS}, hash, doc"),
    _table("event", "org, position", _EVENT),
    _table("trim", "org, run", "org, run, seq, hash"),
    _table("run", "org, run", RUN_COLUMNS),
    _table("run_text", "org, run", TEXT_COLUMNS),
    _table("thread", "org, thread_id", "org, thread_id, created_at, number, doc"),
    _table("agent", "org, agent", "agent, org, agent_id, name, doc"),
    _table("usage", "org, hour, agent, model, status", _USAGE),
    _table("checkpoint", "org, run, agent, step_index", _CHECKPOINT),
    _table("approval", "org, run, seq", "run, seq, org, position, step_index, due_at, doc"),
    _table("message", "org, key", "org, key, number, packed, body"),
    _table("node", "org, key", "org, key, number, parent, message, block, length"),
    _table("meta_list", "org, key", "org, key, number, parent, packed, body"),
    _table("cancel_spread", "org, run", "run, org, doc"),
    _table("retention", "org, kind", "org, kind, doc"),
    _table("erasing", "org, run", "run, org, doc"),
    _table("lane", "org, run", LANE_COLUMNS),
    _table("price", "org, price_id", "org, price_id, number, doc"),
    _table("spent_link", "org, nonce", "org, nonce, until"),
    _table("budget", "org, budget_id", "org, budget_id, number, due_at, doc"),
    _table("budget_pause", "org, budget_id, run", "org, budget_id, run"),
    _table("reservation", "org, reservation_id", "org, reservation_id, key_id, run, expires_at, doc"),
    _table("alert_rule", "org, rule_id", "org, rule_id, number, timed, doc"),
    _table("alert_window", "org, rule_id, minute", "org, rule_id, minute, runs, failed, spent_nanos"),
    _table(
        "alert", "org, alert_id", "org, alert_id, number, rule_id, subject, episode, state, fired_at, position, doc"
    ),
    _table("delivery", "org, delivery_id", _DELIVERY),
    _table("delivery_body", "org, body_id", "org, body_id, alert_id, unwritten, place, body, doc"),
    _table("quarantine", "org, run, number", "org, run, number, name, key_id, doc"),
    _table("reply", "org, name", REPLY_COLUMNS),
)
"""All of them, in the order in which they are given: the organisations first."""
METAS = ("epoch", "copied", "secret", "age")
"""What is known of the store as a whole: its name, where it was copied, its secret, and how old content grows."""
