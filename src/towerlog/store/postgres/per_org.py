"""Questions about all organisations by indexes that begin with the organisation: one seek for each that has any."""

from __future__ import annotations


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
