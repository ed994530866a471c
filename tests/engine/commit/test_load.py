"""Prefetching: a few questions for a whole group, and the same answers as without it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.factories import draft, traced
from tests.support.rig import Rig
from towerlog.engine.audit import verify_org
from towerlog.engine.commit import writer
from towerlog.engine.commit.cache import Cache
from towerlog.engine.commit.load import prefetch
from towerlog.engine.commit.plan import Plan
from towerlog.model.event import Draft, OpenRun, RunByForeignId, RunById


def drafts() -> list[Draft]:
    """Known and unknown runs and agents, by every kind of reference, with and without ids."""
    return [
        draft(run=traced("x", "t"), agent="a", event_id="1"),
        draft(run=traced("x", "t"), agent="a", event_id="2"),
        draft(run=traced("new", "t"), agent="b", event_id="1"),
        draft(run=traced("new", "t"), agent="b"),
        draft(run=RunByForeignId("steps:f", "u"), agent="a"),
        draft(run=RunByForeignId("steps:g", "u"), event_id="3"),
        draft(run=OpenRun("t")),
        draft(run=RunById("nothing")),
    ]


async def test_a_group_costs_a_few_questions(rig: Rig) -> None:
    await rig.append(draft(run=traced("x", "t"), agent="a", event_id="1"), draft(run=RunByForeignId("steps:f", "u")))
    asked: list[str] = []

    class Counted:
        def __init__(self, unit: Any) -> None:
            self._unit = unit

        def __getattr__(self, name: str) -> Any:
            asked.append(name)
            return getattr(self._unit, name)

    async with rig.store.begin() as unit:
        plan = Plan(Counted(unit), Cache(), rig.clock, rig.ids)
        await prefetch(plan, [(rig.org, item) for item in drafts() * 20])
        assert asked == ["runs_by_ref", "agents_by_name", "events_by_id"]
        known = plan.run_cached(rig.org, traced("x", "t"))
        assert known is not None
        assert plan.run_cached(rig.org, RunByForeignId("steps:f", "elsewhere")) is not None
        assert await plan.run(rig.org, traced("new", "t")) is None
        assert (await plan.agent(rig.org, "a")).name == "a"
        assert await plan.event_by_id(known.run, "1") is not None
        assert await plan.event_by_id(known.run, "2") is None
        assert asked == ["runs_by_ref", "agents_by_name", "events_by_id"], "asked for what was fetched"


async def test_nothing_is_asked_for_what_is_cached(rig: Rig) -> None:
    await rig.append(*drafts())
    cache = rig.engine._writer._cache
    async with rig.store.begin():
        plan = Plan(None, cache, rig.clock, rig.ids)  # type: ignore[arg-type]
        await prefetch(plan, [(rig.org, draft(run=traced("x", "t"), agent="a"))])


@pytest.mark.parametrize("forget", [False, True])
async def test_without_it_the_same_is_stored(rig: Rig, monkeypatch: pytest.MonkeyPatch, forget: bool) -> None:
    async def nothing(*_: object) -> None:
        """No prefetch."""

    async def places(who: Any) -> list[Any]:
        results = []
        for _ in range(3):
            if forget:
                rig.engine.forget()
            done = await rig.do(writer.Append("steps", list(drafts())), principal=who)
            results += [
                (type(one).__name__, getattr(one, "seq", 0), getattr(one, "duplicate", None)) for one in done.results
            ]
        assert await verify_org(rig.store, who.org) == 0
        return results

    expected = await places(rig.principal)
    monkeypatch.setattr(writer, "prefetch", nothing)
    assert await places(await rig.make_org("other")) == expected
