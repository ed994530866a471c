"""The native endpoint of the audit: who has changed what, when and from where. It is read only."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import msgspec

from towerlog.dialects import vocabulary as v
from towerlog.dialects.base import Call, Endpoint, Reply, Sample, scopes
from towerlog.dialects.fields import bounded_text, invalid_field, time_ms_of
from towerlog.dialects.native.lists import CursorQuery, Listing, limit_of, page_reply, read_number
from towerlog.model.audit import Action, ActorType, AuditFilter, AuditRow, ListAudit
from towerlog.model.outcome import Page
from towerlog.model.times import format_ms

ADMIN = scopes()
_ACTIONS = frozenset(Action)

ActionName = Annotated[str, v.said("What was done: the noun of its object and a verb.", "key.revoke")]
State = Annotated[msgspec.Raw, v.free_object("What the act changed of its object; null where it was not there.", {})]


class AuditQuery(CursorQuery, frozen=True):
    """Conditions that must all hold."""

    actor: (
        Annotated[
            str,
            v.said(
                "The id or name of a user, a key, a rule or a budget; the id of a link, or for whom it was made; "
                "an operator's account.",
                "build agent",
            ),
        ]
        | None
    ) = None
    action: Annotated[Action, v.said("Only this action.", "key.revoke")] | None = None
    object: Annotated[str, v.said("The id of what was changed.", v.UUID)] | None = None
    since: v.Since | None = None


class AuditActor(msgspec.Struct, frozen=True):
    """Who has acted, with the names of that moment. Of a link, user and key are those who made it; of one that a
    message of an alert carried, the rule that made it, and the user who made the rule."""

    type: Annotated[
        ActorType,
        v.said(
            "`key`: an API key. `member`: a person who is signed in. `link`: by an answer link. `rule`, `budget`: an "
            "alert rule or a budget that acts. `operator`: a command on the server's machine. `server`: the server by "
            "itself.",
            "key",
        ),
    ]
    user_id: v.UserId | None
    user_name: Annotated[str, v.said("The user's name; of an operator the name of the account.", "admin")] | None
    key_id: v.KeyId | None
    key_name: Annotated[str, v.said("The key's name.", "admin")] | None
    rule_id: v.RuleId | None
    rule_name: Annotated[str, v.said("The alert rule's name.", "waits too long")] | None
    budget_id: v.BudgetId | None
    budget_name: Annotated[str, v.said("The budget's name.", "writers, a day")] | None
    link_id: Annotated[str, v.said("The answer link that was used.", "q8Zr0bXw2LkD5nT7vYc1mPf9")] | None
    sent_to: Annotated[str, v.said("For whom that link was made.", "ops@example.com")] | None


class AuditObject(msgspec.Struct, frozen=True):
    """What was changed."""

    type: Annotated[str, v.said("What kind of thing it is.", "key")]
    id: Annotated[str, v.said("Its id.", "0196b2c0-0000-7000-8000-000000000004")]


class AuditDetail(msgspec.Struct, frozen=True):
    """An act that has changed something."""

    schema_name: ClassVar[str] = "AuditEntry"
    number: Annotated[int, v.said("Rises by 1 with each entry of the organisation.", 17)]
    at: v.Time
    actor: Annotated[AuditActor, v.said("Who has acted.")]
    address: (
        Annotated[str, v.said("Where the request came from; null for what came by no request.", "192.0.2.7")] | None
    )
    action: ActionName
    object: Annotated[AuditObject, v.said("What was changed.")]
    before: State
    after: State
    hash: Annotated[
        str, v.said("SHA-256 of the organisation's audit up to this entry, in hexadecimal digits.", "7d1f0a3c5e9b2846")
    ]


def _decode_audit(call: Call) -> ListAudit:
    action = call.query.get("action") or None
    if action is not None and action not in _ACTIONS:
        raise invalid_field("action", f"must be one of {', '.join(Action)}")
    wanted = AuditFilter(
        actor=bounded_text(call.query.get("actor"), "actor"),
        action=action,
        object_id=bounded_text(call.query.get("object"), "object"),
        since=time_ms_of(call.query.get("since"), "since"),
    )
    return ListAudit(wanted, limit_of(call), read_number("audit", call.query.get("cursor")) or None)


def audit_entry(row: AuditRow) -> AuditDetail:
    """An entry as JSON."""
    entry, actor = row.entry, row.entry.actor
    return AuditDetail(
        number=row.number,
        at=format_ms(entry.at),
        actor=AuditActor(**msgspec.structs.asdict(actor)),
        address=entry.address,
        action=entry.action,
        object=AuditObject(entry.object_type, entry.object_id),
        before=entry.before,
        after=entry.after,
        hash=row.hash.hex(),
    )


def _encode_audit(outcome: Page, command: object, call: Call) -> Reply:
    return page_reply("audit", outcome, audit_entry)


ENDPOINTS = (
    Endpoint(
        "GET", "/api/v1/audit", "list_audit", "Who has changed what, when and from where, newest first.", ADMIN,
        _decode_audit, _encode_audit, query=AuditQuery, reply=Listing[AuditDetail],
    ),
)  # fmt: skip
"""The endpoint of the audit."""

_KEY: dict[str, Any] = {"name": "build agent", "scopes": ["ingest"], "user_id": "0196b2c0-0000-7000-8000-000000000002"}
AUDIT: dict[str, Sample] = {
    "list_audit": Sample(
        {
            "data": [
                {
                    "number": 17,
                    "at": "2026-04-02T10:00:03.200Z",
                    "actor": {
                        "type": "key",
                        "user_id": "0196b2c0-0000-7000-8000-000000000002",
                        "user_name": "admin",
                        "key_id": "0196b2c0-0000-7000-8000-000000000004",
                        "key_name": "admin",
                        "rule_id": None,
                        "rule_name": None,
                        "budget_id": None,
                        "budget_name": None,
                        "link_id": None,
                        "sent_to": None,
                    },
                    "address": "192.0.2.7",
                    "action": "key.revoke",
                    "object": {"type": "key", "id": "0196b2c0-0000-7000-8000-000000000005"},
                    "before": _KEY,
                    "after": _KEY | {"revoked_at": "2026-04-02T10:00:03.200Z"},
                    "hash": "7d1f0a3c5e9b2846d0c4a8f16e3b97520f8d6c4ab1e25937860dfc4e1a7b3958",
                }
            ],
            "next": None,
        }
    )
}
"""Name of the endpoint → its example."""
