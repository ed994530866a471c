"""What the events of a long run tell of usage is worked out once, and anew when more was spent."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.projections.test_computed_costs import tell
from tests.projections.test_span_figures import asked_for, spans_of
from tests.projections.test_told_totals import CALLS, PRICES, call
from tests.support.rig import Rig, open_rig
from towerlog.engine.queries import figures
from towerlog.engine.timers.forwarding import spans
from towerlog.model.event import EventType


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    """A run of nine events."""
    async with open_rig(tmp_path, prices=PRICES) as made:
        for telling in [*CALLS, *CALLS, *CALLS, *CALLS]:
            await tell(made, **telling)
        await tell(made, "a", kind=EventType.RUN_COMPLETED)
        yield made


@pytest.fixture
def read(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """After which events those of a run were read."""
    found: list[int] = []
    events = rig.store.events

    async def counted(org: int, run: int, after_seq: int, *more: Any) -> Any:
        found.append(after_seq)
        return await events(org, run, after_seq, *more)

    monkeypatch.setattr(rig.store, "events", counted)
    return found


async def run_id_of(rig: Rig) -> str:
    [row] = (await rig.store.rows(rig.org)).runs
    return row.run_id


async def test_a_run_that_is_told_in_parts_is_worked_out_once(rig: Rig, read: list[int]) -> None:
    bodies = await asked_for(rig, await run_id_of(rig), 2)
    assert len(bodies) == 5
    assert sorted(read) == [0, 0, 2, 4, 6, 8], "each part, and all of it once"
    await asked_for(rig, await run_id_of(rig), 2)
    assert read.count(0) == 3


async def test_what_was_spent_since_is_in_it(rig: Rig, read: list[int]) -> None:
    run_id = await run_id_of(rig)
    await asked_for(rig, run_id, 2)
    await tell(rig, "a", kind=EventType.STEP)
    await asked_for(rig, run_id, 2)
    assert read.count(0) == 3, "a step spends nothing"
    await tell(rig, **call("big", 1, 0, 0, 1))
    await asked_for(rig, run_id, 2)
    assert read.count(0) == 5


async def test_of_many_runs_the_ones_asked_for_last_are_kept(
    rig: Rig, read: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "MAX_KEPT_BYTES", 1)
    await asked_for(rig, await run_id_of(rig), 2)
    assert read.count(0) == 6


@pytest.mark.parametrize(("held_bytes", "times"), [(10**6, [0, 3, 6, 9]), (3500, [0, 3, 3, 6, 6, 9, 9])])
async def test_a_run_that_is_forwarded_is_read_once_as_far_as_it_is_held(
    rig: Rig, read: list[int], monkeypatch: pytest.MonkeyPatch, held_bytes: int, times: list[int]
) -> None:
    """The same spans go out whatever is held."""
    run_id, until = await run_id_of(rig), (await rig.log())[-1].position
    whole = await spans_of(rig, run_id, 0, until)
    read.clear()
    monkeypatch.setattr(spans, "PAGE_EVENTS", 3)
    monkeypatch.setattr(spans, "MAX_HELD_BYTES", held_bytes)
    assert await spans_of(rig, run_id, 0, until) == whole
    assert sorted(read) == times
