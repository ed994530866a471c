"""Personas and routes in SQLite: found by an index, and damage to them is noticed."""

from __future__ import annotations

from collections.abc import Callable

import apsw
import pytest

from tests.store.plans import plans_of
from towerlog.model.persona import Persona, ProviderRoute
from towerlog.store.sqlite import personas as registry
from towerlog.store.sqlite.upkeep.verification import all_rows
from towerlog.store.sqlite.write import write_changes
from towerlog.store.values import Changes

BY_INDEX: dict[str, tuple[Callable[[apsw.Connection], object], str]] = {
    "persona": (lambda db: registry.persona(db, 1, "k", "1"), "persona_by_id (org=? AND persona_key=? AND version=?)"),
    "newest-persona": (lambda db: registry.persona(db, 1, "k", None), "persona_by_key (org=? AND persona_key=?)"),
    "route": (lambda db: registry.route(db, 1, "r"), "provider_route_by_id (org=? AND route_id=?)"),
    "personas": (lambda db: registry.personas(db, 1, 5, None), "persona_by_org (org=? AND number<?)"),
    "routes": (lambda db: registry.routes(db, 1, 5, 9), "provider_route_by_org (org=? AND number<?)"),
}


@pytest.mark.parametrize("name", BY_INDEX)
def test_a_question_goes_by_an_index_and_sorts_nothing(db: apsw.Connection, org: int, name: str) -> None:
    question, index = BY_INDEX[name]
    for sql, steps in plans_of(db, lambda: question(db)).items():
        assert index in steps[0], (sql, steps)
        assert len(steps) == 1, (sql, steps)


@pytest.mark.parametrize(
    ("table", "column"),
    [("persona", "persona_key"), ("persona", "version"), ("provider_route", "route_id"), ("provider_route", "doc")],
)
def test_a_check_notices_a_changed_column_and_a_rotten_row(
    db: apsw.Connection, org: int, table: str, column: str
) -> None:
    personas, routes = [Persona(1, "k", "1", "a", 5)], [ProviderRoute(1, "r", 1, "p", "m", 5)]
    write_changes(db, Changes(personas=personas, routes=routes))
    assert all_rows(db, 1).faults == []
    db.execute(f"UPDATE {table} SET {column} = 'x'")
    [fault] = all_rows(db, 1).faults
    assert fault.startswith(f"{table} ")
