"""Events of PostgreSQL that are not what was written: told at their place, and their neighbours are served."""

from __future__ import annotations

import os

import pytest

from tests.support.backends import PostgresBackend
from tests.support.factories import event, run_changes, run_row
from tests.support.postgres import cluster
from towerlog.model.event import DamagedEvent, Logged
from towerlog.store.postgres.store import PostgresStore
from towerlog.store.values import PAGE_BODY_BYTES

COUNT = 6


async def fill(store: PostgresStore, org: int) -> int:
    row = run_row(org=org, last_seq=COUNT, last_position=COUNT)
    async with store.begin() as unit:
        await unit.commit(run_changes(row, [event(n, n, org=org, agent=5) for n in range(1, COUNT + 1)]))
    return row.run


def spoil(backend: PostgresBackend, sql: str) -> None:
    cluster().sql(sql, backend.location.partition("@/")[2].partition("?")[0])


def told(found: list[Logged]) -> list[int | tuple[int, int, str]]:
    """The seqs that are served; of what is damaged where it begins and ends, and how its reason begins."""
    return [
        (one.first_seq, one.seq, one.reason.split(":")[0]) if isinstance(one, DamagedEvent) else one.seq
        for one in found
    ]


SPOILT: dict[str, tuple[str, list[int | tuple[int, int, str]]]] = {
    "a body is gone": ("DELETE FROM event WHERE position = 3", [1, 2, (3, 3, "cannot be read"), 4, 5, 6]),
    "a body was changed": (
        "UPDATE event SET data = '{}' WHERE position = 3",
        [1, 2, (3, 3, "its hash does not fit"), 4, 5, 6],
    ),
    "a place is gone": (
        "DELETE FROM place WHERE position = 3",
        [1, 2, (3, 3, "not there"), (4, 4, "the event before it is not there, so that it cannot be checked"), 5, 6],
    ),
    "the first are gone": (
        "DELETE FROM place WHERE position < 3",
        [(1, 2, "not there"), (3, 3, "the event before it is not there, so that it cannot be checked"), 4, 5, 6],
    ),
    "the last are gone": ("DELETE FROM place WHERE position > 4", [1, 2, 3, 4, (5, 6, "not there")]),
    "all are gone": ("DELETE FROM place", [(1, 6, "not there")]),
}


@pytest.mark.parametrize("name", SPOILT)
async def test_what_is_damaged_stands_in_its_place(
    backend: PostgresBackend, store: PostgresStore, org: int, name: str
) -> None:
    run = await fill(store, org)
    sql, expected = SPOILT[name]
    spoil(backend, sql)
    assert told(await store.events(org, run, 0, 100, known_last=COUNT)) == expected
    assert store.damages.found == sum(isinstance(one, tuple) for one in expected)
    page = await store.events(org, run, 0, 2, known_last=COUNT)
    assert told(page) == expected[:2]


async def test_what_was_trimmed_is_no_damage(store: PostgresStore, org: int) -> None:
    run = await fill(store, org)
    await store.run_trim(org, run, 4)
    assert told(await store.events(org, run, 0, 100, known_last=COUNT)) == [4, 5, 6]
    assert told(await store.events(org, run, 2, 100, known_last=COUNT)) == [4, 5, 6]
    assert store.damages.found == 0


async def test_an_event_without_a_place_is_told_by_verify(
    backend: PostgresBackend, store: PostgresStore, org: int
) -> None:
    await fill(store, org)
    spoil(backend, "DELETE FROM place WHERE position = 3")
    assert "position 3: an event without a place" in (await store.rows(org)).faults


async def test_a_page_is_read_no_further_than_it_goes(store: PostgresStore, org: int) -> None:
    """However many events were asked for: what does not compress fills it as it is stored."""
    row = run_row(org=org, last_seq=9, last_position=9)
    bodies = [b'{"x":"%b"}' % os.urandom(PAGE_BODY_BYTES // 8).hex().encode() for _ in range(9)]
    async with store.begin() as unit:
        await unit.commit(run_changes(row, [event(n, n, org=org, data=body) for n, body in enumerate(bodies, 1)]))
    page = await store.events(org, row.run, 0, 1000, known_last=9)
    assert page.cut
    assert 3 <= len(page) <= 5
    rest = await store.events(org, row.run, page[-1].seq, 1000, known_last=9)
    assert [one.seq for one in (*page, *rest)][:8] == list(range(1, 9))
    log = await store.log(org, 0, 1000)
    assert log.cut
    assert len(log) == len(page)
