"""Spans of traces that are known: what the writer remembers of them is enough, and the store is not asked."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from tests.engine.ingest.test_spans import agent, chat, send
from tests.support.factories import draft
from tests.support.otlp import span
from tests.support.rig import Rig
from towerlog.engine.ingest.spans import MAX_TRACE_RUNS
from towerlog.engine.load import rows
from towerlog.engine.plan.run_state import RunState
from towerlog.engine.verify import verify_org
from towerlog.model import command as c
from towerlog.model.event import RunByForeignId
from towerlog.store.values import Kind

TRACE = f"otlp:{1:032x}"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Counter[Kind]:
    """How many keys of each kind the store was asked for."""
    found: Counter[Kind] = Counter()
    fetch = rows.fetch

    async def noted(unit: Any, known: Any, serving_ms: int, wanted: dict[Kind, Any]) -> None:
        found.update({kind: len(list(keys)) for kind, keys in wanted.items()})
        await fetch(unit, known, serving_ms, wanted)

    monkeypatch.setattr(rows, "fetch", noted)
    return found


async def test_the_runs_of_a_trace_are_asked_for_once(rig: Rig, asked: Counter[Kind]) -> None:
    """Also those that begin later, and what stands under a parent that has come is foreseen."""
    who = rig.principal
    await send(rig, who, span(4, 1, name="step"))
    assert asked[Kind.TRACE_RUNS] == 1
    await send(rig, who, agent(1, 0, "lead"), agent(2, 1, "scout"))
    await send(rig, who, span(5, 2, name="step"), chat(3, 2, 100))
    await send(rig, who, span(6, 5, name="step"), span(7, 1, name="step"))
    assert asked[Kind.TRACE_RUNS] == 1
    assert rig.engine.figures()["reloads"] == 0
    found = {row.foreign_id: row.last_seq for row in (await rig.store.rows(who.org)).runs}
    assert found == {TRACE: 4, f"{TRACE}:{2:016x}": 5}


async def test_a_run_that_begins_in_another_way_is_one_of_its_trace(rig: Rig, asked: Counter[Kind]) -> None:
    """The writer knew of a trace without it. A span of this name belongs to it from then on."""
    who = rig.principal
    await send(rig, who, span(4, 1, name="step"))
    ref = RunByForeignId(f"{TRACE}:{9:016x}", "thread")
    await rig.do(c.Append("native", [draft(run=ref, event_id=f"{8:016x}")]), principal=who)
    await send(rig, who, span(5, 9, name="step"))
    assert asked[Kind.TRACE_RUNS] == 1
    found = {row.foreign_id: row.last_seq for row in (await rig.store.rows(who.org)).runs}
    assert found == {TRACE: 1, f"{TRACE}:{9:016x}": 2}
    assert await verify_org(rig.store, who.org) == 0


@pytest.mark.parametrize("requests", [1, 5])
async def test_each_root_of_a_long_trace_has_a_run_of_its_own(rig: Rig, requests: int) -> None:
    """Also where the trace has more runs than are looked through, and what is sent again adds nothing."""
    roots = [agent(number + 1, 0, "lead") for number in range(2 * MAX_TRACE_RUNS)]
    size = len(roots) // requests + 1
    for _ in range(2):
        for at in range(0, len(roots), size):
            await send(rig, rig.principal, *roots[at : at + size])
    found = (await rig.store.rows(rig.org)).runs
    assert {row.foreign_id for row in found} == {TRACE, *(f"{TRACE}:{n + 1:016x}" for n in range(1, len(roots)))}
    assert len({row.last_seq for row in found}) == 1
    complaints: list[str] = []
    assert await verify_org(rig.store, rig.org, complaints.append) == 0, complaints


async def test_many_roots_cost_no_more_each_than_a_few(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []
    is_new_id, may_have = rows.Known.is_new_id, RunState.may_have

    def is_new(self: rows.Known, run: int, event_id: str) -> bool:
        looked.append(run)
        return is_new_id(self, run, event_id)

    def may(self: RunState, event_id: str) -> bool:
        looked.append(self.row.run)
        return may_have(self, event_id)

    monkeypatch.setattr(rows.Known, "is_new_id", is_new)
    monkeypatch.setattr(RunState, "may_have", may)
    each = []
    for trace, count in enumerate((100, 800), 1):
        looked.clear()
        await send(rig, rig.principal, *[span(number + 1, trace=trace, name="root") for number in range(count)])
        each.append(len(looked) / count)
    assert each[1] < 3 * each[0], each
