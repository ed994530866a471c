"""Each column that can hold what a person or an agent has said has a decision: an erasure takes it, or why it stays."""

from __future__ import annotations

import re
from importlib import resources

import pytest

ERASED = {
    "event": "facts data content",
    "checkpoint": "node metas held_node held_metas doc",
    "message": "key body",
    "node": "key parent message block",
    "meta_list": "key parent body",
    "run": "doc names tags",
    "run_text": "given produced talk about",
    "thread": "doc",
    "lane": "label_set doc",
    "approval": "doc",
    "quarantine": "name doc",
    "alert": "doc",
    "delivery": "doc",
    "delivery_body": "body doc",
    "reply": "body ids",
    "erasing": "doc",
    "cancel_spread": "doc",
}
"""Taken, or folded anew of what is left. An `erasing` names content that is to go, and is gone with it; a
`cancel_spread` has the reason of a cancel while that goes on, and a run that it has ended is none of it."""

IDS_AND_NAMES = {
    "meta": "name value",
    "event": "type dialect event_id",
    "place": "event_id",
    "run": "run_id thread_id trace_id foreign_id agent status model persona_id parent_key",
    "thread": "thread_id",
    "agent": "agent_id name doc",
    "usage": "agent model status price_version",
    "checkpoint": "agent thread_id status",
    "lane": "state agent",
    "alert": "alert_id rule_id subject state",
    "delivery": "delivery_id rule_id alert_id state receiver body_id",
    "delivery_body": "body_id alert_id",
    "quarantine": "key_id",
    "reply": "name",
    "reservation": "reservation_id key_id doc",
    "budget_pause": "budget_id",
    "alert_window": "rule_id",
    "spent_link": "nonce",
}
"""Ids, names of agents and models, words of our own: kept, as the page on retention says. An agent's document has its
counters, a reservation's what it holds."""

OF_THE_ORGANISATION = {
    "org": "org_id name",
    "org_user": "user_id name email role password subject",
    "user": "user_id name email role password subject",
    "user_name": "folded user_id",
    "api_key": "key_id user_id name scopes hint",
    "session": "user_id address session_id",
    "sign_in_link": "link_id user_id made_by",
    "persona": "persona_key version doc",
    "provider_route": "route_id doc",
    "retention": "kind doc",
    "price": "price_id doc",
    "budget": "budget_id doc",
    "alert_rule": "rule_id doc",
    "removed_org": "doc",
}
"""What its owners have set up; of no run. It goes by its own ways."""

AUDIT = {
    "audit_entry": "user_id user_name key_id key_name rule_id rule_name budget_id budget_name link_id sent_to action"
    " object_id doc"
}
"""Never erased, as the page on retention says."""

DIGESTS = {"hash", "audit_hash", "digest"}
"""Nothing can be read of these."""

_TABLE = re.compile(r"\s*CREATE TABLE (\w+) \((.*)\)", re.DOTALL)
_COLUMN = re.compile(r"(?:^|,)\s*(\w+) (?:TEXT|BLOB|ANY|bytea|text|jsonb?)\b")
_ADDED = re.compile(r"\s*ALTER TABLE (\w+)\s+ADD (?:COLUMN )?(\w+ \w+)")


def text_columns(backend: str) -> set[str]:
    """Of all migrations of a backend: the columns that can hold text or bytes."""
    found = set()
    for file in resources.files("towerlog.store.sql").joinpath(backend).iterdir():
        sql = re.sub(r"--.*", "", file.read_text())
        for statement in sql.split(";"):
            told = _TABLE.match(statement) or _ADDED.match(statement)
            if told is not None:
                found |= {f"{told[1]}.{column}" for column in _COLUMN.findall(told[2]) if column not in DIGESTS}
    return found


def decided() -> list[str]:
    kinds = (ERASED, IDS_AND_NAMES, OF_THE_ORGANISATION, AUDIT)
    return [f"{table}.{column}" for kind in kinds for table, columns in kind.items() for column in columns.split()]


@pytest.mark.parametrize("backend", ["sqlite", "postgres"])
def test_each_column_has_a_decision_about_its_erasure(backend: str) -> None:
    columns = text_columns(backend)
    assert len(columns) > 100, "they were found"
    assert columns - set(decided()) == set(), "say of a new column whether an erasure takes what is in it"


def test_each_decision_is_about_a_column_and_there_is_one() -> None:
    names = decided()
    assert sorted(set(names)) == sorted(names)
    assert set(names) - text_columns("sqlite") - text_columns("postgres") == set()
