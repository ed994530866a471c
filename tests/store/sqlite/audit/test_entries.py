"""The audit in SQLite: chained as it is written, whoever writes; pages are found by an index and are bounded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

from tests.store.plans import plans_of
from tests.support.tables import table
from towerlog.model.audit import Action, Actor, ActorType, AuditEntry, AuditFilter, AuditRow, chain_link, make_entry
from towerlog.store.sqlite.audit import entries
from towerlog.store.sqlite.connections.connection import open_connection
from towerlog.store.sqlite.write import write_changes
from towerlog.store.values import AuditHead, Changes

ALL = AuditFilter()


def entry(org: int, number: int, at: int = 0, **actor: Any) -> AuditEntry:
    who = Actor(ActorType.KEY, **{"user_id": "u", "user_name": "ada", "key_id": "k", "key_name": "desk", **actor})
    action = Action.KEY_CREATE if number % 2 else Action.KEY_REVOKE
    return make_entry(org, at or number, who, action, ("key", f"k{number % 3}"), None, {"name": str(number)})


def put(db: apsw.Connection, *made: AuditEntry) -> None:
    write_changes(db, Changes(audit=list(made)))


def names(found: tuple[list[AuditRow], int | None]) -> tuple[list[int], int | None]:
    rows, following = found
    return [row.number for row in rows], following


def walked(db: apsw.Connection, org: int, wanted: AuditFilter, limit: int) -> list[int]:
    """All pages to the end."""
    numbers: list[int] = []
    before: int | None = None
    for _ in range(1000):
        found, before = names(entries.page(db, org, wanted, limit, before))
        assert len(found) <= limit
        numbers += found
        if before is None:
            return numbers
    raise AssertionError("the pages do not end")


def test_numbers_are_dense_and_each_hash_covers_the_one_before(db: apsw.Connection, org: int, other: int) -> None:
    put(db, entry(org, 1), entry(other, 2), entry(org, 3))
    put(db, entry(org, 4))
    chain = entries.chain(db, org, 0, 10)
    assert [one.number for one in chain] == [1, 2, 3, 4]
    previous = b""
    for one in chain:
        assert chain_link(previous, org, one.number, one.doc) == one.hash
        previous = one.hash
    assert entries.head(db, org) == AuditHead(4, previous)
    assert entries.head(db, other).number == 2
    assert entries.head(db, 99) == AuditHead(0, b"")


def test_two_writers_go_on_in_one_chain(db: apsw.Connection, org: int, path: Path) -> None:
    """A command writes beside the server, which keeps no head of its own."""
    beside = open_connection(path)
    for number in range(6):
        put(db if number % 2 else beside, entry(org, number + 1))
    beside.close()
    previous = b""
    for one in entries.chain(db, org, 0, 10):
        assert chain_link(previous, org, one.number, one.doc) == one.hash
        previous = one.hash
    assert entries.head(db, org).number == 7


def test_pages_are_newest_first_and_end(db: apsw.Connection, org: int, other: int) -> None:
    put(db, *(entry(org, number) for number in range(2, 9)), entry(other, 1))
    assert names(entries.page(db, org, ALL, 3, None)) == ([8, 7, 6], 6)
    assert names(entries.page(db, org, ALL, 3, 6)) == ([5, 4, 3], 3)
    assert names(entries.page(db, org, ALL, 3, 3)) == ([2, 1], None)
    assert names(entries.page(db, org, ALL, 8, None)) == ([8, 7, 6, 5, 4, 3, 2, 1], None)
    assert names(entries.page(db, org, ALL, 3, 1)) == ([], None)
    assert names(entries.page(db, org, ALL, 3, 10**6)) == ([8, 7, 6], 6)
    assert [row.entry.org for row in entries.page(db, other, ALL, 5, None)[0]] == [other, other]


@table("looked_at", [1, 2, 5, 100])
@table("limit", [1, 2, 50])
@table(
    "wanted, fits",
    [
        (ALL, lambda number: True),
        (AuditFilter(action="key.revoke"), lambda number: number % 2 == 0),
        (AuditFilter(object_id="k1"), lambda number: number % 3 == 1),
        (AuditFilter(object_id="k1", action="key.create"), lambda number: number % 6 == 1),
        (AuditFilter(since=7), lambda number: number >= 7),
        (AuditFilter(since=99), lambda number: False),
        (AuditFilter(since=3, actor="ada", action="key.create"), lambda number: number >= 3 and number % 2),
        (AuditFilter(actor="u"), lambda number: True),
        (AuditFilter(actor="k"), lambda number: True),
        (AuditFilter(actor="desk"), lambda number: True),
        (AuditFilter(actor="key"), lambda number: False),
    ],
)
def test_what_is_asked_for_is_found_however_little_a_page_looks_at(
    db: apsw.Connection,
    org: int,
    monkeypatch: pytest.MonkeyPatch,
    wanted: AuditFilter,
    fits: Callable[[int], bool],
    limit: int,
    looked_at: int,
) -> None:
    monkeypatch.setattr(entries, "MAX_LOOKED_AT", looked_at)
    db.execute("DELETE FROM audit_entry")
    db.execute("UPDATE org SET audited = 0, audit_hash = x''")
    put(db, *(entry(org, number) for number in range(1, 14)))
    assert walked(db, org, wanted, limit) == [number for number in range(13, 0, -1) if fits(number)]


def test_a_page_looks_at_so_many_and_then_says_where_to_go_on(
    db: apsw.Connection, org: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entries, "MAX_LOOKED_AT", 4)
    put(db, *(entry(org, number) for number in range(2, 12)))
    assert names(entries.page(db, org, AuditFilter(actor="nobody"), 5, None)) == ([], 8)
    assert names(entries.page(db, org, AuditFilter(actor="nobody"), 5, 8)) == ([], 4)
    assert names(entries.page(db, org, AuditFilter(actor="nobody"), 5, 4)) == ([], None)


def test_a_clock_that_was_set_back_hides_nothing(db: apsw.Connection, org: int) -> None:
    """Entries are in the order in which they came; `since` goes by the time that each has."""
    first = 1 << 50
    times = [first + 10, first + 90, first + 20, first + 95, first + 30]
    put(db, *(entry(org, number, at) for number, at in enumerate(times, start=2)))
    assert walked(db, org, AuditFilter(since=first + 30), 2) == [6, 5, 3]
    assert walked(db, org, AuditFilter(since=first + 91), 2) == [5]


BY_INDEX: dict[str, tuple[AuditFilter, str]] = {
    "all": (ALL, "INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
    "actor": (AuditFilter(actor="a"), "INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
    "action": (AuditFilter(action="a"), "INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
    "object": (AuditFilter(object_id="a"), "audit_by_object (org=? AND object_id=? AND rowid>? AND rowid<?)"),
    "all of it": (AuditFilter("a", "b", "c", 1), "audit_by_object (org=? AND object_id=? AND rowid>? AND rowid<?)"),
}


@pytest.mark.parametrize("name", BY_INDEX)
def test_a_page_goes_by_an_index_and_sorts_nothing(db: apsw.Connection, org: int, name: str) -> None:
    put(db, *(entry(org, number) for number in range(2, 9)))
    wanted, index = BY_INDEX[name]
    plans = plans_of(db, lambda: entries.page(db, org, wanted, 3, 7))
    steps = [step for found in plans.values() for step in found]
    assert any(index in step for step in steps), plans
    assert not any("TEMP B-TREE" in step or "SCAN" in step for step in steps), plans
