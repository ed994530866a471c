"""Members, their sessions and sign-in links: rows, writes and look-ups."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import apsw

from towerlog.model.key import Key, KeyFound, key_of_member
from towerlog.model.member import MAX_LINKS, MAX_SESSIONS, SESSION_MS, LinkFound, Session, SignInLink
from towerlog.model.principal import User
from towerlog.store.columns.people import (
    LINK_COLUMNS,
    SESSION_COLUMNS,
    USER_COLUMNS,
    link_row,
    session_row,
    user_row,
    user_value,
)
from towerlog.store.columns.removal import IN_USE
from towerlog.store.lookup_keys import MemberCounts
from towerlog.store.sqlite import lookups
from towerlog.store.sqlite.connections.transaction import transaction
from towerlog.store.sqlite.reads import key_by_digest, marks, newest_first
from towerlog.store.values import Changes

_USER = (
    f"INSERT INTO user ({USER_COLUMNS}, number) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?,"
    " (SELECT ifnull(max(number), 0) + 1 FROM user WHERE org = ?1)) ON CONFLICT (org, user_id) DO UPDATE SET"
    " name = excluded.name, email = excluded.email, role = excluded.role, password = excluded.password,"
    " subject = excluded.subject, removed_at = excluded.removed_at"
)
_LINK = (
    f"INSERT INTO sign_in_link ({LINK_COLUMNS}, number) VALUES (?, ?, ?, ?, ?, ?, ?, ?,"
    " (SELECT ifnull(max(number), 0) + 1 FROM sign_in_link WHERE org = ?1))"
    " ON CONFLICT (org, link_id) DO UPDATE SET used_at = excluded.used_at"
)
_IS_GOOD = (
    "used_at IS NULL AND EXISTS (SELECT 1 FROM user WHERE user.org = link.org AND user.user_id = link.user_id"
    " AND removed_at IS NULL) AND (made_by IS NULL OR EXISTS (SELECT 1 FROM api_key WHERE api_key.org = link.org"
    " AND key_id = made_by AND revoked_at IS NULL) OR EXISTS (SELECT 1 FROM user WHERE user.org = link.org"
    " AND user.user_id = made_by AND removed_at IS NULL AND role = 'admin'))"
)
_GOOD_LINKS = f"SELECT {LINK_COLUMNS} FROM sign_in_link AS link WHERE org = ? AND {_IS_GOOD}"
_LINKS_OVER = "DELETE FROM sign_in_link WHERE org = ? AND user_id = ?"
_TOO_MANY_LINKS = (
    "DELETE FROM sign_in_link WHERE org = ?1 AND user_id = ?2 AND number <= (SELECT number FROM sign_in_link"
    f" WHERE org = ?1 AND user_id = ?2 ORDER BY number DESC LIMIT 1 OFFSET {MAX_LINKS})"
)
_SESSION = (
    f"INSERT INTO session ({SESSION_COLUMNS}, number) VALUES (?, ?, ?, ?, ?, ?, ?, ?,"
    " (SELECT ifnull(max(number), 0) + 1 FROM session WHERE org = ?1))"
)
_SEEN = (
    f"UPDATE session SET seen_at = ?1, expires_at = min(created_at + {SESSION_MS}, ?2)"
    " WHERE digest = ?3 AND seen_at < ?1 AND expires_at > ?1"
)
_ONE_OVER = "DELETE FROM session WHERE org = ? AND user_id = ? AND digest = ?"
_ALL_OVER = "DELETE FROM session WHERE org = ? AND user_id = ? AND digest <> ?"
_TOO_MANY = (
    "DELETE FROM session WHERE org = ?1 AND user_id = ?2 AND number <= (SELECT number FROM session WHERE org = ?1"
    f" AND user_id = ?2 ORDER BY number DESC LIMIT 1 OFFSET {MAX_SESSIONS})"
)


def write(db: apsw.Connection, changes: Changes) -> None:
    """What a unit has changed of them. What ends comes before what begins."""
    write_users(db, changes.users.values())
    for over in changes.sessions_over:
        if over.only is not None:
            db.execute(_ONE_OVER, (over.org, over.user_id, over.only))
        else:
            db.execute(_ALL_OVER, (over.org, over.user_id, over.but or b""))
            db.execute(_LINKS_OVER, (over.org, over.user_id))
    write_links(db, changes.sign_in_links.values())
    for one in changes.sessions:
        db.execute(_SESSION, session_row(one))
        db.execute(_TOO_MANY, (one.org, one.user_id))


def write_users(db: apsw.Connection, users: Iterable[User]) -> None:
    """Users, new or changed, with the names that are theirs."""
    changed = list(users)
    db.executemany(_USER, map(user_row, changed))
    # All of them first: one may get a name that another has given up.
    db.executemany("DELETE FROM user_name WHERE org = ? AND user_id = ?", ((one.org, one.user_id) for one in changed))
    names = ((one.org, name, one.user_id, one.removed_at is None) for one in changed for name in one.folded_names())
    db.executemany("INSERT INTO user_name (org, folded, user_id, is_member) VALUES (?, ?, ?, ?)", names)


def write_names_anew(db: apsw.Connection, org: int) -> None:
    """Keeps names for the users that are there alone; of members of one name for the first that was made."""
    due, _ = lookups.stored_names(db, org)
    db.execute("DELETE FROM user_name WHERE org = ?", (org,))
    db.executemany("INSERT OR IGNORE INTO user_name (org, folded, user_id, is_member) VALUES (?, ?, ?, ?)", due)


def write_links(db: apsw.Connection, links: Iterable[SignInLink]) -> None:
    """Links, new or used now."""
    for one in links:
        db.execute(_LINK, link_row(one))
        db.execute(_TOO_MANY_LINKS, (one.org, one.user_id))


def users(db: apsw.Connection, org: int, user_ids: Iterable[str]) -> dict[str, User]:
    """Users by id, removed or not."""
    wanted = sorted(set(user_ids))
    sql = f"SELECT {USER_COLUMNS} FROM user WHERE org = ? AND user_id IN ({marks(len(wanted))})"
    return {row[1]: user_value(row) for row in db.execute(sql, (org, *wanted))}


def members_of(db: apsw.Connection, org: int) -> tuple[User, ...]:
    """All members that are not removed, oldest first."""
    sql = f"SELECT {USER_COLUMNS} FROM user WHERE org = ? AND removed_at IS NULL ORDER BY number"
    return tuple(user_value(row) for row in db.execute(sql, (org,)))


def members(db: apsw.Connection, org: int, limit: int, before: str | None) -> list[User]:
    """Members, the last that was made first."""
    found = newest_first(db, "user", USER_COLUMNS, "AND removed_at IS NULL", (org,), ("user_id", before, limit))
    return [user_value(row) for row in found]


def members_named(db: apsw.Connection, organisation: str, name: str) -> tuple[str, User] | None:
    """Who signs in under a name or an e-mail address. Letters of any language are compared without their case."""
    for org, org_id in db.execute("SELECT org, org_id FROM org WHERE name = ?", (organisation,)):
        user_id = name_owner(db, org, name.casefold())
        if user_id is not None:
            return org_id, users(db, org, [user_id])[user_id]
    return None


def name_owner(db: apsw.Connection, org: int, folded: str) -> str | None:
    """The id of the member with this name or e-mail address, as `User.folded_names` has it."""
    sql = "SELECT user_id FROM user_name WHERE org = ? AND folded = ? AND is_member"
    return next((user_id for (user_id,) in db.execute(sql, (org, folded))), None)


def member_counts(db: apsw.Connection, org: int) -> MemberCounts:
    """How many members there are."""
    sql = "SELECT count(*), ifnull(sum(role = 'admin'), 0) FROM user WHERE org = ? AND removed_at IS NULL"
    return next(MemberCounts(*row) for row in db.execute(sql, (org,)))


def member_known(db: apsw.Connection, org: int, subject: str, email: str | None) -> User | None:
    """Who it is to an identity provider; else by the e-mail address, without its case. Members before the removed."""
    columns = ", ".join(f"user.{name}" for name in USER_COLUMNS.split(", "))
    by_subject = f"SELECT {columns} FROM user WHERE org = ? AND subject = ? AND removed_at IS"
    by_email = f"SELECT {columns} FROM user_name JOIN user USING (org, user_id) WHERE org = ? AND folded = ?"
    folded = None if email is None else email.casefold()
    for is_member, ending in ((True, "NULL"), (False, "NOT NULL")):
        for row in db.execute(f"{by_subject} {ending} LIMIT 1", (org, subject)):
            return user_value(row)
        for row in db.execute(f"{by_email} AND is_member = ?", (org, folded, is_member)):
            if (row[3] or "").casefold() == folded:
                return user_value(row)
    return None


def link(db: apsw.Connection, org: int, digest: bytes) -> SignInLink | None:
    """A link of an organisation that is good."""
    return next((SignInLink(*row) for row in db.execute(f"{_GOOD_LINKS} AND digest = ?", (org, digest))), None)


def link_by_id(db: apsw.Connection, org: int, link_id: str) -> SignInLink | None:
    """The same by its id."""
    return next((SignInLink(*row) for row in db.execute(f"{_GOOD_LINKS} AND link_id = ?", (org, link_id))), None)


def links(db: apsw.Connection, org: int, limit: int, before: str | None, now_ms: int) -> list[SignInLink]:
    """Links that are good at this time, the last that was made first."""
    where = f"AND {_IS_GOOD} AND expires_at > ?"
    found = newest_first(db, "sign_in_link AS link", LINK_COLUMNS, where, (org, now_ms), ("link_id", before, limit))
    return [SignInLink(*row) for row in found]


def link_by_digest(db: apsw.Connection, digest: bytes) -> LinkFound | None:
    """A link by the digest of its token, with its member."""
    places = (("sign_in_link", LINK_COLUMNS), ("user", USER_COLUMNS))
    columns = ", ".join(f"{table}.{name}" for table, names in places for name in names.split(", "))
    sql = (
        f"SELECT org.org_id, {columns} FROM sign_in_link JOIN user USING (org, user_id) JOIN org USING (org)"
        f" WHERE digest = ? AND {IN_USE}"
    )
    count = LINK_COLUMNS.count(",") + 1
    for row in db.execute(sql, (digest,)):
        return LinkFound(SignInLink(*row[1 : 1 + count]), user_value(row[1 + count :]), row[0])
    return None


def caller_by_digest(db: apsw.Connection, digest: bytes) -> KeyFound | None:
    """The key with this digest, else the session."""
    return key_by_digest(db, digest) or _session_by_digest(db, digest)


def _session_by_digest(db: apsw.Connection, digest: bytes) -> KeyFound | None:
    """A session, as what a key of its member would be."""
    columns = ", ".join(f"user.{name}" for name in USER_COLUMNS.split(", "))
    sql = (
        f"SELECT org.org_id, session.expires_at, session.seen_at, {columns} FROM session JOIN user USING (org, user_id)"
        f" JOIN org USING (org) WHERE digest = ? AND {IN_USE}"
    )
    for row in db.execute(sql, (digest,)):
        return KeyFound(key_of_member(user_value(row[3:]), digest), row[0], row[1], row[2])
    return None


def sessions(
    db: apsw.Connection, org: int, user_id: str | None, limit: int, before: str | None, now_ms: int
) -> list[Session]:
    """Sessions that are not over at this time, of one member or of all, the last that began first."""
    where: str = "AND expires_at > ?"
    values: tuple[object, ...] = (org, now_ms)
    if user_id is not None:
        where, values = f"{where} AND user_id = ?", (*values, user_id)
    found = newest_first(db, "session", SESSION_COLUMNS, where, values, ("session_id", before, limit))
    return [Session(*row) for row in found]


def session_by_id(db: apsw.Connection, org: int, session_id: str) -> Session | None:
    """A session, over or not."""
    sql = f"SELECT {SESSION_COLUMNS} FROM session WHERE org = ? AND session_id = ?"
    return next((Session(*row) for row in db.execute(sql, (org, session_id))), None)


def note_seen(db: apsw.Connection, digests: Collection[bytes], now_ms: int, until_ms: int) -> None:
    """Sessions that were used now (wall ms) are good until then, but no longer than any may be."""
    db.executemany(_SEEN, ((now_ms, until_ms, digest) for digest in digests))


def key_by_id(db: apsw.Connection, org: int, key_id: str) -> Key | None:
    """An API key; of the id of a member, what a key of that member would be."""
    found = lookups.key(db, org, key_id)
    if found is None:
        member = users(db, org, [key_id]).get(key_id)
        return None if member is None else key_of_member(member)
    return found


def drop_old(db: apsw.Connection, now_ms: int, limit: int) -> int:
    """Forgets sessions and links that have expired by now (wall ms), at most so many of each; how many."""
    dropped = 0
    with transaction(db, makes_room=True):
        for table in ("session", "sign_in_link"):
            some = f"SELECT digest FROM {table} WHERE expires_at <= ? LIMIT ?"
            db.execute(f"DELETE FROM {table} WHERE digest IN ({some})", (now_ms, limit))
            dropped += db.changes()
    return dropped
