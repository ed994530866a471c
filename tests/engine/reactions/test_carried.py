"""What is spent is carried forward while nothing moves but sums: all that comes of it is as if each event was counted
by itself."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest

from tests.engine.alerts.alerting import DOLLAR, MINUTE, alerts, make
from tests.support.factories import draft, traced
from tests.support.prices import FixedPrices, card
from tests.support.rig import Rig, open_rig
from tests.support.samples import first
from towerlog.engine.load.cache import OrgRows
from towerlog.engine.plan.budgets import SpendingPlace
from towerlog.model.alert import AcknowledgeAlert, AlertConfig, AlertScope, AlertTrigger, ChangeRule
from towerlog.model.budget import BudgetAction, BudgetScope, ChangeBudget, CreateBudget, DeleteBudget, Period
from towerlog.model.command import Append
from towerlog.model.event import Draft, EventType
from towerlog.model.facts import Effects, Facts
from towerlog.model.question import RunFilter
from towerlog.model.usage import Usage, UsageReport

AGENTS, THREADS, TRACES = ("a1", "a2", "a3"), ("t1", "t2"), ("r1", "r2", "r3", "r4")
DIME = DOLLAR // 10
GROUPS = 14
MAX_COMMANDS, MAX_ITEMS = 6, 5


def call(trace: str, nanos: int | None, agent: str, kind: str = "delta", **effects: Any) -> Draft:
    """A model call; None: nobody knows what it cost."""
    thread = THREADS[TRACES.index(trace) % 2]
    usage = Usage(input_tokens=10, total_tokens=10) if nanos is None else Usage(cost_nanos=nanos)
    facts = Facts(effects=Effects(report=UsageReport(usage, kind=kind), **effects))
    return draft(EventType.MODEL_CALL, traced(trace, thread), facts=facts, agent=agent)


def computed(trace: str, agent: str) -> Draft:
    """A model call that costs a dime by the prices."""
    report = UsageReport(Usage(input_tokens=1), kind="delta")
    facts = Facts(effects=Effects(report=report, model="big"))
    return draft(EventType.MODEL_CALL, traced(trace, THREADS[TRACES.index(trace) % 2]), facts=facts, agent=agent)


def told_in_all(trace: str, nanos: int, agent: str) -> Draft:
    """What a run costs as its sender knows it: where that is less than was computed, the rest is taken back."""
    facts = Facts(effects=Effects(report=UsageReport(Usage(cost_nanos=nanos), whole_run=True)))
    return draft(EventType.STEP, traced(trace, THREADS[TRACES.index(trace) % 2]), facts=facts, agent=agent)


class Story:
    """What happens to one organisation: the same for the same seed, whatever carries it out."""

    def __init__(self, seed: int, rig: Rig) -> None:
        self._chance = random.Random(seed)
        self._rig = rig
        self._budgets: list[str] = []
        self._top = ""
        """Id of the run that the others may be told to stand below."""
        self._rules: list[str] = []

    async def live(self) -> None:
        await self._rig.append(call(TRACES[0], None, AGENTS[0]))
        self._top = (await self._rig.store.runs(self._rig.org, RunFilter(), 1, None))[0].run_id
        for _ in range(3):
            await self._make_budget()
            await self._make_rule()
        acts = [self._make_budget, self._change_budget, self._make_rule, self._change_rule, self._acknowledge]
        acts += [self._pass_time, self._forget]
        for _ in range(GROUPS):
            await self._spend()
            if self._chance.random() < 0.5:
                await self._chance.choice(acts)()
        await self._rig.engine.sweep()
        await self._spend()

    async def _spend(self) -> None:
        """Commands of one group: spending, with what asks for budgets between."""
        some = [self._command() for _ in range(self._chance.randint(1, MAX_COMMANDS))]
        await asyncio.gather(*(self._rig.do(one) for one in some), return_exceptions=True)

    def _command(self) -> Any:
        chance = self._chance
        if self._budgets and chance.random() < 0.1:
            return ChangeBudget(chance.choice(self._budgets), amount_nanos=self._amount())
        return Append("steps", [self._item() for _ in range(chance.randint(1, MAX_ITEMS))])

    def _item(self) -> Draft:
        chance = self._chance
        trace, agent = chance.choice(TRACES), chance.choice(AGENTS)
        nanos = chance.choice((None, 0, chance.randrange(DIME), DIME, DIME, chance.randint(1, 3) * DIME))
        is_linked = trace != TRACES[0] and chance.random() < 0.05
        kind = "total" if chance.random() < 0.15 else "delta"
        if chance.random() < 0.15:
            return computed(trace, agent)
        if chance.random() < 0.1:
            return told_in_all(trace, chance.randrange(DIME), agent)
        return call(trace, nanos, agent, kind, parent_key=f"run:{self._top}" if is_linked else None)

    def _amount(self) -> int:
        """Sums come to it exactly, now and then."""
        return self._chance.randint(1, 40) * DIME

    async def _make_budget(self) -> None:
        chance = self._chance
        scopes = [{"organisation": True}, {"agent": chance.choice(AGENTS)}, {"thread_id": chance.choice(THREADS)}]
        scopes += [{"run_id": self._top}] if chance.random() < 0.3 else []
        amount, period = self._amount(), chance.choice((Period.TOTAL, Period.HOUR))
        # What is paused or cancelled is there as well, and most runs go on.
        action = chance.choice((BudgetAction.WARN, BudgetAction.WARN, BudgetAction.PAUSE, BudgetAction.CANCEL))
        made = await self._rig.do(CreateBudget("b", BudgetScope(**chance.choice(scopes)), amount, period, action))
        self._budgets.append(made.row.budget_id)

    async def _change_budget(self) -> None:
        budget_id = self._chance.choice(self._budgets)
        if self._chance.random() < 0.2:
            self._budgets.remove(budget_id)
            await self._rig.do(DeleteBudget(budget_id))
        else:
            await self._rig.do(ChangeBudget(budget_id, amount_nanos=self._amount()))

    async def _make_rule(self) -> None:
        chance = self._chance
        scopes: list[dict[str, str]] = [{}, {}, {"agent": chance.choice(AGENTS)}, {"thread_id": chance.choice(THREADS)}]
        scope = chance.choice(scopes + ([{"run_id": self._top}] if chance.random() < 0.3 else []))
        trigger, config = chance.choice(
            (
                (AlertTrigger.BUDGET, AlertConfig(fraction=chance.choice((0.1, 0.3, 0.5, 0.9)))),
                (AlertTrigger.BUDGET, AlertConfig()),
                (AlertTrigger.COST_THRESHOLD, AlertConfig(amount_nanos=self._amount() // 4)),
                (AlertTrigger.BURN_RATE, AlertConfig(amount_nanos=self._amount() // 4)),
            )
        )
        cooldown_ms = chance.choice((0, 0, 20 * MINUTE))
        made = await make(
            self._rig, trigger, config=config, scope=AlertScope(**scope), cooldown_ms=cooldown_ms, channels=()
        )
        self._rules.append(made.rule_id)

    async def _change_rule(self) -> None:
        await self._rig.do(ChangeRule(self._chance.choice(self._rules), toggles=True))

    async def _acknowledge(self) -> None:
        open_ones = [one for one in await alerts(self._rig) if one.is_open]
        if open_ones:
            await self._rig.do(AcknowledgeAlert(self._chance.choice(open_ones).alert_id))

    async def _pass_time(self) -> None:
        self._rig.clock.advance(self._chance.choice((MINUTE, 25 * MINUTE, 60 * MINUTE)))
        await self._rig.engine.sweep()

    async def _forget(self) -> None:
        self._rig.engine.forget()


async def outcome(seed: int, folder: Path) -> dict[str, Any]:
    """All that is stored in the end."""
    async with open_rig(folder, prices=FixedPrices({"big": card(DIME)})) as rig:
        await Story(seed, rig).live()
        rules = await rig.store.alert_rules(rig.org, 1000, None)
        return {
            "log": await rig.log(),
            "budgets": await rig.store.budgets(rig.org, 1000, None),
            "alerts": await alerts(rig),
            "rules": rules,
            "windows": [await rig.store.alert_window(rig.org, rule.rule_id, 0) for rule in rules],
        }


@pytest.mark.parametrize("seed", first(range(60), quick=12))
async def test_it_is_as_if_each_event_was_counted_by_itself(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = await outcome(seed, tmp_path / "carried")
    monkeypatch.setattr(SpendingPlace, "take", lambda self, nanos, calls: False)
    expected = await outcome(seed, tmp_path / "each")
    for name, value in expected.items():
        assert found[name] == value, name


async def test_a_group_puts_each_budget_once(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many calls it counts."""
    puts: list[str] = []
    put = OrgRows.put

    def counted(self: Any, org: int, row_id: str, row: Any) -> None:
        puts.append(row_id)
        put(self, org, row_id, row)

    scopes = (BudgetScope(organisation=True), BudgetScope(agent="a1"), BudgetScope(agent="a2"))
    for scope in scopes:
        await rig.do(CreateBudget("b", scope, 100 * DOLLAR, Period.DAY, BudgetAction.PAUSE))
    monkeypatch.setattr(OrgRows, "put", counted)
    await rig.append(*(call("r1", 1, agent) for agent in ("a1", "a2", "a3") for _ in range(20)))
    assert len(puts) == len(set(puts)) == len(scopes)
    found = await rig.store.budgets(rig.org, 10, None)
    assert sorted(one.spent_nanos for one in found) == [20, 20, 60]


async def test_who_asks_for_a_budget_within_a_group_sees_all_that_is_spent(rig: Rig) -> None:
    made = await rig.do(CreateBudget("b", BudgetScope(organisation=True), DOLLAR, Period.TOTAL, BudgetAction.WARN))
    spend, change = Append("steps", [call("r1", DIME, "a1")]), ChangeBudget(made.row.budget_id, amount_nanos=2 * DIME)
    done = await asyncio.gather(*(rig.do(one) for one in (spend, spend, change, spend)))
    assert (done[2].row.spent_nanos, done[2].row.is_exceeded) == (2 * DIME, True)
    assert (await rig.store.budgets(rig.org, 10, None))[0].spent_nanos == 3 * DIME


async def test_a_rule_that_has_changed_within_a_group_tells_with_the_next_sum(rig: Rig) -> None:
    """Below which sum no rule tells is worked out once for a group, and anew once a rule has changed."""
    await rig.do(CreateBudget("b", BudgetScope(organisation=True), 10 * DOLLAR, Period.TOTAL, BudgetAction.WARN))
    rule = await make(rig, AlertTrigger.BUDGET, config=AlertConfig(fraction=0.9))
    spend = Append("steps", [call("r1", DOLLAR, "a1")])
    change = ChangeRule(rule.rule_id, config=AlertConfig(fraction=0.1))
    await asyncio.gather(*(rig.do(one) for one in (spend, change, spend, spend)))
    [alert] = await alerts(rig)
    assert alert.message == "The organisation has used $2.00 of its budget of $10.00"
