"""A sum of money is exact or unknown: one that does not fit is unknown from then on, wherever money is added up."""

from __future__ import annotations

import msgspec
import pytest

from tests.engine.alerts.alerting import alerts, make, spending
from tests.support.rig import Rig
from towerlog.dialects.details import cost_nanos
from towerlog.dialects.native.money.budgets import budget_of
from towerlog.dialects.usage_json import credits_of
from towerlog.model.alert import AlertConfig, AlertTrigger
from towerlog.model.budget import BudgetAction, BudgetScope, BudgetState, CreateBudget, GetBudget, Period
from towerlog.model.event import FieldWarning
from towerlog.model.question import GetRun, RunFilter
from towerlog.model.usage import (
    MAX_EVENT_DOLLARS,
    MAX_EVENT_NANOS,
    MAX_SUM,
    Usage,
    add,
    dollars_json,
    subtract,
    summed,
)
from towerlog.store.values import UsageSpan

MUCH = 5 * 10**18
EVER = UsageSpan(0, 2**40, None)


def test_one_event_tells_so_much_and_what_is_more_is_named_and_not_used() -> None:
    warnings: list[FieldWarning] = []
    assert cost_nanos(msgspec.Raw(str(MAX_EVENT_DOLLARS).encode()), "cost_usd", warnings) == MAX_EVENT_NANOS
    assert warnings == []
    assert cost_nanos(msgspec.Raw(f"{MAX_EVENT_DOLLARS}.000000001".encode()), "cost_usd", warnings) is None
    assert [(one.field, "is larger than 1000000" in one.message) for one in warnings] == [("cost_usd", True)]


def test_what_does_not_fit_stays_unknown() -> None:
    over = add(Usage(cost_nanos=MUCH), Usage(cost_nanos=MUCH))
    assert over.cost_nanos == MAX_SUM
    for change in (Usage(cost_nanos=1), Usage(cost_nanos=MUCH)):
        assert add(over, change).cost_nanos == MAX_SUM
        assert subtract(over, change).cost_nanos == MAX_SUM
    assert summed(MAX_SUM, -MUCH) == MAX_SUM
    assert bytes(dollars_json(MAX_SUM)) == b"null"
    assert bytes(dollars_json(MAX_SUM - 1)) == b"9223372036.854775806"
    assert credits_of(MAX_SUM, 1000) is None


async def test_a_run_its_tree_its_organisation_and_its_budgets_say_unknown(rig: Rig) -> None:
    scope = BudgetScope(organisation=True)
    made = await rig.do(CreateBudget("b", scope, 9 * 10**18, Period.TOTAL, BudgetAction.WARN))
    await make(rig, AlertTrigger.BURN_RATE, config=AlertConfig(amount_nanos=10))
    # By two agents, so that no roll-up cell is too large by itself.
    await rig.append(spending("a", MUCH, agent="one"), spending("b", MUCH, agent="two"))
    await rig.append(spending("a", MUCH, agent="one"), spending("b", 7, agent="two"))
    [row] = await rig.store.runs(rig.org, RunFilter(agent="one"), 9, None)
    view = await rig.do(GetRun(row.run_id, tree=True))
    assert bytes(dollars_json(view.row.usage.cost_nanos)) == b"null"
    assert bytes(dollars_json(view.tree.usage.cost_nanos)) == b"null"
    for by in ("hour", "model"):
        [cell] = await rig.store.usage_by(rig.org, by, EVER, 9)
        assert bytes(dollars_json(cell.usage.cost_nanos)) == b"null"
    by_agent = {cell.agent: cell.usage.cost_nanos for cell in await rig.store.usage_by(rig.org, "agent", EVER, 9)}
    assert by_agent == {"one": MAX_SUM, "two": MUCH + 7}
    budget = await rig.do(GetBudget(made.row.budget_id))
    assert (budget.row.state, bytes(budget_of(budget).spent_usd)) == (BudgetState.EXCEEDED, b"null")
    assert "or more" in budget.row.told_early()
    assert (await rig.do(CreateBudget("c", scope, 1, Period.TOTAL, BudgetAction.WARN))).row.spent_nanos == MAX_SUM
    rig.clock.advance(1000)
    await rig.engine.sweep()
    [alert] = await alerts(rig)
    assert alert.message.startswith("$9223372036.00 or more was spent")


@pytest.mark.parametrize("again", [MUCH, 1])
async def test_a_cell_that_does_not_fit_stays_unknown_on_disk(rig: Rig, again: int) -> None:
    for number, nanos in enumerate((MUCH, MUCH, again)):
        await rig.append(spending(f"r{number}", nanos))
        rig.engine.forget()
    [cell] = await rig.store.usage_by(rig.org, "agent", EVER, 9)
    assert cell.usage.cost_nanos == MAX_SUM
