"""What an organisation's owners have set up is listed page by page: nothing twice, nothing left out, and an end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from tests.support.rig import Rig
from towerlog.model import command as c
from towerlog.model import question as q
from towerlog.model.member import CreateMember, ListMembers, Role
from towerlog.model.persona import CreatePersona, CreateRoute, ListPersonas, ListRoutes
from towerlog.model.price import CreatePrice, ListPrices, Rates


class Listed(NamedTuple):
    """One kind of row."""

    make: Callable[[int], Any]
    """The command that makes the nth."""
    ask: Callable[[int, Any], Any]
    """The question for so many before a cursor."""
    name: Callable[[Any], str]
    """What tells one row from another."""


KINDS = {
    "keys": Listed(lambda n: c.CreateKey(str(n), ()), q.ListKeys, lambda row: row.name),
    "members": Listed(lambda n: CreateMember(f"m{n}", Role.VIEWER), ListMembers, lambda row: row.name),
    "personas": Listed(
        lambda n: CreatePersona("writer", str(n), "writer"),
        lambda limit, before: ListPersonas(limit, before and int(before)),
        lambda row: row.version,
    ),
    "routes": Listed(
        lambda n: CreateRoute(f"r{n}", "p", "m"),
        lambda limit, before: ListRoutes(limit, before and int(before)),
        lambda row: row.route_id,
    ),
    "prices": Listed(
        lambda n: CreatePrice(f"model-{n}", Rates(1)),
        lambda limit, before: ListPrices(limit, before and int(before)),
        lambda row: row.row.model,
    ),
}


@pytest.mark.parametrize(("rows", "limit"), [(2, 2), (4, 2), (3, 3), (3, 2)])
@pytest.mark.parametrize("kind", KINDS)
async def test_pages_come_to_an_end_that_says_so(rig: Rig, kind: str, rows: int, limit: int) -> None:
    make, ask, name = KINDS[kind]
    there = [name(row) for row in (await rig.do(ask(100, None))).rows]
    for number in range(rows - len(there)):
        await rig.do(make(number))
    every = [name(row) for row in (await rig.do(ask(100, None))).rows]
    before, seen, pages = None, [], 0
    while pages == 0 or before is not None:
        page = await rig.do(ask(limit, before))
        seen += [name(row) for row in page.rows]
        before, pages = page.next, pages + 1
    assert len(every) == rows
    assert (seen, pages) == (every, -(-rows // limit))
