"""The second wall between organisations: servers act as a role that is not the owner, so that row-level security holds.

Every statement of theirs sees the rows of those organisations alone that it was said to be about (`Connections.call`,
`PostgresUnit`), whatever it asks for. The role is made where the user of the URL may; else an operator makes it.
"""

from __future__ import annotations

from typing import Any

import asyncpg

from towerlog.store.postgres.locks import MIGRATING, lock_purpose

ROLE = "towerlog_rows"
_LACKING = (
    "SELECT count(*) FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p')"
    " AND NOT relispartition AND NOT (has_table_privilege($1, oid, 'SELECT') AND has_table_privilege($1, oid, 'INSERT')"
    " AND has_table_privilege($1, oid, 'UPDATE') AND has_table_privilege($1, oid, 'DELETE'))"
)


async def make_ready(connection: Any) -> str:
    """The role that servers act as, with all that it needs; empty for none. Raises what the driver raises."""
    if not await _is_ours(connection):
        try:
            async with connection.transaction():
                await connection.execute(lock_purpose(MIGRATING))
                await _make(connection)
        except asyncpg.InsufficientPrivilegeError:
            return ""
    if await connection.fetchval(_LACKING, ROLE):
        async with connection.transaction():
            await connection.execute(lock_purpose(MIGRATING))
            schema = await connection.fetchval("SELECT quote_ident(current_schema())")
            await connection.execute(
                f"GRANT USAGE ON SCHEMA {schema} TO {ROLE};"
                f" GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {ROLE}"
            )
    return ROLE


async def acts_as(connection: Any) -> str:
    """The role that servers act as; empty where there is none. Changes nothing. Raises what the driver raises."""
    return ROLE if await _is_ours(connection) else ""


async def _is_ours(connection: Any) -> bool:
    """Whether there is such a role, which sees no more than others, and this user may act as it."""
    sql = (
        "SELECT pg_has_role(current_user, oid, 'MEMBER') AND NOT rolsuper AND NOT rolbypassrls FROM pg_roles"
        " WHERE rolname = $1"
    )
    return bool(await connection.fetchval(sql, ROLE))


async def _make(connection: Any) -> None:
    if await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", ROLE) is None:
        await connection.execute(f"CREATE ROLE {ROLE} NOLOGIN")
    user = await connection.fetchval("SELECT quote_ident(current_user)")
    await connection.execute(f"GRANT {ROLE} TO {user}")
