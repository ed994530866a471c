"""A run's reports told once more, twice over: as they were counted, and as they would be by the prices of today.

Sums of what agents tell are maxima (of calls and of running totals), so what a price changes of them cannot be added up
from the reports: it is the difference of the two. The fold is the one that runs have.
"""

from __future__ import annotations

import msgspec

from towerlog.engine.pricing.book import PriceBook, has_tokens, to_price
from towerlog.engine.repricing.totals_anew import RepricedPlace, TotalsAnew
from towerlog.model.agent_share import AgentShare
from towerlog.model.computed_costs import MINUTE_MS, NO_COMPUTED, Computed, ComputedCell, Priced, Repriced
from towerlog.model.event import DamagedEvent, Event, Logged
from towerlog.model.facts import Effects, with_effects
from towerlog.model.name_pattern import NamePattern
from towerlog.model.price import CardSince, CostChange, PriceCard, PriceRow, Reprice
from towerlog.model.run import RunRow
from towerlog.model.usage import Usage, add
from towerlog.projections import computed_costs as computed_fold
from towerlog.projections import runs as run_fold
from towerlog.projections.computed_costs import left_of
from towerlog.projections.usage import HOUR_MS

_replace = msgspec.structs.replace
_NOTHING = AgentShare()


class Sums:
    """What was computed in one place: by calls, by totals of the agent, by totals of the run; and what counts of it."""

    def __init__(self) -> None:
        self.calls = self.totals = self.run_totals = self.counted = NO_COMPUTED

    def add(self, calls: Computed, totals: Computed, run_totals: Computed, counted: Computed) -> None:
        """What one event has added."""
        self.calls, self.totals = self.calls.plus(calls), self.totals.plus(totals)
        self.run_totals, self.counted = self.run_totals.plus(run_totals), self.counted.plus(counted)


class Part:
    """One place, as it is and as it would be."""

    def __init__(self) -> None:
        self.calls = 0
        """Its reports that were looked at."""
        self.arrived = 0
        self.version = ""
        self.is_moved = False
        """Some report of it is worth something else today."""
        self.cards: list[CardSince] = []
        self.old = Sums()
        self.new = Sums()


class Telling:
    """One of the two: a row that has nothing but what was told of its usage."""

    def __init__(self, row: RunRow) -> None:
        self.row = RunRow(
            run=row.run,
            org=row.org,
            run_id=row.run_id,
            thread_id=row.thread_id,
            trace_id=row.trace_id,
            status=row.status,
            created_at=row.created_at,
        )

    def take(self, event: Event, place: RepricedPlace, priced: Priced | None) -> tuple[RunRow, RunRow]:
        """The row before and after an event, of which this was computed."""
        before, facts = self.row, event.facts
        if facts.effects is not None and facts.effects.priced is not priced:
            facts = with_effects(facts, priced=priced)
        after = _replace(before, **run_fold.parts_after(before, facts, place.agent, late=event.late))
        cell = (place.hour, place.agent, place.model, "")
        arrived = place.arrived * HOUR_MS // MINUTE_MS
        cells = computed_fold.cells_after(after.computed_cells, before.usage, after.usage, cell, arrived)
        self.row = _replace(after, computed_cells=cells)
        return before, self.row


class Replay:
    """One run, read event by event."""

    def __init__(
        self,
        row: RunRow,
        command: Reprice,
        book: PriceBook,
        own: tuple[PriceRow, ...],
        earlier: list[tuple[Logged, str]],
    ) -> None:
        """`earlier`: what was computed anew before, each with the name of its agent; `own`: the prices of its own."""
        self._pattern = None if command.model is None else NamePattern(command.model)
        self.last_seq = 0
        """Of the last event that was read."""
        self.usage_seq = 0
        """Of the last one that moved what the run has spent."""
        self.is_stale = False
        """Something was computed anew meanwhile."""
        self._has_gap = False
        self._row = row
        self._command = command
        self._book = book
        self._own = own
        self._earlier: dict[RepricedPlace, list[Event]] = {}
        self._known_seq = 0
        for event, told_by in earlier:
            if isinstance(event, Event):
                agent = self._agent_of(event, told_by)
                self._earlier.setdefault(self._place(row, event, agent), []).append(event)
            self._known_seq = event.seq
        self._old = Telling(row)
        self._new = Telling(row)
        self._parts: dict[RepricedPlace, Part] = {}
        self._totals = TotalsAnew(row)

    def _agent_of(self, event: Event, agent: str) -> str:
        """Whose an event is now: what was told before the run's agent was named went to it then."""
        row = self._row
        return row.agent if row.agent is not None and event.seq < row.named_seq and agent == row.was_agent else agent

    def take(self, event: Logged, told_by: str) -> None:
        """The next event of the run, which this agent has told."""
        self.last_seq = event.seq
        if isinstance(event, DamagedEvent):
            self._has_gap = True
            return
        effects = event.facts.effects
        if effects is None:
            return
        if effects.report is not None or effects.repriced is not None:
            self.usage_seq = event.seq
        agent = self._agent_of(event, told_by)
        place = self._place(self._old.row, event, agent)
        part = self._part(place)
        if effects.repriced is not None:
            self._old.take(event, place, None)
            changed, self.is_stale = effects.repriced, self.is_stale or event.seq > self._known_seq
            part.old.add(changed.calls, changed.totals, changed.run_totals, changed.counted)
            part.version = changed.version
            return
        now = self._worth(event, place, part)
        self._totals.take(event, place, self._new.row, now)
        for telling, priced, is_new in ((self._old, effects.priced, False), (self._new, now, True)):
            before, after = telling.take(event, place, priced)
            if after.usage is before.usage and after.shares is before.shares:
                continue
            known, share = before.share(agent) or _NOTHING, after.share(agent) or _NOTHING
            (part.new if is_new else part.old).add(
                _gain(known.computed, share.computed),
                _gain(known.computed_total, share.computed_total),
                _gain(before.computed_total, after.computed_total),
                _counted(before.usage, after.usage),
            )
            for cell in computed_fold.taken(before, after.usage, agent, effects.recount):
                self._lose(cell, is_new=is_new)

    def changes(self) -> list[CostChange]:
        """What is to be changed, by place: nothing where some of the events are damaged, for their costs count too."""
        found: list[CostChange] = []
        if self._has_gap:
            return found
        for place, part in self._parts.items():
            old, new = part.old, part.new
            calls, totals = _less(new.calls, old.calls), _less(new.totals, old.totals)
            run_totals, counted = _less(new.run_totals, old.run_totals), _less(new.counted, old.counted)
            if part.is_moved or any(one.nanos or one.unpriced for one in (calls, totals, run_totals, counted)):
                repriced = Repriced(
                    place.hour, place.model, part.version, calls, totals, run_totals, counted,
                    place.arrived * HOUR_MS // MINUTE_MS,
                )  # fmt: skip
                cards = _cards(part.cards)
                nanos = old.counted.nanos or 0, new.counted.nanos or 0
                run_id = self._row.run_id
                found.append(CostChange(run_id, place.agent, place.provider, part.calls, *nanos, repriced, cards))
        return found

    def _part(self, place: RepricedPlace) -> Part:
        found = self._parts.get(place)
        if found is None:
            found = self._parts[place] = Part()
        return found

    def _place(self, row: RunRow, event: Event, agent: str) -> RepricedPlace:
        effects = event.effects
        model = effects.model or row.model_of(agent) or self._row.model_of(agent) or ""
        if effects.repriced is not None:
            model = effects.repriced.model
        elif effects.report is not None and effects.report.whole_run:
            # It is priced by the only model of the run, and stands where nobody has named one then.
            of = effects.recount
            model = (effects.model or row.model_of(agent) or "") if of is None else of.model
        elif effects.recount is not None:
            model = effects.recount.model or model
        arrived = computed_fold.arrived_of(event) * MINUTE_MS // HOUR_MS
        return RepricedPlace(agent, effects.provider, model, event.happened_at() // HOUR_MS, arrived)

    def _worth(self, event: Event, place: RepricedPlace, part: Part) -> Priced | None:
        """What is computed of a report today; what has no price today, and what is not meant, is worth what it was."""
        effects = event.effects
        if effects.priced is None or effects.report is None:
            return effects.priced
        part.version = part.version or effects.priced.version or ""
        found = _to_price(self._old.row, effects, place.agent)
        if found is None:
            return effects.priced
        tokens, model = found
        if model is None and not effects.report.whole_run:
            model = place.model or None
        if model is None:
            return effects.priced
        of_other = None if model == place.model else model
        was = self._was(event, place, tokens, of_other)
        if not self._is_meant(event, place, model):
            return was
        part.calls += 1
        at_ms = event.happened_at()
        tier = _tier_of(effects)
        card = self._book.card(self._own, effects.provider, model, at_ms, tier)
        now = _by(card, effects, tokens, self._computed(event, place))
        part.cards.append(CardSince(at_ms, card, tier, of_other))
        if card is None or now is None:
            return was
        part.version = card.version
        part.is_moved = part.is_moved or now.nanos != was.nanos
        return now

    def _was(self, event: Event, place: RepricedPlace, tokens: Usage, of_other: str | None) -> Priced:
        """What is counted of a report now: by the newest prices that it was computed anew with. `of_other`: the model
        that it is priced by, where that is not the place's."""
        for changed in reversed(self._earlier.get(place, ())):
            at = event.happened_at(), _tier_of(event.effects), of_other
            card = _card_at(changed.effects.cards, *at) if event.seq < changed.seq else None
            found = _by(card, event.effects, tokens, self._computed(event, place))
            if found is not None:
                return found
        assert event.effects.priced is not None, "it was asked for"
        return event.effects.priced

    def _computed(self, event: Event, place: RepricedPlace) -> Computed:
        """What was computed of the total that is counted anew."""
        of = event.effects.recount
        return NO_COMPUTED if of is None or not of.of_total else self._totals.of(event, place, of)

    def _is_meant(self, event: Event, place: RepricedPlace, model: str) -> bool:
        """Whether a report that is priced by this model is to be looked at.

        Not where a told cost is of the same: nothing that is computed of it will ever count again."""
        row, command = self._row, self._command
        share = row.share(place.agent)
        if share is not None and share.totals.cost_nanos is not None:
            return False
        if row.process_cost is not None or row.run_total.cost_nanos is not None:
            return False
        until = command.until if command.until is not None else event.recorded_at + HOUR_MS
        if not command.since // HOUR_MS <= place.hour < -(-until // HOUR_MS):
            return False
        return self._pattern is None or self._pattern.fits(model.lower())

    def _lose(self, cell: ComputedCell, *, is_new: bool) -> None:
        """A told cost has taken so much out of a cell: the places that it is of have it no more, the newest first."""
        nanos, unpriced, hours = cell.nanos, cell.unpriced, (cell.hour, cell.arrived * MINUTE_MS // HOUR_MS)

        def fits(at: int) -> tuple[bool, bool, int]:
            place = places[at]
            is_agents = place.agent == cell.agent
            return is_agents, is_agents and (place.hour, place.arrived) == hours and place.model == cell.model, at

        places = list(self._parts)
        for place in (places[at] for at in sorted(range(len(places)), key=fits, reverse=True)):
            sums = self._parts[place].new if is_new else self._parts[place].old
            some, calls = min(nanos, sums.counted.nanos or 0), min(unpriced, sums.counted.unpriced)
            if some or calls:
                sums.counted = Computed((sums.counted.nanos or 0) - some, sums.counted.unpriced - calls)
            nanos, unpriced = nanos - some, unpriced - calls


def _to_price(row: RunRow, effects: Effects, agent: str) -> tuple[Usage, str | None] | None:
    """The tokens of a report and their model; of a call that is counted anew, those that count now."""
    if effects.recount is None or effects.report is None:
        return to_price(row, effects, agent)
    of = effects.recount
    model = of.priced_by if of.of_total else of.model or None
    return add(of.was, effects.report.usage), model or of.now_priced_by or None


def _by(card: PriceCard | None, effects: Effects, tokens: Usage, computed: Computed) -> Priced | None:
    """What a report is worth by these prices; None where they do not tell. Of a call that is counted anew: how much
    more it is worth than before. `computed`: what was computed of the total that is counted anew."""
    if card is None or effects.report is None:
        return None
    if effects.recount is None:
        told = effects.report.parts_to_price()
        nanos = card.cost_nanos(tokens, told, is_call=effects.report.is_of_one_call())
        return None if nanos is None else Priced(nanos, card.version)
    of = effects.recount
    if of.now_priced_by is not msgspec.UNSET:
        nanos, sign = card.cost_nanos(tokens, of.was_parts, is_call=False), -1 if of.now_priced_by is None else 1
        return None if nanos is None else Priced(sign * nanos, card.version, -sign * of.reports)
    now, was = (
        card.cost_nanos(one, parts, is_call=not of.of_total) if one.cost_nanos is None and has_tokens(one) else 0
        for one, parts in ((tokens, effects.report.parts), (of.was, of.was_parts))
    )
    if of.of_one and (now is not None or was is not None):
        return Priced((now or 0) - (was or 0), card.version, (now is None) - (was is None))
    if of.of_total:
        return left_of(computed, of.was, tokens, lambda some: (_of_total(card, some), card.version))
    return None if now is None or was is None else Priced(now - was, card.version, 0)


def _of_total(card: PriceCard, tokens: Usage) -> int | None:
    return card.cost_nanos(tokens, is_call=False) if has_tokens(tokens) else 0


def _gain(was: Computed, now: Computed) -> Computed:
    """What a sum has grown by; None where nothing was priced of it yet."""
    if now is was:
        return NO_COMPUTED
    nanos = None if now.nanos is None else now.nanos - (was.nanos or 0)
    return Computed(nanos, now.unpriced - was.unpriced)


def _counted(before: Usage, after: Usage) -> Computed:
    """What counts more of what was computed. What is taken back is told by its cells."""
    more = max(0, (after.computed_nanos or 0) - (before.computed_nanos or 0))
    nanos = None if after.computed_nanos is None else more
    return Computed(nanos, max(0, (after.unpriced_calls or 0) - (before.unpriced_calls or 0)))


def _less(now: Computed, was: Computed) -> Computed:
    nanos = None if now.nanos is None and was.nanos is None else (now.nanos or 0) - (was.nanos or 0)
    return Computed(nanos, now.unpriced - was.unpriced)


def _tier_of(effects: Effects) -> str | None:
    """The terms by which a report is priced."""
    parts = None if effects.report is None else effects.report.parts
    return None if parts is None else parts.tier


def _cards(told: list[CardSince]) -> tuple[CardSince, ...]:
    """The prices of a place by time, each from where it begins."""
    found: list[CardSince] = []
    newest: dict[tuple[str | None, str | None], PriceCard | None] = {}
    for one in sorted(told, key=lambda one: one.since):
        of = one.tier, one.model
        if of not in newest or newest[of] != one.card:
            newest[of] = one.card
            found.append(one)
    return tuple(found)


def _card_at(cards: tuple[CardSince, ...], at_ms: int, tier: str | None, model: str | None) -> PriceCard | None:
    of = tier, model
    return next((one.card for one in reversed(cards) if one.since <= at_ms and (one.tier, one.model) == of), None)
