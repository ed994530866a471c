"""Costs that are computed here, beside those that senders told: how they add up, and which roll-up cells count them.

A computed cost stands until the same is told by its sender. Then it is taken out of the cells in which it was
counted, so each run remembers those.
"""

from __future__ import annotations

import msgspec

from towerlog.model.usage import Usage, add, add_known, summed
from towerlog.model.usage_parts import UsageParts

MAX_COMPUTED_CELLS = 64
"""Roll-up cells of a run of which it is remembered what was computed in them, those that were added to most lately.
What is in others stays counted, whatever is told later."""
MINUTE_MS = 60_000
_HOUR_MINUTES = 60
SEVERAL_VERSIONS = "several"
"""As a price version: more than one."""


class Priced(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What was made of a report that told tokens and no cost."""

    nanos: int | None = None
    """Nano-dollars; None: no price is known."""
    version: str | None = None
    """Whose prices these are, and which."""
    unpriced: int | None = None
    """Reports without a price that it adds, of a recount; None: it is one where no price is known."""

    def as_computed(self) -> Computed:
        """As a part of a sum."""
        return Computed(self.nanos, int(self.nanos is None) if self.unpriced is None else self.unpriced)


class Repriced(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What a new pricing changes of the computed cost of one agent's reports, of one model and one hour, in a run.

    Nano-dollars, and reports without a price; each is added to what was computed, and may be less than 0.
    """

    hour: int
    """Since the epoch."""
    model: str
    """As the roll-ups name it; empty for none."""
    version: str
    """Of the prices that it is computed with from now on."""
    calls: Computed
    """Of the sum of its increments."""
    totals: Computed
    """Of the highest that was computed of its running totals."""
    run_totals: Computed
    """Of the highest that was computed of those of the whole run."""
    counted: Computed
    """Of what counts of all these together."""
    arrived: int = 0
    """When the first of the reports arrived here, in minutes since the epoch."""


class Recount(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Figures of a model call that were counted, and of which less or more counts now. The report beside it says how
    much more, in figures that may be less than 0."""

    hour: int
    """Since the epoch; with agent, model and status the roll-up cell that counts it."""
    model: str
    status: str
    arrived: int
    """When the call arrived here, in minutes since the epoch."""
    was: Usage
    """What was counted of it, without a computed cost."""
    of_total: bool = False
    """It is no call, but what a running total says beyond calls."""
    provider: str | None = None
    """Of that total, who serves the model; with the report's `whole_run` and the rest of these it says which one."""
    priced_by: str | None = None
    """Of that total, the model that it was priced by."""
    was_parts: UsageParts | None = None
    """The parts of `was`; those of what counts now are the report's."""
    of_one: bool = False
    """`was` is what one such total has added, and not all that counts in its place."""
    now_priced_by: str | msgspec.UnsetType | None = msgspec.UNSET
    """Of that total, the model that it is priced by from now on."""
    reports: int = 0
    """Of that total, those that were priced by another one or by none."""


class ToldTotal(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What running totals count beyond calls, in one place: told calls take it away again."""

    agent: str
    whole_run: bool
    hour: int
    """With agent, model and status the roll-up cell that counts it."""
    model: str
    status: str
    provider: str | None
    priced_by: str | None
    """The model that it was priced by: of the whole run, the only one that was named in it; None for none."""
    at_ms: int
    """When the last of it happened, wall ms."""
    arrived: int
    """When the first of it arrived here, in minutes since the epoch."""
    tokens: Usage
    nanos: int | None = None
    """What was computed of it, in nano-dollars."""
    unpriced: int = 0
    """Reports of it without a price."""
    parts: UsageParts | None = None
    """`UNCLEAR` where it has tokens of other prices: then what it counts has none."""
    number: int = 0
    """Of the first event that it is of, in its run: by this `running_totals.Point` names it."""
    reports: int = 1
    """So many events that it is of."""

    def place(self) -> tuple[object, ...]:
        """What tells it from others of its run."""
        return (self.agent, self.whole_run, self.hour, self.model, self.status, self.provider, self.priced_by)

    def kind(self) -> tuple[str, bool, int, str, str | None]:
        """What its costs are computed anew with."""
        return (self.agent, self.whole_run, self.hour, self.model, self.provider)

    def plus(self, tokens: Usage, priced: Computed) -> ToldTotal:
        """With more of both, or less."""
        now = Computed(self.nanos, self.unpriced).changed(priced)
        return msgspec.structs.replace(self, tokens=add(self.tokens, tokens), nanos=now.nanos, unpriced=now.unpriced)


ToldTotals = tuple[ToldTotal, ...]
"""Of a run, the one that was told last at the end."""


class Computed(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A sum of computed costs."""

    nanos: int | None = None
    """Nano-dollars; None where nothing was priced."""
    unpriced: int = 0
    """Reports with tokens of which neither a cost nor a price is known."""

    def plus(self, other: Computed) -> Computed:
        """The sum."""
        return Computed(add_known(self.nanos, other.nanos), self.unpriced + other.unpriced)

    def changed(self, by: Computed) -> Computed:
        """With a change, which may take something away but leaves nothing below 0."""
        nanos = by.nanos if self.nanos is None else summed(self.nanos, by.nanos or 0)
        if nanos is not None and nanos <= 0 and (by.nanos or 0) < 0 < by.unpriced:
            nanos = None  # all that was priced has no price any more: it is unknown, and not 0
        return Computed(None if nanos is None else max(0, nanos), max(0, self.unpriced + by.unpriced))


NO_COMPUTED = Computed()


class ComputedCell(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A roll-up cell of a run's organisation, and what of this run was computed in it."""

    hour: int
    agent: str
    model: str
    status: str
    nanos: int
    unpriced: int
    arrived: int = 0
    """When the first of it arrived here, in minutes since the epoch. What arrived in another hour is a cell of its own:
    budgets count by arrival, whatever the senders' clocks say."""


class TakenBack(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What a lower told cost takes back of what was computed: from whom, and of what was counted when."""

    agent: str
    arrived: int
    """As of a cell."""
    nanos: int


class ClaimedCost(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What a told cost of a process takes from the place of the next higher one: it counts there no more, but with what
    has told the lower one."""

    agent: str
    hour: int
    """Since the epoch; with agent, model and status the roll-up cell that had it."""
    model: str
    status: str
    arrived: int
    """As of a cell."""
    nanos: int


ComputedCells = tuple[ComputedCell, ...]
"""Of a run, the one that was added to last at the end."""


def with_computed(cells: ComputedCells, added: ComputedCell) -> ComputedCells:
    """With what was computed in a cell."""
    if not added.nanos and not added.unpriced:
        return cells
    place, kept = _place(added), []
    if cells and _place(cells[-1]) == place:  # nearly always
        return (*cells[:-1], _both(cells[-1], added))
    for cell in cells:
        if _place(cell) == place:
            added = _both(cell, added)
        else:
            kept.append(cell)
    return (*kept, added)[-MAX_COMPUTED_CELLS:]


def take(
    cells: ComputedCells, nanos: int, unpriced: int, agent: str, of: Repriced | Recount | None = None
) -> tuple[ComputedCells, ComputedCells]:
    """What is left in the cells when so much is taken out of them, and what was taken from each, in its order.

    Cells of this agent are first, of those the ones of this hour and model (`of`), and then the newest.
    """
    taken: list[ComputedCell] = []
    left: dict[int, ComputedCell] = dict(enumerate(cells))
    for index in sorted(left, key=lambda at: (_fits(cells[at], agent, of), at), reverse=True):
        cell = cells[index]
        some, calls = min(nanos, cell.nanos), min(unpriced, cell.unpriced)
        if some or calls:
            nanos, unpriced = nanos - some, unpriced - calls
            taken.append(_with(cell, some, calls))
            left[index] = _with(cell, cell.nanos - some, cell.unpriced - calls)
    return tuple(cell for cell in left.values() if cell.nanos or cell.unpriced), tuple(taken)


def with_total(totals: ToldTotals, added: ToldTotal) -> ToldTotals:
    """With what a running total says beyond calls. Those that were told longest ago are forgotten."""
    place = added.place()
    known: ToldTotal | None
    if totals and totals[-1].place() == place:  # nearly always
        known, others = totals[-1], totals[:-1]
    else:
        known = next((one for one in totals if one.place() == place), None)
        others = tuple(one for one in totals if one is not known)
    if known is not None:
        more = known.plus(added.tokens, Computed(added.nanos, added.unpriced))
        number = known.number or added.number
        parts, reports = known.parts or added.parts, known.reports + added.reports
        added = msgspec.structs.replace(more, at_ms=added.at_ms, parts=parts, number=number, reports=reports)
    return (*others, added)[-MAX_COMPUTED_CELLS:]


def less_total(totals: ToldTotals, place: tuple[object, ...], tokens: Usage, priced: Computed) -> ToldTotals:
    """With less of one of them: both are below 0."""
    found = (one.plus(tokens, priced) if one.place() == place else one for one in totals)
    return tuple(one for one in found if any(msgspec.structs.astuple(one.tokens)))


def with_model(totals: ToldTotals, place: tuple[object, ...], priced_by: str | None) -> ToldTotals:
    """With the one of this place priced by another model."""
    known = next((one for one in totals if one.place() == place), None)
    if known is None:
        return totals
    others = tuple(one for one in totals if one is not known)
    return with_total(others, msgspec.structs.replace(known, priced_by=priced_by))


def _fits(cell: ComputedCell, agent: str, of: Repriced | Recount | None) -> int:
    is_of = of is not None and (cell.hour, cell.model) == (of.hour, of.model)
    return (cell.agent == agent) * (1 + is_of)


def merged_version(known: str | None, newer: str | None) -> str | None:
    """The price version of a sum of two amounts: of those that have one, if it is the same."""
    if known is None or newer is None or known == newer:
        return newer if known is None else known
    return SEVERAL_VERSIONS


def _place(cell: ComputedCell) -> tuple[int, str, str, str, int]:
    return (cell.hour, cell.agent, cell.model, cell.status, cell.arrived // _HOUR_MINUTES)


def _with(cell: ComputedCell, nanos: int, unpriced: int) -> ComputedCell:
    return ComputedCell(cell.hour, cell.agent, cell.model, cell.status, nanos, unpriced, cell.arrived)


def _both(cell: ComputedCell, added: ComputedCell) -> ComputedCell:
    """Two of one place. A clock that was set back makes the second one the earlier."""
    earlier = cell if cell.arrived <= added.arrived else added
    return _with(earlier, summed(cell.nanos, added.nanos), cell.unpriced + added.unpriced)
