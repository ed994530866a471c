"""How SQLite will find what it is asked for: the plan of every statement that a question runs."""

from __future__ import annotations

from collections.abc import Callable

import apsw


def plans_of(db: apsw.Connection, question: Callable[[], object]) -> dict[str, list[str]]:
    """Each statement that the question runs, with the steps of its plan in SQLite's words."""
    asked: dict[str, tuple[object, ...]] = {}

    def note(_: object, sql: str, bindings: tuple[object, ...] | None) -> bool:
        if sql.split(maxsplit=1)[0] not in ("BEGIN", "COMMIT", "ROLLBACK"):
            asked.setdefault(sql, bindings or ())
        return True

    db.exec_trace = note
    try:
        question()
    finally:
        db.exec_trace = None
    assert asked, "the question asked the database nothing"
    return {sql: steps(db, sql, bindings) for sql, bindings in asked.items()}


def steps(db: apsw.Connection, sql: str, bindings: tuple[object, ...]) -> list[str]:
    """The steps of one statement's plan."""
    return [str(row[3]) for row in db.execute(f"EXPLAIN QUERY PLAN {sql}", bindings)]
