"""Searches in PostgreSQL: without time they look at the newest runs and say so, and who goes on comes to the end."""

from __future__ import annotations

import pytest

from tests.store.postgres.conftest import Node
from tests.support.factories import identity, run_row
from towerlog.model.question import RunFilter
from towerlog.model.run_text import RunText
from towerlog.store.columns.questions.searches import FIRST_STRETCH
from towerlog.store.postgres.reading import runs as reading
from towerlog.store.values import Changes, RunChange

RUNS = 2500


async def test_who_goes_on_comes_to_the_end(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_SEARCH_MS", 0)
    store = await node()
    org = (await store.org_create(*identity(1, name="ours"))).org
    rows = [run_row(number, org=org) for number in range(1, RUNS + 1)]
    text = RunText(rows[0].run, org, talk="the needle", anew=True)
    async with store.begin() as unit:
        await unit.commit(Changes(runs={row.run: RunChange(None, row) for row in rows}, texts={text.run: text}))
    first = await store.runs(org, RunFilter(q="needle"), 10, None)
    assert (list(first), first.cut, first.searched_to) == ([], True, rows[-FIRST_STRETCH])
    found, before = [], None
    while True:
        page = await store.runs(org, RunFilter(q="needle"), 10, before)
        found += page
        if page.searched_to is None:
            break
        before = page.searched_to.run
    assert found == rows[:1]
    assert await store.runs(org, RunFilter(q="thread"), 3, None) == rows[:-4:-1]
