"""Native endpoints of sessions: the browsers in which members are signed in, and an end to each."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import msgspec

from towerlog import errors
from towerlog.dialects import vocabulary as v
from towerlog.dialects.base import Call, Endpoint, Reply, Sample, reply_json, scopes
from towerlog.dialects.fields import path_uuid
from towerlog.dialects.native.keys import ANYBODY
from towerlog.dialects.native.lists import CursorQuery, Listing, limit_of, page_reply, read_cursor
from towerlog.model.member import EndSession, ListSessions, Session, SessionEnded
from towerlog.model.outcome import Page
from towerlog.model.principal import Principal, Scope
from towerlog.model.times import format_ms

ADMIN = scopes()


class SessionQuery(CursorQuery, frozen=True):
    """Whose sessions."""

    user_id: Annotated[str, v.said("Only of this member; others than one's own need `admin`.", v.UUID)] | None = None


class SignedIn(msgspec.Struct, frozen=True):
    """A browser in which a member is signed in."""

    schema_name: ClassVar[str] = "Session"
    session_id: v.SessionId
    user_id: v.MemberId
    address: Annotated[str, v.said("Where it was begun from.", "192.0.2.7")] | None
    created_at: v.CreatedAt
    last_used_at: Annotated[str, v.time("When it was used last, to about a minute.")]
    expires_at: Annotated[str, v.time("When it is over if it is not used; use moves this on, up to 14 days in all.")]
    is_current: Annotated[bool, v.said("Whether this very request came by it.", False)]


def _whose(principal: Principal, asked: str | None) -> str | None:
    """The member whose sessions may be looked at and ended: None for all. Raises Forbidden."""
    if Scope.ADMIN in principal.scopes:
        return asked
    if not principal.is_member or asked not in (None, principal.user_id):
        raise errors.Forbidden.lacking(ADMIN, principal.scopes)
    return principal.user_id


def _decode_list(call: Call) -> ListSessions:
    whose = _whose(call.principal, call.query.get("user_id"))
    wanted = None if whose is None else path_uuid(whose, "member")
    return ListSessions(limit_of(call), wanted, read_cursor("sessions", call.query.get("cursor")))


def _decode_end(call: Call) -> EndSession:
    whose = _whose(call.principal, None)
    return EndSession(path_uuid(call.path["session_id"], "session"), whose)


def _detail(one: Session, call: Call) -> SignedIn:
    return SignedIn(
        session_id=one.session_id,
        user_id=one.user_id,
        address=one.address,
        created_at=format_ms(one.created_at),
        last_used_at=format_ms(one.seen_at),
        expires_at=format_ms(one.expires_at),
        is_current=one.digest == call.principal.digest,
    )


def _encode_list(outcome: Page, command: object, call: Call) -> Reply:
    return page_reply("sessions", outcome, lambda one: _detail(one, call))


def _encode_end(outcome: SessionEnded, command: object, call: Call) -> Reply:
    return reply_json(_detail(outcome.session, call), 200)


ENDPOINTS = (
    Endpoint(
        "GET", "/api/v1/sessions", "list_sessions",
        "Where members are signed in, newest first: one's own sessions, with `admin` those of all.", ANYBODY,
        _decode_list, _encode_list, query=SessionQuery, reply=Listing[SignedIn], refuses=(errors.NotFound,),
    ),
    Endpoint(
        "DELETE", "/api/v1/sessions/{session_id}", "end_session",
        "End a session, one's own, with `admin` anybody's; its open streams end within five seconds.", ANYBODY,
        _decode_end, _encode_end, reply=SignedIn,
    ),
)  # fmt: skip
"""The endpoints of sessions."""

_SESSION: dict[str, Any] = {
    "session_id": "0196b2c0-0000-7000-8000-00000000000c",
    "user_id": "0196b2c0-0000-7000-8000-000000000007",
    "address": "192.0.2.7",
    "created_at": "2026-04-02T10:00:00.123Z",
    "last_used_at": "2026-04-02T11:30:00.500Z",
    "expires_at": "2026-04-05T11:30:00.500Z",
    "is_current": False,
}
SESSIONS: dict[str, Sample] = {
    "list_sessions": Sample({"data": [_SESSION], "next": None}),
    "end_session": Sample(_SESSION),
}
"""Name of the endpoint → its example."""
