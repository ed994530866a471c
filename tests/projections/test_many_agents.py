"""A run of many agents: what each of them tells is counted once, however long it has been silent in between."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from tests.projections.test_computed_costs import HOUR_MS, checked
from tests.projections.test_order_of_totals import PRICES, runner, step
from tests.support.rig import Rig, open_rig
from towerlog.model.event import Draft
from towerlog.model.facts import with_effects
from towerlog.model.row_bounds import MAX_ROW_BYTES
from towerlog.model.run import RunRow
from towerlog.model.spending import AGENTS_RETIRED, MAX_SHARES
from towerlog.model.usage import Usage

ROUNDS = 4
WORST = "\U0001f4bc" * 190
"""The rest of a name."""
Told = list[tuple[str, Draft]]


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with open_rig(tmp_path, prices=PRICES) as opened:
        yield opened


def posts(agents: int, form: str, order: str, rest_of_name: str = "") -> tuple[Told, dict[str, list[int]]]:
    """Checkpoints of so many agents, and what each has spent: input and output tokens. `form`: whether they tell input
    and output as running totals (`cum`) or of the last call (`inc`), beside a running total of all tokens."""
    chance = random.Random(agents)
    spent = {f"agent {number} {rest_of_name}".strip(): [0, 0] for number in range(agents)}
    rounds: list[Told] = []
    for at in range(1, ROUNDS + 1):
        rounds.append([])
        for name, sums in spent.items():
            call = [chance.randint(1, 900), chance.randint(1, 90)]
            sums[:] = [one + more for one, more in zip(sums, call, strict=True)]
            figures = sums if form == "cum" else call
            rounds[-1].append((name, step(at, *figures, sum(sums), agent=name)[0]))
    if order == "neighbours swapped":
        for at in range(0, ROUNDS - 1, 2):
            rounds[at], rounds[at + 1] = rounds[at + 1], rounds[at]
    told = [one for of_round in rounds for one in of_round]
    if order == "random":
        chance.shuffle(told)
    return told, spent


async def row_after(rig: Rig, told: Told, metadata: bytes = b"{}") -> RunRow:
    """The row of the run once all is told; every sum, and a rebuild, were compared."""
    began = rig.clock.now_ms() // HOUR_MS * HOUR_MS - HOUR_MS
    start, _ = runner("thread_started", 0, agent_id=told[0][0])
    start = msgspec.structs.replace(start, facts=with_effects(start.facts, metadata=msgspec.Raw(metadata)))
    drafts = [start, *(draft for _, draft in told)]
    for at in range(0, len(drafts), 50):
        await rig.append(*(msgspec.structs.replace(one, occurred_at=began) for one in drafts[at : at + 50]))
        [row] = (await rig.store.rows(rig.org)).runs
        assert len(msgspec.json.encode(row)) <= MAX_ROW_BYTES
    await checked(rig)
    return row


async def tokens_of_agents(rig: Rig) -> dict[str, int | None]:
    """What the organisation shows of its agents."""
    return {one.name: one.usage.total_tokens for one in (await rig.store.rows(rig.org)).agents}


def worth(spent: dict[str, list[int]]) -> Usage:
    """All of it together, by the prices of the model."""
    sent, written = (sum(one[at] for one in spent.values()) for at in (0, 1))
    cost = 10 * sent + 40 * written
    return Usage(sent, None, None, written, None, sent + written, cost, cost)


@pytest.mark.parametrize("order", ["in turn", "neighbours swapped", "random"])
@pytest.mark.parametrize("form", ["cum", "inc"])
@pytest.mark.parametrize("agents", [1, 9, 40])
async def test_of_a_team_all_is_exact_in_every_order(rig: Rig, agents: int, form: str, order: str) -> None:
    told, spent = posts(agents, form, order)
    row = await row_after(rig, told)
    assert row.usage == worth(spent)
    assert await tokens_of_agents(rig) == {name: sum(sums) for name, sums in spent.items()}
    assert AGENTS_RETIRED not in row.usage_flags


@pytest.mark.parametrize("form", ["cum", "inc"])
@pytest.mark.parametrize("agents", [100, MAX_SHARES])
async def test_as_many_as_are_remembered_are_exact_in_turn(rig: Rig, agents: int, form: str) -> None:
    told, spent = posts(agents, form, "in turn")
    row = await row_after(rig, told)
    assert row.usage == worth(spent)
    assert await tokens_of_agents(rig) == {name: sum(sums) for name, sums in spent.items()}
    assert row.usage_flags == ()


@pytest.mark.parametrize("order", ["neighbours swapped", "random"])
@pytest.mark.parametrize(("agents", "form"), [(100, "cum"), (100, "inc"), (300, "inc")])
async def test_past_that_every_token_counts_once(rig: Rig, agents: int, form: str, order: str) -> None:
    """What is not known any more is the split of some, and so their price."""
    told, spent = posts(agents, form, order)
    row = await row_after(rig, told)
    due, used = worth(spent), row.usage
    assert used.total_tokens == due.total_tokens
    assert await tokens_of_agents(rig) == {name: sum(sums) for name, sums in spent.items()}
    for name in ("input_tokens", "output_tokens", "cost_nanos"):
        assert 0 <= (getattr(used, name) or 0) <= getattr(due, name)
    assert used.cost_nanos == due.cost_nanos or used.unpriced_calls
    assert (AGENTS_RETIRED in row.usage_flags) is (agents > MAX_SHARES)


async def test_the_longest_names_and_a_full_row_cost_no_token(rig: Rig) -> None:
    told, spent = posts(300, "cum", "in turn", WORST)
    row = await row_after(rig, told, b'{"a":"%s"}' % (b"m" * 15_000))
    assert row.usage.total_tokens == worth(spent).total_tokens
    assert len(bytes(row.metadata)) > 15_000
