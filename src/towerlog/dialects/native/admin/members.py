"""Native endpoints of members: list, create, change, remove, sign out, and make a link that signs in once."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import msgspec

from towerlog.dialects import vocabulary as v
from towerlog.dialects.base import MAX_LABEL_CHARS, Call, Endpoint, Reply, Sample, reply_json, scopes
from towerlog.dialects.fields import bounded_text, decode, given_name, invalid_field, path_uuid
from towerlog.dialects.native.lists import CursorQuery, Listing, limit_of, page_reply, read_cursor
from towerlog.model.member import (
    DEFAULT_LINK_MS,
    MAX_LINK_MS,
    ChangeMember,
    CreateMember,
    EndSessions,
    EndSignInLink,
    ListMembers,
    ListSignInLinks,
    MakeSignInLink,
    MemberNow,
    RemoveMember,
    SignInLink,
    SignInLinkEnded,
    SignInLinkMade,
)
from towerlog.model.outcome import Page
from towerlog.model.principal import Role, User
from towerlog.model.times import format_ms

ADMIN = scopes()
SIGN_IN_PATH = "/sign-in#token="
"""Where the dashboard takes a link's token: behind a `#`, which no browser sends to anybody."""
MIN_LINK_SECONDS = 60
_MAX_LINK_SECONDS = MAX_LINK_MS // 1000

MemberName = Annotated[str, v.said("The name under which the member signs in and is shown.", "ada")]
MemberEmail = Annotated[str, v.said("The member's e-mail address.", "ada@example.com")]
MemberRole = Annotated[
    Role, v.said("What the member may do: `viewer` reads, `operator` also acts on runs, `admin` everything.", "viewer")
]
ServerUrl = Annotated[str, v.said("Where this server is, as its clients know it.", "https://towerlog.example.com")]


class MemberDetail(msgspec.Struct, frozen=True):
    """A person who may sign in."""

    schema_name: ClassVar[str] = "Member"
    user_id: v.MemberId
    name: MemberName
    email: MemberEmail | None
    role: MemberRole
    has_password: Annotated[bool, v.said("Whether the member has set a password.", True)]
    has_identity: Annotated[bool, v.said("Whether an identity provider has vouched for the member once.", False)]
    created_at: v.CreatedAt
    removed_at: v.Time | None


class MemberBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A member to create. It sets its password itself, once a sign-in link has let it in."""

    name: MemberName
    role: MemberRole
    email: MemberEmail | None = None


class MemberChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is to change of a member."""

    name: MemberName | msgspec.UnsetType = msgspec.UNSET
    role: MemberRole | msgspec.UnsetType = msgspec.UNSET
    email: MemberEmail | msgspec.UnsetType | None = msgspec.UNSET


class SignInLinkBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A link to make; without a member for the caller's own user."""

    user_id: Annotated[str, v.said("The member that it signs in.", v.UUID)] | None = None
    expires_in_seconds: Annotated[int, v.said("For how long it is good: 60 seconds to 7 days.", 900)] = (
        DEFAULT_LINK_MS // 1000
    )


class SignInLinkDetail(msgspec.Struct, frozen=True):
    """A link that signs a member in, once. Its token is shown only when it is made."""

    schema_name: ClassVar[str] = "SignInLink"
    link_id: v.SignInLinkId
    user_id: v.MemberId
    made_by: (
        Annotated[str, v.said("The key or the member that has made it; null: a command on the server.", v.UUID)] | None
    )
    created_at: v.CreatedAt
    token: (
        Annotated[
            str,
            v.said("What signs in; null in lists and repeated replies.", "h2v8c4tq0m6kx9zr3b7ny5wd1gf8p2sj4a6e0uqk"),
        ]
        | None
    )
    url: (
        Annotated[
            str,
            v.said(
                "The address to open in a browser; null in lists and repeated replies.",
                f"https://towerlog.example.com{SIGN_IN_PATH}h2v8c4tq",
            ),
        ]
        | None
    )
    expires_at: v.Time


_MEMBER_BODY = msgspec.json.Decoder(MemberBody)
_MEMBER_CHANGE = msgspec.json.Decoder(MemberChange)
_LINK_BODY = msgspec.json.Decoder(SignInLinkBody)


def member_detail(user: User) -> MemberDetail:
    """A member as JSON, without its password."""
    removed = None if user.removed_at is None else format_ms(user.removed_at)
    return MemberDetail(
        user_id=user.user_id,
        name=user.name,
        email=user.email,
        role=user.role,
        has_password=user.password is not None,
        has_identity=user.subject is not None,
        created_at=format_ms(user.created_at),
        removed_at=removed,
    )


def checked_email(text: str | None) -> str | None:
    """An address that a member may have. Raises Invalid."""
    if text is None:
        return None
    email = bounded_text(text.strip(), "email", MAX_LABEL_CHARS) or ""
    local, _, domain = email.partition("@")
    if not local or not domain or "@" in domain or not email.isprintable() or any(char.isspace() for char in email):
        raise invalid_field("email", "must be an e-mail address")
    return email


def _decode_list(call: Call) -> ListMembers:
    return ListMembers(limit_of(call), read_cursor("members", call.query.get("cursor")))


def _encode_list(outcome: Page, command: object, call: Call) -> Reply:
    return page_reply("members", outcome, member_detail)


def _decode_create(call: Call) -> CreateMember:
    body = decode(_MEMBER_BODY, call.body)
    return CreateMember(given_name(body.name, "name"), body.role, checked_email(body.email))


def _decode_change(call: Call) -> ChangeMember:
    user_id, body = path_uuid(call.path["user_id"], "member"), decode(_MEMBER_CHANGE, call.body)
    name = None if isinstance(body.name, msgspec.UnsetType) else given_name(body.name, "name")
    role = None if isinstance(body.role, msgspec.UnsetType) else body.role
    return ChangeMember(
        user_id, name, role, body.email if isinstance(body.email, msgspec.UnsetType) else checked_email(body.email)
    )


def _decode_remove(call: Call) -> RemoveMember:
    return RemoveMember(path_uuid(call.path["user_id"], "member"))


def _encode_member(outcome: MemberNow, command: object, call: Call) -> Reply:
    return reply_json(member_detail(outcome.user), 201 if outcome.created else 200)


def _decode_sign_out(call: Call) -> EndSessions:
    return EndSessions(path_uuid(call.path["user_id"], "member"))


def _decode_link(call: Call) -> MakeSignInLink:
    body = decode(_LINK_BODY, call.body or b"{}")
    if not MIN_LINK_SECONDS <= body.expires_in_seconds <= _MAX_LINK_SECONDS:
        raise invalid_field("expires_in_seconds", f"must be {MIN_LINK_SECONDS} to {_MAX_LINK_SECONDS}")
    user_id = None if body.user_id is None else path_uuid(body.user_id, "member")
    return MakeSignInLink(user_id, body.expires_in_seconds * 1000)


def _encode_link(outcome: SignInLinkMade, command: object, call: Call) -> Reply:
    token = outcome.text or None
    url = None if token is None else f"{server_url(call)}{SIGN_IN_PATH}{token}"
    return reply_json(_link_detail(outcome.link, token, url), 201, ((b"cache-control", b"no-store"),))


def _link_detail(link: SignInLink, token: str | None = None, url: str | None = None) -> SignInLinkDetail:
    made, until = format_ms(link.created_at), format_ms(link.expires_at)
    return SignInLinkDetail(link.link_id, link.user_id, link.made_by, made, token, url, until)


def _decode_links(call: Call) -> ListSignInLinks:
    return ListSignInLinks(limit_of(call), read_cursor("sign-in-links", call.query.get("cursor")))


def _encode_links(outcome: Page, command: object, call: Call) -> Reply:
    return page_reply("sign-in-links", outcome, _link_detail)


def _decode_link_end(call: Call) -> EndSignInLink:
    return EndSignInLink(path_uuid(call.path["link_id"], "link"))


def _encode_link_end(outcome: SignInLinkEnded, command: object, call: Call) -> Reply:
    return reply_json(_link_detail(outcome.link), 200)


def server_url(call: Call) -> str:
    """Where the caller finds this server: its public address, else the name that the request has."""
    return call.settings.public_url or f"http://{call.headers.get(b'host', b'').decode('latin-1')}"


_MEMBER = "/api/v1/members/{user_id}"
ENDPOINTS = (
    Endpoint(
        "GET", "/api/v1/members", "list_members", "Members of the organisation, newest first.", ADMIN,
        _decode_list, _encode_list, query=CursorQuery, reply=Listing[MemberDetail],
    ),
    Endpoint(
        "POST", "/api/v1/members", "create_member", "Create a member, who signs in by a link first.", ADMIN,
        _decode_create, _encode_member, request=MemberBody, reply=MemberDetail, reply_status=201,
    ),
    Endpoint(
        "PATCH", _MEMBER, "change_member", "Change a member's name, e-mail address or role.", ADMIN,
        _decode_change, _encode_member, request=MemberChange, reply=MemberDetail,
    ),
    Endpoint(
        "DELETE", _MEMBER, "remove_member", "Remove a member; its sessions end within five seconds.", ADMIN,
        _decode_remove, _encode_member, reply=MemberDetail,
    ),
    Endpoint(
        "POST", f"{_MEMBER}:sign-out", "sign_out_member", "End all sessions of a member.", ADMIN,
        _decode_sign_out, _encode_member, reply=MemberDetail,
    ),
    Endpoint(
        "POST", "/api/v1/sign-in-links", "create_sign_in_link", "Make a link that signs a member in, once.", ADMIN,
        _decode_link, _encode_link, request=SignInLinkBody, reply=SignInLinkDetail, reply_status=201, replay=False,
    ),
    Endpoint(
        "GET", "/api/v1/sign-in-links", "list_sign_in_links", "Links that sign somebody in, newest first.", ADMIN,
        _decode_links, _encode_links, query=CursorQuery, reply=Listing[SignInLinkDetail],
    ),
    Endpoint(
        "DELETE", "/api/v1/sign-in-links/{link_id}", "end_sign_in_link", "Take a sign-in link back.", ADMIN,
        _decode_link_end, _encode_link_end, reply=SignInLinkDetail,
    ),
)  # fmt: skip
"""The endpoints of members."""

_ADA: dict[str, Any] = {
    "user_id": "0196b2c0-0000-7000-8000-000000000007",
    "name": "ada",
    "email": "ada@example.com",
    "role": "operator",
    "has_password": False,
    "has_identity": False,
    "created_at": "2026-04-02T10:00:00.123Z",
    "removed_at": None,
}
_LINK: dict[str, Any] = {
    "link_id": "0196b2c0-0000-7000-8000-00000000000a",
    "user_id": _ADA["user_id"],
    "made_by": "0196b2c0-0000-7000-8000-00000000000b",
    "created_at": "2026-04-02T10:00:03.200Z",
    "token": None,
    "url": None,
    "expires_at": "2026-04-02T10:15:03.200Z",
}
_TOKEN = "h2v8c4tq0m6kx9zr3b7ny5wd1gf8p2sj4a6e0uqk"
MEMBERS: dict[str, Sample] = {
    "list_members": Sample({"data": [_ADA], "next": None}),
    "create_member": Sample(_ADA, {"name": "ada", "role": "operator", "email": "ada@example.com"}),
    "change_member": Sample(_ADA | {"role": "admin"}, {"role": "admin"}),
    "remove_member": Sample(_ADA | {"removed_at": "2026-04-02T10:00:03.200Z"}),
    "sign_out_member": Sample(_ADA),
    "create_sign_in_link": Sample(
        _LINK | {"token": _TOKEN, "url": f"https://towerlog.example.com{SIGN_IN_PATH}{_TOKEN}"},
        {"expires_in_seconds": 900},
    ),
    "list_sign_in_links": Sample({"data": [_LINK], "next": None}),
    "end_sign_in_link": Sample(_LINK),
}
"""Name of the endpoint → its example."""
