"""Figures of model calls above each other in a trace: each counts what exceeds those below it, whichever comes first.

What a call counts follows from what it tells and from what counts below it, so it is the same in any order: where a
call comes below one that has counted before, what that one counts is changed by an event beside it. A span between two
calls is looked up in the log, or, while it has not come, holds the sum of what is below it.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from towerlog.engine.control.cancel import CONTROL
from towerlog.engine.load.misses import NotLoaded
from towerlog.engine.load.rows import Needs
from towerlog.engine.load.span_ways import ids_of, levels_above, want_above, with_way
from towerlog.engine.plan.plan import Plan
from towerlog.engine.plan.run_state import RunState
from towerlog.engine.pricing.book import worth
from towerlog.engine.reactions.totals import recount_totals
from towerlog.model.agent import AgentRow
from towerlog.model.computed_costs import NO_COMPUTED, Priced, Recount
from towerlog.model.event import Draft, Event, EventType
from towerlog.model.facts import Effects, Facts, LinkAbove, link_above, with_effects
from towerlog.model.run import RunRow
from towerlog.model.span import RESPONSE_WINDOW_MS, BelowSpan, CallChange, SpanPlace, ToldCall, ToldCalls, excess
from towerlog.model.times import told_time
from towerlog.model.usage import NO_USAGE, Usage, UsageReport, add, dollars_json, subtract, whole
from towerlog.model.usage_parts import UsageParts
from towerlog.projections.usage import HOUR_MS
from towerlog.store.values import Kind

MAX_CALLS_ABOVE = 16
"""Model calls one above the other whose figures are compared. A call with more above it does not count, nor does one
with more spans above it than are looked for."""
_replace = msgspec.structs.replace
# By a name of its own: on Python 3.11 a member reached through its enum costs as much as a small struct.
_MODEL_CALL = EventType.MODEL_CALL


class _Chain(NamedTuple):
    """The model calls above a span, from the nearest on."""

    calls: list[tuple[RunRow, ToldCall]]
    open: str | None
    """The span above all these that has not come; None where nothing is left to come."""
    is_lost: bool = False
    """One of them is remembered no more."""


class TraceLook(msgspec.Struct, eq=False):
    """Where spans and calls of a trace are found while a request is placed: each is looked for once."""

    plan: Plan
    org: int
    trace: str
    rows: list[RunRow] = []
    """The runs of the trace, as the group has left them."""
    _links: dict[str, LinkAbove] = {}
    """Of spans that have come: what they say does not change."""
    _calls: dict[int, tuple[ToldCalls, dict[str, ToldCall]]] = {}
    """By run: its calls when it was looked at last, and these by their spans."""

    def call(self, span_id: str) -> tuple[RunRow, ToldCall] | None:
        """The call of a span, with its run."""
        for row in self.rows:
            calls = row.calls
            if not calls.calls:
                continue
            known = self._calls.get(row.run)
            if known is None or known[0] is not calls:
                known = self._calls[row.run] = calls, {one.span_id: one for one in calls.calls}
            found = known[1].get(span_id)
            if found is not None:
                return row, found
        return None

    def event(self, span_id: str) -> Event | None:
        """The event of a span that has come. Raises NotLoaded."""
        try:
            found = (self.plan.event_by_id(row.run, one) for row in self.rows for one in ids_of(span_id))
            return next((one for one in found if one is not None), None)
        except NotLoaded as missing:
            raise with_way(missing, self.trace, self.rows, span_id) from None

    def link(self, span_id: str) -> LinkAbove | None:
        """What is above a span that has come and is no call that is remembered. Raises NotLoaded."""
        known = self._links.get(span_id) or self.plan.cache.links.get((self.org, self.trace, span_id))
        if known is not None:
            return known
        event = self.event(span_id)
        if event is None:
            return None
        link = self._links[span_id] = link_above(event.facts, span_id)
        return link

    def forgot(self, span_id: str) -> bool:
        """Whether there was something of a span that is remembered no more."""
        return any(row.calls.forgot(span_id) for row in self.rows)

    def sum_below(self, span_id: str) -> Usage:
        """What counts below a span that has not come."""
        inner = NO_USAGE
        for row in self.rows:
            if row.calls.below:
                inner = add(inner, row.calls.sum_below(span_id))
        return inner


def needs_of_calls(needs: Needs, place: SpanPlace, rows: list[RunRow]) -> None:
    """The spans above a model call, or above a span with calls below it, as far as they have come."""
    span_id = place.span_id
    if place.is_call:
        is_compared = True
    else:
        is_compared = any(row.calls.below and row.calls.sum_below(span_id) is not NO_USAGE for row in rows)
    if is_compared and place.above is not None:
        want_above(needs, place.trace, rows, place.above)


def needs_of_response(needs: Needs, org: int, place: SpanPlace) -> None:
    """The account of its response in another trace, and the run that this stands in."""
    if place.response is not None:
        event = needs.want(Kind.RESPONSE, (org, place.response))
        if isinstance(event, Event):
            needs.run_by_number(event.run)


def counted(plan: Plan, org: int, draft: Draft, place: SpanPlace, look: TraceLook, twin: str | None) -> Draft:
    """A span with what counts of its figures, and with what it changes of what counts of calls above it.

    `twin`: the id of the event of another span that tells of the same response.
    """
    told = _told(draft)
    is_call = draft.type is _MODEL_CALL and told != NO_USAGE
    inner = look.sum_below(place.span_id)
    if is_call:
        other = _told_elsewhere(plan, org, draft, place, look.rows)
        if other is None or (_is_alone(plan, *other) and place.root != f"{place.trace}:{place.span_id}"):
            return _call(plan, org, draft, place, look, inner, other)
        return _as_step(plan, org, draft, place, look, add(inner, excess(other[1].told, inner)))
    if twin is not None:
        return _twin(plan, org, draft, place, look, inner, twin)
    is_lost = look.forgot(place.span_id)
    if (inner == NO_USAGE and not is_lost) or place.is_call or look.event(place.span_id) is not None:
        return draft
    # What is below it is below what is above it.
    chain = _chain(look, place.above, {place.span_id})
    return _lost(plan, org, draft, place, chain) if is_lost else _moved_up(plan, org, draft, place, chain, inner)


def _told_elsewhere(
    plan: Plan, org: int, draft: Draft, place: SpanPlace, runs: list[RunRow]
) -> tuple[RunRow, ToldCall] | None:
    """The account of its response that counts in another trace. Raises NotLoaded."""
    if place.response is None:
        return None
    event = plan.responses.get((org, place.response)) or plan.loaded(Kind.RESPONSE, (org, place.response))
    # One that cannot be read is held against nothing: whether it tells the same is not certain.
    if not isinstance(event, Event) or not event.effects.calls or any(row.run == event.run for row in runs):
        return None
    state = plan.run_state_of(event.run)
    told_at = told_time(draft.occurred_at, plan.now_ms) or plan.now_ms
    if state is None or abs(event.happened_at() - told_at) > RESPONSE_WINDOW_MS:
        return None
    first = event.effects.calls[0]
    return state.row, state.row.calls.call(first.span_id) or first


def _is_alone(plan: Plan, row: RunRow, call: ToldCall) -> bool:
    """Whether a call is all of its trace, as that of a library is which does not know what it is called from."""
    is_root = plan.event_by_id(row.run, f"{call.span_id}.start") is not None
    return is_root and row.calls.call(call.span_id) is not None


def _as_step(plan: Plan, org: int, draft: Draft, place: SpanPlace, look: TraceLook, told: Usage) -> Draft:
    """A call of which another trace tells: it counts there, and is no part of what the calls above it count here."""
    assert draft.otherwise is not None, "what names a response has a step in its place"
    step = _replace(draft.otherwise, run=draft.run)
    if draft.effects.parent_key is not None:
        step = _replace(step, facts=with_effects(step.facts, parent_key=draft.effects.parent_key))
    if look.event(place.span_id) is not None:
        return step
    return _moved_up(plan, org, step, place, _chain(look, place.above, {place.span_id}), told)


def _told(draft: Draft) -> Usage:
    report = draft.effects.report
    return NO_USAGE if report is None else report.usage


def _chain(look: TraceLook, span_id: str | None, passed: set[str]) -> _Chain:
    """What is above, from this span on. A circle leads nowhere. Raises NotLoaded."""
    calls: list[tuple[RunRow, ToldCall]] = []
    for _ in range(levels_above(len(look.rows))):
        if span_id is None or span_id in passed:
            return _Chain(calls, None)
        passed.add(span_id)
        found = look.call(span_id)
        if found is not None:
            if found[1].same_as is None:
                calls.append(found)
            span_id = found[1].same_as or found[1].above
            if len(calls) > MAX_CALLS_ABOVE:
                break
            continue
        link = look.link(span_id)
        if link is None:
            return _Chain(calls, span_id, look.forgot(span_id))
        if link.is_call:
            break
        span_id = link.above
    return _Chain(calls, None, is_lost=True)


def _call(
    plan: Plan,
    org: int,
    draft: Draft,
    place: SpanPlace,
    look: TraceLook,
    inner: Usage,
    other: tuple[RunRow, ToldCall] | None,
) -> Draft:
    """`other`: an account of the same response, which counts no more than this one does not."""
    chain = _chain(look, place.above, {place.span_id})
    if chain.is_lost or look.forgot(place.span_id):
        return _replace(draft, facts=with_effects(draft.facts, report=None, uncounted=True))
    report = draft.effects.report
    call = ToldCall(place.span_id, place.above, _told(draft), inner, parts=None if report is None else report.parts)
    own, parts = call.own(), call.own_parts()
    call = _replace(call, priced=_worth(plan, org, draft, own, parts))
    changed, changes, below = _changes(plan, org, draft, chain, call.whole())
    if other is not None:
        changes += _changes(plan, org, draft, _Chain([other], None), call.whole())[1]
    if report is not None and own is not call.told:
        report = _replace(report, usage=own, parts=parts) if any(msgspec.structs.astuple(own)) else None
    facts = with_effects(draft.facts, report=report, calls=(call, *changed), below=below)
    return _replace(draft, facts=facts, span=_replace(place, changes=changes) if changes else place)


def _worth(plan: Plan, org: int, draft: Draft, usage: Usage, parts: UsageParts | None) -> Priced | None:
    """What the figures of a call are worth that is placed now: as they will be priced when it is."""
    row = plan.run(org, draft.run)
    agent = draft.agent or (row and row.agent) or draft.agent_default
    model = draft.effects.model or (None if row is None else row.model_of(agent))
    told_at = told_time(draft.occurred_at, plan.now_ms)
    at_ms = plan.now_ms if told_at is None else told_at
    return worth(plan.reactions.book, plan.prices.all_of(org), usage, draft.effects.provider, model, at_ms, parts)


def _twin(plan: Plan, org: int, draft: Draft, place: SpanPlace, look: TraceLook, inner: Usage, twin: str) -> Draft:
    """A second account of a response: what is below it is below the first one, unless that is below it itself."""
    events = (plan.event_by_id(row.run, twin) for row in look.rows)
    first = next((one.effects.calls[0] for one in events if one is not None and one.effects.calls), None)
    passed: set[str] = set()
    chain = None if first is None else _chain(look, first.span_id, passed)
    if first is None or chain is None or place.span_id in passed:
        up = _chain(look, place.above, {place.span_id})
        return draft if inner == NO_USAGE else _moved_up(plan, org, draft, place, up, inner)
    own = ToldCall(place.span_id, place.above, NO_USAGE, same_as=first.span_id, status=first.status or "-")
    draft = draft if inner == NO_USAGE else _moved_up(plan, org, draft, place, chain, inner)
    return _replace(draft, facts=with_effects(draft.facts, calls=(own, *draft.effects.calls)))


def _moved_up(plan: Plan, org: int, draft: Draft, place: SpanPlace, chain: _Chain, inner: Usage) -> Draft:
    """A span that is no call, with what counts below it as something below what is above it."""
    if chain.is_lost:
        return _replace(draft, facts=with_effects(draft.facts, uncounted=True))
    changed, changes, below = _changes(plan, org, draft, chain, inner)
    below = (BelowSpan(place.span_id, NO_USAGE), *below)
    facts = with_effects(draft.facts, calls=tuple(changed), below=below)
    return _replace(draft, facts=facts, span=_replace(place, changes=changes) if changes else place)


def _lost(plan: Plan, org: int, draft: Draft, place: SpanPlace, chain: _Chain) -> Draft:
    """A span below which calls have counted that are remembered no more: the call above it does not count."""
    if chain.calls:
        above = chain.calls[0][1]
        draft = _moved_up(plan, org, draft, place, chain, subtract(above.whole(), above.inner))
    elif chain.open is not None:
        draft = _replace(draft, facts=with_effects(draft.facts, below=(BelowSpan(chain.open, NO_USAGE, True),)))
    return _replace(draft, facts=with_effects(draft.facts, uncounted=True))


def _changes(
    plan: Plan, org: int, draft: Draft, chain: _Chain, gain: Usage
) -> tuple[list[ToldCall], tuple[CallChange, ...], tuple[BelowSpan, ...]]:
    """What changes above where so much more counts: calls of the draft's run that are only remembered otherwise, calls
    that count less or more, and the sum below what has not come."""
    kept, changes = list[ToldCall](), list[CallChange]()
    run = getattr(draft.run, "foreign_id", "")
    for row, call in chain.calls:
        if not any(msgspec.structs.astuple(gain)):
            break
        wider = _replace(call, inner=add(call.inner, gain))
        book, own, named = plan.reactions.book, plan.prices.all_of(org), (call.provider, call.model or None)
        wider = _replace(wider, priced=worth(book, own, wider.own(), *named, call.at_ms, wider.own_parts()))
        change, priced = _difference(call, wider)
        if row.foreign_id == run and change == NO_USAGE and priced is None:
            kept.append(wider)
        else:
            changes.append(CallChange(row.run, wider, whole(call.own()), change, priced, call.own_parts()))
        gain = subtract(wider.whole(), call.whole())
    has_more = chain.open is not None and any(msgspec.structs.astuple(gain))
    return kept, tuple(changes), (BelowSpan(chain.open, gain),) if chain.open is not None and has_more else ()


def _difference(call: ToldCall, wider: ToldCall) -> tuple[Usage, Priced | None]:
    """How much more counts of a call: of its figures, and of what was computed of them."""
    change = subtract(whole(wider.own()), whole(call.own()))
    change = change if any(msgspec.structs.astuple(change)) else NO_USAGE
    was, now = (NO_COMPUTED if one is None else one.as_computed() for one in (call.priced, wider.priced))
    nanos, unpriced = (now.nanos or 0) - (was.nanos or 0), now.unpriced - was.unpriced
    if not nanos and not unpriced:
        return change, None
    version = (wider.priced or call.priced or Priced()).version
    return change, Priced(nanos or None, version, unpriced)


def correct_earlier(plan: Plan, run_state: RunState, agent: AgentRow, span: SpanPlace | None, facts: Facts) -> None:
    """What an event changes of what counts of earlier ones, each by an event before it."""
    if span is not None and span.changes:
        recount(plan, run_state.row.org, span.changes)
    if facts.effects is not None and run_state.row.told_totals:
        recount_totals(plan, run_state, agent, facts)


def recount(plan: Plan, org: int, changes: tuple[CallChange, ...]) -> None:
    """Changes what counts of calls that have come, each by an event of its run."""
    for one in changes:
        run_state, call = plan.run_state_of(one.run), one.call
        assert run_state is not None, "its calls were read"
        report = UsageReport(one.change, "change", parts=call.own_parts())
        of = Recount(
            call.at_ms // HOUR_MS, call.model, call.status, call.arrived, one.was, was_parts=one.was_parts
        )  # fmt: skip
        effects = Effects(report=report, priced=one.priced, provider=call.provider, calls=(call,), recount=of)
        plan.append(
            run_state,
            plan.agent(org, call.agent),
            EventType.USAGE_RECOUNTED,
            msgspec.json.encode(_members(one)),
            dialect=CONTROL,
            facts=Facts(part=True, effects=effects),
            occurred_at=call.at_ms,
        )


def _members(one: CallChange) -> dict[str, object]:
    figures = {
        "input_tokens": one.change.all_input_tokens(),
        "output_tokens": one.change.all_output_tokens(),
        "total_tokens": one.change.all_tokens(),
    }
    nanos = (one.change.cost_nanos or 0) + (0 if one.priced is None else one.priced.nanos or 0)
    told: dict[str, object] = {"span_id": one.call.span_id, "model": one.call.model or None}
    told |= {name: figure for name, figure in figures.items() if figure}
    return told | {"cost_usd": dollars_json(nanos)} if nanos else told
