"""Reading of attributes by the table of names: what a span is, and what it says of models, tools and figures."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from towerlog.dialects import fields
from towerlog.dialects.base import MAX_ID_CHARS, MAX_LABEL_CHARS
from towerlog.dialects.otlp import names
from towerlog.dialects.otlp.masks import masked_id, masked_name
from towerlog.dialects.otlp.names import Kind, Path
from towerlog.dialects.otlp.spans import ERROR, SpanSource, ToldSpan
from towerlog.dialects.otlp.values import opened
from towerlog.errors import Invalid
from towerlog.model.usage import MAX_EVENT_DOLLARS, MAX_NUMBER, NO_USAGE, Usage, parse_dollars

Attributes = dict[str, Any]
_BEFORE_NAMES = ("invoke_agent ", "invoke_workflow ", "create_agent ")
_BEHIND_NAMES = (".run", ".workflow", ".agent")
MAX_NAMED_CHARS = 1000
"""Of a name that are looked through for secrets; it is cut after that."""
RATE_LIMITED = frozenset({"429", "rate_limit_exceeded", "RateLimitError", "rate_limit_error"})
_EXCEPTION = ("exception.type", "exception.message")
_CLASS = re.compile(r"([A-Za-z_][\w.]{0,199})(?:[(:]|$)")
"""A status message that begins with the class of an exception, as most libraries write it."""


def kind_of(attributes: Attributes) -> Kind:
    """What a span is that has these attributes."""
    for name, kinds in names.KINDS:
        value = attributes.get(name)
        if isinstance(value, str):
            found = kinds.get(value.lower())
            if found is not None:
                return found
    for kind, present in names.PRESENT:
        if any(name in attributes for name in present):
            return kind
    return names.OTHER


def first(attributes: Attributes, paths: Iterable[Path]) -> Any:
    """The first of these that says anything; None for none."""
    for path in paths:
        value = attributes.get(path[0])
        if value is None or value == "":
            continue
        if len(path) > 1:
            value = _member(opened(value), path[1:])
            if value is None or value == "":
                continue
        return value
    return None


def _member(value: Any, path: Path) -> Any:
    for name in path:
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value


def label(attributes: Attributes, paths: Iterable[Path]) -> str | None:
    """The first of these that is text, as far as a name may be long; what is a secret in it masked."""
    value = first(attributes, paths)
    return named(value) if isinstance(value, str) and value.strip() else None


def named(text: str) -> str:
    """A text as a name: what is a secret in it masked, and cut."""
    return fields.truncated(masked_name(text[:MAX_NAMED_CHARS]), MAX_LABEL_CHARS)


def text(attributes: Attributes, paths: Iterable[Path], longest: int) -> str | None:
    """The first of these as text; None for what is no text or longer."""
    value = first(attributes, paths)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    return masked_id(value) if isinstance(value, str) and len(value) <= longest else None


def place_of(attributes: Attributes, where: Iterable[str]) -> str | None:
    """The first of these attributes that says anything."""
    return next((name for name in where if attributes.get(name) not in (None, "")), None)


def thread_of(attributes: Attributes) -> str | None:
    """The thread that a span names, if that can be one."""
    try:
        return fields.optional_id(text(attributes, names.THREAD, MAX_ID_CHARS), "thread_id")
    except Invalid:
        return None


def source_of(resource: Attributes, scope: dict[str, str]) -> SpanSource:
    """Who reports, with the name of the service where somebody has named it."""
    found = label(resource, ((names.SERVICE,),))
    is_named = found is not None and not found.startswith(names.UNKNOWN_SERVICE)
    scope = {name: fields.truncated(value, MAX_LABEL_CHARS) for name, value in scope.items()}
    return SpanSource(resource, scope, found if is_named else None)


def agent_of(span: ToldSpan, kind: Kind, *, begins_run: bool) -> str | None:
    """The agent of a span, as far as it tells; of one that begins a run also by what the span is called."""
    told = label(span.attributes, names.AGENT_NAME)
    if told is not None or not begins_run:
        return told
    if kind not in (names.AGENT, names.CHAIN):
        return span.source.service
    name = span.name
    for before in _BEFORE_NAMES:
        name = name.removeprefix(before)
    for behind in _BEHIND_NAMES:
        name = name.removesuffix(behind)
    return named(name.strip()) or None


def model_of(attributes: Attributes) -> str | None:
    """The model that has answered, else the one that was asked."""
    return label(attributes, names.MODEL_NAME)


def provider_of(attributes: Attributes) -> str | None:
    """Who serves the model, as lists of prices call it; frameworks that call themselves that are none."""
    for path in names.PROVIDER:
        told = label(attributes, (path,))
        if told is not None:
            head = told.lower().partition(".")[0]
            found = names.PROVIDER_WORDS.get(head, head)
            if found is not None:
                return found
    return None


def response_id_of(attributes: Attributes) -> str | None:
    """The provider's id of a response, by which two spans of one call are known as such."""
    told = text(attributes, names.RESPONSE_ID, 8192)
    if told is not None:
        return told
    for name in names.RESPONSE_TEXT:
        value = attributes.get(name)
        if isinstance(value, str) and value.startswith("{") and '"id"' in value:
            found = _member(opened(value), ("id",))
            if isinstance(found, str) and found:
                return masked_id(found[:8192])
    return None


def usage_of(attributes: Attributes) -> Usage:
    """What a model call has used, in disjoint buckets.

    Conventions count cached tokens as input and reasoning as output. Where a sum cannot hold its part, it does not.
    """
    sent, written = (_count(attributes, paths) for paths in (names.INPUT_TOKENS, names.OUTPUT_TOKENS))
    cached, kept, thought = (
        _count(attributes, paths) for paths in (names.CACHED_TOKENS, names.CACHE_WRITE_TOKENS, names.REASONING_TOKENS)
    )
    total = _count(attributes, names.TOTAL_TOKENS)
    cost = cost_of(attributes)
    if (sent, written, cached, kept, thought, total, cost) == (None,) * 7:
        return NO_USAGE
    within = (cached, kept) if _is_inclusive(attributes) else ()
    return Usage(_less(sent, *within), cached, kept, _less(written, thought), thought, total, cost)


def _is_inclusive(attributes: Attributes) -> bool:
    """Whether the input counts what was read from a cache and written to it."""
    return names.EXCLUSIVE_INPUT not in attributes or first(attributes, names.INPUT_TOKENS[:-1]) is not None


def _less(whole: int | None, *parts: int | None) -> int | None:
    rest = 0 if whole is None else whole - sum(part or 0 for part in parts)
    return whole if whole is None or rest < 0 else rest


def _count(attributes: Attributes, paths: Iterable[Path]) -> int | None:
    """A number of tokens. What is none is not counted: it stands in its attribute as it was sent."""
    for path in paths:
        value = first(attributes, (path,))
        if isinstance(value, str) and len(value) <= 20 and value.isascii() and value.isdigit():
            value = int(value)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_NUMBER:
            return value
    return None


def cost_of(attributes: Attributes) -> int | None:
    """Nano-dollars of one call."""
    value = first(attributes, names.COST)
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return parse_dollars(str(value)[:100], MAX_EVENT_DOLLARS)
    except ValueError:
        return None


def failed(span: ToldSpan) -> bool:
    """Whether what a span did has failed, by its status or by an attribute that says so."""
    if span.code == ERROR:
        return _exception_of(span) not in names.NO_FAILURES
    for name, words in names.FAILURES:
        value = span.attributes.get(name)
        if value is not None and str(value).lower() in words:
            return True
    return False


def _exception_of(span: ToldSpan) -> str | None:
    """The class of the exception that a span has ended with, without its module."""
    found = _CLASS.match(span.message)
    # A message of one word may be a word of somebody.
    is_class = found is not None and (found.end(1) < len(span.message) or found[1] in names.NO_FAILURES)
    told: Any = found[1] if found is not None and is_class else None
    for event in reversed(span.events if told is None else ()):
        told = (event.get("attributes") or {}).get("exception.type")
        if told:
            break
    told = told or span.attributes.get("error.type")
    return told.rpartition(".")[2] if isinstance(told, str) else None


def error_of(span: ToldSpan) -> str:
    """Why it failed, in one line."""
    if span.message:
        return fields.summary(span.message)
    for event in span.events:
        about = event.get("attributes") or {}
        told = [str(about[name]) for name in _EXCEPTION if about.get(name)]
        if told:
            return fields.summary(": ".join(told))
    for name in ("error.message", "error", "error.type"):
        value = span.attributes.get(name)
        if isinstance(value, str) and value:
            return fields.summary(value)
    return "failed"


def call_name(span: ToldSpan) -> str:
    """What a model call is called that has failed."""
    told = f"{span.attributes.get('error.type', '')} {span.attributes.get('http.response.status_code', '')}".split()
    is_limited = not RATE_LIMITED.isdisjoint(told) or "429" in span.message
    return "inference_rate_limited" if is_limited else "inference_error"
