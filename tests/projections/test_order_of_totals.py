"""Posts overtake each other: what a run has spent is the same in every order, by hour, agent and model."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from tests.projections.test_computed_costs import HOUR_MS, checked
from tests.support.factories import facts_of
from tests.support.prices import FixedPrices, card
from tests.support.rig import Rig, open_rig
from tests.support.tables import table
from towerlog.dialects.base import DialectSettings
from towerlog.dialects.checkpoints.events import Places, RunnerEvent, draft_of
from towerlog.model.budget import BudgetAction, BudgetScope, CreateBudget, Period
from towerlog.model.event import Draft, EventType, RunByTrace
from towerlog.model.usage import Usage, UsageReport

PRICES = FixedPrices({"big": card(10, 1, 12, 40), "small": card(2, 1, 3, 8)})
IDS = {"thread_id": "t", "trace_id": "x"}
LATEST = 40
"""So many hours ago the clock of the senders begins."""


def runner(kind: str, at: int, **data: Any) -> tuple[Draft, int]:
    """What a runner posts, in an hour of its clock."""
    made = RunnerEvent(kind, msgspec.Raw(json.dumps({**IDS, **data}).encode()))
    found = draft_of(made, DialectSettings(), Places(), [])
    assert isinstance(found, Draft)
    return found, at


def step(at: int, *figures: int | None, agent: str = "a", model: str | None = "big", **more: Any) -> tuple[Draft, int]:
    """A checkpoint with input, output and running total."""
    told = dict(zip(("input_tokens", "output_tokens", "tokens_used"), figures, strict=True))
    history = [{"role": "user", "content": f"{agent} {at}"}]
    named = {"agent_id": agent, "model": model, "step_index": at, "history": history}
    return runner("checkpoint", at, **named, **{name: one for name, one in told.items() if one is not None}, **more)


def native(kind: EventType, at: int, model: str | None, usage: Usage, agent: str = "a") -> tuple[Draft, int]:
    """A model call, or an end with totals of the whole run."""
    is_call = kind is EventType.MODEL_CALL
    report = UsageReport(usage, "delta" if is_call else "total", not is_call, inclusive=not is_call)
    return Draft(kind, RunByTrace("t", "x"), b"{}", facts_of(report=report, model=model), agent=agent), at


async def sums(rig: Rig, told: Sequence[tuple[Draft, int]]) -> dict[str, Any]:
    """All that is shown of a run of agent a after these were told in an organisation of its own."""
    rig.principal = await rig.make_org(rig.ids.uuid())
    began = (rig.clock.now_ms() // HOUR_MS - LATEST) * HOUR_MS
    for agent in (None, "a", "b"):
        scope = BudgetScope(organisation=agent is None, agent=agent)
        await rig.do(CreateBudget(f"of {agent}", scope, 10**9, Period.TOTAL, BudgetAction.WARN))
    for draft, at in (runner("thread_started", 0, agent_id="a"), *told):
        await rig.append(msgspec.structs.replace(draft, occurred_at=began + at * HOUR_MS))
    await checked(rig)
    rows = await rig.store.rows(rig.org)
    [row] = rows.runs
    cells: dict[tuple[int, str, str], list[int]] = {}
    for cell in rows.usage:
        known = cells.setdefault((cell.hour - began // HOUR_MS, cell.agent, cell.model), [0] * 9)
        for at, figure in enumerate(msgspec.structs.astuple(cell.usage)):
            assert (figure or 0) >= 0, cell
            known[at] += figure or 0
        assert cell.usage.unsplit_tokens() >= 0, cell
    return {
        "run": [figure or 0 for figure in msgspec.structs.astuple(row.usage)],
        "cells": {key: figures for key, figures in cells.items() if any(figures)},
        "budgets": {one.name: one.spent_nanos for one in await rig.store.budgets(rig.org, 10, None)},
    }


CALL_A = native(EventType.MODEL_CALL, 1, "big", Usage(5, output_tokens=331))
CALL_B = native(EventType.MODEL_CALL, 2, "small", Usage(538, output_tokens=38))
THREE = [step(1, 100, 10, 110), step(2, 1000, 200, 1310), step(3, 50, 5, 1365)]
STORIES = {
    "the last call": THREE,
    "the last call, of two models": [THREE[0], step(2, 1000, 200, 1310, model="small"), THREE[2]],
    "a lost step": [step(1, 100, 10, 110), step(3, 50, 5, 1365, model="small"), step(4, 30, 1, 1396)],
    "a repeat that has grown": [step(1, 600, 7, 607), step(2, 600, 7, 700, model="small"), step(3, 5, 5, 710)],
    "running totals of two models": [
        step(1, 100, 10, 110),
        step(2, 900, 90, 990, model="small"),
        step(3, 950, 95, 1045),
    ],
    "bare totals": [step(1, None, None, 100), step(2, None, None, 300, model="small"), step(3, None, None, 350)],
    "a split that is told with the next": [step(1, None, None, 25), step(4, 44, 45, 89)],
    "better figures": [step(1, 100, 1, 1000), step(1, 100, 500, 1500), step(2, 10, 1, 1511)],
    "tools between": [step(1, 100, 10, 110), step(2, 0, 0, 110, model="small"), step(3, 50, 5, 165)],
    "its end": [*THREE[:2], runner("thread_completed", 9, tokens_used=1400, model="big")],
    "a total of two models": [CALL_A, CALL_B, native(EventType.RUN_COMPLETED, 3, "big", Usage(743, output_tokens=419))],
    "a total of one model": [
        CALL_A,
        native(EventType.MODEL_CALL, 2, "big", Usage(50, output_tokens=3), agent="b"),
        native(EventType.RUN_COMPLETED, 3, "big", Usage(743, output_tokens=419)),
    ],
    "a total with more than its calls": [
        CALL_A,
        native(EventType.RUN_COMPLETED, 3, "big", Usage(5, output_tokens=331, total_tokens=345)),
    ],
    "a total with its split": [
        CALL_A,
        native(EventType.RUN_COMPLETED, 3, "big", Usage(743, output_tokens=419, total_tokens=1200)),
        step(2, 50, 5, 55, agent="b", model="small"),
    ],
}


@table("name", STORIES)
async def test_all_orders_of_a_few_posts_come_to_the_same(tmp_path: Path, name: str) -> None:
    async with open_rig(tmp_path / name, prices=PRICES) as rig:
        expected = await sums(rig, STORIES[name])
        for order in itertools.permutations(STORIES[name]):
            assert await sums(rig, order) == expected, [at for _, at in order]


async def test_an_overtaken_step_keeps_its_split_and_its_money(tmp_path: Path) -> None:
    async with open_rig(tmp_path, prices=PRICES) as rig:
        found = await sums(rig, THREE[::-1])
    cost = 1150 * 10 + 215 * 40
    assert found["run"] == [1150, 0, 0, 215, 0, 1365, cost, cost, 0]
    assert found["budgets"] == {"of None": cost, "of a": cost, "of b": 0}


async def test_a_total_beyond_the_calls_of_two_models_is_priced_in_no_order(tmp_path: Path) -> None:
    """Nobody knows which of them the rest is of; where it was priced by the first, that is taken back."""
    calls = 5 * 10 + 331 * 40 + 538 * 2 + 38 * 8
    async with open_rig(tmp_path, prices=PRICES) as rig:
        for order in itertools.permutations(STORIES["a total of two models"]):
            found = await sums(rig, order)
            assert found["run"] == [743, 0, 0, 419, 0, 1162, calls, calls, 1]
            assert found["budgets"]["of a"] == calls


async def test_a_total_of_a_run_without_a_model_is_priced_once_one_is_named(tmp_path: Path) -> None:
    end = native(EventType.RUN_COMPLETED, 3, None, Usage(743, output_tokens=419))
    async with open_rig(tmp_path, prices=PRICES) as rig:
        for order in ([CALL_A, end], [end, CALL_A]):
            assert (await sums(rig, order))["run"] == [743, 0, 0, 419, 0, 1162, 24190, 24190, 0]
        for order in itertools.permutations([CALL_A, CALL_B, end]):
            assert (await sums(rig, order))["run"][-3:] == [14670, 14670, 1]


async def test_a_cost_that_is_taken_back_as_a_whole_is_not_0(tmp_path: Path) -> None:
    """It is unknown then, as in the other order."""
    end = native(EventType.RUN_COMPLETED, 3, "big", Usage(743, output_tokens=419))
    async with open_rig(tmp_path, prices=PRICES) as rig:
        await sums(rig, [end, native(EventType.MODEL_CALL, 2, "nobody's", Usage(1, output_tokens=1))])
        [row] = (await rig.store.rows(rig.org)).runs
        assert (row.usage.cost_nanos, row.usage.computed_nanos, row.usage.unpriced_calls) == (None, None, 2)


FORMS = ["flat", "flat", "cached", "cached", "call", "bare", "split", "reasoned"]
"""Totals of input and output; those with what was cached, or thought; the last call beside a total; a total alone; and
input and output without one."""


class Teller:
    """An agent whose runner tells what it has spent so far, each time in another form."""

    def __init__(self, agent: str) -> None:
        self.agent = agent
        self.sent = self.cached = self.written = self.thought = 0
        self.other = 0
        """Tokens of the total that were told as neither."""

    def step(self, at: int, form: str, call: tuple[int, int, int, int], model: str, **more: Any) -> tuple[Draft, int]:
        """The checkpoint after one more call: input, of it cached; output, of it reasoning."""
        sent, cached, written, thought = call
        self.sent, self.cached = self.sent + sent, self.cached + min(sent, cached)
        self.written, self.thought = self.written + written, self.thought + min(written, thought)
        total = self.sent + self.written + self.other
        told: dict[str, Any] = {"prompt_tokens": self.sent, "completion_tokens": self.written, "total_tokens": total}
        if form in ("cached", "reasoned"):
            more["usage"] = told | {"prompt_tokens_details": {"cached_tokens": self.cached}}
        if form == "reasoned":
            more["usage"]["completion_tokens_details"] = {"reasoning_tokens": self.thought}
        figures = {
            "flat": (self.sent, self.written, total),
            "call": (sent, written, total),
            "bare": (None, None, total),
            "split": (self.sent, self.written, None),
        }.get(form, (None, None, None))
        return step(at, *figures, agent=self.agent, model=model, **more)


def story_of(random: Random) -> list[tuple[Draft, int]]:
    """Some agents whose runners tell calls, totals, or now this and now that; steps are lost, totals bare, models and
    hours change; maybe with the cost of their process, maybe with an end."""
    found, sum_of_all, cost, has_cost = [], 0, 0, random.random() < 0.2
    for agent in random.choice(["a", "ab"]):
        of_one = [["call"], ["flat"], ["call", "call", "bare"], ["flat", "flat", "bare"]]
        forms, teller = random.choice([*of_one, *[FORMS] * 6]), Teller(agent)
        for at in range(1, random.randint(3, 6)):
            is_tool = random.random() < 0.15  # a step without a call
            call = (0, 0, 0, 0) if is_tool else tuple(random.randint(0, 40) for _ in range(4))
            teller.other += random.choice([0, 0, 9]) if forms[0] == "call" else 0
            cost += random.randint(0, 9)
            more = {"run_cost_usd": cost / 1_000_000} if has_cost else {}
            made = teller.step(at, random.choice(forms), call, random.choice(["big", "big", "small"]), **more)
            found += [made] if random.random() < 0.8 else []
        sum_of_all += teller.sent + teller.written + teller.other
    if random.random() < 0.3:
        found.append(runner("thread_completed", 9, tokens_used=sum_of_all + random.choice([0, 0, 50]), model="big"))
    return found


@pytest.mark.parametrize("seeds", [range(30), pytest.param(range(30, 400), marks=pytest.mark.slow)])
async def test_posts_in_any_order_come_to_the_same(tmp_path: Path, seeds: range) -> None:
    async with open_rig(tmp_path, prices=PRICES) as rig:
        for seed in seeds:
            random = Random(seed)
            told = story_of(random)
            if told:
                expected = await sums(rig, told)
                assert await sums(rig, random.sample(told, len(told))) == expected, seed
