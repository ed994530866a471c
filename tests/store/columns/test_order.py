"""A page that does not end behind its place is refused, whichever store it comes from."""

from __future__ import annotations

from collections.abc import Iterator
from inspect import signature
from types import SimpleNamespace
from typing import Any

import pytest

from towerlog.store.base import Store, Unit
from towerlog.store.base.store import NodeStore
from towerlog.store.columns.order import PAGED, OutOfOrder, advanced, awaited_in_order, falling, in_order
from towerlog.store.postgres.store import PostgresStore
from towerlog.store.sqlite.store import SqliteStore, SqliteUnit

PLACES = ("after", "after_seq", "before")
NO_KEY = {
    "members": "the place is the id of a member",
    "sign_in_links": "the place is the id of a link",
    "sessions": "the place is the id of a session",
    "keys": "the place is the id of a key",
    "threads": "the place is the id of a thread",
    "held_bytes": "no rows, but how far was counted: who counts ends where that does not rise",
    "content_bytes": "the same of three tables",
    "runs_touched": "between two positions, in one answer",
    "sweep_content": "the place is in what it gives, which who sweeps looks at",
}


def paged_questions() -> Iterator[str]:
    for protocol in (Store, Unit, NodeStore):
        for name in dir(protocol):
            method = getattr(protocol, name)
            if callable(method) and not name.startswith("_") and set(signature(method).parameters) & set(PLACES):
                yield name


def test_no_paged_question_is_left_out() -> None:
    assert set(paged_questions()) - NO_KEY.keys() <= PAGED.keys()
    assert not NO_KEY.keys() & PAGED.keys()


@pytest.mark.parametrize("name", sorted(PAGED.keys() - {"logged"}))
def test_the_stores_ask_so(name: str) -> None:
    sqlite = next(getattr(one, name) for one in (SqliteStore, SqliteUnit) if hasattr(one, name))
    assert sqlite.function.__wrapped__ is not None
    postgres = getattr(PostgresStore, name, None)
    if postgres is not None:
        assert postgres.function.__wrapped__ is not None


@pytest.mark.parametrize(("found", "after", "falls"), [(3, 3, False), (2, 3, False), (3, 3, True), (4, 3, True)])
def test_what_is_not_beyond_is_refused(found: int, after: int, falls: bool) -> None:
    with pytest.raises(OutOfOrder, match=f"the table event is out of order: .* key {after} comes {found}"):
        advanced("event", after, found, falls=falls)


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(OutOfOrder):
        advanced("agent", "name", 7)


def test_the_first_page_may_begin_anywhere() -> None:
    assert advanced("event", None, -1) == -1


def test_rows_by_an_id_fall_one_below_the_other() -> None:
    assert list(falling("api_key", 9, [("a", 8), ("b", 5)])) == [("a",), ("b",)]
    with pytest.raises(OutOfOrder, match="the table api_key is out of order: below key 5 comes 8"):
        list(falling("api_key", None, [("b", 5), ("a", 8)]))
    with pytest.raises(OutOfOrder):
        list(falling("api_key", 8, [("a", 8)]))


def log(db: object, org: int, after: int, limit: int) -> list[Any]:
    return [SimpleNamespace(position=number) for number in (8, 5)]


async def test_a_page_is_looked_at_by_its_end_however_its_place_is_given() -> None:
    async def awaited(db: object, org: int, after: int, limit: int) -> list[Any]:
        return log(db, org, after, limit)

    assert in_order("log", log)(None, 1, 4, 2)
    with pytest.raises(OutOfOrder):
        in_order("log", log)(None, 1, 5, 2)
    with pytest.raises(OutOfOrder):
        in_order("log", log)(None, 1, after=6, limit=2)
    assert await awaited_in_order("log", awaited)(None, 1, 4, 2)
    with pytest.raises(OutOfOrder):
        await awaited_in_order("log", awaited)(None, 1, 6, 2)
    assert in_order("lane", log) is log
