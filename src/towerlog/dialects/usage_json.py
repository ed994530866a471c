"""Tokens and money as JSON: of a run, an agent, a roll-up, a tree of runs; and as senders tell it. Unknown is null."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from towerlog.dialects import details
from towerlog.dialects import vocabulary as v
from towerlog.dialects.details import Label, SaidParts, parts_of_names
from towerlog.dialects.fields import NULL, Count, Warnings
from towerlog.model.outcome import TreeUsage
from towerlog.model.usage import MAX_SUM, NANOS_PER_DOLLAR, NO_USAGE, Usage, UsageReport, dollars_json
from towerlog.model.usage_parts import UsageParts


class _Written(msgspec.Struct, frozen=True, gc=False):
    ephemeral_1h_input_tokens: Count | None = None


class _InputDetails(msgspec.Struct, frozen=True, gc=False):
    audio_tokens: Count | None = None
    image_tokens: Count | None = None
    cached_tokens: Count | None = None
    cache_read_tokens: Count | None = None
    cache_write_tokens: Count | None = None
    cache_creation_tokens: Count | None = None


class _OutputDetails(msgspec.Struct, frozen=True, gc=False):
    audio_tokens: Count | None = None
    image_tokens: Count | None = None
    reasoning_tokens: Count | None = None


_NO_INPUT, _NO_OUTPUT, _NOT_WRITTEN = _InputDetails(), _OutputDetails(), _Written()


class SaidUsage(SaidParts, frozen=True, gc=False):
    """Tokens and money of an event, by the names of the dialects and those of the providers. Of several names for the
    same the first that is told counts."""

    input_tokens: Count | None = None
    prompt_tokens: Count | None = None
    cached_input_tokens: Count | None = None
    cache_read_input_tokens: Count | None = None
    cached_tokens: Count | None = None
    cache_read_tokens: Count | None = None
    prompt_cache_hit_tokens: Count | None = None
    cache_write_tokens: Count | None = None
    cache_creation_input_tokens: Count | None = None
    cache_write_input_tokens: Count | None = None
    cache_creation_tokens: Count | None = None
    output_tokens: Count | None = None
    completion_tokens: Count | None = None
    reasoning_tokens: Count | None = None
    reasoning_output_tokens: Count | None = None
    prompt_tokens_details: _InputDetails | None = None
    input_tokens_details: _InputDetails | None = None
    completion_tokens_details: _OutputDetails | None = None
    output_tokens_details: _OutputDetails | None = None
    cache_creation: _Written | None = None
    tokens_used: Count | None = None
    total_tokens: Count | None = None
    cost_usd: msgspec.Raw = NULL
    run_cost_usd: msgspec.Raw = NULL
    model: Label | None = None
    provider: Label | None = None
    usage: SaidUsage | None = None
    """The same, as the providers' own object; it counts where nothing stands beside it."""

    def tokens(self) -> Usage:
        """The tokens, none of them in two buckets.

        The input includes what was read from a cache and written to it, the output the reasoning; unless that cannot
        be, or the total says otherwise.
        """
        sent = _first(self.prompt_tokens, self.input_tokens)
        written = _first(self.completion_tokens, self.output_tokens)
        total = _first(self.tokens_used, self.total_tokens)
        inside = self.prompt_tokens_details or self.input_tokens_details or _NO_INPUT
        of_output = self.completion_tokens_details or self.output_tokens_details or _NO_OUTPUT
        cached = _first(
            self.cached_input_tokens, self.cache_read_input_tokens, self.cached_tokens, self.cache_read_tokens,
            self.prompt_cache_hit_tokens, inside.cached_tokens, inside.cache_read_tokens,
        )  # fmt: skip
        kept = _first(
            self.cache_write_tokens, self.cache_creation_input_tokens, self.cache_write_input_tokens,
            self.cache_creation_tokens, inside.cache_write_tokens, inside.cache_creation_tokens,
        )  # fmt: skip
        thought = _first(self.reasoning_tokens, self.reasoning_output_tokens, of_output.reasoning_tokens)
        if cached is None and kept is None and thought is None:
            return Usage(input_tokens=sent, output_tokens=written, total_tokens=total)
        seen = _apart(written, thought, (sent or 0), total)
        fresh = _apart(sent, (cached or 0) + (kept or 0), (seen or 0) + (thought or 0), total)
        return Usage(fresh, cached, kept, seen, thought, total)

    def parts(self) -> UsageParts | None:
        """What the price goes by beside the tokens."""
        inside = self.prompt_tokens_details or self.input_tokens_details or _NO_INPUT
        of_output = self.completion_tokens_details or self.output_tokens_details or _NO_OUTPUT
        return parts_of_names(
            self,
            {
                "cache_write_1h_tokens": (self.cache_creation or _NOT_WRITTEN).ephemeral_1h_input_tokens,
                "input_audio_tokens": inside.audio_tokens,
                "input_image_tokens": inside.image_tokens,
                "output_audio_tokens": of_output.audio_tokens,
                "output_image_tokens": of_output.image_tokens,
            },
        )

    def total(self, where: str, warnings: Warnings) -> UsageReport | None:
        """As what a whole run has spent by its end; None where nothing is told. Input and output that do not add up
        to the total are of something else, such as the last call."""
        usage = self.tokens()
        split, total = usage.split_tokens(), usage.total_tokens
        if total is not None and split is not None and usage.input_tokens is not None and split > total:
            usage = Usage(total_tokens=total)
        cost = details.cost_nanos(self.cost_usd, f"{where}.cost_usd", warnings)
        of_process = details.cost_nanos(self.run_cost_usd, f"{where}.run_cost_usd", warnings)
        usage = msgspec.structs.replace(usage, cost_nanos=of_process if cost is None else cost)
        if usage == NO_USAGE:
            return None if self.usage is None else self.usage.total(f"{where}.usage", warnings)
        is_process = cost is None and of_process is not None
        is_whole = not is_process or usage.all_tokens() is not None
        return UsageReport(
            usage, whole_run=is_whole, process_cost=is_process, inclusive=is_whole, parts=self.parts()
        )  # fmt: skip


def _first(*figures: int | None) -> int | None:
    return next((one for one in figures if one is not None), None)


def _apart(whole: int | None, part: int | None, others: int, total: int | None) -> int | None:
    """What is left of a sum without a part that it includes; all of it where it cannot, or does not by the total."""
    if whole is None or not part or part > whole or total == whole + part + others != whole + others:
        return whole
    return whole - part


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
