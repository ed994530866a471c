"""`towerlog audit`: a line for each act, with who did it and what is different since."""

from __future__ import annotations

from typing import Any

from towerlog.cli.audit import COLUMNS, _row
from towerlog.sdk.api.fleet_shapes import AuditEntry

KEY = {"type": "key", "user_id": "u", "user_name": "ada", "key_id": "k", "key_name": "desk"}


def shown(**members: Any) -> dict[str, str]:
    """The row of an entry, by the heads of its columns."""
    whole = {
        "number": 1, "at": "2026-04-02T10:00:00.123Z", "actor": KEY, "address": "192.0.2.7", "action": "key.create",
        "object": {"type": "key", "id": "id"}, "before": None, "after": {"name": "ci"}, "hash": "ab", **members,
    }  # fmt: skip
    return {column.title: cell for column, cell in zip(COLUMNS, _row(AuditEntry.read(whole)), strict=True)}


def test_who_is_a_user_with_a_key_or_an_account_of_the_machine() -> None:
    assert shown()["WHO"] == "ada, key desk"
    assert shown(actor={**KEY, "user_name": None, "key_name": None})["WHO"] == "u, key k"
    link = {"type": "link", "sent_to": "ada@example.com"}
    assert shown(actor={**KEY, **link})["WHO"] == "ada@example.com, link of ada, key desk"
    told = {"rule_id": "r", "rule_name": "waits too long", "user_name": "admin"}
    assert shown(actor={**link, **told})["WHO"] == "ada@example.com, link of rule waits too long"
    assert shown(actor={"type": "rule", "rule_name": "waits too long"})["WHO"] == "rule waits too long"
    assert shown(actor={"type": "budget", "budget_name": "a day"})["WHO"] == "budget a day"
    assert shown(actor={"type": "operator", "user_name": "root"})["WHO"] == "operator root"
    assert shown(actor={"type": "server"}, address=None) == {**shown(), "WHO": "server", "FROM": ""}


def test_only_what_differs_is_shown() -> None:
    before, after = {"name": "ci", "scopes": ["read"], "left": 1}, {"name": "ci", "scopes": [], "new": 0}
    row = shown(before=before, after=after)
    assert (row["BEFORE"], row["AFTER"]) == ('{"scopes":["read"],"left":1}', '{"scopes":[],"new":0}')
    assert (shown()["BEFORE"], shown()["AFTER"]) == ("", '{"name":"ci"}')
    assert shown(before={"name": "ci"}, after=None)["AFTER"] == ""
