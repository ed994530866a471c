"""Replies about members, as frozen values."""

from __future__ import annotations

from dataclasses import dataclass, field

from towerlog.sdk.api.shapes import Shape


@dataclass(frozen=True, kw_only=True)
class Member(Shape):
    """A person who may sign in."""

    user_id: str
    name: str
    role: str
    email: str | None = None
    has_password: bool = False
    has_identity: bool = False
    created_at: str | None = None
    removed_at: str | None = None


@dataclass(frozen=True, kw_only=True)
class Session(Shape):
    """A browser in which a member is signed in."""

    session_id: str
    user_id: str
    expires_at: str
    address: str | None = None
    created_at: str | None = None
    last_used_at: str | None = None
    is_current: bool = False


@dataclass(frozen=True, kw_only=True)
class SignInLink(Shape):
    """A link that signs a member in, once. Its `token` and `url` are None in lists, and if the first reply was lost."""

    user_id: str
    expires_at: str
    link_id: str
    created_at: str | None = None
    made_by: str | None = None
    token: str | None = field(default=None, repr=False)
    url: str | None = field(default=None, repr=False)
