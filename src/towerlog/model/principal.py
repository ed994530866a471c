"""Organisations, users, scopes, and the authenticated caller. Only `asgi/guard/auth.py` makes a `Principal`."""

from __future__ import annotations

import enum

import msgspec

SHARD_BITS = 40
# 2^40 runs or agents in each of 2^23 organisations: together a positive 64-bit integer.


def shard_key(org: int, number: int) -> int:
    """A number that is unique in the whole store and sorts by organisation first; the key of runs and agents."""
    return org << SHARD_BITS | number


def shard_org(key: int) -> int:
    """The organisation of a key."""
    return key >> SHARD_BITS


def shard_bounds(org: int) -> tuple[int, int]:
    """The smallest and the largest key of an organisation."""
    return org << SHARD_BITS, (org + 1 << SHARD_BITS) - 1


class Scope(enum.StrEnum):
    """What a key may do; a key has a subset."""

    INGEST = "ingest"
    READ = "read"
    CONTROL = "control"
    WORKER = "worker"
    ADMIN = "admin"


class Role(enum.StrEnum):
    """What a member who is signed in may do; each may do what those before it may."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"


SCOPES_OF_ROLE: dict[Role, frozenset[Scope]] = {
    Role.VIEWER: frozenset({Scope.READ}),
    Role.OPERATOR: frozenset({Scope.READ, Scope.CONTROL}),
    Role.ADMIN: frozenset({Scope.READ, Scope.CONTROL, Scope.ADMIN}),
}
"""Nobody reports or works in a browser."""


class Principal(msgspec.Struct, frozen=True):
    """An authenticated caller. Every look-up in the store takes its `org`, never one from the request."""

    org: int
    """The organisation's number: the shard key of every table."""
    org_id: str
    user_id: str
    key_id: str
    """Of a member who is signed in: the user's own id, so that what belongs to a key belongs to the member, in
    whichever of its sessions."""
    scopes: frozenset[Scope]
    digest: bytes = b""
    """Of the key or the session that it was known by; empty where that was neither."""
    is_member: bool = False
    """Whether it is a person who is signed in, and no key. No property: every request asks for it."""

    def may_read(self) -> bool:
        """Whether it may see what is not its own."""
        return not self.scopes.isdisjoint((Scope.READ, Scope.ADMIN))


class Org(msgspec.Struct, frozen=True):
    """An organisation: one log, one set of keys."""

    org: int
    org_id: str
    name: str
    created_at: int


class User(msgspec.Struct, frozen=True):
    """A member of an organisation: a person who may sign in, whose keys may be there beside."""

    org: int
    user_id: str
    name: str
    email: str | None
    created_at: int
    role: Role = Role.ADMIN
    password: str | None = None
    """Its slow hash; None: it signs in by links, or by an identity provider."""
    subject: str | None = None
    """Who it is to the identity provider."""
    removed_at: int | None = None

    def folded_names(self) -> frozenset[str]:
        """What it signs in under, its name and its e-mail address, without the case of letters of any language."""
        return frozenset(name.casefold() for name in (self.name, self.email) if name)


class Counters(msgspec.Struct, gc=False):
    """The last numbers that an organisation has given out. Not frozen: the writer increments them in place."""

    position: int = 0
    runs: int = 0
    agents: int = 0
