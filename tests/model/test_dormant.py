"""Agents whose shares are packed: each goes on as if it had never been away, and what is forgotten counts once."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from towerlog.model import spending as spending_module
from towerlog.model.agent_share import AgentShare
from towerlog.model.computed_costs import NO_COMPUTED, Computed, Priced, Repriced
from towerlog.model.dormant import DIGEST_CHARS, MAX_WHOLE_NAME, Dormant
from towerlog.model.packed_share import pack, points_in, unpack
from towerlog.model.running_totals import MAX_POINTS, NO_SIDES, Level, Point, RunningTotals, Sides
from towerlog.model.spending import AGENTS_RETIRED, MAX_AWAKE, MAX_SHARES, MAX_SHARES_BYTES, Spending
from towerlog.model.usage import MAX_SUM, NO_USAGE, Usage, UsageReport

NOTHING = Spending({})
_replace = msgspec.structs.replace


@contextmanager
def bounds(**most: int) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in most.items():
            patch.setattr(spending_module, name, value)
        yield


# One share as a text

any_figure = st.none() | st.integers(-MAX_SUM, MAX_SUM)
any_usage = st.builds(Usage, *[any_figure] * 9)
any_computed = st.builds(Computed, any_figure, st.integers(-5, MAX_SUM))
any_sides = st.builds(Sides, any_figure, any_figure)
steps = st.integers(-1, 2**53)
any_point = st.builds(Point, st.integers(0, MAX_SUM), steps, st.integers(0, 7), steps, *[any_figure] * 5)
any_level = st.builds(Level, steps, steps, any_usage, any_sides, any_usage)
any_running = st.builds(RunningTotals, any_level, st.lists(any_point, min_size=1, max_size=MAX_POINTS).map(tuple))
any_share = st.builds(
    AgentShare, any_usage, any_usage, any_sides, any_usage, any_usage, st.none() | any_running, st.none(),
    st.booleans(), steps, steps, st.none(), any_computed, any_computed, st.sampled_from([None, "calls", "totals"]),
    st.none() | st.integers(0, MAX_SUM),
)  # fmt: skip


@given(any_share, st.integers(0, 300))
def test_a_share_comes_back_as_it_was(share: AgentShare, place: int) -> None:
    packed = pack(share, place)
    assert unpack(packed) == (share, place)
    assert points_in(packed) == (0 if share.running is None else len(share.running.points))
    assert packed[0].islower() == (share.awaited_step >= 0)


def test_what_nobody_told_is_the_same_value_as_before() -> None:
    """Sums look for it by identity."""
    share, _ = unpack(pack(AgentShare(), 0))
    assert share.increments is share.totals is share.rest is share.turn is NO_USAGE
    assert share.sides is NO_SIDES
    assert share.computed is share.computed_total is NO_COMPUTED


def test_a_share_of_usual_figures_is_short() -> None:
    spending = NOTHING
    for at in range(1, 3):
        usage = Usage(input_tokens=1200 * at, output_tokens=300, total_tokens=90_000 * at)
        spending = spending.after(UsageReport(usage, "turn", by_size=True), "a", at, Priced(10**7, "v"))
    share = spending.shares["a"]
    assert share.running is not None
    assert len(share.running.points) == 2
    assert len(pack(share, 1)) <= 64
    assert len(msgspec.json.encode(share)) > 300


# As if it had never been away

AGENTS = ("a", "b", "c", "d", "l" * (MAX_WHOLE_NAME + 1), "~e")
Story = tuple[str, str, UsageReport, Priced | None, int, bool, Repriced]


def story(seed: int) -> Iterator[Story]:
    """What is told of a run, and decided; reports of all kinds, most of them of an agent's running totals."""
    chance = random.Random(seed)

    def figure(most: int = 60) -> int | None:
        return chance.choice([None, chance.randint(0, most), chance.randint(0, most)])

    for _ in range(60):
        kind = chance.choice(["report", "report", "report", "model", "step", "decision", "price", "lost place"])
        how = chance.choice(["total", "delta", "turn", "turn", "rest"])
        usage = Usage(*[figure() for _ in range(5)], figure(300), chance.choice([None, None, None, figure()]))
        report = UsageReport(
            usage, how, how in ("total", "rest") and chance.random() < 0.2, chance.random() < 0.1,
            inclusive=chance.random() < 0.5, by_size=chance.random() < 0.8,
        )  # fmt: skip
        priced = chance.choice([None, Priced(figure(), "v")])
        changed = [Computed(chance.choice([None, chance.randint(-50, 50)]), chance.randint(-1, 1)) for _ in range(4)]
        repriced = Repriced(1, "m", "v", *changed)
        yield kind, chance.choice(AGENTS), report, priced, chance.randint(0, 3), chance.random() < 0.5, repriced


def after(spending: Spending, one: Story) -> Spending:
    kind, agent, report, priced, step, flag, repriced = one
    share = spending.share_made(agent)
    if kind == "report":
        spending = spending.after(report, agent, step if flag else None, priced)
        total = report.usage.total_tokens
        return spending.with_running(agent, lambda known: known.in_place(total or 0, step))
    if kind == "model":
        return spending.with_share(agent, _replace(share, model=f"m{step}", several_models=share.model is not None))
    if kind == "step":
        return spending.with_share(agent, share.at(step, flag))
    if kind == "lost place":
        return spending.with_running(agent, lambda known: known.above(step))
    if kind == "decision":
        return spending.decided(agent, step, flag)
    return spending.repriced(repriced, agent)


def shown(spending: Spending) -> Any:
    """All that is asked of a run's agents, and its sums."""
    shares = {agent: spending.share(agent) for agent in AGENTS}
    dormant = spending.dormant or Dormant()
    awake = spending.shares.values()
    return {
        "usage": spending.usage(),
        "told": spending.told(),
        "computed": spending.computed_cost(spending.told()),
        "flags": spending.flags,
        "shares": shares,
        "awaiting": dormant.awaiting + sum(one.awaited_step >= 0 for one in awake),
        "several": dormant.several + sum(one.several_models for one in awake),
        "models": dormant.model_names() | {one.model for one in awake} - {None},
        "waiting": {name for name, _ in dormant.waiting()}
        | {name for name, one in spending.shares.items() if one.awaited_step >= 0},
    }


@pytest.mark.parametrize("most", [1, 2, 4])
@pytest.mark.parametrize("seed", range(20))
def test_an_agent_goes_on_as_if_it_had_never_been_away(seed: int, most: int) -> None:
    packed = whole = NOTHING
    for one in story(seed):
        with bounds(MAX_AWAKE=most):
            packed = after(packed, one)
        whole = after(whole, one)
        assert len(packed.shares) <= most
        assert shown(packed) == shown(whole)
        again = msgspec.json.decode(msgspec.json.encode(packed.dormant), type=Dormant | None)
        assert again == packed.dormant, "as it is read from the store"


def test_the_highest_step_is_known_of_whoever_told_it() -> None:
    dormant = Dormant().with_share("a", AgentShare(step_index=4)).with_share("b", AgentShare(step_index=9))
    left, _ = dormant.without("b")
    assert (left.step_index, left.step_agent) == (9, "b")


def test_a_place_of_a_model_is_used_again() -> None:
    dormant = Dormant()
    for number in range(20):
        dormant = dormant.with_share("a", AgentShare(model=f"m{number}")).with_share("b", AgentShare(model="m"))
        assert len(dormant.models) <= 2
        assert dormant.model_names() == {f"m{number}", "m"}
        dormant = dormant.without("a")[0].without("b")[0]
    assert dormant.models == ()


def test_sums_that_do_not_fit_stay_unknown_until_all_have_left() -> None:
    share = AgentShare(increments=Usage(2**62, total_tokens=2**62))
    dormant = Dormant().with_share("a", share).with_share("b", share)
    assert dormant.told.input_tokens == MAX_SUM
    one, _ = dormant.without("a")
    assert one.told.input_tokens == MAX_SUM
    assert one.without("b")[0].told == NO_USAGE


# What is forgotten


def cumulative(agents: int, rounds: int, seed: int) -> Iterator[tuple[str, int, UsageReport, int]]:
    """Agent, step, report and what that adds, in an order of chance among agents."""
    chance, sums = random.Random(seed), dict[str, int]()
    for at in range(1, rounds + 1):
        for number in chance.sample(range(agents), agents):
            name, call = f"agent {number}", chance.randint(1, 50)
            sums[name] = sums.get(name, 0) + call
            usage = Usage(input_tokens=sums[name], total_tokens=sums[name])
            yield name, at, UsageReport(usage, "turn", by_size=True), call


@pytest.mark.parametrize("most", [(8, 10, 1000), (8, 10, 4), (8, 10, 0), (1, 2, 3)])
@pytest.mark.parametrize("seed", range(4))
def test_what_agents_tell_that_are_forgotten_counts_once_at_most(most: tuple[int, int, int], seed: int) -> None:
    due, awake, (few, known, digests) = 0, NOTHING, most
    with bounds(MAX_AWAKE=few, MAX_SHARES=known, MAX_DIGESTS=digests):
        for name, at, report, call in cumulative(14, 5, seed):
            before, due = awake.usage().total_tokens or 0, due + call
            awake = awake.after(report, name, at)
            assert before <= (awake.usage().total_tokens or 0) <= due
            assert awake.retired is None or min(figure or 0 for figure in msgspec.structs.astuple(awake.usage())) >= 0
    assert awake.flags == (AGENTS_RETIRED,)
    if digests >= 14:
        assert awake.usage().total_tokens == due
        assert (awake.usage().input_tokens or 0) < due, "whose split is not known"


def test_calls_of_one_that_told_no_totals_count_on() -> None:
    spending, call = NOTHING, UsageReport(Usage(input_tokens=5), "delta")
    with bounds(MAX_AWAKE=1, MAX_SHARES=2):
        for agent in "abcabc":
            spending = spending.after(call, agent)
        assert (spending.usage().total_tokens, spending.flags) == (30, ())
        spending = spending.after(UsageReport(Usage(input_tokens=12)), "a")
        assert (spending.usage().total_tokens, spending.flags) == (32, (AGENTS_RETIRED,))


def test_calls_that_may_be_in_totals_that_were_told_do_not_count() -> None:
    spending = NOTHING
    with bounds(MAX_AWAKE=1, MAX_SHARES=2):
        for agent in "abc":
            spending = spending.after(UsageReport(Usage(input_tokens=5)), agent)
        spending = spending.after(UsageReport(Usage(input_tokens=5), "delta"), "a", priced=Priced(7, "v"))
    assert (spending.usage().total_tokens, spending.usage().cost_nanos) == (15, None)


def test_digests_are_as_many_as_may_be() -> None:
    spending = NOTHING
    with bounds(MAX_AWAKE=1, MAX_SHARES=2, MAX_DIGESTS=5):
        for number in range(40):
            spending = spending.after(UsageReport(Usage(input_tokens=1)), f"agent {number}")
    assert spending.dormant is not None
    assert len(spending.dormant.forgotten) == 5 * DIGEST_CHARS
    assert spending.retired is not None
    assert spending.retired.forgotten == "calls"


@pytest.mark.parametrize(
    ("name", "usage", "least"),
    [
        ("{}", Usage(10**6, 10**6, None, 10**5, 10**5, 2 * 10**6), MAX_SHARES),
        ("{}".ljust(MAX_WHOLE_NAME, "n"), Usage(10**6, output_tokens=10**5), MAX_SHARES),
        ("{}".ljust(200, "\U0001f4bc"), Usage(10**6, 10**6, None, 10**5, 10**5, 2 * 10**6), MAX_SHARES),
        ("{}".ljust(200, "\U0001f4bc"), Usage(*[2**53] * 5, 2**56, 2**62), 120),
    ],
)
def test_so_many_agents_fit(name: str, usage: Usage, least: int) -> None:
    """Whatever they are called; of the longest figures that one report may have about half."""
    spending = NOTHING
    for number in range(MAX_SHARES):
        spending = spending.after(UsageReport(usage, "total", by_size=True), name.format(number), number)
        dormant = spending.dormant
        assert dormant is None or dormant.size() <= MAX_SHARES_BYTES
    assert dormant is not None
    assert len(spending.shares) == MAX_AWAKE
    assert len(dormant.shares) + MAX_AWAKE >= least
