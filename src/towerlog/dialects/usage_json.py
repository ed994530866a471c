"""Tokens and money as JSON: of a run, an agent, a roll-up, a tree of runs; and as senders tell it. Unknown is null."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple

import msgspec

from towerlog.dialects import details, fields
from towerlog.dialects import vocabulary as v
from towerlog.dialects.details import ForeignId, Label
from towerlog.dialects.fields import NULL, Count, Duration, Warnings
from towerlog.dialects.members import kind_of
from towerlog.model.facts import Effects, Facts
from towerlog.model.outcome import TreeUsage
from towerlog.model.usage import (
    MAX_EVENT_DOLLARS,
    MAX_NUMBER,
    MAX_SUM,
    NANOS_PER_DOLLAR,
    NO_USAGE,
    Usage,
    UsageReport,
    dollars_json,
    parse_dollars,
)
from towerlog.model.usage_parts import COUNTED_PARTS, NO_PARTS, UsageParts, known_parts, tier_of
from towerlog.provider_usage.figures import count
from towerlog.provider_usage.forms import BUCKETS, TOTAL, Inside, usage_of
from towerlog.provider_usage.terms import is_place, place_term


class _Written(msgspec.Struct, frozen=True, gc=False):
    ephemeral_1h_input_tokens: Count | None = None


class _InputDetails(msgspec.Struct, frozen=True, gc=False):
    audio_tokens: Count | None = None
    image_tokens: Count | None = None
    cached_tokens: Count | None = None
    cache_read_tokens: Count | None = None
    cache_write_tokens: Count | None = None
    cache_creation_tokens: Count | None = None
    cache_creation_token_details: _Written | None = None
    """LiteLLM's."""


class _OutputDetails(msgspec.Struct, frozen=True, gc=False):
    audio_tokens: Count | None = None
    image_tokens: Count | None = None
    reasoning_tokens: Count | None = None


class _OfModalities(msgspec.Struct, frozen=True, gc=False):
    audio_tokens: Count | None = None
    image_tokens: Count | None = None


class _OtherDetails(msgspec.Struct, frozen=True, gc=False):
    """Of input or output, by the names of LangChain and of OpenAI's realtime sessions."""

    audio: Count | None = None
    cache_read: Count | None = None
    cache_creation: Count | None = None
    ephemeral_5m_input_tokens: Count | None = None
    ephemeral_1h_input_tokens: Count | None = None
    reasoning: Count | None = None
    flex: Count | None = None
    flex_cache_read: Count | None = None
    flex_reasoning: Count | None = None
    priority: Count | None = None
    priority_cache_read: Count | None = None
    priority_reasoning: Count | None = None
    audio_tokens: Count | None = None
    image_tokens: Count | None = None
    cached_tokens: Count | None = None
    cached_tokens_details: _OfModalities | None = None


_OBJECT = msgspec.json.Decoder(dict[str, Any])
MAX_OBJECT_BYTES = 64 * 1024
"""Of an object of usage that is read."""


class SaidParts(msgspec.Struct, frozen=True, gc=False):
    """What the price of a call may go by beside its buckets, by the names of the list of prices. Each of these tokens
    is in a bucket too."""

    cache_write_1h_tokens: Count | None = None
    input_audio_tokens: Count | None = None
    cache_audio_read_tokens: Count | None = None
    output_audio_tokens: Count | None = None
    input_image_tokens: Count | None = None
    cache_image_read_tokens: Count | None = None
    output_image_tokens: Count | None = None
    input_video_tokens: Count | None = None
    cache_video_read_tokens: Count | None = None
    output_video_tokens: Count | None = None
    service_tier: Label | None = None
    speed: Label | None = None
    inference_geo: Label | None = None
    """Where the call was served, if that has a price of its own."""


_NO_PARTS_SAID = msgspec.structs.astuple(SaidParts())


def parts_of_names(sent: SaidParts, otherwise: Mapping[str, Any]) -> UsageParts | None:
    """The parts by the names of the list, else by those of providers; None where nothing changes a price."""
    if not otherwise and msgspec.structs.astuple(sent)[: len(_NO_PARTS_SAID)] == _NO_PARTS_SAID:
        return None  # as with nearly every call
    told = {name: otherwise.get(name) if (own := getattr(sent, name)) is None else own for name in COUNTED_PARTS}
    place = None if sent.inference_geo is None else place_term(sent.inference_geo)
    words = (place, sent.service_tier, sent.speed, otherwise.get("service_tier"))
    tier = tier_of(*sorted(filter(None, words), key=is_place, reverse=True)) if any(words) else None
    if tier is None and not any(told.values()):
        return None
    return known_parts(msgspec.structs.replace(NO_PARTS, tier=tier, **told))


class Figures(NamedTuple):
    """What was told of a call or a run: tokens of which none is in two buckets, money, and what a price goes by."""

    usage: Usage
    parts: UsageParts | None


class SaidTokens(SaidParts, frozen=True, gc=False):
    """Tokens and money of a call, by the names of the dialects and those of the providers."""

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
    total_tokens: Count | None = None
    prompt_tokens_details: _InputDetails | None = None
    input_tokens_details: _InputDetails | None = None
    completion_tokens_details: _OutputDetails | None = None
    output_tokens_details: _OutputDetails | None = None
    input_token_details: _OtherDetails | None = None
    output_token_details: _OtherDetails | None = None
    cache_creation: _Written | None = None
    cost_usd: msgspec.Raw = NULL
    model: Label | None = None
    provider: Label | None = None
    usage: msgspec.Raw = NULL
    """The same, as the providers' own object: its tokens count where none stand beside it, and so does its cost."""

    def figures(self, where: str, warnings: Warnings, inside: Inside = "as usual") -> Figures:
        """What it tells. `inside`: what the input and the output include, by the names that stand here."""
        cost = None
        if self.cost_usd is not NULL:
            cost = details.cost_nanos(self.cost_usd, f"{where}.cost_usd", warnings)
        beside, found = self._beside(), NOTHING
        if beside is not None:
            found = read_usage(beside, where, warnings, inside)
        if self.usage is not NULL and (beside is None or cost is None):
            of_object: Inside = "as usual" if inside == "as usual" else "own"
            told = usage_object(self.usage, f"{where}.usage", warnings, of_object)
            found = told if beside is None else found.with_cost(told.usage.cost_nanos)
        if cost is not None:
            found = found.with_cost(cost)
        return Figures(found.usage, parts_of_names(self, found.terms))

    def _beside(self) -> dict[str, Any] | None:
        """The members that tell tokens; None for none."""
        told: dict[str, Any] = {name: count for name in _COUNTS if (count := getattr(self, name)) is not None}
        if not told:
            return None
        for name in _DETAILS:
            inner = getattr(self, name)
            if inner is not None:
                told[name] = msgspec.to_builtins(inner)
        return told


_COUNTS = tuple(name for name in SaidTokens.__struct_fields__ if name.endswith("_tokens") and name not in COUNTED_PARTS)
_DETAILS = ("prompt_tokens_details", "input_tokens_details", "completion_tokens_details", "output_tokens_details",
            "input_token_details", "output_token_details", "cache_creation")  # fmt: skip
_PLAIN = frozenset({"input_tokens", "output_tokens", "total_tokens"})
_OWN = frozenset({*BUCKETS, TOTAL})


class FoundUsage(NamedTuple):
    """Usage as it was read, and what its price goes by."""

    usage: Usage
    terms: Mapping[str, Any]

    def with_cost(self, cost_nanos: int | None) -> FoundUsage:
        """The same for this cost."""
        return FoundUsage(msgspec.structs.replace(self.usage, cost_nanos=cost_nanos), self.terms)


NOTHING = FoundUsage(NO_USAGE, {})


def usage_object(raw: msgspec.Raw, where: str, warnings: Warnings, inside: Inside) -> FoundUsage:
    """What an object of usage says, in whichever form. What cannot be read is named in a warning."""
    text = bytes(raw)
    if text == b"null":
        return NOTHING
    if text[:1] != b"{":
        fields.unused(warnings, where, f"must be an object, not {kind_of(text)}")
        return NOTHING
    if len(text) > MAX_OBJECT_BYTES:
        fields.unused(warnings, where, f"is larger than {MAX_OBJECT_BYTES} bytes")
        return NOTHING
    return read_usage(fields.decode(_OBJECT, text, where), where, warnings, inside)


def read_usage(told: dict[str, Any], where: str, warnings: Warnings, inside: Inside) -> FoundUsage:
    """What members of usage say, in whichever form."""
    plain = _OWN if inside == "as usual" else _PLAIN
    if told.keys() <= plain and all(type(one) is int and 0 <= one <= MAX_NUMBER for one in told.values()):
        usage = Usage(**told)
        if inside != "as usual" or not usage.total_tokens or (usage.split_tokens() or 0) <= usage.total_tokens:
            return FoundUsage(usage, {})
    try:
        found = usage_of(told, inside=inside)
    except (TypeError, ValueError, OverflowError):
        try:
            found = usage_of(_counts_in(told), inside=inside)
        except (TypeError, ValueError, OverflowError):
            found = {}
        fields.unused(warnings, where, "has figures or a form that is not known")
    total = told.get(TOTAL)
    cost = found.get("cost_usd")
    usage = Usage(
        **{name: found.get(name) for name in BUCKETS},
        # As it was told: that a total is less than what stands beside it says of what those figures are.
        total_tokens=found.get(TOTAL, total if type(total) is int and found else None),
        cost_nanos=None if cost is None else parse_dollars(f"{cost:.12f}", MAX_EVENT_DOLLARS),
    )
    return FoundUsage(usage, found)


def _counts_in(told: dict[str, Any]) -> dict[str, Any]:
    """The members that are counts, and what is a count in those that are objects."""
    found: dict[str, Any] = {}
    for name, value in told.items():
        if isinstance(value, dict):
            found[name] = {inner: one for inner, one in value.items() if _is_count(one)}
        elif isinstance(value, list) or _is_count(value):
            found[name] = value
    return found


def _is_count(value: object) -> bool:
    try:
        return count(value) >= 0
    except (TypeError, ValueError, OverflowError):
        return False


class SaidUsage(SaidTokens, frozen=True, gc=False):
    """What an agent or a run has spent, or a call."""

    tokens_used: Count | None = None
    run_cost_usd: msgspec.Raw = NULL

    def spent(self, where: str, warnings: Warnings) -> Figures:
        """What it tells. The input includes what was read from a cache and written to it, the output the reasoning;
        unless that cannot be, or the total says otherwise."""
        return self.figures(where, warnings, "every")

    def _beside(self) -> dict[str, Any] | None:
        told = super()._beside()
        return told if self.tokens_used is None else {**(told or {}), TOTAL: self.tokens_used}

    def total(self, where: str, warnings: Warnings) -> UsageReport | None:
        """As what a whole run has spent by its end; None where nothing is told. Input and output that do not add up
        to the total are of something else, such as the last call."""
        usage, parts = self.spent(where, warnings)
        split, total = usage.split_tokens(), usage.total_tokens
        if total is not None and split is not None and usage.input_tokens is not None and split > total:
            usage = Usage(total_tokens=total, cost_nanos=usage.cost_nanos)
        of_process = None
        if self.run_cost_usd is not NULL:
            of_process = details.cost_nanos(self.run_cost_usd, f"{where}.run_cost_usd", warnings)
        is_process = usage.cost_nanos is None and of_process is not None
        if is_process:
            usage = msgspec.structs.replace(usage, cost_nanos=of_process)
        if usage == NO_USAGE:
            return None
        is_whole = not is_process or usage.all_tokens() is not None
        return UsageReport(usage, whole_run=is_whole, process_cost=is_process, inclusive=is_whole, parts=parts)


CALL_STATUSES = frozenset({"error", "rate_limited", "budget_exceeded", "client_disconnect"})
"""Statuses of a model call that has not succeeded."""


class ModelCallData(SaidTokens, frozen=True, gc=False):
    """What is read of a model call. By the names of our own the buckets are disjoint: `input_tokens` excludes tokens of
    a cache. A total beyond them counts too: nobody knows what those tokens were."""

    duration_ms: Duration | None = None
    status: str | None = None
    reservation_id: ForeignId | None = None


def model_call_facts(sent: ModelCallData, where: str, warnings: Warnings) -> Facts:
    """The facts of a model call; a `status` of CALL_STATUSES says that it has not succeeded."""
    usage, parts = sent.figures(where, warnings)
    return Facts(
        name=f"inference_{sent.status}" if sent.status in CALL_STATUSES else None,
        success=sent.status not in CALL_STATUSES,
        duration_ms=None if sent.duration_ms is None else round(sent.duration_ms),
        effects=Effects(
            report=UsageReport(usage, "delta", parts=parts),
            model=sent.model or None,
            provider=sent.provider or None,
            reservation_id=sent.reservation_id or None,
        ),
    )


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
