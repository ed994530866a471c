"""A search through threads looks at a bounded number of them for each page, and every one of them once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.rig import open_rig
from towerlog.engine.queries import threads
from towerlog.model.command import CreateThread
from towerlog.model.question import ListThreads


async def test_a_page_of_a_search_ends_at_its_bound_and_the_next_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "ROWS_AT_ONCE", 2)
    monkeypatch.setattr(threads, "MAX_LOOKED_AT", 4)
    async with open_rig(tmp_path) as rig:
        for number in range(11):
            await rig.do(CreateThread(f"t{number}", "rare" if number in (0, 9) else None))
        found, before, asked = list[list[str]](), None, 0
        while asked == 0 or before is not None:
            page = await rig.do(ListThreads(5, before, "rare"))
            found.append([row.thread_id for row in page.rows])
            before, asked = page.next, asked + 1
        assert found == [["t9"], [], ["t0"]]
