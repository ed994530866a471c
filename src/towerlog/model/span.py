"""Spans of a trace: where each stands, and what model calls tell of each other.

Spans of one trace come in any requests and in any order. A span is one event of its trace, in whichever of its runs it
stands; figures of a model call count as far as they exceed those of the calls below it.
"""

from __future__ import annotations

import msgspec

from towerlog.model.computed_costs import Priced
from towerlog.model.usage import NO_USAGE, Usage, add
from towerlog.model.usage_parts import COUNTED_PARTS, PARTS_IN, UNCLEAR, UsageParts, known_parts

MAX_TOLD_CALLS = 32
"""Model calls of a run whose figures are remembered, the last ones: what is told later of those above or below them is
compared with these."""
MAX_OPEN_PARENTS = 64
"""Spans of a run that have not come and have model calls below them: the last ones whose sums are remembered."""
MAX_GONE_IDS = 512
"""Spans of which nothing is remembered but that there was something: the last ones."""
CALLS_FORGOTTEN = "calls_forgotten"
"""As a flag of a run's figures: a model call was not counted, since what is above or below it in its trace is not
remembered any more."""
ALL_GONE = b"*"
"""In place of these ids: whatever is told may be of what is remembered no more, and so no further call counts."""
SPAN_ID_BYTES = 8
GONE_ID_BYTES = 12
"""Of such an id as JSON, at the most."""
RESPONSE = "response:"
"""How the event's id begins of a model call whose sender names the response that it tells of. Stores have an index of
these: this word is part of their schema."""
RESPONSE_WINDOW_MS = 60 * 60 * 1000
"""Between the ends of two accounts of one response in two traces: of those further apart each counts."""


_encode = msgspec.json.Encoder().encode


class SpanPlace(msgspec.Struct, frozen=True, gc=False):
    """Where a span stands, as far as its request tells."""

    trace: str
    """The foreign id of the run of its trace; those of its other runs begin with it and a colon."""
    span_id: str
    root: str | None = None
    """What its run is called that a root begins, where that is not the first of its trace."""
    hangs: str | None = None
    """The parent of the topmost span at or above it in the request, which is not there itself."""
    above: str | None = None
    """The nearest model call above it in the request; else the parent of the topmost span there at or above it."""
    is_call: bool = False
    """Of a model call that tells figures."""
    began_ms: int | None = None
    """When it began, by its sender's clock."""
    parent_root: str | None = None
    """`root` of the parent run, for a span that begins a child run."""
    response: str | None = None
    """The event's id of a model call, where it is that of one response in all traces."""
    changes: tuple[CallChange, ...] = ()
    """Corrections to the usage of calls stored earlier. Computed when the span is placed."""


class ToldCall(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """The figures of a model call of a trace, and where they are counted."""

    span_id: str
    above: str | None
    """Span id of the parent to look up."""
    told: Usage
    """As its sender has told them."""
    inner: Usage = NO_USAGE
    """What counts of the calls below it."""
    same_as: str | None = None
    """The call that tells of the same response: its figures count for both, and these do not."""
    priced: Priced | None = None
    """What was computed of `own`, where that has no cost."""
    agent: str = ""
    model: str = ""
    provider: str | None = None
    status: str = ""
    at_ms: int = 0
    """When it happened, wall ms: with agent, model and status the roll-up cell in which it is counted."""
    arrived: int = 0
    """When it arrived here, in minutes since the epoch."""
    parts: UsageParts | None = None
    """Usage parts as its sender reported them."""

    def own(self) -> Usage:
        """Usage of this call without its nested calls."""
        return excess(self.told, self.inner)

    def own_parts(self) -> UsageParts | None:
        """Usage parts of `own`; None where its sender reported no parts."""
        return None if self.parts is None else parts_of_rest(self.parts, self.told, self.own())

    def whole(self) -> Usage:
        """Usage of this call and of all calls nested in it."""
        own = self.own()
        if own.cost_nanos is None and self.priced is not None and self.priced.nanos is not None:
            own = msgspec.structs.replace(own, cost_nanos=self.priced.nanos)
        return add(self.inner, own)


class CallChange(msgspec.Struct, frozen=True, gc=False):
    """What counts of a call otherwise than before, since one below it has come."""

    run: int
    """The number of its run."""
    call: ToldCall
    """As it is now."""
    was: Usage
    """What has counted of it, without a computed cost."""
    change: Usage
    """What is added to that; figures may be less than 0."""
    priced: Priced | None
    """Change of the computed cost."""
    was_parts: UsageParts | None = None
    """The parts of `was`."""


class BelowSpan(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What counts of the model calls below a span that has not come."""

    span_id: str
    usage: Usage
    """What to add; nothing: the span has come."""
    is_lost: bool = False
    """It is remembered that there was something, and no more."""


class ToldCalls(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What is remembered of the model calls of a trace in one of its runs, the newest at the end."""

    calls: tuple[ToldCall, ...] = ()
    below: tuple[BelowSpan, ...] = ()
    gone: bytes = b""
    """Ids of spans that are remembered no more, one after the other."""

    def call(self, span_id: str) -> ToldCall | None:
        """The call of a span."""
        for one in self.calls:
            if one.span_id == span_id:
                return one
        return None

    def sum_below(self, span_id: str) -> Usage:
        """What counts below a span that has not come."""
        for one in self.below:
            if one.span_id == span_id:
                return one.usage
        return NO_USAGE

    def forgot(self, span_id: str) -> bool:
        """Whether there was something of a span that is remembered no more."""
        if self.gone == ALL_GONE:
            return True
        mark = bytes.fromhex(span_id) if self.gone else b""
        at = self.gone.find(mark) if mark else -1
        while at % SPAN_ID_BYTES and at >= 0:  # within two of them
            at = self.gone.find(mark, at + 1)
        return at >= 0

    def after(self, told: tuple[ToldCall, ...], more: tuple[BelowSpan, ...]) -> ToldCalls:
        """With calls in place of what was known of them, and with sums that have grown."""
        names = {one.span_id for one in told}
        calls = (*(one for one in self.calls if one.span_id not in names), *told)
        below = {one.span_id: one.usage for one in self.below if one.span_id not in names}
        for one in more:
            known = below.pop(one.span_id, NO_USAGE)
            if one.usage != NO_USAGE:
                below[one.span_id] = add(known, one.usage)
        sums = tuple(BelowSpan(span_id, usage) for span_id, usage in below.items())
        lost = [one.span_id for one in calls[:-MAX_TOLD_CALLS]] + [one.span_id for one in sums[:-MAX_OPEN_PARENTS]]
        lost += [one.span_id for one in more if one.is_lost]
        return ToldCalls(calls[-MAX_TOLD_CALLS:], sums[-MAX_OPEN_PARENTS:], self._gone_with(lost))

    def shorter(self, excess_bytes: int) -> ToldCalls:
        """With so many bytes less as JSON: the oldest calls go, then the oldest sums, each leaving its id. Where that
        is not enough, all that is left is ALL_GONE: unknown, and never counted twice."""
        lost = list[str]()
        known: tuple[ToldCall | BelowSpan, ...] = (*self.calls, *self.below)
        for one in known:
            if excess_bytes <= 0:
                break
            excess_bytes -= len(_encode(one)) + 1 - GONE_ID_BYTES
            lost.append(one.span_id)
        if excess_bytes > 0:
            return ToldCalls(gone=ALL_GONE) if lost or self.gone else self
        of_calls = len(self.calls)
        return ToldCalls(self.calls[len(lost) :], self.below[max(0, len(lost) - of_calls) :], self._gone_with(lost))

    def _gone_with(self, lost: list[str]) -> bytes:
        if self.gone == ALL_GONE:
            return ALL_GONE
        return (self.gone + b"".join(map(bytes.fromhex, lost)))[-MAX_GONE_IDS * SPAN_ID_BYTES :]

    def renamed(self, was: str, agent: str) -> ToldCalls:
        """With what one agent has told as another's."""
        if all(one.agent != was for one in self.calls):
            return self
        calls = [msgspec.structs.replace(one, agent=agent) if one.agent == was else one for one in self.calls]
        return msgspec.structs.replace(self, calls=tuple(calls))


NO_CALLS = ToldCalls()


def excess(told: Usage, inner: Usage) -> Usage:
    """What figures exceed those of the calls below them. Tokens that one tells as input and another as cached are the
    same, and so are those of the output."""
    if inner == NO_USAGE:
        return told
    sent = (told.input_tokens, told.cached_input_tokens, told.cache_write_tokens)
    below = (inner.input_tokens, inner.cached_input_tokens, inner.cache_write_tokens)
    first, second, third = _beyond(sent, below)
    written, thought = _beyond(
        (told.output_tokens, told.reasoning_tokens), (inner.output_tokens, inner.reasoning_tokens)
    )
    total = None if told.total_tokens is None else told.total_tokens - (inner.all_tokens() or 0)
    cost = None if told.cost_nanos is None else told.cost_nanos - (inner.cost_nanos or 0)
    if cost is not None and inner.cost_nanos is not None:
        cost = max(0, cost) or None
    return Usage(first, second, third, written, thought, total if total is not None and total > 0 else None, cost)


def parts_of_rest(parts: UsageParts | None, told: Usage, rest: Usage) -> UsageParts | None:
    """The parts of what is left of a call: those of buckets that are whole, none of those that are gone; of a bucket of
    which some is left nobody knows."""
    if parts is None or rest is told:
        return parts
    found = {name: getattr(parts, name) for name in COUNTED_PARTS}
    for bucket, names in PARTS_IN.items():
        left = getattr(rest, bucket) or 0
        if left == (getattr(told, bucket) or 0):
            continue
        if left and any(found[name] for name in names):
            return UNCLEAR
        found |= dict.fromkeys(names)
    return known_parts(UsageParts(**found, tier=parts.tier, is_unclear=parts.is_unclear))


def _beyond(told: tuple[int | None, ...], inner: tuple[int | None, ...]) -> list[int | None]:
    spare = max(0, sum(one or 0 for one in told) - sum(one or 0 for one in inner))
    found: list[int | None] = []
    for one, below in zip(told, inner, strict=True):
        more = min(spare, max(0, (one or 0) - (below or 0)))
        spare -= more
        # What is told and not exceeded is 0, and not unknown: of output alone it is known that no input is beside it.
        found.append(None if one is None else more)
    return found
