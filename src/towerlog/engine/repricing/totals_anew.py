"""What is computed anew of running totals, by the places in which they count."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from towerlog.model.computed_costs import NO_COMPUTED, Computed, Priced, Recount
from towerlog.model.event import Event
from towerlog.model.run import TERMINAL, RunRow
from towerlog.projections.computed_costs import model_of_total
from towerlog.projections.usage import HOUR_MS

_OVER = {status.value for status in TERMINAL}


class RepricedPlace(NamedTuple):
    """What is computed anew together."""

    agent: str
    provider: str | None
    model: str
    hour: int
    arrived: int
    """The hour in which its reports arrived: budgets count by that."""


class TotalsAnew:
    """What is computed anew of running totals: what calls leave of one has its price from that."""

    def __init__(self, row: RunRow) -> None:
        self._ended_seq = row.ended_seq
        self._computed: dict[tuple[object, ...], Computed] = {}

    def of(self, event: Event, place: RepricedPlace, of: Recount) -> Computed:
        """Of the total that is counted anew by this event."""
        return self._computed.get(self._key(event, place, of), NO_COMPUTED)

    def take(self, event: Event, place: RepricedPlace, before: RunRow, priced: Priced | None) -> None:
        """An event of which this was computed; `before`: the row before it."""
        report, of = event.effects.report, event.effects.recount
        if report is None or priced is None or report.is_of_one_call() or (of is not None and not of.of_total):
            return
        effects = event.effects
        by = model_of_total(before, effects.model, place.agent, whole_run=report.whole_run)
        key = self._key(event, place, of, by)
        computed = self._computed.pop(key, NO_COMPUTED)
        if of is None:
            self._computed[key] = computed.plus(priced.as_computed())
            return
        if of.now_priced_by is not msgspec.UNSET:
            key = (*key[:-1], of.now_priced_by)
            computed = computed.plus(self._computed.get(key, NO_COMPUTED))
        self._computed[key] = computed.changed(priced.as_computed())

    def _key(self, event: Event, place: RepricedPlace, of: Recount | None, by: str | None = None) -> tuple[object, ...]:
        """Of what is after the end the status is another, and the place."""
        report = event.effects.report
        is_whole = report is not None and report.whole_run
        if of is not None:
            by, is_over = of.priced_by, of.status in _OVER
        else:
            is_over = self._ended_seq is not None and event.seq >= self._ended_seq
        hour = event.happened_at() // HOUR_MS if of is None else of.hour
        return (place.agent, is_whole, hour, place.model, is_over, place.provider, by)
