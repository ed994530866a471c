"""Tokens and money as JSON: of a run, an agent, a roll-up, a tree of runs. Unknown is null."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from towerlog.dialects import vocabulary as v
from towerlog.model.outcome import TreeUsage
from towerlog.model.usage import MAX_SUM, NANOS_PER_DOLLAR, Usage, dollars_json


class UsageView(msgspec.Struct, frozen=True, gc=False):
    """Tokens in disjoint buckets. `total_tokens` is all of them, also those of which no split is known."""

    input_tokens: Annotated[int, v.said("Input tokens that came from no cache.", 612)] | None
    cached_input_tokens: Annotated[int, v.said("Input tokens that came from a cache.", 200)] | None
    cache_write_tokens: Annotated[int, v.said("Input tokens that were written into a cache.", 0)] | None
    output_tokens: Annotated[int, v.said("Output tokens without reasoning.", 40)] | None
    reasoning_tokens: Annotated[int, v.said("Output tokens spent on reasoning.", 0)] | None
    total_tokens: Annotated[int, v.said("All tokens, also those of which no split is known.", 852)] | None


class TreeView(msgspec.Struct, frozen=True, gc=False):
    """What a run and all runs below it have spent. `complete` is false where there are more runs than were counted."""

    runs: Annotated[int, v.said("How many runs are counted, this one included.", 2)]
    total_input_tokens: v.InputTokens | None
    total_output_tokens: v.OutputTokens | None
    total_tokens: Annotated[int, v.said("All tokens, also those of which no split is known.", 1114)] | None
    total_cost_usd: v.Dollars
    cost_source: v.CostSource | None
    unpriced_calls: v.UnpricedCalls
    complete: Annotated[bool, v.said("Every run below it is counted; false where there are too many.", True)]


def credits_of(cost_nanos: int | None, credits_per_dollar: int) -> int | None:
    """A cost in credits, rounded up; None if the cost is unknown."""
    if cost_nanos is None or cost_nanos >= MAX_SUM:
        return None
    return -(-cost_nanos * credits_per_dollar // NANOS_PER_DOLLAR)


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


def of_cost(usage: Usage, price_version: str | None) -> dict[str, Any]:
    """What stands beside a cost: where it comes from, and what it leaves out."""
    return {
        "cost_source": usage.cost_source(),
        "price_version": price_version,
        "unpriced_calls": usage.unpriced_calls or 0,
    }


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
        cost_source=usage.cost_source(),
        unpriced_calls=usage.unpriced_calls or 0,
        complete=tree.complete,
    )
