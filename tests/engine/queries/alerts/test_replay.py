"""Over the same history a trial gives the firings that the live rule has given: random stories, and every trigger."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.engine.alerts.alerting import DOLLAR, MINUTE, calling, failure, make, spending, start
from tests.support.factories import draft, traced
from tests.support.fakes import START_MS, FakeClock, SeededIds
from tests.support.rig import Rig, open_rig
from towerlog.errors import TowerlogError
from towerlog.model.alert import AlertConfig, AlertScope, AlertTrigger, CreateRule, GetRule
from towerlog.model.alert_preview import PreviewRule
from towerlog.model.budget import BudgetAction, BudgetScope, CreateBudget, Period
from towerlog.model.command import Claim, CreateRun, GiveInput
from towerlog.model.event import EventType
from towerlog.model.facts import Effects, Facts
from towerlog.model.question import RunFilter
from towerlog.model.run import Status

TICK = MINUTE // 2
"""The timer looks once a tick, and all that happens in a tick happens before that."""
TICKS, BEFORE = 60, 15
AGENTS = ("writer", "reader")
RULES: dict[AlertTrigger, AlertConfig] = {
    AlertTrigger.ERROR: AlertConfig(),
    AlertTrigger.LOST: AlertConfig(),
    AlertTrigger.COST_THRESHOLD: AlertConfig(amount_nanos=DOLLAR),
    AlertTrigger.LOOP: AlertConfig(times=3),
    AlertTrigger.WAITING_TOO_LONG: AlertConfig(wait_ms=2 * MINUTE),
    AlertTrigger.STALLED: AlertConfig(wait_ms=3 * MINUTE),
    AlertTrigger.QUEUE_WAIT: AlertConfig(wait_ms=2 * MINUTE),
    AlertTrigger.UNSERVED: AlertConfig(wait_ms=2 * MINUTE),
    AlertTrigger.FAILURE_RATE: AlertConfig(fraction=0.5, times=2, window_ms=5 * MINUTE),
    AlertTrigger.BURN_RATE: AlertConfig(amount_nanos=2 * DOLLAR, window_ms=4 * MINUTE),
    AlertTrigger.BUDGET: AlertConfig(fraction=0.5),
}


class Story:
    """What happens in the ticks of one seed."""

    def __init__(self, rig: Rig, seed: int, *, wanders: bool = False) -> None:
        """`wanders`: runs tell late where they stand."""
        self.rig = rig
        self.wanders = wanders
        self.chance = random.Random(seed)
        self.made = 0
        self.root = ""
        """The run at the top of the tree that a rule is about."""

    async def tick(self) -> None:
        """Some things that happen; then the timer looks."""
        self.rig.clock.advance(TICK)
        for _ in range(self.chance.randrange(4)):
            try:
                await self._act()
            except TowerlogError:  # a run that is over takes nothing
                continue
        await self.rig.engine.sweep()

    async def _act(self) -> None:
        chance, rig = self.chance, self.rig
        if self.wanders and chance.random() < 0.3:
            await self._stand_elsewhere()
            return
        agent, act = chance.choice(AGENTS), chance.randrange(10)
        trace = f"{agent}{chance.randrange(max(0, self.made - 4), self.made + 1)}"
        if act == 0:
            self.made += 1
            await rig.append(start(f"{agent}{self.made}", agent))
        elif act == 1:
            await rig.append(failure(trace, agent))
        elif act == 2:
            await rig.append(draft(EventType.RUN_LOST, traced(trace), agent=agent))
        elif act in (3, 4):
            await rig.append(spending(trace, chance.choice((DOLLAR // 4, DOLLAR // 2, DOLLAR)), agent))
        elif act in (5, 6):
            await rig.append(calling(trace, chance.choice("ab"), 1, agent))
        elif act == 7:
            await rig.append(draft(EventType.RUN_WAITING, traced(trace), facts=Facts(question="which?"), agent=agent))
        elif act == 8:
            self.made += 1
            await rig.do(CreateRun(f"queue{self.made}", agent=agent))
        else:
            await self._answer_or_claim(agent)

    async def _stand_elsewhere(self) -> None:
        """Some run tells its label, its thread or its parent, which may come later; as a rule it has begun before."""
        chance = self.chance
        agent, number = chance.choice(AGENTS), chance.randrange(max(0, self.made - 4), self.made + 2)
        told = chance.choice(
            (
                {"metadata": msgspec.Raw(b'{"team":"%s"}' % chance.choice((b"red", b"blue")))},
                {"thread_id": "main"},
                {"parent_key": f"trace:{chance.choice(AGENTS)}{number + chance.choice((-2, -1, 1))}"},
                {"parent_key": f"run:{self.root}"},
            )
        )
        facts = Facts(effects=Effects(is_start=True, **told))
        await self.rig.append(draft(EventType.RUN_STARTED, traced(f"{agent}{number}"), facts=facts, agent=agent))

    async def _answer_or_claim(self, agent: str) -> None:
        if self.chance.random() < 0.5:
            queued = await self.rig.store.runs(self.rig.org, RunFilter(statuses=(Status.QUEUED,), agent=agent), 9, None)
            if queued:
                await self.rig.do(Claim("w", 3600_000, agents=(agent,)))
            return
        waiting = await self.rig.store.runs(self.rig.org, RunFilter(statuses=(Status.WAITING,)), 9, None)
        if waiting:
            await self.rig.do(GiveInput(self.chance.choice(waiting).run_id, "this one"))


async def live_and_tried(
    folder: Path, trigger: AlertTrigger, seed: int, place: AlertScope | None = None
) -> tuple[list[Any], list[Any]]:
    """(when, about what) of the alerts of a rule, and how many were kept quiet; the same of its trial. `place`: runs
    tell late where they stand; with an empty run id it is that of a tree."""
    # From a whole minute on, in which windows are counted: what begins and ends between two looks is seen by neither.
    clock = FakeClock(START_MS // MINUTE * MINUTE)
    async with open_rig(folder, ids=SeededIds(seed), clock=clock) as rig:
        story, config = Story(rig, seed, wanders=place is not None), RULES[trigger]
        if place is not None:
            await rig.append(start("root", "other"))
            story.root = (await rig.store.rows(rig.org)).runs[0].run_id
        for scope, period in (
            (BudgetScope(organisation=True), Period.TOTAL),
            (BudgetScope(agent="writer"), Period.HOUR),
        ):
            await rig.do(CreateBudget("b", scope, 6 * DOLLAR, period, BudgetAction.WARN))
        for _ in range(BEFORE):
            await story.tick()
        rig.clock.advance(TICK)
        given: dict[str, Any] = {"cooldown_ms": story.chance.choice((0, 3 * MINUTE))}
        given["scope"] = story.chance.choice((AlertScope(), AlertScope(agent="writer")))
        if place is not None:
            is_tree = place.run_id is not None
            given["scope"] = msgspec.structs.replace(place, run_id=story.root) if is_tree else place
        rule = await make(rig, trigger, config=config, channels=(), **given)
        await rig.engine.sweep()
        for _ in range(TICKS):
            await story.tick()
        asked = CreateRule("x", trigger, given["scope"], config, (), cooldown_ms=given["cooldown_ms"])
        tried = await rig.do(PreviewRule(asked, rule.created_at))
        assert tried.whole
        begun = rig.clock.now_ms() % TICK
        live = await rig.store.alerts(rig.org, 1000, None, None, None)
        # The timer finds what time has brought at its next look.
        looked = [(one.at + (begun - one.at) % TICK, one.subject, one.agent) for one in tried.fired]
        fired = [(one.fired_at, one.subject, one.agent) for one in live]
        suppressed = (await rig.do(GetRule(rule.rule_id))).rule.suppressed
        return [*sorted(fired), suppressed], [*sorted(looked), tried.suppressed]


QUICK = {*[(trigger, 0) for trigger in RULES], (AlertTrigger.FAILURE_RATE, 2), (AlertTrigger.WAITING_TOO_LONG, 2)}
"""What the quick tier plays: one story of each trigger, and two whose cool-downs end while the cause lasts."""
STORIES = [
    pytest.param(trigger, seed, id=f"{trigger}-{seed}", marks=() if (trigger, seed) in QUICK else pytest.mark.slow)
    for trigger in RULES
    for seed in range(20)
]


@pytest.mark.parametrize(("trigger", "seed"), STORIES)
async def test_a_trial_gives_what_the_live_rule_has_given(tmp_path: Path, trigger: AlertTrigger, seed: int) -> None:
    live, tried = await live_and_tried(tmp_path, trigger, seed)
    assert tried == live


PLACES = {
    "label": AlertScope(label="team=red"),
    "thread": AlertScope(thread_id="main"),
    "tree": AlertScope(run_id=""),
    "tree-and-label": AlertScope(run_id="", label="team"),
}
QUICK_PLACES = {(AlertTrigger.COST_THRESHOLD, "tree"), (AlertTrigger.LOOP, "label"), (AlertTrigger.ERROR, "thread")}
WANDERINGS = [
    pytest.param(
        trigger,
        place,
        seed,
        id=f"{trigger}-{place}-{seed}",
        marks=() if seed == 0 and (trigger, place) in QUICK_PLACES else pytest.mark.slow,
    )
    for trigger in RULES
    for place in PLACES
    for seed in range(5)
]


@pytest.mark.parametrize(("trigger", "place", "seed"), WANDERINGS)
async def test_of_runs_that_tell_late_where_they_stand_a_trial_gives_the_same(
    tmp_path: Path, trigger: AlertTrigger, place: str, seed: int
) -> None:
    live, tried = await live_and_tried(tmp_path, trigger, seed, PLACES[place])
    assert tried == live
