"""The law of erasure, for random stories: what is left is a log that verifies, the same figures, and no words."""

from __future__ import annotations

import asyncio
import itertools
import random
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.engine.erasure.erasure import cancelled_all, figures, keep, marked, marks_in_files
from tests.support.prices import FixedPrices, card
from tests.support.rig import Rig, open_rig
from tests.support.stories import play, stories
from towerlog.engine.verify import rebuild_org, verify_org
from towerlog.model.alert import AlertConfig, AlertScope, AlertTrigger, CreateRule
from towerlog.model.alert_channel import AlertChannel, ChannelType
from towerlog.model.event import EventType
from towerlog.model.retention import EraseRun, EraseThread


@pytest.mark.parametrize("examples", [5, pytest.param(200, marks=pytest.mark.slow)])
def test_an_erasure_leaves_a_log_that_verifies_the_same_figures_and_no_words(tmp_path: Path, examples: int) -> None:
    """Whatever was sent in whatever order; and a rebuild gives the same rows."""
    names = map("org {}".format, itertools.count())

    with asyncio.Runner() as runner:

        @settings(max_examples=examples, phases=[Phase.explicit, Phase.generate])
        @given(stories, st.integers(0, 2**32))
        def holds(story: list[tuple[str, Any]], seed: int) -> None:
            runner.run(check_story(rig, next(names), story, seed))

        opened = open_rig(tmp_path, prices=FixedPrices({"m1": card(3, 1, 4, 7, 9)}))
        rig = runner.run(opened.__aenter__())
        try:
            holds()
        finally:
            runner.run(opened.__aexit__(None, None, None))


async def check_story(rig: Rig, name: str, story: list[tuple[str, Any]], seed: int) -> None:
    """Plays it with a word of its own in every text, erases some runs, and looks for the word in all files."""
    who, chosen = await rig.make_org(name), random.Random(seed)
    word = f"word{seed:x}{name.replace(' ', '')}z"
    # What alerts tell of a run is told of it as well.
    hook = AlertChannel(ChannelType.WEBHOOK, "https://hooks.example.com/")
    rule = CreateRule("any", AlertTrigger.ERROR, AlertScope(), AlertConfig(), (hook,))
    await rig.do(rule, principal=who)
    await play(rig, marked(story, word), who)
    await cancelled_all(rig, who)
    before = await figures(rig, who)
    rows = (await rig.store.rows(who.org)).runs
    some = [row for row in rows if chosen.random() < 0.6]
    for row in some:
        await rig.do(EraseRun(row.run_id), principal=who)
    complaints: list[str] = []
    assert await verify_org(rig.store, who.org, complaints.append) == 0, complaints
    assert await figures(rig, who) == before
    for row in some:
        events = await rig.store.events(who.org, row.run, 0, 1000)
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        left = [event for event in events if event.type not in (EventType.ERASED, EventType.RUN_ERASED)]
        assert left == []
        assert all(word.encode() not in msgspec.json.encode(event) for event in events)
    for row in rows:
        await rig.do(EraseThread(row.thread_id), principal=who)
    assert await verify_org(rig.store, who.org, complaints.append) == 0, complaints
    assert await figures(rig, who) == before
    await keep(rig)
    assert marks_in_files(rig.store.path, word) == []
    again = (await rig.store.rows(who.org)).runs
    await rebuild_org(rig.store, who.org)
    assert (await rig.store.rows(who.org)).runs == again
    assert await verify_org(rig.store, who.org, complaints.append) == 0, complaints
