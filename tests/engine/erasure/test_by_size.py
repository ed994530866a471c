"""Policies by size: how much is held, and who goes first."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.engine.erasure.erasure import cancelled_all
from tests.engine.erasure.test_retention import DAY_MS, told, types
from tests.engine.ingest.test_content import state
from tests.support.backends import FRESH
from tests.support.rig import Rig, open_rig
from tests.support.samples import slow
from tests.support.stories import play, stories
from towerlog.engine.erasure.content_size import HeldNow
from towerlog.engine.timers.retention import ON_ITS_WAY_MS, OVER_MS
from towerlog.model.command import Append, KillRun
from towerlog.model.event import EventType
from towerlog.model.facts import Erases
from towerlog.model.outcome import Stored
from towerlog.model.retention import ClearRetention, EraseRun, RunRetention, SetRetention

KINDS = list(Erases)


@pytest.fixture(params=sorted(FRESH))
async def rig(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Rig]:
    async with open_rig(tmp_path, backend=FRESH[request.param](tmp_path)) as opened:
        yield opened


async def figures(rig: Rig, org: int) -> list[int]:
    """What the engine takes to be held, of each kind."""
    return [await rig.engine.services.held.of(org, kind) for kind in KINDS]


async def counted_anew(rig: Rig, org: int) -> list[int]:
    """The same after a restart."""
    held = HeldNow(rig.store)
    return [await held.of(org, kind) for kind in KINDS]


async def scanned(rig: Rig, org: int) -> int:
    """What all events hold that may be erased; bodies are short enough to be stored as they are."""
    left = (EventType.ERASED, EventType.RUN_ERASED)
    return sum(len(one.data) + len(one.facts_json) for one in await rig.log(org) if one.type not in left)


@pytest.mark.parametrize("days", [-100, 100])
async def test_a_wrong_clock_changes_nothing_of_who_goes_first(rig: Rig, days: int) -> None:
    """The order is that of the log; a clock that is behind or ahead while some runs end makes none the oldest."""
    first = [await told(rig, f"first{number}", deltas=40) for number in range(3)]
    rig.clock.jump(days * DAY_MS)
    second = [await told(rig, f"second{number}", deltas=40) for number in range(3)]
    rig.clock.jump(-days * DAY_MS)
    third = [await told(rig, f"third{number}", deltas=40) for number in range(3)]
    held = await rig.engine.services.held.of(rig.org, Erases.EVENTS)
    await rig.do(SetRetention(Erases.EVENTS, None, held * 11 // 18))
    [due] = (await rig.do(RunRetention(dry_run=True))).due
    assert due.oldest_at == first[0].ended_at
    await rig.engine.services.retention.sweep()
    erased = ["erased" in await types(rig, row) for row in first + second + third]
    assert erased == [True] * 4 + [False] * 5


async def test_what_has_ended_by_a_clock_that_was_ahead_is_erased_all_the_same(rig: Rig) -> None:
    rows = [await told(rig, f"r{number}", deltas=40) for number in range(4)]
    await rig.do(SetRetention(Erases.EVENTS, None, 0))
    rig.clock.jump(-100 * DAY_MS)
    await rig.engine.services.retention.sweep()
    assert ["erased" in await types(rig, row) for row in rows] == [True] * 4


async def test_what_was_erased_by_hand_is_held_no_more(rig: Rig) -> None:
    """A policy that others have made room under erases nothing of what comes then."""
    size = (await figures(rig, rig.org))[-1]
    one = await told(rig, "r", deltas=40)
    size = (await figures(rig, rig.org))[-1] - size
    await rig.do(SetRetention(Erases.EVENTS, None, 3 * size))
    for number in range(6):
        await rig.do(EraseRun(one.run_id))
        one = await told(rig, f"r{number}", deltas=40)
    await rig.do(RunRetention(dry_run=False))
    await rig.engine.services.retention.sweep()
    assert "erased" not in await types(rig, one)


async def test_what_an_erasure_leaves_is_not_held(rig: Rig) -> None:
    """Else a policy would erase all, however little there is, once there were enough tombstones."""
    await rig.do(SetRetention(Erases.EVENTS, None, 0))
    for number in range(5):
        await told(rig, f"r{number}", deltas=40)
        await rig.do(RunRetention(dry_run=False))
        await rig.engine.services.retention.sweep()
    assert await counted_anew(rig, rig.org) == await figures(rig, rig.org) == [0, 0, 0]


async def test_what_was_erased_in_part_is_taken_off_once(rig: Rig) -> None:
    checkpoint = state(0, [b'"short"'])
    named = msgspec.structs.replace(checkpoint, facts=msgspec.structs.replace(checkpoint.facts, name="x" * 100))
    [stored] = await rig.append(named)
    assert isinstance(stored, Stored)
    await rig.do(KillRun(stored.run_id))
    await told(rig, "other", deltas=40)
    await rig.do(SetRetention(Erases.CHECKPOINTS, 60_000, None))
    rig.clock.advance(DAY_MS)
    before = await figures(rig, rig.org)
    await rig.engine.services.retention.sweep()
    await rig.do(EraseRun(stored.run_id))
    assert before > await figures(rig, rig.org) == await counted_anew(rig, rig.org)


async def test_content_that_is_swept_is_held_no_more(rig: Rig) -> None:
    """Of a history whose event never came."""
    [stored] = await rig.append(state(0, [b'"short"']))
    assert isinstance(stored, Stored)
    await rig.do(KillRun(stored.run_id))
    long = [b'{"n":%d}' % number for number in range(600)]
    await rig.engine.stored_first(rig.principal, Append("steps", [state(1, long)]))
    before = await figures(rig, rig.org)
    await rig.do(EraseRun(stored.run_id))
    await rig.engine.services.retention.sweep()
    rig.clock.advance(ON_ITS_WAY_MS)
    await rig.engine.services.retention.sweep()
    assert await figures(rig, rig.org) == await counted_anew(rig, rig.org) == [0, 0, 0] != before


@pytest.mark.parametrize(
    ("backend", "examples"), [("sqlite", 6), ("postgres", 2), *(slow(backend, 150) for backend in sorted(FRESH))]
)
def test_after_any_story_the_figure_is_that_of_a_restart_and_that_of_a_scan(
    tmp_path: Path, backend: str, examples: int
) -> None:
    """Of each kind; with erasures by hand and by policies in the midst of it, and questions in between."""
    names = map("org {}".format, itertools.count())

    with asyncio.Runner() as runner:

        @settings(max_examples=examples, phases=[Phase.explicit, Phase.generate])
        @given(st.lists(stories, min_size=2, max_size=4), st.integers(0, 2**32))
        def holds(told: list[list[tuple[str, Any]]], seed: int) -> None:
            runner.run(check_story(rig, next(names), told, seed))

        opened = open_rig(tmp_path, backend=FRESH[backend](tmp_path))
        rig = runner.run(opened.__aenter__())
        try:
            holds()
        finally:
            runner.run(opened.__aexit__(None, None, None))


async def check_story(rig: Rig, name: str, told: list[list[tuple[str, Any]]], seed: int) -> None:
    who, chosen = await rig.make_org(name), random.Random(seed)
    for story in told:
        await play(rig, story, who)
        if chosen.random() < 0.5:
            await figures(rig, who.org)
        await cancelled_all(rig, who)
        for row in (await rig.store.rows(who.org)).runs:
            if chosen.random() < 0.3:
                await rig.do(EraseRun(row.run_id), principal=who)
        if chosen.random() < 0.5:
            kind, size = chosen.choice(KINDS), chosen.randrange(3000)
            await rig.do(SetRetention(kind, None, size), principal=who)
            await rig.do(RunRetention(dry_run=False), principal=who)
            await rig.engine.services.retention.sweep()
            await rig.do(ClearRetention(kind), principal=who)
        if chosen.random() < 0.3:
            rig.clock.advance(max(OVER_MS, ON_ITS_WAY_MS))
            await rig.engine.services.retention.sweep()
    found = await figures(rig, who.org)
    assert found == await counted_anew(rig, who.org)
    assert found[-1] == await scanned(rig, who.org)
