"""Figures and names that a program gives, made fit for the wire. Nothing here raises.

What cannot be used is not sent in its place, and never costs the event: it is kept under `towerlog_invalid` in the
event's data.

Tokens are in buckets that share no token: input that was neither read from nor written to a cache, input read from a
cache, input written to it, output that is seen, and reasoning. Providers count otherwise: `usage_of` knows how.
"""

from __future__ import annotations

import hashlib
import math
import operator
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from towerlog.sdk.record.encoding import MAX_NAME_CHARS, fit_text, name_text, plain

MAX_COUNT = 2**53
MAX_DOLLARS = 9_007_199_254
MAX_LABELS = 64
INVALID = "towerlog_invalid"
BUCKETS = ("input_tokens", "cached_input_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens")


class Fit:
    """Collects what fits (`data`) and what does not (`invalid`), each by its name."""

    def __init__(self) -> None:
        self.data: dict[str, Any] = {}
        self.invalid: dict[str, Any] = {}

    def take(self, name: str, value: object, fit: Any) -> None:
        """`fit` returns the value as the wire has it, or raises. None is unknown, and left out."""
        if value is None:
            return
        try:
            self.data[name] = fit(value)
        except Exception:
            # Whatever a program passes: an object whose `__index__` raises, a mapping without items.
            self.invalid[name] = plain(value)

    def all(self) -> dict[str, Any]:
        """The members for the event's data."""
        return {**self.data, INVALID: self.invalid} if self.invalid else self.data


def count(value: Any) -> int:
    """A whole number from 0 on: also a float or a text that is one, and the integers of other libraries."""
    if isinstance(value, bool):
        raise TypeError("a boolean is not a number")
    if isinstance(value, str):
        value = value.strip()
        found = int(value) if value.isascii() and value.isdigit() else float(value)
    else:
        found = operator.index(value) if hasattr(type(value), "__index__") else float(value)
    if found != int(found) or not 0 <= found <= MAX_COUNT:
        raise ValueError("not a count")
    return int(found)


def dollars(value: Any) -> float:
    """An amount of money in dollars from 0 on, from any number or its text."""
    if isinstance(value, bool):
        raise TypeError("a boolean is not a number")
    found = float(str(value))
    if not 0 <= found <= MAX_DOLLARS:
        raise ValueError("not an amount")
    return found


def milliseconds(value: Any) -> float | int:
    """A duration in milliseconds from 0 on, from a number, its text or a timedelta."""
    if isinstance(value, bool):
        raise TypeError("a boolean is not a number")
    found = value / timedelta(milliseconds=1) if isinstance(value, timedelta) else float(value)
    if not (math.isfinite(found) and 0 <= found <= MAX_COUNT):
        raise ValueError("not a duration")
    return int(found) if found == int(found) else found


def labels(value: Any) -> dict[str, str]:
    """Names and texts; numbers and truth values become text."""
    if len(value) > MAX_LABELS:
        raise ValueError("too many labels")
    return {_label(name): _label(text) for name, text in value.items()}


def _label(value: Any) -> str:
    if not isinstance(value, str | int | float):
        raise TypeError("not a text")
    return fit_text(str(value))


def items(value: Any) -> list[Any]:
    """The items of a list or another iterable that is not a text or a mapping."""
    if isinstance(value, str | bytes | Mapping):
        raise TypeError("not a list")
    return list(value)


def mapping(value: Any) -> Any:
    """A mapping, as it is."""
    if not isinstance(value, Mapping):
        raise TypeError("not a mapping")
    return value


def thread_of(value: object) -> str | None:
    """A thread's id as the wire allows it: 1 to 200 characters, no control characters, no `/`, not `.` or `..`.

    One that is not allowed gets a suffix made of it, so that two threads stay two. None for an empty one.
    """
    try:
        given = value if isinstance(value, str) else str(value)
    except Exception:
        given = name_text(value)
    fit = "".join("-" if letter == "/" or ord(letter) < 32 or 127 <= ord(letter) < 160 else letter for letter in given)
    fit = fit_text(fit)
    if not given or (fit == given and len(fit) <= MAX_NAME_CHARS and fit not in (".", "..")):
        return given or None
    digest = hashlib.sha256(given.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{fit[: MAX_NAME_CHARS - 9]}-{digest}"


def usage_of(usage: object) -> dict[str, int]:
    """What a provider says of one call, in buckets that share no token. Raises ValueError if it says nothing known.

    Taken are the objects and mappings of OpenAI (chat completions and responses), Anthropic, Gemini, Bedrock and
    pydantic-ai, and the names of this SDK.
    """
    read = _Reader(usage)
    for shape in (_gemini, _openai_chat, _pydantic_ai, _openai_responses, _bedrock, _disjoint):
        found = shape(read)
        if found:
            known = {bucket: tokens for bucket, tokens in zip(BUCKETS, found, strict=True) if tokens is not None}
            if known:
                return known
    raise ValueError("no usage of a known shape")


Tokens = int | None
Buckets = tuple[Tokens, Tokens, Tokens, Tokens, Tokens] | None


class _Reader:
    """Reads members of a mapping or attributes of an object."""

    def __init__(self, value: object) -> None:
        self._value = value

    def has(self, name: str) -> bool:
        """Whether it has this member, whatever its value."""
        return name in self._value if isinstance(self._value, Mapping) else hasattr(self._value, name)

    def get(self, *names: str) -> Any:
        """The first of these members that is not None."""
        for name in names:
            get = self._value.get(name) if isinstance(self._value, Mapping) else getattr(self._value, name, None)
            if get is not None:
                return get
        return None

    def count(self, *names: str) -> Tokens:
        """The same as a number of tokens."""
        found = self.get(*names)
        return None if found is None else count(found)

    def inside(self, *names: str) -> _Reader:
        """The members of a member."""
        return _Reader(self.get(*names))


def _apart(whole: Tokens, *parts: Tokens) -> Tokens:
    """What is left of a sum without its parts. Parts that are more than the sum were not inside it."""
    known = sum(part for part in parts if part is not None)
    return whole if whole is None or known > whole else whole - known


def _gemini(read: _Reader) -> Buckets:
    """The prompt includes what was cached, and not what tools have brought; thoughts are beside the candidates."""
    prompt = read.count("prompt_token_count", "promptTokenCount")
    if prompt is None:
        return None
    cached = read.count("cached_content_token_count", "cachedContentTokenCount")
    tools = read.count("tool_use_prompt_token_count", "toolUsePromptTokenCount") or 0
    thoughts = read.count("thoughts_token_count", "thoughtsTokenCount")
    output = read.count("candidates_token_count", "candidatesTokenCount", "response_token_count", "responseTokenCount")
    return ((_apart(prompt, cached) or 0) + tools, cached, None, output, thoughts)


def _openai_chat(read: _Reader) -> Buckets:
    """The prompt includes what was cached, the completion the reasoning."""
    if not read.has("prompt_tokens") and not read.has("completion_tokens"):
        return None
    cached = read.inside("prompt_tokens_details").count("cached_tokens")
    if cached is None:
        cached = read.count("prompt_cache_hit_tokens")
    reasoning = read.inside("completion_tokens_details").count("reasoning_tokens")
    output = _apart(read.count("completion_tokens"), reasoning)
    return (_apart(read.count("prompt_tokens"), cached), cached, None, output, reasoning)


def _openai_responses(read: _Reader) -> Buckets:
    """As chat completions, under other names."""
    if not read.has("input_tokens_details") and not read.has("output_tokens_details"):
        return None
    cached = read.inside("input_tokens_details").count("cached_tokens")
    reasoning = read.inside("output_tokens_details").count("reasoning_tokens")
    output = _apart(read.count("output_tokens"), reasoning)
    return (_apart(read.count("input_tokens"), cached), cached, None, output, reasoning)


def _pydantic_ai(read: _Reader) -> Buckets:
    """The input includes what was read from a cache and written to it, the output the reasoning."""
    if not read.has("cache_read_tokens"):
        return None
    cached, written = read.count("cache_read_tokens"), read.count("cache_write_tokens")
    reasoning = read.inside("details").count("reasoning_tokens", "thoughts_tokens")
    output = _apart(read.count("output_tokens"), reasoning)
    return (_apart(read.count("input_tokens"), cached, written), cached, written, output, reasoning)


def _bedrock(read: _Reader) -> Buckets:
    """The input is without what was cached."""
    if not read.has("inputTokens"):
        return None
    cached, written = read.count("cacheReadInputTokens"), read.count("cacheWriteInputTokens")
    return (read.count("inputTokens"), cached, written, read.count("outputTokens"), None)


def _disjoint(read: _Reader) -> Buckets:
    """Anthropic, whose input is without what was cached, and this SDK's own names."""
    cached = read.count("cached_input_tokens", "cache_read_input_tokens")
    written = read.count("cache_write_tokens", "cache_creation_input_tokens")
    output, reasoning = read.count("output_tokens"), read.count("reasoning_tokens")
    return (read.count("input_tokens"), cached, written, output, reasoning)
