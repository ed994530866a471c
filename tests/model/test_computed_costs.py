"""Computed costs beside told ones: sums, and the cells that they are taken out of."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from towerlog.model.computed_costs import (
    MAX_COMPUTED_CELLS,
    NO_COMPUTED,
    SEVERAL_VERSIONS,
    Computed,
    ComputedCell,
    Priced,
    merged_version,
    take,
    with_computed,
)

figures = st.integers(0, 50)
cells = st.builds(ComputedCell, st.integers(0, 3), st.sampled_from("ab"), st.just("m"), st.just("s"), figures, figures)
versions = st.none() | st.sampled_from(["v1", "v2", "v3"])


def test_a_report_without_a_price_is_counted_and_is_no_0() -> None:
    assert Priced().as_computed() == Computed(None, 1)
    assert Priced(0, "v").as_computed() == Computed(0, 0)
    assert NO_COMPUTED.plus(Computed(None, 1)).plus(Computed(5)) == Computed(5, 1)


@given(st.lists(cells, max_size=20), figures, figures, st.sampled_from("abc"))
def test_what_is_taken_and_what_is_left_are_what_was_there(
    added: list[ComputedCell], nanos: int, unpriced: int, agent: str
) -> None:
    held: tuple[ComputedCell, ...] = ()
    for cell in added:
        held = with_computed(held, cell)
    left, taken = take(held, nanos, unpriced, agent)
    for name, wanted in (("nanos", nanos), ("unpriced", unpriced)):

        def total(some: tuple[ComputedCell, ...] | list[ComputedCell], name: str = name) -> int:
            return sum(getattr(cell, name) for cell in some)

        assert total(held) == total(added)
        assert total(taken) == min(wanted, total(held))
        assert total(left) + total(taken) == total(held)
        assert all(getattr(cell, name) >= 0 for cell in (*left, *taken))
    assert len({(cell.hour, cell.agent) for cell in held}) == len(held)
    own = [cell.agent == agent for cell in taken]
    assert own == sorted(own, reverse=True), "those of the agent come first"


def test_only_so_many_cells_are_remembered() -> None:
    held: tuple[ComputedCell, ...] = ()
    for hour in range(MAX_COMPUTED_CELLS + 3):
        held = with_computed(held, ComputedCell(hour, "a", "m", "s", 1, 0))
    assert (len(held), held[0].hour) == (MAX_COMPUTED_CELLS, 3)
    assert with_computed(held, ComputedCell(9, "a", "m", "s", 0, 0)) is held


@given(versions, versions, versions)
def test_versions_merge_in_any_order(one: str | None, two: str | None, three: str | None) -> None:
    known = {version for version in (one, two, three) if version}
    expected = None if not known else next(iter(known)) if len(known) == 1 else SEVERAL_VERSIONS
    assert merged_version(merged_version(one, two), three) == expected
    assert merged_version(one, merged_version(two, three)) == expected
    assert merged_version(one, two) == merged_version(two, one)
