"""Spans of a trace: where each stands, and what model calls tell of each other.

Spans of one trace come in any requests and in any order. A span is one event of its trace, in whichever of its runs it
stands; figures of a model call count as far as they exceed those of the calls below it.
"""

from __future__ import annotations

import msgspec

from towerlog.model.computed_costs import Priced
from towerlog.model.usage import NO_USAGE, Usage, add

MAX_TOLD_CALLS = 32
"""Model calls of a run whose figures are remembered, the last ones: what is told later of those above or below them is
compared with these."""


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
    """The nearest model call with figures above it in the request; else as `hangs`."""
    covers: tuple[str, ...] = ()
    """Of a model call: the spans below it in the request, down to the next calls."""
    began_ms: int | None = None
    """When it began, by its sender's clock."""
    parent_root: str | None = None
    """Of a span that begins a child run: `root` of the run above."""


class ToldCall(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """The figures of a model call of a trace."""

    span_id: str
    above: str | None
    told: Usage
    """As its sender has told them, with the cost that was computed where none was told."""
    inner: Usage = NO_USAGE
    """What counts of the calls below it."""

    def whole(self) -> Usage:
        """What counts of it and of those below it."""
        return add(self.inner, excess(self.told, self.inner))


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


def _beyond(told: tuple[int | None, ...], inner: tuple[int | None, ...]) -> list[int | None]:
    spare = max(0, sum(one or 0 for one in told) - sum(one or 0 for one in inner))
    found: list[int | None] = []
    for one, below in zip(told, inner, strict=True):
        more = min(spare, max(0, (one or 0) - (below or 0)))
        spare -= more
        found.append(more if more or (one == 0 and below is None) else None)
    return found


def smaller(left: Usage, right: Usage) -> Usage:
    """The smaller figure of each bucket; unknown where one of the two is."""
    pairs = zip(msgspec.structs.astuple(left), msgspec.structs.astuple(right), strict=True)
    return Usage(*[None if one is None or other is None else min(one, other) for one, other in pairs])


def with_calls(calls: tuple[ToldCall, ...], told: tuple[ToldCall, ...], priced: Priced | None) -> tuple[ToldCall, ...]:
    """With the figures of calls, in place of what was known of them. `priced`: what was computed of the first."""
    if priced is not None and priced.nanos is not None and told[0].told.cost_nanos is None:
        cost = add(Usage(cost_nanos=priced.nanos), Usage(cost_nanos=told[0].inner.cost_nanos)).cost_nanos
        first = msgspec.structs.replace(told[0], told=msgspec.structs.replace(told[0].told, cost_nanos=cost))
        told = (first, *told[1:])
    names = {one.span_id for one in told}
    return (*(one for one in calls if one.span_id not in names), *told)[-MAX_TOLD_CALLS:]
