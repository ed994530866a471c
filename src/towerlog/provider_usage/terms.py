"""What providers say of a call's price beside its buckets: tokens in them of another price, the terms, and the cost.

The names are those that the server has, and the list of prices behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from decimal import Decimal
from typing import Any

from towerlog.provider_usage.figures import count, dollars

PARTS: Mapping[str, tuple[str, ...]] = {
    "cache_write_1h_tokens": (
        "cache_write_1h_tokens",
        "cache_creation.ephemeral_1h_input_tokens",
        "prompt_tokens_details.cache_creation_token_details.ephemeral_1h_input_tokens",
        "input_token_details.ephemeral_1h_input_tokens",
        "input_cache_creation_1h",
        "input_ephemeral_1h_input_tokens",
        "cacheDetails[1H]",
    ),
    "input_audio_tokens": (
        "input_audio_tokens",
        "prompt_tokens_details.audio_tokens",
        "input_tokens_details.audio_tokens",
        "input_token_details.audio_tokens",
        "input_token_details.audio",
        "promptTokensDetails[AUDIO]",
        "prompt_tokens_details[AUDIO]",
        "input_tokens_by_modality[AUDIO]",
        "input_audio",
    ),
    "cache_audio_read_tokens": (
        "cache_audio_read_tokens",
        "input_token_details.cached_tokens_details.audio_tokens",
        "cacheTokensDetails[AUDIO]",
        "cache_tokens_details[AUDIO]",
        "cached_tokens_by_modality[AUDIO]",
    ),
    "output_audio_tokens": (
        "output_audio_tokens",
        "completion_tokens_details.audio_tokens",
        "output_tokens_details.audio_tokens",
        "output_token_details.audio_tokens",
        "output_token_details.audio",
        "candidatesTokensDetails[AUDIO]",
        "candidates_tokens_details[AUDIO]",
        "responseTokensDetails[AUDIO]",
        "response_tokens_details[AUDIO]",
        "output_tokens_by_modality[AUDIO]",
        "output_audio",
    ),
    "input_image_tokens": (
        "input_image_tokens",
        "prompt_tokens_details.image_tokens",
        "input_tokens_details.image_tokens",
        "input_token_details.image_tokens",
        "promptTokensDetails[IMAGE]",
        "prompt_tokens_details[IMAGE]",
        "input_tokens_by_modality[IMAGE]",
        "input_image",
    ),
    "cache_image_read_tokens": (
        "cache_image_read_tokens",
        "input_token_details.cached_tokens_details.image_tokens",
        "cacheTokensDetails[IMAGE]",
        "cache_tokens_details[IMAGE]",
        "cached_tokens_by_modality[IMAGE]",
    ),
    "output_image_tokens": (
        "output_image_tokens",
        "completion_tokens_details.image_tokens",
        "output_tokens_details.image_tokens",
        "candidatesTokensDetails[IMAGE]",
        "candidates_tokens_details[IMAGE]",
        "output_tokens_by_modality[IMAGE]",
        "output_image",
    ),
    "input_video_tokens": (
        *("input_video_tokens", "promptTokensDetails[VIDEO]", "prompt_tokens_details[VIDEO]"),
        *("input_tokens_by_modality[VIDEO]", "input_video"),
    ),
    "cache_video_read_tokens": (
        *("cache_video_read_tokens", "cacheTokensDetails[VIDEO]", "cache_tokens_details[VIDEO]"),
        "cached_tokens_by_modality[VIDEO]",
    ),
    "output_video_tokens": (
        "output_video_tokens",
        "candidatesTokensDetails[VIDEO]",
        "candidates_tokens_details[VIDEO]",
        "output_tokens_by_modality[VIDEO]",
        "output_video",
    ),
}
"""Part of a bucket → where it may stand; the first that is not None counts. A dot leads inside; in brackets, which of
the items of a list, by their `modality` or `ttl`, are added up."""
OF_CACHE = {
    "cache_audio_read_tokens": "input_audio_tokens",
    "cache_image_read_tokens": "input_image_tokens",
    "cache_video_read_tokens": "input_video_tokens",
}
"""Part of the cached input → what it is a part of."""
_DETAILS = (("input", ""), ("input", "_cache_read"), ("output", ""), ("output", "_reasoning"))
TIERS = ("service_tier", "serviceTier", "traffic_type", "trafficType", "speed")
"""Where the terms of a call stand; the first that is not the standard counts."""
TIER_MARKS = {
    tier: tuple(f"{kind}_{inside}{tier}{rest}" for inside in ("token_details.", "") for kind, rest in _DETAILS)
    for tier in ("flex", "priority")
}
"""Terms → members of LangChain, and of Langfuse for them, any of which shows them."""
COST = ("cost_usd", "cost.total_cost", "cost.total", "cost", "total_cost", "total_cost_usd")
COST_PARTS = (("input_cost", "output_cost"), ("prompt_cost", "completion_cost"), ("cost.input", "cost.output"))
"""The costs of the input and of the output, where nobody has added them up. One without the other is not the cost."""
TICKS, TICKS_PER_DOLLAR = "cost_in_usd_ticks", 10**10
"""xAI's way to tell a cost."""
UPSTREAM, IS_OWN_KEY = "cost_details.upstream_inference_cost", "is_byok"
"""OpenRouter: what a provider takes that is paid with one's own key; its `cost` is then a fee beside that."""
STANDARD = frozenset({"standard", "default", "auto", "on_demand"})

GEO, ANYWHERE = "inference_geo", frozenset({"", "global", "default", "auto", "none", "not_available"})
"""Where Anthropic tells in which part of the world a call was served, and what it says where that changes no price."""

Get = Callable[[str], Any]
"""Path → what stands there; None where nothing does."""


def terms_of(get: Get) -> dict[str, Any]:
    """Members of a model call. What cannot be used is left out: the buckets have these tokens too."""
    found: dict[str, Any] = {}
    for part, paths in PARTS.items():
        told = next((told for path in paths if (told := get(path)) is not None), None)
        with suppress(Exception):
            # That none of the cached tokens is audio tells where the others are.
            if told is not None and (
                (tokens := count(told)) or part.replace("cache_", "input_").replace("_read", "") in found
            ):
                found[part] = tokens
    if (tier := tier_in(get)) is not None:
        found["service_tier"] = tier
    cost = _cost(get)
    return found if cost is None else found | {"cost_usd": cost}


def tier_in(get: Get) -> str | None:
    """The terms of a call where they are not the standard. A place of its own counts first: whatever else holds, the
    price is another one there."""
    if (place := place_term(get(GEO))) is not None:
        return place
    told = (getattr(word, "value", word) for word in map(get, TIERS))
    named = next((word for word in told if isinstance(word, str) and word and word.lower() not in STANDARD), None)
    marked = (tier for tier, marks in TIER_MARKS.items() if any(get(mark) is not None for mark in marks))
    return named or next(marked, None)


def place_term(place: object) -> str | None:
    """The terms of a call that was served in this part of the world; None for the standard ones."""
    is_apart = isinstance(place, str) and place.strip().lower() not in ANYWHERE
    return f"{GEO}:{place}" if is_apart else None


def is_place(tier: str) -> bool:
    """Whether these terms are those of a part of the world."""
    return tier.startswith(f"{GEO}:")


def of_list(items: object, word: str) -> int | None:
    """The tokens of those items of a list that are of this modality or duration; None where it is no list."""
    if not isinstance(items, Iterable) or isinstance(items, str | bytes | Mapping):
        return None
    tokens = 0
    for item in items:
        kind = _member(item, "modality", "ttl")
        if str(getattr(kind, "value", kind)).upper() == word:
            tokens += count(_member(item, "token_count", "tokenCount", "inputTokens", "input_tokens", "tokens") or 0)
    return tokens


def _member(item: Any, *names: str) -> Any:
    given = (item.get(name) if isinstance(item, Mapping) else getattr(item, name, None) for name in names)
    return next((one for one in given if one is not None), None)


def _cost(get: Get) -> float | None:
    cost = next((found for path in COST if (found := _dollars(get(path))) is not None), None)
    cost = _ticks(get(TICKS)) if cost is None else cost
    cost = _sum_of_parts(get) if cost is None else cost
    upstream = _dollars(get(UPSTREAM))
    if cost is None or upstream is None:
        return upstream if cost is None else cost
    is_own_key = get(IS_OWN_KEY)
    # Where that is not told: what is paid for a call is never less than what its provider takes.
    is_beside = cost < upstream if is_own_key is None else bool(is_own_key)
    return float(Decimal(str(cost)) + Decimal(str(upstream))) if is_beside else cost


def _sum_of_parts(get: Get) -> float | None:
    for paths in COST_PARTS:
        found = [_dollars(get(path)) for path in paths]
        if None not in found:
            return float(sum(Decimal(str(cost)) for cost in found))
    return None


def _ticks(told: Any) -> float | None:
    with suppress(Exception):
        return None if told is None else dollars(Decimal(count(told)) / TICKS_PER_DOLLAR)
    return None


def _dollars(told: Any) -> float | None:
    with suppress(Exception):
        return None if told is None else dollars(told)
    return None
