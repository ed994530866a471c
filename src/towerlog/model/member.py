"""Members of an organisation as people who sign in: commands, links that sign in once, sessions, and what they answer.

A member is a `User`. A session is known by the digest of a secret text that its browser keeps, a link by the digest of
its token; neither text is stored. A password is stored as a slow hash, which is made outside of here.
"""

from __future__ import annotations

import hashlib

import msgspec

from towerlog.model.principal import Role, User

MAX_MEMBERS = 1000
"""Of an organisation."""
MAX_MEMBER_BYTES = 6 * 1024
"""Of a member as it is stored."""
MAX_SESSIONS = 50
"""Of a member; with one more the oldest ends."""
MAX_LINKS = 20
"""For a member; with one more the oldest ends."""
SESSION_MS = 14 * 24 * 3600 * 1000
"""A session is over after so long, however much it is used."""
DEFAULT_LINK_MS = 15 * 60 * 1000
FIRST_LINK_MS = 60 * 60 * 1000
"""Of the link that the first start prints."""
MAX_LINK_MS = 7 * 24 * 3600 * 1000
TOKEN_CHARS = 40
"""Random letters and digits of a session's text and of a link's token: more than 190 bits."""


def link_digest(token: str) -> bytes:
    """What is stored of a link's token."""
    return hashlib.sha256(token.encode("utf-8")).digest()


def session_digest(cookie: bytes, text: bytes) -> bytes:
    """What is stored of a session's text; `cookie` is the name of the cookie that it stands in.

    A text is good under the name that it was given under alone, and never as an API key: no header holds a NUL.
    """
    return hashlib.sha256(b"\x00" + cookie + b"=" + text).digest()


class SignInLink(msgspec.Struct, frozen=True, gc=False):
    """A link that signs a member in, once. It is good while whoever has made it may make one."""

    org: int
    link_id: str
    digest: bytes
    user_id: str
    created_at: int
    expires_at: int
    made_by: str | None = None
    """The id of the key or the member that has made it; None: of whoever may write the data folder."""
    used_at: int | None = None
    """When it was used, or taken back."""


class Session(msgspec.Struct, frozen=True, gc=False):
    """A browser in which a member is signed in."""

    org: int
    digest: bytes
    user_id: str
    created_at: int
    expires_at: int
    """It moves on while the session is used, up to `SESSION_MS` after its beginning."""
    address: str | None
    """Where it was begun from."""
    session_id: str
    """For people: it opens nothing."""
    seen_at: int
    """When it was used last, a minute or two less exactly than that."""


class SessionsOver(msgspec.Struct, frozen=True, gc=False):
    """Sessions of a member that end: the one of a digest, else all but the one of a digest, and all links for it."""

    org: int
    user_id: str
    only: bytes | None = None
    but: bytes | None = None


class LinkFound(msgspec.Struct, frozen=True):
    """A link with the member that it is for, removed or not."""

    link: SignInLink
    user: User
    org_id: str


# Commands


class CreateMember(msgspec.Struct, frozen=True, gc=False):
    """A new member, who signs in by a link first."""

    name: str
    role: Role
    email: str | None = None


class ChangeMember(msgspec.Struct, frozen=True, gc=False):
    """Changes what is given; UNSET: as it is."""

    user_id: str
    name: str | None = None
    role: Role | None = None
    email: str | msgspec.UnsetType | None = msgspec.UNSET


class RemoveMember(msgspec.Struct, frozen=True, gc=False):
    """Takes a member out: it signs in no more, by a provider neither, and its sessions end."""

    user_id: str


class MakeSignInLink(msgspec.Struct, frozen=True, gc=False):
    """A link for a member; `user_id` None: for the caller's own user."""

    user_id: str | None = None
    lifetime_ms: int = DEFAULT_LINK_MS


class EndSignInLink(msgspec.Struct, frozen=True, gc=False):
    """Takes a link back that was not used."""

    link_id: str


class ListSignInLinks(msgspec.Struct, frozen=True, gc=False):
    """Links that sign somebody in, the last that was made first. `before`: a link id."""

    limit: int
    before: str | None = None


class StartSession(msgspec.Struct, frozen=True, gc=False):
    """Signs the caller in, who has just proved who it is; `link` is used up where that was the proof."""

    cookie: bytes
    """The name under which the browser keeps the session's text."""
    link: bytes | None = None
    address: str | None = None
    subject: str | None = None
    """Who the member is to the identity provider that has vouched for it, from now on."""
    joins: CreateMember | None = None
    """The caller is no member yet: this one is made, with the caller's id."""
    idle_ms: int = SESSION_MS
    """Not used for so long, it is over."""


class ListSessions(msgspec.Struct, frozen=True, gc=False):
    """Sessions that are not over, the last that began first; with a `user_id` those of one member. `before`: a session
    id."""

    limit: int
    user_id: str | None = None
    before: str | None = None


class EndSession(msgspec.Struct, frozen=True, gc=False):
    """Ends one session; with a `user_id` only if it is that member's."""

    session_id: str
    user_id: str | None = None


class EndSessions(msgspec.Struct, frozen=True, gc=False):
    """Ends the caller's session; with a `user_id` all of that member."""

    user_id: str | None = None


class SetPassword(msgspec.Struct, frozen=True, gc=False):
    """Sets the caller's own password; its other sessions end."""

    password: str
    """Hashed."""


class ListMembers(msgspec.Struct, frozen=True, gc=False):
    """Members, the last that was made first. `before`: a user id."""

    limit: int
    before: str | None = None


# Outcomes


class MemberNow(msgspec.Struct, frozen=True, gc=False):
    """A member as it is now."""

    user: User
    created: bool = False


class SignInLinkMade(msgspec.Struct, frozen=True, gc=False):
    """A link and its token; a repeated request has no token."""

    link: SignInLink
    text: str


class SessionStarted(msgspec.Struct, frozen=True, gc=False):
    """A session and its text."""

    session: Session
    text: str


class SessionEnded(msgspec.Struct, frozen=True, gc=False):
    """A session that is over now."""

    session: Session


class SessionsEnded(msgspec.Struct, frozen=True, gc=False):
    """They are over."""


class SignInLinkEnded(msgspec.Struct, frozen=True, gc=False):
    """A link that signs nobody in any more."""

    link: SignInLink


MemberOutcome = MemberNow | SignInLinkMade | SignInLinkEnded | SessionStarted | SessionEnded | SessionsEnded
MemberRows = list[User] | list[SignInLink] | list[Session]
"""Pages of their lists."""
