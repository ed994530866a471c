"""Running totals of one agent in any order: each adds the same, whichever came first."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.tables import table
from towerlog.model.running_totals import MAX_POINTS, MAX_POINTS_BYTES, Level, Point, RunningTotals, point_of
from towerlog.model.spending import MAX_SHARES_BYTES, Spending
from towerlog.model.usage import Usage, UsageReport, whole

Told = tuple[int, UsageReport]
"""A step and what its checkpoint tells."""
NOTHING = Spending({})


def step(at: int, sent: int | None, written: int | None, total: int | None, **more: Any) -> Told:
    """A checkpoint's figures as runners send them."""
    kind = "total" if None in (sent, written, total) else "turn"
    usage = Usage(input_tokens=sent, output_tokens=written, total_tokens=total, **more)
    return at, UsageReport(usage, kind, inclusive=True, by_size=True)


def told(*steps: Told, spending: Spending = NOTHING) -> Spending:
    """All of these in this order, of one agent."""
    for at, report in steps:
        spending = spending.after(report, "a", at)
        share = spending.shares["a"]
        spending = spending.with_share("a", share.at(at, False))
    return spending


def known(spending: Spending) -> dict[str, int]:
    """The figures that are known."""
    usage = spending.usage()
    return {name: figure for name in usage.__struct_fields__ if (figure := getattr(usage, name)) is not None}


STEPS = {
    "the last call": [step(1, 100, 10, 110), step(2, 1000, 200, 1310), step(3, 50, 5, 1365)],
    "a tool between": [step(1, 100, 10, 110), step(2, 0, 0, 110), step(3, 50, 5, 165)],
    "a call told again": [step(1, 400, 7, 407), step(2, 400, 7, 407), step(3, 600, 7, 1014), step(4, 600, 7, 1014)],
    "a repeat that has grown": [step(1, 600, 7, 607), step(2, 600, 7, 700), step(3, 5, 5, 710)],
    "a lost step": [step(1, 100, 10, 110), step(3, 50, 5, 1365), step(4, 30, 1, 1400)],
    "better figures": [step(1, 100, 1, 1000), step(1, 100, 500, 1500), step(2, 10, 1, 1511)],
    "running totals": [step(1, 100, 10, 110), step(2, 1100, 210, 1310), step(3, 1150, 215, 1365)],
    "bare totals": [step(1, None, None, 110), step(2, 1000, 200, 1310), step(3, None, None, 1365)],
    "of a cache": [
        step(1, 10, 10, 110, cached_input_tokens=90),
        step(2, 100, 20, 500, cached_input_tokens=200, reasoning_tokens=40),
        step(3, 5, 5, 510),
    ],
    "a call, and then all of the same total": [
        step(1, 315, 359, 1216),
        step(2, 280, 621, 1216, cached_input_tokens=315),
        step(3, 595, 621, 1216),
    ],
    "nothing": [step(0, 0, 0, 0), step(1, 0, 0, 0), step(2, 7, 1, 8)],
}


@table("name", STEPS)
def test_all_orders_of_a_few_steps_count_the_same(name: str) -> None:
    steps = STEPS[name]
    expected = told(*steps)
    for order in itertools.permutations(steps):
        found = told(*order)
        assert (known(found), found.shares["a"].running) == (known(expected), expected.shares["a"].running), order


def test_a_step_that_was_overtaken_keeps_its_split() -> None:
    steps = STEPS["the last call"]
    assert known(told(*reversed(steps))) == {"input_tokens": 1150, "output_tokens": 215, "total_tokens": 1365}


def test_a_split_of_all_is_not_lost_beside_another_telling_of_the_same_total() -> None:
    """Neither beside a call, nor beside one that does not tell what was cached."""
    split = {"input_tokens": 280, "cached_input_tokens": 315, "output_tokens": 621, "total_tokens": 1216}
    steps = STEPS["a call, and then all of the same total"]
    assert known(told(*steps)) == known(told(*steps[:2])) == known(told(*steps[1:])) == split
    thought = step(3, 595, 600, 1216, reasoning_tokens=21)
    assert known(told(*steps, thought)) == split | {"output_tokens": 600, "reasoning_tokens": 21}


def test_a_call_that_does_not_fit_any_more_is_taken_back() -> None:
    """A checkpoint that repeats its last call and has grown by something else comes before the one that it repeats."""
    first, call, repeat = STEPS["a repeat that has grown"][0], *STEPS["a repeat that has grown"][:2]
    assert known(told(repeat)) == {"input_tokens": 600, "output_tokens": 7, "total_tokens": 700}
    assert known(told(repeat, call)) == {"input_tokens": 600, "output_tokens": 7, "total_tokens": 700}
    [change] = told(repeat).changes(first[1], "a", first[0])
    assert (change.before, change.after) == (
        Usage(input_tokens=600, output_tokens=7, total_tokens=700),
        Usage(input_tokens=0, output_tokens=0, total_tokens=93),
    )


calls = st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(0, 30))
"""Input and output of a call, and what else the total grows by."""


@given(st.lists(calls, min_size=1, max_size=MAX_POINTS), st.booleans(), st.data())
def test_what_runners_tell_counts_once_in_any_order(
    calls: list[tuple[int, int, int]], cumulative: bool, data: st.DataObject
) -> None:
    """Of calls each, or totals; with steps that were lost, and some that tell nothing but their total."""
    steps, sums, total = [], [0, 0], 0
    for at, (sent, written, more) in enumerate(calls):
        sums = [sums[0] + sent, sums[1] + written]
        total += sent + written + (0 if cumulative else more)
        steps.append(step(at, *(sums if cumulative else (sent, written)), total))
    steps = data.draw(st.lists(st.sampled_from(steps), min_size=1, unique_by=lambda one: one[0]))
    expected, found = told(*sorted(steps, key=lambda one: one[0])), told(*steps)
    assert known(found) == known(expected)
    highest = max(report.usage.total_tokens or 0 for _, report in steps)
    assert known(found)["total_tokens"] == highest
    if not cumulative:
        assert known(found)["input_tokens"] == sum(report.usage.input_tokens or 0 for _, report in steps)


figures = st.none() | st.integers(0, 60)
points = st.builds(
    lambda at, kind, inclusive, usage: (at, UsageReport(usage, kind, inclusive=inclusive, by_size=True)),
    st.integers(0, 3),
    st.sampled_from(["total", "turn"]),
    st.booleans(),
    st.builds(Usage, *[figures] * 6),
)


@given(st.lists(points, max_size=MAX_POINTS), st.randoms(use_true_random=False))
def test_whatever_is_told_counts_the_same_in_any_order(steps: list[Told], random: Any) -> None:
    shuffled = list(steps)
    random.shuffle(shuffled)
    assert known(told(*steps)) == known(told(*shuffled))


sides = st.builds(lambda i, o, total: Usage(input_tokens=i, output_tokens=o, total_tokens=total), *[figures] * 3)
of_sides = st.builds(
    lambda at, kind, usage: (at, UsageReport(usage, kind, inclusive=True, by_size=True)),
    st.integers(0, 3),
    st.sampled_from(["total", "turn"]),
    sides,
)
"""Of these the lowest may be forgotten: where they tell no cache, what was counted of them does not fall."""


@given(st.lists(of_sides, max_size=2 * MAX_POINTS) | st.lists(points, max_size=MAX_POINTS))
def test_what_changes_and_what_is_added_make_the_sum(steps: list[Told]) -> None:
    """Each total adds something when it comes, and changes what others have added; nothing is below 0 at any time, and
    no total has a larger split than it has tokens."""
    spending, rest = NOTHING, [0] * 9
    held: dict[int, list[int]] = {}
    for at, report in steps:
        point, changes = point_of(report, at), spending.changes(report, "a", at)
        spending = told((at, report), spending=spending)
        was, rest = rest, figures_of(spending.shares["a"].rest)
        added = [now - before for now, before in zip(rest, was, strict=True)]
        for total, before, after in ((one.point.total, *map(figures_of, one[1:])) for one in changes):
            assert held[total] == before, "it has counted that"
            held[total] = after
            added = [more - now + before for more, now, before in zip(added, after, before, strict=True)]
        if point is not None:
            own = held.get(point.total, [0] * 9)
            held[point.total] = [one + more for one, more in zip(own, added, strict=True)]
        assert all(figure >= 0 for one in held.values() for figure in one)
        assert all(sum(one[:5]) <= one[5] for one in held.values())
        assert [sum(one) for one in zip([0] * 9, *held.values(), strict=True)] == rest
        running = spending.shares["a"].running
        assert running is None or len(running.points) <= MAX_POINTS


FLAT, CACHED, BARE = (
    step(2, 1100, 210, 1310),
    (3, UsageReport(Usage(575, 575, None, 215), "turn", inclusive=True, by_size=True)),
    step(1, None, None, 200),
)


def test_a_total_that_tells_what_was_cached_says_it_of_those_before_it() -> None:
    """None of them has more of a bucket than all of them together, and none a larger split than its tokens."""
    running = told(FLAT).shares["a"].running
    assert running is not None
    [change] = told(FLAT).changes(CACHED[1], "a", CACHED[0])
    assert (change.before, change.after) == (
        Usage(1100, output_tokens=210, total_tokens=1310),
        Usage(575, 525, None, 210, None, 1310),
    )
    assert known(told(FLAT, CACHED)) == {
        "input_tokens": 575,
        "cached_input_tokens": 575,
        "output_tokens": 215,
        "total_tokens": 1365,
    }


def test_a_total_with_a_split_says_it_of_a_bare_one_before_it() -> None:
    """In the proportion of its own."""
    [change] = told(BARE).changes(FLAT[1], "a", FLAT[0])
    assert (change.before, change.after) == (
        Usage(total_tokens=200),
        Usage(168, output_tokens=32, total_tokens=200),
    )


def test_totals_of_one_form_change_nothing_of_those_before_them() -> None:
    """Nor is anything of them worked out: what may be is seen from the newest."""
    spending = told(*STEPS["running totals"])
    share = spending.shares["a"]
    assert share.running is not None
    point = point_of(step(4, 1300, 300, 1600)[1], 4)
    assert point is not None
    assert share.level().only_grows(point)
    cached = point_of(UsageReport(Usage(100, 1200, None, 300), "turn", inclusive=True, by_size=True), 4)
    assert cached is not None
    assert not share.level().only_grows(cached)


def figures_of(usage: Usage) -> list[int]:
    """Its figures, 0 for one that is unknown."""
    return [figure or 0 for figure in msgspec.structs.astuple(usage)]


def test_the_lowest_of_many_are_counted_as_they_came() -> None:
    """A step that more than `MAX_POINTS` others have overtaken: the total is right, and its split is not known."""
    steps = [step(at, 10, 1, 11 * at) for at in range(1, MAX_POINTS + 4)]
    late = told(*steps[1:], steps[0])
    in_order = {"input_tokens": 10 * len(steps), "output_tokens": len(steps), "total_tokens": 11 * len(steps)}
    assert known(told(*steps)) == in_order
    assert known(late) == in_order | {"input_tokens": 10 * len(steps) - 10, "output_tokens": len(steps) - 1}
    assert len(late.shares["a"].running.points) == MAX_POINTS  # type: ignore[union-attr]
    assert late.changes(steps[0][1], "a", 1) == []
    unsplit = [step(at, 1, 0, 100 * at) for at in range(1, MAX_POINTS + 4)]
    assert known(told(*unsplit, step(0, 90, 5, 99)))["input_tokens"] == len(unsplit)
    totals = step(1, 500, None, None)
    assert known(told(*steps, totals))["input_tokens"] == 500, "a total counts whenever it comes"


def test_what_is_remembered_of_all_agents_is_bounded() -> None:
    """Of the agents that told longest ago the lowest are forgotten first, to two of each, then all; what they have
    counted stays, and what is next counts."""
    spending = NOTHING
    huge = 2**53
    for agent in range(250):
        for at in range(1, 5):
            report = step(at, huge // 8, 1, huge // 8 * at + at)[1]
            spending = spending.after(report, f"agent {agent}", at)
            assert spending.dormant is None or spending.dormant.size() <= MAX_SHARES_BYTES
    kept = [spending.share(f"agent {agent}") for agent in range(250)]
    counts = [0 if one is None or one.running is None else len(one.running.points) for one in kept]
    assert counts == sorted(counts)
    assert set(counts) == {0, 2, 4}
    last = spending.after(step(5, huge // 8, 1, huge // 8 * 5 + 5)[1], "agent 0", 5)
    assert last.shares["agent 0"].rest.input_tokens == huge // 8 * 5


def test_the_worst_running_totals_of_one_agent_fit() -> None:
    spending = NOTHING
    for at in range(1, 40):
        usage = Usage(*[2**45 + at] * 5, total_tokens=2**52 + at * 2**48)
        spending = spending.after(UsageReport(usage, "turn", inclusive=True, by_size=True), "a", 2**53 - 40 + at)
        running = spending.shares["a"].running
        assert running is not None
        assert len(msgspec.json.encode((running,))) <= MAX_POINTS_BYTES
    assert running.points


def test_an_event_of_an_older_version_counts_as_it_came() -> None:
    """What was told before an upgrade is folded as it was then."""
    steps = [(at, msgspec.structs.replace(report, by_size=False)) for at, report in STEPS["the last call"]]
    assert known(told(*reversed(steps))) == {"input_tokens": 100, "output_tokens": 10, "total_tokens": 1365}
    assert known(told(*steps)) == known(told(*STEPS["the last call"]))
    mixed = told(*steps[:1], *STEPS["the last call"][:0:-1])
    assert known(mixed) == known(told(*steps))


def test_a_place_that_is_forgotten_takes_those_below_it_along() -> None:
    points = tuple(
        Point(10 * at, at, 1, place, 5, None, None, 5, None) for at, place in ((1, 7), (2, 8), (3, 7), (4, 9))
    )
    running = RunningTotals(Level(), points)
    above = running.above(7)
    assert (above.points, above.base.top) == (points[3:], 30)
    assert above.level() == running.level()
    assert running.above(6) is running


@pytest.mark.parametrize("more", [{"whole_run": True}, {"kind": "delta"}, {"usage": Usage(cost_nanos=5)}])
def test_what_is_no_total_of_an_agents_tokens_has_no_place(more: dict[str, Any]) -> None:
    assert point_of(msgspec.structs.replace(step(1, 1, 1, 2)[1], **more), 1) is None


def test_a_total_is_no_less_than_its_split() -> None:
    found = point_of(UsageReport(Usage(input_tokens=60, total_tokens=50), by_size=True), None)
    assert found is not None
    assert (found.total, found.step) == (60, -1)
    assert whole(found.usage()).total_tokens == 60
