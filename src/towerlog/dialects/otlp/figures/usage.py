"""What a model call has used and what it has cost, as spans and records tell it: tokens, parts of prices, dollars."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import msgspec

from towerlog.dialects.otlp.figures import spellings
from towerlog.dialects.otlp.lookups import Attributes, Told, first, label, object_in
from towerlog.dialects.otlp.names import Path
from towerlog.dialects.usage_json import NOTHING, FoundUsage, read_usage
from towerlog.model.usage import MAX_EVENT_DOLLARS, MAX_NUMBER, NO_USAGE, Usage, parse_dollars
from towerlog.model.usage_parts import COUNTED_PARTS, NO_PARTS, UsageParts, known_parts, tier_of


def usage_of(told: Told) -> Usage:
    """What a model call has used, in disjoint buckets: by attributes of their own, or by an object of any form."""
    if not told.present.tells_figures():
        return NO_USAGE
    usage, found = _spread(told), _object_of(told).usage
    if _provider_usage(told) is not None or usage == NO_USAGE:
        usage = msgspec.structs.replace(found, cost_nanos=None)
    elif _is_finer(found, usage):
        total = found.total_tokens if usage.total_tokens is None else usage.total_tokens
        usage = msgspec.structs.replace(found, total_tokens=total, cost_nanos=None)
    cost = cost_of(told, usage)
    return msgspec.structs.replace(usage, cost_nanos=found.cost_nanos if cost is None else cost)


def _spread(told: Told) -> Usage:
    """What attributes of their own tell.

    Conventions count cached tokens as input and reasoning as output, unless the total shows otherwise. Where a sum
    cannot hold its part, it does not.
    """
    present, attributes = told.present, told.attributes
    details = _details_of(told).usage
    sent, written = _count(attributes, present.input_tokens), _count(attributes, present.output_tokens)
    cached = _first_of((_count(attributes, present.cached_tokens), details.cached_input_tokens))
    kept = _first_of((_count(attributes, present.cache_write_tokens), details.cache_write_tokens))
    thought = _first_of((_count(attributes, present.reasoning_tokens), details.reasoning_tokens))
    total = _count(attributes, present.total_tokens)
    if (sent, written, cached, kept, thought, total) == (None,) * 6:
        return NO_USAGE
    by_tools = _count(attributes, present.tool_tokens) or 0
    rest = None if total is None else total - (sent or 0) - (written or 0)
    usually = (not _is_inclusive(told), False, True)
    are_caches, are_thoughts, are_tools = _beside(rest, ((cached or 0) + (kept or 0), thought or 0, by_tools), usually)
    fresh = sent if are_caches else _less(sent, cached, kept)
    fresh = fresh + by_tools if fresh is not None and are_tools else fresh
    return Usage(fresh, cached, kept, written if are_thoughts else _less(written, thought), thought, total)


def _beside(rest: int | None, parts: tuple[int, int, int], usually: tuple[bool, bool, bool]) -> tuple[bool, bool, bool]:
    """Which of these are beside the input and the output, and not in them: those that make up the rest of the total.

    Bedrock's caches, Gemini's thoughts and what its tools have read are. Where the total says nothing, as is usual.
    """
    for choice in (usually, *itertools.product((False, True), repeat=3)):
        if rest == sum(part for part, is_beside in zip(parts, choice, strict=True) if is_beside):
            return choice[0], choice[1], choice[2]
    return usually


def _provider_usage(told: Told) -> FoundUsage | None:
    """What the provider's own object says, as far as that is all of a call."""
    for path in told.present.provider_usage:
        value = first(told.attributes, (path,))
        if isinstance(value, dict):
            found = read_usage(value, path[0], [], "as usual")
            if None not in (found.usage.all_input_tokens(), found.usage.all_output_tokens()):
                return found
    return None


def _object_of(told: Told) -> FoundUsage:
    """What the first object of usage says that can be read; the provider's own before all others."""
    own = _provider_usage(told) if told.present.provider_usage else None
    if own is not None:
        return own
    for path in told.present.usage_objects:
        value = object_in(told.attributes[path[0]])
        if isinstance(value, dict):
            found = read_usage(value, path[0], [], "as usual")
            if found.usage != NO_USAGE:
                return found
    return NOTHING


def _details_of(told: Told) -> FoundUsage:
    """How objects split the sums that attributes of their own tell, in the form of those who put both into one."""
    present, attributes = told.present, told.attributes
    found = {path[0]: object_in(attributes[path[0]]) for path in present.usage_details}
    split = {name.removeprefix(spellings.OF_USAGE): one for name, one in found.items() if isinstance(one, dict)}
    if not split:
        return NOTHING
    sums = {"input_tokens": present.input_tokens, "output_tokens": present.output_tokens}
    whole = {name: tokens for name, paths in sums.items() if (tokens := _count(attributes, paths)) is not None}
    return read_usage(whole | split, spellings.OF_USAGE, [], "as usual")


def _is_finer(found: Usage, usage: Usage) -> bool:
    """Whether it tells the same tokens, and more of what they were."""
    is_bare = usage.cached_input_tokens is usage.cache_write_tokens is usage.reasoning_tokens is None
    sums = (found.all_input_tokens(), found.all_output_tokens())
    return is_bare and sums == (usage.input_tokens, usage.output_tokens)


def parts_of(told: Told) -> UsageParts | None:
    """What the price of a model call goes by beside its usage; None for nothing."""
    present, attributes = told.present, told.attributes
    if not any((present.parts, present.tier, present.usage_details, present.usage_objects, present.provider_usage)):
        return None
    found: dict[str, int] = {}
    for attribute, part, *members in present.parts:
        tokens = _count(attributes, ((attribute, *members),)) if part not in found else None
        if tokens is not None:
            found[part] = tokens
    tier = tier_of(label(attributes, present.tier)) if present.tier else None
    for terms in (_details_of(told).terms, _object_of(told).terms):
        found |= {part: terms[part] for part in COUNTED_PARTS if part in terms and part not in found}
        tier = tier or tier_of(terms.get("service_tier"))
    return known_parts(msgspec.structs.replace(NO_PARTS, tier=tier, **found))


def _is_inclusive(told: Told) -> bool:
    """Whether the input counts what was read from a cache and written to it."""
    where = told.present.input_tokens
    if not where or where[-1] != (spellings.EXCLUSIVE_INPUT,):
        return True
    return first(told.attributes, where[:-1]) is not None


def _less(whole: int | None, *parts: int | None) -> int | None:
    rest = 0 if whole is None else whole - sum(part or 0 for part in parts)
    return whole if whole is None or rest < 0 else rest


def _count(attributes: Attributes, paths: Iterable[Path]) -> int | None:
    """A number of tokens. What is none is not counted: it stands in its attribute as it was sent."""
    return _first_of(_tokens_of(first(attributes, (path,))) for path in paths)


def _first_of(told: Iterable[int | None]) -> int | None:
    """The first that is not 0, since a library may fill the older of two names with 0; 0 where one is told."""
    known = False
    for tokens in told:
        if tokens:
            return tokens
        known = known or tokens is not None
    return 0 if known else None


def _tokens_of(value: Any) -> int | None:
    if isinstance(value, str) and len(value) <= 20 and value.isascii() and value.isdigit():
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    is_count = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_NUMBER
    return value if is_count else None


def cost_of(told: Told, usage: Usage) -> int | None:
    """Nano-dollars of one call of this usage: as they are told, else the sum of parts where none is missing."""
    for path in told.present.cost:
        cost = _nanos(first(told.attributes, (path,)))
        if cost is not None:
            return cost
    needed = _sides_of(usage)
    for parts in _costs_in(told):
        if needed <= parts.keys():
            return sum(parts.values())
    return None


def unused_costs(told: Told) -> Attributes:
    """The attributes that tell a part of what a call cost, of one whose cost nobody knows."""
    said = {path[0] for path in (*told.present.cost, *told.present.cost_parts)}
    return {name: value for name, value in told.attributes.items() if name in said and value not in (None, "")}


def _sides_of(usage: Usage) -> set[str]:
    """Which costs make up that of a call: of the input, of the output."""
    tokens = {"input": usage.all_input_tokens(), "output": usage.all_output_tokens()}
    return {side for side, count in tokens.items() if count} or {*tokens}


def _costs_in(told: Told) -> list[dict[str, int]]:
    """Nano-dollars of the input and of the output, by each of those who tell such parts."""
    found: dict[str, dict[str, int]] = {}
    for attribute, side, whose, *members in told.present.cost_parts:
        cost = _nanos(first(told.attributes, ((attribute, *members),)))
        if cost is not None:
            found.setdefault(whose, {})[side] = cost
    details = object_in(told.attributes.get(spellings.COST_DETAILS))
    if isinstance(details, dict):
        parts = found.setdefault(spellings.COST_DETAILS, {})
        for name, value in details.items():
            cost, side = _nanos(value), "output" if name.startswith(spellings.OF_OUTPUT) else "input"
            if cost is not None:
                parts[side] = parts.get(side, 0) + cost
    return [*found.values()]


def _nanos(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return parse_dollars(str(value)[:100], MAX_EVENT_DOLLARS)
    except ValueError:
        return None
