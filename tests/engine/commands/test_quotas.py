"""Of what people make, an organisation has so much, and one key of it less: the next one says which bound it met."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tests.support.rig import Rig, open_rig
from towerlog.engine.core import EngineSettings
from towerlog.errors import Conflict
from towerlog.model.alert import AlertConfig, AlertScope, AlertTrigger, CreateRule, DeleteRule
from towerlog.model.budget import BudgetAction, BudgetScope, CreateBudget, Period
from towerlog.model.command import Write
from towerlog.model.price import CreatePrice, Rates
from towerlog.model.quotas import Quota, Quotas

FEW = Quota(3, 2)
RULE = CreateRule("a rule", AlertTrigger.ERROR, AlertScope(), AlertConfig(), ())
MAKES: dict[str, Write] = {
    "alert rules": RULE,
    "budgets": CreateBudget("a budget", BudgetScope(organisation=True), 10, Period.TOTAL, BudgetAction.WARN),
    "prices": CreatePrice("a-model", Rates(input=1), None, 0),
}


@pytest.mark.parametrize("nouns", MAKES)
async def test_a_key_and_an_organisation_make_so_many_and_no_more(tmp_path: Path, nouns: str) -> None:
    settings = EngineSettings(quotas=Quotas(FEW, FEW, FEW))
    async with open_rig(tmp_path, settings=settings) as rig:
        other = msgspec.structs.replace(rig.principal, key_id="another")
        for _ in range(FEW.of_key):
            await rig.do(MAKES[nouns])
        with pytest.raises(Conflict, match=f"This key has made 2 {nouns}.*max_.*_per_key"):
            await rig.do(MAKES[nouns])
        await rig.do(MAKES[nouns], principal=other)
        with pytest.raises(Conflict, match=f"The organisation has 3 {nouns}.*max_.*_per_org"):
            await rig.do(MAKES[nouns], principal=other)


async def test_what_is_deleted_leaves_its_place(tmp_path: Path) -> None:
    async with open_rig(tmp_path, settings=EngineSettings(quotas=Quotas(rules=Quota(5, 1)))) as rig:
        first = await rig.do(RULE)
        with pytest.raises(Conflict):
            await rig.do(RULE)
        await rig.do(DeleteRule(first.rule.rule_id))
        await rig.do(RULE)


async def test_each_organisation_has_its_own(rig: Rig) -> None:
    """What one has made takes nothing from another."""
    other = await rig.make_org("other")
    for principal in (rig.principal, other):
        for _ in range(Quotas().rules.of_key):
            await rig.do(RULE, principal=principal)
        with pytest.raises(Conflict):
            await rig.do(RULE, principal=principal)
