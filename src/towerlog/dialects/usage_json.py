"""Tokens and money as JSON: of a run, an agent, a roll-up, a tree of runs. Unknown is null."""

from __future__ import annotations

import msgspec

from towerlog.model.outcome import TreeUsage
from towerlog.model.usage import NANOS_PER_DOLLAR, Usage, dollars_json


class UsageView(msgspec.Struct, frozen=True, gc=False):
    """Tokens in disjoint buckets. `total_tokens` is all of them, also those of which no split is known."""

    input_tokens: int | None
    cached_input_tokens: int | None
    cache_write_tokens: int | None
    output_tokens: int | None
    reasoning_tokens: int | None
    total_tokens: int | None


class TreeView(msgspec.Struct, frozen=True, gc=False):
    """What a run and all runs below it have spent. `complete` is false where there are more runs than were counted."""

    runs: int
    total_input_tokens: int | None
    total_output_tokens: int | None
    total_tokens: int | None
    total_cost_usd: msgspec.Raw
    complete: bool


def credits_of(cost_nanos: int | None, credits_per_dollar: int) -> int | None:
    """A cost in credits, rounded up; None if the cost is unknown."""
    return None if cost_nanos is None else -(-cost_nanos * credits_per_dollar // NANOS_PER_DOLLAR)


def usage_view(usage: Usage) -> UsageView:
    """The buckets and their sum."""
    return UsageView(
        input_tokens=usage.input_tokens,
        cached_input_tokens=usage.cached_input_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        output_tokens=usage.output_tokens,
        reasoning_tokens=usage.reasoning_tokens,
        total_tokens=usage.all_tokens(),
    )


def tree_view(tree: TreeUsage | None) -> TreeView | None:
    """The totals of a tree; None where they were not asked for."""
    if tree is None:
        return None
    usage = tree.usage
    return TreeView(
        runs=tree.runs,
        total_input_tokens=usage.all_input_tokens(),
        total_output_tokens=usage.all_output_tokens(),
        total_tokens=usage.all_tokens(),
        total_cost_usd=dollars_json(usage.cost_nanos),
        complete=tree.complete,
    )
