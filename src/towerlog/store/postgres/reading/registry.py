"""Personas and routes: one version, the newest, or a page of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from towerlog.model.persona import Persona, ProviderRoute
from towerlog.store.columns import rows
from towerlog.store.postgres.connections import MAX_PARAMETER, Db
from towerlog.store.values import Found

T = TypeVar("T")


async def persona(db: Db, org: int, persona_key: str, version: str | None) -> Persona | None:
    """One version of a persona; None for the newest."""
    sql = "SELECT number, doc FROM persona WHERE org = $1 AND persona_key = $2"
    if version is not None:
        row = await db.row(f"{sql} AND version = $3", org, persona_key, version)
    else:
        row = await db.row(f"{sql} ORDER BY number DESC LIMIT 1", org, persona_key)
    return None if row is None else rows.persona_value(row)


async def route(db: Db, org: int, route_id: str) -> ProviderRoute | None:
    """The newest version of a route."""
    sql = "SELECT number, doc FROM provider_route WHERE org = $1 AND route_id = $2 ORDER BY version DESC LIMIT 1"
    row = await db.row(sql, org, route_id)
    return None if row is None else rows.route_value(row)


async def personas(db: Db, org: int, limit: int, before: int | None) -> Found[Persona]:
    """Versions of personas, newest first, below a number."""
    return await _page(db, "persona", org, limit, before, rows.persona_value)


async def routes(db: Db, org: int, limit: int, before: int | None) -> Found[ProviderRoute]:
    """Versions of routes, newest first, below a number."""
    return await _page(db, "provider_route", org, limit, before, rows.route_value)


async def _page(
    db: Db, table: str, org: int, limit: int, before: int | None, value: Callable[[rows.Row], T]
) -> Found[T]:
    sql = f"SELECT number, doc FROM {table} WHERE org = $1 AND number < $2 ORDER BY number DESC LIMIT $3"
    found = await db.rows(sql, org, MAX_PARAMETER if before is None else before, limit)
    return rows.up_to_a_page(found, value)
