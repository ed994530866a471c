"""Rows of members and of what stands for a key, to values and back."""

from __future__ import annotations

from collections.abc import Iterable

from towerlog.errors import Conflict
from towerlog.model.member import Session, SignInLink
from towerlog.model.org_name import taken
from towerlog.model.principal import Role, User
from towerlog.store.columns.rows import Row

USER_COLUMNS = "org, user_id, name, email, created_at, role, password, subject, removed_at"
LINK_COLUMNS = "org, link_id, digest, user_id, created_at, expires_at, made_by, used_at"
SESSION_COLUMNS = "org, digest, user_id, created_at, expires_at, address, session_id, seen_at"


def too_many_orgs(most: int) -> Conflict:
    """What is said where there are as many organisations as may be made over HTTP."""
    return Conflict(f"There are {most} organisations; more are made by `towerlog orgs create`.")


def check_org_name(name: str, known: Iterable[str]) -> None:
    """Raises Conflict for a name that another organisation has, or that would be taken for it."""
    other = taken(name, known)
    if other == name:
        raise Conflict(f"An organisation {name!r} exists already.")
    if other is not None:
        raise Conflict(f"The name {name!r} is too close to {other!r}, which exists.")


def user_row(user: User) -> Row:
    """Values for USER_COLUMNS."""
    past = (user.role.value, user.password, user.subject, user.removed_at)
    return (user.org, user.user_id, user.name, user.email, user.created_at, *past)


def user_value(row: Row) -> User:
    """A user from USER_COLUMNS."""
    org, user_id, name, email, created_at, role, password, subject, removed_at = row
    return User(org, user_id, name, email, created_at, Role(role), password, subject, removed_at)


def link_row(one: SignInLink) -> Row:
    """Values for LINK_COLUMNS."""
    return (one.org, one.link_id, one.digest, one.user_id, one.created_at, one.expires_at, one.made_by, one.used_at)


def session_row(one: Session) -> Row:
    """Values for SESSION_COLUMNS."""
    beginning = (one.org, one.digest, one.user_id, one.created_at, one.expires_at)
    return (*beginning, one.address, one.session_id, one.seen_at)
