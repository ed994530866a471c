"""The audit's endpoint: what its query asks for, and an entry as JSON."""

from __future__ import annotations

import msgspec
import pytest

from tests.dialects.calls import NOW, call
from towerlog.dialects.native import NATIVE
from towerlog.dialects.native.admin.audit import audit_entry
from towerlog.dialects.native.lists import write_cursor
from towerlog.errors import Invalid
from towerlog.model.audit import SERVER, Action, Actor, ActorType, AuditFilter, AuditRow, ListAudit, make_entry


def decoded(**query: str) -> ListAudit:
    [endpoint] = [one for one in NATIVE.endpoints if one.name == "list_audit"]
    command = endpoint.decode(call(query=query))
    assert isinstance(command, ListAudit)
    return command


def test_what_is_asked_for_becomes_a_filter() -> None:
    assert decoded() == ListAudit(AuditFilter(), 50)
    asked = decoded(actor="ada", action="key.revoke", object="k", since="2026-04-02T10:00:00.123Z", limit="7")
    assert asked == ListAudit(AuditFilter("ada", "key.revoke", "k", NOW), 7)
    assert decoded(cursor=write_cursor("audit", "12") or "").before == 12


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"action": "key"}, "action"),
        ({"since": "soon"}, "since"),
        ({"limit": "201"}, "limit"),
        ({"cursor": write_cursor("keys", "12") or ""}, "cursor"),
    ],
)
def test_what_is_wrong_is_named(query: dict[str, str], field: str) -> None:
    with pytest.raises(Invalid) as refused:
        decoded(**query)
    assert refused.value.field == field


NAMES = [name for name in Actor.__struct_fields__ if name != "type"]


@pytest.mark.parametrize("name", NAMES)
def test_an_actor_is_told_by_every_name(name: str) -> None:
    entry = make_entry(1, NOW, Actor(ActorType.LINK, **{name: "x"}), Action.RUN_INPUT, ("run", "r"), {}, {})
    assert msgspec.to_builtins(audit_entry(AuditRow(3, b"", entry)).actor) == {
        "type": "link", **dict.fromkeys(NAMES), name: "x",
    }  # fmt: skip


def test_an_entry_as_json() -> None:
    entry = make_entry(1, NOW, SERVER, Action.KEY_CREATE, ("key", "k"), None, {"name": "ci"})
    shown = msgspec.json.decode(msgspec.json.encode(audit_entry(AuditRow(3, b"\xab\x01", entry))))
    assert shown == {
        "number": 3,
        "at": "2026-04-02T10:00:00.123Z",
        "actor": {"type": "server"} | dict.fromkeys(NAMES),
        "address": None,
        "action": "key.create",
        "object": {"type": "key", "id": "k"},
        "before": None,
        "after": {"name": "ci"},
        "hash": "ab01",
    }
