"""Questions about all organisations by indexes that begin with the organisation: one seek for each that has any; and
about one, page by page."""

from __future__ import annotations

from typing import Any

from towerlog.store.columns.order import falling
from towerlog.store.postgres.connections import Db, numbered


async def newest_first(
    db: Db, table: str, columns: str, where: str, values: tuple[Any, ...], page: tuple[str, str | None, int]
) -> list[tuple[Any, ...]]:
    """Rows of an organisation by the order in which they were made, the last first. `values`: the organisation, then
    those of `where`, which begins with AND or is empty; `page`: the column of an id, the id that it goes on behind, and
    how many at most."""
    by, before, limit = page
    number = None
    if before is not None:
        number = await db.value(numbered(f"SELECT number FROM {table} WHERE org = ? AND {by} = ?"), values[0], before)
        if number is None:
            return []
        where, values = f"{where} AND number < ?", (*values, number)
    sql = f"SELECT {columns}, number FROM {table} WHERE org = ? {where} ORDER BY number DESC LIMIT ?"
    return list(falling(table, number, await db.rows(numbered(sql), *values, limit)))


def each_org(table: str, part: str, columns: str, where: str, order: str, limit: str) -> str:
    """The first rows of a table by `order`, whichever organisation they are of; `org` stands before the columns.

    `part` is what the partial index says of all its rows, or `true`: the organisations are found in it, one after the
    other. `order` names columns among `columns`.
    """
    first = f"SELECT org FROM {table} WHERE {part} ORDER BY org LIMIT 1"
    following = f"SELECT org FROM {table} WHERE {part} AND {table}.org > found.org ORDER BY org LIMIT 1"
    return (
        f"WITH RECURSIVE found (org) AS (({first}) UNION ALL SELECT ({following}) FROM found WHERE org IS NOT NULL)"
        f" SELECT found.org, due.* FROM found CROSS JOIN LATERAL (SELECT {columns} FROM {table}"
        f" WHERE {table}.org = found.org AND {part} AND {where} ORDER BY {order} LIMIT {limit}) AS due"
        f" ORDER BY {order} LIMIT {limit}"
    )
