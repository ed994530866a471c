"""Rows of members and of what stands for a key, to values and back."""

from __future__ import annotations

from collections.abc import Iterable

from towerlog.errors import Conflict, StorageFailed
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


def number_in_use(number: int) -> StorageFailed:
    """What is said where the number of a new organisation has been another one's."""
    return StorageFailed(
        f"organisation number {number} has no row, and the audit has entries of it: the store is damaged; stop the"
        " server and call `towerlog rebuild`"
    )


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


def name_rows(org: int, users: Iterable[Row]) -> list[tuple[int, str, str, bool]]:
    """The rows of `user_name` that users have; of each its id, name, e-mail address and when it was removed."""
    found = []
    for user_id, name, email, removed_at in users:
        user = User(org, user_id, name, email, 0, removed_at=removed_at)
        found += [(org, folded, user_id, removed_at is None) for folded in sorted(user.folded_names())]
    return found


def name_faults(due: Iterable[Row], stored: Iterable[Row]) -> list[str]:
    """Rows of `user_name` that no user has, and users whose names are not kept for them; rows are (org, name, user id,
    whether it is a member)."""
    wanted, kept = {tuple(row) for row in due}, {tuple(row) for row in stored}
    faults = [f"member {row[2]}: the name {row[1]!r} is kept for it, and not its own" for row in sorted(kept - wanted)]
    return faults + [f"member {row[2]}: its name {row[1]!r} is not kept for it" for row in sorted(wanted - kept)]


def link_row(one: SignInLink) -> Row:
    """Values for LINK_COLUMNS."""
    return (one.org, one.link_id, one.digest, one.user_id, one.created_at, one.expires_at, one.made_by, one.used_at)


def session_row(one: Session) -> Row:
    """Values for SESSION_COLUMNS."""
    beginning = (one.org, one.digest, one.user_id, one.created_at, one.expires_at)
    return (*beginning, one.address, one.session_id, one.seen_at)
