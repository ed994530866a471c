"""Which names of the table a span has: of each list those that are among its attributes. Nothing else is looked for.

Spans of one program have few sets of names, so what a set leaves of the table is remembered.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import msgspec

from towerlog.dialects.otlp import names
from towerlog.dialects.otlp.figures import spellings
from towerlog.dialects.otlp.names import Kind, Path

MAX_KNOWN_SETS = 512
"""Sets of names of which is remembered what they leave of the table."""

Paths = tuple[Path, ...]
Kinds = tuple[tuple[str, Mapping[str, Kind]], ...]


class Present(msgspec.Struct, frozen=True, gc=False):
    """The lists of both tables, in their order, of attributes that a span has."""

    kinds: Kinds = ()
    kind: Kind = names.OTHER
    """What it is where none of these tells."""
    thread: Paths = ()
    agent_name: Paths = ()
    model_name: Paths = ()
    provider: Paths = ()
    response_id: Paths = ()
    response_text: Paths = ()
    finish_reason: Paths = ()
    tool_name: Paths = ()
    tool_call_id: Paths = ()
    arguments: Paths = ()
    result: Paths = ()
    input: Paths = ()
    output: Paths = ()
    failures: tuple[tuple[str, frozenset[str]], ...] = ()
    input_tokens: Paths = ()
    cached_tokens: Paths = ()
    cache_write_tokens: Paths = ()
    output_tokens: Paths = ()
    reasoning_tokens: Paths = ()
    tool_tokens: Paths = ()
    total_tokens: Paths = ()
    usage_details: Paths = ()
    usage_objects: Paths = ()
    provider_usage: Paths = ()
    cost: Paths = ()
    cost_parts: Paths = ()
    parts: Paths = ()
    tier: Paths = ()

    def tells_figures(self) -> bool:
        """Whether any of them may tell of tokens or money."""
        told = (self.input_tokens, self.output_tokens, self.total_tokens, self.cost)
        parts = (self.cached_tokens, self.cache_write_tokens, self.reasoning_tokens, self.usage_details)
        return any(told) or any(parts) or any((self.cost_parts, self.usage_objects, self.provider_usage))


NOTHING = Present()
_LISTS: dict[str, tuple[tuple[Any, ...], ...]] = {
    "kinds": names.KINDS,
    "thread": names.THREAD,
    "agent_name": names.AGENT_NAME,
    "model_name": names.MODEL_NAME,
    "provider": names.PROVIDER,
    "response_id": names.RESPONSE_ID,
    "response_text": names.RESPONSE_TEXT,
    "finish_reason": names.FINISH_REASON,
    "tool_name": names.TOOL_NAME,
    "tool_call_id": names.TOOL_CALL_ID,
    "arguments": names.ARGUMENTS,
    "result": names.RESULT,
    "input": names.INPUT,
    "output": names.OUTPUT,
    "failures": names.FAILURES,
    "input_tokens": spellings.INPUT_TOKENS,
    "cached_tokens": spellings.CACHED_TOKENS,
    "cache_write_tokens": spellings.CACHE_WRITE_TOKENS,
    "output_tokens": spellings.OUTPUT_TOKENS,
    "reasoning_tokens": spellings.REASONING_TOKENS,
    "tool_tokens": spellings.TOOL_TOKENS,
    "total_tokens": spellings.TOTAL_TOKENS,
    "usage_details": spellings.USAGE_DETAILS,
    "usage_objects": spellings.USAGE_OBJECTS,
    "provider_usage": spellings.PROVIDER_USAGE,
    "cost": spellings.COST,
    "cost_parts": spellings.COST_PARTS,
    "parts": spellings.PARTS,
    "tier": spellings.TIER,
}
_ALL = frozenset(
    [path[0] for paths in _LISTS.values() for path in paths] + [name for _, some in names.PRESENT for name in some]
)


def present_in(attributes: dict[str, Any]) -> Present:
    """What is left of the table."""
    # As a method of the set: it goes through the attributes, and not through all that the table has.
    return _left_by(_ALL.intersection(attributes)) if attributes else NOTHING


@functools.lru_cache(maxsize=MAX_KNOWN_SETS)
def _left_by(found: frozenset[str]) -> Present:
    if not found:
        return NOTHING
    lists: dict[str, Any] = {name: tuple(one for one in all_ if one[0] in found) for name, all_ in _LISTS.items()}
    kind = next((kind for kind, some in names.PRESENT if not found.isdisjoint(some)), names.OTHER)
    return Present(kind=kind, **lists)
