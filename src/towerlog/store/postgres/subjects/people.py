"""Organisations, keys, members, their sessions and sign-in links: writes and look-ups.

Whoever asks with a digest does not know the organisation yet: `credential` says whose it is. A digest belongs to one
organisation, and in it to one key, session or link.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import msgspec

from towerlog.model.audit import AuditEntry
from towerlog.model.key import Key, KeyFound, key_of_member
from towerlog.model.member import MAX_LINKS, MAX_SESSIONS, SESSION_MS, LinkFound, Session, SignInLink
from towerlog.model.principal import Org, User
from towerlog.store.columns import rows
from towerlog.store.columns.people import (
    LINK_COLUMNS,
    SESSION_COLUMNS,
    USER_COLUMNS,
    check_org_name,
    link_row,
    number_in_use,
    session_row,
    too_many_orgs,
    user_row,
    user_value,
)
from towerlog.store.columns.removal import HIDDEN, IN_USE
from towerlog.store.lookup_keys import MemberCounts
from towerlog.store.postgres.connections import Db, newest_first, numbered
from towerlog.store.postgres.locks import ORGANISATIONS, lock_purpose
from towerlog.store.postgres.subjects import audit
from towerlog.store.postgres.subjects.folds import keep_folds
from towerlog.store.values import Changes

KEY, SESSION, LINK = 1, 2, 3
"""What a credential is of."""
# Another organisation's digest is refused: the column takes no null.
_CREDENTIAL = (
    "INSERT INTO credential (digest, kind, org) VALUES ($1, $2, $3) ON CONFLICT (digest, kind)"
    " DO UPDATE SET org = CASE WHEN credential.org = excluded.org THEN credential.org END"
)
_NEXT = "(SELECT coalesce(max(number), 0) + 1 FROM {} WHERE org = $1)"
# Not "or replace": a digest that is there already belongs to somebody else's key, which must not go.
_KEY = (
    f"INSERT INTO api_key ({rows.KEY_COLUMNS}, number) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9,"
    f" {_NEXT.format('api_key')}) ON CONFLICT (org, key_id)"
    " DO UPDATE SET name = excluded.name, scopes = excluded.scopes, revoked_at = excluded.revoked_at"
)
_USER = (
    f"INSERT INTO org_user ({USER_COLUMNS}, number) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9,"
    f" {_NEXT.format('org_user')}) ON CONFLICT (org, user_id) DO UPDATE SET"
    " name = excluded.name, email = excluded.email, role = excluded.role, password = excluded.password,"
    " subject = excluded.subject, removed_at = excluded.removed_at"
)
_LINK = (
    f"INSERT INTO sign_in_link ({LINK_COLUMNS}, number) VALUES ($1, $2, $3, $4, $5, $6, $7, $8,"
    f" {_NEXT.format('sign_in_link')}) ON CONFLICT (org, link_id) DO UPDATE SET used_at = excluded.used_at"
)
_SESSION = (
    f"INSERT INTO session ({SESSION_COLUMNS}, number)"
    f" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, {_NEXT.format('session')})"
)
_SEEN = (
    f"UPDATE session SET seen_at = $1, expires_at = least(created_at + {SESSION_MS}, $2)"
    f" WHERE org = (SELECT org FROM credential WHERE digest = $3 AND kind = {SESSION}) AND digest = $3"
    " AND seen_at < $1 AND expires_at > $1"
)
_IS_GOOD = (
    "used_at IS NULL AND EXISTS (SELECT 1 FROM org_user WHERE org_user.org = link.org"
    " AND org_user.user_id = link.user_id AND removed_at IS NULL) AND (made_by IS NULL OR EXISTS (SELECT 1 FROM api_key"
    " WHERE api_key.org = link.org AND key_id = made_by AND revoked_at IS NULL) OR EXISTS (SELECT 1 FROM org_user"
    " WHERE org_user.org = link.org AND org_user.user_id = made_by AND removed_at IS NULL AND role = 'admin'))"
)
_GOOD_LINKS = f"SELECT {LINK_COLUMNS} FROM sign_in_link AS link WHERE org = ? AND {_IS_GOOD}"


def _gone(table: str, kind: int, where: str) -> str:
    """Drops rows, and with them what says whose their digests are."""
    return (
        f"WITH gone AS (DELETE FROM {table} WHERE {where} RETURNING digest)"
        f" DELETE FROM credential USING gone WHERE credential.digest = gone.digest AND kind = {kind}"
    )


def _beyond(table: str, most: int) -> str:
    """Condition for a member's rows beyond the newest `most`."""
    of_member = f"SELECT number FROM {table} WHERE org = $1 AND user_id = $2 ORDER BY number DESC LIMIT 1 OFFSET {most}"
    return f"org = $1 AND user_id = $2 AND number <= ({of_member})"


_ONE_OVER = _gone("session", SESSION, "org = $1 AND user_id = $2 AND digest = $3")
_ALL_OVER = _gone("session", SESSION, "org = $1 AND user_id = $2 AND digest <> $3")
_LINKS_OVER = _gone("sign_in_link", LINK, "org = $1 AND user_id = $2")
_TOO_MANY = _gone("session", SESSION, _beyond("session", MAX_SESSIONS))
_TOO_MANY_LINKS = _gone("sign_in_link", LINK, _beyond("sign_in_link", MAX_LINKS))


async def write_keys(db: Db, keys: Iterable[Key]) -> None:
    """Keys, new or changed."""
    for key in keys:
        await db.do(_CREDENTIAL, key.digest, KEY, key.org)
        await db.do(_KEY, *rows.key_row(key))


async def write(db: Db, changes: Changes) -> None:
    """What a unit has changed of members. What ends comes before what begins."""
    await write_users(db, changes.users.values())
    for over in changes.sessions_over:
        if over.only is not None:
            await db.do(_ONE_OVER, over.org, over.user_id, over.only)
        else:
            await db.do(_ALL_OVER, over.org, over.user_id, over.but or b"")
            await db.do(_LINKS_OVER, over.org, over.user_id)
    await write_links(db, changes.sign_in_links.values())
    for one in changes.sessions:
        await db.do(_CREDENTIAL, one.digest, SESSION, one.org)
        await db.do(_SESSION, *session_row(one))
        await db.do(_TOO_MANY, one.org, one.user_id)


async def write_users(db: Db, users: Iterable[User]) -> None:
    """Users, new or changed, with the names that are theirs."""
    changed = list(users)
    await db.each(_USER, map(user_row, changed))
    # All of them first: one may get a name that another has given up.
    gone = "DELETE FROM user_name WHERE org = $1 AND user_id = $2"
    await db.each(gone, [(one.org, one.user_id) for one in changed])
    names = [(one.org, name, one.user_id, one.removed_at is None) for one in changed for name in one.folded_names()]
    await db.each("INSERT INTO user_name (org, folded, user_id, is_member) VALUES ($1, $2, $3, $4)", names)


async def write_links(db: Db, links: Iterable[SignInLink]) -> None:
    """Links, new or used now."""
    for one in links:
        await db.do(_CREDENTIAL, one.digest, LINK, one.org)
        await db.do(_LINK, *link_row(one))
        await db.do(_TOO_MANY_LINKS, one.org, one.user_id)


async def write_org(
    db: Db,
    org: Org,
    user: User,
    key: Key,
    told: AuditEntry,
    link: SignInLink | None = None,
    also: AuditEntry | None = None,
    most: int | None = None,
) -> Org:
    """A new organisation with its first user and key, and the audit's first entry; returns it with its number.

    `also`: an entry for the audit of another one; `most`: how many there may be with it. Raises Conflict for a name
    that is taken, or for one too many: somebody else may have made one since the caller looked.
    """
    await db.connection.execute(lock_purpose(ORGANISATIONS))
    check_org_name(org.name, [name for (name,) in await db.rows("SELECT name FROM org ORDER BY org")])
    if most is not None and await db.value(f"SELECT count(*) FROM org WHERE {HIDDEN}") >= most:
        raise too_many_orgs(most)
    sql = (
        "INSERT INTO org (org, org_id, name, created_at) SELECT coalesce(max(org), 0) + 1, $1, $2, $3 FROM org"
        " RETURNING org"
    )
    number = await db.value(sql, org.org_id, org.name, org.created_at)
    known = "SELECT 1 FROM audit_entry WHERE org = $1 UNION ALL SELECT 1 FROM removed_org WHERE org = $1"
    if await db.value(f"SELECT EXISTS ({known})", number):
        raise number_in_use(number)
    await db.do("INSERT INTO org_count (org) VALUES ($1)", number)
    await keep_folds(db, number)
    await write_users(db, [msgspec.structs.replace(user, org=number)])
    await write_keys(db, [msgspec.structs.replace(key, org=number)])
    await audit.write(db, [msgspec.structs.replace(told, org=number), *([] if also is None else [also])])
    if link is not None:
        await write_links(db, [msgspec.structs.replace(link, org=number)])
    return msgspec.structs.replace(org, org=number)


async def rename_org(db: Db, org: Org, told: Iterable[AuditEntry]) -> None:
    """The name that it has here. Raises Conflict for one that is taken."""
    await db.connection.execute(lock_purpose(ORGANISATIONS))
    others = await db.rows("SELECT name FROM org WHERE org <> $1 ORDER BY org", org.org)
    check_org_name(org.name, [name for (name,) in others])
    await db.do("UPDATE org SET name = $2 WHERE org = $1", org.org, org.name)
    # In the order of their numbers, as all who lock several do.
    await audit.write(db, sorted(told, key=lambda entry: entry.org))


async def write_key(db: Db, key: Key, told: AuditEntry) -> None:
    """One key, new or changed, with the entry of the audit that tells it."""
    await write_keys(db, [key])
    await audit.write(db, [told])


async def write_link(db: Db, link: SignInLink, told: AuditEntry) -> None:
    """One new link, with the entry of the audit that tells it."""
    await write_links(db, [link])
    await audit.write(db, [told])


async def keep_secret(db: Db, fresh: str) -> str:
    """The store's secret; `fresh` becomes it where there is none."""
    await db.do("INSERT INTO meta VALUES ('secret', $1) ON CONFLICT DO NOTHING", fresh)
    return str(await db.value("SELECT value FROM meta WHERE name = 'secret'"))


# Look-ups


async def orgs(db: Db) -> list[Org]:
    """All organisations that are not removed."""
    sql = f"SELECT org, org_id, name, created_at FROM org WHERE {HIDDEN} ORDER BY org"
    return [rows.org_value(row) for row in await db.rows(sql)]


async def org(db: Db, number: int) -> Org | None:
    """One organisation."""
    row = await db.row("SELECT org, org_id, name, created_at FROM org WHERE org = $1", number)
    return None if row is None else rows.org_value(row)


async def caller_by_digest(db: Db, digest: bytes) -> KeyFound | None:
    """The key with this digest, else the session, as what a key of its member would be."""
    columns = ", ".join(f"api_key.{name}" for name in rows.KEY_COLUMNS.split(", "))
    of_org = "FROM credential JOIN org USING (org)"
    where = "WHERE credential.digest = $1 AND credential.kind ="
    sql = f"SELECT org.org_id, {columns} {of_org} JOIN api_key USING (org, digest) {where} {KEY} AND {IN_USE}"
    found = await db.row(sql, digest)
    if found is not None:
        return KeyFound(rows.key_value(tuple(found)[1:]), found[0])
    columns = ", ".join(f"org_user.{name}" for name in USER_COLUMNS.split(", "))
    sql = (
        f"SELECT org.org_id, session.expires_at, session.seen_at, {columns} {of_org} JOIN session USING (org, digest)"
        f" JOIN org_user USING (org, user_id) {where} {SESSION} AND {IN_USE}"
    )
    found = await db.row(sql, digest)
    if found is None:
        return None
    return KeyFound(key_of_member(user_value(tuple(found)[3:]), digest), found[0], found[1], found[2])


async def keys(db: Db, org: int, limit: int, before: str | None) -> list[Key]:
    """Keys, the last that was made first."""
    found = await newest_first(db, "api_key", rows.KEY_COLUMNS, "", (org,), ("key_id", before, limit))
    return [rows.key_value(row) for row in found]


async def key(db: Db, org: int, key_id: str) -> Key | None:
    """One API key."""
    row = await db.row(f"SELECT {rows.KEY_COLUMNS} FROM api_key WHERE org = $1 AND key_id = $2", org, key_id)
    return None if row is None else rows.key_value(row)


async def key_by_id(db: Db, org: int, key_id: str) -> Key | None:
    """An API key; of the id of a member, what a key of that member would be."""
    found = await key(db, org, key_id)
    if found is None:
        member = (await users(db, org, [key_id])).get(key_id)
        return None if member is None else key_of_member(member)
    return found


async def users(db: Db, org: int, user_ids: Iterable[str]) -> dict[str, User]:
    """Users by id, removed or not."""
    sql = f"SELECT {USER_COLUMNS} FROM org_user WHERE org = $1 AND user_id = ANY($2::text[])"
    return {row[1]: user_value(row) for row in await db.rows(sql, org, sorted(set(user_ids)))}


async def first_user(db: Db, org: int) -> User:
    """The user that the organisation was made with."""
    return user_value(await db.row(f"SELECT {USER_COLUMNS} FROM org_user WHERE org = $1 ORDER BY number LIMIT 1", org))


async def members_of(db: Db, org: int) -> tuple[User, ...]:
    """All members that are not removed, oldest first."""
    sql = f"SELECT {USER_COLUMNS} FROM org_user WHERE org = $1 AND removed_at IS NULL ORDER BY number"
    return tuple(user_value(row) for row in await db.rows(sql, org))


async def members(db: Db, org: int, limit: int, before: str | None) -> list[User]:
    """Members, the last that was made first."""
    where, page = "AND removed_at IS NULL", ("user_id", before, limit)
    return [user_value(row) for row in await newest_first(db, "org_user", USER_COLUMNS, where, (org,), page)]


async def members_named(db: Db, organisation: str, name: str) -> tuple[str, User] | None:
    """Who signs in under a name or an e-mail address. Letters of any language are compared without their case."""
    found = await db.row("SELECT org, org_id FROM org WHERE name = $1", organisation)
    user_id = None if found is None else await name_owner(db, found[0], name.casefold())
    if found is None or user_id is None:
        return None
    return found[1], (await users(db, found[0], [user_id]))[user_id]


async def name_owner(db: Db, org: int, folded: str) -> str | None:
    """The id of the member with this name or e-mail address, as `User.folded_names` has it."""
    sql = "SELECT user_id FROM user_name WHERE org = $1 AND folded = $2 AND is_member"
    found: str | None = await db.value(sql, org, folded)
    return found


async def member_counts(db: Db, org: int) -> MemberCounts:
    """How many members there are."""
    sql = "SELECT count(*), count(*) FILTER (WHERE role = 'admin') FROM org_user WHERE org = $1 AND removed_at IS NULL"
    return MemberCounts(*await db.row(sql, org))


async def member_known(db: Db, org: int, subject: str, email: str | None) -> User | None:
    """Who it is to an identity provider; else by the e-mail address, without its case. Members before the removed."""
    columns = ", ".join(f"org_user.{name}" for name in USER_COLUMNS.split(", "))
    by_subject = f"SELECT {columns} FROM org_user WHERE org = $1 AND subject = $2 AND removed_at IS"
    by_email = f"SELECT {columns} FROM user_name JOIN org_user USING (org, user_id) WHERE org = $1 AND folded = $2"
    folded = None if email is None else email.casefold()
    for is_member, ending in ((True, "NULL"), (False, "NOT NULL")):
        for row in await db.rows(f"{by_subject} {ending} LIMIT 1", org, subject):
            return user_value(row)
        for row in await db.rows(f"{by_email} AND is_member = $3", org, folded, is_member):
            if (row[3] or "").casefold() == folded:
                return user_value(row)
    return None


async def link(db: Db, org: int, digest: bytes) -> SignInLink | None:
    """A link of an organisation that is good."""
    row = await db.row(numbered(f"{_GOOD_LINKS} AND digest = ?"), org, digest)
    return None if row is None else SignInLink(*row)


async def link_by_id(db: Db, org: int, link_id: str) -> SignInLink | None:
    """The same by its id."""
    row = await db.row(numbered(f"{_GOOD_LINKS} AND link_id = ?"), org, link_id)
    return None if row is None else SignInLink(*row)


async def links(db: Db, org: int, limit: int, before: str | None, now_ms: int) -> list[SignInLink]:
    """Links that are good at this time, the last that was made first."""
    where, page = f"AND {_IS_GOOD} AND expires_at > ?", ("link_id", before, limit)
    found = await newest_first(db, "sign_in_link AS link", LINK_COLUMNS, where, (org, now_ms), page)
    return [SignInLink(*row) for row in found]


async def link_by_digest(db: Db, digest: bytes) -> LinkFound | None:
    """A link by the digest of its token, with its member."""
    places = (("sign_in_link", LINK_COLUMNS), ("org_user", USER_COLUMNS))
    columns = ", ".join(f"{table}.{name}" for table, names in places for name in names.split(", "))
    sql = (
        f"SELECT org.org_id, {columns} FROM credential JOIN org USING (org) JOIN sign_in_link USING (org, digest)"
        f" JOIN org_user USING (org, user_id) WHERE credential.digest = $1 AND credential.kind = {LINK} AND {IN_USE}"
    )
    found = await db.row(sql, digest)
    if found is None:
        return None
    count, row = LINK_COLUMNS.count(",") + 1, tuple(found)
    return LinkFound(SignInLink(*row[1 : 1 + count]), user_value(row[1 + count :]), row[0])


async def sessions(db: Db, org: int, user_id: str | None, limit: int, before: str | None, now_ms: int) -> list[Session]:
    """Sessions that are not over at this time, of one member or of all, the last that began first."""
    where: str = "AND expires_at > ?"
    values: tuple[object, ...] = (org, now_ms)
    if user_id is not None:
        where, values = f"{where} AND user_id = ?", (*values, user_id)
    found = await newest_first(db, "session", SESSION_COLUMNS, where, values, ("session_id", before, limit))
    return [Session(*row) for row in found]


async def session_by_id(db: Db, org: int, session_id: str) -> Session | None:
    """A session, over or not."""
    row = await db.row(f"SELECT {SESSION_COLUMNS} FROM session WHERE org = $1 AND session_id = $2", org, session_id)
    return None if row is None else Session(*row)


async def note_seen(db: Db, digests: Collection[bytes], now_ms: int, until_ms: int) -> None:
    """Sessions that were used now (wall ms) are good until then, but no longer than any may be."""
    await db.each(_SEEN, ((now_ms, until_ms, digest) for digest in sorted(digests)))


async def drop_old(db: Db, now_ms: int, limit: int) -> int:
    """Forgets sessions and links that have expired by now (wall ms), at most so many of each; how many."""
    dropped = 0
    for table, kind in (("session", SESSION), ("sign_in_link", LINK)):
        some = f"SELECT org, digest FROM {table} WHERE expires_at <= $1 LIMIT $2"
        dropped += await db.do(_gone(table, kind, f"(org, digest) IN ({some})"), now_ms, limit)
    return dropped
