"""What is asked of SQLite about personas and routes: one version, the newest, or a page of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import apsw

from towerlog.model.persona import Persona, ProviderRoute
from towerlog.store.columns import rows
from towerlog.store.values import Found

T = TypeVar("T")
_MAX_NUMBER = 2**62


def persona(db: apsw.Connection, org: int, persona_key: str, version: str | None) -> Persona | None:
    """One version of a persona; None for the newest."""
    sql = "SELECT number, doc FROM persona WHERE org = ? AND persona_key = ?"
    if version is not None:
        return _first(db, f"{sql} AND version = ?", (org, persona_key, version), rows.persona_value)
    return _first(db, f"{sql} ORDER BY number DESC LIMIT 1", (org, persona_key), rows.persona_value)


def route(db: apsw.Connection, org: int, route_id: str) -> ProviderRoute | None:
    """The newest version of a route."""
    sql = "SELECT number, doc FROM provider_route WHERE org = ? AND route_id = ? ORDER BY version DESC LIMIT 1"
    return _first(db, sql, (org, route_id), rows.route_value)


def personas(db: apsw.Connection, org: int, limit: int, before: int | None) -> Found[Persona]:
    """Versions of personas, newest first, below a number."""
    return _page(db, "persona", org, limit, before, rows.persona_value)


def routes(db: apsw.Connection, org: int, limit: int, before: int | None) -> Found[ProviderRoute]:
    """Versions of routes, newest first, below a number."""
    return _page(db, "provider_route", org, limit, before, rows.route_value)


def _first(db: apsw.Connection, sql: str, values: tuple[Any, ...], value: Callable[[rows.Row], T]) -> T | None:
    for row in db.execute(sql, values):
        return value(row)
    return None


def _page(
    db: apsw.Connection, table: str, org: int, limit: int, before: int | None, value: Callable[[rows.Row], T]
) -> Found[T]:
    sql = f"SELECT number, doc FROM {table} WHERE org = ? AND number < ? ORDER BY number DESC LIMIT ?"
    found = db.execute(sql, (org, _MAX_NUMBER if before is None else before, limit))
    return rows.up_to_a_page(found, value)
