"""What the events of a run tell of usage to programs that add up what each of its spans says.

In the log a total that came before its calls is taken back when these come, and a computed cost when a told one takes
its place. A span that has gone out cannot be taken back. So what an event tells is worked out from all of them: what
is left of it in the end. The sum over the events is what the run has spent.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec.structs import astuple

from towerlog.model.event import Event, EventType
from towerlog.model.run import RunRow
from towerlog.model.usage import Usage

MAX_ENTRIES = 10_000
"""Events of a run from which something may be taken yet, the last ones."""
_TOKENS = 6
_SIDES = ((0, 1, 2), (3, 4), (5,))
"""Places in `Usage` that are of one kind: all input, all output, all of it."""
_MODEL_CALL = EventType.MODEL_CALL
_OTLP = "otlp"
"""The dialect of what came in as a span: its tokens go out as they came."""


class Remainder(msgspec.Struct):
    """What is left of what one event has added."""

    seq: int
    agent: int
    model: str | None
    is_total: bool
    spent: Usage
    left: list[int]
    """By bucket, of what was told of it."""
    nanos: int
    computed: int
    is_changed: bool = False


class SpanFigures:
    """Takes all events of a run in their order; then it is known what each of them tells."""

    def __init__(self, agents: Mapping[int, str] | None = None, after: int = 0) -> None:
        """`agents`: names by number. `after`: what came up to this position has gone out before and stays: what is
        taken from that is told of later events only."""
        self._agents: Mapping[int, str] = {} if agents is None else agents
        self._after = after
        self._entries: dict[int, Remainder] = {}
        self._told: dict[int, Usage] = {}
        self._calls: dict[str, int] = {}
        self._costs: dict[int, int | None] = {}
        self._owed = [0] * (_TOKENS + 1)
        """What was taken of events that have gone out, by bucket and in nano-dollars."""

    def take(self, event: Event) -> None:
        """The next event."""
        self._note_calls(event)
        facts = event.facts
        spent, of = facts.spent, event.effects.recount
        if spent is None or event.position <= self._after or (of is not None and not of.of_total):
            return
        tokens = [one or 0 for one in astuple(spent)[:_TOKENS]]
        if min(tokens) < 0:
            model = event.effects.model if of is None else of.model or None
            self._take_tokens([max(0, -one) for one in tokens], event.agent, model)
        lost = sum(one.nanos for one in facts.taken_back)
        net = (spent.cost_nanos or 0) - lost
        if net < 0:
            whose = {one.agent for one in facts.taken_back}
            self._take_cost(-net, whose, of is not None)
        self._add(event, spent, [max(0, one) for one in tokens], max(0, net))

    def of(self, event: Event) -> Usage | None:
        """What an event tells; None for nothing. Of a call that came in as a span its tokens are not meant."""
        spent, of = event.facts.spent, event.effects.recount
        if spent is None or (of is not None and not of.of_total):
            return None
        entry = self._entries.get(event.seq)
        found = _as_left(entry) if entry is not None and entry.is_changed else self._told.get(event.seq, spent)
        is_covered = found.cost_nanos is None and not found.unpriced_calls and any(astuple(found)[:_TOKENS])
        # It adds nothing to the cost, which is known otherwise; who adds up spans would price it.
        return msgspec.structs.replace(found, cost_nanos=0) if is_covered else found

    def cost_of_span(self, event: Event) -> int | None:
        """What a call that came in as a span has cost, with the calls below it, in nano-dollars."""
        effects, spent = event.effects, event.facts.spent
        if event.seq in self._costs:
            return self._costs[event.seq]
        if not effects.calls:
            return effects.told_or_computed().cost_nanos if spent is None else spent.cost_nanos
        call = effects.calls[0]
        whole, counted = call.whole().cost_nanos, self.of(event)
        if counted is None or counted.cost_nanos is None:
            return whole
        own = call.own().cost_nanos
        if own is None and call.priced is not None:
            own = call.priced.nanos
        return max(0, (whole or 0) - (own or 0) + counted.cost_nanos)

    def _note_calls(self, event: Event) -> None:
        """What counts of calls of a trace by now: they may change with calls below them."""
        calls = event.effects.calls
        if not calls:
            return
        if event.type is _MODEL_CALL:
            self._calls[calls[0].span_id] = event.seq
            calls = calls[1:]
        for one in calls:
            seq = self._calls.get(one.span_id)
            if seq is not None:
                self._costs[seq] = one.whole().cost_nanos
        if len(self._calls) > MAX_ENTRIES:
            del self._calls[next(iter(self._calls))]

    def _add(self, event: Event, spent: Usage, tokens: list[int], nanos: int) -> None:
        is_call = event.type is _MODEL_CALL
        entry = Remainder(event.seq, event.agent, event.effects.model, not is_call, spent, tokens, nanos, 0)
        entry.computed = min(nanos, spent.computed_nanos or 0)
        entry.is_changed = nanos != (spent.cost_nanos or 0) or any((one or 0) < 0 for one in astuple(spent)[:_TOKENS])
        if any(self._owed):
            if not (is_call and event.dialect == _OTLP):
                _cancel(entry, self._owed)
            self._owed[_TOKENS] -= _cheaper(entry, self._owed[_TOKENS])
        self._keep(entry)

    def _keep(self, entry: Remainder) -> None:
        """As long as something may be taken from it, and there is room."""
        if entry.nanos or any(entry.left):
            self._entries[entry.seq] = entry
        elif entry.is_changed:
            self._told[entry.seq] = _as_left(entry)
        if len(self._entries) > MAX_ENTRIES:
            oldest = self._entries.pop(next(iter(self._entries)))
            if oldest.is_changed:
                self._told[oldest.seq] = _as_left(oldest)

    def _take_tokens(self, less: list[int], agent: int, model: str | None) -> None:
        """From totals: of this agent and model first, and then the newest."""
        totals = [one for one in self._entries.values() if one.is_total]
        totals.sort(key=lambda one: (one.agent == agent, one.model == model, one.seq), reverse=True)
        for entry in totals:
            if not any(less):
                return
            _cancel(entry, less)
        for at, one in enumerate(less):
            self._owed[at] += one

    def _take_cost(self, nanos: int, agents: set[str], of_total: bool) -> None:
        """From these agents' first, of totals or of calls, and then from the newest; of what was computed first."""

        def order(one: Remainder) -> tuple[bool, bool, bool, int]:
            return (one.computed > 0, one.is_total == of_total, self._agents.get(one.agent) in agents, one.seq)

        for entry in sorted(self._entries.values(), key=order, reverse=True):
            if not nanos:
                return
            nanos -= _cheaper(entry, nanos)
        self._owed[_TOKENS] += nanos


AboutRun = tuple[RunRow, Mapping[int, str], SpanFigures]
"""A run, the names of the agents that its events are of, by number, and what these tell of usage."""


def _cancel(entry: Remainder, less: list[int]) -> None:
    """Takes tokens from an entry, of each bucket, and then of others of its kind; `less` keeps what is left to take."""
    for side in _SIDES:
        pairs = [(at, at) for at in side] + [(at, of) for at in side for of in side if at != of]
        for at, of in pairs:
            some = min(less[at], entry.left[of])
            if some:
                less[at] -= some
                entry.left[of] -= some
                entry.is_changed = True


def _cheaper(entry: Remainder, nanos: int) -> int:
    """Takes nano-dollars from an entry, as many as it has; how many."""
    some = min(nanos, entry.nanos)
    if some:
        entry.nanos, entry.computed, entry.is_changed = entry.nanos - some, max(0, entry.computed - some), True
    return some


def _as_left(entry: Remainder) -> Usage:
    """What is left, as it was told: what was unknown stays so."""
    spent = entry.spent
    known = astuple(spent)[:_TOKENS]
    left = [None if one is None else now for one, now in zip(known, entry.left, strict=True)]
    cost = None if spent.cost_nanos is None else entry.nanos
    computed = min(entry.computed, entry.nanos) or None
    return msgspec.structs.replace(
        Usage(*left), cost_nanos=cost, computed_nanos=computed, unpriced_calls=spent.unpriced_calls
    )
