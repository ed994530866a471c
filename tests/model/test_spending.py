"""What a run has spent: increments and running totals of any order add up to one truth that never falls."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import astuple

from towerlog.model import running_totals
from towerlog.model import spending as spending_module
from towerlog.model.agent_share import AgentShare
from towerlog.model.computed_costs import NO_COMPUTED, Computed, Priced
from towerlog.model.spending import (
    AGENTS_RETIRED,
    MAX_SHARES,
    MAX_SHARES_BYTES,
    TOTAL_DECREASED,
    Spending,
)
from towerlog.model.usage import NO_USAGE, Usage, UsageReport, falls, highest

NOTHING = Spending({})
SPLIT = Usage.__struct_fields__[:5]
FIGURES = Usage.__struct_fields__

figures = st.none() | st.integers(0, 60)
usages = st.builds(Usage, *[figures] * 7)
Told = tuple[UsageReport, str]
told = st.tuples(
    st.builds(UsageReport, usages, st.sampled_from(["total", "delta"]), st.booleans(), st.booleans()).filter(
        lambda report: not (report.whole_run and report.kind == "delta")
    ),
    st.sampled_from("abc"),
)


def known(usage: Usage) -> dict[str, Any]:
    """The figures that are known."""
    return {name: getattr(usage, name) for name in FIGURES if getattr(usage, name) is not None}


def after(*reports: Told) -> Spending:
    """All that was told, in this order."""
    spending = NOTHING
    for report, agent in reports:
        spending = spending.after(report, agent)
    return spending


def turn(input_tokens: int, output_tokens: int, total_tokens: int, **more: Any) -> UsageReport:
    """A checkpoint's figures as a runner sends them."""
    return UsageReport(
        Usage(input_tokens=input_tokens, output_tokens=output_tokens, total_tokens=total_tokens),
        "turn",
        by_size=True,
        **more,
    )


def turns(*given: tuple[int, int, int], spending: Spending = NOTHING) -> list[dict[str, Any]]:
    """What is known after each turn of one agent."""
    seen = []
    for step, figures in enumerate(given):
        spending = spending.after(turn(*figures), "a", step)
        seen.append(known(spending.usage()))
    return seen


@given(st.lists(told, max_size=12))
def test_the_larger_of_increments_and_totals_counts_bucket_by_bucket(reports: list[Told]) -> None:
    """Against sums and maxima that are taken anew for each bucket, from the reports as they stand."""
    usage = after(*reports).usage()
    for name in (*SPLIT, "cost_nanos"):
        by_agent: dict[str, list[int]] = {}
        ours, of_run = 0, [0]
        for agent in "abc":
            mine = [(one, getattr(one.usage, name)) for one, who in reports if who == agent and not one.whole_run]
            if name == "cost_nanos":
                mine = [(one, figure) for one, figure in mine if not one.process_cost]
            sums = sum(figure or 0 for one, figure in mine if one.kind == "delta")
            by_agent[agent] = [sums, *(figure or 0 for one, figure in mine if one.kind == "total")]
            ours += max(by_agent[agent])
        of_run += [getattr(one.usage, name) or 0 for one, _ in reports if one.whole_run]
        if name == "cost_nanos":
            of_run += [one.usage.cost_nanos or 0 for one, _ in reports if one.process_cost]
        assert (getattr(usage, name) or 0) == max(ours, *of_run), name


@given(st.lists(told, max_size=12), st.randoms(use_true_random=False))
def test_the_order_of_reports_changes_nothing(reports: list[Told], random: Any) -> None:
    shuffled = list(reports)
    random.shuffle(shuffled)
    assert after(*reports).usage() == after(*shuffled).usage()


@given(st.lists(told, max_size=12))
def test_no_figure_falls_and_the_total_is_no_less_than_its_parts(reports: list[Told]) -> None:
    spending = NOTHING
    for report, agent in reports:
        before, spending = spending.usage(), spending.after(report, agent)
        now = spending.usage()
        assert highest(before, now) == now
        assert now.split_tokens() is None or (now.total_tokens or 0) >= (now.split_tokens() or 0)


@given(st.lists(told, max_size=6), told)
def test_a_partial_report_moves_no_other_bucket(reports: list[Told], one: Told) -> None:
    before, now = after(*reports).usage(), after(*reports, one).usage()
    for name in (*SPLIT, "cost_nanos"):
        if getattr(one[0].usage, name) is None:
            assert getattr(now, name) == getattr(before, name), name


def test_a_bare_total_stands_beside_a_split() -> None:
    """What one agent does not split is no less than what another splits."""
    both = after(
        (UsageReport(Usage(total_tokens=420)), "p"), (UsageReport(Usage(input_tokens=500, output_tokens=100)), "q")
    )
    assert known(both.usage()) == {"input_tokens": 500, "output_tokens": 100, "total_tokens": 1020}


def test_a_bare_total_counts_what_it_says_beyond_the_split() -> None:
    share = after((UsageReport(Usage(input_tokens=30, total_tokens=50)), "a"))
    assert known(share.usage()) == {"input_tokens": 30, "total_tokens": 50}
    split = after((UsageReport(Usage(total_tokens=50)), "a"), (UsageReport(Usage(30, output_tokens=20), "delta"), "b"))
    assert known(split.usage()) == {"input_tokens": 30, "output_tokens": 20, "total_tokens": 100}


def test_a_cost_alone_takes_no_token_away() -> None:
    spending = after(
        (UsageReport(Usage(input_tokens=1000, output_tokens=500), "delta"), "a"),
        (UsageReport(Usage(cost_nanos=7), whole_run=True), "a"),
    )
    assert known(spending.usage()) == {
        "input_tokens": 1000,
        "output_tokens": 500,
        "total_tokens": 1500,
        "cost_nanos": 7,
    }


def test_a_cost_of_the_process_is_one_counter_whoever_tells_it() -> None:
    costs = [(UsageReport(Usage(cost_nanos=cost), process_cost=True), agent) for cost, agent in ((20, "a"), (50, "b"))]
    assert after(*costs, costs[0]).usage() == Usage(cost_nanos=50)


def test_a_total_that_falls_moves_nothing_and_is_flagged() -> None:
    high, low = UsageReport(Usage(input_tokens=10, cost_nanos=9)), UsageReport(Usage(input_tokens=4, cost_nanos=9))
    spending = after((high, "a"), (low, "a"))
    assert (spending.usage(), spending.flags) == (after((high, "a")).usage(), (TOTAL_DECREASED,))
    assert after((high, "a"), (low, "b")).flags == ()
    assert after((high, "a"), (UsageReport(low.usage, "delta"), "a")).flags == ()
    for whole in (UsageReport(high.usage, whole_run=True), UsageReport(high.usage, process_cost=True)):
        fallen = msgspec.structs.replace(whole, usage=Usage(input_tokens=10, cost_nanos=8))
        assert after((whole, "a"), (fallen, "a")).flags == (TOTAL_DECREASED,)


def test_an_older_step_that_was_overtaken_is_no_fall() -> None:
    newer, older = UsageReport(Usage(input_tokens=10)), UsageReport(Usage(input_tokens=4))
    spending = NOTHING.with_share("a", AgentShare(step_index=5)).after(newer, "a", 5)
    assert spending.after(older, "a", 4).flags == ()
    assert spending.after(older, "a", 5).flags == (TOTAL_DECREASED,)


def test_figures_of_the_last_call_add_up_beside_their_running_total() -> None:
    """A runner that gives the figures of its last model call, and noughts after a tool."""
    assert turns((1000, 50, 1050), (0, 0, 1050), (1300, 60, 2410)) == [
        {"input_tokens": 1000, "output_tokens": 50, "total_tokens": 1050},
        {"input_tokens": 1000, "output_tokens": 50, "total_tokens": 1050},
        {"input_tokens": 2300, "output_tokens": 110, "total_tokens": 2410},
    ]


def test_running_totals_of_each_turn_replace_each_other() -> None:
    """A runner whose input and output are running totals as well."""
    assert turns((1000, 50, 1050), (1000, 50, 1050), (2300, 110, 2410))[-1] == {
        "input_tokens": 2300,
        "output_tokens": 110,
        "total_tokens": 2410,
    }


def test_a_checkpoint_that_repeats_its_last_call_adds_nothing() -> None:
    """At the end of a turn and of a sub-agent, under a step of its own."""
    assert turns((400, 7, 407), (400, 7, 407), (600, 7, 1014), (600, 7, 1014), (600, 7, 1014))[-1] == {
        "input_tokens": 1000,
        "output_tokens": 14,
        "total_tokens": 1014,
    }


def test_a_step_that_was_lost_is_unsplit() -> None:
    assert turns((1000, 50, 1050), (1300, 60, 4000))[-1] == {
        "input_tokens": 2300,
        "output_tokens": 110,
        "total_tokens": 4000,
    }


def test_a_step_that_is_told_again_is_counted_once() -> None:
    spending = NOTHING.after(turn(10, 1, 11), "a", 0)
    again = turn(20, 2, 33)
    once = spending.after(again, "a", 1)
    assert once.after(again, "a", 1) == once
    assert known(once.usage()) == {"input_tokens": 30, "output_tokens": 3, "total_tokens": 33}


@pytest.mark.parametrize(
    ("again", "counted"),
    [
        (turn(100, 500, 1500), {"input_tokens": 100, "output_tokens": 500, "total_tokens": 1500}),
        (turn(90, 500, 1500), {"input_tokens": 100, "output_tokens": 500, "total_tokens": 1500}),
        # A call of its own, as of a runner that has gone back.
        (turn(100, 500, 1600), {"input_tokens": 200, "output_tokens": 501, "total_tokens": 1600}),
        # Better figures of what was unsplit before: the total is the same one.
        (turn(100, 500, 1000), {"input_tokens": 100, "output_tokens": 500, "total_tokens": 1000}),
        # More than it can be of: of two that contradict each other neither counts, whichever came first.
        (turn(100, 950, 1000), {"total_tokens": 1000}),
    ],
)
def test_a_step_that_is_told_again_with_better_figures_has_these(again: UsageReport, counted: dict[str, int]) -> None:
    spending = NOTHING.after(turn(100, 1, 1000), "a", 1)
    spending = spending.with_share("a", spending.shares["a"].at(1, False)).after(again, "a", 1)
    assert known(spending.usage()) == counted
    assert known(spending.after(again, "a", 1).usage()) == counted


@given(st.lists(st.tuples(st.integers(0, 90), st.integers(0, 90)), min_size=1, max_size=8), st.booleans())
def test_either_kind_of_runner_is_understood(calls: list[tuple[int, int]], totals: bool) -> None:
    """The same calls, told as running totals or each by itself, in order: no token more, no token less."""
    given, sent, made = [], 0, [0, 0]
    for inputs, outputs in calls:
        made = [made[0] + inputs, made[1] + outputs]
        sent += inputs + outputs
        given.append((made[0], made[1], sent) if totals else (inputs, outputs, sent))
    assert turns(*given)[-1]["total_tokens"] == sent


def remembered(spending: Spending) -> int:
    """How many agents."""
    return len(spending.shares) + (0 if spending.dormant is None else len(spending.dormant.shares))


@pytest.fixture
def by_number_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Agents are retired for their number, not for their size."""
    monkeypatch.setattr(spending_module, "MAX_SHARES_BYTES", 1 << 30)


def test_agents_are_retired_for_the_size_of_what_is_remembered() -> None:
    spending = NOTHING
    for number in range(400):
        report = UsageReport(Usage(input_tokens=2**54, cost_nanos=10**15))
        spending = spending.after(report, f"agent {number} " + "n" * 40)
        assert spending.dormant is None or spending.dormant.size() <= MAX_SHARES_BYTES
    assert "agent 399 " + "n" * 40 in spending.shares
    assert remembered(spending) < 300
    assert spending.usage().input_tokens == 400 * 2**54
    assert spending.flags == (AGENTS_RETIRED,)


@pytest.mark.usefixtures("by_number_alone")
def test_sums_are_kept_however_many_agents_there_are() -> None:
    spending = NOTHING
    for number in range(MAX_SHARES + 50):
        spending = spending.after(UsageReport(Usage(input_tokens=10)), f"agent {number}")
        spending = spending.after(UsageReport(Usage(input_tokens=1, cost_nanos=5), "delta"), f"agent {number}")
    assert remembered(spending) == MAX_SHARES
    everything = 10 * (MAX_SHARES + 50)
    assert known(spending.usage()) == {
        "input_tokens": everything,
        "total_tokens": everything,
        "cost_nanos": 5 * (MAX_SHARES + 50),
    }
    assert spending.flags == (AGENTS_RETIRED,)


@pytest.mark.usefixtures("by_number_alone")
def test_agents_that_only_add_are_retired_without_a_flag() -> None:
    spending = NOTHING
    for number in range(3 * MAX_SHARES):
        report = UsageReport(Usage(input_tokens=1), "delta")
        spending = spending.after(report, f"agent {number % (2 * MAX_SHARES)}")
    assert (spending.usage().input_tokens, spending.flags) == (3 * MAX_SHARES, ())


@pytest.mark.usefixtures("by_number_alone")
def test_the_agent_that_told_last_is_remembered_longest() -> None:
    spending = NOTHING
    for number in range(MAX_SHARES):
        spending = spending.after(UsageReport(Usage(input_tokens=1)), f"agent {number}")
    spending = spending.after(UsageReport(Usage(input_tokens=2)), "agent 0")
    spending = spending.after(UsageReport(Usage(input_tokens=1)), "one more")
    assert spending.share("agent 0") is not None
    assert spending.share("agent 1") is None
    assert spending.usage().input_tokens == MAX_SHARES + 2


@pytest.mark.parametrize(
    ("left", "right", "fell"),
    [
        (NO_USAGE, Usage(1), False),
        (Usage(2), NO_USAGE, False),
        (Usage(2), Usage(2), False),
        (Usage(2), Usage(1), True),
        (Usage(2, cost_nanos=4), Usage(9, cost_nanos=3), True),
    ],
)
def test_a_fall_is_one_figure_that_is_lower(left: Usage, right: Usage, fell: bool) -> None:
    assert falls(left, right) is fell


# Totals without a split beside increments with one

increments = st.builds(UsageReport, st.builds(Usage, *[figures] * 5), st.just("delta"))
wholes = st.builds(
    UsageReport,
    st.builds(lambda i, o: Usage(input_tokens=i, output_tokens=o), figures, figures),
    inclusive=st.just(True),
)


@given(st.lists(increments | wholes, max_size=10), st.booleans())
def test_tokens_told_as_input_and_as_cached_count_once_in_any_order(reports: list[UsageReport], of_run: bool) -> None:
    reports = [msgspec.structs.replace(one, whole_run=one.inclusive and of_run) for one in reports]
    spending, sums, tops = NOTHING, [0, 0], [0, 0]
    for one in reports:
        before, spending = spending.usage(), spending.after(one, "a")
        now, sides = spending.usage(), (one.usage.all_input_tokens() or 0, one.usage.all_output_tokens() or 0)
        for side in (0, 1):
            sums[side] += 0 if one.inclusive else sides[side]
            tops[side] = max(tops[side], sides[side] if one.inclusive else 0)
        told = (now.all_input_tokens() or 0, now.all_output_tokens() or 0)
        assert told == (max(sums[0], tops[0]), max(sums[1], tops[1]))
        assert (now.total_tokens or 0) >= (before.total_tokens or 0), "no sum falls"


def test_a_prompt_that_includes_what_was_cached() -> None:
    call = UsageReport(Usage(86, 1920, None, 250, 50), "delta")
    end = UsageReport(Usage(input_tokens=2006, output_tokens=300, total_tokens=2306), whole_run=True, inclusive=True)
    split = {"input_tokens": 86, "cached_input_tokens": 1920, "output_tokens": 250, "reasoning_tokens": 50}
    assert known(after((call, "a"), (end, "a")).usage()) == {**split, "total_tokens": 2306}
    late = after((end, "a"), (call, "a"))
    assert known(late.usage()) == {**split, "total_tokens": 2306}, "a split that comes late is one as well"
    assert after((call, "a"), (end, "a"), (end, "a")).flags == ()
    lower = msgspec.structs.replace(end, usage=Usage(input_tokens=2000, output_tokens=300))
    assert after((end, "a"), (lower, "a")).flags == (TOTAL_DECREASED,)


def test_calls_told_one_by_one_and_beside_a_running_total_count_once() -> None:
    """A gateway tells each call of an agent, and so does the agent's runner in its checkpoints."""
    calls = [(2006, 300, 2306), (0, 0, 2306), (1000, 94, 3400)]
    told: list[Told] = [
        (UsageReport(Usage(86, 1920, None, 300), "delta"), "a"),
        (UsageReport(Usage(1000, output_tokens=94), "delta"), "a"),
        *((turn(*call, inclusive=True), "a") for call in calls),
    ]
    expected = {"input_tokens": 1086, "cached_input_tokens": 1920, "output_tokens": 394, "total_tokens": 3400}
    assert known(after(*told).usage()) == expected
    mixed = [told[2], told[0], told[3], told[1], told[4]]
    assert known(after(*mixed).usage()) == expected


# Costs that were computed, beside those that were told

CALL, TOTAL = UsageReport(Usage(input_tokens=9), "delta"), UsageReport(Usage(input_tokens=9))
PRICES = st.none() | st.builds(Priced, st.none() | st.integers(0, 40), st.just("v"))
PricedTold = tuple[UsageReport, str, Priced | None]


def with_price(one: Told, priced: Priced | None) -> PricedTold:
    """Who told a cost is not priced."""
    return (*one, None if one[0].usage.cost_nanos is not None else priced)


priced_told = st.builds(with_price, told, PRICES)


def priced_after(*reports: PricedTold, spending: Spending = NOTHING) -> Spending:
    """All that was told, in this order, with what was computed of it; a token of a total is worth a nano-dollar."""
    for report, agent, priced in reports:
        for less, whole_run in zip(spending.overlaps(report, agent), (False, True), strict=True):
            if less != NO_USAGE:  # as the engine does it
                worth = Priced(less.input_tokens, None, 0)
                spending = spending.after(UsageReport(less, "rest", whole_run), agent, priced=worth)
        spending = spending.after(report, agent, priced=priced)
    return spending


def at(nanos: int | None, report: UsageReport = CALL, agent: str = "a") -> PricedTold:
    """A report that was priced at this; None: it could not be."""
    return (report, agent, Priced(nanos, None if nanos is None else "v"))


def costing(nanos: int, report: UsageReport = CALL, agent: str = "a", **more: Any) -> PricedTold:
    """A report that tells this cost."""
    return (msgspec.structs.replace(report, usage=Usage(cost_nanos=nanos), **more), agent, None)


def cost(*reports: PricedTold) -> tuple[int | None, int | None, int | None]:
    """The cost that counts, what of it was computed, and how many reports it leaves out."""
    usage = priced_after(*reports).usage()
    return usage.cost_nanos, usage.computed_nanos, usage.unpriced_calls


@given(st.lists(priced_told, max_size=12))
def test_what_was_told_does_not_depend_on_what_was_computed(reports: list[PricedTold]) -> None:
    bare = after(*[(report, agent) for report, agent, _ in reports])
    spending = priced_after(*reports)
    assert spending.told() == bare.told() == bare.usage()
    usage = spending.usage()
    assert usage.reported_nanos() == (bare.usage().cost_nanos or 0)
    assert (usage.computed_nanos or 0) >= 0
    assert usage.cost_nanos is None or usage.cost_nanos >= (usage.computed_nanos or 0)
    assert (usage.unpriced_calls or 1) > 0
    for name in (*SPLIT, "total_tokens"):
        assert getattr(usage, name) == getattr(bare.usage(), name)


@given(st.lists(priced_told, max_size=12))
def test_calls_are_added_unless_a_total_cost_is_told(reports: list[PricedTold]) -> None:
    """Against sums that are taken anew from the reports as they stand, of those whose totals were not priced."""
    reports = [(one, who, priced if one.kind == "delta" else None) for one, who, priced in reports]
    whole = any(one.usage.cost_nanos is not None and (one.whole_run or one.process_cost) for one, _, _ in reports)
    nanos, unpriced, is_known = 0, 0, False
    for agent in "abc":
        mine = [(one, priced) for one, who, priced in reports if who == agent and not one.whole_run]
        totals = any(
            one.kind == "total" and one.usage.cost_nanos is not None and not one.process_cost for one, _ in mine
        )
        for _, priced in mine:
            if priced is None or totals or whole:
                continue
            nanos, unpriced = nanos + (priced.nanos or 0), unpriced + (priced.nanos is None)
            is_known = is_known or priced.nanos is not None
    usage = priced_after(*reports).usage()
    assert (usage.computed_nanos, usage.unpriced_calls) == (nanos if is_known else None, unpriced or None)


@given(st.lists(priced_told, max_size=10), st.randoms(use_true_random=False))
def test_the_order_of_calls_and_told_costs_changes_no_computed_cost(reports: list[PricedTold], random: Any) -> None:
    reports = [(one, who, priced if one.kind == "delta" else None) for one, who, priced in reports]
    shuffled = list(reports)
    random.shuffle(shuffled)
    assert priced_after(*reports).usage() == priced_after(*shuffled).usage()


@given(st.lists(priced_told, max_size=8), priced_told)
def test_a_cost_falls_only_where_a_told_one_takes_the_place_of_a_computed_one(
    reports: list[PricedTold], one: PricedTold
) -> None:
    before = priced_after(*reports)
    now = before.after(one[0], one[1], priced=one[2]).usage()
    was = before.usage()
    if (now.cost_nanos or 0) < (was.cost_nanos or 0):
        assert one[0].usage.cost_nanos is not None
        assert (now.computed_nanos or 0) < (was.computed_nanos or 0)
    assert now.reported_nanos() >= was.reported_nanos()


def test_a_told_total_takes_the_place_of_what_was_computed() -> None:
    assert cost(at(7), at(None), costing(5, TOTAL)) == (5, None, None)
    assert cost(costing(5, TOTAL), at(7), at(None)) == (5, None, None), "in either order"
    assert cost(at(7), at(3, agent="b"), costing(5, TOTAL)) == (8, 3, None), "of that agent alone"
    whole = [
        costing(5, TOTAL, whole_run=True),
        costing(5, TOTAL, process_cost=True),
        costing(5, CALL, process_cost=True),
    ]
    for one in whole:
        assert cost(at(7), at(3, agent="b"), at(None, agent="b"), one) == (5, None, None)
        assert cost(one, at(7), at(3, agent="b")) == (5, None, None)
    assert cost(at(7), costing(0, TOTAL)) == (0, None, None), "who says that it cost nothing is believed"


def test_the_cost_of_each_call_is_its_own() -> None:
    assert cost(at(7), costing(5), at(None), at(2)) == (14, 9, 1)


def test_a_total_without_a_cost_counts_what_it_adds() -> None:
    """A total that was priced at 4 beyond two calls of 7 and 2."""
    assert cost(at(7), at(2), at(4, TOTAL)) == (13, 13, None)
    assert cost(at(9, TOTAL), at(7), at(2)) == (9, 9, None), "calls that it is of are in it"
    assert cost(at(9, TOTAL), at(7), at(4)) == (11, 11, None), "and where they are more, they count"
    assert cost(at(9, TOTAL), costing(5), at(2)) == (7, 2, None), "where calls are told with costs, they count"
    assert cost(at(None, TOTAL), at(7)) == (7, 7, None)


def test_a_total_of_the_run_counts_what_it_adds_while_no_cost_is_told() -> None:
    whole = msgspec.structs.replace(TOTAL, whole_run=True)
    assert cost(at(7), at(2, agent="b"), at(4, whole)) == (13, 13, None)
    assert cost(at(9, whole), at(7), at(2, agent="b")) == (9, 9, None)
    assert cost(at(13, whole), at(7), costing(2, agent="b")) == (9, 7, None)


@pytest.mark.usefixtures("by_number_alone")
def test_what_was_computed_of_agents_that_are_no_longer_remembered_stays() -> None:
    spending = NOTHING
    for number in range(MAX_SHARES + 50):
        spending = priced_after(at(3, agent=f"agent {number}"), at(None, agent=f"agent {number}"), spending=spending)
    usage = spending.usage()
    assert (usage.computed_nanos, usage.unpriced_calls) == (3 * (MAX_SHARES + 50), MAX_SHARES + 50)
    whole = spending.after(UsageReport(Usage(cost_nanos=1), whole_run=True), "z").usage()
    assert (whole.cost_nanos, whole.computed_nanos, whole.unpriced_calls) == (1, None, None)


def test_a_row_without_computed_costs_says_nothing_of_them() -> None:
    share = after((CALL, "a")).shares["a"]
    assert share.computed is NO_COMPUTED
    assert b"computed" not in msgspec.json.encode(share)
    assert msgspec.json.decode(msgspec.json.encode(share), type=AgentShare).computed_cost() == Computed()


# What is worked out in a shorter way


turns_told = st.builds(
    UsageReport,
    usages,
    st.sampled_from(["total", "turn", "delta"]),
    st.booleans(),
    st.booleans(),
    st.none(),
    st.booleans(),
).filter(lambda report: not (report.whole_run and report.kind != "total"))
PLAIN = ("input_tokens", "output_tokens", "total_tokens", "cost_nanos")
plain_usages = st.builds(Usage, **dict.fromkeys(PLAIN, figures))
plain_told = st.builds(
    UsageReport,
    plain_usages,
    st.sampled_from(["total", "turn"]),
    st.booleans(),
    st.booleans(),
    st.none(),
    st.booleans(),
)


WHOLE = UsageReport(Usage(input_tokens=60), inclusive=True)
CACHED = UsageReport(Usage(input_tokens=20, cached_input_tokens=40), inclusive=True)


@example([(WHOLE, "a")], (CACHED, "a"), None)
@example([(WHOLE, "a")], (CALL, "a"), None)
@example([(UsageReport(WHOLE.usage, whole_run=True), "a")], (WHOLE, "b"), None)
@given(
    st.lists(st.tuples(turns_told | plain_told, st.sampled_from("ab")), max_size=6),
    st.tuples(turns_told | plain_told, st.sampled_from("ab")),
    st.none() | st.integers(0, 3),
)
def test_a_total_without_cached_tokens_takes_nothing_from_a_rest(
    reports: list[Told], last: Told, step: int | None
) -> None:
    before, (report, agent) = after(*reports), last
    now = before.after(report, agent, step)
    rests = [(before.run_rest, now.run_rest)]
    rests += [(share.rest, now.shares[name].rest) for name, share in before.shares.items()]
    less = any(
        (new or 0) < (old or 0) for was, now_ in rests for old, new in zip(*map(astuple, (was, now_)), strict=True)
    )
    told_less = [one for one in before.overlaps(report, agent, step) if one != NO_USAGE]
    assert bool(told_less) == less


@given(plain_usages, st.none() | st.integers(0, 60), st.none() | st.integers(0, 60))
def test_the_rest_of_totals_alone_is_as_that_beside_calls(totals: Usage, sent: int | None, written: int | None) -> None:
    sides = running_totals.Sides(sent, written)
    for told in (totals, NO_USAGE):
        short = running_totals.rest_of(NO_USAGE, told, sides)
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(running_totals, "_NONE", ())
            whole = running_totals.rest_of(NO_USAGE, told, sides)
        assert (short, short is NO_USAGE) == (whole, whole is NO_USAGE)
