"""Runs that spend under budgets, in many small worlds: every sum counted once, every threshold told once, and what was
paused goes on when there is money again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.simulation.mutants import Mutant, tiers
from tests.simulation.seeds import MONEY_SEEDS, SEEDS_A_TEST, Template, batches, live_money, open_template
from tests.simulation.world import Wrong
from towerlog.engine.commands import budgets as commands
from towerlog.engine.control import steering
from towerlog.engine.load.cache import OrgRows
from towerlog.engine.plan.budgets import BudgetChanges, SpendingPlace
from towerlog.engine.reactions import budgets as reactions
from towerlog.engine.timers import budgets as timers
from towerlog.projections import budgets as fold
from towerlog.store.sqlite.money import budgets as stored

SEEDS_FOR_A_MUTANT = 60


@pytest.fixture(scope="module")
def template() -> Iterator[Template]:
    with open_template() as made:
        yield made


@pytest.mark.parametrize("first", batches(MONEY_SEEDS))
def test_budgets_count_tell_and_stop_what_they_should(template: Template, first: int) -> None:
    with asyncio.Runner() as runner:
        for seed in range(first, first + SEEDS_A_TEST):
            runner.run(live_money(seed, template))


MUTANTS = (
    Mutant("it warns again and again", fold.told, ") and not row.warning_told\n", ")\n"),
    Mutant("it is exceeded again and again", fold.told, "is_exceeded and not row.exceeded_told", "is_exceeded"),
    Mutant("what the group has counted is forgotten", OrgRows.put, "self._changed[org] = changed", "pass"),
    Mutant("what was added up is forgotten", BudgetChanges.settle, "self._bring_in(org)", "pass"),
    Mutant("it is only added up", SpendingPlace.take, "if carried.nanos + nanos > room:", "if False:"),
    Mutant("a period never ends", fold.current, "if start == row.period_start:", "if True:"),
    Mutant("money of a new run is not counted", reactions.count, "if not moved or", "if event.seq == 1 or"),
    Mutant("a tree is its root alone", reactions._above, "run_ids_above(row, find) if", "{row.run_id} if"),
    Mutant("a tree forgets what was spent before", reactions._spent_below, "    return spent", "    return 0"),
    Mutant("a budget begins with nothing", commands._with_spent, "spent_nanos=stored", "spent_nanos=0"),
    Mutant("a change keeps what was told", fold._told_of, "counted.exceeded_told and end", "counted.exceeded_told"),
    Mutant("a run that begins is not stopped", reactions.stop_new, "if before is not None or", "if True or"),
    Mutant("who spends is not stopped", reactions._move, "if row.is_stopping():", "if False:"),
    Mutant("others are not stopped", timers._place, "            stop(plan, row, run)", "            pass"),
    Mutant("a raise lets nobody go on", fold._going_on, "BudgetStep.RESUME if row.has_paused else None", "None"),
    Mutant("a raise lets everybody go on", stored.runs_of_step, "if row.step is BudgetStep.RESUME:", "if False:"),
    Mutant("no other budget keeps it paused", timers._let_go_on, "other.is_stopping() and", "False and"),
    Mutant("a person's pause is taken back", steering._steer, "if one.has_paused:", "if False:"),
    Mutant("pauses are not on record", reactions.owns_pause, "row.run] = True", "row.run] = False"),
    Mutant("a run may begin all the same", reactions.refuse_exhausted, "if row.is_stopping():", "if False:"),
    Mutant("a warning is for one agent alone", reactions.with_warnings, "if over:", "if over and over[0].scope.agent:"),
    Mutant("whoever spends settles it", reactions._settle, "and held.run == row.run", ""),
    Mutant("it is settled again and again", reactions.free, "held.reservation_id] = None", "''] = None"),
    Mutant("nothing settles it", reactions.count, "if reservation_id is not None:", "if False:"),
    Mutant("what is held may be spent", fold.has_room, "row.spent_nanos + row.held_nanos()", "row.spent_nanos"),
    Mutant("a hold never ends", timers._free, "held.expires_at <= plan.serving_ms", "False"),
    Mutant("a restart ends a hold", stored.refresh_reservations, "now_ms + one.ttl_ms", "now_ms"),
)


LAWS = {
    "each threshold is told once a period": (
        "it warns again and again",
        "it is exceeded again and again",
        "a period never ends",
        "a change keeps what was told",
        "it is only added up",
    ),
    "every sum is counted once where it is in scope": (
        "what the group has counted is forgotten",
        "what was added up is forgotten",
        "money of a new run is not counted",
        "a tree is its root alone",
        "a tree forgets what was spent before",
        "a budget begins with nothing",
    ),
    "whoever is in scope of a used-up budget is stopped": (
        "who spends is not stopped",
        "a run that begins is not stopped",
        "others are not stopped",
        "a run may begin all the same",
        "a warning is for one agent alone",
    ),
    "what it paused goes on, and nothing else": (
        "a raise lets everybody go on",
        "a raise lets nobody go on",
        "no other budget keeps it paused",
        "a person's pause is taken back",
        "pauses are not on record",
    ),
    "a hold ends once, by its own event or by time": (
        "nothing settles it",
        "it is settled again and again",
        "whoever spends settles it",
        "what is held may be spent",
        "a hold never ends",
        "a restart ends a hold",
    ),
}
"""Law → the mutants that break it; the quick tier plants the first of each, the slow tier all."""


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name.replace(" ", "_"))
def test_every_mutant_can_be_planted(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    """Most of them are planted in the slow tier alone; what they change is looked for here as well."""
    mutant.plant(monkeypatch)


@pytest.mark.parametrize("mutant", tiers(LAWS, MUTANTS))
def test_no_mutant_lives(template: Template, mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant.plant(monkeypatch)
    with asyncio.Runner() as runner:
        for seed in range(SEEDS_FOR_A_MUTANT):
            try:
                runner.run(live_money(seed, template))
            except Wrong:
                return
    pytest.fail(f"not caught by the first {SEEDS_FOR_A_MUTANT} seeds: {mutant.name}")
